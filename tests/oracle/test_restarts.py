"""Crashes and hangs, against stories worked out by hand, on both engines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.compile.jit import plain
from sim.engine.host import run_plan
from sim.engine.result import Result, make_result
from sim.engine.simpy import Fleet
from sim.fill.params import ClassRow, PoolRow, RunRow, ServedModelRow, Traffic, make_params
from sim.fill.signals import SignalRow
from sim.model.cluster.replica_lifecycle import backoff_ps
from sim.model.tables.codes import N_START_STAGE, OUTCOMES
from sim.model.tables.fault import CRASH, GPU_LOST, HANG
from sim.model.tables.pool import N_QUANTILE
from sim.units import NEVER

S = 10**12


def run(
    engine: str,
    requests: list[tuple[int, int, int]],
    episodes: list[dict[str, int]],
    things: dict[str, Any] | None = None,
    **more: Any,
) -> tuple[Result, Any]:
    """One replica with steps of 1 s; a start has an image of 50 s and an engine of 7 s."""
    stages = np.zeros((N_START_STAGE, N_QUANTILE), dtype=np.int64)
    stages[2], stages[-1] = 50 * S, 7 * S
    rows = np.array(requests, dtype=np.int64)
    p = make_params(
        RunRow(seed=1, duration_ps=2000 * S, warmup_ps=0, end_ps=4000 * S, sample_ps=0),
        Traffic(rows[:, 0] * S, rows[:, 1], rows[:, 2], np.zeros(len(rows))),
        [ClassRow()],
        [ServedModelRow()],
        [
            PoolRow(
                base_ps=np.full(5, S),
                slope_ps=np.zeros(5, dtype=np.int64),
                prefill_ps=0,
                attention_q16=0,
                n_blocks=1000,
                max_num_seqs=4,
                max_num_batched_tokens=100,
                max_model_len=1000,
                signals=(SignalRow(scrape_ps=10**6 * S),),
                stage_ps=stages,
                **{"min_replicas": 1, "max_replicas": 1, "initial_replicas": 1, **more},
            )
        ],
        things={**(things or {}), "episode": episodes},
    )
    state = run_plan(p) if engine == "cpu" else Fleet(p).run()
    return make_result(p, state), state


def crash(at_s: int) -> dict[str, int]:
    """A replica crashes."""
    return {"kind": CRASH, "at_ps": at_s * S, "units": 1}


@pytest.mark.parametrize("engine", ["cpu", "simpy"])
def test_a_crash_fails_what_is_held_and_starts_again_in_place(engine: str) -> None:
    # request 0 is lost at 5; the engine alone starts again, 7 s without the image; request 1 waits for it: 12 to 13
    found, state = run(engine, [(0, 4, 9), (6, 4, 1)], [crash(5)])
    assert [OUTCOMES[x] for x in found.requests["outcome"]] == ["failed", "completed"]
    assert found.requests["last_token_ps"].tolist() == [-1, 13 * S]
    assert state.replica[0].n_crash == 1


@pytest.mark.parametrize("engine", ["cpu", "simpy"])
def test_waits_double_and_begin_anew_after_ten_quiet_minutes(engine: str) -> None:
    # crash at 5: ready at 12; at 20: after 10 s of waiting ready at 37; at 40: 20 + 7, at 67; at 800, 733 s later: at 807
    arrivals = [(6, 1, 1), (21, 1, 1), (41, 1, 1), (801, 1, 1)]
    found, _ = run(engine, arrivals, [crash(5), crash(20), crash(40), crash(800)])
    assert found.requests["scheduled_ps"].tolist() == [12 * S, 37 * S, 67 * S, 807 * S]


def test_the_waits_are_the_kubelets() -> None:
    waits = [0, 10, 20, 40, 80, 160, 300, 300]
    assert [plain(backoff_ps)(n) // S for n in range(8)] == waits


@pytest.mark.parametrize("engine", ["cpu", "simpy"])
def test_a_replica_that_hangs_is_sent_more_until_it_is_killed(engine: str) -> None:
    # two tokens of request 0 are out at 2, the third step hangs at 2.5; request 1 is sent there; killed at 32.5; request 2
    # is held until it is ready again at 39.5
    hang = {"kind": HANG, "at_ps": 5 * S // 2, "lasts_ps": 30 * S, "units": 1}
    found, _ = run(engine, [(0, 4, 9), (10, 4, 1), (35, 4, 1)], [hang])
    assert [OUTCOMES[x] for x in found.requests["outcome"]] == ["failed", "failed", "completed"]
    assert found.requests["routed_ps"].tolist() == [0, 10 * S, 395 * S // 10]
    assert found.requests["first_token_ps"].tolist() == [S, -1, 405 * S // 10]


@pytest.mark.parametrize("engine", ["cpu", "simpy"])
def test_a_jump_stops_at_the_last_boundary_before_the_hang(engine: str) -> None:
    hang = {"kind": HANG, "at_ps": 3 * S, "lasts_ps": 30 * S, "units": 1}
    found, state = run(engine, [(0, 4, 9)], [hang])
    assert found.requests["itl_max_ps"][0] == S
    assert state.replica[0].decode_tokens == 1, "the step that would end at 3 does not"


@pytest.mark.parametrize("engine", ["cpu", "simpy"])
def test_a_lost_gpu_takes_its_replica_and_holds_nobody_until_it_is_repaired(engine: str) -> None:
    # two replicas on a node of two GPUs; one is lost at 5 with its replica, whose successor waits until the repair at 35
    # and starts in 57 s; the other GPU's replica goes on
    cluster = {
        "cluster": [{"scan_ps": NEVER}],
        "node_group": [{"n_node": 1, "min_nodes": 1, "initial_nodes": 1, "gpus": 2}],
        "slice_ask": [{"memory_slices": 8, "compute_slices": 7, "starts": 1, "media": 0}],
    }
    lost = {"kind": GPU_LOST, "at_ps": 5 * S, "lasts_ps": 30 * S, "units": 1, "is_of_nodes": 1}
    pair = {"min_replicas": 2, "max_replicas": 2, "initial_replicas": 2}
    found, state = run(engine, [(0, 4, 9), (0, 4, 9)], [lost], cluster, **pair)
    assert sorted(OUTCOMES[x] for x in found.requests["outcome"]) == ["completed", "failed"]
    assert max(state.replica[r].ready_ps for r in range(2)) == (35 + 57) * S
    assert [state.gpu[u].is_lost for u in range(2)] == [0, 0]
    assert [state.gpu[u].busy for u in range(2)] == [255, 255], "both held again, by replicas"
