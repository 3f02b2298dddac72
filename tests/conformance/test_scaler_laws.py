"""What holds of the HPA and the queue scaler whatever the metric does."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.controllers import compiled, new, plain, seen

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


def new_settings(up: tuple, down: tuple, *, target_milli: int = 5000, **fields: int) -> Any:
    settings = new(LAW.HpaSettings, **fields)
    LAW.hpa_target(settings, target_milli)
    for direction, (window_s, select, given_policies) in enumerate((up, down)):
        rule = LAW.hpa_rule(settings, direction)
        rule.window_ps, rule.select = window_s * PS_PER_S, select
        for kind, value, period_s in given_policies:
            assert LAW.hpa_policy(rule, kind, value, period_s * PS_PER_S)
    return settings


def reported(n_reporting: int, n_pending: int, n_missing: int) -> Any:
    return seen(n_reporting=n_reporting, n_pending=n_pending, n_missing=n_missing)


def held_at(milli: int, up: int = 100, down: int = 100) -> Any:
    return new(LAW.HpaTarget, milli=milli, tolerance_up_milli=up, tolerance_down_milli=down)


def ticks(law, settings, usage, current) -> list[int]:
    """Wanted replicas before the first and after every sync."""
    memory, wanted = new(LAW.HpaMemory), [current]
    for n, metric_milli in enumerate(usage):
        wanted.append(int(law.hpa_tick(n * SYNC_PS, wanted[-1], settings, memory, seen(metric_milli))))
    return wanted


@no_deadline
@given(usages, rules, rules, bounds, st.integers(1, 100), st.sampled_from((0, 1)))
def test_the_bounds_hold_and_plain_python_agrees(usage, up, down, bound, start, behavior) -> None:
    lo, hi = bound
    settings = new_settings(up, down, behavior=behavior, min_replicas=lo, max_replicas=hi)
    found = ticks(LAW, settings, usage, start)
    assert all(lo <= wanted <= hi for wanted in found[1:])
    assert found == ticks(PLAIN, settings, usage, start)


@no_deadline
@given(usages, st.integers(1, 10), st.sampled_from((15, 30, 60, 300)), st.integers(1, 50))
def test_never_further_from_the_periods_start_than_allowed(usage, value, period_s, start) -> None:
    """One pods policy each way; Kubernetes counts from the replicas at the start, ups and downs netted."""
    rule = (0, 0, [(0, value, period_s)])
    found = ticks(LAW, new_settings(rule, rule, max_replicas=1000), usage, start)
    span = period_s * PS_PER_S // SYNC_PS
    for n, (old, now) in enumerate(itertools.pairwise(found)):
        change = now - found[max(0, n - span + 1)]
        assert now <= old or change <= value
        assert now >= old or change >= -value


@no_deadline
@given(usages, st.sampled_from((0, 30, 300)), st.sampled_from((0, 30, 300)), st.integers(1, 50))
def test_stabilisation_is_what_the_proposals_younger_than_the_window_allow(
    usage, up_s, down_s, start
) -> None:
    """Up only to the lowest, down only to the highest of them; without policies nothing else holds it."""
    settings = new_settings((up_s, 0, []), (down_s, 0, []), min_replicas=0, max_replicas=10_000)
    memory = new(LAW.HpaMemory, is_started=1)
    wanted, proposals = start, []
    for n, metric_milli in enumerate(usage):
        proposals.append(LAW.hpa_desired(wanted, metric_milli, held_at(5000)))
        lowest = min(proposals[max(0, n + 1 - max(up_s // 15, 1)) :])
        highest = max(proposals[max(0, n + 1 - max(down_s // 15, 1)) :])
        found = LAW.hpa_tick(n * SYNC_PS, wanted, settings, memory, seen(metric_milli))
        assert found == min(max(wanted, lowest), highest)
        if found == 0:
            break
        wanted = found


@no_deadline
@given(st.integers(0, 500), st.integers(0, 10**9), st.integers(1, 10**6))
def test_a_move_is_to_the_exact_quotient(current, usage_milli, target_milli) -> None:
    found = LAW.hpa_desired(current, usage_milli, held_at(target_milli, 0, 0))
    assert found == -(-usage_milli // target_milli)


@pytest.mark.parametrize("law", [LAW, PLAIN], ids=["compiled", "plain"])
def test_pods_without_a_sample_soften_the_move(law) -> None:
    """4 wanted, 2 reporting, target 10; from the rules of calcPlainMetricReplicas, by hand."""
    each = held_at(10_000)
    assert law.hpa_desired_pods(4, 60_000, reported(2, 2, 0), each) == 6  # 60 over 4 = 15
    assert law.hpa_desired_pods(4, 43_000, reported(1, 3, 0), each) == 4  # 43 over 4 = 10.75, near enough
    assert law.hpa_desired_pods(4, 40_000, reported(2, 0, 2), each) == 4  # 40 over 4 = 10
    assert law.hpa_desired_pods(4, 10_000, reported(2, 0, 2), each) == 3  # 10 + 2 · 10 over 4 = 7.5
    assert law.hpa_desired_pods(4, 10_000, reported(2, 2, 0), each) == 1  # pending ones only count upwards
    assert law.hpa_desired_pods(4, 0, reported(0, 4, 0), each) == law.NO_PROPOSAL


@pytest.mark.parametrize("law", [LAW, PLAIN], ids=["compiled", "plain"])
def test_a_target_above_the_request_is_what_missing_pods_are_taken_to_use(law) -> None:
    """One pod at 50 %, one without a sample, target 150 %: (50 + 150) / 200 of 150 % keeps both."""
    group = np.array([law.POD_READY, law.POD_MISSING])
    usage, request = np.array([50, 0]), np.array([100, 100])
    assert law.hpa_desired_resource(2, held_at(150), group, usage, request) == 2


@no_deadline
@given(st.integers(1, 500), st.integers(1, 10**6), tolerance, tolerance)
def test_within_the_tolerance_nothing_moves_and_a_move_is_enough(current, target_milli, up, down) -> None:
    """With the load unchanged a proposal that is followed is repeated; one that moves is exactly enough."""
    held = held_at(target_milli, up, down)
    for usage_milli in (current * target_milli, current * target_milli * 3, current * target_milli // 3):
        first = LAW.hpa_desired(current, usage_milli, held)
        if first == 0:
            continue
        again = LAW.hpa_desired(first, usage_milli, held)
        assert LAW.hpa_desired(again, usage_milli, held) == again
        if first != current:
            assert again == first
            assert first * target_milli >= usage_milli
            assert (first - 1) * target_milli < usage_milli
    assert LAW.hpa_desired(current, current * target_milli, held) == current


@no_deadline
@given(usages, st.integers(1, 30), st.integers(0, 5), st.integers(0, 5))
def test_pods_metric_never_scales_up_further_for_pods_that_do_not_report(usage, n, pending, missing) -> None:
    for metric_milli in usage:
        every = LAW.hpa_desired_pods(n, metric_milli, reported(n, 0, 0), held_at(5000))
        some = LAW.hpa_desired_pods(
            n + pending + missing, metric_milli, reported(n, pending, missing), held_at(5000)
        )
        if every > n:
            assert some <= max(every, n + pending + missing)


def test_the_example_of_the_documentation() -> None:
    """docs/autoscalers.md: target 8, 4 replicas, 90 outstanding from 60 s to 600 s, 30 before and after."""
    settings, memory = new(LAW.HpaSettings), new(LAW.HpaMemory)
    LAW.hpa_settings(settings, min_replicas=2, max_replicas=16)
    LAW.hpa_target(settings, 8000)
    LAW.hpa_default_policies(settings)
    wanted, changes = 4, {}
    for at_s in range(0, 1200, 15):
        load = 90_000 if 60 <= at_s < 600 else 30_000
        found = LAW.hpa_tick(at_s * PS_PER_S, wanted, settings, memory, seen(load))
        if found != wanted:
            changes[at_s] = found
        wanted = found
    assert changes == {60: 8, 75: 12, 885: 4}


def test_a_full_log_is_said_and_the_newest_entries_stay() -> None:
    """A window of 3600 s every second needs 3602 entries: `hpa_fits` refuses it, and the log counts what it dropped."""
    settings, memory = new_settings((3600, 0, []), (3600, 0, []), max_replicas=9), new(LAW.HpaMemory)
    proposals = LAW.HpaLog(memory.proposals, 0)
    assert not LAW.hpa_fits(settings, PS_PER_S)
    assert LAW.hpa_fits(settings, 15 * PS_PER_S)
    for n in range(LAW.LOG_CAP + 10):
        LAW.hpa_tick(n * PS_PER_S, 5, settings, memory, seen(25_000))
        assert proposals.n_dropped == max(0, n + 2 - LAW.LOG_CAP)
    times = proposals.time_ps[: LAW.LOG_CAP].tolist()
    assert sorted(times) == [n * PS_PER_S for n in range(10, LAW.LOG_CAP + 10)]


@pytest.mark.parametrize("law", [LAW, PLAIN], ids=["compiled", "plain"])
def test_a_rule_holds_only_so_many_policies(law) -> None:
    rule = new(law.HpaRule)
    assert all(law.hpa_policy(rule, 0, 1, PS_PER_S) for _ in range(law.POLICY_CAP))
    assert not law.hpa_policy(rule, 0, 1, PS_PER_S)


def test_the_two_sets_of_laws_are_two() -> None:
    assert not hasattr(PLAIN.hpa_tick, "py_func")
    assert PLAIN.hpa_tick is not LAW.hpa_tick


@no_deadline
@given(usages, st.integers(0, 3), st.integers(1, 30), st.integers(0, 30))
def test_the_queue_scaler_stays_in_its_bounds(usage, lo, span, start) -> None:
    hi = lo + span
    settings, memory, other = new(LAW.KedaSettings), new(LAW.KedaMemory), new(LAW.KedaMemory)
    LAW.keda_settings(settings, min_replicas=lo, max_replicas=hi)
    LAW.keda_trigger(settings, 5000)
    wanted = start
    for n, backlog_milli in enumerate(usage):
        before = wanted
        wanted = LAW.keda_desired(n * SYNC_PS, before, settings, memory, seen(backlog_milli))
        assert wanted == PLAIN.keda_desired(n * SYNC_PS, before, settings, other, seen(backlog_milli))
        assert wanted <= hi
        is_polled = n % 2 == 0  # every 30 s, with a sync in between
        assert wanted >= lo or (before == 0 and not is_polled)
        assert wanted >= 1 or before == 0 or backlog_milli == 0
        assert wanted >= 1 or backlog_milli == 0 or not is_polled
