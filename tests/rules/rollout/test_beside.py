"""Blue-green and canaries with a router, on both engines: which version answers what, when, and the way back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rules.rollout.test_deployments import ENGINES, START_PS, params, ready
from rules.rollout.test_gates import made_of
from sim.engine.host import run_plan
from sim.engine.result import Result, make_result
from sim.engine.simpy import Fleet
from sim.model.rollout.limits import BLUE_GREEN, CANARY
from sim.model.tables.gate import MILLION

QUICK = {"scale_down_delay_ps": 200, "abort_delay_ps": 150}


def run(engine: str, made: Any) -> Result:
    return make_result(made, run_plan(made) if engine == "cpu" else Fleet(made).run())


def shares(found: Result, begin: int, end: int) -> float:
    """The part of the requests that came in a time and that the new version got."""
    arrival, pool = found.requests["arrival_ps"], found.requests["pool_id"]
    mine = (arrival >= begin) & (arrival < end) & (pool >= 0)
    return float((pool[mine] == 1).mean()) if mine.any() else 0.0


# ---- blue-green ----------------------------------------------------------------------
@ENGINES
def test_all_requests_change_over_at_once(engine: str) -> None:
    found = run(engine, params([], [], strategy=BLUE_GREEN, **QUICK))
    (rollout,) = found.rollouts
    assert 500 + START_PS <= rollout["promoted_ps"] <= 500 + START_PS + 5
    at = rollout["promoted_ps"]
    assert shares(found, 500, at) == 0
    assert shares(found, at + 1, 3000) == 1
    assert rollout["least"] == 4
    assert rollout["most"] == 8
    assert at + 200 <= rollout["ended_ps"] <= at + 210
    assert (ready(found, 0)[-1], ready(found, 1)[-1]) == (0, 4)


@ENGINES
def test_a_preview_is_looked_at_before_the_rest_comes(engine: str) -> None:
    made = params([], [], strategy=BLUE_GREEN, preview=1, auto_promotion_ps=300, **QUICK)
    found = run(engine, made)
    promoted = found.rollouts[0]["promoted_ps"]
    assert 500 + 2 * START_PS + 300 <= promoted <= 500 + 2 * START_PS + 330
    n = ready(found, 1)
    assert set(n[: promoted // 5].tolist()) <= {0, 1, 4}
    assert 300 <= 5 * (n == 1).sum() <= 300 + START_PS + 20


@ENGINES
def test_without_leave_it_is_never_promoted(engine: str) -> None:
    found = run(engine, params([], [], strategy=BLUE_GREEN, auto_promotion=0, **QUICK))
    assert found.rollouts[0]["promoted_ps"] < 0 > found.rollouts[0]["ended_ps"]
    assert shares(found, 0, 3000) == 0
    assert (ready(found, 0)[-1], ready(found, 1)[-1]) == (4, 4)


@ENGINES
@pytest.mark.parametrize("delay_ps", [0, 150])
def test_a_gate_behind_the_promotion_brings_the_old_version_back_at_once(engine: str, delay_ps: int) -> None:
    gate = {"at_most": MILLION // 2, "delay_ps": delay_ps, "failure_limit": 0}
    found = run(engine, made_of(gate, 2**30, (), strategy=BLUE_GREEN, **QUICK))
    (rollout,) = found.rollouts
    at = rollout["aborted_ps"]
    assert rollout["promoted_ps"] < 0  # not any longer
    assert shares(found, at + 1, 3000) == 0
    assert (shares(found, 500 + START_PS + 6, at) > 0) == (delay_ps > 0)
    assert at + 150 <= rollout["ended_ps"] <= at + 165
    assert (ready(found, 0)[-1], ready(found, 1)[-1]) == (4, 0)
    assert ready(found, 0).min() == 4


# ---- canaries with a router ----------------------------------------------------------------------
@ENGINES
def test_a_canary_gets_its_weight_of_the_requests(engine: str) -> None:
    steps = [{"weight": 20, "pause_ps": 900}, {"weight": 60, "pause_ps": 900}]
    found = run(engine, params(steps, [], strategy=CANARY, routed=1, **QUICK))
    at = 500 + START_PS
    assert abs(shares(found, at + 20, at + 900) - 0.2) < 0.1
    assert abs(shares(found, at + 1020, at + 1800) - 0.6) < 0.15
    assert ready(found, 1)[(at + 500) // 5] == 1  # a fifth of four, rounded up
    assert ready(found, 1)[(at + 1500) // 5] == 3
    assert ready(found, 0)[: (at + 1500) // 5].min() == 4  # the old version stays whole
    assert shares(found, found.rollouts[0]["promoted_ps"] + 1, 3000) == 1


@ENGINES
def test_a_canary_that_goes_back_gets_nothing_at_once(engine: str) -> None:
    steps = [{"weight": 50, "pause_ps": 2000}]
    gate = {"at_most": MILLION // 2, "delay_ps": 300}
    found = run(engine, made_of(gate, 2**30, steps, strategy=CANARY, routed=1, **QUICK))
    at = found.rollouts[0]["aborted_ps"]
    assert at >= 500 + START_PS + 300
    assert shares(found, at - 200, at) > 0.3
    assert shares(found, at + 1, 3000) == 0
    assert at + 150 <= found.rollouts[0]["ended_ps"] <= at + 165


def test_the_same_requests_go_to_a_canary_of_any_weight() -> None:
    """A request that goes to a canary of a tenth goes to one of a half too."""
    mine = []
    for weight in (10, 50):
        made = params([{"weight": weight, "pause_ps": 10**6}], [], strategy=CANARY, routed=1)
        found = run("cpu", made)
        late = found.requests["arrival_ps"] > 1000
        mine.append(set(np.flatnonzero(late & (found.requests["pool_id"] == 1)).tolist()))
    assert 0 < len(mine[0]) < len(mine[1])
    assert mine[0] <= mine[1]


def test_engines_leave_the_same_bytes() -> None:
    for row in ({"strategy": BLUE_GREEN, "preview": 2}, {"strategy": CANARY, "routed": 1}):
        steps = [{"weight": 30, "pause_ps": 50}] if row["strategy"] == CANARY else []
        made = params(steps, [], **row, **QUICK)
        assert np.array_equal(run_plan(made).m, Fleet(made).run().m)
