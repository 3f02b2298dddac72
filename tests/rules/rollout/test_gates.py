"""Gates: what measurements say, what an analysis makes of them; a deployment that goes back, on both engines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conformance.controllers import new
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.rollout.test_deployments import ENGINES, params, ready
from sim.compile.jit import entry_point
from sim.engine.host import run_plan
from sim.engine.result import Result, make_result
from sim.engine.simpy import Fleet
from sim.fill.params import FaultRow
from sim.model.rollout import gates
from sim.model.rollout.limits import CANARY, RECREATE, ROLLING
from sim.model.tables.codes import M_E2E, M_TTFT
from sim.model.tables.gate import GATE_BAD, GATE_ERRORS, MILLION, Gate, GateState
from sim.model.tables.rollout import LATE
from sim.units import NEVER

ALL_BAD = 2**30
few_enough, phase_of, verdict_of = map(entry_point, (gates.few_enough, gates.phase_of, gates.verdict_of))
count_phase, keep_sums = map(entry_point, (gates.count_phase, gates.keep_sums))
measure_window, window_start = map(entry_point, (gates.measure_window, gates.window_start))


# ---- one measurement ----------------------------------------------------------------------
@settings(deadline=None)  # the first call compiles
@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.integers(1, 99), st.integers(0, 50))
def test_a_percentile_is_the_nearest_rank(values: list[int], percentile: int, limit: int) -> None:
    gate = new(Gate, measure=M_TTFT, percentile_milli=1000 * percentile)
    nearest = sorted(values)[-(-len(values) * percentile // 100) - 1]
    over = sum(value > limit for value in values)
    assert bool(few_enough(gate, len(values), over, limit)) == (nearest <= limit)


def test_between_two_limits_nothing_can_be_said() -> None:
    gate = new(Gate, measure=GATE_ERRORS, at_most=100_000, fail_above=200_000)
    said = [gates.PHASES[int(phase_of(gate, 100, n, n))] for n in (0, 10, 11, 20, 21, 100)]
    assert said == ["successful", "successful", "inconclusive", "inconclusive", "failed", "failed"]
    gate.fail_above = NEVER
    assert [int(phase_of(gate, 100, n, n)) for n in (10, 11)] == [gates.SUCCESSFUL, gates.FAILED]


# ---- the analysis: the cases of upstream's assessMetricFailureInconclusiveOrError ---------------------------------
@pytest.mark.parametrize(
    ("phases", "limits", "verdict"),
    [
        ("f", {}, gates.FAILED),
        ("f", {"failure_limit": 1}, gates.RUNNING),
        ("ff", {"failure_limit": 1}, gates.FAILED),
        ("fsf", {"failure_limit": 1}, gates.FAILED),  # not only in a row
        ("i", {}, gates.INCONCLUSIVE),
        ("i", {"inconclusive_limit": 1}, gates.RUNNING),
        ("if", {"inconclusive_limit": 1}, gates.FAILED),
        ("eeee", {}, gates.RUNNING),
        ("eeeee", {}, gates.ERROR),
        ("eeeese", {}, gates.RUNNING),  # in a row
        ("sss", {"count": 3}, gates.SUCCESSFUL),
        ("ses", {"count": 3}, gates.RUNNING),  # those without a result do not count
        ("sssss", {}, gates.RUNNING),
    ],
)
def test_limits_of_an_analysis(phases: str, limits: dict[str, int], verdict: int) -> None:
    gate, own = new(Gate, period_ps=30, retry_ps=10, **limits), new(GateState)
    for i, letter in enumerate(phases):
        count_phase(gate, own, "sfie".index(letter), 100 * i)
        if gate.count == 0 or int(own.n_done) < gate.count:
            assert own.next_ps == 100 * i + (10 if letter == "e" else 30)
    assert int(verdict_of(gate, own)) == verdict


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=80), st.integers(1, 200))
def test_a_window_begins_at_most_a_little_too_early(gaps: list[int], window: int) -> None:
    """Requests end at some syncs, all of them over the limit; what is measured lies between two exact windows."""
    gate, own = new(Gate, measure=GATE_ERRORS, at_most=0, window_ps=window, samples=1), new(GateState)
    ends, t = [], 0
    for gap in gaps:
        t += 5
        ends += [t - 1] * gap
        own.seen, own.over = len(ends), len(ends)
        keep_sums(gate, own, t)
        before = sum(end > t - window for end in ends)
        early = sum(end > t - window - max(1, window // 32) - 5 for end in ends)
        place = window_start(gate, own, t)
        seen = int(own.seen) - (int(own.snap_seen[int(place)]) if place >= 0 else 0)
        assert before <= seen <= early
        assert (int(measure_window(gate, own, t)) == gates.ERROR) == (seen == 0)


# ---- in the loop ----------------------------------------------------------------------
def made_of(gate: dict[str, int] | None, bad_q30: int = 0, steps: Any = (), **rollout: int) -> Any:
    things = None
    if gate is not None:
        row = {"measure": GATE_BAD, "samples": 20, "period_ps": 50, "window_ps": 100, "seen_q30": bad_q30}
        versions = [{"bad_q30": 2**28}, {"bad_q30": bad_q30, "first_gate": 0, "n_gate": 1}]
        things = {"gate": [row | gate], "version": versions}
        rollout = {"first_gate": 0, "n_gate": 1} | rollout
    faults = [FaultRow(900, 1, 2)] if rollout.pop("loses", 0) else []
    return params(list(steps), faults, things, **rollout)


def run(engine: str, made: Any) -> Result:
    return make_result(made, run_plan(made) if engine == "cpu" else Fleet(made).run())


STEPS = ({"weight": 50, "pause_ps": 500},)
STRATEGIES = pytest.mark.parametrize("strategy", [ROLLING, RECREATE, CANARY])


@ENGINES
@STRATEGIES
def test_a_bad_version_is_taken_back(engine: str, strategy: int) -> None:
    steps = STEPS if strategy == CANARY else ()
    made = made_of({"at_most": MILLION // 2}, ALL_BAD, steps, strategy=strategy, surge=1)
    found = run(engine, made)
    (rollout,) = found.rollouts
    assert 500 < rollout["aborted_ps"] <= rollout["ended_ps"]
    assert rollout["because"] == 1
    assert (ready(found, 0)[-1], ready(found, 1)[-1]) == (4, 0)
    if strategy != RECREATE:
        assert rollout["least"] == 4  # the limits hold on the way back too
    assert found.versions[1]["bad"] == found.versions[1]["answered"]
    answered = found.requests["last_token_ps"] >= 0
    for pool, version in enumerate(found.versions):
        mine = answered & (found.requests["pool_id"] == pool)
        assert mine.sum() == version["answered"]
        assert found.requests["bad_answer"][mine].sum() == version["bad"]
    assert abs(found.versions[0]["bad"] / found.versions[0]["answered"] - 0.25) < 0.1


@ENGINES
@STRATEGIES
def test_a_good_version_passes(engine: str, strategy: int) -> None:
    steps = STEPS if strategy == CANARY else ()
    found = run(engine, made_of({"at_most": MILLION // 2}, 2**28, steps, strategy=strategy, surge=1))
    assert found.rollouts[0]["aborted_ps"] < 0 < found.rollouts[0]["ended_ps"]
    assert (ready(found, 0)[-1], ready(found, 1)[-1]) == (0, 4)
    assert found.gates[0]["measured"] > 0


@ENGINES
@pytest.mark.parametrize(
    ("gate", "goes_back"),
    [
        ({"measure": M_E2E, "percentile_milli": 50_000, "at_most": 5}, True),  # a step takes 10
        ({"measure": M_E2E, "percentile_milli": 50_000, "at_most": 1000}, False),
        ({"measure": GATE_ERRORS, "at_most": 0, "window_ps": 1000}, True),  # two replicas are lost
        ({"measure": GATE_ERRORS, "at_most": 900_000, "window_ps": 1000}, False),
    ],
)
def test_measures_of_requests(engine: str, gate: dict[str, int], goes_back: bool) -> None:
    row = {"samples": 1, "error_limit": 100, "retry_ps": 20, **gate}
    found = run(engine, made_of(row, 0, [{"weight": 50, "pause_ps": 900}], strategy=CANARY, surge=2, loses=1))
    assert (found.rollouts[0]["aborted_ps"] >= 0) == goes_back


@ENGINES
def test_too_little_to_look_at_is_an_error(engine: str) -> None:
    gate = {"measure": M_TTFT, "percentile_milli": 99_000, "at_most": NEVER, "samples": 10**6, "retry_ps": 20}
    found = run(engine, made_of(gate, 0, STEPS, strategy=CANARY, surge=1)).rollouts[0]
    assert found["aborted_ps"] >= 500 + 90 + 4 * 20


@ENGINES
def test_an_inconclusive_analysis_waits_for_ever(engine: str) -> None:
    gate = {"at_most": 0, "fail_above": MILLION}
    found = run(engine, made_of(gate, 2**28, STEPS, strategy=CANARY, surge=1))
    assert found.rollouts[0]["paused_ps"] > 500
    assert found.rollouts[0]["ended_ps"] < 0
    assert ready(found, 1)[-1] > 0 < ready(found, 0)[-1]


@ENGINES
def test_a_step_is_measured_behind_its_pause(engine: str) -> None:
    gate = {"at_most": MILLION, "count": 3, "period_ps": 40}
    with_gate = run(engine, made_of(gate, 0, STEPS, strategy=CANARY, surge=1)).rollouts[0]
    without = run(engine, made_of(None, 0, STEPS, strategy=CANARY, surge=1)).rollouts[0]
    assert 2 * 40 <= with_gate["ended_ps"] - without["ended_ps"] <= 2 * 40 + 4 * 5


@ENGINES
def test_a_deadline_may_send_it_back(engine: str) -> None:
    made = made_of(None, strategy=ROLLING, surge=1, progress_deadline_ps=50, aborts_late=1)
    found = run(engine, made)
    assert found.rollouts[0]["because"] == LATE
    assert (ready(found, 0)[-1], ready(found, 1)[-1]) == (4, 0)


def test_engines_leave_the_same_bytes() -> None:
    for strategy in (ROLLING, RECREATE, CANARY):
        gate = {"at_most": 300_000, "failure_limit": 2}
        made = made_of(gate, 2**29, STEPS, strategy=strategy, surge=1, loses=1)
        assert np.array_equal(run_plan(made).m, Fleet(made).run().m)
