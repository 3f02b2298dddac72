"""The Kubernetes HorizontalPodAutoscaler, autoscaling/v2: one reconcile is one `hpa_tick`.

Each metric gives a raw proposal (hpa_replicas.py), and the largest counts; it is stabilised over a window of earlier
proposals, held to the scaling policies and the bounds, and what was scaled is remembered. hpa_rows.py says what an HPA
is told, sees and remembers.
Source: kubernetes/kubernetes pkg/controller/podautoscaler/horizontal.go.
"""

from __future__ import annotations

import math

from sim.compile.jit import jit, jit_call
from sim.model.autoscaler.hpa_replicas import (
    INT32_MAX,
    NO_PROPOSAL,
    ceil_int32,
    hpa_desired,
    hpa_desired_pods,
    hpa_desired_value,
)
from sim.model.autoscaler.hpa_rows import (
    DESIRED_WITHIN_RANGE,
    DOWN,
    LOG_CAP,
    POLICY_PODS,
    POLICY_SIZE,
    SCALE_DOWN_LIMIT,
    SCALE_UP_LIMIT,
    SELECT_DISABLED,
    SELECT_MAX,
    TARGET_AVERAGE,
    TARGET_PODS,
    TARGET_SIZE,
    TARGET_VALUE,
    TOO_FEW_REPLICAS,
    TOO_MANY_REPLICAS,
    UP,
    HpaLog,
    HpaMemory,
    HpaPolicy,
    HpaRule,
    HpaSeen,
    HpaSettings,
    HpaTarget,
)


# ---- logs ----------------------------------------------------------------------
@jit
def oldest_entry(log: HpaLog) -> int:
    """Index of the entry with the smallest time in a log that is not empty."""
    found = 0
    for i in range(1, log.n):
        if log.time_ps[i] < log.time_ps[found]:
            found = i
    return found


@jit
def log_entry(log: HpaLog, place: int, now_ps: int, value: int) -> None:
    """Write (now, value) over the entry at `place` of a log, or as a new one when `place` is negative."""
    if place < 0:
        if log.n < LOG_CAP:
            place = log.n
            log.n += 1
        else:
            place = oldest_entry(log)
            log.n_dropped += 1
    log.time_ps[place] = now_ps
    log.value[place] = value


@jit
def changed_since(log: HpaLog, cutoff_ps: int) -> int:
    """Replicas that a log says were added or removed after `cutoff_ps`."""
    total = 0
    for i in range(log.n):
        if log.time_ps[i] > cutoff_ps:
            total += log.value[i]
    return total


# ---- stabilisation ----------------------------------------------------------------------
@jit
def stabilize(now_ps: int, current: int, desired: int, settings: HpaSettings, memory: HpaMemory) -> int:
    """Move `current` only as far as all proposals of the windows agree, and log the proposal `desired`.

    An entry as old as the window no longer counts. Upstream: stabilizeRecommendationWithBehaviors.
    """
    log = HpaLog(memory.proposals, 0)
    up_cutoff_ps = now_ps - HpaRule(settings.up, 0).window_ps
    down_cutoff_ps = now_ps - HpaRule(settings.down, 0).window_ps
    lowest = desired
    highest = desired
    stale = -1
    for i in range(log.n):
        time_ps = log.time_ps[i]
        if time_ps > up_cutoff_ps:
            lowest = min(lowest, log.value[i])
        if time_ps > down_cutoff_ps:
            highest = max(highest, log.value[i])
        if time_ps < up_cutoff_ps and time_ps < down_cutoff_ps:
            stale = i
    log_entry(log, stale, now_ps, desired)
    return min(max(current, lowest), highest)


@jit
def stabilize_down(now_ps: int, desired: int, settings: HpaSettings, memory: HpaMemory) -> int:
    """Highest proposal of the down window, which counts entries as old as itself; without behavior."""
    log = HpaLog(memory.proposals, 0)
    cutoff_ps = now_ps - HpaRule(settings.down, 0).window_ps
    highest = desired
    stale = -1
    for i in range(log.n):
        if log.time_ps[i] < cutoff_ps:
            stale = i
        else:
            highest = max(highest, log.value[i])
    log_entry(log, stale, now_ps, desired)
    return highest


# ---- policies and bounds ----------------------------------------------------------------------
@jit
def policy_limit(start: int, direction: int, policy: HpaPolicy) -> int:
    """Replicas that one policy allows, `start` being those at the start of its period."""
    if direction == UP:
        if policy.kind == POLICY_PODS:
            return start + policy.value
        return ceil_int32(float(start) * (1.0 + policy.value / 100.0))
    if policy.kind == POLICY_PODS:
        return start - policy.value
    return math.trunc(float(start) * (1.0 - policy.value / 100.0))


@jit
def scale_limit(now_ps: int, current: int, direction: int, rule: HpaRule, memory: HpaMemory) -> int:
    """Replicas that the policies of one direction allow; `current` when it is disabled.

    Max picks the policy that allows most change, Min the one that allows least; no policy (which Kubernetes
    refuses) is no limit.
    """
    if rule.select == SELECT_DISABLED:
        return current
    if rule.n_policy == 0:
        return INT32_MAX if direction == UP else 0
    want_high = (direction == UP) == (rule.select == SELECT_MAX)
    limit = -INT32_MAX - 1 if want_high else INT32_MAX
    for i in range(rule.n_policy):
        policy = HpaPolicy(rule.policies, i * POLICY_SIZE)
        cutoff_ps = now_ps - policy.period_ps
        added = changed_since(HpaLog(memory.ups, 0), cutoff_ps)
        removed = changed_since(HpaLog(memory.downs, 0), cutoff_ps)
        proposed = policy_limit(current - added + removed, direction, policy)
        limit = max(limit, proposed) if want_high else min(limit, proposed)
    return limit


@jit
def limit_rate(now_ps: int, current: int, desired: int, settings: HpaSettings, memory: HpaMemory) -> int:
    """`desired` held to the policies and bounds, the reason in the memory (…WithBehaviorRate upstream)."""
    lo, hi = settings.min_replicas, settings.max_replicas
    memory.reason = DESIRED_WITHIN_RANGE
    if desired > current:
        limit = max(current, scale_limit(now_ps, current, UP, HpaRule(settings.up, 0), memory))
        if desired > min(hi, limit):
            memory.reason = SCALE_UP_LIMIT if hi > limit else TOO_MANY_REPLICAS
            return min(hi, limit)
    elif desired < current:
        limit = min(current, scale_limit(now_ps, current, DOWN, HpaRule(settings.down, 0), memory))
        if desired < max(lo, limit):
            memory.reason = SCALE_DOWN_LIMIT if lo < limit else TOO_FEW_REPLICAS
            return max(lo, limit)
    return desired


@jit
def limit_plain(current: int, desired: int, settings: HpaSettings, memory: HpaMemory) -> int:
    """`desired` held to the bounds and max(double, 4); without behavior (…WithRules upstream)."""
    lo, hi = settings.min_replicas, settings.max_replicas
    limit = max(2 * current, 4)
    memory.reason = DESIRED_WITHIN_RANGE
    if desired < lo:
        memory.reason = TOO_FEW_REPLICAS
        return lo
    if desired > min(hi, limit):
        memory.reason = SCALE_UP_LIMIT if hi > limit else TOO_MANY_REPLICAS
        return min(hi, limit)
    return desired


@jit
def hpa_normalize(now_ps: int, current: int, desired: int, settings: HpaSettings, memory: HpaMemory) -> int:
    """Replicas to scale to, from the raw proposal `desired`, which is logged."""
    if settings.behavior == 0:
        return limit_plain(current, stabilize_down(now_ps, desired, settings, memory), settings, memory)
    stabilized = stabilize(now_ps, current, desired, settings, memory)
    return limit_rate(now_ps, current, stabilized, settings, memory)


@jit
def log_change(now_ps: int, n: int, rule: HpaRule, log: HpaLog) -> None:
    """Log that n replicas were added or removed, over the last entry too old for every policy of its direction."""
    longest_ps = 0
    for i in range(rule.n_policy):
        longest_ps = max(longest_ps, HpaPolicy(rule.policies, i * POLICY_SIZE).period_ps)
    stale = -1
    for i in range(log.n):
        if log.time_ps[i] < now_ps - longest_ps:
            stale = i
    log_entry(log, stale, now_ps, n)


@jit
def hpa_record(now_ps: int, old: int, new: int, settings: HpaSettings, memory: HpaMemory) -> None:
    """Remember that replicas went from `old` to `new`."""
    if settings.behavior == 0:
        return
    if new > old:
        log_change(now_ps, new - old, HpaRule(settings.up, 0), HpaLog(memory.ups, 0))
    elif new < old:
        log_change(now_ps, old - new, HpaRule(settings.down, 0), HpaLog(memory.downs, 0))


# ---- proposals ----------------------------------------------------------------------
@jit
def metric_proposal(current: int, metric_milli: int, target: HpaTarget, seen: HpaSeen) -> int:
    """Raw proposal from one metric, by the kind of target; NO_PROPOSAL when it is unknown (negative)."""
    if metric_milli < 0:
        return NO_PROPOSAL
    if target.kind == TARGET_AVERAGE:
        return hpa_desired(current, metric_milli, target)
    if target.kind == TARGET_VALUE:
        return hpa_desired_value(current, metric_milli, seen.n_reporting, target)
    if target.kind == TARGET_PODS:
        return hpa_desired_pods(current, metric_milli, seen, target)
    return NO_PROPOSAL


@jit
def hpa_proposal(current: int, settings: HpaSettings, seen: HpaSeen) -> int:
    """The largest proposal of all metrics (computeReplicasForMetrics upstream).

    NO_PROPOSAL when no metric has one, or when one has none and the others would scale down.
    """
    largest = NO_PROPOSAL
    n_unknown = 0
    for i in range(settings.n_target):
        target = HpaTarget(settings.targets, i * TARGET_SIZE)
        proposed = metric_proposal(current, seen.metric_milli[i], target, seen)
        if proposed < 0:
            n_unknown += 1
        largest = max(largest, proposed)
    if n_unknown > 0 and largest < current:
        return NO_PROPOSAL
    return largest


@jit
def knows_itself_at_zero(settings: HpaSettings) -> bool:
    """Whether some metric can be read without a pod: not one of the pods themselves."""
    found = False
    for i in range(settings.n_target):
        found = found or HpaTarget(settings.targets, i * TARGET_SIZE).kind != TARGET_PODS
    return found


@jit
def leaves_zero(settings: HpaSettings, memory: HpaMemory) -> bool:
    """Whether an HPA that finds 0 replicas goes on: only if it scaled to 0 itself and the feature gate is on."""
    if settings.scale_to_zero == 0 or memory.is_at_zero == 0:
        return False
    return settings.min_replicas != 0 or knows_itself_at_zero(settings)


@jit
def hpa_wanted(now_ps: int, current: int, settings: HpaSettings, memory: HpaMemory, seen: HpaSeen) -> int:
    """Replicas wanted: a count outside the bounds is corrected at once, else the metrics decide."""
    if current > settings.max_replicas:
        return settings.max_replicas
    if current > 0 and current < settings.min_replicas:
        return settings.min_replicas
    desired = hpa_proposal(current, settings, seen)
    if desired < 0:
        return current
    wanted = hpa_normalize(now_ps, current, desired, settings, memory)
    return max(wanted, settings.min_replicas) if current == 0 else wanted


@jit_call
def hpa_tick(now_ps: int, current: int, settings: HpaSettings, memory: HpaMemory, seen: HpaSeen) -> int:
    """One reconcile: replicas wanted from now on, `current` being those wanted until now.

    TARGET_AVERAGE looks at no count of pods that `seen` has.
    """
    if memory.is_started == 0:
        memory.is_started = 1
        log_entry(HpaLog(memory.proposals, 0), -1, now_ps, current)
    if current == 0 and not leaves_zero(settings, memory):
        return 0
    wanted = hpa_wanted(now_ps, current, settings, memory, seen)
    if wanted != current:
        hpa_record(now_ps, current, wanted, settings, memory)
        went_to_zero = wanted == 0 and settings.min_replicas == 0 and knows_itself_at_zero(settings)
        memory.is_at_zero = 1 if went_to_zero and settings.scale_to_zero == 1 else 0
    return wanted
