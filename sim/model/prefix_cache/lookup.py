"""A replica's prefix cache: which leading blocks of a prompt are cached, and which cached blocks are evicted.

A prompt is a path through a tree of segments (system prompt, tenant, session …), then tokens of its own: a segment
like any other, with the request for its name. A full KV block is known by its place in the sequence and by the
segment of its last token; two sequences share it when both are the same. A block is in the cache from the moment its
prompt tokens are scheduled; answers enter when their sequence leaves. Of two equal blocks one is kept.

Neighbouring blocks of a segment with the same number of holders are one range; so are those that were released at one
instant and that nobody holds. A sequence that holds a block holds all blocks before it. So along a path the number of
holders falls, and the blocks that nobody holds lie at its end: the tree is evicted from its leaves. Blocks that nobody
holds are free blocks to everybody else (Replica.free_blocks counts them). Empty blocks are taken first, then the range
that was released longest ago, from its tail. Blocks that a jump takes are evicted when the cache is looked at next:
until then no rule sees a difference.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.kv_blocks import blocks_of, full_blocks
from sim.model.prefix_cache.block_ranges import deepest_range, find_range, free_a_range, trim
from sim.model.prefix_cache.prompt_segments import above, first_block, leaf_of, parent_of, shared_blocks
from sim.model.prefix_cache.references import (
    enter_blocks,
    enter_prefix,
    has_free_ranges,
    hold_own_blocks,
    is_new,
    release_path,
    share_path,
)
from sim.model.tables.replica import BlockRange, PrefixCache

HIT_BITS = 31
HIT_MASK = (1 << HIT_BITS) - 1


@jit_call
def find_prefix(params, state, r, s):
    """Leading blocks of a waiting sequence that are cached, and how many of them nobody holds: hit << 31 | loose.

    At least the last token has to be computed: the next token follows from it.
    """
    slot = state.slot[s]
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    cache = PrefixCache(state, replica.prefix_at)
    i = slot.request
    trim(params, state, r)
    free_a_range(state, replica, pool, cache)
    j = full_blocks(pool, slot.prompt + slot.generated - 1)
    segment = params.n_segment + i
    first = shared_blocks(params, pool, i)
    slot.shared_blocks = first
    slot.leaf = leaf_of(params, i)
    if is_new(slot):  # nothing of its own is cached, and looking would cost a cache miss
        j = j if j < first else first
        segment = slot.leaf
        first = first_block(params, pool, segment) if segment >= 0 else 0
    hit = 0
    loose = 0
    while j > 0:
        u = find_range(state, pool, cache, segment) if first < j else 0
        if u > 0:
            if hit == 0:
                slot.range = u
            held = BlockRange(state, u).last if BlockRange(state, u).refs > 0 else first
            while BlockRange(state, u).last < j and BlockRange(state, u).next_range > 0:
                u = BlockRange(state, u).next_range
                held = BlockRange(state, u).last if BlockRange(state, u).refs > 0 else held
            last = BlockRange(state, u).last if BlockRange(state, u).last < j else j
            hit = hit if hit > 0 else last  # the deepest segment that is there: so is all before it
            loose += last - held if last > held else 0
            if held > first:
                break  # so is all before it
        j = j if j < first else first
        segment = above(params, i, segment)
        if segment < 0:
            break
        first = first_block(params, pool, segment)
    if not has_free_ranges(params, cache, hit):
        return find_cut(params, state, r, i, hit)
    return (hit << HIT_BITS) | loose


@jit_call
def find_cut(params, state, r, i, hit):
    """`find_prefix` for `hit` cached blocks where there may be too few ranges to split all those that the path leaves in
    the middle.
    """
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    cache = PrefixCache(state, replica.prefix_at)
    loose = 0
    cuts = 0
    j = hit
    segment = params.n_segment + i
    first = shared_blocks(params, pool, i)
    while j > 0:
        if first < j:
            u = find_range(state, pool, cache, segment)
            here = 0
            while BlockRange(state, u).last < j:
                here += (
                    BlockRange(state, u).last - BlockRange(state, u).first
                    if BlockRange(state, u).refs == 0
                    else 0
                )
                u = BlockRange(state, u).next_range
            cuts += 1 if BlockRange(state, u).last > j else 0
            if cuts > cache.n_free:
                state.pool[replica.pool].ranges_dropped += 1
                hit = BlockRange(state, u).first
                loose = here
                cuts = 0
            else:
                loose += here + (j - BlockRange(state, u).first if BlockRange(state, u).refs == 0 else 0)
            j = first
        segment = above(params, i, segment)
        first = first_block(params, pool, segment) if segment >= 0 else 0
    return (hit << HIT_BITS) | loose


@jit
def cached_blocks(params, state, r, i, tokens):
    """Leading blocks of the first `tokens` − 1 tokens of request i that replica r has. All before a cached one is there."""
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    cache = PrefixCache(state, replica.prefix_at)
    most = full_blocks(pool, tokens - 1)
    segment = params.n_segment + i
    first = shared_blocks(params, pool, i)
    while segment >= 0:
        u = deepest_range(state, pool, cache, segment)
        if u > 0:
            return min(most, BlockRange(state, u).last)
        most = min(most, first)
        segment = above(params, i, segment)
        if segment >= 0:
            first = first_block(params, pool, segment)
    return 0


@jit
def take_prefix(params, state, r, s, hit):
    """An admitted sequence holds the first `hit` blocks from the cache: they count as computed.

    They are what find_prefix has just found, or fewer.
    """
    slot = state.slot[s]
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    cache = PrefixCache(state, replica.prefix_at)
    slot.held_blocks = 0
    if hit > slot.shared_blocks or not has_free_ranges(params, cache, hit):
        replica.free_blocks -= (
            hit  # as if it brought blocks of its own: `enter_prefix` frees those that it shares
        )
        enter_prefix(params, state, r, s, hit)
    elif hit > 0:
        slot.held_blocks = hit
        share_path(params, state, replica, pool, cache, slot.range, hit)
    cached = hit * pool.block_size
    slot.computed = cached
    if slot.scheduled_ps < 0:
        pool_state = state.pool[replica.pool]
        prompt = slot.prompt
        slot.cached_tokens = cached
        pool_state.asked_tokens += prompt
        pool_state.cached_tokens += cached
        if params.warmup_ps <= slot.arrival_ps < params.duration_ps:
            counts = state.counts[slot.traffic_class]
            counts.asked_tokens += prompt
            counts.cached_tokens += cached


@jit_call
def admit_prefix(params, state, r, s, hit, chunk):
    """An admitted sequence holds the first `hit` blocks from the cache and those of the chunk that follows them."""
    take_prefix(params, state, r, s, hit)
    hold_prompt(params, state, r, s, state.slot[s].computed + chunk)


@jit_call
def chunk_prefix(params, state, r, s, chunk):
    """A sequence that was admitted before holds the blocks of one more chunk."""
    hold_prompt(params, state, r, s, state.slot[s].computed + chunk)


@jit
def hold_prompt(params, state, r, s, tokens):
    """So many tokens of a sequence are computed or being computed: the full blocks of its prompt are in the cache."""
    slot = state.slot[s]
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    cache = PrefixCache(state, replica.prefix_at)
    prompt = slot.prompt
    end = full_blocks(pool, tokens if tokens < prompt else prompt)
    if not hold_own_blocks(params, state, s, cache, end):
        trim(params, state, r)
        enter_prefix(params, state, r, s, end)


@jit_call
def will_leave(state, r, s, tokens):
    """A sequence has left the batch at this boundary: it leaves the cache, in order of request and attempt, once all that
    leave are known.
    """
    cache = PrefixCache(state, state.replica[r].prefix_at)
    slot = state.slot[s]
    before = -1
    after = cache.leaver
    while after > 0:
        other = state.slot[after - 1]
        if other.request > slot.request:
            break
        if other.request == slot.request and other.attempt > slot.attempt:
            break
        before = after - 1
        after = other.prev
    slot.prev = after
    if before < 0:
        cache.leaver = s + 1
    else:
        state.slot[before].prev = s + 1
    slot.computed = tokens


@jit_call
def leave_finished(params, state, r):
    """The sequences that left at this boundary leave the cache; their slots are not in use again yet."""
    cache = PrefixCache(state, state.replica[r].prefix_at)
    while cache.leaver > 0:
        s = cache.leaver - 1
        cache.leaver = state.slot[s].prev
        leave_prefix(params, state, r, s, state.slot[s].computed)


@jit
def leave_prefix(params, state, r, s, tokens):
    """A sequence with `tokens` computed or being computed leaves: its full blocks stay cached, held by one less."""
    replica = state.replica[r]
    slot = state.slot[s]
    pool = params.pool[replica.pool]
    cache = PrefixCache(state, replica.prefix_at)
    trim(params, state, r)
    end = full_blocks(pool, tokens)
    if not hold_own_blocks(params, state, s, cache, end):
        enter_blocks(params, state, r, s, end)  # not a call: this is where a device's stack is deepest
    j = slot.held_blocks
    replica.free_blocks += blocks_of(pool, tokens) - j
    slot.held_blocks = 0
    if j > slot.shared_blocks:
        segment = params.n_segment + slot.request
        u = slot.range
        if BlockRange(state, u).segment != segment or BlockRange(state, u).prev_range > 0:
            u = find_range(state, pool, cache, segment)
        release_path(state, replica, pool, cache, u, j)
        j = slot.shared_blocks
    segment = slot.leaf
    while j > 0:
        first = first_block(params, pool, segment)
        if first < j:
            release_path(state, replica, pool, cache, find_range(state, pool, cache, segment), j)
            j = first
        segment = parent_of(params, segment)
