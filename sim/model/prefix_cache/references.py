"""Which running sequences hold which runs of a replica's prefix cache: they take hold of them and let go.

A sequence that has never been in a batch, alone in its request, has what is its own to itself: it remembers the run
(F_RUN), and nobody can find it. Most runs are such, and never touch the hash table, which is too large for the
processor's caches. Only when another attempt at the request may look for them are they listed there (`list_own`).
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
    """Whether a sequence has never been in a batch, nor another attempt at its request: nobody has what is its own."""
    return slot.attempts <= 1 and slot.preemptions == 0


@jit
def has_free_ranges(params, cache, hit):
    """Whether unused runs are left, however many runs a way of so many blocks leaves in the middle: one a segment."""
    return cache.n_free > hit or cache.n_free > params.n_segment + 1


@jit
def hold_own_blocks(params, state, s, cache, end):
    """As enter_blocks, without a look at the rest of the cache; False where a sequence does not alone have what is its
    own, or is not there yet.
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
    """What is a sequence's own was for nobody else; from now on its request has, or may have, more than this attempt."""
    slot = state.slot[s]
    u = slot.range
    if u > 0 and BlockRange(state, u).segment == params.n_segment + slot.request and not is_listed(state, u):
        replica = state.replica[slot.replica]
        list_range(state, params.pool[replica.pool], PrefixCache(state, replica.prefix_at), u)


@jit_call
def enter_prefix(params, state, r, s, end):
    """As enter_blocks, a call of its own."""
    enter_blocks(params, state, r, s, end)


@jit
def enter_blocks(params, state, r, s, end):
    """A sequence that has its blocks up to `end` holds them in the cache; copies of what is there are given back."""
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
            BlockRange(state, last).last = upto  # its own run grows
            j = upto
        elif cache.n_free == 0:
            break
        else:
            last = begin_range(state, pool, cache, segment, last, j, upto)
            j = upto
        slot.range = last
    if j < end:  # every run is held: what is left stays uncached
        state.pool[replica.pool].ranges_dropped += 1
    slot.held_blocks = j


@jit
def share_path(params, state, replica, pool, cache, u, end):
    """One more sequence holds the blocks before `end`, all of them cached, where runs are left however many are cut.

    The last of them are of the segment whose first run is u.
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
    """One more sequence holds run u without blocks of its own to bring: they are taken where nobody held them."""
    if BlockRange(state, u).refs == 0:
        replica.free_blocks -= BlockRange(state, u).last - BlockRange(state, u).first
    share_range(state, pool, cache, u)


@jit
def share_range(state, pool, cache, u):
    """One more sequence holds run u; returns the run that its blocks are in then."""
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
    """One sequence less holds the blocks before `end` in the segment whose first run is u.

    Others hold what lies before its last run: fewer and fewer from run to run, or they would be one.
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
