"""Clients that do not wait for ever: deadlines, hedges, and how an attempt leaves wherever it is.

A waiting attempt leaves at once; a running one stays in its batch as a ghost until the step in progress ends.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.attempts import (
    begin_request,
    counts_for,
    drop_slot,
    end_of_attempt,
    forget,
    take_free,
    waste,
)
from sim.model.batch import drop_waiting, gap_longest
from sim.model.exits import on_station
from sim.model.hedges import hedge_key, is_needless, unlist_hedge
from sim.model.holders import list_own
from sim.model.holding import drop_held, note_room
from sim.model.layout import (
    C_HEDGES,
    C_SIZE,
    CANCELLED,
    F_ARRIVAL_PS,
    F_ATTEMPT,
    F_ATTEMPTS,
    F_CLASS,
    F_COMPUTED,
    F_COUNTED,
    F_DUE_PS,
    F_FIRST_PS,
    F_FROM_CACHE,
    F_GAP_MAX,
    F_GHOST,
    F_GHOST_NEXT,
    F_GIVE_UP_PS,
    F_GROUP,
    F_REPLICA,
    F_REQUEST,
    F_SCHEDULED_PS,
    F_SIZE,
    F_START,
    F_STATE,
    F_TOTAL_PS,
    F_TWIN,
    FAILED,
    GHOST_BEATEN,
    GHOST_GONE,
    IN_CPU_STAGE,
    IN_GATEWAY,
    IN_PREFILL,
    IN_QUEUE,
    IN_STREAM,
    K_ATTEMPTS_MAX,
    K_SIZE,
    L_BATCHING,
    L_GROUP,
    L_MAX_SEQS,
    L_SIZE,
    NEED_SLOTS,
    P_N_CLASS,
    P_TREE,
    PHASE_DEADLINE,
    PHASE_RETRY,
    PHASE_STATION,
    R_BATCH_LEFT,
    R_GHOST,
    R_N_RUN,
    R_N_WAIT,
    R_POOL,
    R_SIZE,
    R_STAGE,
    R_STEP,
    S_FREE,
    S_HEDGE,
    S_HEDGE_PS,
    S_N_TIMER,
    S_STATUS,
    SEQ_AFTER,
    SEQ_AWAY,
    SEQ_BEFORE,
    SEQ_DECODE,
    SEQ_HELD,
    SEQ_THINKING,
    SEQ_WAITING,
    STAGE_DRAINING,
    STALLED,
    TIMED_OUT,
)
from sim.model.loops import come
from sim.model.replica import cut_jump, gate_opens_ps, settle
from sim.model.request import take_slot
from sim.model.router import refresh_load
from sim.model.stalls import stall_ps
from sim.model.timers import (
    disarm,
    first_timer,
    first_timer_ps,
    goes_off_before,
    is_true,
    phase_of,
    put_right,
)
from sim.model.tree import tree_set
from sim.model.tries import end_attempt, retry, sees_nothing, start, take_attempt, watch
from sim.units import NEVER


@jit_call
def lose_attempt(p, st, s, r, reason, t):
    """The replica of an attempt is lost at t (its steps are settled); it fails, and ghosts are gone for good."""
    so = st.slot + s * F_SIZE
    ghost = st.m[so + F_GHOST]
    if ghost == GHOST_GONE:
        drop_slot(st, s)
        return
    waste(p, st, s, computed_of(st, s, r))
    if ghost == GHOST_BEATEN:
        end_of_attempt(p, st, s, CANCELLED)
        drop_slot(st, s)
        return
    note_gap(st, s, r)
    st.m[so + F_STATE] = SEQ_AWAY
    end_attempt(p, st, s, r, FAILED, reason, t)


# ---- leaving wherever it is ----------------------------------------------------------------------
@jit
def computed_of(st, s, r):
    """Computed tokens of an attempt at its replica, whose steps are settled."""
    so = st.slot + s * F_SIZE
    joined = st.m[st.rep + r * R_SIZE + R_STEP] if st.m[so + F_STATE] == SEQ_DECODE else 0
    return st.m[so + F_COMPUTED] + joined


@jit_call
def note_gap(st, s, r):
    """Keep the longest gap that a sequence of the decode set has seen so far."""
    so = st.slot + s * F_SIZE
    if st.m[so + F_STATE] == SEQ_DECODE:
        longest = gap_longest(st, st.rep + r * R_SIZE, st.m[so + F_START])
        if longest > 0:
            st.m[so + F_GAP_MAX] = max(st.m[so + F_GAP_MAX], longest)


@jit_call
def left_queue(p, st, r, t):
    """A waiting attempt has left replica r at t: the next in line may come in, the gate may stay shut."""
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    waiting = st.m[ro + R_N_WAIT]
    continuous = p.m[lo + L_BATCHING] == 0
    if not continuous and st.m[ro + R_BATCH_LEFT] > waiting:
        st.m[ro + R_BATCH_LEFT] = waiting
    if st.m[ro + R_N_RUN] == 0:
        tree_set(st.m, st.tree, p.m[P_TREE], r, gate_opens_ps(p, st, r, t))
        if waiting == 0 and st.m[ro + R_STAGE] == STAGE_DRAINING:
            tree_set(st.m, st.due, p.m[P_TREE], r, t + 1)
    elif (
        waiting > 0
        and st.m[ro + R_N_RUN] < p.m[lo + L_MAX_SEQS]
        and (continuous or st.m[ro + R_BATCH_LEFT] > 0)
    ):
        cut_jump(p, st, r, t)
    refresh_load(p, st, p.m[lo + L_GROUP], r)
    note_room(p, st, p.m[lo + L_GROUP], t)


@jit_call
def withdraw(p, st, s, t):
    """The client of an attempt goes at t: out of the gateway or the queue, or wasted; True where it still runs."""
    so = st.slot + s * F_SIZE
    state = st.m[so + F_STATE]
    r = st.m[so + F_REPLICA]
    if state == SEQ_HELD:
        drop_held(p, st, st.m[so + F_GROUP], s)
        return False
    if state == SEQ_BEFORE:
        return False
    if state == SEQ_AFTER:
        waste(p, st, s, st.m[so + F_COMPUTED])
        return False
    if state == SEQ_WAITING:
        drop_waiting(st, st.rep + r * R_SIZE, s)
        left_queue(p, st, r, t)
        return False
    settle(p, st, r, t)
    cut_jump(p, st, r, t)
    waste(p, st, s, computed_of(st, s, r))
    note_gap(st, s, r)
    if st.m[so + F_STATE] == SEQ_DECODE and counts_for(p, st, s):  # what its last step emits is nobody's gap
        st.m[st.mix + r * p.m[P_N_CLASS] + st.m[so + F_CLASS]] -= 1
    st.m[so + F_GHOST_NEXT] = st.m[st.rep + r * R_SIZE + R_GHOST]  # freed at the next boundary
    st.m[st.rep + r * R_SIZE + R_GHOST] = s + 1
    return True


@jit_call
def split_off(p, st, s):
    """Leave slot s to the ghost of an attempt that runs on; returns the slot in which its request lives on."""
    forget(p, st, s)
    new = take_free(st)
    so = st.slot + s * F_SIZE
    no = st.slot + new * F_SIZE
    for field in range(F_SIZE):
        st.m[no + field] = st.m[so + field]
    st.m[no + F_DUE_PS] = NEVER
    twin = st.m[so + F_TWIN]
    if twin >= 0:
        st.m[st.slot + twin * F_SIZE + F_TWIN] = new
    st.m[so + F_TWIN] = -1
    st.m[so + F_COUNTED] = 0
    st.m[so + F_GHOST] = GHOST_GONE
    return new


# ---- timers ----------------------------------------------------------------------
@jit
def where_it_is(st, s):
    """The reason of a timeout: where the attempt was."""
    so = st.slot + s * F_SIZE
    state = st.m[so + F_STATE]
    if state == SEQ_HELD or st.m[so + F_FROM_CACHE] == 1:
        return IN_GATEWAY
    if state == SEQ_BEFORE or state == SEQ_AFTER:
        return IN_CPU_STAGE
    if st.m[so + F_SCHEDULED_PS] < 0:
        return IN_QUEUE
    return IN_PREFILL if st.m[so + F_FIRST_PS] < 0 else IN_STREAM


@jit_call
def on_deadline(p, st, s, t):
    """The client of slot s looks at its watch: it gives up, or has its first token and waits for the rest."""
    so = st.slot + s * F_SIZE
    stalled = stall_ps(p, st, s, t) <= t
    if (
        t < st.m[so + F_TOTAL_PS]
        and not (sees_nothing(p, st, s) and t >= st.m[so + F_GIVE_UP_PS])
        and not stalled
    ):
        watch(p, st, s, t)
        return
    reason = STALLED if stalled and t < st.m[so + F_TOTAL_PS] else where_it_is(st, s)
    r = st.m[so + F_REPLICA]
    if withdraw(p, st, s, t):
        s = split_off(p, st, s)
    st.m[st.slot + s * F_SIZE + F_STATE] = SEQ_AWAY
    end_attempt(p, st, s, r, TIMED_OUT, reason, t)


@jit_call
def cancel(p, st, s, t):
    """The twin of this attempt has answered: it leaves, and nothing is written down but what it wasted."""
    so = st.slot + s * F_SIZE
    end_of_attempt(p, st, s, CANCELLED)
    if withdraw(p, st, s, t):
        st.m[so + F_GHOST] = GHOST_GONE
    else:
        drop_slot(st, s)


@jit_call
def hedge(p, st, s, t):
    """A client without a first token sends a second attempt beside its first."""
    so = st.slot + s * F_SIZE
    ko = p.klass + st.m[so + F_CLASS] * K_SIZE
    if st.m[so + F_TWIN] >= 0 or st.m[so + F_ATTEMPTS] >= p.m[ko + K_ATTEMPTS_MAX]:
        return
    list_own(p, st, s)
    twin = take_slot(p, st, st.m[so + F_REQUEST], st.m[so + F_ARRIVAL_PS])
    begin_request(p, st, twin)
    to = st.slot + twin * F_SIZE
    st.m[to + F_GROUP] = st.m[
        so + F_GROUP
    ]  # the fallback's, where an answer of its class's model was blocked
    n = st.m[so + F_ATTEMPTS] + 1
    st.m[so + F_ATTEMPTS] = n
    st.m[to + F_ATTEMPTS] = n
    st.m[to + F_ATTEMPT] = n
    st.m[so + F_TWIN] = twin
    st.m[to + F_TWIN] = s
    if counts_for(p, st, s):
        st.m[st.counts + st.m[so + F_CLASS] * C_SIZE + C_HEDGES] += 1
    take_attempt(p, st, twin, t)


@jit_call
def on_timer(p, st, t):
    """The first timer or hedge goes off at t, if there is one at t. What is in its way is put right, and so is what comes
    after it up to the next that is true: to be looked at only when it is due would be an event of its own.
    """
    if st.m[S_FREE] < 0:
        st.m[S_STATUS] = NEED_SLOTS  # nothing has been changed: the host makes room and the loop goes on
        return
    while st.m[S_HEDGE_PS] != NEVER and is_needless(st, st.m[S_HEDGE]):
        s = st.m[S_HEDGE]
        unlist_hedge(p, st, s)
        if (
            st.m[st.slot + s * F_SIZE + F_DUE_PS] == NEVER
        ):  # else it has been looked at since its first token came
            watch(p, st, s, t)
    while st.m[S_N_TIMER] > 0 and not is_true(st, first_timer(st)):
        put_right(st, first_timer(st))
    hedge_ps = st.m[S_HEDGE_PS]
    if hedge_ps <= t and not goes_off_before(st, hedge_ps, hedge_key(st, st.m[S_HEDGE])):
        s = st.m[S_HEDGE]
        unlist_hedge(p, st, s)
        hedge(p, st, s, t)
        watch(p, st, s, t)
    elif first_timer_ps(st) <= t:
        s = first_timer(st)
        disarm(st, s)
        go_off(p, st, s, phase_of(st, s), t)


@jit_call
def go_off(p, st, s, phase, t):
    """The timer of slot s has gone off at t."""
    if phase == PHASE_DEADLINE:
        on_deadline(p, st, s, t)
    elif phase == PHASE_RETRY:
        retry(p, st, s, t)
    elif phase == PHASE_STATION:
        on_station(p, st, s, t)
    elif st.m[st.slot + s * F_SIZE + F_STATE] == SEQ_THINKING:
        if come(p, st, s, t):
            start(p, st, s, t)
    else:
        cancel(p, st, s, t)
