"""A request in flight: its slot, and what is written down when it ends."""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.attempts import first_seen_ps, is_extra
from sim.model.batch import gap_longest
from sim.model.blame import blame_nobody
from sim.model.layout import (
    C_ALL_COMPLETED,
    C_ALL_FAILED,
    C_ALL_OFFERED,
    C_ALL_REJECTED,
    C_COMPLETED,
    C_DONE,
    C_DONE_MET,
    C_FAILED,
    C_INSIDE_MISSED,
    C_MET,
    C_OFFERED,
    C_REASON,
    C_REJECTED,
    C_SIZE,
    C_SUM,
    C_TOKENS_IN,
    C_TOKENS_OUT,
    CLASS_BITS,
    CLASSES_MAX,
    COMPLETED,
    F_ARRIVAL_PS,
    F_CACHED,
    F_CHUNK,
    F_CLASS,
    F_COMPUTED,
    F_FIRST_PS,
    F_FROM_CACHE,
    F_GAP_MAX,
    F_GENERATED,
    F_HELD,
    F_LAST_PS,
    F_MARK,
    F_NEXT,
    F_OUTPUT,
    F_PREEMPTIONS,
    F_PROMPT,
    F_REQUEST,
    F_ROUTED_PS,
    F_RUN,
    F_SCHEDULED_PS,
    F_SEEN,
    F_SIZE,
    F_START,
    F_STATE,
    F_TAKEN_PS,
    FAILED,
    INSIDE,
    K_E2E_PS,
    K_ITL_PS,
    K_NETWORK,
    K_SIZE,
    K_TTFT_PS,
    M_E2E,
    M_ITL_MAX,
    M_QUEUE_WAIT,
    M_TPOT,
    M_TTFT,
    NO_REASON,
    P_ATTEMPTS,
    P_DURATION_PS,
    P_N_REQUEST,
    P_N_SESSION,
    P_WARMUP_PS,
    R_POOL,
    R_SIZE,
    REJECTED,
    S_FREE,
    S_IN_FLIGHT,
    S_MARKS,
    S_NOW,
    SEQ_AFTER,
    SEQ_DECODE,
    SEQ_WAITING,
    TOKEN_BITS,
    TOKENS_MAX,
)
from sim.model.metrics import add_wide, meets_objectives, observe
from sim.model.row import note_cached, write_row


@jit
def prompt_of(p, i):
    """Prompt tokens of request i of the trace."""
    return p.trace[p.m[P_N_REQUEST] + i] >> (TOKEN_BITS + CLASS_BITS)


@jit
def output_of(p, i):
    """Output tokens of request i."""
    return (p.trace[p.m[P_N_REQUEST] + i] >> CLASS_BITS) & TOKENS_MAX


@jit
def class_of(p, i):
    """The class of request i."""
    return p.trace[p.m[P_N_REQUEST] + i] & CLASSES_MAX


@jit
def session_of(p, i):
    """The session of request i, or −1."""
    return p.trace[2 * p.m[P_N_REQUEST] + i] if p.m[P_N_SESSION] > 0 else -1


@jit
def is_measured(p, arrival_ps):
    """Whether a request that arrived then counts: after warm-up, before the end."""
    return p.m[P_WARMUP_PS] <= arrival_ps < p.m[P_DURATION_PS]


@jit
def take_slot(p, st, i, t):
    """Give request i a slot; the caller has made sure that one is free."""
    s = st.m[S_FREE]
    so = st.slot + s * F_SIZE
    st.m[S_FREE] = st.m[so + F_NEXT]
    st.m[S_IN_FLIGHT] += 1
    st.m[so + F_REQUEST] = i
    st.m[so + F_STATE] = SEQ_WAITING
    st.m[so + F_PROMPT] = prompt_of(p, i)
    st.m[so + F_OUTPUT] = output_of(p, i)
    st.m[so + F_CLASS] = class_of(p, i)
    st.m[so + F_ARRIVAL_PS] = t
    st.m[so + F_TAKEN_PS] = t
    clear(p, st, so)
    return s


@jit
def clear(p, st, so):
    """Nothing has happened yet to the request in a slot, or to its next attempt."""
    for field in (F_GENERATED, F_COMPUTED, F_CHUNK, F_PREEMPTIONS, F_MARK, F_HELD, F_CACHED, F_RUN, F_SEEN):
        st.m[so + field] = 0
    for field in (F_LAST_PS, F_ROUTED_PS, F_SCHEDULED_PS, F_FIRST_PS, F_GAP_MAX):
        st.m[so + field] = -1
    blame_nobody(p, st, so)


@jit
def free_slot(st, s):
    """Give a slot back."""
    st.m[st.slot + s * F_SIZE + F_NEXT] = st.m[S_FREE]
    st.m[S_FREE] = s
    st.m[S_IN_FLIGHT] -= 1


@jit
def measure(st, k, metric, value_ps):
    """Count a duration in its class's histogram and sum."""
    observe(st.m, st.hist, k, metric, value_ps)
    add_wide(st.m, st.counts + k * C_SIZE + C_SUM + 2 * metric, value_ps)


@jit
def network_of(p, st, k, r):
    """Between the users of class k and replica r and back, the gateway included, ps."""
    network = p.m[p.klass + k * K_SIZE + K_NETWORK]
    return p.m[network + st.m[st.rep + r * R_SIZE + R_POOL]] if network > 0 and r >= 0 else 0


@jit
def conclude(p, st, s, r, last, t, tried):
    """A request is answered in full at t, its last token at `last`: measure it, write it down, free its slot."""
    so = st.slot + s * F_SIZE
    i = st.m[so + F_REQUEST]
    k = st.m[so + F_CLASS]
    arrival = st.m[so + F_ARRIVAL_PS]
    scheduled = st.m[so + F_SCHEDULED_PS]
    first = st.m[so + F_FIRST_PS]
    gap_max = st.m[so + F_GAP_MAX]
    output = st.m[so + F_OUTPUT]
    co = st.counts + k * C_SIZE
    st.m[co + C_ALL_COMPLETED] += 1
    asked = arrival - network_of(p, st, k, r)  # as its user sees it
    tpot = (last - first) // (output - 1) if output > 1 else 0
    met = 1 if meets_objectives(p, k, first - asked, gap_max, tpot, t - asked) else 0
    if is_measured(p, arrival):
        if output > 1:
            measure(st, k, M_TPOT, tpot)
            measure(st, k, M_ITL_MAX, gap_max)
        measure(st, k, M_TTFT, first - asked)
        measure(st, k, M_E2E, t - asked)
        measure(st, k, M_QUEUE_WAIT, scheduled - st.m[so + F_TAKEN_PS])
        st.m[co + C_COMPLETED] += 1
        st.m[co + C_MET] += met
    if st.m[S_MARKS] == 1:
        st.m[co + C_DONE] += 1
        st.m[co + C_DONE_MET] += met
    count_tokens(p, st, s, output)
    write_row(
        p,
        st,
        i,
        st.m[so + F_ROUTED_PS],
        scheduled,
        first,
        t,
        r,
        st.m[so + F_PREEMPTIONS],
        gap_max,
        COMPLETED,
        NO_REASON,
        s,
        tried,
    )
    if st.m[so + F_CACHED] > 0:
        note_cached(p, st, so)
    free_slot(st, s)


@jit
def count_tokens(p, st, s, n):
    """Count what came of an answer of n tokens within the measured window, at its end or at that of the run."""
    so = st.slot + s * F_SIZE
    marks = st.m[S_MARKS]
    if marks > 0 and st.m[so + F_FROM_CACHE] == 0:
        co = st.counts + st.m[so + F_CLASS] * C_SIZE
        seen = st.m[so + F_SEEN]
        if marks == 1:
            st.m[co + C_TOKENS_OUT] += n - min(n, seen >> 1)
            st.m[co + C_TOKENS_IN] += st.m[so + F_PROMPT] * (1 - (seen & 1))
        else:
            st.m[co + C_TOKENS_OUT] += min(n, seen >> 1)
            st.m[co + C_TOKENS_IN] += st.m[so + F_PROMPT] * (seen & 1)


@jit
def reject(p, st, i, t, reason):
    """A request was turned away on arrival."""
    co = st.counts + class_of(p, i) * C_SIZE
    st.m[co + C_ALL_REJECTED] += 1
    if is_measured(p, t):
        st.m[co + C_REJECTED] += 1
        st.m[co + C_REASON + reason] += 1
    write_row(p, st, i, -1, -1, -1, -1, -1, 0, -1, REJECTED, reason, -1, False)


@jit
def offer(p, st, i, t):
    """A request arrived: count it."""
    co = st.counts + class_of(p, i) * C_SIZE
    st.m[co + C_ALL_OFFERED] += 1
    if is_measured(p, t):
        st.m[co + C_OFFERED] += 1


@jit_call
def fail(p, st, s, r, reason):
    """A request is lost with whatever it had received; its user sees an error."""
    so = st.slot + s * F_SIZE
    co = st.counts + st.m[so + F_CLASS] * C_SIZE
    st.m[co + C_ALL_FAILED] += 1
    if is_measured(p, st.m[so + F_ARRIVAL_PS]):
        st.m[co + C_FAILED] += 1
        st.m[co + C_REASON + reason] += 1
    leave(p, st, s, r, FAILED, reason)


@jit_call
def leave(p, st, s, r, outcome, reason):
    """Write down a request that was not served in full, as far as it came, and free its slot."""
    so = st.slot + s * F_SIZE
    longest = st.m[so + F_GAP_MAX]
    if st.m[so + F_STATE] == SEQ_DECODE:
        longest = max(longest, gap_longest(st, st.rep + r * R_SIZE, st.m[so + F_START]))
    if longest == 0:
        longest = -1
    if st.m[so + F_CACHED] > 0:
        note_cached(p, st, so)
    write_row(
        p,
        st,
        st.m[so + F_REQUEST],
        st.m[so + F_ROUTED_PS],
        st.m[so + F_SCHEDULED_PS],
        first_seen_ps(p, st, s),
        -1,
        r,
        st.m[so + F_PREEMPTIONS],
        longest,
        outcome,
        reason,
        s,
        p.m[P_ATTEMPTS] == 1,
    )
    free_slot(st, s)


@jit_call
def is_missed(p, st, s, r):
    """Whether a request that is still inside, at replica r or nowhere, can no longer meet an objective of its class."""
    so = st.slot + s * F_SIZE
    ko = p.klass + st.m[so + F_CLASS] * K_SIZE
    asked = st.m[so + F_ARRIVAL_PS] - network_of(p, st, st.m[so + F_CLASS], r)
    age = st.m[S_NOW] - asked
    first = first_seen_ps(p, st, s)
    ttft = first - asked if first >= 0 else age
    return ttft > p.m[ko + K_TTFT_PS] or st.m[so + F_GAP_MAX] > p.m[ko + K_ITL_PS] or age > p.m[ko + K_E2E_PS]


@jit_call
def leave_inside(p, st, s, r, reason):
    """The run is over and a request is still inside: write down how far it came, and whether it is a miss already."""
    so = st.slot + s * F_SIZE
    if p.m[P_ATTEMPTS] == 1 and is_extra(st, s):
        free_slot(st, s)
        return
    if is_measured(p, st.m[so + F_ARRIVAL_PS]) and is_missed(p, st, s, r):
        st.m[st.counts + st.m[so + F_CLASS] * C_SIZE + C_INSIDE_MISSED] += 1
    if st.m[so + F_STATE] <= SEQ_DECODE or st.m[so + F_STATE] == SEQ_AFTER:
        count_tokens(p, st, s, st.m[so + F_OUTPUT])
    leave(p, st, s, r, INSIDE, reason)
