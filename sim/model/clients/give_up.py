"""Clients that give up or hedge: deadlines, cancellations, and how an attempt leaves the gateway, a queue or a batch.

A waiting attempt leaves at once; a running one stays in its batch as an abandoned attempt until the step in progress ends.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.batch_queues import drop_waiting, gap_longest
from sim.model.base.min_tree import tree_set
from sim.model.base.words import copy_row
from sim.model.clients.answer_path import on_station_done
from sim.model.clients.attempt_flow import (
    arm_next_timer,
    end_attempt,
    has_no_token,
    on_retry,
    start_or_defer,
    take_attempt,
)
from sim.model.clients.closed_loop import begin_next_turn
from sim.model.clients.stall import stall_ps
from sim.model.gateway.hold_queue import drop_held, release_if_room
from sim.model.prefix_cache.references import list_own_range
from sim.model.replica.engine import gate_opens_ps
from sim.model.replica.jump import cut_jump, settle
from sim.model.request.attempt import (
    begin_first_attempt,
    count_waste,
    disarm_all,
    drop_slot,
    end_of_attempt,
    is_counted,
    take_free,
)
from sim.model.request.in_flight import take_slot
from sim.model.router.choose import refresh_load
from sim.model.tables.codes import (
    ABANDONED,
    CANCELLED,
    FAILED,
    IN_CPU_STAGE,
    IN_GATEWAY,
    IN_PREFILL,
    IN_QUEUE,
    IN_STREAM,
    LOST_HEDGE,
    NEED_SLOTS,
    SEQ_AFTER,
    SEQ_AWAY,
    SEQ_BEFORE,
    SEQ_DECODE,
    SEQ_HELD,
    SEQ_WAITING,
    STAGE_DRAINING,
    STALLED,
    TIMED_OUT,
)
from sim.model.tables.slot import SLOT_NEIGHBOUR_SIZE, SLOT_SIZE
from sim.model.timers.hedge_lists import has_first_token, hedge_key, unlist_hedge
from sim.model.timers.kinds import TIMER_CANCEL, TIMER_DEADLINE, TIMER_RETRY, TIMER_STATION, TIMER_TURN
from sim.model.timers.timer_heap import (
    disarm,
    fires_before,
    first_timer,
    first_timer_ps,
    is_first_current,
    kind_of,
    refresh_first,
)
from sim.units import NEVER


@jit_call
def fail_with_replica(params, state, s, r, reason, t):
    """The replica of an attempt is lost at t (its steps are settled); it fails, and abandoned ones are dropped."""
    slot = state.slot[s]
    fate = slot.fate
    if fate == ABANDONED:
        drop_slot(state, s)
        return
    count_waste(params, state, s, computed_of(state, s, r))
    if fate == LOST_HEDGE:
        end_of_attempt(params, state, s, CANCELLED)
        drop_slot(state, s)
        return
    note_gap(state, s, r)
    slot.state = SEQ_AWAY
    end_attempt(params, state, s, r, FAILED, reason, t)


# ---- leaving wherever it is ----------------------------------------------------------------------
@jit
def computed_of(state, s, r):
    """Computed tokens of an attempt at its replica, whose steps are settled."""
    slot = state.slot[s]
    joined = state.replica[r].step if slot.state == SEQ_DECODE else 0
    return slot.computed + joined


@jit_call
def note_gap(state, s, r):
    """Keep the longest gap that a sequence of the decode set has seen so far."""
    slot = state.slot[s]
    if slot.state == SEQ_DECODE:
        longest = gap_longest(state, state.replica[r], slot.joined_step)
        if longest > 0:
            slot.gap_max = max(slot.gap_max, longest)


@jit_call
def on_left_queue(params, state, r, t):
    """A waiting attempt has left the queue of replica r at t: the next one may be admitted, or a batch waits longer."""
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    waiting = replica.n_wait
    continuous = pool.batching == 0
    if not continuous and replica.batch_left > waiting:
        replica.batch_left = waiting
    if replica.n_run == 0:
        tree_set(state.boundary_tree, params.leaves, r, gate_opens_ps(params, state, r, t))
        if waiting == 0 and replica.stage == STAGE_DRAINING:
            tree_set(state.stage_tree, params.leaves, r, t + 1)
    elif waiting > 0 and replica.n_run < pool.max_num_seqs and (continuous or replica.batch_left > 0):
        cut_jump(params, state, r, t)
    refresh_load(params, state, pool.served_model, r)
    release_if_room(params, state, pool.served_model, t)


@jit_call
def withdraw(params, state, s, t):
    """The client of an attempt gives up at t: take it out of the gateway or the queue, or count its work as wasted.

    Returns True where it still runs: it leaves its batch at the next boundary.
    """
    slot = state.slot[s]
    where = slot.state
    r = slot.replica
    if where == SEQ_HELD:
        drop_held(params, state, slot.served_model, s)
        return False
    if where == SEQ_BEFORE:
        return False
    if where == SEQ_AFTER:
        count_waste(params, state, s, slot.computed)
        return False
    if where == SEQ_WAITING:
        drop_waiting(state, state.replica[r], s)
        on_left_queue(params, state, r, t)
        return False
    settle(params, state, r, t)
    cut_jump(params, state, r, t)
    count_waste(params, state, s, computed_of(state, s, r))
    note_gap(state, s, r)
    if slot.state == SEQ_DECODE and is_counted(params, state, s):  # the gap of its last step is not counted
        state.mix[r * params.n_class + slot.traffic_class] -= 1
    slot.next_abandoned = state.replica[r].abandoned  # freed at the next boundary
    state.replica[r].abandoned = s + 1
    return True


@jit_call
def move_to_new_slot(params, state, s):
    """Leave slot s to an abandoned attempt that runs on; returns the slot in which its request lives on."""
    disarm_all(params, state, s)
    new = take_free(state)
    slot = state.slot[s]
    new_slot = state.slot[new]
    copy_row(slot.words, new_slot.words, SLOT_SIZE)
    if params.n_gpu_share > 0:
        copy_row(state.neighbour[s].words, state.neighbour[new].words, SLOT_NEIGHBOUR_SIZE)
    new_slot.due_ps = NEVER
    peer_slot = slot.hedge_peer
    if peer_slot >= 0:
        state.slot[peer_slot].hedge_peer = new
    slot.hedge_peer = -1
    slot.is_counted = 0
    slot.fate = ABANDONED
    return new


# ---- timers ----------------------------------------------------------------------
@jit
def timeout_reason(state, s):
    """The reason of a timeout: where the attempt was."""
    slot = state.slot[s]
    where = slot.state
    if where == SEQ_HELD or slot.from_cache == 1:
        return IN_GATEWAY
    if where == SEQ_BEFORE or where == SEQ_AFTER:
        return IN_CPU_STAGE
    if slot.scheduled_ps < 0:
        return IN_QUEUE
    return IN_PREFILL if slot.first_ps < 0 else IN_STREAM


@jit_call
def on_deadline(params, state, s, t):
    """The deadline of slot s is due at t: its client gives up, or has what it waited for and sets its next timer."""
    slot = state.slot[s]
    stalled = stall_ps(params, state, s, t) <= t
    if t < slot.total_ps and not (has_no_token(params, state, s) and t >= slot.give_up_ps) and not stalled:
        arm_next_timer(params, state, s, t)
        return
    reason = STALLED if stalled and t < slot.total_ps else timeout_reason(state, s)
    r = slot.replica
    if withdraw(params, state, s, t):
        s = move_to_new_slot(params, state, s)
    state.slot[s].state = SEQ_AWAY
    end_attempt(params, state, s, r, TIMED_OUT, reason, t)


@jit_call
def cancel_attempt(params, state, s, t):
    """The hedge peer of this attempt has answered: it leaves, and only what it wasted is recorded."""
    slot = state.slot[s]
    end_of_attempt(params, state, s, CANCELLED)
    if withdraw(params, state, s, t):
        slot.fate = ABANDONED
    else:
        drop_slot(state, s)


@jit_call
def send_hedge(params, state, s, t):
    """A client without a first token sends a second attempt beside its first."""
    slot = state.slot[s]
    klass = params.klass[slot.traffic_class]
    if slot.hedge_peer >= 0 or slot.attempts >= klass.attempts_max:
        return
    list_own_range(params, state, s)
    peer_slot = take_slot(params, state, slot.request, slot.arrival_ps)
    begin_first_attempt(params, state, peer_slot)
    peer = state.slot[peer_slot]
    peer.served_model = slot.served_model  # the fallback's, where an answer of its class's model was blocked
    n = slot.attempts + 1
    slot.attempts = n
    peer.attempts = n
    peer.attempt = n
    slot.hedge_peer = peer_slot
    peer.hedge_peer = s
    if is_counted(params, state, s):
        state.counts[slot.traffic_class].hedges += 1
    take_attempt(params, state, peer_slot, t)


@jit_call
def on_timer(params, state, t):
    """Fire the first timer or hedge if it is due at t. Outdated entries at the head of the hedges and of the heap are
    dropped or moved first, even where they are due later: each would otherwise be an event of its own.
    """
    if state.free_slot < 0:
        state.status = NEED_SLOTS  # nothing has been changed: the host makes room and the loop goes on
        return
    while state.hedge_ps != NEVER and has_first_token(state, state.hedge_slot):
        s = state.hedge_slot
        unlist_hedge(params, state, s)
        if state.slot[s].due_ps == NEVER:  # else its timer was set after its first token came
            arm_next_timer(params, state, s, t)
    while state.n_timer > 0 and not is_first_current(state, first_timer(state)):
        refresh_first(state, first_timer(state))
    hedge_ps = state.hedge_ps
    if hedge_ps <= t and not fires_before(state, hedge_ps, hedge_key(state, state.hedge_slot)):
        s = state.hedge_slot
        unlist_hedge(params, state, s)
        send_hedge(params, state, s, t)
        arm_next_timer(params, state, s, t)
    elif first_timer_ps(state) <= t:
        s = first_timer(state)
        disarm(state, s)
        on_timer_fired(params, state, s, kind_of(state, s), t)


@jit_call
def on_timer_fired(params, state, s, kind, t):
    """The timer of slot s has fired at t."""
    if kind == TIMER_DEADLINE:
        on_deadline(params, state, s, t)
    elif kind == TIMER_RETRY:
        on_retry(params, state, s, t)
    elif kind == TIMER_STATION:
        on_station_done(params, state, s, t)
    elif kind == TIMER_TURN:
        if begin_next_turn(params, state, s, t):
            start_or_defer(params, state, s, t)
    elif kind == TIMER_CANCEL:
        cancel_attempt(params, state, s, t)
