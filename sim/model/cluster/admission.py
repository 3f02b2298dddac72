"""Admission: which of the workloads that wait in queues get quota, and whose is taken for them, as Kueue decides it.

A look goes in rounds. In each the first of every queue has its turn, in order: who borrows least, then the highest
priority, then who has waited longest; by fair sharing the queue whose share would be smallest. Who fits gets quota. Who
would fit without others takes theirs, and its queue waits until they are gone. Who does neither is passed over, and the
one behind it is looked at in the next round.
Source: kubernetes-sigs/kueue pkg/scheduler (scheduler.go, fair_sharing_iterator.go), pkg/queue (BestEffortFIFO).
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.capacity.queue_quota import give_quota, give_quota_back, has_quota, place_of
from sim.model.capacity.workloads import place_soon
from sim.model.cluster.batch_jobs import interrupt_run, is_run
from sim.model.cluster.preemption import preempt
from sim.model.cluster.queue_turns import NOBODY, next_turn
from sim.model.placement.fair_preemption import find_victims
from sim.model.placement.flavors import FIT, NO_FIT, PREEMPT, assign_flavors
from sim.model.placement.quotas import (
    add_usage,
    quota_of,
    remove_usage,
    root_of,
    used_at,
)
from sim.model.tables.cause import CAUSE_QUOTA
from sim.model.tables.node import (
    EVENT_ADMITTED,
    EVENT_JOB_PREEMPTED,
    EVENT_QUOTA_SHORT,
    EVENT_QUOTA_TAKEN,
)
from sim.model.tables.quota import NO_LIMIT
from sim.model.telemetry.causes import act_because, go_on_with_replica
from sim.model.telemetry.cluster_log import log_event
from sim.model.telemetry.quota_log import settle_quotas

REQUEUE_PS = 10**12  # assumed: who gave its quota up is looked at again a second later
#: Why a workload waits for quota: others use it; its victims are still there; others of its queue go first.
SHORT_USED, SHORT_LEAVING, SHORT_BEHIND = range(3)


# ---- one workload ----------------------------------------------------------------------
@jit_call
def ask_for(params, state, w):
    """Say what a workload asks for, and find its flavour: NO_FIT, PREEMPT or FIT."""
    wanting = state.preemption[0]
    place = place_of(params, state, w)
    wanting.queue = place.queue - 1
    wanting.priority = place.priority
    wanting.created_ps = state.workload[w].since_ps
    wanting.is_fair = params.cluster[0].is_fair
    wanting.strategies = params.cluster[0].strategies
    state.group_asked[0] = place.quota_units
    state.group_flavors[0] = place.flavors
    return assign_flavors(params, state, 1)


@jit_call
def find_its_victims(params, state, w):
    """Find whose quota would be taken for a workload that would fit without others; how many they are."""
    flavor = state.got_flavor[0]
    for pair in range(params.n_quota_pair):
        state.asked[pair] = place_of(params, state, w).quota_units if pair == flavor else 0
        state.contested[pair] = 1 if pair == flavor else 0
    return find_victims(params, state)


@jit_call
def admit(params, state, w, t):
    """A workload gets the quota that was found for it, because of what last gave some back, if it has waited since."""
    go_on_with_replica(params, state, w)
    queue = place_of(params, state, w).queue - 1
    state.because = max(state.because, state.quota_node[root_of(params, queue)].freed_event)
    give_quota(params, state, w, state.got_flavor[0], t)
    log_event(params, state, EVENT_ADMITTED, -1, w, t - state.workload[w].since_ps, t)


@jit_call
def admit_at_once(params, state, w, t):
    """Whether a workload that is there from the beginning needs no quota, or gets some without others having to go."""
    if place_of(params, state, w).queue == 0:
        return True
    if ask_for(params, state, w) != FIT:
        return False
    give_quota(params, state, w, state.got_flavor[0], t)
    log_event(params, state, EVENT_ADMITTED, -1, w, 0, t)
    state.because = state.n_event - 1
    return True


@jit_call
def tell_short(params, state, w, why, t):
    """The first time that a workload is passed over an event tells why."""
    if state.quota_workload[w].is_told == 0:
        state.quota_workload[w].is_told = 1
        go_on_with_replica(params, state, w)
        log_event(params, state, EVENT_QUOTA_SHORT, -1, w, why, t)


# ---- whose quota is taken ----------------------------------------------------------------------
@jit_call
def take_quota_of(params, state, w, victim, reason, t):
    """A workload's quota is taken for workload w: a run gives way at once, a replica drains, one that waits goes on
    waiting.
    """
    act_because(state, CAUSE_QUOTA, w, state.workload[w].event)
    state.quota_node[state.quota_workload[victim].queue].taken += 1
    state.quota_workload[victim].taken_ps = t
    log_event(params, state, EVENT_QUOTA_TAKEN, -1, victim, reason, t)
    state.because = state.n_event - 1
    if state.workload[victim].is_waiting == 1:
        give_quota_back(params, state, victim, t)
        state.workload[victim].was_tried = 0
        place_soon(state, t)
    elif is_run(params, victim):
        interrupt_run(params, state, victim, EVENT_JOB_PREEMPTED, -1, t)
    else:
        preempt(params, state, victim, -1, t)


@jit_call
def take_quota_for(params, state, w, t):
    """Take quota for a workload from its victims, those that leave already excepted; whether it has any.

    Going, a victim may make others come or go, who use the same scratch: the victims are marked first.
    """
    n = find_its_victims(params, state, w)
    for i in range(n):
        state.quota_workload[state.quota_victim[i].workload].reason = 1 + state.quota_victim[i].reason
    for victim in range(params.n_quota_workload):
        reason = state.quota_workload[victim].reason - 1
        if reason >= 0:
            state.quota_workload[victim].reason = 0
            if has_quota(state, victim) and state.quota_workload[victim].is_evicted == 0:
                take_quota_of(params, state, w, victim, reason, t)
    return n > 0


# ---- what is kept for a head ----------------------------------------------------------------------
@jit_call
def keep_quota(params, state, queue, pair, amount):
    """Keep so much quota for a queue's head: it counts as used."""
    head = state.queue_head[queue]
    head.pair = pair
    head.kept = amount
    if amount > 0:
        add_usage(params, state, queue, pair, amount)


@jit_call
def release_kept(params, state, queue):
    """Keep none any longer."""
    head = state.queue_head[queue]
    if head.kept > 0:
        remove_usage(params, state, queue, head.pair, head.kept)
    head.kept = 0


@jit_call
def kept_in_vain(params, state, queue, pair, amount):
    """What is kept for the head of a strict queue for which nobody could go: as much as its queue may use, at most what it
    asks for; of what the queue itself has where it would not borrow.
    """
    quota = quota_of(params, queue, pair)
    used = state.quota_used[used_at(params, queue, pair)]
    if state.preemption[0].borrowing == 0:
        return max(0, min(amount, quota.nominal - used))
    if quota.borrow_max == NO_LIMIT:
        return amount
    return min(amount, max(0, quota.nominal + quota.borrow_max - used))


# ---- the rounds ----------------------------------------------------------------------
@jit
def rests(state, w, t):
    """Whether a workload's quota has just been taken, so that it is not looked at for a while."""
    taken_ps = state.quota_workload[w].taken_ps
    return taken_ps >= 0 and t < taken_ps + REQUEUE_PS


@jit
def was_passed_over(state, w):
    """Whether a workload has no turn in this look: one of its pool or job, which ask for the same, was passed over."""
    return state.pool_place[state.workload[w].place].passed_over == state.n_look


@jit_call
def find_heads(params, state, t):
    """Find the first of each queue and what it would come to; whether there is any whose turn it could be."""
    for queue in range(params.n_quota_queue):
        state.queue_head[queue].workload = NOBODY
    w = state.first_waiting
    while w >= 0:
        queue = place_of(params, state, w).queue - 1
        if queue >= 0 and not has_quota(state, w):
            head = state.queue_head[queue]
            is_able = not was_passed_over(state, w) and not rests(state, w, t)
            if head.workload == NOBODY and head.blocked != state.n_look and is_able:
                head.workload = w
        w = state.workload[w].next
    found = False
    for queue in range(params.n_quota_queue):
        head = state.queue_head[queue]
        if head.workload != NOBODY:
            head.is_done = 0
            mode = ask_for(params, state, head.workload)
            head.level = state.preemption[0].borrowing
            head.flavor = state.got_flavor[0]
            if mode == NO_FIT:
                pass_over(params, state, queue, SHORT_USED, t)
            found = True
    return found


@jit_call
def pass_over(params, state, queue, why, t):
    """A queue's head is not looked at again in this look; where the queue is strict nobody behind it is either."""
    head = state.queue_head[queue]
    head.is_done = 1
    state.pool_place[state.workload[head.workload].place].passed_over = state.n_look
    if params.quota_node[queue].is_strict == 1:
        head.blocked = state.n_look
    tell_short(params, state, head.workload, why, t)


@jit_call
def take_turn(params, state, queue, t):
    """The head of a queue has its turn: it gets quota, takes that of others, or is passed over."""
    head = state.queue_head[queue]
    w = head.workload
    head.is_done = 1
    mode = ask_for(params, state, w)
    if mode == FIT:
        admit(params, state, w, t)
        return
    pair = state.got_flavor[0]
    amount = place_of(params, state, w).quota_units
    if mode == PREEMPT:
        in_vain = kept_in_vain(params, state, queue, pair, amount)
        if take_quota_for(params, state, w, t):
            ask_later(params, state, queue, pair, amount, t)
            return
        if params.quota_node[queue].is_strict == 1:
            keep_quota(params, state, queue, pair, in_vain)
    pass_over(params, state, queue, SHORT_USED, t)


@jit_call
def ask_later(params, state, queue, pair, amount, t):
    """A head has taken quota of others: it fits in the next round if they have given it back at once; else its queue waits,
    and what it asks for is kept for it.
    """
    head = state.queue_head[queue]
    if ask_for(params, state, head.workload) != FIT:
        head.blocked = state.n_look
        tell_short(params, state, head.workload, SHORT_LEAVING, t)
    keep_quota(params, state, queue, pair, amount)


@jit_call
def admit_waiting(params, state, t):
    """One look at all that wait for quota. Within it what is kept for some counts as used: sums are settled before."""
    state.n_look += 1
    settle_quotas(params, state, t)
    while find_heads(params, state, t):
        queue = next_turn(params, state)
        while queue != NOBODY:
            take_turn(params, state, queue, t)
            queue = next_turn(params, state)
        for queue in range(params.n_quota_queue):
            if state.queue_head[queue].blocked != state.n_look:
                release_kept(params, state, queue)
    for queue in range(params.n_quota_queue):
        release_kept(params, state, queue)
    tell_those_behind(params, state, t)


@jit_call
def tell_those_behind(params, state, t):
    """Who was not looked at waits behind others of its queue, or for its second to pass: then it is looked at again."""
    w = state.first_waiting
    while w >= 0:
        if place_of(params, state, w).queue > 0 and not has_quota(state, w):
            if rests(state, w, t):
                state.placement_ps = min(state.placement_ps, state.quota_workload[w].taken_ps + REQUEUE_PS)
            else:
                tell_short(params, state, w, SHORT_BEHIND, t)
        w = state.workload[w].next
