"""Deployments in the loop: both engines, limits at every sync, what stands still and what ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.engine.host import run_plan
from sim.engine.result import Result, make_result
from sim.engine.simpy import Fleet
from sim.fill.params import ClassRow, FaultRow, PoolRow, RunRow, ServedModelRow, Traffic, make_params
from sim.fill.signals import SignalRow
from sim.model.rollout.limits import CANARY, RECREATE, ROLLING
from sim.model.tables.codes import N_START_STAGE
from sim.model.tables.pool import N_QUANTILE
from sim.model.tables.run import Params

START_PS = 90
Things = dict[str, list[dict[str, Any]]]
ENGINES = pytest.mark.parametrize("engine", ["cpu", "simpy"])


def params(
    steps: list[dict[str, int]], faults: list[FaultRow], more: Things | None = None, **rollout: int
) -> Params:
    """Four replicas give way to four others from 500 on; a start takes 90 ps, a step 10, requests come all the time."""
    stages = np.zeros((N_START_STAGE, N_QUANTILE), dtype=np.int64)
    stages[-1] = START_PS
    pool: dict[str, Any] = {
        "base_ps": np.full(5, 10),
        "slope_ps": np.zeros(5, dtype=np.int64),
        "prefill_ps": 0,
        "attention_q16": 0,
        "n_blocks": 100,
        "max_num_seqs": 4,
        "max_num_batched_tokens": 100,
        "max_model_len": 1000,
        "signals": (SignalRow(scrape_ps=10**6),),
        "stage_ps": stages,
        "min_replicas": 2,
        "max_replicas": 4,
        "target_milli": 4,
        "tick_ps": 0,
    }
    arrival_ps = np.arange(0, 3000, 6)
    n = len(arrival_ps)
    row = {"at_ps": 500, "pool": 0, "to_pool": 1, "sync_ps": 5, "progress_deadline_ps": 10**6, **rollout}
    return make_params(
        RunRow(seed=1, duration_ps=4000, warmup_ps=0, end_ps=8000, sample_ps=5),
        Traffic(arrival_ps, np.full(n, 4), np.full(n, 3), np.zeros(n)),
        [ClassRow()],
        [ServedModelRow()],
        [PoolRow(**pool, initial_replicas=4), PoolRow(**pool, initial_replicas=0)],
        faults,
        things={"rollout": [{**row, "n_step": len(steps)}], "rollout_step": steps, **(more or {})},
    )


def run(engine: str, *steps: dict[str, int], faults: tuple[FaultRow, ...] = (), **rollout: int) -> Result:
    made = params(list(steps), list(faults), **rollout)
    return make_result(made, run_plan(made) if engine == "cpu" else Fleet(made).run())


def ready(found: Result, pool: int) -> np.ndarray:
    """Ready replicas of a pool at each sample."""
    return found.samples["ready"][found.samples["pool_id"] == pool]


def answered_by(found: Result, pool: int) -> np.ndarray:
    """When the requests that a pool answered came."""
    mine = (found.requests["pool_id"] == pool) & (found.requests["last_token_ps"] >= 0)
    return found.requests["arrival_ps"][mine]


@ENGINES
def test_a_surge_keeps_all_replicas_available(engine: str) -> None:
    found = run(engine, strategy=ROLLING, surge=1)
    (rollout,) = found.rollouts
    assert rollout["started_ps"] == 500
    assert rollout["least"] == 4
    assert (ready(found, 0) + ready(found, 1)).min() == 4
    # four starts of 90 ps, one after the other, each seen at the first sync after it; then nothing is left to do
    assert 500 + 4 * START_PS <= rollout["ended_ps"] <= 500 + 4 * (START_PS + 10)
    assert (ready(found, 0)[-1], ready(found, 1)[-1]) == (0, 4)
    assert answered_by(found, 1).min() > 500
    assert len(answered_by(found, 0)) + len(answered_by(found, 1)) == 500


@ENGINES
def test_without_surge_some_are_missing(engine: str) -> None:
    found = run(engine, strategy=ROLLING, unavailable=2)
    assert found.rollouts[0]["least"] == 2
    assert (ready(found, 0) + ready(found, 1)).min() == 2
    assert found.rollouts[0]["ended_ps"] <= 500 + 2 * (START_PS + 30)


@ENGINES
def test_limits_of_nothing_still_move(engine: str) -> None:
    assert run(engine, strategy=ROLLING).rollouts[0]["ended_ps"] > 0


@ENGINES
def test_recreation_starts_when_the_last_has_drained(engine: str) -> None:
    found = run(engine, strategy=RECREATE)
    assert found.rollouts[0]["least"] == 0
    assert found.rollouts[0]["most"] == 4
    assert ready(found, 0)[-1] == 0 < ready(found, 1)[-1]
    both = (ready(found, 0) > 0) & (ready(found, 1) > 0)
    assert not both.any()


@ENGINES
def test_a_canary_holds_its_weight_for_its_pause(engine: str) -> None:
    quarter, half = {"weight": 25, "pause_ps": 300}, {"weight": 50, "pause_ps": 400}
    found = run(engine, quarter, half, strategy=CANARY, surge=1)
    new = ready(found, 1)
    held = {n: 5 * int((new == n).sum()) for n in range(1, 5)}
    assert 300 <= held[1] <= 300 + START_PS + 15  # the next one starts behind the pause
    assert 400 <= held[2] <= 400 + START_PS + 15
    assert held[4] > 500
    assert found.rollouts[0]["step"] == 2
    assert found.rollouts[0]["least"] == 4
    assert found.rollouts[0]["most"] <= 4 + 1 + 1  # with one that drains


@ENGINES
def test_replicas_count_when_they_have_been_ready_for_long_enough(engine: str) -> None:
    fast, slow = (run(engine, strategy=ROLLING, surge=1, min_ready_ps=ps).rollouts[0] for ps in (0, 60))
    assert slow["ended_ps"] >= fast["ended_ps"] + 4 * 55


@ENGINES
def test_standing_still_is_noted_and_goes_on(engine: str) -> None:
    found = run(engine, strategy=ROLLING, surge=1, progress_deadline_ps=50).rollouts[0]
    assert 500 + 50 < found["timed_out_ps"] <= 500 + 50 + 15
    assert found["ended_ps"] > found["timed_out_ps"]


@ENGINES
def test_what_is_lost_meanwhile_is_replaced(engine: str) -> None:
    losses = (FaultRow(520, 0, 2), FaultRow(700, 1, 1), FaultRow(3000, 0, 1))
    found = run(engine, strategy=ROLLING, surge=1, faults=losses)
    assert found.rollouts[0]["ended_ps"] > 0
    assert (ready(found, 0)[-1], ready(found, 1)[-1]) == (0, 4)  # the old version stays away


def test_engines_leave_the_same_bytes() -> None:
    for strategy in (ROLLING, RECREATE, CANARY):
        step = {"weight": 40, "pause_ps": 33}
        made = params([step, step], [FaultRow(640, 0)], strategy=strategy, surge=30, surge_percent=1)
        assert np.array_equal(run_plan(made).m, Fleet(made).run().m)
