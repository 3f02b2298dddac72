"""The Kubernetes HorizontalPodAutoscaler, autoscaling/v2: one reconcile is one `hpa_tick`.

A metric gives a raw proposal (hpa_replicas.py); it is stabilised over a window of earlier proposals, held to
the scaling policies and the bounds, and what was scaled is remembered. hpa_layout.py says what lies where.
Source: kubernetes/kubernetes pkg/controller/podautoscaler/horizontal.go.
"""

from __future__ import annotations

import math

from numpy.typing import NDArray

from sim.compile.jit import jit, jit_call
from sim.model.autoscaler.hpa_layout import (
    DESIRED_WITHIN_RANGE,
    DOWN,
    HPA_AT_ZERO,
    HPA_BEHAVIOR,
    HPA_DOWNS,
    HPA_LOG_CAP,
    HPA_LOG_FULL,
    HPA_PROPOSALS,
    HPA_REASON,
    HPA_RULE_SIZE,
    HPA_RULES,
    HPA_SCALE_TO_ZERO,
    HPA_STARTED,
    HPA_STATUS,
    HPA_TARGET_MILLI,
    HPA_TARGET_TYPE,
    HPA_TOLERANCE_DOWN_MILLI,
    HPA_TOLERANCE_UP_MILLI,
    HPA_UPS,
    POLICY_PODS,
    SCALE_DOWN_LIMIT,
    SCALE_UP_LIMIT,
    SELECT_DISABLED,
    SELECT_MAX,
    TARGET_AVERAGE,
    TARGET_PODS,
    TARGET_VALUE,
    TOO_FEW_REPLICAS,
    TOO_MANY_REPLICAS,
    UP,
)
from sim.model.autoscaler.hpa_replicas import (
    INT32_MAX,
    NO_PROPOSAL,
    ceil_int32,
    hpa_desired,
    hpa_desired_pods,
    hpa_desired_value,
)


@jit
def oldest_entry(state: NDArray, log: int) -> int:
    """Index of the entry with the smallest time in a log that is not empty."""
    found = 0
    for i in range(1, state[log]):
        if state[log + 1 + 2 * i] < state[log + 1 + 2 * found]:
            found = i
    return found


@jit
def log_entry(state: NDArray, log: int, slot: int, now_ps: int, value: int) -> None:
    """Write (now, value) over entry `slot` of a log, or as a new one when `slot` is negative."""
    if slot < 0:
        if state[log] < HPA_LOG_CAP:
            slot = state[log]
            state[log] += 1
        else:
            slot = oldest_entry(state, log)
            state[HPA_STATUS] = HPA_LOG_FULL
    state[log + 1 + 2 * slot] = now_ps
    state[log + 2 + 2 * slot] = value


@jit
def stabilize(now_ps: int, current: int, desired: int, par: NDArray, state: NDArray) -> int:
    """Move `current` only as far as all proposals of the windows agree, and log the proposal `desired`.

    An entry as old as the window no longer counts. Upstream: stabilizeRecommendationWithBehaviors.
    """
    up_cutoff_ps = now_ps - par[HPA_RULES]
    down_cutoff_ps = now_ps - par[HPA_RULES + HPA_RULE_SIZE]
    lowest = desired
    highest = desired
    stale = -1
    for i in range(state[HPA_PROPOSALS]):
        time_ps = state[HPA_PROPOSALS + 1 + 2 * i]
        value = state[HPA_PROPOSALS + 2 + 2 * i]
        if time_ps > up_cutoff_ps:
            lowest = min(lowest, value)
        if time_ps > down_cutoff_ps:
            highest = max(highest, value)
        if time_ps < up_cutoff_ps and time_ps < down_cutoff_ps:
            stale = i
    log_entry(state, HPA_PROPOSALS, stale, now_ps, desired)
    return min(max(current, lowest), highest)


@jit
def stabilize_down(now_ps: int, desired: int, par: NDArray, state: NDArray) -> int:
    """Highest proposal of the down window, which counts entries as old as itself; without behavior."""
    cutoff_ps = now_ps - par[HPA_RULES + HPA_RULE_SIZE]
    highest = desired
    stale = -1
    for i in range(state[HPA_PROPOSALS]):
        if state[HPA_PROPOSALS + 1 + 2 * i] < cutoff_ps:
            stale = i
        else:
            highest = max(highest, state[HPA_PROPOSALS + 2 + 2 * i])
    log_entry(state, HPA_PROPOSALS, stale, now_ps, desired)
    return highest


@jit
def changed_since(state: NDArray, log: int, cutoff_ps: int) -> int:
    """Replicas added (HPA_UPS) or removed (HPA_DOWNS) after `cutoff_ps`."""
    total = 0
    for i in range(state[log]):
        if state[log + 1 + 2 * i] > cutoff_ps:
            total += state[log + 2 + 2 * i]
    return total


@jit
def policy_limit(start: int, direction: int, policy_type: int, value: int) -> int:
    """Replicas that one policy allows, `start` being those at the start of its period."""
    if direction == UP:
        if policy_type == POLICY_PODS:
            return start + value
        return ceil_int32(float(start) * (1.0 + value / 100.0))
    if policy_type == POLICY_PODS:
        return start - value
    return math.trunc(float(start) * (1.0 - value / 100.0))


@jit
def scale_limit(now_ps: int, current: int, direction: int, par: NDArray, state: NDArray) -> int:
    """Replicas that the policies of one direction allow; `current` when it is disabled.

    Max picks the policy that allows most change, Min the one that allows least; no policy (which Kubernetes
    refuses) is no limit.
    """
    base = HPA_RULES + direction * HPA_RULE_SIZE
    select = par[base + 1]
    if select == SELECT_DISABLED:
        return current
    if par[base + 2] == 0:
        return INT32_MAX if direction == UP else 0
    want_high = (direction == UP) == (select == SELECT_MAX)
    limit = -INT32_MAX - 1 if want_high else INT32_MAX
    for i in range(par[base + 2]):
        policy = base + 3 + 3 * i
        cutoff_ps = now_ps - par[policy + 2]
        added = changed_since(state, HPA_UPS, cutoff_ps)
        removed = changed_since(state, HPA_DOWNS, cutoff_ps)
        proposed = policy_limit(current - added + removed, direction, par[policy], par[policy + 1])
        limit = max(limit, proposed) if want_high else min(limit, proposed)
    return limit


@jit
def limit_rate(
    now_ps: int, current: int, desired: int, lo: int, hi: int, par: NDArray, state: NDArray
) -> int:
    """`desired` held to the policies and bounds, the reason in the state (…WithBehaviorRate upstream)."""
    state[HPA_REASON] = DESIRED_WITHIN_RANGE
    if desired > current:
        limit = max(current, scale_limit(now_ps, current, UP, par, state))
        if desired > min(hi, limit):
            state[HPA_REASON] = SCALE_UP_LIMIT if hi > limit else TOO_MANY_REPLICAS
            return min(hi, limit)
    elif desired < current:
        limit = min(current, scale_limit(now_ps, current, DOWN, par, state))
        if desired < max(lo, limit):
            state[HPA_REASON] = SCALE_DOWN_LIMIT if lo < limit else TOO_FEW_REPLICAS
            return max(lo, limit)
    return desired


@jit
def limit_plain(current: int, desired: int, lo: int, hi: int, state: NDArray) -> int:
    """`desired` held to the bounds and max(double, 4); without behavior (…WithRules upstream)."""
    limit = max(2 * current, 4)
    state[HPA_REASON] = DESIRED_WITHIN_RANGE
    if desired < lo:
        state[HPA_REASON] = TOO_FEW_REPLICAS
        return lo
    if desired > min(hi, limit):
        state[HPA_REASON] = SCALE_UP_LIMIT if hi > limit else TOO_MANY_REPLICAS
        return min(hi, limit)
    return desired


@jit
def hpa_normalize(
    now_ps: int, current: int, desired: int, lo: int, hi: int, par: NDArray, state: NDArray
) -> int:
    """Replicas to scale to, from the raw proposal `desired`, which is logged."""
    if par[HPA_BEHAVIOR] == 0:
        return limit_plain(current, stabilize_down(now_ps, desired, par, state), lo, hi, state)
    stabilized = stabilize(now_ps, current, desired, par, state)
    return limit_rate(now_ps, current, stabilized, lo, hi, par, state)


@jit
def hpa_record(now_ps: int, old: int, new: int, par: NDArray, state: NDArray) -> None:
    """Remember that replicas went from `old` to `new`, over the last entry too old for every policy."""
    if par[HPA_BEHAVIOR] == 0 or new == old:
        return
    direction = UP if new > old else DOWN
    log = HPA_UPS if new > old else HPA_DOWNS
    base = HPA_RULES + direction * HPA_RULE_SIZE
    longest_ps = 0
    for i in range(par[base + 2]):
        longest_ps = max(longest_ps, par[base + 5 + 3 * i])
    stale = -1
    for i in range(state[log]):
        if state[log + 1 + 2 * i] < now_ps - longest_ps:
            stale = i
    log_entry(state, log, stale, now_ps, abs(new - old))


@jit
def hpa_proposal(
    current: int, metric_milli: int, n_reporting: int, n_pending: int, n_missing: int, par: NDArray
) -> int:
    """Raw proposal from the metric, by the kind of target; NO_PROPOSAL when it is unknown (negative)."""
    target_milli = par[HPA_TARGET_MILLI]
    up_milli = par[HPA_TOLERANCE_UP_MILLI]
    down_milli = par[HPA_TOLERANCE_DOWN_MILLI]
    kind = par[HPA_TARGET_TYPE]
    if metric_milli < 0:
        return NO_PROPOSAL
    if kind == TARGET_AVERAGE:
        return hpa_desired(current, metric_milli, target_milli, up_milli, down_milli)
    if kind == TARGET_VALUE:
        return hpa_desired_value(current, metric_milli, target_milli, n_reporting, up_milli, down_milli)
    if kind == TARGET_PODS:
        return hpa_desired_pods(
            current, metric_milli, target_milli, n_reporting, n_pending, n_missing, up_milli, down_milli
        )
    return NO_PROPOSAL


@jit
def leaves_zero(lo: int, par: NDArray, state: NDArray) -> bool:
    """Whether an HPA that finds 0 replicas goes on: only if it went there itself, the feature gate on."""
    if par[HPA_SCALE_TO_ZERO] == 0 or state[HPA_AT_ZERO] == 0:
        return False
    return lo != 0 or par[HPA_TARGET_TYPE] != TARGET_PODS


@jit_call
def hpa_tick(
    now_ps: int,
    current: int,
    metric_milli: int,
    n_reporting: int,
    n_pending: int,
    n_missing: int,
    lo: int,
    hi: int,
    par: NDArray,
    state: NDArray,
) -> int:
    """One reconcile: replicas wanted from now on, `current` being those wanted until now.

    `metric_milli` is the sum over the pool (for TARGET_VALUE the value itself), negative when it could not
    be read. `n_reporting` counts replicas with a sample (for TARGET_VALUE the ready ones), `n_pending`
    those not on a node yet, `n_missing` those running without a sample; TARGET_AVERAGE looks at none of
    them.
    """
    if state[HPA_STARTED] == 0:
        state[HPA_STARTED] = 1
        log_entry(state, HPA_PROPOSALS, -1, now_ps, current)
    if current == 0 and not leaves_zero(lo, par, state):
        return 0
    if current > hi:
        wanted = hi
    elif 0 < current < lo:
        wanted = lo
    else:
        desired = hpa_proposal(current, metric_milli, n_reporting, n_pending, n_missing, par)
        if desired < 0:
            return current
        wanted = hpa_normalize(now_ps, current, desired, lo, hi, par, state)
        if current == 0:
            wanted = max(wanted, lo)
    if wanted != current:
        hpa_record(now_ps, current, wanted, par, state)
        went_to_zero = wanted == 0 and lo == 0 and par[HPA_TARGET_TYPE] != TARGET_PODS
        state[HPA_AT_ZERO] = 1 if went_to_zero and par[HPA_SCALE_TO_ZERO] == 1 else 0
    return wanted
