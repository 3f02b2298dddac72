"""A jump: the steps that an engine takes at once while it only decodes, and what their end changes.

Nothing can change inside the replica while they last; an arrival that could be admitted cuts the jump short at the first
boundary that it reaches. Results equal stepping bit for bit.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.batch_queues import (
    SLOT_MASK,
    drop_running,
    gap_seen,
    heap_pop,
)
from sim.model.base.histogram import N_BUCKET, add_wide, bucket_of, observe_series
from sim.model.base.kv_blocks import jump_blocks, step_blocks, steps_that_fit
from sim.model.base.min_tree import tree_set
from sim.model.base.step_time import decode_ps, prompt_step_ps, slowed, span_ps, steps_before, steps_reaching
from sim.model.prefix_cache.lookup import (
    leave_finished,
)
from sim.model.replica.schedule import missing_of
from sim.model.replica.sequence import blocks_back, end_chunk, leave_decode, retire, unlist_decode
from sim.model.request.attempt import drop_slot
from sim.model.request.in_flight import is_measured
from sim.model.tables.codes import (
    M_ITL,
    N_METRIC,
    SEQ_DECODE,
    SEQ_SINGLE,
)
from sim.model.tables.replica import PrefixCache


@jit
def count_gaps(params, state, r, k, g, d, span):
    """Count k gaps, g, g + d, …, for every sequence of the decode set."""
    n_class = params.n_class
    last = g + d * (k - 1)
    bucket = bucket_of(g)
    if d > 0 and bucket != bucket_of(last):
        bucket = -1  # the gaps grow past it
    for c in range(n_class):
        n = state.mix[r * n_class + c]
        if n > 0:
            hist = state.hist[(c * N_METRIC + M_ITL) * N_BUCKET :]
            if bucket >= 0:
                hist[bucket] += n * k
            else:
                observe_series(hist, g, d, k, n)
            add_wide(state.counts[c].sums[2 * M_ITL :], n * span)
    gap_seen(state, state.replica[r], last)


@jit
def end_chunks(params, state, r, t):
    """End the chunks of the sequences that were scheduled one by one: nearly always the tail of the batch."""
    replica = state.replica[r]
    left = replica.n_chunk
    replica.n_chunk = 0
    s = replica.run_tail
    while left > 0:
        slot = state.slot[s]
        before = slot.prev
        if slot.state == SEQ_SINGLE and slot.chunk > 0:
            left -= 1
            end_chunk(params, state, r, s, t)
        s = before


@jit
def end_jump(params, state, r, t):
    """The steps in progress ended at t: emit their tokens, let finished sequences leave."""
    replica = state.replica[r]
    k = replica.jump_steps
    g = replica.jump_first_ps
    d = replica.jump_growth_ps
    n = replica.n_decode
    step = replica.step
    span = t - replica.jump_ps
    replica.jump_steps = 0
    replica.busy_ps += span
    replica.steps += k
    add_wide(replica.slot_ps, replica.n_run * span)
    if n > 0:
        pool = params.pool[replica.pool]
        replica.free_blocks -= jump_blocks(pool, state.m[replica.residue_at :], n, step, 1, k)
        replica.kv_read += k * replica.kv + n * ((k * (k - 1)) >> 1)
        replica.kv += n * k
        replica.decode_tokens += n * k
        count_gaps(params, state, r, k, g, d, span)
    replica.step = step + k
    without_ps = replica.jump_decode_ps if replica.n_chunk > 0 else span
    replica.decode_ps += without_ps
    replica.prefill_ps += span - without_ps
    if replica.shared_gpu > 0:
        book_lost(replica, k, span)
    if replica.abandoned > 0:
        reap_abandoned(params, state, r, t)
    end_finished(params, state, r, t)
    if replica.n_chunk > 0:
        end_chunks(params, state, r, t)
    if replica.prefix_at > 0 and PrefixCache(state, replica.prefix_at).leaver > 0:
        leave_finished(params, state, r)


@jit_call
def book_lost(replica, k, span):
    """On a shared GPU k steps ended that took `span` together: what is more than they take alone went to neighbours. It has
    been counted as time of decoding, see `stretch`.
    """
    lost_ps = span - span_ps(k, replica.alone_first_ps, replica.alone_growth_ps)
    replica.neighbour_ps += lost_ps
    replica.decode_ps -= lost_ps
    replica.jump_lost_ps = lost_ps


@jit_call
def decoded_ps(replica, span):
    """How long the jump in progress has decoded in its first `span`: as if a step decoded first, then, on a shared GPU,
    waited for its neighbours, and computed its prompts last.
    """
    if replica.n_chunk > 0:
        lost_ps = replica.jump_first_ps - replica.alone_first_ps if replica.shared_gpu > 0 else 0
        return min(span, replica.jump_decode_ps - lost_ps)
    if replica.shared_gpu == 0:
        return span
    done = steps_before(span, replica.jump_steps, replica.jump_first_ps, replica.jump_growth_ps)
    rest = span - span_ps(done, replica.jump_first_ps, replica.jump_growth_ps)
    alone_ps = span_ps(done, replica.alone_first_ps, replica.alone_growth_ps)
    return alone_ps + min(rest, replica.alone_first_ps + replica.alone_growth_ps * done)


@jit
def prompts_ps(replica, span):
    """How long the jump in progress has computed prompts in its first `span`."""
    return max(0, span - replica.jump_decode_ps) if replica.n_chunk > 0 else 0


@jit_call
def reap_abandoned(params, state, r, t):
    """Attempts whose client has given up leave the batch at the end of the step, t."""
    replica = state.replica[r]
    while replica.abandoned > 0:
        s = replica.abandoned - 1
        slot = state.slot[s]
        replica.abandoned = slot.next_abandoned
        if slot.state == SEQ_DECODE:
            if is_measured(params, slot.arrival_ps):  # `mix` lost it when its client gave up
                state.mix[r * params.n_class + slot.traffic_class] += 1
            leave_decode(params, state, r, s, t)
        elif slot.chunk > 0:
            replica.n_chunk -= 1
        drop_running(state, replica, s)
        blocks_back(params, state, r, s, slot.computed + slot.chunk)
        drop_slot(state, s)


@jit
def end_finished(params, state, r, t):
    """Sequences of the decode set that have emitted their last token leave."""
    replica = state.replica[r]
    heap = state.m[replica.heap_at :]
    limit = (replica.step + 1) << 24
    while replica.n_decode > 0 and heap[0] < limit:
        s = heap[0] & SLOT_MASK
        heap_pop(state, replica)
        held = unlist_decode(params, state, r, s)
        retire(params, state, r, s, held, t)


@jit
def launch(params, state, r, t, k, g, d):
    """Start a jump of k steps at t."""
    replica = state.replica[r]
    replica.jump_ps = t
    replica.jump_steps = k
    replica.jump_first_ps = g
    replica.jump_growth_ps = d
    tree_set(state.boundary_tree, params.leaves, r, t + span_ps(k, g, d))


@jit
def launch_step(params, state, r, t):
    """Start the step that holds prompt chunks, once it is known how long it takes."""
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    n = replica.n_decode
    kv = replica.kv
    tokens = 0
    squares = 0
    left = replica.n_chunk
    s = replica.run_tail
    while left > 0:
        slot = state.slot[s]
        if slot.state == SEQ_SINGLE and slot.chunk > 0:
            left -= 1
            chunk = slot.chunk
            computed = slot.computed
            if slot.generated > 0 and missing_of(slot) == 1:
                n += 1
                kv += computed + 1
                replica.decode_tokens += 1
                replica.kv_read += computed + 1
            else:
                tokens += chunk
                squares += chunk * (2 * computed + chunk)
        s = slot.prev
    alone_ps = decode_ps(params, pool, n, kv)
    replica.prefill_tokens += tokens
    replica.prefill_squares += squares
    replica.jump_decode_ps = alone_ps if n > 0 else 0
    launch(
        params,
        state,
        r,
        t,
        1,
        prompt_step_ps(params, pool, n, kv, tokens, squares) if tokens > 0 else alone_ps,
        0,
    )
    if replica.slow_q20 > 0:
        slow_step(params, state, r, n, kv, tokens)


@jit_call
def slow_step(params, state, r, n, kv, tokens):
    """The step that replica r has just begun takes longer: a fault slows it."""
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    alone_ps = slow_decode_ps(params, pool, n, kv, replica.slow_q20)
    replica.jump_decode_ps = alone_ps if n > 0 else 0
    took_ps = slowed(replica.jump_first_ps, replica.slow_q20) if tokens > 0 else alone_ps
    launch(params, state, r, replica.jump_ps, 1, took_ps, 0)


@jit
def slow_decode_ps(params, pool, n, kv, slow_q20):
    """The time of a step in which n sequences decode, slowed: still so much more with every attended token."""
    at = pool.table_at + n
    return slowed(params.base[at], slow_q20) + slowed(params.slope[at], slow_q20) * kv


@jit_call
def slow_jump(params, state, r):
    """The steps of the jump that replica r has just begun take longer: a fault slows them."""
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    n = replica.n_decode
    g = slow_decode_ps(params, pool, n, replica.kv, replica.slow_q20)
    d = slowed(params.slope[pool.table_at + n], replica.slow_q20) * n
    launch(params, state, r, replica.jump_ps, replica.jump_steps, g, d)


@jit
def launch_jump(params, state, r, t, persistent):
    """Start a jump of the decode set alone: as many steps as nothing inside the replica can change."""
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    n = replica.n_decode
    step = replica.step
    g = decode_ps(params, pool, n, replica.kv)
    d = params.slope[pool.table_at + n] * n
    k = 1
    if persistent:
        k = (state.m[replica.heap_at] >> 24) - step
        if k > 1:
            k = steps_that_fit(pool, state.m[replica.residue_at :], n, step, k, replica.free_blocks)
        if k > 1 and replica.n_wait > 0 and step < replica.admit_step:
            k = min(k, replica.admit_step - step)
    launch(params, state, r, t, k, g, d)
    if replica.slow_q20 > 0:
        slow_jump(params, state, r)


@jit
def cut_jump(params, state, r, t):
    """Something new waits at t: end the jump at the first boundary that reaches it."""
    replica = state.replica[r]
    k = replica.jump_steps
    if k > 1:
        start = replica.jump_ps
        g = replica.jump_first_ps
        d = replica.jump_growth_ps
        cut = steps_reaching(t - start, k, g, d)
        if cut < k:
            replica.jump_steps = cut
            tree_set(state.boundary_tree, params.leaves, r, start + span_ps(cut, g, d))


@jit_call
def settle(params, state, r, t):
    """End the steps of a jump whose boundaries lie before t; the step that t falls in goes on alone."""
    replica = state.replica[r]
    k = replica.jump_steps
    if k > 1:
        start = replica.jump_ps
        g = replica.jump_first_ps
        d = replica.jump_growth_ps
        done = steps_before(t - start, k, g, d)
        if done > 0:
            replica.jump_steps = done
            end_jump(params, state, r, start + span_ps(done, g, d))
            pool = params.pool[replica.pool]
            replica.free_blocks -= step_blocks(pool, state.m[replica.residue_at :], replica.step)
            replica.alone_first_ps += replica.alone_growth_ps * done
            launch(params, state, r, start + span_ps(done, g, d), 1, g + d * done, 0)


@jit
def blocks_used(params, state, r, n_blocks, t):
    """KV blocks in use at t, seen from outside: after the last boundary before t."""
    replica = state.replica[r]
    used = n_blocks - replica.free_blocks
    k = replica.jump_steps
    if k > 1:
        done = steps_before(t - replica.jump_ps, k, replica.jump_first_ps, replica.jump_growth_ps)
        pool = params.pool[replica.pool]
        used += jump_blocks(pool, state.m[replica.residue_at :], replica.n_decode, replica.step, 1, done + 1)
    return used


@jit_call
def blocks_cached(params, state, r, n_blocks, t):
    """Cached KV blocks that nobody holds at t, seen from outside: without those that a jump has taken by then."""
    replica = state.replica[r]
    return min(
        PrefixCache(state, replica.prefix_at).cached_blocks,
        n_blocks - blocks_used(params, state, r, n_blocks, t),
    )
