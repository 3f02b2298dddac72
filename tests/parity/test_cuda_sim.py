"""The CUDA engine leaves the CPU's bytes: its kernels, batches and host side on numba's simulator of a device."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sim.engine import cuda, ptx
from sim.engine.rows import batches, make_batch, n_slots, row_words
from sim.errors import InputError
from sim.fill.state import table_words
from sim.model.tables.run import Params

from .fleets import fleet

ROOT = Path(__file__).parents[2]
SIMULATED = {"NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"}


def on_simulator(*words: str) -> dict[str, Any]:
    """What a case of `cuda_sim` found; a failure prints the line that repeats it."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.parity.cuda_sim", *words]
    done = subprocess.run(
        command, env={**os.environ, **SIMULATED}, cwd=ROOT, capture_output=True, text=True, check=False
    )
    again = " ".join([*(f"{k}={v}" for k, v in SIMULATED.items()), "python", *command[3:]])
    assert done.returncode == 0, f"{again}\n{done.stderr[-3000:]}"
    print(again)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


needs_numba_cuda = pytest.mark.skipif(ptx.why_not() is not None, reason=ptx.why_not() or "")


# ---- equality ------------------------------------------------------------------------------------------------------
@needs_numba_cuda
def test_fleets_of_many_shapes_end_as_on_the_cpu() -> None:
    told = on_simulator("seeds", "0:3", "4006", "4001", "4004")  # several signals, links
    assert told["different"] == {}
    assert told["n"] == 6
    assert told["users"] > 0  # so that the host was asked for a law in the middle of a batch


@needs_numba_cuda
@pytest.mark.slow
@pytest.mark.parametrize("first", range(3, 243, 40))
def test_fleets_of_many_shapes_end_as_on_the_cpu_many_times(first: int) -> None:
    assert on_simulator("seeds", f"{first}:{first + 40}")["different"] == {}


@needs_numba_cuda
def test_launches_cut_into_pieces_change_nothing() -> None:
    told = on_simulator("pieces", "6")
    assert told["different"] == {}
    assert told["launches"][1] > told["launches"][0]


@needs_numba_cuda
def test_a_run_with_more_in_flight_than_its_row_has_room_for_is_finished_by_the_host() -> None:
    told = on_simulator("slots", "3")
    assert told["different"] == {}
    assert told["asked_for_slots"] >= 2


@needs_numba_cuda
def test_runs_that_do_not_fit_the_memory_together_go_in_batches() -> None:
    told = on_simulator("memory", "5")
    assert told["different"] == {}
    assert told["batches"] == [2, 2, 1]
    assert told["progress"] == sorted(told["progress"])
    assert told["progress"][-1] == 1.0


@needs_numba_cuda
def test_an_interrupt_leaves_the_finished_batches() -> None:
    assert on_simulator("interrupt", "5") == {"different": {}, "kept": 1, "stopped": True}


@needs_numba_cuda
def test_lost_replicas_are_lost_at_the_same_instant() -> None:
    told = on_simulator("faults", "7")
    assert told["same"]
    assert told["struck"] == 2


# ---- batches -------------------------------------------------------------------------------------------------------
def test_every_run_is_in_one_batch_and_no_batch_outgrows_the_memory() -> None:
    runs = [fleet(seed).params for seed in range(40)]
    runs += runs[:10]
    room = 3 * 8 * max(row_words(p) + len(p.trace) for p in runs)
    made = list(batches(runs, room))
    assert sorted(i for batch in made for i in batch.which) == list(range(len(runs)))
    for batch in made:
        words = batch.params.size + len(batch.which) * len(batch.fresh) + batch.trace.size
        assert 8 * words <= room


def test_a_trace_that_runs_share_is_kept_once() -> None:
    p = fleet(1).params
    batch = make_batch([p, p, Params(p.m, p.trace.copy())], [0, 1, 2])
    assert len(batch.trace) == 2 * len(p.trace)
    assert batch.trace_at.tolist() == [0, 0, len(p.trace)]


def test_fleets_whose_replicas_differ_do_not_share_a_batch() -> None:
    made = fleet(11, more_pools=True, batches=False)
    first, second = made.pools[0], made.pools[1]
    first = first._replace(
        max_num_seqs=2, base_ps=first.base_ps[[0, 1, 1]], slope_ps=first.slope_ps[[0, 1, 1]]
    )
    second = second._replace(max_num_seqs=1, base_ps=second.base_ps[:2], slope_ps=second.slope_ps[:2])
    same_n = {"max_replicas": 2, "min_replicas": 1, "initial_replicas": 1}
    one = made._replace(
        pools=[first._replace(**same_n), second._replace(served_model=first.served_model, **same_n)]
    )
    other = made._replace(pools=[one.pools[1], one.pools[0]])
    runs = [fleet_of._replace(groups=made.groups[:1]).params for fleet_of in (one, other)]
    assert len(runs[0].m) == len(runs[1].m)
    assert table_words(runs[0]) == table_words(runs[1])
    assert len(list(batches(runs, 1 << 30))) == 2


def test_a_row_has_room_for_what_a_fleet_can_run_at_once() -> None:
    made = fleet(2)
    seats = sum(pool.max_replicas * pool.max_num_seqs for pool in made.pools)
    assert n_slots(made.params) == min(len(made.traffic.arrival_ps), 2 * seats + 256)


# ---- no device -----------------------------------------------------------------------------------------------------
def test_without_a_gpu_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "why_not", lambda: "no NVIDIA GPU was found")
    with pytest.raises(InputError) as caught:
        cuda.need_device()
    said = str(caught.value)
    assert "\n" not in said
    assert "'cuda'" in said
    assert "no NVIDIA GPU was found" in said


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "fleetsim[cuda]" in str(cuda.why_not())
