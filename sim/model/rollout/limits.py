"""How many replicas a rollout may have too many, and how many may be missing: maxSurge and maxUnavailable.

Source: kubernetes/kubernetes pkg/controller/deployment/util/deployment_util.go (ResolveFenceposts, MaxSurge,
MaxUnavailable), apimachinery's intstr; argoproj/argo-rollouts utils/replicaset/replicaset.go has the same.
"""

from __future__ import annotations

from sim.compile.jit import jit

STRATEGIES = ("rolling", "recreate", "blue_green", "canary")
ROLLING, RECREATE, BLUE_GREEN, CANARY = range(4)


@jit
def rounded_up(amount, is_percent, total):
    """A count as it is, or a percentage of `total` in whole replicas, rounded up."""
    return -(-amount * total // 100) if is_percent == 1 else amount


@jit
def rounded_down(amount, is_percent, total):
    """A count as it is, or a percentage of `total` in whole replicas, rounded down."""
    return amount * total // 100 if is_percent == 1 else amount


@jit
def resolved_surge(limits, replicas):
    """Replicas above `replicas` that the limits allow: a percentage rounds up."""
    return rounded_up(limits.surge, limits.surge_percent, replicas)


@jit
def resolved_unavailable(limits, replicas):
    """Replicas that may be missing: a percentage rounds down; where neither limit lets a rollout move, one."""
    unavailable = rounded_down(limits.unavailable, limits.unavailable_percent, replicas)
    if unavailable == 0 and resolved_surge(limits, replicas) == 0:
        return 1
    return unavailable


@jit
def surges(strategy):
    """Whether a strategy's versions share the limits: recreate has no two at a time, blue-green both in full."""
    return strategy == ROLLING or strategy == CANARY


@jit
def max_surge(strategy, limits, replicas):
    """Replicas that a rollout of a strategy may have above `replicas`."""
    return resolved_surge(limits, replicas) if surges(strategy) else 0


@jit
def max_unavailable(strategy, limits, replicas):
    """Replicas that a rollout of a strategy may be missing, never more than there are."""
    if not surges(strategy) or replicas == 0:
        return 0
    return min(resolved_unavailable(limits, replicas), replicas)
