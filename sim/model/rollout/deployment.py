"""A Kubernetes Deployment's rolling update: one sync scales the new set if it can, otherwise the old ones.

`old` is the first of n old sets that lie side by side, the oldest first.
Source: kubernetes/kubernetes pkg/controller/deployment/rolling.go and util/deployment_util.go.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.rollout.limits import ROLLING, max_surge, max_unavailable
from sim.model.tables.rollout import NONE, ReplicaSet

SET_SIZE = ReplicaSet.SIZE
ACTIONS = ("none", "scale_up_new", "scale_down_new", "scale_down_old")
ACTION_NONE, ACTION_UP_NEW, ACTION_DOWN_NEW, ACTION_DOWN_OLD = range(4)

#: A deadline that Kubernetes reads as none: the largest int32.
NO_DEADLINE_S = (1 << 31) - 1

PROGRESSING_REASONS = ("", "NewReplicaSetAvailable", "ProgressDeadlineExceeded")
REASON_OTHER, REASON_AVAILABLE, REASON_EXCEEDED = range(3)


@jit
def set_at(first, i):
    """The i-th of the sets of which the first is given."""
    return ReplicaSet(first.words, i * SET_SIZE)


@jit
def replicas_of(first, n):
    """Replicas that n sets are asked for."""
    total = 0
    for i in range(n):
        total += set_at(first, i).replicas
    return total


@jit
def available_of(first, n):
    """Replicas of n sets that are available."""
    total = 0
    for i in range(n):
        total += set_at(first, i).available
    return total


# ---- the new set ----------------------------------------------------------------------
@jit
def new_set_replicas(strategy, limits, replicas, new, total):
    """What the new set of `new` replicas may grow to, while all sets are asked for `total` (NewRSNewReplicas)."""
    if strategy != ROLLING:
        return replicas
    room = replicas + max_surge(strategy, limits, replicas) - total
    return new if room <= 0 else new + min(room, replicas - new)


@jit
def reconciled_new(limits, replicas, new, old_replicas):
    """What a sync of a rolling update asks of the new set (reconcileNewReplicaSet)."""
    if new >= replicas:
        return replicas
    return new_set_replicas(ROLLING, limits, replicas, new, new + old_replicas)


# ---- the old sets ----------------------------------------------------------------------
@jit_call
def clean_up_unhealthy(old, n, most):
    """Take replicas that are not available from the old sets, at most so many; returns how many (cleanupUnhealthyReplicas).

    NONE where a set has more available replicas than it is asked for: the controller waits until it has caught up.
    """
    cleaned = 0
    for i in range(n):
        row = set_at(old, i)
        if cleaned < most and row.replicas != 0 and row.replicas != row.available:
            fewer = min(most - cleaned, row.replicas - row.available)
            if fewer < 0:
                return NONE
            row.replicas -= fewer
            cleaned += fewer
    return cleaned


@jit_call
def scale_down_old(limits, replicas, old, n, new_available):
    """Take replicas from the old sets as far as enough stay available; returns how many
    (scaleDownOldReplicaSetsForRollingUpdate).
    """
    least = replicas - max_unavailable(ROLLING, limits, replicas)
    most = available_of(old, n) + new_available - least
    taken = 0
    for i in range(n):
        row = set_at(old, i)
        if taken < most:
            fewer = min(row.replicas, most - taken)
            row.replicas -= fewer
            taken += fewer
    return taken


@jit_call
def reconcile_old(limits, replicas, old, n, new, new_available):
    """A sync's part for the old sets: those that are not available first. Returns replicas taken (reconcileOldReplicaSets).

    A new set that is not available yet keeps as many old replicas.
    """
    old_replicas = replicas_of(old, n)
    least = replicas - max_unavailable(ROLLING, limits, replicas)
    most = old_replicas + new - least - (new - new_available)
    if old_replicas == 0 or most <= 0:
        return 0
    cleaned = clean_up_unhealthy(old, n, most)
    if cleaned < 0:
        return 0
    return cleaned + scale_down_old(limits, replicas, old, n, new_available)


@jit_call
def rolling_sync(limits, replicas, old, n, sync):
    """One sync of a rolling update: sets the replicas of the new set in `sync` and of the old sets; returns ACTION_…"""
    wanted = reconciled_new(limits, replicas, sync.new, replicas_of(old, n))
    sync.action = ACTION_NONE
    if wanted != sync.new:
        sync.action = ACTION_UP_NEW if wanted > sync.new else ACTION_DOWN_NEW
        sync.new = wanted
    elif reconcile_old(limits, replicas, old, n, sync.new, sync.new_available) > 0:
        sync.action = ACTION_DOWN_OLD
    return sync.action


# ---- whether it is getting on ----------------------------------------------------------------------
@jit
def is_complete(replicas, status):
    """Whether all replicas are of the newest version and available, and none other is left (DeploymentComplete)."""
    return status.updated == replicas and status.replicas == replicas and status.available == replicas


@jit
def is_progressing(before, after):
    """Whether a status is nearer to the end than the one before (DeploymentProgressing)."""
    if after.updated > before.updated or after.replicas - after.updated < before.replicas - before.updated:
        return True
    return after.ready > before.ready or after.available > before.available


@jit
def is_timed_out(deadline, since, reason):
    """Whether more than the deadline has passed since the last progress, both in one unit (DeploymentTimedOut).

    NONE is no deadline. A Deployment that is complete does not time out, one that has timed out stays so.
    """
    if deadline < 0 or deadline == NO_DEADLINE_S or reason == REASON_AVAILABLE:
        return False
    return reason == REASON_EXCEEDED or since > deadline
