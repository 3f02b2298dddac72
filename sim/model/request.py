"""A request in flight: its slot, and what is written down when it ends."""

from __future__ import annotations

import numpy as np

from sim.jit import jit, jit_call
from sim.model.batch import gap_longest
from sim.model.layout import (
    C_ALL_COMPLETED,
    C_ALL_FAILED,
    C_ALL_OFFERED,
    C_ALL_REJECTED,
    C_COMPLETED,
    C_FAILED,
    C_INSIDE_MISSED,
    C_MET,
    C_OFFERED,
    C_REJECTED,
    C_SIZE,
    C_SUM,
    C_TOKENS_IN,
    C_TOKENS_OUT,
    CLASS_BITS,
    CLASSES_MAX,
    COMPLETED,
    F_ARRIVAL_PS,
    F_CHUNK,
    F_CLASS,
    F_COMPUTED,
    F_FIRST_PS,
    F_GAP_MAX,
    F_GENERATED,
    F_LAST_PS,
    F_MARK,
    F_NEXT,
    F_OUTPUT,
    F_PREEMPTIONS,
    F_PROMPT,
    F_REQUEST,
    F_ROUTED_PS,
    F_SCHEDULED_PS,
    F_SIZE,
    F_START,
    F_STATE,
    FAILED,
    INSIDE,
    K_E2E_PS,
    K_ITL_PS,
    K_SIZE,
    K_TPOT_PS,
    K_TTFT_PS,
    M_E2E,
    M_QUEUE_WAIT,
    M_TPOT,
    M_TTFT,
    NO_REASON,
    P_DURATION_PS,
    P_N_REQUEST,
    P_RECORDS,
    P_WARMUP_PS,
    R_SIZE,
    REJECTED,
    S_DIGEST,
    S_FREE,
    S_IN_FLIGHT,
    S_NOW,
    SEQ_DECODE,
    SEQ_WAITING,
    TOKEN_BITS,
    TOKENS_MAX,
    X_FIRST_PS,
    X_GAP_MAX_PS,
    X_LAST_PS,
    X_OUTCOME,
    X_PREEMPTIONS,
    X_REASON,
    X_REPLICA,
    X_ROUTED_PS,
    X_SCHEDULED_PS,
    X_SIZE,
)
from sim.model.metrics import add_wide, finished, mixed, observe

_SEED = np.uint64(0x5851F42D4C957F2D)


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
    st.m[so + F_GENERATED] = 0
    st.m[so + F_COMPUTED] = 0
    st.m[so + F_CHUNK] = 0
    st.m[so + F_LAST_PS] = -1
    st.m[so + F_ARRIVAL_PS] = t
    st.m[so + F_ROUTED_PS] = -1
    st.m[so + F_SCHEDULED_PS] = -1
    st.m[so + F_FIRST_PS] = -1
    st.m[so + F_GAP_MAX] = -1
    st.m[so + F_PREEMPTIONS] = 0
    st.m[so + F_CLASS] = class_of(p, i)
    st.m[so + F_MARK] = 0
    return s


@jit
def free_slot(st, s):
    """Give a slot back."""
    st.m[st.slot + s * F_SIZE + F_NEXT] = st.m[S_FREE]
    st.m[S_FREE] = s
    st.m[S_IN_FLIGHT] -= 1


@jit
def write_row(p, st, i, routed, scheduled, first, last, replica, preemptions, gap_max, outcome, reason):
    """Fold a request's row into the digest and keep it where records are on."""
    h = mixed(mixed(mixed(mixed(_SEED, i), routed), scheduled), first)
    h = mixed(mixed(mixed(mixed(h, last), replica), preemptions), gap_max)
    st.m[S_DIGEST] += finished(mixed(h, outcome * 256 + reason))
    if p.m[P_RECORDS] == 1:
        o = i * X_SIZE
        st.m[st.record + o + X_ROUTED_PS] = routed
        st.m[st.record + o + X_SCHEDULED_PS] = scheduled
        st.m[st.record + o + X_FIRST_PS] = first
        st.m[st.record + o + X_LAST_PS] = last
        st.m[st.record + o + X_REPLICA] = replica
        st.m[st.record + o + X_PREEMPTIONS] = preemptions
        st.m[st.record + o + X_GAP_MAX_PS] = gap_max
        st.m[st.record + o + X_OUTCOME] = outcome
        st.m[st.record + o + X_REASON] = reason


@jit
def meets_objectives(p, k, ttft_ps, gap_max_ps, tpot_ps, e2e_ps):
    """Whether a served request met every objective of its class."""
    ko = p.klass + k * K_SIZE
    return (
        ttft_ps <= p.m[ko + K_TTFT_PS]
        and gap_max_ps <= p.m[ko + K_ITL_PS]
        and tpot_ps <= p.m[ko + K_TPOT_PS]
        and e2e_ps <= p.m[ko + K_E2E_PS]
    )


@jit
def measure(st, k, metric, value_ps):
    """Count a duration in its class's histogram and sum."""
    observe(st.m, st.hist, k, metric, value_ps)
    add_wide(st.m, st.counts + k * C_SIZE + C_SUM + 2 * metric, value_ps)


@jit
def complete(p, st, s, r, t):
    """A request was answered in full at t by replica r: measure it, write it down, free its slot."""
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
    if is_measured(p, arrival):
        tpot = 0
        if output > 1:
            tpot = (t - first) // (output - 1)
            measure(st, k, M_TPOT, tpot)
        measure(st, k, M_TTFT, first - arrival)
        measure(st, k, M_E2E, t - arrival)
        measure(st, k, M_QUEUE_WAIT, scheduled - arrival)
        st.m[co + C_COMPLETED] += 1
        st.m[co + C_TOKENS_IN] += st.m[so + F_PROMPT]
        st.m[co + C_TOKENS_OUT] += output
        if meets_objectives(p, k, first - arrival, gap_max, tpot, t - arrival):
            st.m[co + C_MET] += 1
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
    )
    free_slot(st, s)


@jit
def reject(p, st, i, t, reason):
    """A request was turned away on arrival."""
    co = st.counts + class_of(p, i) * C_SIZE
    st.m[co + C_ALL_REJECTED] += 1
    if is_measured(p, t):
        st.m[co + C_REJECTED] += 1
    write_row(p, st, i, -1, -1, -1, -1, -1, 0, -1, REJECTED, reason)


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
    write_row(
        p,
        st,
        st.m[so + F_REQUEST],
        st.m[so + F_ROUTED_PS],
        st.m[so + F_SCHEDULED_PS],
        st.m[so + F_FIRST_PS],
        -1,
        r,
        st.m[so + F_PREEMPTIONS],
        longest,
        outcome,
        reason,
    )
    free_slot(st, s)


@jit_call
def is_missed(p, st, so):
    """Whether a request that is still inside now can no longer meet an objective of its class."""
    ko = p.klass + st.m[so + F_CLASS] * K_SIZE
    age = st.m[S_NOW] - st.m[so + F_ARRIVAL_PS]
    first = st.m[so + F_FIRST_PS]
    ttft = first - st.m[so + F_ARRIVAL_PS] if first >= 0 else age
    return ttft > p.m[ko + K_TTFT_PS] or st.m[so + F_GAP_MAX] > p.m[ko + K_ITL_PS] or age > p.m[ko + K_E2E_PS]


@jit_call
def leave_inside(p, st, s, r, reason):
    """The run is over and a request is still inside: write down how far it came, and whether it is a miss already."""
    so = st.slot + s * F_SIZE
    if is_measured(p, st.m[so + F_ARRIVAL_PS]) and is_missed(p, st, so):
        st.m[st.counts + st.m[so + F_CLASS] * C_SIZE + C_INSIDE_MISSED] += 1
    leave(p, st, s, r, INSIDE, reason)
