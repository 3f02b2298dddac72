"""A sequence in an engine: joining and leaving the decode set, its tokens, its preemption.

The decode set holds the sequences that emit one token in every step. A sequence outside it (its prompt is being
computed, or it was preempted or passed over) is scheduled one by one and remembers when it last emitted.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.attempts import win
from sim.model.batch import (
    drop_running,
    gap_longest,
    gap_start,
    heap_push,
    heap_remove,
    insert_waiting,
    push_waiting_front,
)
from sim.model.blame import blame_chunk, decodes_from, decodes_until, lose_tokens
from sim.model.ends import complete
from sim.model.holders import list_own
from sim.model.kv import blocks_of, place_in_block
from sim.model.layout import (
    C_SIZE,
    C_SUM,
    F_ARRIVAL_PS,
    F_CHUNK,
    F_CLASS,
    F_COMPUTED,
    F_FIRST_PS,
    F_GAP_MAX,
    F_GENERATED,
    F_LAST_PS,
    F_OUTPUT,
    F_PREEMPTIONS,
    F_PROMPT,
    F_SINCE_PS,
    F_SIZE,
    F_START,
    F_STATE,
    F_TWIN,
    L_BATCHING,
    L_MAX_SEQS,
    L_SCHEDULING,
    L_SIZE,
    M_ITL,
    P_ATTEMPTS,
    P_N_CLASS,
    P_RECORDS,
    PRIORITY,
    Q_COMPLETED,
    Q_PREEMPTED,
    Q_SIZE,
    R_BATCH_LEFT,
    R_FREE_BLOCKS,
    R_KV,
    R_N_DECODE,
    R_POOL,
    R_PREFIX,
    R_RESIDUE,
    R_SIZE,
    R_STACK_N,
    R_STEP,
    SEQ_DECODE,
    SEQ_SINGLE,
    SEQ_WAITING,
)
from sim.model.metrics import add_wide, observe
from sim.model.prefix import leave_finished, will_leave
from sim.model.request import is_measured


@jit
def join_decode(p, st, r, s):
    """From the next step on the sequence emits a token in every step."""
    ro = st.rep + r * R_SIZE
    so = st.slot + s * F_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    gap_start(st, ro, p.m[lo + L_MAX_SEQS] + 2, st.m[ro + R_STEP])
    step = st.m[ro + R_STEP]
    computed = st.m[so + F_COMPUTED]
    st.m[so + F_STATE] = SEQ_DECODE
    decodes_from(p, st, ro, so)
    st.m[so + F_START] = step
    st.m[so + F_COMPUTED] = computed - step
    st.m[st.m[ro + R_RESIDUE] + place_in_block(p, lo, computed - step)] += 1
    st.m[ro + R_KV] += computed + 1
    if is_measured(p, st.m[so + F_ARRIVAL_PS]):
        st.m[st.mix + r * p.m[P_N_CLASS] + st.m[so + F_CLASS]] += 1
    heap_push(st, ro, step + st.m[so + F_OUTPUT] - st.m[so + F_GENERATED], s)


@jit
def unlist_decode(p, st, r, s):
    """Take a sequence out of the decode set's books (its heap entry is the caller's); returns its computed tokens."""
    ro = st.rep + r * R_SIZE
    so = st.slot + s * F_SIZE
    offset = st.m[so + F_COMPUTED]
    computed = offset + st.m[ro + R_STEP]
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    st.m[st.m[ro + R_RESIDUE] + place_in_block(p, lo, offset)] -= 1
    st.m[ro + R_KV] -= computed + 1
    if is_measured(p, st.m[so + F_ARRIVAL_PS]):
        st.m[st.mix + r * p.m[P_N_CLASS] + st.m[so + F_CLASS]] -= 1
    longest = gap_longest(st, ro, st.m[so + F_START])
    # an entry without a gap says that none was seen yet
    if longest > st.m[so + F_GAP_MAX] and longest > 0:
        st.m[so + F_GAP_MAX] = longest
    decodes_until(p, st, ro, so)
    if st.m[ro + R_N_DECODE] == 0:
        st.m[ro + R_STACK_N] = 0
    st.m[so + F_COMPUTED] = computed
    return computed


@jit_call
def leave_decode(p, st, r, s, t):
    """A sequence that is not finished leaves the decode set; its last token was at the boundary t."""
    so = st.slot + s * F_SIZE
    ro = st.rep + r * R_SIZE
    finish_step = heap_remove(st, ro, s)
    unlist_decode(p, st, r, s)
    st.m[so + F_GENERATED] = st.m[so + F_OUTPUT] - (finish_step - st.m[ro + R_STEP])
    st.m[so + F_LAST_PS] = t
    st.m[so + F_SINCE_PS] = t
    st.m[so + F_STATE] = SEQ_SINGLE
    st.m[so + F_CHUNK] = 0


@jit
def blocks_back(p, st, r, s, tokens):
    """A sequence with so many tokens that has left the batch at a boundary gives its blocks back."""
    ro = st.rep + r * R_SIZE
    if st.m[ro + R_PREFIX] > 0:
        will_leave(p, st, r, s, tokens)
    else:
        st.m[ro + R_FREE_BLOCKS] += blocks_of(p, p.pool + st.m[ro + R_POOL] * L_SIZE, tokens)


@jit
def retire(p, st, r, s, held_tokens, t):
    """A sequence has emitted its last token at t: it leaves the batch and its request is complete."""
    ro = st.rep + r * R_SIZE
    pool = st.m[ro + R_POOL]
    st.m[st.pool + pool * Q_SIZE + Q_COMPLETED] += 1
    drop_running(st, ro, s)
    blocks_back(p, st, r, s, held_tokens)
    complete(p, st, s, r, t)


@jit
def end_chunk(p, st, r, s, t):
    """The step that computed a chunk of this sequence ended at t (the replica's step count is already advanced)."""
    so = st.slot + s * F_SIZE
    chunk = st.m[so + F_CHUNK]
    computed = st.m[so + F_COMPUTED] + chunk
    if p.m[P_RECORDS] == 1:
        blame_chunk(p, st, st.rep + r * R_SIZE, so, computed - chunk, chunk, t)
    st.m[so + F_COMPUTED] = computed
    st.m[so + F_CHUNK] = 0
    generated = st.m[so + F_GENERATED]
    if computed < st.m[so + F_PROMPT] + generated:
        return
    if generated == 0:
        st.m[so + F_FIRST_PS] = t
        if p.m[P_ATTEMPTS] == 1 and st.m[so + F_TWIN] >= 0:
            win(p, st, s, t)
    else:
        lone_gap(p, st, s, t - st.m[so + F_LAST_PS])
    st.m[so + F_GENERATED] = generated + 1
    if generated + 1 >= st.m[so + F_OUTPUT]:
        retire(p, st, r, s, computed, t)
    else:
        join_decode(p, st, r, s)


@jit_call
def lone_gap(p, st, s, gap_ps):
    """A gap that only this sequence saw, because it was preempted or passed over."""
    so = st.slot + s * F_SIZE
    if gap_ps > st.m[so + F_GAP_MAX]:
        st.m[so + F_GAP_MAX] = gap_ps
    if is_measured(p, st.m[so + F_ARRIVAL_PS]):
        k = st.m[so + F_CLASS]
        observe(st.m, st.hist, k, M_ITL, gap_ps)
        add_wide(st.m, st.counts + k * C_SIZE + C_SUM + 2 * M_ITL, gap_ps)


@jit_call
def preempt(p, st, r, s, chunk, t):
    """Put a running sequence back in the waiting queue: its blocks are freed, all of it will be recomputed.

    `chunk` is what this very step had already given it (blocks included), else 0.
    """
    ro = st.rep + r * R_SIZE
    so = st.slot + s * F_SIZE
    pool = st.m[ro + R_POOL]
    lo = p.pool + pool * L_SIZE
    if st.m[so + F_STATE] == SEQ_DECODE:
        leave_decode(p, st, r, s, t)
    lose_tokens(st, so, t)
    drop_running(st, ro, s)
    blocks_back(p, st, r, s, st.m[so + F_COMPUTED] + chunk)
    if st.m[ro + R_PREFIX] > 0:
        leave_finished(p, st, r)  # at once: the step that is being scheduled needs its blocks
        list_own(p, st, s)
    st.m[so + F_COMPUTED] = 0
    st.m[so + F_CHUNK] = 0
    st.m[so + F_STATE] = SEQ_WAITING
    st.m[so + F_PREEMPTIONS] += 1
    st.m[st.pool + pool * Q_SIZE + Q_PREEMPTED] += 1
    if p.m[lo + L_BATCHING] != 0:
        st.m[ro + R_BATCH_LEFT] += 1
    if p.m[lo + L_SCHEDULING] == PRIORITY:
        insert_waiting(p, st, ro, s)
    else:
        push_waiting_front(st, ro, s)
