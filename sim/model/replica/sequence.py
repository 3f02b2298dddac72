"""A sequence in an engine: joining and leaving the decode set, its tokens, its preemption.

The decode set holds the sequences that emit one token in every step. A sequence outside it (its prompt is being
computed, or it was preempted or passed over) is scheduled one by one and remembers when it last emitted.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.batch_queues import (
    drop_running,
    gap_longest,
    gap_start,
    heap_push,
    heap_remove,
    insert_waiting,
    push_waiting_front,
)
from sim.model.base.histogram import add_wide, observe
from sim.model.base.kv_blocks import blocks_of, place_in_block
from sim.model.prefix_cache.lookup import leave_finished, will_leave
from sim.model.prefix_cache.references import list_own_range
from sim.model.record.latency_attribution import attribute_chunk, decodes_from, decodes_until, lose_tokens
from sim.model.request.attempt import cancel_hedge_peer
from sim.model.request.completion import on_answer_computed
from sim.model.request.in_flight import is_measured
from sim.model.tables.codes import M_ITL, PRIORITY, SEQ_DECODE, SEQ_SINGLE, SEQ_WAITING


@jit
def join_decode(params, state, r, s):
    """From the next step on the sequence emits a token in every step."""
    replica = state.replica[r]
    slot = state.slot[s]
    pool = params.pool[replica.pool]
    gap_start(state, replica, pool.max_num_seqs + 2, replica.step)
    step = replica.step
    computed = slot.computed
    slot.state = SEQ_DECODE
    decodes_from(params, replica, slot)
    if replica.shared_gpu > 0:
        state.neighbour[s].after_ps -= replica.neighbour_ps
    slot.joined_step = step
    slot.computed = computed - step
    state.m[replica.residue_at + place_in_block(pool, computed - step)] += 1
    replica.kv += computed + 1
    if is_measured(params, slot.arrival_ps):
        state.mix[r * params.n_class + slot.traffic_class] += 1
    heap_push(state, replica, step + slot.output - slot.generated, s)


@jit
def unlist_decode(params, state, r, s):
    """Take a sequence out of the decode set's counts; the caller drops its heap entry. Returns its computed tokens."""
    replica = state.replica[r]
    slot = state.slot[s]
    offset = slot.computed
    computed = offset + replica.step
    pool = params.pool[replica.pool]
    state.m[replica.residue_at + place_in_block(pool, offset)] -= 1
    replica.kv -= computed + 1
    if is_measured(params, slot.arrival_ps):
        state.mix[r * params.n_class + slot.traffic_class] -= 1
    longest = gap_longest(state, replica, slot.joined_step)
    # an entry without a gap says that none was seen yet
    if longest > slot.gap_max and longest > 0:
        slot.gap_max = longest
    decodes_until(params, replica, slot)
    if replica.shared_gpu > 0:
        state.neighbour[s].after_ps += replica.neighbour_ps
    if replica.n_decode == 0:
        replica.n_gap = 0
    slot.computed = computed
    return computed


@jit_call
def leave_decode(params, state, r, s, t):
    """A sequence that is not finished leaves the decode set; its last token was at the boundary t."""
    slot = state.slot[s]
    replica = state.replica[r]
    finish_step = heap_remove(state, replica, s)
    unlist_decode(params, state, r, s)
    slot.generated = slot.output - (finish_step - replica.step)
    slot.last_ps = t
    slot.since_ps = t
    slot.state = SEQ_SINGLE
    slot.chunk = 0


@jit
def blocks_back(params, state, r, s, tokens):
    """Free the blocks of a sequence with so many tokens, which has left the batch at a boundary."""
    replica = state.replica[r]
    if replica.prefix_at > 0:
        will_leave(state, r, s, tokens)
    else:
        replica.free_blocks += blocks_of(params.pool[replica.pool], tokens)


@jit
def retire(params, state, r, s, held_tokens, t):
    """A sequence has emitted its last token at t: it leaves the batch and its request is complete."""
    replica = state.replica[r]
    pool = replica.pool
    state.pool[pool].completed += 1
    drop_running(state, replica, s)
    blocks_back(params, state, r, s, held_tokens)
    on_answer_computed(params, state, s, r, t)


@jit
def end_chunk(params, state, r, s, t):
    """The step that computed a chunk of this sequence ended at t (the replica's step count is already advanced)."""
    slot = state.slot[s]
    chunk = slot.chunk
    computed = slot.computed + chunk
    if params.keeps_records == 1:
        attribute_chunk(params, state, state.replica[r], s, computed - chunk, chunk, t)
    slot.computed = computed
    slot.chunk = 0
    generated = slot.generated
    if computed < slot.prompt + generated:
        return
    if generated == 0:
        slot.first_ps = t
        if params.has_attempts == 1 and slot.hedge_peer >= 0:
            cancel_hedge_peer(params, state, s, t)
    else:
        lone_gap(params, state, s, t - slot.last_ps)
    slot.generated = generated + 1
    if generated + 1 >= slot.output:
        retire(params, state, r, s, computed, t)
    else:
        join_decode(params, state, r, s)


@jit_call
def lone_gap(params, state, s, gap_ps):
    """A gap that only this sequence saw, because it was preempted or passed over."""
    slot = state.slot[s]
    if gap_ps > slot.gap_max:
        slot.gap_max = gap_ps
    if is_measured(params, slot.arrival_ps):
        k = slot.traffic_class
        observe(state.hist, k, M_ITL, gap_ps)
        add_wide(state.counts[k].sums[2 * M_ITL :], gap_ps)


@jit_call
def preempt(params, state, r, s, chunk, t):
    """Put a running sequence back in the waiting queue of its replica: in front, or at its place under the priority policy.
    Its blocks are freed, and all of it will be recomputed.

    `chunk` is the tokens that this very step had already given it (with their blocks), else 0.
    """
    replica = state.replica[r]
    slot = state.slot[s]
    pool_id = replica.pool
    pool = params.pool[pool_id]
    if slot.state == SEQ_DECODE:
        leave_decode(params, state, r, s, t)
    lose_tokens(slot, t)
    drop_running(state, replica, s)
    blocks_back(params, state, r, s, slot.computed + chunk)
    if replica.prefix_at > 0:
        leave_finished(params, state, r)  # at once: the step that is being scheduled needs its blocks
        list_own_range(params, state, s)
    slot.computed = 0
    slot.chunk = 0
    slot.state = SEQ_WAITING
    slot.preemptions += 1
    state.pool[pool_id].preempted += 1
    if pool.batching != 0:
        replica.batch_left += 1
    if pool.scheduling == PRIORITY:
        insert_waiting(params, state, replica, s)
    else:
        push_waiting_front(state, replica, s)
