"""A Deployment that gets another size in the middle of a rollout: every set gets its share.

The sets lie side by side, the newest first; what each is to have is written into its `wanted`.
Source: kubernetes/kubernetes pkg/controller/deployment/sync.go (scale) and util/deployment_util.go (FindActiveOrLatest,
GetReplicaSetProportion).
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.rollout.deployment import replicas_of, set_at
from sim.model.rollout.limits import ROLLING, max_surge
from sim.model.tables.rollout import NONE


@jit
def fraction(replicas, size, now, before):
    """By how much a set of so many replicas changes when the largest size allowed goes from `before` to `now`: its share,
    rounded half away from zero. `size` is the Deployment's own.
    """
    if size == 0:
        return -replicas
    if before == 0:
        return 0
    return (2 * replicas * now + before) // (2 * before) - replicas


@jit_call
def next_by_size(sets, n, newest_first):
    """The largest of the sets whose `wanted` is still NONE, or NONE; of equal ones the newest or the oldest."""
    found = NONE
    for i in range(n):
        row = set_at(sets, i)
        if row.wanted == NONE and row.replicas > 0:
            size = 0 if found == NONE else set_at(sets, found).replicas
            if row.replicas > size or (row.replicas == size and not newest_first):
                found = i
    return found


@jit_call
def share_out(sets, n, size, allowed, allowed_before):
    """Give every set that has replicas its share of the size that is allowed now, the largest set first; the rest goes to
    the largest.
    """
    to_add = allowed - replicas_of(sets, n)
    added = 0
    largest = NONE
    i = next_by_size(sets, n, to_add > 0)
    while i != NONE:
        row = set_at(sets, i)
        change = 0
        if to_add != added:
            change = fraction(row.replicas, size, allowed, allowed_before)
            left = to_add - added
            change = min(change, left) if to_add > 0 else max(change, left)
        row.wanted = row.replicas + change
        added += change
        largest = i if largest == NONE else largest
        i = next_by_size(sets, n, to_add > 0)
    if largest != NONE:
        row = set_at(sets, largest)
        row.wanted = max(0, row.wanted + to_add - added)


@jit_call
def proportional_scale(limits, size, allowed_before, sets, n):
    """Scale a Deployment to `size` in the middle of a rollout. `allowed_before` is its size with surge before.

    Where at most one set has replicas, that set, or the newest, gets them all.
    """
    n_active = 0
    active = 0
    for i in range(n):
        row = set_at(sets, i)
        row.wanted = row.replicas
        if row.replicas > 0:
            n_active += 1
            active = i
    if n_active <= 1 and n > 0:
        set_at(sets, active).wanted = size
        return
    for i in range(n):
        row = set_at(sets, i)
        row.wanted = NONE if row.replicas > 0 else 0
    share_out(sets, n, size, size + max_surge(ROLLING, limits, size) if size > 0 else 0, allowed_before)
