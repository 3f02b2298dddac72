"""One answer from every engine: each byte of the final state, and the digest, over random fleets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sim.engine import simpy
from sim.engine.host import Observation, Policies, run_plan
from sim.engine.result import make_result
from sim.fill.params import PoolRow, RunRow, Traffic
from sim.model.tables.codes import HPA, QUEUE

from .engines import (
    BATCH_ENGINES,
    first_difference,
    laws_of,
    outcome_of,
    outcomes,
    repeat,
    repeat_plain,
    run_on_loop,
    run_on_simpy,
    seed_differences,
)
from .fleets import ClassRow, Fleet, ServedModelRow, fleet

ROOT = Path(__file__).parents[2]
SEEDS = range(150)
NEW_SEEDS = range(4000, 4040)  # fleets with what has come since: more signals, links
MORE_SEEDS = range(150, 4300)
BLOCKS = 5


def assert_engines_agree(seeds: range) -> None:
    """The compiled loop and SimPy leave the same bytes; failing seeds come with the line that repeats them."""
    failed = {seed: lines for seed in seeds if (lines := seed_differences(seed))}
    told = "\n".join(f"{repeat(seed)}   # {lines}" for seed, lines in list(failed.items())[:10])
    assert not failed, f"{len(failed)} of {len(seeds)} seeds differ; repeat with\n{told}"


def assert_plain_python_agrees(seeds: range, folder: Path, how: str = "NUMBA_DISABLE_JIT") -> None:
    """The compiled loop leaves the same bytes as the same source without a compiler, or compiled in another way, in a
    process of its own: `how` is the environment variable that says so.
    """
    path = folder / f"plain-{seeds.start}.json"
    words = ["--write", str(path), f"{seeds.start}:{seeds.stop}"]
    environment = {**os.environ, how: "1"}
    command = [sys.executable, "-W", "ignore", "-m", "tests.parity.engines", *words]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    expected = {seed: tuple(outcome) for seed, outcome in json.loads(path.read_text()).items()}
    assert expected.keys() == {str(seed) for seed in seeds}
    failed = [seed for seed, outcome in outcomes(seeds).items() if outcome != expected[seed]]
    assert not failed, f"{len(failed)} of {len(seeds)} seeds differ; repeat with\n" + "\n".join(
        repeat_plain(int(seed)) for seed in failed[:10]
    )


@pytest.mark.parametrize("block", range(BLOCKS))
def test_the_compiled_loop_and_simpy_leave_the_same_bytes(block: int) -> None:
    assert_engines_agree(SEEDS[block::BLOCKS])


def test_fleets_with_what_is_new_leave_the_same_bytes(tmp_path: Path) -> None:
    assert_engines_agree(NEW_SEEDS)
    assert_plain_python_agrees(NEW_SEEDS, tmp_path)
    shared = [made for seed in NEW_SEEDS if (made := fleet(seed)).links]
    full = [run_on_loop(made).rows("link", len(made.links))["full_ps"].any() for made in shared]
    assert sum(full) > 5, "links hold transfers back"


@pytest.mark.slow
@pytest.mark.parametrize("block", range(BLOCKS))
def test_the_compiled_loop_and_simpy_leave_the_same_bytes_thousands_of_times(block: int) -> None:
    assert_engines_agree(MORE_SEEDS[block::BLOCKS])


def full_difference(seed: int) -> str:
    """How the compiled loop and SimPy differ on the fleet of a seed with every switch on; empty where they do not."""
    made = fleet(seed, **dict.fromkeys(fleet(seed).on, True))
    return first_difference(run_on_loop(made), run_on_simpy(made))


def test_everything_at_once_leaves_the_same_bytes() -> None:
    for seed in SEEDS[:25]:
        line = f"python -c 'from tests.parity.test_engines import full_difference; print(full_difference({seed}))'"
        assert full_difference(seed) == "", f"repeat with\n{line}"


def is_scaled_by_several(made: Fleet) -> bool:
    """Whether some pool's HPA or queue scaler has several metrics."""
    return any(len(pool.signals) > 1 and pool.autoscaler in (HPA, QUEUE) for pool in made.pools)


def test_several_signals_leave_the_same_bytes_and_change_what_happens() -> None:
    """The rest of a fleet stays as it is with one signal."""
    compared = different = 0
    for seed in SEEDS[:60]:
        made, one = fleet(seed, signals=True), fleet(seed, signals=False)
        assert [pool.max_replicas for pool in made.pools] == [pool.max_replicas for pool in one.pools]
        if not is_scaled_by_several(made):
            continue
        state = run_on_loop(made)
        assert first_difference(state, run_on_simpy(made)) == "", f"fleet({seed}, signals=True)"
        compared += 1
        different += (
            make_result(made.params, state).digest != make_result(one.params, run_on_loop(one)).digest
        )
    assert compared > 15
    assert different > 4


def test_a_users_law_sees_every_signal_of_every_pool() -> None:
    looked: list[Observation] = []

    def law(seen: Observation) -> int:
        looked.append(seen)
        return 1

    seed = next(seed for seed in range(4000, 4400) if fleet(seed, signals=True, more_pools=True).user_pools)
    made = fleet(seed, signals=True, more_pools=True)
    run_plan(made.params, Policies(dict.fromkeys(made.user_pools, law)))
    counts = [len(pool.signals) for pool in made.pools]
    known = [np.isfinite(seen.metrics) for seen in looked]
    assert looked
    for seen in looked:
        assert seen.metrics.shape == (len(made.pools), max(counts))
        assert np.array_equal(seen.metrics[:, 0], seen.metric, equal_nan=True)
        for pool, n in enumerate(counts):
            assert np.isnan(seen.metrics[pool, n:]).all()
    assert np.logical_or.reduce(known).sum(axis=1).tolist() == counts


def test_plain_python_leaves_the_same_bytes(tmp_path: Path) -> None:
    assert_plain_python_agrees(SEEDS, tmp_path)


@pytest.mark.slow
def test_numba_as_it_comes_leaves_the_same_bytes(tmp_path: Path) -> None:
    assert_plain_python_agrees(SEEDS, tmp_path, "FLEETSIM_PLAIN_NUMBA")


@pytest.mark.slow
@pytest.mark.parametrize("block", range(BLOCKS))
def test_plain_python_leaves_the_same_bytes_thousands_of_times(block: int, tmp_path: Path) -> None:
    size = len(MORE_SEEDS) // BLOCKS
    assert_plain_python_agrees(MORE_SEEDS[block * size : (block + 1) * size], tmp_path)


@pytest.mark.parametrize("name", BATCH_ENGINES)
def test_many_at_once_are_as_one_by_one(name: str) -> None:
    fleets = [fleet(seed) for seed in SEEDS[:60]]
    for seed, made, state in zip(SEEDS, fleets, BATCH_ENGINES[name](fleets), strict=False):
        assert outcome_of(made, state) == outcome_of(made, run_on_loop(made)), repeat(seed)


def flood(n: int) -> Fleet:
    """Far more requests at once than a run has room for at first."""
    traffic = Traffic(
        np.zeros(n, dtype=np.int64), np.full(n, 3), np.arange(n) % 5 + 1, np.zeros(n, dtype=np.int64)
    )
    speed = np.full(9, 10**7)
    pool = PoolRow(speed, speed // 100, 5000, 0, 100, 8, 64, 1000, max_replicas=2, initial_replicas=2)
    run = RunRow(seed=1, duration_ps=10**9, warmup_ps=0, end_ps=10**13, sample_ps=10**8)
    return Fleet(run, traffic, [ClassRow()], [ServedModelRow()], [pool], [], {}, 1)


def test_a_flood_makes_room_on_every_engine() -> None:
    made = flood(3000)
    one, other = run_on_loop(made), run_on_simpy(made)
    assert first_difference(one, other) == ""
    assert make_result(made.params, one).counts["completed"][0] == 3000


@pytest.mark.parametrize("seed", [seed for seed in range(4000, 4400) if fleet(seed).user_pools][:15])
def test_a_users_law_is_called_at_the_same_instants_with_the_same_sight(seed: int) -> None:
    made = fleet(seed)
    seen: list[list[tuple[float, ...]]] = []
    for run in ("loop", "simpy"):
        seen.append([])
        policies = laws_of(made)
        laws = dict(policies.laws)
        for pool, law in laws.items():
            policies.laws[pool] = watched(law, seen[-1])
        if run == "loop":
            from sim.engine.host import run_plan

            run_plan(made.params, policies)
        else:
            simpy.Fleet(made.params, policies).run()
    assert seen[0] == seen[1], repeat(seed)


def watched(law: object, seen: list[tuple[float, ...]]) -> object:
    """The same law, writing down all that it sees."""

    def told(view: object) -> object:
        flat = np.concatenate(
            [np.ravel(np.nan_to_num(np.asarray(part, dtype=float), nan=-1.0)) for part in view]
        )
        seen.append(tuple(flat.tolist()))
        return law(view)

    return told
