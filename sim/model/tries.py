"""Clients try, and try again: an attempt is taken, refused, routed or held; its request is away until the next, or over."""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.attempts import begin_request, counts_for, drop_slot, end_of_attempt
from sim.model.blame import held_from
from sim.model.cache import content_of, is_cached
from sim.model.gateway import hand_over
from sim.model.hedges import hedge_ps, is_listed, list_hedge
from sim.model.holders import list_own
from sim.model.holding import find_room, hold, note_served
from sim.model.hours import deferral_ps
from sim.model.layout import (
    BLOCKED,
    C_ALL_FAILED,
    C_ALL_REJECTED,
    C_ALL_TIMED_OUT,
    C_ATTEMPTS,
    C_REASON,
    C_REJECTED,
    C_RETRIES,
    C_SIZE,
    EQUAL_JITTER,
    F_ARRIVAL_PS,
    F_ATTEMPT,
    F_ATTEMPTS,
    F_CLASS,
    F_FIRST_PS,
    F_FROM_CACHE,
    F_GIVE_UP_PS,
    F_GROUP,
    F_PROMPT,
    F_REPLICA,
    F_REQUEST,
    F_ROUTED_PS,
    F_SCHEDULED_PS,
    F_SIZE,
    F_STATE,
    F_STEP_PS,
    F_TAKEN_PS,
    F_TOTAL_PS,
    F_WASTED,
    FULL_JITTER,
    G_HOLD_MAX,
    G_SIZE,
    GATEWAY_FULL,
    H_AGAIN,
    H_ARRIVALS,
    H_HELD,
    H_SIZE,
    K_ATTEMPTS_MAX,
    K_BACKOFF,
    K_DEADLINE_PS,
    K_GAP_PS,
    K_JITTER,
    K_PATIENCE,
    K_RETRY_ON,
    K_SIZE,
    K_TTFT_MAX_PS,
    K_WITHHELD,
    N_QUANTILE,
    NO_REASON,
    OVER_LIMIT,
    P_CACHE_PS,
    P_SEED,
    PHASE_DEADLINE,
    PHASE_RETRY,
    PHASE_STATION,
    PHASE_TURN,
    PREDICTED_TTFT,
    REJECTED,
    SEQ_AFTER,
    SEQ_AWAY,
    SEQ_BEFORE,
    SEQ_WAITING,
    TIMED_OUT,
    TOO_LONG,
)
from sim.model.limits import deposit, limits_reason, load_reason, pay_retry
from sim.model.predict import comes_late
from sim.model.request import clear, leave, take_slot
from sim.model.router import n_fitting_pools
from sim.model.stalls import stall_ps
from sim.model.stations import enter_station, n_before
from sim.model.timers import arm, disarm
from sim.model.turns import next_turn
from sim.rng import STREAM_PATIENCE, STREAM_RETRY, draw_below
from sim.units import NEVER

JITTER_BITS = 20


# ---- an attempt begins ----------------------------------------------------------------------
@jit_call
def take_request(p, st, i, t):
    """Request i of the table arrives at t; the caller has made sure that a slot is free."""
    s = take_slot(p, st, i, t)
    begin_request(p, st, s)
    start(p, st, s, t)


@jit
def start(p, st, s, t):
    """The request in slot s has arrived at t: it is tried, or deferred."""
    wait = deferral_ps(p, st.m[st.slot + s * F_SIZE + F_CLASS], t)
    if wait > 0:
        st.m[st.slot + s * F_SIZE + F_STATE] = SEQ_AWAY
        st.m[st.slot + s * F_SIZE + F_TAKEN_PS] = -1
        st.m[st.slot + s * F_SIZE + F_ATTEMPT] = 0
        st.m[st.slot + s * F_SIZE + F_ATTEMPTS] = 0
        arm(st, s, PHASE_RETRY, t + wait)
    else:
        take_attempt(p, st, s, t)


@jit_call
def retry(p, st, s, t):
    """The wait of the request in slot s is over: its next attempt is taken at t."""
    so = st.slot + s * F_SIZE
    next_attempt(p, st, s)
    if st.m[so + F_ATTEMPT] > 1 and counts_for(p, st, s):
        st.m[st.counts + st.m[so + F_CLASS] * C_SIZE + C_RETRIES] += 1
    take_attempt(p, st, s, t)


@jit_call
def take_attempt(p, st, s, t):
    """The gateway takes the attempt in slot s at t: it is refused, answered from the cache, or let in."""
    so = st.slot + s * F_SIZE
    k = st.m[so + F_CLASS]
    g = st.m[so + F_GROUP]
    st.m[so + F_STATE] = SEQ_WAITING
    st.m[so + F_TAKEN_PS] = t
    if counts_for(p, st, s):
        st.m[st.counts + k * C_SIZE + C_ATTEMPTS] += 1
    st.m[st.group + g * H_SIZE + H_ARRIVALS] += 1
    if st.m[so + F_ATTEMPT] > 1:
        st.m[st.group + g * H_SIZE + H_AGAIN] += 1
    deposit(p, st, s)
    fitting = n_fitting_pools(p, g, st.m[so + F_REQUEST])
    reason = TOO_LONG if fitting == 0 else limits_reason(p, st, s, t)
    set_patience(p, st, s, t)
    if reason == NO_REASON and is_cached(p, st, content_of(p, st, s), t):
        from_cache(p, st, s, t)
        return
    if reason == NO_REASON:
        reason = load_reason(p, st, k, g)
    if (
        reason == NO_REASON
        and p.m[p.klass + k * K_SIZE + K_TTFT_MAX_PS] != NEVER
        and comes_late(p, st, s, g, t)
    ):
        reason = PREDICTED_TTFT
    if reason != NO_REASON:
        end_attempt(p, st, s, -1, REJECTED, reason, t)
        return
    if n_before(p, k) > 0:
        st.m[so + F_STATE] = SEQ_BEFORE
        enter_station(p, st, s, 0, t)
        watch(p, st, s, t)
    else:
        let_in(p, st, s, fitting, t)


@jit
def from_cache(p, st, s, t):
    """The attempt in slot s will be answered by the response cache: no replica sees it."""
    so = st.slot + s * F_SIZE
    st.m[so + F_FROM_CACHE] = 1
    st.m[so + F_STATE] = SEQ_AFTER
    st.m[so + F_ROUTED_PS] = t
    st.m[so + F_SCHEDULED_PS] = t
    st.m[so + F_STEP_PS] = t + p.m[P_CACHE_PS]
    watch(p, st, s, t)


@jit
def let_in(p, st, s, fitting, t):
    """The attempt in slot s has passed the gateway's checks and stations: it is routed, held or turned away."""
    so = st.slot + s * F_SIZE
    g = st.m[so + F_GROUP]
    st.m[so + F_STATE] = SEQ_WAITING
    watch(p, st, s, t)
    r = find_room(p, st, g, st.m[so + F_REQUEST], st.m[so + F_ATTEMPT] - 1, fitting, t)
    if r >= 0:
        note_served(p, st, g, s, st.m[so + F_PROMPT])
        hand_over(p, st, g, r, s, t)
    elif st.m[st.group + g * H_SIZE + H_HELD] < p.m[p.group + g * G_SIZE + G_HOLD_MAX]:
        held_from(st, g, s, t)
        hold(p, st, g, s)
    else:
        end_attempt(p, st, s, -1, REJECTED, GATEWAY_FULL, t)


@jit
def set_patience(p, st, s, t):
    """When the client of a new attempt will give it up: a person is as patient at every attempt."""
    so = st.slot + s * F_SIZE
    st.m[so + F_GIVE_UP_PS] = NEVER
    st.m[so + F_TOTAL_PS] = NEVER
    table = p.m[p.klass + st.m[so + F_CLASS] * K_SIZE + K_PATIENCE]
    if table > 0:
        rank = draw_below(p.m[P_SEED], STREAM_PATIENCE, st.m[so + F_REQUEST], 0, N_QUANTILE)
        first = p.m[table + 2 * rank]
        total = p.m[table + 2 * rank + 1]
        if first != NEVER:
            st.m[so + F_GIVE_UP_PS] = t + first
        if total != NEVER:
            st.m[so + F_TOTAL_PS] = t + total
    deadline = p.m[p.klass + st.m[so + F_CLASS] * K_SIZE + K_DEADLINE_PS]
    if deadline != NEVER:
        last = max(t, st.m[so + F_ARRIVAL_PS] + deadline)
        st.m[so + F_TOTAL_PS] = min(st.m[so + F_TOTAL_PS], last)


@jit
def sees_nothing(p, st, s):
    """Whether the client of slot s has no token yet."""
    so = st.slot + s * F_SIZE
    return st.m[so + F_FIRST_PS] < 0 or p.m[p.klass + st.m[so + F_CLASS] * K_SIZE + K_WITHHELD] == 1


@jit_call
def watch(p, st, s, t):
    """Set the timer of an attempt after t: its deadline, or the end of its work at a station; list the hedge before it."""
    so = st.slot + s * F_SIZE
    phase = PHASE_DEADLINE
    due = st.m[so + F_TOTAL_PS]
    if sees_nothing(p, st, s):
        due = min(due, st.m[so + F_GIVE_UP_PS])
        if st.m[so + F_FIRST_PS] < 0 and t < hedge_ps(p, st, s) < due:
            if not is_listed(st, s):
                list_hedge(p, st, s)
            due = hedge_ps(p, st, s)
            phase = PHASE_TURN
    if p.m[p.klass + st.m[so + F_CLASS] * K_SIZE + K_GAP_PS] != NEVER:
        look = stall_ps(p, st, s, t)
        if look < due:
            phase = PHASE_DEADLINE
            due = look
    if phase == PHASE_TURN:
        due = NEVER  # the hedge is listed, and when it comes this is looked at again
    if (st.m[so + F_STATE] == SEQ_BEFORE or st.m[so + F_STATE] == SEQ_AFTER) and st.m[so + F_STEP_PS] < due:
        phase = PHASE_STATION
        due = st.m[so + F_STEP_PS]
    if due != NEVER:
        arm(st, s, phase, due)
    else:
        disarm(st, s)


# ---- an attempt ends without an answer ----------------------------------------------------------------------
@jit_call
def end_attempt(p, st, s, r, outcome, reason, t):
    """The attempt in slot s, which is in no list any more, ended at t: it is tried again, or its request is over."""
    so = st.slot + s * F_SIZE
    k = st.m[so + F_CLASS]
    twin = end_of_attempt(p, st, s, outcome)
    if twin >= 0:
        st.m[st.slot + twin * F_SIZE + F_WASTED] += st.m[so + F_WASTED]
        drop_slot(st, s)
        return
    final = reason == TOO_LONG or reason == OVER_LIMIT or reason == BLOCKED
    if not final and may_retry(p, st, s, outcome, t):
        st.m[so + F_STATE] = SEQ_AWAY
        arm(st, s, PHASE_RETRY, t + backoff_ps(p, st, s))
        return
    co = st.counts + k * C_SIZE
    if outcome == REJECTED:
        st.m[co + C_ALL_REJECTED] += 1
    elif outcome == TIMED_OUT:
        st.m[co + C_ALL_TIMED_OUT] += 1
    else:
        st.m[co + C_ALL_FAILED] += 1
    if counts_for(p, st, s):
        st.m[co + C_REJECTED + outcome - REJECTED] += 1
        st.m[co + C_REASON + reason] += 1
    leave(p, st, s, r, outcome, reason)
    next_turn(p, st, s, r, outcome, t)


@jit_call
def next_attempt(p, st, s):
    """Slot s is for the next attempt at its request."""
    so = st.slot + s * F_SIZE
    list_own(p, st, s)
    clear(p, st, so)
    st.m[so + F_FROM_CACHE] = 0
    st.m[so + F_REPLICA] = -1
    st.m[so + F_ATTEMPTS] += 1
    st.m[so + F_ATTEMPT] = st.m[so + F_ATTEMPTS]


@jit
def may_retry(p, st, s, outcome, t):
    """Whether the request in slot s is tried once more after this outcome; if so, its budget has paid."""
    so = st.slot + s * F_SIZE
    ko = p.klass + st.m[so + F_CLASS] * K_SIZE
    if st.m[so + F_ATTEMPTS] >= p.m[ko + K_ATTEMPTS_MAX]:
        return False
    deadline = p.m[ko + K_DEADLINE_PS]
    if deadline != NEVER and t + backoff_ps(p, st, s) >= st.m[so + F_ARRIVAL_PS] + deadline:
        return False
    if p.m[ko + K_RETRY_ON] & (1 << (outcome - REJECTED)) == 0:
        return False
    return pay_retry(p, st, st.m[so + F_CLASS])


@jit
def backoff_ps(p, st, s):
    """How long the client waits before its next attempt."""
    so = st.slot + s * F_SIZE
    ko = p.klass + st.m[so + F_CLASS] * K_SIZE
    n = st.m[so + F_ATTEMPTS]
    wait = p.m[p.m[ko + K_BACKOFF] + n - 1]
    jitter = p.m[ko + K_JITTER]
    if jitter == FULL_JITTER or jitter == EQUAL_JITTER:
        u = draw_below(p.m[P_SEED], STREAM_RETRY, st.m[so + F_REQUEST], n, 1 << JITTER_BITS)
        if jitter == FULL_JITTER:
            return (wait >> JITTER_BITS) * u
        return (wait >> 1) + (wait >> (JITTER_BITS + 1)) * u
    return wait
