"""Which running sequences hold which runs of a replica's prefix cache: they take hold of them and let go.

A sequence that has never been in a batch, alone in its request, has what is its own to itself: it remembers the run
(F_RUN), and nobody can find it. Most runs are such, and never touch the hash table, which is too large for the
processor's caches. Only when another attempt at the request may look for them are they listed there (`list_own`).
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.layout import (
    F_ATTEMPTS,
    F_GHOST,
    F_HELD,
    F_LEAF,
    F_PREEMPTIONS,
    F_REPLICA,
    F_REQUEST,
    F_RUN,
    F_SHARED,
    F_SIZE,
    GHOST_NOT,
    L_SIZE,
    P_N_SEGMENT,
    Q_RUNS_DROPPED,
    Q_SIZE,
    R_FREE_BLOCKS,
    R_POOL,
    R_PREFIX,
    R_SIZE,
    U_DEEP,
    U_FIRST,
    U_LAST,
    U_REFS,
    U_SEGMENT,
    U_SHALLOW,
    Z_N_FREE,
)
from sim.model.runs import (
    begin_run,
    find_run,
    give_up,
    is_listed,
    join,
    keep,
    list_run,
    make_room,
    new_run,
    split,
)
from sim.model.segments import first_block, parent_of


@jit
def is_new(st, so):
    """Whether a sequence has never been in a batch, nor another attempt at its request: nobody has what is its own."""
    return st.m[so + F_ATTEMPTS] <= 1 and st.m[so + F_PREEMPTIONS] == 0


@jit
def has_runs(p, st, o, hit):
    """Whether unused runs are left, however many runs a way of so many blocks leaves in the middle: one a segment."""
    return st.m[o + Z_N_FREE] > hit or st.m[o + Z_N_FREE] > p.m[P_N_SEGMENT] + 1


@jit
def hold_own(p, st, s, lo, o, end):
    """As enter_blocks, without a look at the rest of the cache; False where a sequence does not alone have what is its
    own, or is not there yet.
    """
    so = st.slot + s * F_SIZE
    j = st.m[so + F_HELD]
    if j >= end:
        return True
    shared = st.m[so + F_SHARED]
    if j >= shared and st.m[o + Z_N_FREE] > 0:
        segment = p.m[P_N_SEGMENT] + st.m[so + F_REQUEST]
        if j > shared:
            u = st.m[so + F_RUN]
            if (
                st.m[u + U_SEGMENT] == segment
                and st.m[u + U_LAST] == j
                and st.m[u + U_REFS] == 1
                and st.m[u + U_DEEP] == 0
            ):
                st.m[u + U_LAST] = end
                st.m[so + F_HELD] = end
                return True
        elif is_new(st, so) and st.m[so + F_GHOST] == GHOST_NOT:  # a ghost's request may have gone on already
            st.m[so + F_RUN] = new_run(st, o, segment, j, end, 1)
            st.m[so + F_HELD] = end
            return True
    return False


@jit_call
def list_own(p, st, s):
    """What is a sequence's own was for nobody else; from now on its request has, or may have, more than this attempt."""
    so = st.slot + s * F_SIZE
    u = st.m[so + F_RUN]
    if u > 0 and st.m[u + U_SEGMENT] == p.m[P_N_SEGMENT] + st.m[so + F_REQUEST] and not is_listed(st, u):
        ro = st.rep + st.m[so + F_REPLICA] * R_SIZE
        list_run(p, st, p.pool + st.m[ro + R_POOL] * L_SIZE, st.m[ro + R_PREFIX], u)


@jit_call
def enter_prefix(p, st, r, s, end):
    """As enter_blocks, a call of its own."""
    enter_blocks(p, st, r, s, end)


@jit
def enter_blocks(p, st, r, s, end):
    """A sequence that has its blocks up to `end` holds them in the cache; copies of what is there are given back."""
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    so = st.slot + s * F_SIZE
    o = st.m[ro + R_PREFIX]
    list_own(p, st, s)
    j = st.m[so + F_HELD]
    while j < end:
        segment = p.m[P_N_SEGMENT] + st.m[so + F_REQUEST]
        upto = end
        if j < st.m[so + F_SHARED]:
            upto = end if end < st.m[so + F_SHARED] else st.m[so + F_SHARED]
            segment = st.m[so + F_LEAF]
            first = first_block(p, lo, segment)
            while first > j:
                upto = first if first < upto else upto
                segment = parent_of(p, segment)
                first = first_block(p, lo, segment)
        make_room(p, st, ro, lo, o)
        last = 0
        u = find_run(p, st, lo, o, segment)
        while u > 0 and st.m[u + U_LAST] <= j:
            last = u
            u = st.m[u + U_DEEP]
        if u > 0:
            if st.m[u + U_LAST] > upto:
                if st.m[o + Z_N_FREE] == 0:
                    break
                split(p, st, lo, o, u, upto)
            j = st.m[u + U_LAST]
            if st.m[u + U_REFS] > 0:
                st.m[ro + R_FREE_BLOCKS] += j - st.m[u + U_FIRST]
            last = share_run(p, st, lo, o, u)
        elif last > 0 and st.m[last + U_LAST] == j and st.m[last + U_REFS] == 1:
            st.m[last + U_LAST] = upto  # its own run grows
            j = upto
        elif st.m[o + Z_N_FREE] == 0:
            break
        else:
            last = begin_run(p, st, lo, o, segment, last, j, upto)
            j = upto
        st.m[so + F_RUN] = last
    if j < end:  # every run is held: what is left stays uncached
        st.m[st.pool + st.m[ro + R_POOL] * Q_SIZE + Q_RUNS_DROPPED] += 1
    st.m[so + F_HELD] = j


@jit
def share_path(p, st, ro, lo, o, u, end):
    """One more sequence holds the blocks before `end`, all of them cached, where runs are left however many are cut.

    The last of them are of the segment whose first run is u.
    """
    while True:
        first = st.m[u + U_FIRST]
        segment = st.m[u + U_SEGMENT]
        while st.m[u + U_LAST] < end:
            deep = st.m[u + U_DEEP]
            share_cached(p, st, ro, lo, o, u)
            u = deep
        if st.m[u + U_LAST] > end:
            split(p, st, lo, o, u, end)
        share_cached(p, st, ro, lo, o, u)
        if first == 0:
            break
        end = first
        segment = parent_of(p, segment)
        while first_block(p, lo, segment) >= end:
            segment = parent_of(p, segment)
        u = find_run(p, st, lo, o, segment)


@jit
def share_cached(p, st, ro, lo, o, u):
    """One more sequence holds run u without blocks of its own to bring: they are taken where nobody held them."""
    if st.m[u + U_REFS] == 0:
        st.m[ro + R_FREE_BLOCKS] -= st.m[u + U_LAST] - st.m[u + U_FIRST]
    share_run(p, st, lo, o, u)


@jit
def share_run(p, st, lo, o, u):
    """One more sequence holds run u; returns the run that its blocks are in then."""
    refs = st.m[u + U_REFS]
    shallow = st.m[u + U_SHALLOW]
    st.m[u + U_REFS] = refs + 1
    if refs == 0:
        keep(st, o, u)
    if shallow > 0 and st.m[shallow + U_REFS] == refs + 1:
        join(p, st, lo, o, u)
        return shallow
    return u


@jit
def let_go(p, st, ro, lo, o, u, end):
    """One sequence less holds the blocks before `end` in the segment whose first run is u.

    Others hold what lies before its last run: fewer and fewer from run to run, or they would be one.
    """
    while st.m[u + U_LAST] < end:
        st.m[u + U_REFS] -= 1
        u = st.m[u + U_DEEP]
    refs = st.m[u + U_REFS] - 1
    st.m[u + U_REFS] = refs
    deep = st.m[u + U_DEEP]
    if refs == 0:
        size = st.m[u + U_LAST] - st.m[u + U_FIRST]
        st.m[ro + R_FREE_BLOCKS] += size
        give_up(st, o, u, size)
    elif deep > 0 and st.m[deep + U_REFS] == refs:
        join(p, st, lo, o, deep)
