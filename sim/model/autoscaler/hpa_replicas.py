"""How many replicas the Kubernetes HPA proposes from a metric, before any limit (replica_calculator.go).

Quantities are int64 milli-units, as resource.Quantity.MilliValue gives them; the ratios are float64 with
the same operations in the same order as upstream, because its rounding (1.1 · 10 pods → 12) is part of what
it does. No expression is a product plus a sum, so a compiler has nothing to contract. Targets are above 0.
Source: kubernetes/kubernetes pkg/controller/podautoscaler/replica_calculator.go and metrics/utilization.go.
"""

from __future__ import annotations

import math

from numpy.typing import NDArray

from sim.compile.jit import jit
from sim.model.autoscaler.hpa_rows import HpaSeen, HpaTarget, Pod, PodRules

INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1
LONG_AGO_PS = -(2**62)  # Go's zero time: before anything that can be compared with it
NO_PROPOSAL = -1  # the metric could not be read, or no pod it speaks of is known: nothing is changed

# groups of groupPods
POD_READY = 0
POD_UNREADY = 1
POD_MISSING = 2
POD_IGNORED = 3

# pod phases
PHASE_PENDING = 0
PHASE_RUNNING = 1
PHASE_SUCCEEDED = 2
PHASE_FAILED = 3


@jit
def ceil_int32(x: float) -> int:
    """Smallest whole number not below `x`, at most INT32_MAX (also for infinity)."""
    if x > 2147483647.0:
        return INT32_MAX
    return math.ceil(x)


@jit
def add_milli(a: int, b: int) -> int:
    """Sum of two quantities that are not negative, at most INT64_MAX."""
    if a > INT64_MAX - b:
        return INT64_MAX
    return a + b


@jit
def is_within(ratio: float, target: HpaTarget) -> bool:
    """Whether usage / target is so near 1 that nothing is done; both ends count as near."""
    lowest = 1.0 - target.tolerance_down_milli / 1000.0
    highest = 1.0 + target.tolerance_up_milli / 1000.0
    return lowest <= ratio and ratio <= highest


@jit
def usage_per_pod(usage_milli: int, current: int) -> int:
    """What the HPA's status shows as the average of an object or external metric, milli-units, rounded up."""
    usage = float(usage_milli)
    if usage >= 9223372036854775807.0:
        return INT64_MAX
    if current == 0:
        return 0
    return math.ceil(usage / float(current))


@jit
def hpa_desired(current: int, usage_milli: int, target: HpaTarget) -> int:
    """Replicas wanted by an object or external metric with an `AverageValue` target.

    `usage_milli` is the metric's sum over the whole pool, the target what one replica should carry. From 0 replicas the
    ratio is infinite or not a number upstream, which is never within the tolerance.
    """
    usage = float(usage_milli)
    each = float(target.milli)
    if current > 0 and is_within(usage / (each * float(current)), target):
        return current
    return ceil_int32(usage / each)


@jit
def hpa_desired_value(current: int, usage_milli: int, n_ready: int, target: HpaTarget) -> int:
    """Replicas wanted by an object or external metric with a `Value` target: n_ready · usage / target.

    Pods that are not running and ready do not count; from 0 replicas the ratio itself is the answer.
    """
    ratio = float(usage_milli) / float(target.milli)
    if current == 0:
        return ceil_int32(ratio)
    if is_within(ratio, target):
        return current
    return ceil_int32(ratio * float(n_ready))


@jit
def rebalanced(current: int, first: float, second: float, n_pods: int, target: HpaTarget) -> int:
    """Replicas wanted once pods without a sample are filled in; never against the first direction."""
    if is_within(second, target):
        return current
    if (first < 1.0 and second > 1.0) or (first > 1.0 and second < 1.0):
        return current
    wanted = ceil_int32(second * float(n_pods))
    if (second < 1.0 and wanted > current) or (second > 1.0 and wanted < current):
        return current
    return wanted


@jit
def hpa_desired_pods(current: int, usage_milli: int, seen: HpaSeen, target: HpaTarget) -> int:
    """Replicas wanted by a per-pod custom metric (`type: Pods`), or NO_PROPOSAL when no pod reports one.

    `usage_milli` is the sum over the `n_reporting` pods that have a sample, ready or not. `n_missing`
    running pods have none: they count as 0 on the way up and as on target on the way down. `n_pending` pods
    count as 0 on the way up.
    """
    n_reporting, n_pending, n_missing = seen.n_reporting, seen.n_pending, seen.n_missing
    if n_reporting <= 0:
        return NO_PROPOSAL
    ratio = float(usage_milli // n_reporting) / float(target.milli)
    up_with_pending = n_pending > 0 and ratio > 1.0
    if not up_with_pending and n_missing == 0:
        if is_within(ratio, target):
            return current
        return ceil_int32(ratio * float(n_reporting))
    total = usage_milli
    n_pods = n_reporting
    if ratio < 1.0:
        total += n_missing * target.milli
    if ratio != 1.0:
        n_pods += n_missing
    if up_with_pending:
        n_pods += n_pending
    second = float(total // n_pods) / float(target.milli)
    return rebalanced(current, ratio, second, n_pods, target)


@jit
def pod_group(now_ps: int, pod: Pod, rules: PodRules) -> int:
    """Group of a pod for a resource metric: POD_READY, POD_UNREADY, POD_MISSING or POD_IGNORED (groupPods)."""
    if pod.is_deleted == 1 or pod.phase == PHASE_FAILED:
        return POD_IGNORED
    if pod.phase == PHASE_PENDING:
        return POD_UNREADY
    if pod.has_sample == 0:
        return POD_MISSING
    if rules.is_cpu == 0:
        return POD_READY
    return POD_UNREADY if is_unready(now_ps, pod, rules) else POD_READY


@jit
def is_unready(now_ps: int, pod: Pod, rules: PodRules) -> bool:
    """Whether a running pod's cpu usage is not to be believed yet."""
    if pod.ready < 0:
        return True
    if (
        pod.start_ps + rules.initialization_ps > now_ps
    ):  # still starting: one window since the last change is needed
        return pod.ready == 0 or pod.sample_ps < pod.transition_ps + pod.window_ps
    never_was = pod.start_ps + rules.readiness_delay_ps > pod.transition_ps
    return pod.ready == 0 and never_was


@jit
def utilization_pct(usage_milli: int, request_milli: int) -> int:
    """Usage as a whole percentage of the request, rounded down; NO_PROPOSAL when nothing was requested."""
    if request_milli <= 0:
        return NO_PROPOSAL
    return usage_milli * 100 // request_milli


@jit
def group_sum(values: NDArray, group: NDArray, wanted: int) -> int:
    """Sum of `values` over the pods of one group."""
    total = 0
    for i in range(len(values)):
        if group[i] == wanted:
            total += values[i]
    return total


@jit
def group_count(group: NDArray, wanted: int) -> int:
    """Number of pods in one group."""
    total = 0
    for i in range(len(group)):
        if group[i] == wanted:
            total += 1
    return total


@jit
def missing_usage(request_milli: NDArray, group: NDArray, target_pct: int) -> int:
    """Usage assumed on a scale-down for pods without a sample: their request, or a target above 100 %."""
    assumed_pct = max(100, target_pct)
    total = 0
    for i in range(len(group)):
        if group[i] == POD_MISSING:
            total += request_milli[i] * assumed_pct // 100
    return total


@jit
def hpa_desired_resource(
    current: int, target: HpaTarget, group: NDArray, usage_milli: NDArray, request_milli: NDArray
) -> int:
    """Replicas wanted by a resource metric with a utilisation target (cpu: 80 %), or NO_PROPOSAL.

    `group`, `usage_milli` and `request_milli` are (pod,) int64; groups come from `pod_group`, a request
    below 0 means that the pod states none, which stops the HPA.
    """
    for i in range(len(request_milli)):
        if request_milli[i] < 0:
            return NO_PROPOSAL
    n_ready = group_count(group, POD_READY)
    usage = group_sum(usage_milli, group, POD_READY)
    request = group_sum(request_milli, group, POD_READY)
    percent = utilization_pct(usage, request)
    if n_ready == 0 or percent < 0:
        return NO_PROPOSAL
    ratio = float(percent) / float(target.milli)
    n_missing = group_count(group, POD_MISSING)
    n_unready = group_count(group, POD_UNREADY)
    up_with_unready = n_unready > 0 and ratio > 1.0
    if not up_with_unready and n_missing == 0:
        if is_within(ratio, target):
            return current
        return ceil_int32(ratio * float(n_ready))
    n_pods = n_ready
    if ratio < 1.0:
        usage += missing_usage(request_milli, group, target.milli)
    if ratio != 1.0:
        request += group_sum(request_milli, group, POD_MISSING)
        n_pods += n_missing
    if up_with_unready:
        request += group_sum(request_milli, group, POD_UNREADY)
        n_pods += n_unready
    second = float(utilization_pct(usage, request)) / float(target.milli)
    return rebalanced(current, ratio, second, n_pods, target)
