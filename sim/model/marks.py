"""Marks: what every pool has done, and every answer has got, by the ends of warm-up, of the measured window, of the run.

What happened within the window is one mark minus the one before it, so nothing has to be counted while it goes on. A
step that a mark falls in counts by how much of its time lies before the mark; its tokens come out when it ends.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.batch import SLOT_MASK
from sim.model.layout import (
    F_CHUNK,
    F_COMPUTED,
    F_FROM_CACHE,
    F_GENERATED,
    F_OUTPUT,
    F_PREV,
    F_SEEN,
    F_SIZE,
    F_STATE,
    L_FIRST,
    L_N,
    L_SIZE,
    M_ASKED_TOKENS,
    M_BILLED,
    M_BUSY,
    M_CACHED_TOKENS,
    M_COMPLETED,
    M_DECODE_PS,
    M_DECODE_TOKENS,
    M_KV_READ,
    M_PREEMPTED,
    M_PREFILL_PS,
    M_PREFILL_SQUARES,
    M_PREFILL_TOKENS,
    M_READY,
    M_RUNS_DROPPED,
    M_SERVING,
    M_SIZE,
    M_SLOT,
    M_STARTED,
    M_STEP_PARTS,
    M_STEPS,
    M_TIME_PS,
    MARK_RUN,
    MARK_WARM,
    MARK_WINDOW,
    P_DURATION_PS,
    P_N_POOL,
    P_N_REPLICA,
    Q_ASKED_TOKENS,
    Q_BILLED_LO,
    Q_CACHED_TOKENS,
    Q_COMPLETED,
    Q_PREEMPTED,
    Q_READY_LO,
    Q_RUNS_DROPPED,
    Q_SERVING_LO,
    Q_SIZE,
    Q_STARTED,
    R_BUSY_PS,
    R_DECODE_PS,
    R_DECODE_TOKENS,
    R_HEAP,
    R_JUMP_D,
    R_JUMP_DECODE_PS,
    R_JUMP_G,
    R_JUMP_K,
    R_JUMP_PS,
    R_KV,
    R_KV_READ,
    R_N_CHUNK,
    R_N_DECODE,
    R_N_RUN,
    R_PREFILL_PS,
    R_PREFILL_SQUARES,
    R_PREFILL_TOKENS,
    R_RUN_TAIL,
    R_SIZE,
    R_SLOT_HI,
    R_SLOT_LO,
    R_STEP,
    R_STEPS,
    S_MARKS,
    S_NEXT_MARK,
    S_TIMERS,
    SEQ_AFTER,
    SEQ_SINGLE,
    SEQ_WAITING,
    STEP_PARTS_BITS,
)
from sim.model.lifecycle import settle_areas
from sim.model.metrics import add_wide
from sim.model.replica import missing_of
from sim.model.steps import span_ps, steps_before
from sim.units import NEVER


@jit_call
def pass_mark(p, st, t):
    """Warm-up ends at t, or the measured window does."""
    marks = st.m[S_MARKS]
    set_mark(p, st, MARK_WARM if marks == 0 else MARK_WINDOW, t)
    st.m[S_MARKS] = marks + 1
    st.m[S_NEXT_MARK] = p.m[P_DURATION_PS] if marks == 0 else NEVER


@jit_call
def set_mark(p, st, mark, t):
    """Keep what every pool has done, and every answer under way has got, by t."""
    for pool in range(p.m[P_N_POOL]):
        mo = st.mark + (mark * p.m[P_N_POOL] + pool) * M_SIZE
        for j in range(M_SIZE):
            st.m[mo + j] = 0
        settle_areas(st, pool, t)
        qo = st.pool + pool * Q_SIZE
        for j in range(2):
            st.m[mo + M_BILLED + j] = st.m[qo + Q_BILLED_LO + j]
            st.m[mo + M_READY + j] = st.m[qo + Q_READY_LO + j]
            st.m[mo + M_SERVING + j] = st.m[qo + Q_SERVING_LO + j]
        st.m[mo + M_COMPLETED] = st.m[qo + Q_COMPLETED]
        st.m[mo + M_PREEMPTED] = st.m[qo + Q_PREEMPTED]
        st.m[mo + M_STARTED] = st.m[qo + Q_STARTED]
        st.m[mo + M_ASKED_TOKENS] = st.m[qo + Q_ASKED_TOKENS]
        st.m[mo + M_CACHED_TOKENS] = st.m[qo + Q_CACHED_TOKENS]
        st.m[mo + M_RUNS_DROPPED] = st.m[qo + Q_RUNS_DROPPED]
        st.m[mo + M_TIME_PS] = t
        first = p.m[p.pool + pool * L_SIZE + L_FIRST]
        for r in range(first, first + p.m[p.pool + pool * L_SIZE + L_N]):
            mark_replica(st, r, mo, t)
    if mark != MARK_RUN:
        mark_answers(p, st, t)


# ---- replicas ----------------------------------------------------------------------
@jit_call
def mark_replica(st, r, mo, t):
    """Add one replica's work to its pool's mark."""
    ro = st.rep + r * R_SIZE
    add_wide(st.m, mo + M_BUSY, st.m[ro + R_BUSY_PS])
    add_wide(st.m, mo + M_SLOT, st.m[ro + R_SLOT_LO])
    st.m[mo + M_SLOT + 1] += st.m[ro + R_SLOT_HI]
    add_wide(st.m, mo + M_PREFILL_PS, st.m[ro + R_PREFILL_PS])
    add_wide(st.m, mo + M_DECODE_PS, st.m[ro + R_DECODE_PS])
    st.m[mo + M_STEPS] += st.m[ro + R_STEPS]
    st.m[mo + M_PREFILL_TOKENS] += st.m[ro + R_PREFILL_TOKENS]
    st.m[mo + M_PREFILL_SQUARES] += st.m[ro + R_PREFILL_SQUARES]
    st.m[mo + M_DECODE_TOKENS] += st.m[ro + R_DECODE_TOKENS]
    st.m[mo + M_KV_READ] += st.m[ro + R_KV_READ]
    if st.m[ro + R_JUMP_K] > 0 and t > st.m[ro + R_JUMP_PS]:
        mark_jump(st, r, mo, t - st.m[ro + R_JUMP_PS])
    elif st.m[ro + R_N_CHUNK] > 0:
        not_yet(st, r, mo, 0)


@jit_call
def mark_jump(st, r, mo, span):
    """Add what the jump in progress has done in its first `span` ps."""
    ro = st.rep + r * R_SIZE
    g = st.m[ro + R_JUMP_G]
    d = st.m[ro + R_JUMP_D]
    n = st.m[ro + R_N_DECODE]
    done = steps_before(span, st.m[ro + R_JUMP_K], g, d)
    part = part_of(span - span_ps(done, g, d), g + d * done)
    add_wide(st.m, mo + M_BUSY, span)
    add_wide(st.m, mo + M_SLOT, span * st.m[ro + R_N_RUN])
    decode_ps = span
    if st.m[ro + R_N_CHUNK] > 0:
        decode_ps = min(span, st.m[ro + R_JUMP_DECODE_PS])  # as if a step decoded first
        not_yet(st, r, mo, part)
    add_wide(st.m, mo + M_DECODE_PS, decode_ps)
    add_wide(st.m, mo + M_PREFILL_PS, span - decode_ps)
    st.m[mo + M_STEPS] += done
    st.m[mo + M_STEP_PARTS] += part
    st.m[mo + M_DECODE_TOKENS] += n * done + scaled(n, part)
    attended = st.m[ro + R_KV] + n * done
    st.m[mo + M_KV_READ] += done * st.m[ro + R_KV] + n * ((done * (done - 1)) >> 1) + scaled(attended, part)


@jit
def part_of(elapsed, length):
    """How much of a step is over, in 1 / STEP_PARTS, rounded down."""
    return elapsed // ((length >> STEP_PARTS_BITS) + 1)


@jit
def scaled(n, part):
    """So much of a number as a step is over, rounded down; it may use 62 bits."""
    low = n & ((1 << STEP_PARTS_BITS) - 1)
    return (n >> STEP_PARTS_BITS) * part + ((low * part) >> STEP_PARTS_BITS)


@jit_call
def not_yet(st, r, mo, part):
    """Take back what the chunks of a step in progress, counted when it began, have yet to compute."""
    left = st.m[st.rep + r * R_SIZE + R_N_CHUNK]
    s = st.m[st.rep + r * R_SIZE + R_RUN_TAIL]
    while left > 0:
        so = st.slot + s * F_SIZE
        chunk = st.m[so + F_CHUNK]
        if st.m[so + F_STATE] == SEQ_SINGLE and chunk > 0:
            left -= 1
            computed = st.m[so + F_COMPUTED]
            if st.m[so + F_GENERATED] > 0 and missing_of(st, so) == 1:
                st.m[mo + M_DECODE_TOKENS] -= 1
                st.m[mo + M_KV_READ] -= computed + 1 - scaled(computed + 1, part)
            else:
                squares = chunk * (2 * computed + chunk)
                st.m[mo + M_PREFILL_TOKENS] -= chunk - scaled(chunk, part)
                st.m[mo + M_PREFILL_SQUARES] -= squares - scaled(squares, part)
        s = st.m[so + F_PREV]


# ---- answers ----------------------------------------------------------------------
@jit_call
def mark_answers(p, st, t):
    """Keep in every slot how many tokens of its attempt have come by t, or since the mark before."""
    for so in range(st.slot, st.slot + ((st.m[S_TIMERS] - st.slot) // F_SIZE) * F_SIZE, F_SIZE):
        state = st.m[so + F_STATE]
        if state == SEQ_WAITING or state == SEQ_SINGLE:
            see(st, so, st.m[so + F_GENERATED])
        elif state == SEQ_AFTER and st.m[so + F_FROM_CACHE] == 0:
            see(st, so, max(1, st.m[so + F_OUTPUT]))
    for r in range(p.m[P_N_REPLICA]):
        ro = st.rep + r * R_SIZE
        step = st.m[ro + R_STEP]
        if st.m[ro + R_JUMP_K] > 1:
            g = st.m[ro + R_JUMP_G]
            step += steps_before(t - st.m[ro + R_JUMP_PS], st.m[ro + R_JUMP_K], g, st.m[ro + R_JUMP_D])
        for at in range(st.m[ro + R_HEAP], st.m[ro + R_HEAP] + st.m[ro + R_N_DECODE]):
            so = st.slot + (st.m[at] & SLOT_MASK) * F_SIZE
            see(st, so, st.m[so + F_OUTPUT] - ((st.m[at] >> 24) - step))


@jit
def see(st, so, n):
    """The attempt in a slot has got n tokens; an embedding, which has none, counts as one when it is computed.

    F_SEEN is twice the tokens, and 1 more where the first of them, and so its prompt, is one of these.
    """
    before = st.m[so + F_SEEN] >> 1
    st.m[so + F_SEEN] = 2 * (n - before) + (1 if before == 0 and n > 0 else 0)
