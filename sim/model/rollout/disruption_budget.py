"""A PodDisruptionBudget: how many pods may be taken away, and whether a certain one may.

Source: kubernetes/kubernetes pkg/controller/disruption/disruption.go (getExpectedPodCount, updatePdbStatus) and
pkg/registry/core/pod/storage/eviction.go.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.rollout.limits import rounded_up

POD_PHASES = ("Pending", "Running", "Succeeded", "Failed")
POD_PENDING, POD_RUNNING, POD_SUCCEEDED, POD_FAILED = range(4)


@jit_call
def budget_status(budget, pods, healthy, scale):
    """Bring a budget's status up to date: `pods` match it, `healthy` of them are, and their controllers' scales add up to
    `scale` (0 where there is none, or none that can be read).

    A minimum that is a count looks at no controller.
    """
    if budget.is_max == 1:
        budget.expected = scale
        budget.desired = max(0, scale - rounded_up(budget.bound, budget.is_percent, scale))
    elif budget.is_percent == 1:
        budget.expected = scale
        budget.desired = rounded_up(budget.bound, 1, scale)
    else:
        budget.expected = pods
        budget.desired = budget.bound
    budget.healthy = healthy
    budget.allowed = max(0, healthy - budget.desired) if budget.expected > 0 else 0


@jit
def is_past_budgets(phase, is_terminating):
    """Whether a pod's eviction concerns no budget: it has ended, it has not begun, or it is already going."""
    return phase != POD_RUNNING or is_terminating == 1


@jit
def may_evict(phase, is_terminating, is_ready, matches, budget):
    """Whether a pod may be evicted now; `matches` says that the budget is the pod's. A pod that is not ready may go while
    the healthy ones are enough without it.
    """
    if is_past_budgets(phase, is_terminating) or matches == 0:
        return True
    if is_ready == 0 and budget.desired > 0 and budget.healthy >= budget.desired:
        return True
    return budget.allowed > 0
