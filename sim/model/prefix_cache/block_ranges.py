"""The block ranges that a replica has cached: found by segment, evicted by age.

A range is named by its offset in State.m. `sim.model.prefix_cache.lookup` says what they are for.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.words import clear_row
from sim.model.tables.replica import BLOCK_RANGE_SIZE, PREFIX_CACHE_SIZE, BlockRange, PrefixCache


@jit_call
def clear_prefix(params, state, r):
    """A cold cache, where the replica has one."""
    replica = state.replica[r]
    if replica.prefix_at == 0:
        return
    pool = params.pool[replica.pool]
    cache = PrefixCache(state, replica.prefix_at)
    ranges = replica.prefix_at + PREFIX_CACHE_SIZE + pool.prefix_buckets
    clear_row(cache.words, PREFIX_CACHE_SIZE + pool.prefix_buckets)
    for n in range(pool.prefix_runs):
        unused = BlockRange(state, ranges + n * BLOCK_RANGE_SIZE)
        unused.segment = -1  # for sequences that remember it
        unused.next_range = ranges + (n + 1) * BLOCK_RANGE_SIZE if n + 1 < pool.prefix_runs else 0
    cache.free = ranges
    cache.n_free = pool.prefix_runs


@jit
def bucket_of(pool, segment):
    """Which int64 of a prefix cache names the first range of the segments that share a bucket with this one."""
    return PREFIX_CACHE_SIZE + (segment & (pool.prefix_buckets - 1))


@jit
def find_range(state, pool, cache, segment):
    """The shallowest range of a segment, 0 = nothing of it is cached."""
    u = cache.words[bucket_of(pool, segment)]
    while u > 0 and BlockRange(state, u).segment != segment:
        u = -BlockRange(state, u).prev_range
    return u


@jit
def deepest_range(state, pool, cache, segment):
    """The deepest range of a segment, 0 = nothing of it is cached."""
    u = find_range(state, pool, cache, segment)
    while u > 0 and BlockRange(state, u).next_range > 0:
        u = BlockRange(state, u).next_range
    return u


@jit
def new_range(state, cache, segment, first, last, refs):
    """Make a range of the blocks from `first` to before `last`, the only one of its segment and not listed under it; the
    caller has made sure that one is unused.
    """
    u = cache.free
    cache.free = BlockRange(state, u).next_range
    cache.n_free -= 1
    BlockRange(state, u).segment = segment
    BlockRange(state, u).first = first
    BlockRange(state, u).last = last
    BlockRange(state, u).refs = refs
    BlockRange(state, u).next_range = 0
    BlockRange(state, u).prev_range = -u
    return u


@jit
def is_listed(state, u):
    """Whether searches find the segment of range u."""
    return BlockRange(state, u).prev_range != -u


@jit
def list_range(state, pool, cache, u):
    """List range u, the only one of its segment, so that searches find it."""
    bucket = bucket_of(pool, BlockRange(state, u).segment)
    BlockRange(state, u).prev_range = -cache.words[bucket]
    cache.words[bucket] = u


@jit
def add_deeper(state, u, shallow):
    """A new range follows the range `shallow` of its segment."""
    deep = BlockRange(state, shallow).next_range
    BlockRange(state, u).prev_range = shallow
    BlockRange(state, u).next_range = deep
    BlockRange(state, shallow).next_range = u
    if deep > 0:
        BlockRange(state, deep).prev_range = u


@jit
def begin_range(state, pool, cache, segment, shallow, first, last):
    """Make a range of the blocks from `first` to before `last`, which one sequence holds, behind the range `shallow` of
    its segment (0 = it is the first).
    """
    u = new_range(state, cache, segment, first, last, 1)
    if shallow > 0:
        add_deeper(state, u, shallow)
    else:
        list_range(state, pool, cache, u)
    return u


@jit
def drop_range(state, pool, cache, u):
    """Take a range out of its segment; it is the deepest, or what it held has become part of a neighbour."""
    shallow = BlockRange(state, u).prev_range
    deep = BlockRange(state, u).next_range
    if deep > 0:
        BlockRange(state, deep).prev_range = shallow
    if shallow > 0:
        BlockRange(state, shallow).next_range = deep
    elif is_listed(state, u):
        bucket = bucket_of(pool, BlockRange(state, u).segment)
        before = cache.words[bucket]
        if before == u:
            cache.words[bucket] = -shallow
        else:
            while -BlockRange(state, before).prev_range != u:
                before = -BlockRange(state, before).prev_range
            BlockRange(state, before).prev_range = shallow
    BlockRange(state, u).segment = -1  # for sequences that remember it
    BlockRange(state, u).next_range = cache.free
    cache.free = u
    cache.n_free += 1


# ---- ranges that nobody holds, by age ----------------------------------------------------------------------
@jit
def list_evictable(state, cache, u, size):
    """Nobody holds range u of so many blocks any more: it becomes the newest of those that may be evicted."""
    newest = cache.newest
    BlockRange(state, u).older = newest
    BlockRange(state, u).newer = 0
    if newest > 0:
        BlockRange(state, newest).newer = u
    else:
        cache.oldest = u
    cache.newest = u
    cache.cached_blocks += size


@jit
def unlist_evictable(state, cache, u):
    """Run u is no longer one that may be evicted."""
    older = BlockRange(state, u).older
    newer = BlockRange(state, u).newer
    if older > 0:
        BlockRange(state, older).newer = newer
    else:
        cache.oldest = newer
    if newer > 0:
        BlockRange(state, newer).older = older
    else:
        cache.newest = older
    cache.cached_blocks -= BlockRange(state, u).last - BlockRange(state, u).first


@jit_call
def evict(state, pool, cache, n):
    """Evict n blocks: those of the range that was released longest ago, from its tail, then of the next."""
    while n > 0:
        u = cache.oldest
        size = BlockRange(state, u).last - BlockRange(state, u).first
        if size > n:
            BlockRange(state, u).last -= n
            cache.cached_blocks -= n
        else:
            unlist_evictable(state, cache, u)
            drop_range(state, pool, cache, u)
        n -= size


@jit
def trim(params, state, r):
    """Evict what has been taken since the cache was last looked at."""
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    cache = PrefixCache(state, replica.prefix_at)
    taken = cache.cached_blocks - replica.free_blocks
    if taken > 0:
        evict(state, pool, cache, taken)


@jit
def free_a_range(state, replica, pool, cache):
    """Make sure that a range is unused: evict the oldest one if none is; none becomes free where every range is held."""
    if cache.n_free == 0 and cache.oldest > 0:
        oldest = cache.oldest
        evict(state, pool, cache, BlockRange(state, oldest).last - BlockRange(state, oldest).first)
        state.pool[replica.pool].ranges_dropped += 1


@jit_call
def split_range(state, cache, u, at):
    """Cut range u before block `at`: the rest becomes a range of its own, as old and as held as u."""
    rest = new_range(
        state, cache, BlockRange(state, u).segment, at, BlockRange(state, u).last, BlockRange(state, u).refs
    )
    add_deeper(state, rest, u)
    BlockRange(state, u).last = at
    if BlockRange(state, u).refs == 0:
        older = BlockRange(state, u).older
        BlockRange(state, rest).older = older  # the tail goes first
        BlockRange(state, rest).newer = u
        BlockRange(state, u).older = rest
        if older > 0:
            BlockRange(state, older).newer = rest
        else:
            cache.oldest = rest


@jit
def join_ranges(state, pool, cache, u):
    """Run u becomes part of the one before it: the same sequences hold both."""
    BlockRange(state, BlockRange(state, u).prev_range).last = BlockRange(state, u).last
    drop_range(state, pool, cache, u)
