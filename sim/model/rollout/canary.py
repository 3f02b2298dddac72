"""An Argo Rollouts canary: how many replicas of the new version stand for a weight of the traffic.

Without a router that splits traffic the weight is a share of the replicas; with one the stable set stays whole, or
shrinks as its traffic does (dynamicStableScale). `steps` is the first of the steps, which lie side by side.
Source: argoproj/argo-rollouts utils/replicaset/canary.go.
"""

from __future__ import annotations

import math

from sim.compile.jit import jit, jit_call
from sim.model.tables.rollout import NONE, CanaryStep

STEP_SIZE = CanaryStep.SIZE
THRESHOLDS = ("", "Percent", "Pods")
THRESHOLD_NONE, THRESHOLD_PERCENT, THRESHOLD_PODS = range(3)


@jit
def step_at(steps, i):
    """The i-th step."""
    return CanaryStep(steps.words, i * STEP_SIZE)


# ---- the weight ----------------------------------------------------------------------
@jit
def abort_delay_s(canary):
    """Seconds before the new version of an aborted rollout goes, 30 where none are set, NONE = it stays."""
    if canary.abort_delay == 0:
        return NONE
    return 30 if canary.abort_delay == NONE else canary.abort_delay


@jit_call
def abort_weight(canary, steps):
    """Weight of the new version while an aborted rollout goes back step by step (dynamicStableScale): the last step below
    what the stable set, and where no delay is set the new one, stand for now.
    """
    if canary.has_stable == 0 or canary.has_canary == 0:
        return 0
    for i in range(canary.n_step - 1, -1, -1):
        weight = step_at(steps, i).weight
        if weight != NONE:
            stable = weight_to_replicas(canary.replicas, canary.max_weight - weight, canary.max_weight)
            if canary.stable_available < stable:
                return weight
            own = weight_to_replicas(canary.replicas, weight, canary.max_weight)
            if canary.abort_delay == NONE and canary.canary_available > own:
                return weight
    return 0


@jit_call
def set_weight(canary, steps):
    """The weight of the last setWeight step up to the one in progress; all once steps are done (GetCurrentSetWeight)."""
    if canary.is_aborted == 1:
        return abort_weight(canary, steps) if canary.dynamic_stable == 1 else 0
    if canary.step >= canary.n_step:
        return canary.max_weight
    for i in range(canary.step, -1, -1):
        if step_at(steps, i).weight != NONE:
            return step_at(steps, i).weight
    return 0


@jit_call
def scale_step(canary, steps):
    """The setCanaryScale step in force, or NONE (UseSetCanaryScale): the last up to the one in progress, with traffic
    routing, unless it says to follow the weight. An aborted rollout follows none, unless its canary is to stay.
    """
    if canary.is_full == 1 or canary.traffic_routing == 0 or canary.step >= canary.n_step:
        return NONE
    if canary.is_aborted == 1 and abort_delay_s(canary) != NONE:
        return NONE
    for i in range(canary.step, -1, -1):
        step = step_at(steps, i)
        if step.match_weight == 1:
            return NONE
        if step.scale_replicas != NONE or step.scale_weight != NONE:
            return i
    return NONE


@jit_call
def canary_replicas(canary, steps):
    """Replicas of the new version that a step sets outright, or NONE."""
    i = scale_step(canary, steps)
    return NONE if i == NONE else step_at(steps, i).scale_replicas


@jit_call
def canary_weight(canary, steps):
    """The weight that replicas of the new version are to stand for; 0 where a step sets their number outright
    (GetCanaryReplicasOrWeight).
    """
    if canary.is_full == 1:
        return canary.max_weight
    i = scale_step(canary, steps)
    if i == NONE:
        return set_weight(canary, steps)
    step = step_at(steps, i)
    return 0 if step.scale_replicas != NONE else step.scale_weight


# ---- replicas for a weight ----------------------------------------------------------------------
@jit
def weight_to_replicas(replicas, weight, max_weight):
    """Replicas that a share of the traffic needs, rounded up (trafficWeightToReplicas)."""
    return -(-replicas * weight // max_weight)


@jit
def weight_off(canary, total, weight, max_weight):
    """How far so many replicas of `total` are from the weight. In floating point, as upstream compares it."""
    return abs(float(canary * max_weight) / float(total) - float(weight))


@jit
def is_tied(total, weight, max_weight):
    """Whether the weight lies in the middle of two counts: upstream then takes the larger."""
    share = float(total) * (float(weight) / float(max_weight))
    return share == math.floor(share) + 0.5


@jit_call
def weight_to_counts(replicas, weight, max_weight, surge, canary):
    """Write the counts of both versions that come nearest to a weight (approximateWeightedCanaryStableReplicaCounts).

    They add up to `replicas`, or one more where surge is allowed; of equally near ones the first of: rounded up, rounded
    down, the same with one more. Two replicas and more have one of each version for any weight but none and all.
    """
    canary.wanted_canary = 0
    canary.wanted_stable = replicas
    if replicas == 0:
        return
    up = -(-replicas * weight // max_weight)
    down = replicas * weight // max_weight
    zero_allowed = weight == max_weight or weight == 0 or (replicas == 1 and surge == 0)
    best = math.inf
    for i in range(4 if surge > 0 else 2):
        total = replicas + i // 2
        count = up if i % 2 == 0 else down
        if i % 2 == 0:
            allowed = i > 0 or up < replicas or zero_allowed
        else:
            allowed = not is_tied(total, weight, max_weight) and (down != 0 or zero_allowed)
        if allowed and weight_off(count, total, weight, max_weight) < best:
            best = weight_off(count, total, weight, max_weight)
            canary.wanted_canary = count
            canary.wanted_stable = total - count


# ---- without a router ----------------------------------------------------------------------
@jit
def for_scale_down(has, replicas, available, ignore_available):
    """Replicas of a set that count when sets are scaled down: those available, unless they are to be ignored, and never
    more than it is asked for (GetReplicasForScaleDown).
    """
    if has == 0:
        return 0
    return replicas if replicas < available or ignore_available else available


@jit
def most_replicas(canary):
    """Replicas that both versions may have together."""
    return canary.replicas + canary.surge


@jit
def least_available(canary):
    """Replicas that must be available."""
    return canary.replicas - canary.unavailable


@jit_call
def adjusted(canary, drained, drained_available, other, other_available):
    """How many of `other` replicas the limits leave to a set, while the other one is drained to `drained`
    (adjustReplicaWithinLimits).
    """
    fewer = other - max(0, other + drained - most_replicas(canary))
    available = min(drained_available, drained) + min(other_available, fewer)
    lost = max(0, other_available - fewer)
    return fewer + min(lost, max(0, least_available(canary) - available))


@jit_call
def drain_canary(canary, aim, spare):
    """Lower the new set towards its aim by what can be spared, and the stable one as far as the limits need."""
    left = max(aim, canary.canary - spare)
    if canary.has_stable == 1:
        stable = canary.wanted_stable
        stable = adjusted(canary, left, canary.canary_available, stable, canary.stable_available)
        canary.wanted_stable = stable
        left -= max(0, stable + left - most_replicas(canary))
    canary.wanted_canary = left


@jit_call
def drain_stable(canary, aim, spare):
    """Lower the stable set towards its aim by what can be spared, and the new one as far as the limits need."""
    left = max(aim, canary.stable - spare) if canary.stable > aim else canary.wanted_stable
    if canary.has_canary == 1:
        new = canary.wanted_canary
        new = adjusted(canary, left, canary.stable_available, new, canary.canary_available)
        canary.wanted_canary = new
        left -= max(0, new + left - most_replicas(canary))
    canary.wanted_stable = left


@jit_call
def scale_up_both(canary, new_aim, stable_aim, new, stable):
    """Raise the stable set towards its aim, then the new one, as long as all sets stay within replicas + surge."""
    room = most_replicas(canary) - new - stable - canary.older
    if canary.has_stable == 1 and stable < stable_aim and room > 0:
        canary.wanted_stable = min(stable + room, stable_aim)
        room -= canary.wanted_stable - stable
    if canary.has_canary == 1 and new < new_aim and room > 0:
        canary.wanted_canary = min(new + room, new_aim)


@jit_call
def scale_down_one(canary, new_aim, stable_aim, new, stable):
    """Lower the set that is above its aim as far as enough replicas stay available; the availability of that set is not
    looked at, so that a version that never gets ready can be left.
    """
    is_increasing = canary.has_canary == 0 or new_aim >= new
    count = for_scale_down(canary.has_canary, new, canary.canary_available, not is_increasing)
    count += for_scale_down(canary.has_stable, stable, canary.stable_available, is_increasing)
    spare = count - least_available(canary)
    if spare > 0 and not is_increasing:
        drain_canary(canary, new_aim, spare)
    elif spare > 0 and canary.has_stable == 1:
        drain_stable(canary, stable_aim, spare)


@jit_call
def basic_counts(canary, steps):
    """Write what both sets are to have now, without a router (CalculateReplicaCountsForBasicCanary).

    While older versions have replicas, neither set shrinks.
    """
    weight_to_counts(canary.replicas, canary_weight(canary, steps), canary.max_weight, canary.surge, canary)
    new_aim = canary.wanted_canary if canary.has_stable == 1 else canary.replicas
    stable_aim = canary.wanted_stable if canary.has_stable == 1 else 0
    new = canary.canary if canary.has_canary == 1 else 0
    stable = canary.stable if canary.has_stable == 1 else 0
    canary.wanted_canary = new
    canary.wanted_stable = stable
    scale_up_both(canary, new_aim, stable_aim, new, stable)
    if canary.older == 0:
        scale_down_one(canary, new_aim, stable_aim, new, stable)


# ---- with a router ----------------------------------------------------------------------
@jit
def at_least_pods(canary, count):
    """minPodsPerReplicaSet, for a set that has replicas at all and a rollout whose traffic is routed."""
    return max(count, canary.min_pods) if count > 0 and canary.traffic_routing == 1 else count


@jit_call
def routed_counts(canary, steps):
    """Write what both sets are to have now, with a router (CalculateReplicaCountsForTrafficRoutedCanary).

    With dynamicStableScale a set keeps what its traffic needs until the traffic has gone.
    """
    outright, weight = canary_replicas(canary, steps), canary_weight(canary, steps)
    count = outright
    if outright == NONE:
        count = at_least_pods(canary, weight_to_replicas(canary.replicas, weight, canary.max_weight))
    canary.wanted_canary = count
    canary.wanted_stable = canary.replicas
    if canary.dynamic_stable == 0:
        return
    stable = weight_to_replicas(canary.replicas, canary.max_weight - weight, canary.max_weight)
    if canary.stable_traffic != NONE:
        stable = max(stable, weight_to_replicas(canary.replicas, canary.stable_traffic, canary.max_weight))
        if canary.is_aborted == 1:
            traffic = weight_to_replicas(canary.replicas, canary.canary_traffic, canary.max_weight)
            count = max(count, traffic)
    canary.wanted_canary = at_least_pods(canary, count)
    canary.wanted_stable = at_least_pods(canary, stable)


@jit_call
def canary_counts(canary, steps):
    """Write what both sets are to have now."""
    if canary.traffic_routing == 1:
        routed_counts(canary, steps)
    else:
        basic_counts(canary, steps)


# ---- whether a step is done ----------------------------------------------------------------------
@jit_call
def at_desired_counts(canary, steps):
    """Whether a step's replicas are there: the new version's available, the stable version's created
    (AtDesiredReplicaCountsForCanary).
    """
    canary_counts(canary, steps)
    new, stable = canary.wanted_canary, canary.wanted_stable
    if canary.has_canary == 0 or canary.canary != new or canary.canary_available != new:
        return False
    is_created = canary.has_stable == 1 and canary.stable == stable and canary.stable_created == stable
    if not is_created and (canary.traffic_routing == 0 or canary.dynamic_stable == 0):
        return False
    return canary.traffic_routing == 1 or canary.older_available == 0


@jit
def threshold_met(kind, threshold, replicas, available, desired):
    """Whether enough replicas of a set are available for a step to be done: by the threshold, or without one all of
    them, and no other number asked for. `available` is NONE where there is no set.
    """
    if available == NONE:
        return False
    if kind == THRESHOLD_NONE or threshold < 0:
        return replicas == desired and available == desired
    if kind == THRESHOLD_PERCENT:
        return available * 100 >= threshold * desired
    return available >= threshold


@jit
def is_within_rollback_window(experiments, target, stable, window):
    """Whether a rollout goes back to a version that is recent enough to need no steps (isRollbackWithinWindow).

    Versions are numbered from the oldest; `experiments` has 1 for each that was only an experiment, which does not count.
    `target` is NONE where there is no new version.
    """
    if target == NONE or target >= stable or window <= 0:
        return False
    between = 0
    for i in range(target + 1, stable):
        between += 1 - experiments[i]
    return between < window
