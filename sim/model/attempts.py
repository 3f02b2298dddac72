"""Where a request may take several attempts: their ends, their twins, what is counted of them.

An attempt is one try at a request, numbered from 1. Two attempts of one request can live at once (a hedge); each has
a slot and knows the other's.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.cache import content_of, keep_answer
from sim.model.hedges import NOT_LISTED, is_listed, unlist_hedge
from sim.model.lanes import OUTPUT_WEIGHT, note_served
from sim.model.layout import (
    C_CACHED,
    C_ENDED,
    C_MORE_SUM,
    C_SIZE,
    C_WASTED_TOKENS,
    CANCELLED,
    COMPLETED,
    F_ARRIVAL_PS,
    F_ATTEMPT,
    F_ATTEMPTS,
    F_CLASS,
    F_COMPUTED,
    F_COUNTED,
    F_DUE_PS,
    F_FIRST_PS,
    F_FROM_CACHE,
    F_GHOST,
    F_GIVE_UP_PS,
    F_GROUP,
    F_HEDGE_PREV,
    F_NEXT,
    F_OUTPUT,
    F_REPLICA,
    F_REQUEST,
    F_SIZE,
    F_TAKEN_PS,
    F_TOTAL_PS,
    F_TWIN,
    F_WASTED,
    GHOST_BEATEN,
    GHOST_NOT,
    K_BLOCKED_Q20,
    K_GROUP,
    K_SIZE,
    K_WITHHELD,
    L_OVERHEAD_PS,
    L_SIZE,
    MORE_ATTEMPT_TTFT,
    N_MORE,
    P_CACHE_ENTRIES,
    P_DURATION_PS,
    P_WARMUP_PS,
    PHASE_TURN,
    R_POOL,
    R_SIZE,
    S_FREE,
    S_IN_FLIGHT,
)
from sim.model.limits import note_completion, uncount
from sim.model.metrics import N_BUCKET, add_wide, bucket_of
from sim.model.row import write_waste
from sim.model.stations import n_after
from sim.model.timers import arm, disarm
from sim.units import NEVER


@jit
def counts_for(p, st, s):
    """Whether the request in slot s is measured: it arrived after warm-up and before the end."""
    return p.m[P_WARMUP_PS] <= st.m[st.slot + s * F_SIZE + F_ARRIVAL_PS] < p.m[P_DURATION_PS]


@jit
def begin_request(p, st, s):
    """Slot s holds a request that has not been tried yet."""
    so = st.slot + s * F_SIZE
    st.m[so + F_ATTEMPT] = 1
    st.m[so + F_ATTEMPTS] = 1
    st.m[so + F_REPLICA] = -1
    st.m[so + F_GHOST] = GHOST_NOT
    st.m[so + F_TWIN] = -1
    st.m[so + F_WASTED] = 0
    st.m[so + F_COUNTED] = 0
    st.m[so + F_FROM_CACHE] = 0
    st.m[so + F_GROUP] = p.m[p.klass + st.m[so + F_CLASS] * K_SIZE + K_GROUP]
    st.m[so + F_DUE_PS] = NEVER
    st.m[so + F_HEDGE_PREV] = NOT_LISTED


@jit
def take_free(st):
    """A free slot; the caller has made sure that there is one."""
    s = st.m[S_FREE]
    st.m[S_FREE] = st.m[st.slot + s * F_SIZE + F_NEXT]
    st.m[S_IN_FLIGHT] += 1
    return s


@jit
def drop_slot(st, s):
    """Give a slot back without a word about its request."""
    st.m[st.slot + s * F_SIZE + F_NEXT] = st.m[S_FREE]
    st.m[S_FREE] = s
    st.m[S_IN_FLIGHT] -= 1


@jit
def measure_more(st, k, metric, value_ps):
    """Count a duration in one of the histograms that are kept where attempts are."""
    st.m[st.more + (k * N_MORE + metric) * N_BUCKET + bucket_of(value_ps)] += 1
    add_wide(st.m, st.counts + k * C_SIZE + C_MORE_SUM + 2 * metric, value_ps)


@jit
def forget(p, st, s):
    """Nothing is due any more for the attempt in slot s."""
    disarm(st, s)
    if is_listed(st, s):
        unlist_hedge(p, st, s)


@jit
def overhead_of(p, st, r):
    """What a request waits at the servers of replica r beside its steps; nothing where no replica answered."""
    return p.m[p.pool + st.m[st.rep + r * R_SIZE + R_POOL] * L_SIZE + L_OVERHEAD_PS] if r >= 0 else 0


@jit_call
def end_of_attempt(p, st, s, outcome):
    """The attempt in slot s is over: its timer, its limits, its twin; returns the slot of the twin or −1."""
    so = st.slot + s * F_SIZE
    forget(p, st, s)
    uncount(p, st, s)
    if counts_for(p, st, s):
        k = st.m[so + F_CLASS]
        st.m[st.counts + k * C_SIZE + C_ENDED + outcome - 1] += 1
        if st.m[so + F_FIRST_PS] >= 0:
            waited = st.m[so + F_FIRST_PS] - st.m[so + F_TAKEN_PS]
            measure_more(st, k, MORE_ATTEMPT_TTFT, waited + overhead_of(p, st, st.m[so + F_REPLICA]))
    twin = st.m[so + F_TWIN]
    if twin >= 0:
        st.m[st.slot + twin * F_SIZE + F_TWIN] = -1
        st.m[so + F_TWIN] = -1
    return twin


@jit_call
def waste(p, st, s, tokens):
    """So many computed tokens of an attempt answer nobody; the row of one that is beaten is its twin's."""
    so = st.slot + s * F_SIZE
    if st.m[so + F_GHOST] == GHOST_BEATEN:
        write_waste(p, st, st.m[so + F_REQUEST], tokens)
    else:
        st.m[so + F_WASTED] += tokens
    if counts_for(p, st, s):
        st.m[st.counts + st.m[so + F_CLASS] * C_SIZE + C_WASTED_TOKENS] += tokens


@jit
def is_beaten(p, st, s):
    """Whether the twin of an attempt that has emitted its last token had answered before it; then that is all."""
    so = st.slot + s * F_SIZE
    if st.m[so + F_GHOST] == GHOST_BEATEN:
        end_of_attempt(p, st, s, CANCELLED)
        waste(p, st, s, st.m[so + F_COMPUTED])
        drop_slot(st, s)
        return True
    return False


@jit
def goes_on(p, st, s):
    """Whether more follows the last token: stations after the GPU, the verdict of a guardrail, a place in the cache.

    Answers of one boundary come to the cache in the order of their requests, not in that of a replica's slots.
    """
    k = st.m[st.slot + s * F_SIZE + F_CLASS]
    is_kept = p.m[P_CACHE_ENTRIES] > 0 and content_of(p, st, s) >= 0
    return is_kept or n_after(p, k) > 0 or p.m[p.klass + k * K_SIZE + K_BLOCKED_Q20] > 0


@jit_call
def is_withheld(p, st, s):
    """Whether the client of slot s sees nothing before its answer is complete."""
    return p.m[p.klass + st.m[st.slot + s * F_SIZE + F_CLASS] * K_SIZE + K_WITHHELD] == 1


@jit_call
def gives_up_at(p, st, s, t):
    """Whether the client of slot s, whose last token is computed but whose answer is not out, gives up at t."""
    so = st.slot + s * F_SIZE
    return st.m[so + F_TOTAL_PS] == t or (is_withheld(p, st, s) and st.m[so + F_GIVE_UP_PS] == t)


@jit_call
def first_seen_ps(p, st, s):
    """When the client of slot s, whose answer is not complete, saw its first token; −1 = not yet."""
    return -1 if is_withheld(p, st, s) else st.m[st.slot + s * F_SIZE + F_FIRST_PS]


@jit
def answered(p, st, s, t):
    """An attempt has answered its request at t: its end, its tenant's share, the cache."""
    so = st.slot + s * F_SIZE
    end_of_attempt(p, st, s, COMPLETED)
    if st.m[so + F_FROM_CACHE] == 1:
        if counts_for(p, st, s):
            st.m[st.counts + st.m[so + F_CLASS] * C_SIZE + C_CACHED] += 1
        return
    g = st.m[so + F_GROUP]
    note_completion(st, g, t)
    note_served(p, st, g, s, OUTPUT_WEIGHT * st.m[so + F_OUTPUT])
    keep_answer(p, st, content_of(p, st, s), t)


@jit_call
def win(p, st, s, t):
    """An attempt has emitted its first token at t: its twin, if it has one, is told a moment later."""
    so = st.slot + s * F_SIZE
    twin = st.m[so + F_TWIN]
    if twin >= 0:
        to = st.slot + twin * F_SIZE
        st.m[so + F_TWIN] = -1
        st.m[to + F_TWIN] = -1
        st.m[to + F_GHOST] = GHOST_BEATEN
        st.m[so + F_WASTED] += st.m[to + F_WASTED]
        st.m[to + F_WASTED] = 0
        forget(p, st, twin)
        arm(st, twin, PHASE_TURN, t + 1)


@jit_call
def is_extra(st, s):
    """Whether slot s, still inside at the end, is not the one that its row is about: a ghost, or the earlier of twins."""
    so = st.slot + s * F_SIZE
    twin = st.m[so + F_TWIN]
    if twin < 0:
        return st.m[so + F_GHOST] != GHOST_NOT
    to = st.slot + twin * F_SIZE
    if st.m[so + F_ATTEMPT] < st.m[to + F_ATTEMPT]:
        return True
    st.m[so + F_WASTED] += st.m[to + F_WASTED]
    return False
