"""Which running sequences hold which block ranges of a replica's prefix cache.

A sequence that enters a batch for the first time, as the only attempt at its request, has its own part of the prompt to
itself: it remembers the range (Slot.range), and no search finds it. Most ranges are such and never touch the hash table,
which is too large for the processor's caches. They are listed there only when another attempt at the request may look
for them (`list_own_range`).
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.prefix_cache.block_ranges import (
    begin_range,
    find_range,
    free_a_range,
    is_listed,
    join_ranges,
    list_evictable,
    list_range,
    new_range,
    split_range,
    unlist_evictable,
)
from sim.model.prefix_cache.prompt_segments import first_block, parent_of
from sim.model.tables.codes import WANTED
from sim.model.tables.replica import BlockRange, PrefixCache


@jit
def is_new(slot):
    """Whether neither a sequence nor another attempt at its request has been in a batch: no cache holds its own part."""
    return slot.attempts <= 1 and slot.preemptions == 0


@jit
def has_free_ranges(params, cache, hit):
    """Whether unused ranges are left, however many a path of so many blocks has to split: at most one a segment."""
    return cache.n_free > hit or cache.n_free > params.n_segment + 1


@jit
def hold_own_blocks(params, state, s, cache, end):
    """`enter_blocks` for a sequence that alone has its own part of the prompt, without a search of the cache; False where
    that is not so, or the sequence has not come to its own part yet.
    """
    slot = state.slot[s]
    j = slot.held_blocks
    if j >= end:
        return True
    shared = slot.shared_blocks
    if j >= shared and cache.n_free > 0:
        segment = params.n_segment + slot.request
        if j > shared:
            u = slot.range
            if (
                BlockRange(state, u).segment == segment
                and BlockRange(state, u).last == j
                and BlockRange(state, u).refs == 1
                and BlockRange(state, u).next_range == 0
            ):
                BlockRange(state, u).last = end
                slot.held_blocks = end
                return True
        elif is_new(slot) and slot.fate == WANTED:  # an abandoned attempt's request may have gone on already
            slot.range = new_range(state, cache, segment, j, end, 1)
            slot.held_blocks = end
            return True
    return False


@jit_call
def list_own_range(params, state, s):
    """List the range that a sequence had to itself: from now on its request has, or may have, another attempt."""
    slot = state.slot[s]
    u = slot.range
    if u > 0 and BlockRange(state, u).segment == params.n_segment + slot.request and not is_listed(state, u):
        replica = state.replica[slot.replica]
        list_range(state, params.pool[replica.pool], PrefixCache(state, replica.prefix_at), u)


@jit_call
def enter_prefix(params, state, r, s, end):
    """`enter_blocks` as a call."""
    enter_blocks(params, state, r, s, end)


@jit
def enter_blocks(params, state, r, s, end):
    """A sequence that has its blocks up to `end` holds them in the cache; copies of cached blocks are freed."""
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    slot = state.slot[s]
    cache = PrefixCache(state, replica.prefix_at)
    list_own_range(params, state, s)
    j = slot.held_blocks
    while j < end:
        segment = params.n_segment + slot.request
        upto = end
        if j < slot.shared_blocks:
            upto = end if end < slot.shared_blocks else slot.shared_blocks
            segment = slot.leaf
            first = first_block(params, pool, segment)
            while first > j:
                upto = first if first < upto else upto
                segment = parent_of(params, segment)
                first = first_block(params, pool, segment)
        free_a_range(state, replica, pool, cache)
        last = 0
        u = find_range(state, pool, cache, segment)
        while u > 0 and BlockRange(state, u).last <= j:
            last = u
            u = BlockRange(state, u).next_range
        if u > 0:
            if BlockRange(state, u).last > upto:
                if cache.n_free == 0:
                    break
                split_range(state, cache, u, upto)
            j = BlockRange(state, u).last
            if BlockRange(state, u).refs > 0:
                replica.free_blocks += j - BlockRange(state, u).first
            last = share_range(state, pool, cache, u)
        elif last > 0 and BlockRange(state, last).last == j and BlockRange(state, last).refs == 1:
            BlockRange(state, last).last = upto  # its own range grows
            j = upto
        elif cache.n_free == 0:
            break
        else:
            last = begin_range(state, pool, cache, segment, last, j, upto)
            j = upto
        slot.range = last
    if j < end:  # every range is held: what is left stays uncached
        state.pool[replica.pool].ranges_dropped += 1
    slot.held_blocks = j


@jit
def share_path(params, state, replica, pool, cache, u, end):
    """One more sequence holds the blocks before `end`, all of them cached; enough ranges are left, however many are split.

    The last of the blocks are of the segment whose first range is u.
    """
    while True:
        first = BlockRange(state, u).first
        segment = BlockRange(state, u).segment
        while BlockRange(state, u).last < end:
            deep = BlockRange(state, u).next_range
            share_cached(state, replica, pool, cache, u)
            u = deep
        if BlockRange(state, u).last > end:
            split_range(state, cache, u, end)
        share_cached(state, replica, pool, cache, u)
        if first == 0:
            break
        end = first
        segment = parent_of(params, segment)
        while first_block(params, pool, segment) >= end:
            segment = parent_of(params, segment)
        u = find_range(state, pool, cache, segment)


@jit
def share_cached(state, replica, pool, cache, u):
    """One more sequence holds range u and brings no blocks of its own: those that nobody held are taken."""
    if BlockRange(state, u).refs == 0:
        replica.free_blocks -= BlockRange(state, u).last - BlockRange(state, u).first
    share_range(state, pool, cache, u)


@jit
def share_range(state, pool, cache, u):
    """One more sequence holds range u; returns the range that its blocks are in then."""
    refs = BlockRange(state, u).refs
    shallow = BlockRange(state, u).prev_range
    BlockRange(state, u).refs = refs + 1
    if refs == 0:
        unlist_evictable(state, cache, u)
    if shallow > 0 and BlockRange(state, shallow).refs == refs + 1:
        join_ranges(state, pool, cache, u)
        return shallow
    return u


@jit
def release_path(state, replica, pool, cache, u, end):
    """One sequence less holds the blocks before `end` in the segment whose first range is u.

    From range to range fewer sequences hold the blocks: two ranges with the same holders are joined.
    """
    while BlockRange(state, u).last < end:
        BlockRange(state, u).refs -= 1
        u = BlockRange(state, u).next_range
    refs = BlockRange(state, u).refs - 1
    BlockRange(state, u).refs = refs
    deep = BlockRange(state, u).next_range
    if refs == 0:
        size = BlockRange(state, u).last - BlockRange(state, u).first
        replica.free_blocks += size
        list_evictable(state, cache, u, size)
    elif deep > 0 and BlockRange(state, deep).refs == refs:
        join_ranges(state, pool, cache, deep)
