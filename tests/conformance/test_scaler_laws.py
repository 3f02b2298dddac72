"""What holds of the HPA and the queue scaler whatever the metric does."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.controllers import compiled, plain, zeros

PS_PER_S = 10**12
SYNC_PS = 15 * PS_PER_S
LAW, PLAIN = compiled(), plain()

no_deadline = settings(deadline=None)  # the first example compiles

usages = st.lists(st.integers(0, 400_000), min_size=1, max_size=60)
tolerance = st.integers(0, 500)
policies = st.lists(
    st.tuples(st.sampled_from((0, 1)), st.integers(1, 120), st.sampled_from((15, 30, 60, 300))), max_size=3
)
rules = st.tuples(st.sampled_from((0, 30, 120, 300)), st.sampled_from((0, 1, 2)), policies)
bounds = st.tuples(st.integers(1, 20), st.integers(0, 80)).map(lambda b: (b[0], b[0] + b[1]))


def new_par(up: tuple, down: tuple, target_milli: int = 5000, behavior: int = 1) -> np.ndarray:
    par = zeros(LAW.HPA_PAR_SIZE)
    windows = {"up_window_ps": up[0] * PS_PER_S, "down_window_ps": down[0] * PS_PER_S}
    LAW.hpa_par(par, target_milli, up_select=up[1], down_select=down[1], behavior=behavior, **windows)
    for direction, rule in enumerate((up, down)):
        for kind, value, period_s in rule[2]:
            assert LAW.hpa_policy(par, direction, kind, value, period_s * PS_PER_S)
    return par


def ticks(law, par, usage, current, lo, hi) -> list[int]:
    """Wanted replicas before the first and after every sync."""
    state, wanted = zeros(law.HPA_STATE_SIZE), [current]
    for n, metric_milli in enumerate(usage):
        wanted.append(int(law.hpa_tick(n * SYNC_PS, wanted[-1], metric_milli, 1, 0, 0, lo, hi, par, state)))
    return wanted


@no_deadline
@given(usages, rules, rules, bounds, st.integers(1, 100), st.sampled_from((0, 1)))
def test_the_bounds_hold_and_plain_python_agrees(usage, up, down, bound, start, behavior) -> None:
    par, (lo, hi) = new_par(up, down, behavior=behavior), bound
    found = ticks(LAW, par, usage, start, lo, hi)
    assert all(lo <= wanted <= hi for wanted in found[1:])
    assert found == ticks(PLAIN, par, usage, start, lo, hi)


@no_deadline
@given(usages, st.integers(1, 10), st.sampled_from((15, 30, 60, 300)), st.integers(1, 50))
def test_never_further_from_the_periods_start_than_allowed(usage, value, period_s, start) -> None:
    """One pods policy each way; Kubernetes counts from the replicas at the start, ups and downs netted."""
    rule = (0, 0, [(0, value, period_s)])
    found = ticks(LAW, new_par(rule, rule), usage, start, 1, 1000)
    span = period_s * PS_PER_S // SYNC_PS
    for n, (old, new) in enumerate(itertools.pairwise(found)):
        change = new - found[max(0, n - span + 1)]
        assert new <= old or change <= value
        assert new >= old or change >= -value


@no_deadline
@given(usages, st.sampled_from((0, 30, 300)), st.sampled_from((0, 30, 300)), st.integers(1, 50))
def test_stabilisation_is_what_the_proposals_younger_than_the_window_allow(
    usage, up_s, down_s, start
) -> None:
    """Up only to the lowest, down only to the highest of them; without policies nothing else holds it."""
    par, state = new_par((up_s, 0, []), (down_s, 0, [])), zeros(LAW.HPA_STATE_SIZE)
    state[LAW.HPA_STARTED] = 1
    wanted, proposals = start, []
    for n, metric_milli in enumerate(usage):
        proposals.append(LAW.hpa_desired(wanted, metric_milli, 5000, 100, 100))
        lowest = min(proposals[max(0, n + 1 - max(up_s // 15, 1)) :])
        highest = max(proposals[max(0, n + 1 - max(down_s // 15, 1)) :])
        new = LAW.hpa_tick(n * SYNC_PS, wanted, metric_milli, 1, 0, 0, 0, 10_000, par, state)
        assert new == min(max(wanted, lowest), highest)
        if new == 0:
            break
        wanted = new


@no_deadline
@given(st.integers(0, 500), st.integers(0, 10**9), st.integers(1, 10**6))
def test_a_move_is_to_the_exact_quotient(current, usage_milli, target_milli) -> None:
    found = LAW.hpa_desired(current, usage_milli, target_milli, 0, 0)
    assert found == -(-usage_milli // target_milli)


@pytest.mark.parametrize("law", [LAW, PLAIN], ids=["compiled", "plain"])
def test_pods_without_a_sample_soften_the_move(law) -> None:
    """4 wanted, 2 reporting, target 10; from the rules of calcPlainMetricReplicas, by hand."""
    assert law.hpa_desired_pods(4, 60_000, 10_000, 2, 2, 0, 100, 100) == 6  # 60 over 4 = 15
    assert law.hpa_desired_pods(4, 43_000, 10_000, 1, 3, 0, 100, 100) == 4  # 43 over 4 = 10.75, near enough
    assert law.hpa_desired_pods(4, 40_000, 10_000, 2, 0, 2, 100, 100) == 4  # 40 over 4 = 10
    assert law.hpa_desired_pods(4, 10_000, 10_000, 2, 0, 2, 100, 100) == 3  # 10 + 2 · 10 over 4 = 7.5
    assert law.hpa_desired_pods(4, 10_000, 10_000, 2, 2, 0, 100, 100) == 1  # pending ones only count upwards
    assert law.hpa_desired_pods(4, 0, 10_000, 0, 4, 0, 100, 100) == law.NO_PROPOSAL


@pytest.mark.parametrize("law", [LAW, PLAIN], ids=["compiled", "plain"])
def test_a_target_above_the_request_is_what_missing_pods_are_taken_to_use(law) -> None:
    """One pod at 50 %, one without a sample, target 150 %: (50 + 150) / 200 of 150 % keeps both."""
    group = np.array([law.POD_READY, law.POD_MISSING])
    usage, request = np.array([50, 0]), np.array([100, 100])
    assert law.hpa_desired_resource(2, 150, group, usage, request, 100, 100) == 2


@no_deadline
@given(st.integers(1, 500), st.integers(1, 10**6), tolerance, tolerance)
def test_within_the_tolerance_nothing_moves_and_a_move_is_enough(current, target_milli, up, down) -> None:
    """With the load unchanged a proposal that is followed is repeated; one that moves is exactly enough."""
    for usage_milli in (current * target_milli, current * target_milli * 3, current * target_milli // 3):
        first = LAW.hpa_desired(current, usage_milli, target_milli, up, down)
        if first == 0:
            continue
        again = LAW.hpa_desired(first, usage_milli, target_milli, up, down)
        assert LAW.hpa_desired(again, usage_milli, target_milli, up, down) == again
        if first != current:
            assert again == first
            assert first * target_milli >= usage_milli
            assert (first - 1) * target_milli < usage_milli
    assert LAW.hpa_desired(current, current * target_milli, target_milli, up, down) == current


@no_deadline
@given(usages, st.integers(1, 30), st.integers(0, 5), st.integers(0, 5))
def test_pods_metric_never_scales_up_further_for_pods_that_do_not_report(usage, n, pending, missing) -> None:
    for metric_milli in usage:
        every = LAW.hpa_desired_pods(n, metric_milli, 5000, n, 0, 0, 100, 100)
        some = LAW.hpa_desired_pods(n + pending + missing, metric_milli, 5000, n, pending, missing, 100, 100)
        if every > n:
            assert some <= max(every, n + pending + missing)


def test_the_example_of_the_documentation() -> None:
    """docs/autoscalers.md: target 8, 4 replicas, 90 outstanding from 60 s to 600 s, 30 before and after."""
    par, state = zeros(LAW.HPA_PAR_SIZE), zeros(LAW.HPA_STATE_SIZE)
    LAW.hpa_par(par, 8000)
    LAW.hpa_default_policies(par)
    wanted, changes = 4, {}
    for at_s in range(0, 1200, 15):
        load = 90_000 if 60 <= at_s < 600 else 30_000
        new = LAW.hpa_tick(at_s * PS_PER_S, wanted, load, 1, 0, 0, 2, 16, par, state)
        if new != wanted:
            changes[at_s] = new
        wanted = new
    assert changes == {60: 8, 75: 12, 885: 4}


def test_a_full_log_is_said_and_the_newest_entries_stay() -> None:
    """A window of 3600 s every second needs 3602 entries: `hpa_fits` refuses it, and the state tells."""
    par, state = new_par((3600, 0, []), (3600, 0, [])), zeros(LAW.HPA_STATE_SIZE)
    assert not LAW.hpa_fits(par, PS_PER_S)
    assert LAW.hpa_fits(par, 15 * PS_PER_S)
    for n in range(LAW.HPA_LOG_CAP + 10):
        LAW.hpa_tick(n * PS_PER_S, 5, 25_000, 1, 0, 0, 1, 9, par, state)
        assert state[LAW.HPA_STATUS] == (LAW.HPA_LOG_FULL if n >= LAW.HPA_LOG_CAP - 1 else LAW.HPA_OK)
    times = state[LAW.HPA_PROPOSALS + 1 : LAW.HPA_PROPOSALS + 1 + 2 * LAW.HPA_LOG_CAP : 2]
    assert sorted(times) == [n * PS_PER_S for n in range(10, LAW.HPA_LOG_CAP + 10)]


@pytest.mark.parametrize("law", [LAW, PLAIN], ids=["compiled", "plain"])
def test_a_rule_holds_only_so_many_policies(law) -> None:
    par = new_par((0, 0, []), (0, 0, []))
    assert all(law.hpa_policy(par, law.UP, 0, 1, PS_PER_S) for _ in range(law.HPA_POLICY_CAP))
    assert not law.hpa_policy(par, law.UP, 0, 1, PS_PER_S)


def test_the_two_sets_of_laws_are_two() -> None:
    assert not hasattr(PLAIN.hpa_tick, "py_func")
    assert PLAIN.hpa_tick is not LAW.hpa_tick


@no_deadline
@given(usages, st.integers(0, 3), st.integers(1, 30), st.integers(0, 30))
def test_the_queue_scaler_stays_in_its_bounds(usage, lo, span, start) -> None:
    hi = lo + span
    par, state, other = zeros(LAW.KEDA_PAR_SIZE), zeros(LAW.KEDA_STATE_SIZE), zeros(LAW.KEDA_STATE_SIZE)
    LAW.keda_par(par, lo, hi)
    LAW.hpa_par(par[LAW.KEDA_HPA_PAR :], 5000, behavior=0)
    wanted = start
    for n, backlog_milli in enumerate(usage):
        before = wanted
        wanted = LAW.keda_desired(n * SYNC_PS, before, backlog_milli, par, state)
        assert wanted == PLAIN.keda_desired(n * SYNC_PS, before, backlog_milli, par, other)
        assert wanted <= hi
        is_polled = n % 2 == 0  # every 30 s, with a sync in between
        assert wanted >= lo or (before == 0 and not is_polled)
        assert wanted >= 1 or before == 0 or backlog_milli == 0
        assert wanted >= 1 or backlog_milli == 0 or not is_polled
