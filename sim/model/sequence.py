"""A sequence in an engine: joining and leaving the decode set, its tokens, its preemption.

The decode set holds the sequences that emit one token in every step. A sequence outside it (its prompt is being
computed, or it was preempted or passed over) is scheduled one by one and remembers when it last emitted.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.batch import (
    drop_running,
    gap_longest,
    gap_start,
    heap_push,
    heap_remove,
    insert_waiting,
    push_waiting_front,
)
from sim.model.kv import blocks_of
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
    F_SIZE,
    F_START,
    F_STATE,
    L_BATCHING,
    L_BLOCK,
    L_MAX_SEQS,
    L_SCHEDULING,
    L_SIZE,
    M_ITL,
    P_N_CLASS,
    PRIORITY,
    Q_COMPLETED,
    Q_PREEMPTED,
    Q_SIZE,
    R_BATCH_LEFT,
    R_FREE_BLOCKS,
    R_KV,
    R_N_DECODE,
    R_POOL,
    R_RESIDUE,
    R_SIZE,
    R_STACK_N,
    R_STEP,
    SEQ_DECODE,
    SEQ_SINGLE,
    SEQ_WAITING,
)
from sim.model.metrics import add_wide, observe
from sim.model.request import complete, is_measured


@jit
def join_decode(p, st, r, s):
    """From the next step on the sequence emits a token in every step."""
    ro = r * R_SIZE
    so = s * F_SIZE
    lo = st.rep[ro + R_POOL] * L_SIZE
    step = st.rep[ro + R_STEP]
    computed = st.slot[so + F_COMPUTED]
    gap_start(st, ro, p.pool[lo + L_MAX_SEQS] + 2, step)
    st.slot[so + F_STATE] = SEQ_DECODE
    st.slot[so + F_START] = step
    st.slot[so + F_COMPUTED] = computed - step
    st.residue[st.rep[ro + R_RESIDUE] + (computed - step) % p.pool[lo + L_BLOCK]] += 1
    st.rep[ro + R_KV] += computed + 1
    if is_measured(p, st.slot[so + F_ARRIVAL_PS]):
        st.mix[r * p.run[P_N_CLASS] + st.slot[so + F_CLASS]] += 1
    heap_push(st, ro, step + st.slot[so + F_OUTPUT] - st.slot[so + F_GENERATED], s)


@jit
def unlist_decode(p, st, r, s):
    """Take a sequence out of the decode set's books (its heap entry is the caller's); returns its computed tokens."""
    ro = r * R_SIZE
    so = s * F_SIZE
    offset = st.slot[so + F_COMPUTED]
    computed = offset + st.rep[ro + R_STEP]
    st.residue[st.rep[ro + R_RESIDUE] + offset % p.pool[st.rep[ro + R_POOL] * L_SIZE + L_BLOCK]] -= 1
    st.rep[ro + R_KV] -= computed + 1
    if is_measured(p, st.slot[so + F_ARRIVAL_PS]):
        st.mix[r * p.run[P_N_CLASS] + st.slot[so + F_CLASS]] -= 1
    longest = gap_longest(st, ro, st.slot[so + F_START])
    # an entry without a gap says that none was seen yet
    if longest > st.slot[so + F_GAP_MAX] and longest > 0:
        st.slot[so + F_GAP_MAX] = longest
    if st.rep[ro + R_N_DECODE] == 0:
        st.rep[ro + R_STACK_N] = 0
    st.slot[so + F_COMPUTED] = computed
    return computed


@jit_call
def leave_decode(p, st, r, s, t):
    """A sequence that is not finished leaves the decode set; its last token was at the boundary t."""
    so = s * F_SIZE
    ro = r * R_SIZE
    finish_step = heap_remove(st, ro, s)
    unlist_decode(p, st, r, s)
    st.slot[so + F_GENERATED] = st.slot[so + F_OUTPUT] - (finish_step - st.rep[ro + R_STEP])
    st.slot[so + F_LAST_PS] = t
    st.slot[so + F_STATE] = SEQ_SINGLE
    st.slot[so + F_CHUNK] = 0


@jit
def retire(p, st, r, s, held_tokens, t):
    """A sequence has emitted its last token at t: it leaves the batch and its request is complete."""
    ro = r * R_SIZE
    pool = st.rep[ro + R_POOL]
    st.rep[ro + R_FREE_BLOCKS] += blocks_of(held_tokens, p.pool[pool * L_SIZE + L_BLOCK])
    st.pool[pool * Q_SIZE + Q_COMPLETED] += 1
    drop_running(st, ro, s)
    complete(p, st, s, r, t)


@jit
def end_chunk(p, st, r, s, t):
    """The step that computed a chunk of this sequence ended at t (the replica's step count is already advanced)."""
    so = s * F_SIZE
    computed = st.slot[so + F_COMPUTED] + st.slot[so + F_CHUNK]
    st.slot[so + F_COMPUTED] = computed
    st.slot[so + F_CHUNK] = 0
    generated = st.slot[so + F_GENERATED]
    if computed < st.slot[so + F_PROMPT] + generated:
        return
    if generated == 0:
        st.slot[so + F_FIRST_PS] = t
    else:
        lone_gap(p, st, s, t - st.slot[so + F_LAST_PS])
    st.slot[so + F_GENERATED] = generated + 1
    if generated + 1 >= st.slot[so + F_OUTPUT]:
        retire(p, st, r, s, computed, t)
    else:
        join_decode(p, st, r, s)


@jit_call
def lone_gap(p, st, s, gap_ps):
    """A gap that only this sequence saw, because it was preempted or passed over."""
    so = s * F_SIZE
    if gap_ps > st.slot[so + F_GAP_MAX]:
        st.slot[so + F_GAP_MAX] = gap_ps
    if is_measured(p, st.slot[so + F_ARRIVAL_PS]):
        k = st.slot[so + F_CLASS]
        observe(st.hist, k, M_ITL, gap_ps)
        add_wide(st.count, k * C_SIZE + C_SUM + 2 * M_ITL, gap_ps)


@jit_call
def preempt(p, st, r, s, chunk, t):
    """Put a running sequence back in the waiting queue: its blocks are freed, all of it will be recomputed.

    `chunk` is what this very step had already given it (blocks included), else 0.
    """
    ro = r * R_SIZE
    so = s * F_SIZE
    pool = st.rep[ro + R_POOL]
    lo = pool * L_SIZE
    if st.slot[so + F_STATE] == SEQ_DECODE:
        leave_decode(p, st, r, s, t)
    held = blocks_of(st.slot[so + F_COMPUTED] + chunk, p.pool[lo + L_BLOCK])
    st.rep[ro + R_FREE_BLOCKS] += held
    st.slot[so + F_COMPUTED] = 0
    st.slot[so + F_CHUNK] = 0
    st.slot[so + F_STATE] = SEQ_WAITING
    st.slot[so + F_PREEMPTIONS] += 1
    st.pool[pool * Q_SIZE + Q_PREEMPTED] += 1
    drop_running(st, ro, s)
    if p.pool[lo + L_BATCHING] != 0:
        st.rep[ro + R_BATCH_LEFT] += 1
    if p.pool[lo + L_SCHEDULING] == PRIORITY:
        insert_waiting(p, st, ro, s)
    else:
        push_waiting_front(st, ro, s)
