"""What an engine does in its next step, by the rules of vLLM v1: running sequences first, then waiting ones."""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.batch_queues import (
    comes_before,
    pop_waiting,
    push_running,
)
from sim.model.base.kv_blocks import blocks_of, place_in_block, step_blocks
from sim.model.prefix_cache.lookup import (
    HIT_BITS,
    HIT_MASK,
    admit_prefix,
    chunk_prefix,
    find_prefix,
)
from sim.model.record.latency_attribution import queued_until
from sim.model.replica.sequence import leave_decode, preempt
from sim.model.tables.codes import (
    CONTINUOUS,
    FCFS,
    SEQ_DECODE,
    SEQ_SINGLE,
)
from sim.units import NEVER


@jit
def chunk_of(pool, tokens, budget):
    """How many of the missing tokens a step computes."""
    threshold = pool.long_prefill_threshold
    chunk = tokens if tokens < budget else budget
    if threshold > 0 and chunk > threshold:
        chunk = threshold
    return chunk


@jit
def missing_of(slot):
    """Tokens of a sequence outside the decode set that are not computed yet."""
    return slot.prompt + slot.generated - slot.computed


@jit
def blocks_for(pool, slot, chunk):
    """Blocks that a chunk needs beyond those its sequence holds."""
    computed = slot.computed
    return blocks_of(pool, computed + chunk) - blocks_of(pool, computed)


@jit
def book_chunk(replica, slot, chunk, blocks):
    """A step computes a chunk of a sequence outside the decode set."""
    replica.free_blocks -= blocks
    slot.chunk = chunk
    slot.mark = replica.step + 1
    replica.n_chunk += 1


@jit
def give_chunk(params, state, r, s, chunk, blocks):
    """Schedule a chunk of a running sequence outside the decode set."""
    replica = state.replica[r]
    book_chunk(replica, state.slot[s], chunk, blocks)
    if replica.prefix_at > 0:
        chunk_prefix(params, state, r, s, chunk)


@jit
def schedule_running(params, state, r, budget, t):
    """Give running sequences their tokens; returns the budget left, or −1 − it when something was preempted.

    The usual case costs nothing per sequence: the whole decode set gets its tokens, and at most one unfinished prompt
    follows it at the end of the batch.
    """
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    n = replica.n_decode
    singles = replica.n_run - n
    tail = replica.run_tail
    if singles > 1 or (singles == 1 and state.slot[tail].state != SEQ_SINGLE):
        return walk_running(params, state, r, budget, t)
    need = step_blocks(pool, state.m[replica.residue_at :], replica.step)
    chunk = 0
    blocks = 0
    if singles == 1 and budget > n:
        chunk = chunk_of(pool, missing_of(state.slot[tail]), budget - n)
        blocks = blocks_for(pool, state.slot[tail], chunk)
    if need + blocks > replica.free_blocks:
        return walk_running(params, state, r, budget, t)
    replica.free_blocks -= need
    if chunk > 0:
        give_chunk(params, state, r, tail, chunk, blocks)
    return budget - n - chunk


@jit_call
def walk_running(params, state, r, budget, t):
    """Schedule the running batch one by one, in order, preempting where blocks run out."""
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    step = replica.step
    preempted = False
    s = replica.run_head
    while s >= 0 and budget > 0:
        slot = state.slot[s]
        is_decode = slot.state == SEQ_DECODE
        if is_decode:
            chunk = 1
            blocks = 1 if place_in_block(pool, slot.computed + step) == 0 else 0
        else:
            chunk = chunk_of(pool, missing_of(slot), budget)
            blocks = blocks_for(pool, slot, chunk)
        stop = False
        while blocks > replica.free_blocks:
            victim = choose_victim(params, state, r)
            preempted = True
            budget += preempt_in_step(params, state, r, victim, t)
            if victim == s:
                stop = True
                break
        if stop:
            break
        if is_decode:
            replica.free_blocks -= blocks
            slot.chunk = 1
            slot.mark = step + 1
        else:
            give_chunk(params, state, r, s, chunk, blocks)
        budget -= chunk
        s = slot.next
    pass_over(params, state, r, t)
    return -1 - budget if preempted else budget


@jit_call
def pass_over(params, state, r, t):
    """Sequences of the decode set that the step's budget does not reach leave the set until they are scheduled again."""
    replica = state.replica[r]
    mark = replica.step + 1
    s = replica.run_head
    while s >= 0:
        slot = state.slot[s]
        if slot.state == SEQ_DECODE and slot.mark != mark:
            leave_decode(params, state, r, s, t)
        s = slot.next


@jit_call
def preempt_in_step(params, state, r, victim, t):
    """Preempt a sequence while a step is being scheduled; returns the tokens that go back to the budget."""
    replica = state.replica[r]
    slot = state.slot[victim]
    given = 0
    if slot.mark == replica.step + 1:
        given = slot.chunk
        if slot.state == SEQ_SINGLE:
            replica.n_chunk -= 1
    preempt(params, state, r, victim, given, t)
    return given


@jit_call
def choose_victim(params, state, r):
    """The running sequence to preempt: the last one, or under the priority policy the least important."""
    from_tail = state.replica[r].run_tail
    if params.pool[state.replica[r].pool].scheduling == FCFS:
        return from_tail
    worst = from_tail
    s = state.slot[from_tail].prev
    while s >= 0:
        if comes_before(params, state, worst, s):
            worst = s
        s = state.slot[s].prev
    return worst


@jit
def admit(params, state, r, budget, t):
    """Take waiting sequences into the batch while budget, places and blocks last."""
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    if replica.n_run > 0 and replica.step < replica.admit_step:
        return
    gated = pool.batching != CONTINUOUS
    while replica.n_wait > 0 and budget > 0 and replica.n_run < pool.max_num_seqs:
        if gated and replica.batch_left == 0:
            break
        s = replica.wait_head
        slot = state.slot[s]
        hit = 0
        loose = 0
        if replica.prefix_at > 0:
            found = find_prefix(params, state, r, s)
            hit = found >> HIT_BITS
            loose = found & HIT_MASK
        missing = missing_of(slot) - hit * pool.block_size
        chunk = chunk_of(pool, missing, budget)
        if pool.chunked_prefill == 0:
            whole = chunk_of(pool, missing, NEVER)
            if whole > budget and replica.n_chunk + replica.n_decode > 0:
                break
            if whole > budget:
                budget = whole  # a prompt longer than the budget is computed whole, in a step of its own
            chunk = whole
        blocks = blocks_of(pool, chunk)
        if blocks + loose > replica.free_blocks:
            break
        book_chunk(replica, slot, chunk, blocks)
        if replica.prefix_at > 0:
            admit_prefix(params, state, r, s, hit, chunk)
        pop_waiting(state, replica)
        push_running(state, replica, s)
        slot.state = SEQ_SINGLE
        replica.admit_step = replica.step + pool.prefill_interval
        if slot.scheduled_ps < 0:
            slot.scheduled_ps = t
            queued_until(params, state, replica.pool, slot, t)
        budget -= chunk
        if gated:
            replica.batch_left -= 1
