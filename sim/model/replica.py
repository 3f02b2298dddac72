"""A replica's engine, by vLLM v1's rules: what happens at a step boundary.

Between boundaries nothing happens inside a replica, and while only decoding goes on a jump of many steps is taken at
once; an arrival that could be admitted cuts it short at the first boundary it reaches. Results equal stepping bit for
bit.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.attempts import drop_slot
from sim.model.batch import (
    SLOT_MASK,
    comes_before,
    drop_running,
    gap_seen,
    heap_pop,
    pop_waiting,
    push_running,
)
from sim.model.blame import queued_until
from sim.model.kv import blocks_of, jump_blocks, place_in_block, step_blocks, steps_that_fit
from sim.model.layout import (
    C_SIZE,
    C_SUM,
    CONTINUOUS,
    DYNAMIC,
    F_ARRIVAL_PS,
    F_CHUNK,
    F_CLASS,
    F_COMPUTED,
    F_GENERATED,
    F_GHOST_NEXT,
    F_MARK,
    F_NEXT,
    F_PREV,
    F_PROMPT,
    F_ROUTED_PS,
    F_SCHEDULED_PS,
    F_SIZE,
    F_STATE,
    FCFS,
    L_BATCHING,
    L_BLOCK,
    L_BUDGET,
    L_CHUNKED,
    L_DELAY_PS,
    L_MAX_SEQS,
    L_SCHEDULING,
    L_SIZE,
    L_TABLE,
    L_THRESHOLD,
    M_ITL,
    N_METRIC,
    P_N_CLASS,
    P_TREE,
    R_BATCH_LEFT,
    R_BUSY_PS,
    R_DECODE_PS,
    R_DECODE_TOKENS,
    R_FREE_BLOCKS,
    R_GHOST,
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
    R_N_WAIT,
    R_POOL,
    R_PREFILL_PS,
    R_PREFILL_SQUARES,
    R_PREFILL_TOKENS,
    R_PREFIX,
    R_RESIDUE,
    R_RUN_HEAD,
    R_RUN_TAIL,
    R_SIZE,
    R_SLOT_LO,
    R_STAGE,
    R_STEP,
    R_STEPS,
    R_WAIT_HEAD,
    SEQ_DECODE,
    SEQ_SINGLE,
    STAGE_DRAINING,
    Z_CACHED,
    Z_LEAVER,
)
from sim.model.metrics import N_BUCKET, add_wide, bucket_of, observe_series
from sim.model.prefix import HIT_BITS, HIT_MASK, admit_prefix, chunk_prefix, find_prefix, leave_finished
from sim.model.request import is_measured
from sim.model.sequence import blocks_back, end_chunk, leave_decode, preempt, retire, unlist_decode
from sim.model.steps import decode_ps, prompt_step_ps, span_ps, steps_before, steps_reaching
from sim.model.tree import tree_key, tree_set
from sim.units import NEVER


# ---- the end of a jump ----------------------------------------------------------------------
@jit
def count_gaps(p, st, r, k, g, d, span):
    """Every sequence of the decode set saw k gaps: g, g + d, …"""
    n_class = p.m[P_N_CLASS]
    last = g + d * (k - 1)
    bucket = bucket_of(g)
    if d > 0 and bucket != bucket_of(last):
        bucket = -1  # they grow past it
    for c in range(n_class):
        n = st.m[st.mix + r * n_class + c]
        if n > 0:
            at = st.hist + (c * N_METRIC + M_ITL) * N_BUCKET
            if bucket >= 0:
                st.m[at + bucket] += n * k
            else:
                observe_series(st.m, at, g, d, k, n)
            add_wide(st.m, st.counts + c * C_SIZE + C_SUM + 2 * M_ITL, n * span)
    gap_seen(st, st.rep + r * R_SIZE, last)


@jit
def end_chunks(p, st, r, t):
    """The sequences that were scheduled one by one: nearly always the tail of the batch."""
    ro = st.rep + r * R_SIZE
    left = st.m[ro + R_N_CHUNK]
    st.m[ro + R_N_CHUNK] = 0
    s = st.m[ro + R_RUN_TAIL]
    while left > 0:
        so = st.slot + s * F_SIZE
        before = st.m[so + F_PREV]
        if st.m[so + F_STATE] == SEQ_SINGLE and st.m[so + F_CHUNK] > 0:
            left -= 1
            end_chunk(p, st, r, s, t)
        s = before


@jit
def end_jump(p, st, r, t):
    """The steps in progress ended at t: emit their tokens, let finished sequences leave."""
    ro = st.rep + r * R_SIZE
    k = st.m[ro + R_JUMP_K]
    g = st.m[ro + R_JUMP_G]
    d = st.m[ro + R_JUMP_D]
    n = st.m[ro + R_N_DECODE]
    step = st.m[ro + R_STEP]
    span = t - st.m[ro + R_JUMP_PS]
    st.m[ro + R_JUMP_K] = 0
    st.m[ro + R_BUSY_PS] += span
    st.m[ro + R_STEPS] += k
    add_wide(st.m, ro + R_SLOT_LO, st.m[ro + R_N_RUN] * span)
    if n > 0:
        lo = p.pool + st.m[ro + R_POOL] * L_SIZE
        st.m[ro + R_FREE_BLOCKS] -= jump_blocks(p, st, lo, st.m[ro + R_RESIDUE], n, step, 1, k)
        st.m[ro + R_KV_READ] += k * st.m[ro + R_KV] + n * ((k * (k - 1)) >> 1)
        st.m[ro + R_KV] += n * k
        st.m[ro + R_DECODE_TOKENS] += n * k
        count_gaps(p, st, r, k, g, d, span)
    st.m[ro + R_STEP] = step + k
    without_ps = st.m[ro + R_JUMP_DECODE_PS] if st.m[ro + R_N_CHUNK] > 0 else span
    st.m[ro + R_DECODE_PS] += without_ps
    st.m[ro + R_PREFILL_PS] += span - without_ps
    if st.m[ro + R_GHOST] > 0:
        bury(p, st, r, t)
    end_finished(p, st, r, t)
    if st.m[ro + R_N_CHUNK] > 0:
        end_chunks(p, st, r, t)
    if st.m[ro + R_PREFIX] > 0 and st.m[st.m[ro + R_PREFIX] + Z_LEAVER] > 0:
        leave_finished(p, st, r)


@jit_call
def bury(p, st, r, t):
    """Attempts whose client has gone leave the batch, with the step that has just ended."""
    ro = st.rep + r * R_SIZE
    while st.m[ro + R_GHOST] > 0:
        s = st.m[ro + R_GHOST] - 1
        so = st.slot + s * F_SIZE
        st.m[ro + R_GHOST] = st.m[so + F_GHOST_NEXT]
        if st.m[so + F_STATE] == SEQ_DECODE:
            if is_measured(p, st.m[so + F_ARRIVAL_PS]):  # it left the mix with its client
                st.m[st.mix + r * p.m[P_N_CLASS] + st.m[so + F_CLASS]] += 1
            leave_decode(p, st, r, s, t)
        elif st.m[so + F_CHUNK] > 0:
            st.m[ro + R_N_CHUNK] -= 1
        drop_running(st, ro, s)
        blocks_back(p, st, r, s, st.m[so + F_COMPUTED] + st.m[so + F_CHUNK])
        drop_slot(st, s)


@jit
def end_finished(p, st, r, t):
    """Sequences of the decode set that have emitted their last token leave."""
    ro = st.rep + r * R_SIZE
    o = st.m[ro + R_HEAP]
    limit = (st.m[ro + R_STEP] + 1) << 24
    while st.m[ro + R_N_DECODE] > 0 and st.m[o] < limit:
        s = st.m[o] & SLOT_MASK
        heap_pop(st, ro)
        held = unlist_decode(p, st, r, s)
        retire(p, st, r, s, held, t)


# ---- the next step ----------------------------------------------------------------------
@jit
def chunk_of(p, lo, tokens, budget):
    """How many of the missing tokens a step computes."""
    threshold = p.m[lo + L_THRESHOLD]
    chunk = tokens if tokens < budget else budget
    if threshold > 0 and chunk > threshold:
        chunk = threshold
    return chunk


@jit
def missing_of(st, so):
    """Tokens of a sequence outside the decode set that are not computed yet."""
    return st.m[so + F_PROMPT] + st.m[so + F_GENERATED] - st.m[so + F_COMPUTED]


@jit
def blocks_for(p, st, lo, so, chunk):
    """Blocks that a chunk needs beyond those its sequence holds."""
    computed = st.m[so + F_COMPUTED]
    return blocks_of(p, lo, computed + chunk) - blocks_of(p, lo, computed)


@jit
def book_chunk(st, ro, so, chunk, blocks):
    """A step computes a chunk of a sequence outside the decode set."""
    st.m[ro + R_FREE_BLOCKS] -= blocks
    st.m[so + F_CHUNK] = chunk
    st.m[so + F_MARK] = st.m[ro + R_STEP] + 1
    st.m[ro + R_N_CHUNK] += 1


@jit
def give_chunk(p, st, r, s, chunk, blocks):
    """Schedule a chunk of a running sequence outside the decode set."""
    ro = st.rep + r * R_SIZE
    book_chunk(st, ro, st.slot + s * F_SIZE, chunk, blocks)
    if st.m[ro + R_PREFIX] > 0:
        chunk_prefix(p, st, r, s, chunk)


@jit
def schedule_running(p, st, r, budget, t):
    """Give running sequences their tokens; returns the budget left, or −1 − it when something was preempted.

    The usual case costs nothing per sequence: the whole decode set gets its tokens, and at most one unfinished prompt
    follows it at the end of the batch.
    """
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    n = st.m[ro + R_N_DECODE]
    singles = st.m[ro + R_N_RUN] - n
    tail = st.m[ro + R_RUN_TAIL]
    if singles > 1 or (singles == 1 and st.m[st.slot + tail * F_SIZE + F_STATE] != SEQ_SINGLE):
        return walk_running(p, st, r, budget, t)
    need = step_blocks(p, st, lo, st.m[ro + R_RESIDUE], st.m[ro + R_STEP])
    chunk = 0
    blocks = 0
    if singles == 1 and budget > n:
        chunk = chunk_of(p, lo, missing_of(st, st.slot + tail * F_SIZE), budget - n)
        blocks = blocks_for(p, st, lo, st.slot + tail * F_SIZE, chunk)
    if need + blocks > st.m[ro + R_FREE_BLOCKS]:
        return walk_running(p, st, r, budget, t)
    st.m[ro + R_FREE_BLOCKS] -= need
    if chunk > 0:
        give_chunk(p, st, r, tail, chunk, blocks)
    return budget - n - chunk


@jit_call
def walk_running(p, st, r, budget, t):
    """Schedule the running batch one by one, in order, preempting where blocks run out."""
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    step = st.m[ro + R_STEP]
    preempted = False
    s = st.m[ro + R_RUN_HEAD]
    while s >= 0 and budget > 0:
        so = st.slot + s * F_SIZE
        is_decode = st.m[so + F_STATE] == SEQ_DECODE
        if is_decode:
            chunk = 1
            blocks = 1 if place_in_block(p, lo, st.m[so + F_COMPUTED] + step) == 0 else 0
        else:
            chunk = chunk_of(p, lo, missing_of(st, so), budget)
            blocks = blocks_for(p, st, lo, so, chunk)
        stop = False
        while blocks > st.m[ro + R_FREE_BLOCKS]:
            victim = choose_victim(p, st, r)
            preempted = True
            budget += preempt_in_step(p, st, r, victim, t)
            if victim == s:
                stop = True
                break
        if stop:
            break
        if is_decode:
            st.m[ro + R_FREE_BLOCKS] -= blocks
            st.m[so + F_CHUNK] = 1
            st.m[so + F_MARK] = step + 1
        else:
            give_chunk(p, st, r, s, chunk, blocks)
        budget -= chunk
        s = st.m[so + F_NEXT]
    pass_over(p, st, r, t)
    return -1 - budget if preempted else budget


@jit_call
def pass_over(p, st, r, t):
    """Sequences of the decode set that the step has no room for leave the set until they are scheduled again."""
    ro = st.rep + r * R_SIZE
    mark = st.m[ro + R_STEP] + 1
    s = st.m[ro + R_RUN_HEAD]
    while s >= 0:
        so = st.slot + s * F_SIZE
        if st.m[so + F_STATE] == SEQ_DECODE and st.m[so + F_MARK] != mark:
            leave_decode(p, st, r, s, t)
        s = st.m[so + F_NEXT]


@jit_call
def preempt_in_step(p, st, r, victim, t):
    """Preempt a sequence while a step is being scheduled; returns the tokens that go back to the budget."""
    ro = st.rep + r * R_SIZE
    vo = st.slot + victim * F_SIZE
    given = 0
    if st.m[vo + F_MARK] == st.m[ro + R_STEP] + 1:
        given = st.m[vo + F_CHUNK]
        if st.m[vo + F_STATE] == SEQ_SINGLE:
            st.m[ro + R_N_CHUNK] -= 1
    preempt(p, st, r, victim, given, t)
    return given


@jit_call
def choose_victim(p, st, r):
    """The running sequence that gives way: the last one, or under the priority policy the least important."""
    from_tail = st.m[st.rep + r * R_SIZE + R_RUN_TAIL]
    if p.m[p.pool + st.m[st.rep + r * R_SIZE + R_POOL] * L_SIZE + L_SCHEDULING] == FCFS:
        return from_tail
    worst = from_tail
    s = st.m[st.slot + from_tail * F_SIZE + F_PREV]
    while s >= 0:
        if comes_before(p, st, worst, s):
            worst = s
        s = st.m[st.slot + s * F_SIZE + F_PREV]
    return worst


@jit
def admit(p, st, r, budget, t):
    """Take waiting sequences into the batch while budget, places and blocks last."""
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    gated = p.m[lo + L_BATCHING] != CONTINUOUS
    while st.m[ro + R_N_WAIT] > 0 and budget > 0 and st.m[ro + R_N_RUN] < p.m[lo + L_MAX_SEQS]:
        if gated and st.m[ro + R_BATCH_LEFT] == 0:
            break
        s = st.m[ro + R_WAIT_HEAD]
        so = st.slot + s * F_SIZE
        hit = 0
        loose = 0
        if st.m[ro + R_PREFIX] > 0:
            found = find_prefix(p, st, r, s)
            hit = found >> HIT_BITS
            loose = found & HIT_MASK
        missing = missing_of(st, so) - hit * p.m[lo + L_BLOCK]
        chunk = chunk_of(p, lo, missing, budget)
        if p.m[lo + L_CHUNKED] == 0:
            whole = chunk_of(p, lo, missing, NEVER)
            if whole > budget and st.m[ro + R_N_CHUNK] + st.m[ro + R_N_DECODE] > 0:
                break
            if whole > budget:
                budget = whole  # a prompt longer than the budget is computed whole, in a step of its own
            chunk = whole
        blocks = blocks_of(p, lo, chunk)
        if blocks + loose > st.m[ro + R_FREE_BLOCKS]:
            break
        book_chunk(st, ro, so, chunk, blocks)
        if st.m[ro + R_PREFIX] > 0:
            admit_prefix(p, st, r, s, hit, chunk)
        pop_waiting(st, ro)
        push_running(st, ro, s)
        st.m[so + F_STATE] = SEQ_SINGLE
        if st.m[so + F_SCHEDULED_PS] < 0:
            st.m[so + F_SCHEDULED_PS] = t
            queued_until(p, st, st.m[ro + R_POOL], so, t)
        budget -= chunk
        if gated:
            st.m[ro + R_BATCH_LEFT] -= 1


@jit
def launch_step(p, st, r, t):
    """Time the step that holds prompt chunks and let it run."""
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    n = st.m[ro + R_N_DECODE]
    kv = st.m[ro + R_KV]
    tokens = 0
    squares = 0
    left = st.m[ro + R_N_CHUNK]
    s = st.m[ro + R_RUN_TAIL]
    while left > 0:
        so = st.slot + s * F_SIZE
        if st.m[so + F_STATE] == SEQ_SINGLE and st.m[so + F_CHUNK] > 0:
            left -= 1
            chunk = st.m[so + F_CHUNK]
            computed = st.m[so + F_COMPUTED]
            if st.m[so + F_GENERATED] > 0 and missing_of(st, so) == 1:
                n += 1
                kv += computed + 1
                st.m[ro + R_DECODE_TOKENS] += 1
                st.m[ro + R_KV_READ] += computed + 1
            else:
                tokens += chunk
                squares += chunk * (2 * computed + chunk)
        s = st.m[so + F_PREV]
    alone_ps = decode_ps(p, lo, n, kv)
    st.m[ro + R_PREFILL_TOKENS] += tokens
    st.m[ro + R_PREFILL_SQUARES] += squares
    st.m[ro + R_JUMP_DECODE_PS] = alone_ps if n > 0 else 0
    launch(p, st, r, t, 1, prompt_step_ps(p, lo, n, kv, tokens, squares) if tokens > 0 else alone_ps, 0)


@jit
def launch_jump(p, st, r, t, persistent):
    """Let the decode set run alone: as many steps as nothing inside the replica can change."""
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    n = st.m[ro + R_N_DECODE]
    step = st.m[ro + R_STEP]
    g = decode_ps(p, lo, n, st.m[ro + R_KV])
    d = p.m[p.slope + p.m[lo + L_TABLE] + n] * n
    k = 1
    if persistent:
        k = (st.m[st.m[ro + R_HEAP]] >> 24) - step
        if k > 1:
            k = steps_that_fit(p, st, lo, st.m[ro + R_RESIDUE], n, step, k, st.m[ro + R_FREE_BLOCKS])
    launch(p, st, r, t, k, g, d)


@jit
def launch(p, st, r, t, k, g, d):
    """Start a jump of k steps at t."""
    ro = st.rep + r * R_SIZE
    st.m[ro + R_JUMP_PS] = t
    st.m[ro + R_JUMP_K] = k
    st.m[ro + R_JUMP_G] = g
    st.m[ro + R_JUMP_D] = d
    tree_set(st.m, st.tree, p.m[P_TREE], r, t + span_ps(k, g, d))


@jit_call
def oldest_routed_ps(st, ro):
    """When the request that has waited longest was routed: under the priority policy it need not be the head."""
    oldest = NEVER
    s = st.m[ro + R_WAIT_HEAD]
    while s >= 0:
        oldest = min(oldest, st.m[st.slot + s * F_SIZE + F_ROUTED_PS])
        s = st.m[st.slot + s * F_SIZE + F_NEXT]
    return oldest


@jit
def gate_opens_ps(p, st, r, t):
    """When an idle replica may start: now, at its batching delay, or when more have come (NEVER)."""
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    if st.m[ro + R_N_WAIT] == 0:
        return NEVER
    batching = p.m[lo + L_BATCHING]
    full = st.m[ro + R_N_WAIT] >= p.m[lo + L_MAX_SEQS]
    if batching == CONTINUOUS or full or st.m[ro + R_STAGE] == STAGE_DRAINING:
        return t
    if batching == DYNAMIC:
        opens = oldest_routed_ps(st, ro) + p.m[lo + L_DELAY_PS]
        return opens if opens > t else t
    return NEVER


@jit
def start_step(p, st, r, t):
    """Schedule the next step of a replica, or leave it idle."""
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    if st.m[ro + R_N_RUN] == 0 and st.m[ro + R_BATCH_LEFT] == 0:
        opens = gate_opens_ps(p, st, r, t)
        if opens > t:
            tree_set(st.m, st.tree, p.m[P_TREE], r, opens)
            return
        if p.m[lo + L_BATCHING] != CONTINUOUS:
            waiting = st.m[ro + R_N_WAIT]
            most = p.m[lo + L_MAX_SEQS]
            st.m[ro + R_BATCH_LEFT] = waiting if waiting < most else most
    budget = schedule_running(p, st, r, p.m[lo + L_BUDGET], t)
    # a step that only preempted holds nothing and takes no time: schedule again
    while budget < 0 and st.m[ro + R_N_CHUNK] == 0 and st.m[ro + R_N_DECODE] == 0:
        budget = schedule_running(p, st, r, p.m[lo + L_BUDGET], t)
    if budget >= 0:
        admit(p, st, r, budget, t)
    if st.m[ro + R_N_CHUNK] > 0:
        launch_step(p, st, r, t)
    elif st.m[ro + R_N_DECODE] > 0:
        launch_jump(p, st, r, t, budget >= 0 and st.m[ro + R_N_DECODE] == st.m[ro + R_N_RUN])
    else:
        tree_set(st.m, st.tree, p.m[P_TREE], r, NEVER)


@jit
def on_boundary(p, st, r, t):
    """A step of replica r ends at t, or its idle engine wakes up."""
    if st.m[st.rep + r * R_SIZE + R_JUMP_K] > 0:
        end_jump(p, st, r, t)
    start_step(p, st, r, t)


# ---- from outside ----------------------------------------------------------------------
@jit
def cut_jump(p, st, r, t):
    """Something new waits at t: end the jump at the first boundary that reaches it."""
    ro = st.rep + r * R_SIZE
    k = st.m[ro + R_JUMP_K]
    if k > 1:
        start = st.m[ro + R_JUMP_PS]
        g = st.m[ro + R_JUMP_G]
        d = st.m[ro + R_JUMP_D]
        cut = steps_reaching(t - start, k, g, d)
        if cut < k:
            st.m[ro + R_JUMP_K] = cut
            tree_set(st.m, st.tree, p.m[P_TREE], r, start + span_ps(cut, g, d))


@jit
def on_enqueued(p, st, r, s, t):
    """A sequence has joined the waiting queue of replica r at t: wake the engine or cut its jump where it matters."""
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    if st.m[ro + R_N_RUN] == 0:
        opens = gate_opens_ps(p, st, r, t)
        if opens < tree_key(st.m, st.tree, p.m[P_TREE], r):
            tree_set(st.m, st.tree, p.m[P_TREE], r, opens)
    elif (
        st.m[ro + R_WAIT_HEAD] == s
        and st.m[ro + R_N_RUN] < p.m[lo + L_MAX_SEQS]
        and (p.m[lo + L_BATCHING] == CONTINUOUS or st.m[ro + R_BATCH_LEFT] > 0)
    ):
        cut_jump(p, st, r, t)


@jit_call
def settle(p, st, r, t):
    """End the steps of a jump whose boundaries lie before t; the step that t falls in goes on alone."""
    ro = st.rep + r * R_SIZE
    k = st.m[ro + R_JUMP_K]
    if k > 1:
        start = st.m[ro + R_JUMP_PS]
        g = st.m[ro + R_JUMP_G]
        d = st.m[ro + R_JUMP_D]
        done = steps_before(t - start, k, g, d)
        if done > 0:
            st.m[ro + R_JUMP_K] = done
            end_jump(p, st, r, start + span_ps(done, g, d))
            lo = p.pool + st.m[ro + R_POOL] * L_SIZE
            st.m[ro + R_FREE_BLOCKS] -= step_blocks(p, st, lo, st.m[ro + R_RESIDUE], st.m[ro + R_STEP])
            launch(p, st, r, start + span_ps(done, g, d), 1, g + d * done, 0)


@jit
def blocks_used(p, st, r, n_blocks, t):
    """KV blocks in use at t, seen from outside: after the last boundary before t."""
    ro = st.rep + r * R_SIZE
    used = n_blocks - st.m[ro + R_FREE_BLOCKS]
    k = st.m[ro + R_JUMP_K]
    if k > 1:
        done = steps_before(t - st.m[ro + R_JUMP_PS], k, st.m[ro + R_JUMP_G], st.m[ro + R_JUMP_D])
        lo = p.pool + st.m[ro + R_POOL] * L_SIZE
        used += jump_blocks(
            p, st, lo, st.m[ro + R_RESIDUE], st.m[ro + R_N_DECODE], st.m[ro + R_STEP], 1, done + 1
        )
    return used


@jit_call
def blocks_cached(p, st, r, n_blocks, t):
    """Cached KV blocks that nobody holds at t, seen from outside: what a jump has taken by then is gone."""
    ro = st.rep + r * R_SIZE
    return min(st.m[st.m[ro + R_PREFIX] + Z_CACHED], n_blocks - blocks_used(p, st, r, n_blocks, t))
