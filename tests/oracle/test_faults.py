"""Scripted losses, against stories worked out by hand, on both engines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.engine.host import run_plan
from sim.engine.result import Result, make_result
from sim.engine.simpy import Fleet
from sim.fill.params import ClassRow, FaultRow, PoolRow, RunRow, ServedModelRow, Traffic, make_params
from sim.fill.signals import SignalRow
from sim.model.tables.codes import N_START_STAGE, OUTCOMES, REASONS
from sim.model.tables.pool import N_QUANTILE


def run(engine: str, requests: list[tuple[int, int, int]], faults: list[FaultRow], **pool: Any) -> Result:
    """Requests (arrival, prompt, output) on steps of 10 ps; a cold start takes 35 ps in its last stage."""
    stages = np.zeros((N_START_STAGE, N_QUANTILE), dtype=np.int64)
    stages[-1] = 35
    rows = np.array(requests, dtype=np.int64)
    row: dict[str, Any] = {
        "min_replicas": 1,
        "max_replicas": 2,
        "initial_replicas": 1,
        "target_milli": 1,
        "tick_ps": 0,
        **pool,
    }
    p = make_params(
        RunRow(seed=1, duration_ps=1000, warmup_ps=0, end_ps=2000, sample_ps=50),
        Traffic(rows[:, 0], rows[:, 1], rows[:, 2], np.zeros(len(rows))),
        [ClassRow()],
        [ServedModelRow()],
        [
            PoolRow(
                base_ps=np.full(5, 10),
                slope_ps=np.zeros(5, dtype=np.int64),
                prefill_ps=0,
                attention_q16=0,
                n_blocks=100,
                max_num_seqs=4,
                max_num_batched_tokens=100,
                max_model_len=1000,
                signals=(SignalRow(scrape_ps=10**6),),
                stage_ps=stages,
                **row,
            )
        ],
        faults,
    )
    state = run_plan(p) if engine == "cpu" else Fleet(p).run()
    return make_result(p, state)


@pytest.mark.parametrize("engine", ["cpu", "simpy"])
def test_what_a_lost_replica_held_fails_and_the_pool_replaces_it(engine: str) -> None:
    # request 0: steps end at 10 (first token), 20, 30, …; lost at 25 in its third step
    # request 1 arrives at 22 and waits for the boundary at 30 that never comes
    # request 2 arrives at 40, is held until the new replica is ready at 25 + 35 = 60, done in one step
    found = run(engine, [(0, 4, 9), (22, 4, 1), (40, 4, 1)], [FaultRow(25, 0)])
    rows = found.requests
    assert [OUTCOMES[x] for x in rows["outcome"]] == ["failed", "failed", "completed"]
    assert [REASONS[x] for x in rows["reason"]] == ["replica_lost", "replica_lost", ""]
    assert rows["first_token_ps"].tolist() == [10, -1, 70]
    assert rows["itl_max_ps"].tolist() == [10, -1, -1]
    assert rows["scheduled_ps"].tolist() == [0, -1, 60]
    assert found.counts["failed"][0] == 2
    assert found.pools[0]["busy_ps"] == 25 + 10  # the step cut off counts as far as it went
    assert found.pools[0]["replicas_started"] == 1


@pytest.mark.parametrize("engine", ["cpu", "simpy"])
def test_a_fault_at_a_boundary_strikes_first(engine: str) -> None:
    found = run(engine, [(0, 4, 2)], [FaultRow(20, 0)])  # its last token would come out at 20
    assert OUTCOMES[found.requests["outcome"][0]] == "failed"
    found = run(engine, [(0, 4, 2)], [FaultRow(21, 0)])
    assert OUTCOMES[found.requests["outcome"][0]] == "completed"


@pytest.mark.parametrize("engine", ["cpu", "simpy"])
def test_a_fault_takes_no_more_than_there_is(engine: str) -> None:
    found = run(
        engine,
        [(0, 4, 9), (90, 4, 1)],
        [FaultRow(25, 0, 7)],
        min_replicas=2,
        initial_replicas=2,
        target_milli=2,
    )
    assert [OUTCOMES[x] for x in found.requests["outcome"]] == ["failed", "completed"]
    assert found.pools[0]["replicas_started"] == 2
    offered = found.counts["all_offered"][0]
    assert offered == sum(found.counts[f"all_{fate}"][0] for fate in ("completed", "rejected", "failed"))


def test_engines_agree_on_every_byte_of_a_fault() -> None:
    requests = [(7 * i, 3 + i % 5, i % 11) for i in range(60)]
    faults = [FaultRow(50, 0), FaultRow(50, 0), FaultRow(185, 0, 2), FaultRow(300, 0)]
    digests = {
        run(engine, requests, faults, max_replicas=4, min_replicas=2, initial_replicas=3).digest
        for engine in ("cpu", "simpy")
    }
    assert len(digests) == 1
