"""Quotas of cluster queues in cohorts: what is free for a queue, and what it borrows.

A node's capacity is its own quota and what the nodes in it lend (`Quota.subtree`). What it does not lend stays local; usage
beyond that is its parent's usage. `params` holds the tables quota_node, quota (node, pair) and quota_pair, `state` holds
quota_used (node, pair), quota_workload and workload_usage (workload, pair).
Source: kubernetes-sigs/kueue pkg/cache/scheduler/resource_node.go.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.units import NEVER


@jit
def quota_of(params, node, pair):
    """What a node has of a pair."""
    return params.quota[node * params.n_quota_pair + pair]


@jit
def used_at(params, node, pair):
    """Where in state.quota_used a node's usage of a pair stands."""
    return node * params.n_quota_pair + pair


# ---- what a tree of queues has ----------------------------------------------------------------------
@jit_call
def sum_up_quotas(params):
    """Derive what each node has with the nodes in it: from the leaves up, whatever the order of the nodes."""
    for pair in range(params.n_quota_pair):
        for node in range(params.n_quota_node):
            quota_of(params, node, pair).subtree = 0
        for node in range(params.n_quota_node):
            quota_of(params, node, pair).subtree += quota_of(params, node, pair).nominal
        for depth in range(deepest(params), 0, -1):
            for node in range(params.n_quota_node):
                if depth_of(params, node) == depth:
                    own = quota_of(params, node, pair)
                    above = quota_of(params, params.quota_node[node].parent, pair)
                    above.subtree += own.subtree - local_quota(params, node, pair)
                    above.is_known = max(above.is_known, own.is_known)


@jit_call
def depth_of(params, node):
    """How many cohorts are above a node."""
    depth = 0
    while params.quota_node[node].parent >= 0:
        node = params.quota_node[node].parent
        depth += 1
    return depth


@jit_call
def deepest(params):
    """The depth of the deepest node."""
    depth = 0
    for node in range(params.n_quota_node):
        depth = max(depth, depth_of(params, node))
    return depth


@jit
def local_quota(params, node, pair):
    """What a node has and does not lend."""
    quota = quota_of(params, node, pair)
    return 0 if quota.lend_max < 0 else max(0, quota.subtree - quota.lend_max)


@jit
def local_available(params, state, node, pair):
    """What of that is not used."""
    return max(0, local_quota(params, node, pair) - state.quota_used[used_at(params, node, pair)])


# ---- usage ----------------------------------------------------------------------
@jit_call
def add_usage(params, state, node, pair, amount):
    """A node uses more of a pair; what passes its local quota is its parent's."""
    while True:
        spare = local_available(params, state, node, pair)
        state.quota_used[used_at(params, node, pair)] += amount
        node = params.quota_node[node].parent
        amount -= spare
        if node < 0 or amount <= 0:
            return


@jit_call
def remove_usage(params, state, node, pair, amount):
    """A node uses less of a pair, and its parent of what it kept there."""
    while True:
        at = used_at(params, node, pair)
        kept = state.quota_used[at] - local_quota(params, node, pair)
        state.quota_used[at] -= amount
        node = params.quota_node[node].parent
        if kept <= 0 or node < 0:
            return
        amount = min(amount, kept)


@jit_call
def admit_usage(params, state, w):
    """An admitted workload's usage counts."""
    for pair in range(params.n_quota_pair):
        amount = state.workload_usage[w * params.n_quota_pair + pair]
        if amount > 0:
            add_usage(params, state, state.quota_workload[w].queue, pair, amount)


@jit_call
def release_usage(params, state, w):
    """A workload's usage counts no longer."""
    for pair in range(params.n_quota_pair):
        amount = state.workload_usage[w * params.n_quota_pair + pair]
        if amount > 0:
            remove_usage(params, state, state.quota_workload[w].queue, pair, amount)


# ---- what is free ----------------------------------------------------------------------
@jit_call
def available(params, state, node, pair):
    """What a node could use more of a pair now; negative where too much was admitted."""
    most = NEVER
    local = 0
    while params.quota_node[node].parent >= 0:
        quota = quota_of(params, node, pair)
        local += local_available(params, state, node, pair)
        if quota.borrow_max >= 0:
            stored = quota.subtree - local_quota(params, node, pair)
            kept = max(0, state.quota_used[used_at(params, node, pair)] - local_quota(params, node, pair))
            most = min(most, local + stored - kept + quota.borrow_max)
        node = params.quota_node[node].parent
    rest = quota_of(params, node, pair).subtree - state.quota_used[used_at(params, node, pair)]
    return min(most, local + rest)


@jit_call
def potential(params, node, pair):
    """What a node could use of a pair if nobody used anything."""
    most = NEVER
    local = 0
    while params.quota_node[node].parent >= 0:
        quota = quota_of(params, node, pair)
        if quota.borrow_max >= 0:
            most = min(most, local + quota.subtree + quota.borrow_max)
        local += local_quota(params, node, pair)
        node = params.quota_node[node].parent
    return min(most, local + quota_of(params, node, pair).subtree)


@jit
def would_borrow(params, state, node, pair, amount):
    """Whether a node would use more than it has if it used so much more."""
    return state.quota_used[used_at(params, node, pair)] + amount > quota_of(params, node, pair).subtree


@jit_call
def asked_fits(params, state, queue, may_borrow):
    """Whether a queue could use all that is asked for (state.asked), without borrowing if it may not."""
    for pair in range(params.n_quota_pair):
        amount = state.asked[pair]
        if amount > 0:
            if may_borrow == 0 and would_borrow(params, state, queue, pair, amount):
                return False
            if amount > available(params, state, queue, pair):
                return False
    return True


@jit_call
def within_nominal(params, state, node):
    """Whether a node uses no more than it has of any contested pair (state.contested)."""
    for pair in range(params.n_quota_pair):
        if state.contested[pair] == 1 and would_borrow(params, state, node, pair, 0):
            return False
    return True


@jit_call
def under_nominal(params, state, node):
    """Whether a node uses less than it has of every contested pair."""
    for pair in range(params.n_quota_pair):
        quota = quota_of(params, node, pair)
        if state.contested[pair] == 1 and state.quota_used[used_at(params, node, pair)] >= quota.nominal:
            return False
    return True


# ---- heights ----------------------------------------------------------------------
@jit_call
def height_of(params, node):
    """How far the furthest node in a cohort is; 0 of a queue and of an empty cohort."""
    height = 0
    for other in range(params.n_quota_node):
        steps = 0
        up = other
        while up >= 0 and up != node:
            up = params.quota_node[up].parent
            steps += 1
        if up == node:
            height = max(height, steps)
    return height


@jit
def root_of(params, node):
    """The topmost cohort above a node, or itself."""
    while params.quota_node[node].parent >= 0:
        node = params.quota_node[node].parent
    return node


@jit_call
def borrowing_level(params, state, queue, pair, amount):
    """The height of the lowest part of the tree that has so much more for a queue: 2 · height + 1 if there are nodes beyond
    it, from which could be reclaimed.
    """
    has_parent = params.quota_node[queue].parent >= 0
    if not has_parent or not would_borrow(params, state, queue, pair, amount):
        return 1 if has_parent else 0
    left = amount - local_available(params, state, queue, pair)
    node = params.quota_node[queue].parent
    while node >= 0:
        if not would_borrow(params, state, node, pair, left):
            return 2 * height_of(params, node) + (1 if params.quota_node[node].parent >= 0 else 0)
        left -= local_available(params, state, node, pair)
        node = params.quota_node[node].parent
    return 2 * height_of(params, root_of(params, queue))
