"""The runs of blocks that a replica has cached: found by segment, evicted by age.

A run is an offset in State.m. `sim.model.prefix` says what they are for.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.layout import (
    L_PREFIX_BUCKETS,
    L_PREFIX_RUNS,
    L_SIZE,
    Q_RUNS_DROPPED,
    Q_SIZE,
    R_FREE_BLOCKS,
    R_POOL,
    R_PREFIX,
    R_SIZE,
    U_DEEP,
    U_FIRST,
    U_LAST,
    U_NEWER,
    U_OLDER,
    U_REFS,
    U_SEGMENT,
    U_SHALLOW,
    U_SIZE,
    Z_CACHED,
    Z_FREE,
    Z_N_FREE,
    Z_NEWEST,
    Z_OLDEST,
    Z_SIZE,
)


@jit_call
def clear_prefix(p, st, r):
    """A cold cache, where the replica has one."""
    o = st.m[st.rep + r * R_SIZE + R_PREFIX]
    if o == 0:
        return
    lo = p.pool + st.m[st.rep + r * R_SIZE + R_POOL] * L_SIZE
    runs = o + Z_SIZE + p.m[lo + L_PREFIX_BUCKETS]
    for at in range(o, runs):
        st.m[at] = 0
    for n in range(p.m[lo + L_PREFIX_RUNS]):
        st.m[runs + n * U_SIZE + U_SEGMENT] = -1  # for sequences that remember it
        st.m[runs + n * U_SIZE + U_DEEP] = runs + (n + 1) * U_SIZE
    st.m[runs + (p.m[lo + L_PREFIX_RUNS] - 1) * U_SIZE + U_DEEP] = 0
    st.m[o + Z_FREE] = runs
    st.m[o + Z_N_FREE] = p.m[lo + L_PREFIX_RUNS]


@jit
def bucket_of(p, lo, o, segment):
    """Where the list of segments begins that share a bucket with this one."""
    return o + Z_SIZE + (segment & (p.m[lo + L_PREFIX_BUCKETS] - 1))


@jit
def find_run(p, st, lo, o, segment):
    """The shallowest run of a segment, 0 = nothing of it is cached."""
    u = st.m[bucket_of(p, lo, o, segment)]
    while u > 0 and st.m[u + U_SEGMENT] != segment:
        u = -st.m[u + U_SHALLOW]
    return u


@jit
def deepest_run(p, st, lo, o, segment):
    """The deepest run of a segment, 0 = nothing of it is cached."""
    u = find_run(p, st, lo, o, segment)
    while u > 0 and st.m[u + U_DEEP] > 0:
        u = st.m[u + U_DEEP]
    return u


@jit
def new_run(st, o, segment, first, last, refs):
    """A run of the blocks from `first` to before `last`, the only one of its segment and not to be found by it; the
    caller has made sure that one is unused.
    """
    u = st.m[o + Z_FREE]
    st.m[o + Z_FREE] = st.m[u + U_DEEP]
    st.m[o + Z_N_FREE] -= 1
    st.m[u + U_SEGMENT] = segment
    st.m[u + U_FIRST] = first
    st.m[u + U_LAST] = last
    st.m[u + U_REFS] = refs
    st.m[u + U_DEEP] = 0
    st.m[u + U_SHALLOW] = -u
    return u


@jit
def is_listed(st, u):
    """Whether the segment of run u can be found."""
    return st.m[u + U_SHALLOW] != -u


@jit
def list_run(p, st, lo, o, u):
    """From now on the segment of run u, its only one, can be found."""
    bucket = bucket_of(p, lo, o, st.m[u + U_SEGMENT])
    st.m[u + U_SHALLOW] = -st.m[bucket]
    st.m[bucket] = u


@jit
def add_deeper(st, u, shallow):
    """A new run follows the run `shallow` of its segment."""
    deep = st.m[shallow + U_DEEP]
    st.m[u + U_SHALLOW] = shallow
    st.m[u + U_DEEP] = deep
    st.m[shallow + U_DEEP] = u
    if deep > 0:
        st.m[deep + U_SHALLOW] = u


@jit
def begin_run(p, st, lo, o, segment, shallow, first, last):
    """A run of the blocks from `first` to before `last`, that one sequence holds, behind the segment's run `shallow`
    (0 = it is the first).
    """
    u = new_run(st, o, segment, first, last, 1)
    if shallow > 0:
        add_deeper(st, u, shallow)
    else:
        list_run(p, st, lo, o, u)
    return u


@jit
def drop_run(p, st, lo, o, u):
    """Take a run out of its segment; it is the deepest, or what it held has become part of a neighbour."""
    shallow = st.m[u + U_SHALLOW]
    deep = st.m[u + U_DEEP]
    if deep > 0:
        st.m[deep + U_SHALLOW] = shallow
    if shallow > 0:
        st.m[shallow + U_DEEP] = deep
    elif is_listed(st, u):
        bucket = bucket_of(p, lo, o, st.m[u + U_SEGMENT])
        before = st.m[bucket]
        if before == u:
            st.m[bucket] = -shallow
        else:
            while -st.m[before + U_SHALLOW] != u:
                before = -st.m[before + U_SHALLOW]
            st.m[before + U_SHALLOW] = shallow
    st.m[u + U_SEGMENT] = -1  # for sequences that remember it
    st.m[u + U_DEEP] = st.m[o + Z_FREE]
    st.m[o + Z_FREE] = u
    st.m[o + Z_N_FREE] += 1


# ---- runs that nobody holds, by age ----------------------------------------------------------------------
@jit
def give_up(st, o, u, size):
    """Nobody holds run u of so many blocks any more: it becomes the newest of those that may be evicted."""
    newest = st.m[o + Z_NEWEST]
    st.m[u + U_OLDER] = newest
    st.m[u + U_NEWER] = 0
    if newest > 0:
        st.m[newest + U_NEWER] = u
    else:
        st.m[o + Z_OLDEST] = u
    st.m[o + Z_NEWEST] = u
    st.m[o + Z_CACHED] += size


@jit
def keep(st, o, u):
    """Run u is no longer one that may be evicted."""
    older = st.m[u + U_OLDER]
    newer = st.m[u + U_NEWER]
    if older > 0:
        st.m[older + U_NEWER] = newer
    else:
        st.m[o + Z_OLDEST] = newer
    if newer > 0:
        st.m[newer + U_OLDER] = older
    else:
        st.m[o + Z_NEWEST] = older
    st.m[o + Z_CACHED] -= st.m[u + U_LAST] - st.m[u + U_FIRST]


@jit_call
def evict(p, st, lo, o, n):
    """Evict n blocks: those of the run that was given up longest ago, from its tail, then of the next."""
    while n > 0:
        u = st.m[o + Z_OLDEST]
        size = st.m[u + U_LAST] - st.m[u + U_FIRST]
        if size > n:
            st.m[u + U_LAST] -= n
            st.m[o + Z_CACHED] -= n
        else:
            keep(st, o, u)
            drop_run(p, st, lo, o, u)
        n -= size


@jit
def trim(p, st, r):
    """Evict what has been taken since the cache was last looked at."""
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    o = st.m[ro + R_PREFIX]
    taken = st.m[o + Z_CACHED] - st.m[ro + R_FREE_BLOCKS]
    if taken > 0:
        evict(p, st, lo, o, taken)


@jit
def make_room(p, st, ro, lo, o):
    """Have an unused run, at the price of the oldest one; there is none where every run is held."""
    if st.m[o + Z_N_FREE] == 0 and st.m[o + Z_OLDEST] > 0:
        oldest = st.m[o + Z_OLDEST]
        evict(p, st, lo, o, st.m[oldest + U_LAST] - st.m[oldest + U_FIRST])
        st.m[st.pool + st.m[ro + R_POOL] * Q_SIZE + Q_RUNS_DROPPED] += 1


@jit_call
def split(p, st, lo, o, u, at):
    """Cut run u before block `at`: the rest becomes a run of its own, as old and as held as u."""
    rest = new_run(st, o, st.m[u + U_SEGMENT], at, st.m[u + U_LAST], st.m[u + U_REFS])
    add_deeper(st, rest, u)
    st.m[u + U_LAST] = at
    if st.m[u + U_REFS] == 0:
        older = st.m[u + U_OLDER]
        st.m[rest + U_OLDER] = older  # the tail goes first
        st.m[rest + U_NEWER] = u
        st.m[u + U_OLDER] = rest
        if older > 0:
            st.m[older + U_NEWER] = rest
        else:
            st.m[o + Z_OLDEST] = rest


@jit
def join(p, st, lo, o, u):
    """Run u becomes part of the one before it: the same sequences hold both."""
    st.m[st.m[u + U_SHALLOW] + U_LAST] = st.m[u + U_LAST]
    drop_run(p, st, lo, o, u)
