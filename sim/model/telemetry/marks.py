"""Marks: what every pool has done, and how many tokens every answer has, at the ends of warm-up, window and run.

What happened within the measured window is one mark minus the one before it, so nothing is counted meanwhile. A step
that a mark falls in counts by how much of its time lies before the mark; its tokens come when it ends.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.batch_queues import SLOT_BITS, SLOT_MASK
from sim.model.base.histogram import add_wide
from sim.model.base.step_time import span_ps, steps_before
from sim.model.base.words import clear_row
from sim.model.replica.jump import decoded_ps, prompts_ps
from sim.model.replica.schedule import missing_of
from sim.model.tables.codes import SEQ_AFTER, SEQ_SINGLE, SEQ_WAITING
from sim.model.tables.sample import MARK_RUN, MARK_WARM, MARK_WINDOW, POOL_MARK_SIZE, STEP_PARTS_BITS
from sim.model.telemetry.cluster_log import mark_groups
from sim.model.telemetry.quota_log import mark_quotas
from sim.model.telemetry.replica_time import settle_areas
from sim.units import NEVER


@jit_call
def pass_mark(params, state, t):
    """Warm-up ends at t, or the measured window does."""
    marks = state.n_mark
    set_mark(params, state, MARK_WARM if marks == 0 else MARK_WINDOW, t)
    state.n_mark = marks + 1
    state.next_mark_ps = params.duration_ps if marks == 0 else NEVER


@jit_call
def set_mark(params, state, number, t):
    """Keep what every pool has done, and how many tokens every answer in progress has, by t."""
    for pool_id in range(params.n_pool):
        settle_areas(state, pool_id, t)
        mark = state.mark[number * params.n_pool + pool_id]
        pool = params.pool[pool_id]
        pool_state = state.pool[pool_id]
        clear_row(mark.words, POOL_MARK_SIZE)
        for j in range(2):
            mark.billed_ps[j] = pool_state.billed_ps[j]
            mark.ready_ps[j] = pool_state.ready_ps[j]
            mark.serving_ps[j] = pool_state.serving_ps[j]
        mark.completed = pool_state.completed
        mark.preempted = pool_state.preempted
        mark.started = pool_state.started
        mark.asked_tokens = pool_state.asked_tokens
        mark.cached_tokens = pool_state.cached_tokens
        mark.ranges_dropped = pool_state.ranges_dropped
        mark.time_ps = t
        for r in range(pool.first_replica, pool.first_replica + pool.n_replica):
            mark_replica(state, r, mark, t)
    mark_groups(params, state, number, t)
    mark_quotas(params, state, number, t)
    if number != MARK_RUN:
        mark_answers(params, state, t)


# ---- replicas ----------------------------------------------------------------------
@jit_call
def mark_replica(state, r, mark, t):
    """Add one replica's work to its pool's mark."""
    replica = state.replica[r]
    add_wide(mark.busy_ps, replica.busy_ps)
    add_wide(mark.slot_ps, replica.slot_ps[0])
    mark.slot_ps[1] += replica.slot_ps[1]
    add_wide(mark.prefill_ps, replica.prefill_ps)
    add_wide(mark.decode_ps, replica.decode_ps)
    mark.steps += replica.steps
    mark.prefill_tokens += replica.prefill_tokens
    mark.prefill_squares += replica.prefill_squares
    mark.decode_tokens += replica.decode_tokens
    mark.kv_read += replica.kv_read
    if replica.jump_steps > 0 and t > replica.jump_ps:
        mark_jump(state, r, mark, t - replica.jump_ps)
    elif replica.n_chunk > 0:
        take_back_chunks(state, r, mark, 0)


@jit_call
def sample_work(params, state, pool_id, row, t):
    """Write down what a pool's engines have done by t, as a mark would."""
    pool = params.pool[pool_id]
    work = state.work[pool_id]
    clear_row(work.words, POOL_MARK_SIZE)
    for r in range(pool.first_replica, pool.first_replica + pool.n_replica):
        mark_replica(state, r, work, t)
    for j in range(2):
        row.prefill_ps[j] = work.prefill_ps[j]
        row.decode_ps[j] = work.decode_ps[j]
    row.prefill_tokens = work.prefill_tokens
    row.prefill_squares = work.prefill_squares
    row.decode_tokens = work.decode_tokens
    row.kv_read = work.kv_read
    row.crashed = state.pool[pool_id].crashed


@jit_call
def mark_jump(state, r, mark, span):
    """Add what the jump in progress has done in its first `span` ps."""
    replica = state.replica[r]
    g = replica.jump_first_ps
    d = replica.jump_growth_ps
    n = replica.n_decode
    done = steps_before(span, replica.jump_steps, g, d)
    part = part_of(span - span_ps(done, g, d), g + d * done)
    add_wide(mark.busy_ps, span)
    add_wide(mark.slot_ps, span * replica.n_run)
    if replica.n_chunk > 0:
        take_back_chunks(state, r, mark, part)
    add_wide(mark.decode_ps, decoded_ps(replica, span))
    add_wide(mark.prefill_ps, prompts_ps(replica, span))
    mark.steps += done
    mark.step_parts += part
    mark.decode_tokens += n * done + scaled(n, part)
    attended = replica.kv + n * done
    mark.kv_read += done * replica.kv + n * ((done * (done - 1)) >> 1) + scaled(attended, part)


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
def take_back_chunks(state, r, mark, part):
    """Take back what the chunks of a step in progress, counted when it began, have yet to compute."""
    left = state.replica[r].n_chunk
    s = state.replica[r].run_tail
    while left > 0:
        slot = state.slot[s]
        chunk = slot.chunk
        if slot.state == SEQ_SINGLE and chunk > 0:
            left -= 1
            computed = slot.computed
            if slot.generated > 0 and missing_of(slot) == 1:
                mark.decode_tokens -= 1
                mark.kv_read -= computed + 1 - scaled(computed + 1, part)
            else:
                squares = chunk * (2 * computed + chunk)
                mark.prefill_tokens -= chunk - scaled(chunk, part)
                mark.prefill_squares -= squares - scaled(squares, part)
        s = slot.prev


# ---- answers ----------------------------------------------------------------------
@jit_call
def mark_answers(params, state, t):
    """Keep in every slot how many tokens of its attempt have come by t, or since the mark before."""
    for s in range(state.n_slot):
        slot = state.slot[s]
        if slot.state == SEQ_WAITING or slot.state == SEQ_SINGLE:
            count_seen_tokens(slot, slot.generated)
        elif slot.state == SEQ_AFTER and slot.from_cache == 0:
            count_seen_tokens(slot, max(1, slot.output))
    for r in range(params.n_replica):
        replica = state.replica[r]
        step = replica.step
        if replica.jump_steps > 1:
            g = replica.jump_first_ps
            step += steps_before(t - replica.jump_ps, replica.jump_steps, g, replica.jump_growth_ps)
        heap = state.m[replica.heap_at :]
        for j in range(replica.n_decode):
            slot = state.slot[heap[j] & SLOT_MASK]
            count_seen_tokens(slot, slot.output - ((heap[j] >> SLOT_BITS) - step))


@jit
def count_seen_tokens(slot, n):
    """The attempt in a slot has got n tokens; an embedding, which has none, counts as one when it is computed.

    Slot.seen is twice the tokens, and 1 more where the first of them, and so its prompt, is one of these.
    """
    before = slot.seen >> 1
    slot.seen = 2 * (n - before) + (1 if before == 0 and n > 0 else 0)
