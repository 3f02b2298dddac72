"""Who goes first when a pool shrinks, and from when on a replica costs money."""

from __future__ import annotations

import numpy as np

from sim.engine.host import run_plan
from sim.engine.result import make_result
from sim.engine.simpy import Fleet
from sim.fill.params import ClassRow, PoolRow, RunRow, ServedModelRow, Traffic, make_params
from sim.model.tables.codes import STAGE_GONE, STAGE_NAMES, STAGE_READY
from sim.model.tables.pool import N_QUANTILE
from sim.model.tables.run import Params

SECOND_PS = 10**12
END_S = 100


def fleet(stages_s: tuple[int, ...], initial: int, most: int) -> Params:
    """A pool whose starts spend so many seconds in each stage; one request comes at the end."""
    speed = np.full(9, SECOND_PS)
    stages = np.repeat(np.array(stages_s, dtype=np.int64)[:, None] * SECOND_PS, N_QUANTILE, axis=1)
    pool = PoolRow(speed, 0 * speed, 0, 0, 1000, 8, 64, 1000)._replace(
        min_replicas=0, max_replicas=most, initial_replicas=initial, target_milli=initial, stage_ps=stages
    )
    end_ps = END_S * SECOND_PS
    return make_params(
        RunRow(1, end_ps, 0, end_ps, 0),
        Traffic(*np.array([[end_ps - 1], [1], [1], [0]])),
        [ClassRow()],
        [ServedModelRow()],
        [pool],
    )


def stages(walked: Fleet) -> list[str]:
    """The stage of each replica place."""
    return [
        STAGE_NAMES[stage] for stage in walked.state.rows("replica", int(walked.params.n_replica))["stage"]
    ]


def test_replicas_on_their_way_go_before_ready_ones_the_youngest_first() -> None:
    walked = Fleet(fleet((0, 0, 0, 0, 10), 2, 5))
    walked.run(until_s=1)
    walked.scale(0, 3)
    walked.run(until_s=2)
    walked.scale(0, 4)
    assert stages(walked) == ["ready", "ready", "engine_start", "engine_start", "gone"]
    walked.scale(0, 3)
    assert stages(walked) == ["ready", "ready", "engine_start", "gone", "gone"], "the one that began last"
    walked.scale(0, 2)
    assert stages(walked) == ["ready", "ready", "gone", "gone", "gone"]


def test_of_ready_replicas_the_one_that_became_ready_last_goes_first() -> None:
    walked = Fleet(fleet((0, 0, 0, 0, 10), 1, 3))
    walked.run(until_s=1)
    walked.scale(0, 2)
    walked.run(until_s=5)
    walked.scale(0, 3)
    walked.run(until_s=30)
    assert stages(walked) == ["ready"] * 3
    walked.scale(0, 2)
    walked.run(until_s=31)
    assert stages(walked) == ["ready", "ready", "gone"]
    walked.scale(0, 1)
    walked.run(until_s=32)
    assert stages(walked) == ["ready", "gone", "gone"]


def test_of_replicas_that_are_alike_the_highest_number_goes_first() -> None:
    walked = Fleet(fleet((0, 0, 0, 0, 10), 3, 3))
    walked.run(until_s=1)
    walked.scale(0, 2)
    walked.run(until_s=2)
    assert stages(walked) == ["ready", "ready", "gone"]


def test_a_replica_that_waits_for_its_slice_costs_nothing() -> None:
    p = fleet((20, 5, 0, 0, 10), 0, 1)
    walked = Fleet(p)
    walked.run(until_s=1)
    walked.scale(0, 1)
    state = walked.run()
    found = make_result(p, state)
    assert state.replica[0].stage == STAGE_READY
    assert found.pools[0]["run_billed_ps"] == (END_S - 1 - 20) * SECOND_PS
    assert found.pools[0]["run_ready_ps"] == (END_S - 1 - 35) * SECOND_PS


def test_a_pool_without_replicas_costs_nothing() -> None:
    p = fleet((1, 1, 1, 1, 1), 0, 1)
    state = run_plan(p)
    assert state.replica[0].stage == STAGE_GONE
    assert make_result(p, state).pools[0]["run_billed_ps"] == 0
