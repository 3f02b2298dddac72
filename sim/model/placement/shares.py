"""Shares in fair sharing: what a queue or cohort borrows over what its parent could lend, by its weight.

Shares are whole numbers of billionths, where upstream has doubles.
Source: kubernetes-sigs/kueue pkg/cache/scheduler/fair_sharing.go.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.placement.quotas import potential, quota_of, used_at, would_borrow

MICRO = 1_000_000
SHARE_DIGITS = 9
SHARE_UNIT = 10**SHARE_DIGITS
SHARE_MAX = 10**9  # so many times what could be lent: more is not told apart
INT64_MAX = 2**63 - 1


@jit_call
def borrowed_of(params, state, node, resource):
    """How much a node uses beyond what it has of a resource, its flavours summed."""
    total = 0
    for pair in range(params.n_quota_pair):
        if params.quota_pair[pair].resource == resource:
            quota = quota_of(params, node, pair)
            used = state.quota_used[used_at(params, node, pair)]
            total += quota.is_known * max(0, used - quota.subtree)
    return total


@jit_call
def lendable(params, node, resource):
    """How much of a resource a node could use at most, its flavours summed."""
    total = 0
    for pair in range(params.n_quota_pair):
        if params.quota_pair[pair].resource == resource:
            total += potential(params, node, pair)
    return total


@jit
def common_divisor(a, b):
    """The greatest common divisor of two positive numbers."""
    while b > 0:
        a, b = b, a % b
    return a


@jit_call
def share_of(borrowed, lendable, weight_micro):
    """borrowed / lendable / weight in billionths, rounded down once: equal shares are equal numbers."""
    divisor = common_divisor(weight_micro, MICRO)
    rest = borrowed * (MICRO // divisor)
    by = lendable * (weight_micro // divisor)
    share = min(rest // by, SHARE_MAX)
    rest %= by
    for _ in range(SHARE_DIGITS):
        share = 10 * share + 10 * rest // by
        rest = 10 * rest % by
    return share


@jit_call
def borrowed_share(params, state, node, resource, weight_micro):
    """What a node borrows of a resource over what its parent could lend, by a weight, in billionths; 0 without a parent."""
    parent = params.quota_node[node].parent
    if parent < 0:
        return 0
    borrowed = borrowed_of(params, state, node, resource)
    most = lendable(params, parent, resource)
    if borrowed <= 0 or most <= 0:
        return 0
    return share_of(borrowed, most, weight_micro)


@jit_call
def dominant_resource(params, state, node):
    """The resource of which a node borrows most, as a share; −1 = none."""
    best = -1
    highest = 0
    for resource in range(params.n_resource):
        ratio = borrowed_share(params, state, node, resource, MICRO)
        if ratio > highest:
            highest = ratio
            best = resource
    return best


@jit_call
def borrows(params, state, node):
    """Whether a node in a cohort uses more than it has of anything."""
    if params.quota_node[node].parent < 0:
        return False
    found = False
    for pair in range(params.n_quota_pair):
        is_known = quota_of(params, node, pair).is_known == 1
        found = found or (is_known and would_borrow(params, state, node, pair, 0))
    return found


@jit_call
def node_share(params, state, node):
    """A node's share: what it borrows of its dominant resource, over its weight, in billionths. With weight 0 it is −1
    less what is borrowed, which counts as more than any other share (`share_order`).
    """
    weight = params.quota_node[node].weight_micro
    highest = 0
    for resource in range(params.n_resource):
        highest = max(highest, borrowed_share(params, state, node, resource, weight if weight > 0 else MICRO))
    if weight == 0:
        return -1 - highest if borrows(params, state, node) else 0
    return highest


@jit
def is_no_share(share):
    """Whether a node borrows nothing of what could be lent to it."""
    return share == 0 or share == -1


@jit
def share_order(a, b):
    """1 where a is the larger share, −1 where b is, 0 where they are equal."""
    if a < 0 and b < 0:
        return (a < b) * 1 - (a > b) * 1
    if a < 0 or b < 0:
        return 1 if a < 0 else -1
    return (a > b) * 1 - (a < b) * 1


@jit_call
def rounded_share(share):
    """A share as Kueue shows it: thousandths, rounded up, and the largest int64 where the weight is 0."""
    return INT64_MAX if share < 0 else -(-share // (SHARE_UNIT // 1000))
