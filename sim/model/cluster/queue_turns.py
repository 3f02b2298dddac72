"""Whose turn it is: in which order the first of those that wait in each queue are looked at, as Kueue orders them.

Who borrows least goes before others, then the highest priority, then who has waited longest. By fair sharing the part of
the tree goes first whose share would be smallest.
Source: kubernetes-sigs/kueue pkg/scheduler (scheduler.go: entryOrdering, fair_sharing_iterator.go).
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.capacity.queue_quota import place_of
from sim.model.placement.quotas import (
    add_usage,
    deepest,
    depth_of,
    remove_usage,
)
from sim.model.placement.shares import node_share, share_order

NOBODY = -1


@jit
def has_turn(state, queue):
    """Whether a queue's head has yet to have its turn in this round."""
    return state.queue_head[queue].workload != NOBODY and state.queue_head[queue].is_done == 0


@jit_call
def is_before(params, state, queue, other):
    """Whether a queue's head has its turn before another's: it borrows less, or is more urgent."""
    head = state.queue_head[queue]
    its = state.queue_head[other]
    if head.level != its.level:
        return head.level < its.level
    return is_more_urgent(params, state, head.workload, its.workload)


@jit_call
def is_more_urgent(params, state, w, other):
    """Whether a workload is of higher priority than another, or of the same and has waited longer."""
    own = place_of(params, state, w).priority
    its = place_of(params, state, other).priority
    if own != its:
        return own > its
    if state.workload[w].since_ps != state.workload[other].since_ps:
        return state.workload[w].since_ps < state.workload[other].since_ps
    return w < other


@jit_call
def next_turn(params, state):
    """The queue whose head has its turn next, or NOBODY."""
    if params.cluster[0].is_fair == 1:
        return smallest_share(params, state)
    best = NOBODY
    for queue in range(params.n_quota_queue):
        if has_turn(state, queue) and (best == NOBODY or is_before(params, state, queue, best)):
            best = queue
    return best


@jit_call
def share_with_head(params, state, node, queue):
    """The share that a queue or cohort would have if the head of a queue in it had its quota."""
    head = state.queue_head[queue]
    amount = place_of(params, state, head.workload).quota_units
    add_usage(params, state, queue, head.flavor, amount)
    share = node_share(params, state, node)
    remove_usage(params, state, queue, head.flavor, amount)
    return share


@jit_call
def is_fairer(params, state, node, other):
    """Whether a node's winner has its turn before that of another in the same cohort: by shares, then as it is urgent."""
    own = state.quota_node[node].winner
    its = state.quota_node[other].winner
    order = share_order(share_with_head(params, state, node, own), share_with_head(params, state, other, its))
    if order != 0:
        return order < 0
    return is_more_urgent(params, state, state.queue_head[own].workload, state.queue_head[its].workload)


@jit_call
def smallest_share(params, state):
    """By fair sharing: from the queues up, in each cohort the smallest share wins; the winner of the first tree."""
    for node in range(params.n_quota_node):
        is_one = node < params.n_quota_queue and has_turn(state, node)
        state.quota_node[node].winner = node if is_one else NOBODY
    for depth in range(deepest(params) - 1, -1, -1):
        for cohort in range(params.n_quota_queue, params.n_quota_node):
            if depth_of(params, cohort) == depth:
                find_winner(params, state, cohort)
    for node in range(params.n_quota_node):
        if params.quota_node[node].parent < 0 and state.quota_node[node].winner != NOBODY:
            return state.quota_node[node].winner
    return NOBODY


@jit_call
def find_winner(params, state, cohort):
    """A cohort's winner is that of the node in it that would have the smallest share."""
    best = NOBODY
    for node in range(params.n_quota_node):
        if params.quota_node[node].parent != cohort or state.quota_node[node].winner == NOBODY:
            continue
        if best == NOBODY or is_fairer(params, state, node, best):
            best = node
    if best != NOBODY:
        state.quota_node[cohort].winner = state.quota_node[best].winner
