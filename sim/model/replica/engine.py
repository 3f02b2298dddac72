"""A replica's engine, by vLLM v1's rules: what happens at a step boundary.

Between boundaries nothing happens inside a replica, and while only decoding goes on a jump of many steps is taken at
once; an arrival that could be admitted cuts it short at the first boundary it reaches. Results equal stepping bit for
bit.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.batch_queues import (
    SLOT_MASK,
    comes_before,
    drop_running,
    gap_seen,
    heap_pop,
    pop_waiting,
    push_running,
)
from sim.model.base.histogram import N_BUCKET, add_wide, bucket_of, observe_series
from sim.model.base.kv_blocks import blocks_of, jump_blocks, place_in_block, step_blocks, steps_that_fit
from sim.model.base.min_tree import tree_key, tree_set
from sim.model.base.step_time import decode_ps, prompt_step_ps, span_ps, steps_before, steps_reaching
from sim.model.prefix_cache.lookup import (
    HIT_BITS,
    HIT_MASK,
    admit_prefix,
    chunk_prefix,
    find_prefix,
    leave_finished,
)
from sim.model.record.latency_attribution import queued_until
from sim.model.replica.sequence import blocks_back, end_chunk, leave_decode, preempt, retire, unlist_decode
from sim.model.request.attempt import drop_slot
from sim.model.request.in_flight import is_measured
from sim.model.tables.codes import (
    CONTINUOUS,
    DYNAMIC,
    FCFS,
    M_ITL,
    N_METRIC,
    SEQ_DECODE,
    SEQ_SINGLE,
    STAGE_DRAINING,
)
from sim.model.tables.replica import PrefixCache
from sim.units import NEVER


# ---- the end of a jump ----------------------------------------------------------------------
@jit
def count_gaps(params, state, r, k, g, d, span):
    """Every sequence of the decode set saw k gaps: g, g + d, …"""
    n_class = params.n_class
    last = g + d * (k - 1)
    bucket = bucket_of(g)
    if d > 0 and bucket != bucket_of(last):
        bucket = -1  # they grow past it
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
    """The sequences that were scheduled one by one: nearly always the tail of the batch."""
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
    k = replica.jump_k
    g = replica.jump_g
    d = replica.jump_d
    n = replica.n_decode
    step = replica.step
    span = t - replica.jump_ps
    replica.jump_k = 0
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
    if replica.abandoned > 0:
        bury(params, state, r, t)
    end_finished(params, state, r, t)
    if replica.n_chunk > 0:
        end_chunks(params, state, r, t)
    if replica.prefix_at > 0 and PrefixCache(state, replica.prefix_at).leaver > 0:
        leave_finished(params, state, r)


@jit_call
def bury(params, state, r, t):
    """Attempts whose client has gone leave the batch, with the step that has just ended."""
    replica = state.replica[r]
    while replica.abandoned > 0:
        s = replica.abandoned - 1
        slot = state.slot[s]
        replica.abandoned = slot.next_abandoned
        if slot.state == SEQ_DECODE:
            if is_measured(params, slot.arrival_ps):  # it left the mix with its client
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


# ---- the next step ----------------------------------------------------------------------
@jit
def chunk_of(params, pool, tokens, budget):
    """How many of the missing tokens a step computes."""
    threshold = pool.long_prefill_threshold
    chunk = tokens if tokens < budget else budget
    if threshold > 0 and chunk > threshold:
        chunk = threshold
    return chunk


@jit
def missing_of(state, slot):
    """Tokens of a sequence outside the decode set that are not computed yet."""
    return slot.prompt + slot.generated - slot.computed


@jit
def blocks_for(params, state, pool, slot, chunk):
    """Blocks that a chunk needs beyond those its sequence holds."""
    computed = slot.computed
    return blocks_of(pool, computed + chunk) - blocks_of(pool, computed)


@jit
def book_chunk(state, replica, slot, chunk, blocks):
    """A step computes a chunk of a sequence outside the decode set."""
    replica.free_blocks -= blocks
    slot.chunk = chunk
    slot.mark = replica.step + 1
    replica.n_chunk += 1


@jit
def give_chunk(params, state, r, s, chunk, blocks):
    """Schedule a chunk of a running sequence outside the decode set."""
    replica = state.replica[r]
    book_chunk(state, replica, state.slot[s], chunk, blocks)
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
        chunk = chunk_of(params, pool, missing_of(state, state.slot[tail]), budget - n)
        blocks = blocks_for(params, state, pool, state.slot[tail], chunk)
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
            chunk = chunk_of(params, pool, missing_of(state, slot), budget)
            blocks = blocks_for(params, state, pool, slot, chunk)
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
    """Sequences of the decode set that the step has no room for leave the set until they are scheduled again."""
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
    """The running sequence that gives way: the last one, or under the priority policy the least important."""
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
        missing = missing_of(state, slot) - hit * pool.block_size
        chunk = chunk_of(params, pool, missing, budget)
        if pool.chunked_prefill == 0:
            whole = chunk_of(params, pool, missing, NEVER)
            if whole > budget and replica.n_chunk + replica.n_decode > 0:
                break
            if whole > budget:
                budget = whole  # a prompt longer than the budget is computed whole, in a step of its own
            chunk = whole
        blocks = blocks_of(pool, chunk)
        if blocks + loose > replica.free_blocks:
            break
        book_chunk(state, replica, slot, chunk, blocks)
        if replica.prefix_at > 0:
            admit_prefix(params, state, r, s, hit, chunk)
        pop_waiting(state, replica)
        push_running(state, replica, s)
        slot.state = SEQ_SINGLE
        if slot.scheduled_ps < 0:
            slot.scheduled_ps = t
            queued_until(params, state, replica.pool, slot, t)
        budget -= chunk
        if gated:
            replica.batch_left -= 1


@jit
def launch_step(params, state, r, t):
    """Time the step that holds prompt chunks and let it run."""
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
            if slot.generated > 0 and missing_of(state, slot) == 1:
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


@jit
def launch_jump(params, state, r, t, persistent):
    """Let the decode set run alone: as many steps as nothing inside the replica can change."""
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
    launch(params, state, r, t, k, g, d)


@jit
def launch(params, state, r, t, k, g, d):
    """Start a jump of k steps at t."""
    replica = state.replica[r]
    replica.jump_ps = t
    replica.jump_k = k
    replica.jump_g = g
    replica.jump_d = d
    tree_set(state.boundary_tree, params.leaves, r, t + span_ps(k, g, d))


@jit_call
def oldest_routed_ps(state, replica):
    """When the request that has waited longest was routed: under the priority policy it need not be the head."""
    oldest = NEVER
    s = replica.wait_head
    while s >= 0:
        oldest = min(oldest, state.slot[s].routed_ps)
        s = state.slot[s].next
    return oldest


@jit
def gate_opens_ps(params, state, r, t):
    """When an idle replica may start: now, at its batching delay, or when more have come (NEVER)."""
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    if replica.n_wait == 0:
        return NEVER
    batching = pool.batching
    full = replica.n_wait >= pool.max_num_seqs
    if batching == CONTINUOUS or full or replica.stage == STAGE_DRAINING:
        return t
    if batching == DYNAMIC:
        opens = oldest_routed_ps(state, replica) + pool.batch_delay_ps
        return opens if opens > t else t
    return NEVER


@jit
def start_step(params, state, r, t):
    """Schedule the next step of a replica, or leave it idle."""
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    if replica.n_run == 0 and replica.batch_left == 0:
        opens = gate_opens_ps(params, state, r, t)
        if opens > t:
            tree_set(state.boundary_tree, params.leaves, r, opens)
            return
        if pool.batching != CONTINUOUS:
            waiting = replica.n_wait
            most = pool.max_num_seqs
            replica.batch_left = waiting if waiting < most else most
    budget = schedule_running(params, state, r, pool.max_num_batched_tokens, t)
    # a step that only preempted holds nothing and takes no time: schedule again
    while budget < 0 and replica.n_chunk == 0 and replica.n_decode == 0:
        budget = schedule_running(params, state, r, pool.max_num_batched_tokens, t)
    if budget >= 0:
        admit(params, state, r, budget, t)
    if replica.n_chunk > 0:
        launch_step(params, state, r, t)
    elif replica.n_decode > 0:
        launch_jump(params, state, r, t, budget >= 0 and replica.n_decode == replica.n_run)
    else:
        tree_set(state.boundary_tree, params.leaves, r, NEVER)


@jit
def on_boundary(params, state, r, t):
    """A step of replica r ends at t, or its idle engine wakes up."""
    if state.replica[r].jump_k > 0:
        end_jump(params, state, r, t)
    start_step(params, state, r, t)


# ---- from outside ----------------------------------------------------------------------
@jit
def cut_jump(params, state, r, t):
    """Something new waits at t: end the jump at the first boundary that reaches it."""
    replica = state.replica[r]
    k = replica.jump_k
    if k > 1:
        start = replica.jump_ps
        g = replica.jump_g
        d = replica.jump_d
        cut = steps_reaching(t - start, k, g, d)
        if cut < k:
            replica.jump_k = cut
            tree_set(state.boundary_tree, params.leaves, r, start + span_ps(cut, g, d))


@jit
def on_enqueued(params, state, r, s, t):
    """A sequence has joined the waiting queue of replica r at t: wake the engine or cut its jump where it matters."""
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    if replica.n_run == 0:
        opens = gate_opens_ps(params, state, r, t)
        if opens < tree_key(state.boundary_tree, params.leaves, r):
            tree_set(state.boundary_tree, params.leaves, r, opens)
    elif (
        replica.wait_head == s
        and replica.n_run < pool.max_num_seqs
        and (pool.batching == CONTINUOUS or replica.batch_left > 0)
    ):
        cut_jump(params, state, r, t)


@jit_call
def settle(params, state, r, t):
    """End the steps of a jump whose boundaries lie before t; the step that t falls in goes on alone."""
    replica = state.replica[r]
    k = replica.jump_k
    if k > 1:
        start = replica.jump_ps
        g = replica.jump_g
        d = replica.jump_d
        done = steps_before(t - start, k, g, d)
        if done > 0:
            replica.jump_k = done
            end_jump(params, state, r, start + span_ps(done, g, d))
            pool = params.pool[replica.pool]
            replica.free_blocks -= step_blocks(pool, state.m[replica.residue_at :], replica.step)
            launch(params, state, r, start + span_ps(done, g, d), 1, g + d * done, 0)


@jit
def blocks_used(params, state, r, n_blocks, t):
    """KV blocks in use at t, seen from outside: after the last boundary before t."""
    replica = state.replica[r]
    used = n_blocks - replica.free_blocks
    k = replica.jump_k
    if k > 1:
        done = steps_before(t - replica.jump_ps, k, replica.jump_g, replica.jump_d)
        pool = params.pool[replica.pool]
        used += jump_blocks(pool, state.m[replica.residue_at :], replica.n_decode, replica.step, 1, done + 1)
    return used


@jit_call
def blocks_cached(params, state, r, n_blocks, t):
    """Cached KV blocks that nobody holds at t, seen from outside: what a jump has taken by then is gone."""
    replica = state.replica[r]
    return min(
        PrefixCache(state, replica.prefix_at).cached_blocks,
        n_blocks - blocks_used(params, state, r, n_blocks, t),
    )
