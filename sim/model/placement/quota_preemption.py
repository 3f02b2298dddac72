"""Preemption by priority and by borrowing: which admitted workloads have to go so that one more fits its queue's quota.

`state.preemption[0]` says which workload, `state.asked` how much of each pair it asks for, `state.contested` of which pairs
there is too little. Candidates are ordered, taken out until the workload fits, and put back from the last to the first
where it still fits; the others are `state.quota_victim`.
Source: kubernetes-sigs/kueue pkg/scheduler/preemption, classical and hierarchical.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.placement.quotas import (
    admit_usage,
    asked_fits,
    local_available,
    release_usage,
    root_of,
    under_nominal,
    within_nominal,
    would_borrow,
)
from sim.model.tables.quota import (
    PREEMPT_ANY,
    PREEMPT_LOWER,
    PREEMPT_LOWER_OR_NEWER,
    PREEMPT_NEVER,
)

REASONS = ("in_queue", "reclaim", "reclaim_while_borrowing", "fair_sharing")
IN_QUEUE, RECLAIM, RECLAIM_WHILE_BORROWING, FAIR_SHARING = range(4)

# why a workload may be made to go
NOT, IN_OWN_QUEUE, BY_PLACE, WITHOUT_BORROWING, WHILE_BORROWING = range(5)
WAITING, LOOKED_AT, AGAIN = range(3)  # states of a candidate


# ---- who may be made to go ----------------------------------------------------------------------
@jit_call
def policy_allows(policy, wanting, workload):
    """Whether a policy lets a workload that wants room take that of an admitted one."""
    is_lower = wanting.priority > workload.priority
    if policy == PREEMPT_LOWER:
        return is_lower
    if policy == PREEMPT_LOWER_OR_NEWER:
        is_newer = wanting.priority == workload.priority and wanting.created_ps < workload.created_ps
        return is_lower or is_newer
    return policy == PREEMPT_ANY


@jit_call
def uses_contested(params, state, w):
    """Whether a workload uses any contested pair."""
    for pair in range(params.n_quota_pair):
        if state.contested[pair] == 1 and state.workload_usage[w * params.n_quota_pair + pair] > 0:
            return True
    return False


@jit_call
def lowest_common(params, queue, other):
    """The lowest cohort above two queues, −1 = there is none."""
    node = params.quota_node[queue].parent
    while node >= 0:
        up = params.quota_node[other].parent
        while up >= 0:
            if up == node:
                return node
            up = params.quota_node[up].parent
        node = params.quota_node[node].parent
    return -1


@jit_call
def exceeds_up_to(params, state, queue, ancestor):
    """Whether a queue and all cohorts between it and an ancestor use more than they have of something contested."""
    node = queue
    while node != ancestor:
        if within_nominal(params, state, node):
            return False
        node = params.quota_node[node].parent
    return True


@jit_call
def find_advantages(params, state, queue):
    """Note at each cohort above a queue whether the queue comes before others there: what it asks for fits what it has, or
    what a lower cohort above it has (state.advantage; state.left is scratch).
    """
    for pair in range(params.n_quota_pair):
        state.left[pair] = state.asked[pair]
    node = queue
    has = 0
    while node >= 0:
        fits = 1
        for pair in range(params.n_quota_pair):
            if state.left[pair] > 0 and would_borrow(params, state, node, pair, state.left[pair]):
                fits = 0
            spare = local_available(params, state, node, pair)
            state.left[pair] = max(0, state.left[pair] - spare)
        has = max(has, fits)
        node = params.quota_node[node].parent
        if node >= 0:
            state.advantage[node] = has


@jit_call
def variant_of(params, state, workload, ancestor):
    """Why a workload of another queue may be made to go, by place, policy and priority."""
    wanting = state.preemption[0]
    node = params.quota_node[wanting.queue]
    if not policy_allows(node.reclaim, wanting, workload):
        return NOT
    if state.advantage[ancestor] == 1:
        return BY_PLACE
    is_above = workload.priority >= wanting.priority or workload.priority > node.threshold
    if node.may_borrow == 0 or is_above:
        return WITHOUT_BORROWING
    return WHILE_BORROWING


# ---- candidates in order ----------------------------------------------------------------------
@jit_call
def group_rank(variant):
    """In which group a candidate comes: those that have to give way by place, others of other queues, the own queue."""
    if variant == IN_OWN_QUEUE:
        return 2
    return 0 if variant == BY_PLACE else 1


@jit_call
def goes_before(state, a, b):
    """Whether a candidate is tried before another: evicted ones, their group, lower priority, later admission, number."""
    first = state.quota_workload[a.workload]
    second = state.quota_workload[b.workload]
    if first.is_evicted != second.is_evicted:
        return first.is_evicted == 1
    if group_rank(a.variant) != group_rank(b.variant):
        return group_rank(a.variant) < group_rank(b.variant)
    if first.priority != second.priority:
        return first.priority < second.priority
    if first.reserved_ps != second.reserved_ps:
        return first.reserved_ps > second.reserved_ps
    return a.workload < b.workload


@jit_call
def insert_candidate(state, w, variant, ancestor):
    """Put a candidate in its place among those found."""
    wanting = state.preemption[0]
    i = wanting.n_candidate
    wanting.n_candidate += 1
    put_candidate(state.candidate[i], w, variant, ancestor)
    while i > 0 and goes_before(state, state.candidate[i], state.candidate[i - 1]):
        other = state.candidate[i - 1]
        moved, its_variant, its_ancestor = other.workload, other.variant, other.ancestor
        put_candidate(other, w, variant, ancestor)
        put_candidate(state.candidate[i], moved, its_variant, its_ancestor)
        i -= 1


@jit
def put_candidate(candidate, w, variant, ancestor):
    """Write a candidate."""
    candidate.workload = w
    candidate.variant = variant
    candidate.ancestor = ancestor
    candidate.state = WAITING


@jit_call
def insert_own(params, state, w):
    """Look at a workload that may have to go: one of the own queue becomes a candidate if its policy allows that. Returns
    whether it is of another queue and uses something contested: that is for the caller to judge.
    """
    wanting = state.preemption[0]
    workload = state.quota_workload[w]
    if workload.queue < 0 or not uses_contested(params, state, w):
        return False
    if workload.queue != wanting.queue:
        return True
    if policy_allows(params.quota_node[wanting.queue].within, wanting, workload):
        insert_candidate(state, w, IN_OWN_QUEUE, -1)
    return False


@jit_call
def find_candidates(params, state):
    """Find the workloads that may have to go, in the order in which they are tried."""
    wanting = state.preemption[0]
    queue = wanting.queue
    node = params.quota_node[queue]
    wanting.n_candidate = 0
    find_advantages(params, state, queue)
    for w in range(params.n_quota_workload):
        if not insert_own(params, state, w):
            continue
        workload = state.quota_workload[w]
        ancestor = lowest_common(params, queue, workload.queue)
        if ancestor < 0 or node.reclaim == PREEMPT_NEVER:
            continue
        if exceeds_up_to(params, state, workload.queue, ancestor):
            variant = variant_of(params, state, workload, ancestor)
            if variant != NOT:
                insert_candidate(state, w, variant, ancestor)


@jit_call
def is_still_valid(params, state, candidate, may_borrow):
    """Whether a candidate may still be taken out: others that were may have made its queue fit what it has."""
    if candidate.variant == IN_OWN_QUEUE:
        return True
    if may_borrow == 1 and candidate.variant == WITHOUT_BORROWING:
        return False
    queue = state.quota_workload[candidate.workload].queue
    return exceeds_up_to(params, state, queue, candidate.ancestor)


@jit
def reason_of(variant):
    """The reason that a victim is told."""
    if variant == IN_OWN_QUEUE:
        return IN_QUEUE
    return RECLAIM_WHILE_BORROWING if variant == WHILE_BORROWING else RECLAIM


# ---- victims ----------------------------------------------------------------------
@jit_call
def add_victim(params, state, w, reason):
    """Take a workload out, as a victim."""
    release_usage(params, state, w)
    victim = state.quota_victim[state.preemption[0].n_victim]
    victim.workload = w
    victim.reason = reason
    state.preemption[0].n_victim += 1


@jit_call
def put_back_spared(params, state, may_borrow):
    """Put victims back, from the last but one to the first, where what is asked for still fits."""
    wanting = state.preemption[0]
    for i in range(wanting.n_victim - 2, -1, -1):
        victim = state.quota_victim[i]
        admit_usage(params, state, victim.workload)
        if asked_fits(params, state, wanting.queue, may_borrow):
            last = state.quota_victim[wanting.n_victim - 1]
            victim.workload = last.workload
            victim.reason = last.reason
            wanting.n_victim -= 1
        else:
            release_usage(params, state, victim.workload)


@jit_call
def put_back_victims(params, state):
    """Put all victims back: nothing has happened yet."""
    for i in range(state.preemption[0].n_victim):
        admit_usage(params, state, state.quota_victim[i].workload)


@jit_call
def try_classical(params, state, may_borrow):
    """Take candidates out in their order until what is asked for fits; whether it does. Usage is left as it was."""
    wanting = state.preemption[0]
    wanting.n_victim = 0
    fits = 0
    for i in range(wanting.n_candidate):
        candidate = state.candidate[i]
        if not is_still_valid(params, state, candidate, may_borrow):
            continue
        add_victim(params, state, candidate.workload, reason_of(candidate.variant))
        if asked_fits(params, state, wanting.queue, may_borrow):
            fits = 1
            break
    if fits == 1:
        put_back_spared(params, state, may_borrow)
    put_back_victims(params, state)
    if fits == 0:
        wanting.n_victim = 0
    return fits


@jit_call
def count_variants(state, rank):
    """How many candidates are of a group."""
    n = 0
    for i in range(state.preemption[0].n_candidate):
        n += (group_rank(state.candidate[i].variant) == rank) * 1
    return n


@jit_call
def preempt_classical(params, state):
    """Find the victims of a workload by priorities, places and borrowing; how many there are."""
    find_candidates(params, state)
    wanting = state.preemption[0]
    wanting.n_victim = 0
    if wanting.n_candidate == 0:
        return 0
    n_by_place, n_other = count_variants(state, 0), count_variants(state, 1)
    may_not_borrow = params.quota_node[wanting.queue].may_borrow == 0
    if n_by_place + n_other == 0 or (may_not_borrow and not under_nominal(params, state, wanting.queue)):
        try_classical(params, state, 1)
    elif may_not_borrow and n_by_place == 0:
        if try_classical(params, state, 0) == 0:
            try_classical(params, state, 1)
    elif try_classical(params, state, 1) == 0:
        try_classical(params, state, 0)
    return wanting.n_victim


@jit
def same_tree(params, a, b):
    """Whether two nodes are of one tree."""
    return root_of(params, a) == root_of(params, b)
