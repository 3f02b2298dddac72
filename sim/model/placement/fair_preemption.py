"""Preemption by fair shares: a workload takes room from the part of the tree whose share of what it borrows is largest.

What is asked for counts as used by its queue while shares are compared. From the root down, the child with the largest
share is entered, until a queue is reached whose first candidate is tried: it has to go if the strategy holds between the
two parts of the tree below the lowest cohort above both queues.
Source: kubernetes-sigs/kueue pkg/scheduler/preemption, fairsharing.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.placement.quota_preemption import (
    AGAIN,
    BY_PLACE,
    FAIR_SHARING,
    IN_QUEUE,
    LOOKED_AT,
    RECLAIM,
    WAITING,
    add_victim,
    goes_before,
    insert_candidate,
    insert_own,
    lowest_common,
    policy_allows,
    preempt_classical,
    put_back_spared,
    put_back_victims,
    same_tree,
)
from sim.model.placement.quotas import (
    add_usage,
    admit_usage,
    asked_fits,
    release_usage,
    remove_usage,
    root_of,
    within_nominal,
)
from sim.model.placement.shares import is_no_share, node_share, share_order
from sim.model.tables.quota import PREEMPT_NEVER

STRATEGIES = ("final_then_initial", "final", "initial")
FINAL_THEN_INITIAL, FINAL, INITIAL = range(3)
NOBODY = -1


# ---- candidates ----------------------------------------------------------------------
@jit_call
def find_fair_candidates(params, state):
    """Find the workloads that may have to go: of the own queue, and of queues that borrow something contested."""
    wanting = state.preemption[0]
    queue = wanting.queue
    node = params.quota_node[queue]
    wanting.n_candidate = 0
    for w in range(params.n_quota_workload):
        if not insert_own(params, state, w):
            continue
        workload = state.quota_workload[w]
        if (
            node.reclaim != PREEMPT_NEVER
            and same_tree(params, queue, workload.queue)
            and not within_nominal(params, state, workload.queue)
            and policy_allows(node.reclaim, wanting, workload)
        ):
            insert_candidate(state, w, BY_PLACE, lowest_common(params, queue, workload.queue))


@jit_call
def head_of(state, queue):
    """A queue's first candidate that waits, NOBODY = it has none."""
    for i in range(state.preemption[0].n_candidate):
        candidate = state.candidate[i]
        if candidate.state == WAITING and state.quota_workload[candidate.workload].queue == queue:
            return i
    return NOBODY


@jit_call
def is_above(params, node, queue):
    """Whether a cohort is above a queue."""
    while queue >= 0:
        queue = params.quota_node[queue].parent
        if queue == node:
            return True
    return False


# ---- the queue whose turn it is ----------------------------------------------------------------------
@jit_call
def largest_queue(params, state, cohort):
    """The queue of a cohort with the largest share, of equals the one whose candidate goes first; NOBODY = none is left.
    Queues that will give no more candidates are pruned.
    """
    own = state.preemption[0].queue
    best = NOBODY
    for node in range(params.n_quota_node):
        about = params.quota_node[node]
        if about.parent != cohort or about.is_queue == 0 or state.pruned[node] == 1:
            continue
        share = node_share(params, state, node)
        head = head_of(state, node)
        if (is_no_share(share) and node != own) or head == NOBODY:
            state.pruned[node] = 1
            continue
        if best == NOBODY:
            best = node
            continue
        order = share_order(share, node_share(params, state, best))
        other = state.candidate[head_of(state, best)]
        if order == 1 or (order == 0 and goes_before(state, state.candidate[head], other)):
            best = node
    return best


@jit_call
def largest_cohort(params, state, cohort):
    """The cohort in a cohort with the largest share, the last of equals; NOBODY = none is left. One that does not borrow is
    pruned, unless it is above the queue of the workload that wants room.
    """
    own = state.preemption[0].queue
    best = NOBODY
    for node in range(params.n_quota_node):
        about = params.quota_node[node]
        if about.parent != cohort or about.is_queue == 1 or state.pruned[node] == 1:
            continue
        share = node_share(params, state, node)
        if is_no_share(share) and not is_above(params, node, own):
            state.pruned[node] = 1
        elif best == NOBODY or share_order(share, node_share(params, state, best)) >= 0:
            best = node
    return best


@jit_call
def next_queue(params, state):
    """The queue whose candidate is tried next, NOBODY = there is no candidate any more."""
    own = state.preemption[0].queue
    root = root_of(params, own)
    if root == own:
        return own if head_of(state, own) != NOBODY else NOBODY
    node = root
    while state.pruned[root] == 0:
        queue = largest_queue(params, state, node)
        cohort = largest_cohort(params, state, node)
        if queue == NOBODY and cohort == NOBODY:
            state.pruned[node] = 1
            node = root
        elif cohort == NOBODY:
            return queue
        elif (
            queue == NOBODY
            or share_order(node_share(params, state, cohort), node_share(params, state, queue)) >= 0
        ):
            node = cohort
        else:
            return queue
    return NOBODY


# ---- shares below the common cohort ----------------------------------------------------------------------
@jit_call
def share_below(params, state, queue, ancestor):
    """The share of the node right below an ancestor on the way to a queue."""
    node = queue
    while params.quota_node[node].parent != ancestor:
        node = params.quota_node[node].parent
    return node_share(params, state, node)


@jit_call
def holds_after(params, state, candidate):
    """Whether the workload's part of the tree has no larger share than the candidate's would have without it (S2-a)."""
    queue = state.quota_workload[candidate.workload].queue
    own = share_below(params, state, state.preemption[0].queue, candidate.ancestor)
    release_usage(params, state, candidate.workload)
    other = share_below(params, state, queue, candidate.ancestor)
    admit_usage(params, state, candidate.workload)
    return share_order(own, other) <= 0


@jit_call
def holds_before(params, state, candidate):
    """Whether the workload's part of the tree has a smaller share than the candidate's has with it (S2-b)."""
    queue = state.quota_workload[candidate.workload].queue
    own = share_below(params, state, state.preemption[0].queue, candidate.ancestor)
    return share_order(own, share_below(params, state, queue, candidate.ancestor)) < 0


# ---- taking out ----------------------------------------------------------------------
@jit_call
def count_asked(params, state, sign):
    """What is asked for counts as used by its queue (1), or no longer (−1)."""
    queue = state.preemption[0].queue
    for pair in range(params.n_quota_pair):
        amount = state.asked[pair]
        if amount > 0 and sign > 0:
            add_usage(params, state, queue, pair, amount)
        elif amount > 0:
            remove_usage(params, state, queue, pair, amount)


@jit_call
def take_out(params, state, i, reason):
    """A candidate becomes a victim; whether what is asked for fits now."""
    add_victim(params, state, state.candidate[i].workload, reason)
    count_asked(params, state, -1)
    fits = asked_fits(params, state, state.preemption[0].queue, 1)
    count_asked(params, state, 1)
    return fits


@jit
def begin_round(params, state, which):
    """Candidates of a state wait again, and no node is pruned."""
    for i in range(state.preemption[0].n_candidate):
        candidate = state.candidate[i]
        candidate.state = WAITING if candidate.state == which else LOOKED_AT
    for node in range(params.n_quota_node):
        state.pruned[node] = 0


@jit_call
def first_strategy(params, state):
    """Try candidates by the first strategy until what is asked for fits; whether it does. Those that it spares may be tried
    again.
    """
    wanting = state.preemption[0]
    is_entitled = within_nominal(params, state, wanting.queue)
    begin_round(params, state, WAITING)
    while True:
        queue = next_queue(params, state)
        if queue == NOBODY:
            return 0
        if queue == wanting.queue or is_entitled:
            i = head_of(state, queue)
            state.candidate[i].state = LOOKED_AT
            if take_out(params, state, i, IN_QUEUE if queue == wanting.queue else RECLAIM):
                return 1
            continue
        i = head_of(state, queue)
        while i != NOBODY:
            candidate = state.candidate[i]
            if wanting.strategies == INITIAL:
                holds = holds_before(params, state, candidate)
            else:
                holds = holds_after(params, state, candidate)
            if holds:
                candidate.state = LOOKED_AT
                if take_out(params, state, i, FAIR_SHARING):
                    return 1
                break
            candidate.state = AGAIN
            i = head_of(state, queue)


@jit_call
def second_strategy(params, state):
    """Try the first candidate of each queue that the first strategy spared by S2-b; whether what is asked for fits then."""
    begin_round(params, state, AGAIN)
    while True:
        queue = next_queue(params, state)
        if queue == NOBODY:
            return 0
        i = head_of(state, queue)
        candidate = state.candidate[i]
        candidate.state = LOOKED_AT
        state.pruned[queue] = 1
        holds = holds_before(params, state, candidate)
        if holds and take_out(params, state, i, FAIR_SHARING):
            return 1


@jit_call
def preempt_fair(params, state):
    """Find the victims of a workload by fair shares; how many there are. Usage is left as it was."""
    find_fair_candidates(params, state)
    wanting = state.preemption[0]
    wanting.n_victim = 0
    if wanting.n_candidate == 0:
        return 0
    count_asked(params, state, 1)
    fits = first_strategy(params, state)
    if fits == 0 and wanting.strategies == FINAL_THEN_INITIAL:
        fits = second_strategy(params, state)
    count_asked(params, state, -1)
    if fits == 1:
        put_back_spared(params, state, 1)
    put_back_victims(params, state)
    if fits == 0:
        wanting.n_victim = 0
    return wanting.n_victim


@jit_call
def find_victims(params, state):
    """Find the workloads that have to go (state.quota_victim) so that the one of state.preemption[0] fits; how many."""
    if state.preemption[0].is_fair == 1:
        return preempt_fair(params, state)
    return preempt_classical(params, state)
