"""The flow of an attempt: the gateway takes it, refuses it, routes it or holds it; when it ends without an answer, its
client waits for the next attempt, or its request is over.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.admission.cpu_stations import enter_station, n_before
from sim.model.admission.rate_limits import (
    limits_reason,
    load_reason,
    pay_into_retry_budget,
    take_retry_budget,
)
from sim.model.admission.response_cache import content_of, find_answer
from sim.model.admission.tenant_shares import charge_tenant
from sim.model.clients.stall import stall_ps
from sim.model.clients.start_window import deferral_ps
from sim.model.gateway.dispatch import enqueue_rarely
from sim.model.gateway.hold_queue import find_room, hold
from sim.model.gateway.ttft_prediction import predicts_late_ttft
from sim.model.prefix_cache.references import list_own_range
from sim.model.record.latency_attribution import held_from
from sim.model.request.attempt import begin_first_attempt, drop_slot, end_of_attempt, is_counted
from sim.model.request.in_flight import clear_attempt, take_slot, write_unserved
from sim.model.request.session_turns import schedule_next_turn
from sim.model.router.choose import ask
from sim.model.router.fitting import n_fitting_pools
from sim.model.tables.codes import (
    BLOCKED,
    EQUAL_JITTER,
    FULL_JITTER,
    GATEWAY_FULL,
    NO_REASON,
    OVER_LIMIT,
    PREDICTED_TTFT,
    REJECTED,
    SEQ_AFTER,
    SEQ_AWAY,
    SEQ_BEFORE,
    SEQ_WAITING,
    TIMED_OUT,
    TOO_LONG,
)
from sim.model.tables.pool import N_QUANTILE
from sim.model.timers.hedge_lists import hedge_ps, is_listed, list_hedge
from sim.model.timers.kinds import TIMER_DEADLINE, TIMER_HEDGE, TIMER_RETRY, TIMER_STATION
from sim.model.timers.timer_heap import arm, disarm
from sim.rng import STREAM_PATIENCE, STREAM_RETRY, draw_below
from sim.units import NEVER

JITTER_BITS = 20


# ---- an attempt begins ----------------------------------------------------------------------
@jit_call
def take_request(params, state, i, t):
    """Request i of the table arrives at t. The caller has made sure that a slot is free."""
    s = take_slot(params, state, i, t)
    begin_first_attempt(params, state, s)
    start_or_defer(params, state, s, t)


@jit
def start_or_defer(params, state, s, t):
    """The request in slot s has arrived at t: its first attempt is taken, or deferred."""
    wait = deferral_ps(params, state.slot[s].traffic_class, t)
    if wait > 0:
        state.slot[s].state = SEQ_AWAY
        state.slot[s].taken_ps = -1
        state.slot[s].attempt = 0
        state.slot[s].attempts = 0
        arm(state, s, TIMER_RETRY, t + wait)
    else:
        take_attempt(params, state, s, t)


@jit_call
def on_retry(params, state, s, t):
    """The wait of the request in slot s is over: its next attempt is taken at t."""
    slot = state.slot[s]
    next_attempt(params, state, s)
    if slot.attempt > 1 and is_counted(params, state, s):
        state.counts[slot.traffic_class].retries += 1
    take_attempt(params, state, s, t)


@jit_call
def take_attempt(params, state, s, t):
    """The gateway takes the attempt in slot s at t: it is refused, answered from the cache, or goes on to stations and
    dispatch.
    """
    slot = state.slot[s]
    k = slot.traffic_class
    g = slot.served_model
    slot.state = SEQ_WAITING
    slot.taken_ps = t
    if is_counted(params, state, s):
        state.counts[k].attempts += 1
    state.served_model[g].arrivals += 1
    if slot.attempt > 1:
        state.served_model[g].retries += 1
    pay_into_retry_budget(params, state, s)
    fitting = n_fitting_pools(params, g, slot.request)
    reason = TOO_LONG if fitting == 0 else limits_reason(params, state, s, t)
    set_patience(params, state, s, t)
    if reason == NO_REASON and find_answer(params, state, content_of(params, state, s), t):
        answer_from_cache(params, state, s, t)
        return
    if reason == NO_REASON:
        reason = load_reason(params, state, k, g)
    if (
        reason == NO_REASON
        and params.klass[k].ttft_max_ps != NEVER
        and predicts_late_ttft(params, state, s, g, t)
    ):
        reason = PREDICTED_TTFT
    if reason != NO_REASON:
        end_attempt(params, state, s, -1, REJECTED, reason, t)
        return
    if n_before(params, k) > 0:
        slot.state = SEQ_BEFORE
        enter_station(params, state, s, 0, t)
        arm_next_timer(params, state, s, t)
    else:
        dispatch_attempt(params, state, s, fitting, t)


@jit
def answer_from_cache(params, state, s, t):
    """The attempt in slot s will be answered by the response cache: no replica sees it."""
    slot = state.slot[s]
    slot.from_cache = 1
    slot.state = SEQ_AFTER
    slot.routed_ps = t
    slot.scheduled_ps = t
    slot.visit_ps = t + params.cache_ps
    arm_next_timer(params, state, s, t)


@jit
def dispatch_attempt(params, state, s, fitting, t):
    """The attempt in slot s has passed the gateway's checks and stations: it is routed, held or refused."""
    slot = state.slot[s]
    g = slot.served_model
    slot.state = SEQ_WAITING
    arm_next_timer(params, state, s, t)
    r = find_room(params, state, ask(state, g, slot.request, slot.attempt - 1, t), fitting)
    if r >= 0:
        charge_tenant(params, state, g, s, slot.prompt)
        enqueue_rarely(params, state, g, r, s, t)
    elif state.served_model[g].held < params.served_model[g].hold_max:
        held_from(state, g, s, t)
        hold(params, state, g, s)
    else:
        end_attempt(params, state, s, -1, REJECTED, GATEWAY_FULL, t)


@jit
def set_patience(params, state, s, t):
    """Set when the client of a new attempt will give it up; a client is as patient at every attempt."""
    slot = state.slot[s]
    slot.give_up_ps = NEVER
    slot.total_ps = NEVER
    table = params.klass[slot.traffic_class].patience_at
    if table > 0:
        rank = draw_below(params.seed, STREAM_PATIENCE, slot.request, 0, N_QUANTILE)
        first = params.m[table + 2 * rank]
        total = params.m[table + 2 * rank + 1]
        if first != NEVER:
            slot.give_up_ps = t + first
        if total != NEVER:
            slot.total_ps = t + total
    deadline = params.klass[slot.traffic_class].deadline_ps
    if deadline != NEVER:
        last = max(t, slot.arrival_ps + deadline)
        slot.total_ps = min(slot.total_ps, last)


@jit
def has_no_token(params, state, s):
    """Whether the client of slot s has seen no token yet."""
    slot = state.slot[s]
    return slot.first_ps < 0 or params.klass[slot.traffic_class].is_withheld == 1


@jit_call
def arm_next_timer(params, state, s, t):
    """Set the timer of an attempt after t: its deadline, or the end of its work at a station; list the hedge before it."""
    slot = state.slot[s]
    kind = TIMER_DEADLINE
    due = slot.total_ps
    if has_no_token(params, state, s):
        due = min(due, slot.give_up_ps)
        if slot.first_ps < 0 and t < hedge_ps(params, state, s) < due:
            if not is_listed(state, s):
                list_hedge(params, state, s)
            due = hedge_ps(params, state, s)
            kind = TIMER_HEDGE
    if params.klass[slot.traffic_class].stall_ps != NEVER:
        look = stall_ps(params, state, s, t)
        if look < due:
            kind = TIMER_DEADLINE
            due = look
    if kind == TIMER_HEDGE:
        due = NEVER  # the hedge is listed; when it is due, this timer is set anew
    if (slot.state == SEQ_BEFORE or slot.state == SEQ_AFTER) and slot.visit_ps < due:
        kind = TIMER_STATION
        due = slot.visit_ps
    if due != NEVER:
        arm(state, s, kind, due)
    else:
        disarm(state, s)


# ---- an attempt ends without an answer ----------------------------------------------------------------------
@jit_call
def end_attempt(params, state, s, r, outcome, reason, t):
    """The attempt in slot s, which is in no list any more, ended at t without an answer: a hedge peer goes on, its client
    retries, or its request is over.
    """
    slot = state.slot[s]
    k = slot.traffic_class
    peer_slot = end_of_attempt(params, state, s, outcome)
    if peer_slot >= 0:
        state.slot[peer_slot].wasted_tokens += slot.wasted_tokens
        drop_slot(state, s)
        return
    final = reason == TOO_LONG or reason == OVER_LIMIT or reason == BLOCKED
    if not final and may_retry(params, state, s, outcome, t) and take_retry_budget(params, state, k):
        slot.state = SEQ_AWAY
        arm(state, s, TIMER_RETRY, t + backoff_ps(params, state, s))
        return
    counts = state.counts[k]
    if outcome == REJECTED:
        counts.all_rejected += 1
    elif outcome == TIMED_OUT:
        counts.all_timed_out += 1
    else:
        counts.all_failed += 1
    if is_counted(params, state, s):
        if outcome == REJECTED:
            counts.rejected += 1
        elif outcome == TIMED_OUT:
            counts.timed_out += 1
        else:
            counts.failed += 1
        counts.by_reason[reason] += 1
    write_unserved(params, state, s, r, outcome, reason)
    schedule_next_turn(params, state, s, r, outcome, t)


@jit_call
def next_attempt(params, state, s):
    """Make slot s that of the next attempt at its request."""
    slot = state.slot[s]
    list_own_range(params, state, s)
    clear_attempt(params, state, s)
    slot.from_cache = 0
    slot.replica = -1
    slot.attempts += 1
    slot.attempt = slot.attempts


@jit
def may_retry(params, state, s, outcome, t):
    """Whether the client may retry the request in slot s after this outcome, provided that its retry budget pays."""
    slot = state.slot[s]
    klass = params.klass[slot.traffic_class]
    if slot.attempts >= klass.attempts_max:
        return False
    deadline = klass.deadline_ps
    if deadline != NEVER and t + backoff_ps(params, state, s) >= slot.arrival_ps + deadline:
        return False
    return klass.retry_on & (1 << (outcome - REJECTED)) != 0


@jit
def backoff_ps(params, state, s):
    """How long the client waits before its next attempt."""
    slot = state.slot[s]
    klass = params.klass[slot.traffic_class]
    n = slot.attempts
    wait = params.m[klass.backoff_at + n - 1]
    jitter = klass.jitter
    if jitter == FULL_JITTER or jitter == EQUAL_JITTER:
        u = draw_below(params.seed, STREAM_RETRY, slot.request, n, 1 << JITTER_BITS)
        if jitter == FULL_JITTER:
            return (wait >> JITTER_BITS) * u
        return (wait >> 1) + (wait >> (JITTER_BITS + 1)) * u
    return wait
