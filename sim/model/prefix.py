"""A replica's prefix cache: which leading blocks of a prompt are there already, and which cached blocks give way.

A prompt is a path through a tree of segments (system prompt, tenant, session …), then tokens of its own: a segment
like any other, with the request for its name. A full KV block is known by its place in the sequence and by the
segment of its last token; two sequences share it when both are the same. A block is in the cache from the moment its
prompt tokens are scheduled; answers enter when their sequence leaves. A block that is there twice is kept once.

Blocks of a segment in the same state are one run: held by so many sequences, or by nobody since some instant. Whoever
holds a block holds all blocks before it, so along a path the numbers of holders fall, and blocks held by nobody lie
at its end, the deepest the longest: the cache is a tree that is eaten from its leaves. Blocks held by nobody are free
blocks to everybody else (R_FREE_BLOCKS counts them). Empty ones are taken first, then the run that was given up
longest ago, from its tail. What a jump takes is evicted when the cache is looked at next: until then nobody can tell.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.kv import blocks_of, full_blocks
from sim.model.layout import (
    C_ASKED_TOKENS,
    C_CACHED_TOKENS,
    C_SIZE,
    F_ARRIVAL_PS,
    F_ATTEMPT,
    F_ATTEMPTS,
    F_CACHED,
    F_CLASS,
    F_COMPUTED,
    F_GENERATED,
    F_HELD,
    F_LEAF,
    F_OWN_RUN,
    F_PREEMPTIONS,
    F_PREV,
    F_PROMPT,
    F_REQUEST,
    F_SCHEDULED_PS,
    F_SHARED,
    F_SIZE,
    L_BLOCK,
    L_SIZE,
    P_DURATION_PS,
    P_N_SEGMENT,
    P_WARMUP_PS,
    Q_ASKED_TOKENS,
    Q_CACHED_TOKENS,
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
    Z_LEAVER,
    Z_N_FREE,
)
from sim.model.runs import (
    begin_run,
    deepest_run,
    find_run,
    give_up,
    join,
    keep,
    make_room,
    split,
    trim,
)
from sim.model.segments import ENDLESS, above, first_block, leaf_of, parent_of, shared_blocks

HIT_BITS = 31
HIT_MASK = (1 << HIT_BITS) - 1


@jit_call
def find_prefix(p, st, r, s):
    """Leading blocks of a waiting sequence that are cached, and how many of them nobody holds: hit << 31 | loose.

    At least the last token is computed, so that there is something to answer from.
    """
    so = st.slot + s * F_SIZE
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    o = st.m[ro + R_PREFIX]
    i = st.m[so + F_REQUEST]
    trim(p, st, r)
    make_room(p, st, r)
    hit = 0
    held = ENDLESS  # up to where somebody holds the blocks
    cuts = 0
    j = full_blocks(p, lo, st.m[so + F_PROMPT] + st.m[so + F_GENERATED] - 1)
    segment = p.m[P_N_SEGMENT] + i
    first = shared_blocks(p, lo, i)
    if is_new(st, so):  # what is its own is not there
        j = min(j, first)
        segment = leaf_of(p, i)
        first = first_block(p, lo, segment) if segment >= 0 else 0
    while j > 0:
        u = find_run(p, st, lo, o, segment) if first < j else 0
        if u > 0:
            while st.m[u + U_LAST] < j and st.m[u + U_DEEP] > 0:
                if st.m[u + U_REFS] == 0:
                    held = min(held, st.m[u + U_FIRST])
                u = st.m[u + U_DEEP]
            if st.m[u + U_REFS] == 0:
                held = min(held, st.m[u + U_FIRST])
            if hit == 0:
                hit = min(j, st.m[u + U_LAST])  # the deepest segment that is there: so is all before it
            if st.m[u + U_LAST] > j:
                cuts += 1  # others went on in this segment where the request leaves it
            if cuts > st.m[o + Z_N_FREE]:
                hit = st.m[u + U_FIRST]  # no run is left to cut this one in two
                cuts = 0
            if held > first and cuts + first <= st.m[o + Z_N_FREE]:
                break  # what lies before is held as well, and there are runs enough to cut all of it
        j = min(j, first)
        segment = above(p, i, segment)
        if segment < 0:
            break
        first = first_block(p, lo, segment)
    return (hit << HIT_BITS) | (hit - min(hit, held))


@jit
def is_new(st, so):
    """Whether a sequence has never been in a batch, nor another attempt at its request: nobody has what is its own."""
    return st.m[so + F_ATTEMPTS] <= 1 and st.m[so + F_PREEMPTIONS] == 0


@jit
def cached_blocks(p, st, r, i, tokens):
    """Leading blocks of request i that replica r has, of `tokens` but the last. Where a segment is, all before is."""
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    o = st.m[ro + R_PREFIX]
    most = full_blocks(p, lo, tokens - 1)
    segment = p.m[P_N_SEGMENT] + i
    first = shared_blocks(p, lo, i)
    while segment >= 0:
        u = deepest_run(p, st, lo, o, segment)
        if u > 0:
            return min(most, st.m[u + U_LAST])
        most = min(most, first)
        segment = above(p, i, segment)
        if segment >= 0:
            first = first_block(p, lo, segment)
    return 0


@jit_call
def take_prefix(p, st, r, s, hit):
    """An admitted sequence holds the first `hit` blocks from the cache: they count as computed."""
    so = st.slot + s * F_SIZE
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    cached = hit * p.m[lo + L_BLOCK]
    st.m[so + F_HELD] = 0
    st.m[so + F_LEAF] = leaf_of(p, st.m[so + F_REQUEST])
    st.m[so + F_SHARED] = shared_blocks(p, lo, st.m[so + F_REQUEST])
    st.m[ro + R_FREE_BLOCKS] -= (
        hit  # as if it brought its own, of which there are none: what it shares comes back
    )
    if hit > 0:
        enter_prefix(p, st, r, s, hit)
    st.m[so + F_COMPUTED] = cached
    if st.m[so + F_SCHEDULED_PS] < 0:
        qo = st.pool + st.m[ro + R_POOL] * Q_SIZE
        st.m[so + F_CACHED] = cached
        st.m[qo + Q_ASKED_TOKENS] += st.m[so + F_PROMPT]
        st.m[qo + Q_CACHED_TOKENS] += cached
        if p.m[P_WARMUP_PS] <= st.m[so + F_ARRIVAL_PS] < p.m[P_DURATION_PS]:
            co = st.counts + st.m[so + F_CLASS] * C_SIZE
            st.m[co + C_ASKED_TOKENS] += st.m[so + F_PROMPT]
            st.m[co + C_CACHED_TOKENS] += cached


@jit_call
def hold_prompt(p, st, r, s, tokens):
    """So many tokens of a sequence are computed or being computed: the full blocks of its prompt are in the cache."""
    so = st.slot + s * F_SIZE
    lo = p.pool + st.m[st.rep + r * R_SIZE + R_POOL] * L_SIZE
    trim(p, st, r)
    hold_blocks(p, st, r, s, full_blocks(p, lo, min(tokens, st.m[so + F_PROMPT])))


@jit
def hold_blocks(p, st, r, s, end):
    """As enter_prefix, without a look at the rest of the cache where a sequence alone has what is its own."""
    so = st.slot + s * F_SIZE
    ro = st.rep + r * R_SIZE
    o = st.m[ro + R_PREFIX]
    j = st.m[so + F_HELD]
    if j >= end:
        return
    if j >= st.m[so + F_SHARED] and st.m[o + Z_N_FREE] > 0:
        segment = p.m[P_N_SEGMENT] + st.m[so + F_REQUEST]
        if j > st.m[so + F_SHARED]:
            u = st.m[so + F_OWN_RUN]
            if (
                st.m[u + U_SEGMENT] == segment
                and st.m[u + U_LAST] == j
                and st.m[u + U_REFS] == 1
                and st.m[u + U_DEEP] == 0
            ):
                st.m[u + U_LAST] = end
                st.m[so + F_HELD] = end
                return
        elif is_new(st, so):
            lo = p.pool + st.m[ro + R_POOL] * L_SIZE
            st.m[so + F_OWN_RUN] = begin_run(p, st, lo, o, segment, 0, j, end)
            st.m[so + F_HELD] = end
            return
    enter_prefix(p, st, r, s, end)


@jit_call
def enter_prefix(p, st, r, s, end):
    """A sequence that has its blocks up to `end` holds them in the cache; copies of what is there are given back."""
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    so = st.slot + s * F_SIZE
    o = st.m[ro + R_PREFIX]
    j = st.m[so + F_HELD]
    while j < end:
        segment = p.m[P_N_SEGMENT] + st.m[so + F_REQUEST]
        upto = end
        if j < st.m[so + F_SHARED]:
            segment = st.m[so + F_LEAF]
            upto = min(end, st.m[so + F_SHARED])
            first = first_block(p, lo, segment)
            while first > j:
                upto = min(upto, first)
                segment = parent_of(p, segment)
                first = first_block(p, lo, segment)
        make_room(p, st, r)
        last = 0
        u = find_run(p, st, lo, o, segment)
        while u > 0 and st.m[u + U_LAST] <= j:
            last = u
            u = st.m[u + U_DEEP]
        if u > 0:
            while u > 0 and j < upto:
                if st.m[u + U_LAST] > upto:
                    if st.m[o + Z_N_FREE] == 0:
                        st.m[so + F_HELD] = j
                        return
                    split(p, st, lo, o, u, upto)
                deep = st.m[u + U_DEEP]
                j = st.m[u + U_LAST]
                last = share_run(p, st, r, u)
                # where no run is left, room is made first: that may evict the next one
                u = deep if st.m[o + Z_N_FREE] > 0 else 0
        elif last > 0 and st.m[last + U_LAST] == j and st.m[last + U_REFS] == 1:
            st.m[last + U_LAST] = upto  # its own run grows
            j = upto
        elif st.m[o + Z_N_FREE] == 0:
            break
        else:
            last = begin_run(p, st, lo, o, segment, last, j, upto)
            j = upto
        st.m[so + F_OWN_RUN] = last
    st.m[so + F_HELD] = j


@jit
def share_run(p, st, r, u):
    """One more sequence holds run u, whose own copy of these blocks is free; returns the run that they are in then."""
    ro = st.rep + r * R_SIZE
    o = st.m[ro + R_PREFIX]
    refs = st.m[u + U_REFS]
    if refs == 0:
        keep(st, o, u)  # one free block less, one more
    else:
        st.m[ro + R_FREE_BLOCKS] += st.m[u + U_LAST] - st.m[u + U_FIRST]
    st.m[u + U_REFS] = refs + 1
    shallow = st.m[u + U_SHALLOW]
    if shallow > 0 and st.m[shallow + U_REFS] == refs + 1:
        join(p, st, p.pool + st.m[ro + R_POOL] * L_SIZE, o, u)
        return shallow
    return u


@jit_call
def will_leave(p, st, r, s, tokens):
    """A sequence has left at this boundary: it leaves the cache when all are known that do, in their order."""
    at = st.m[st.rep + r * R_SIZE + R_PREFIX] + Z_LEAVER
    so = st.slot + s * F_SIZE
    while st.m[at] > 0:
        other = st.slot + (st.m[at] - 1) * F_SIZE
        if st.m[other + F_REQUEST] > st.m[so + F_REQUEST]:
            break
        if st.m[other + F_REQUEST] == st.m[so + F_REQUEST] and st.m[other + F_ATTEMPT] > st.m[so + F_ATTEMPT]:
            break
        at = other + F_PREV
    st.m[so + F_PREV] = st.m[at]
    st.m[at] = s + 1
    st.m[so + F_COMPUTED] = tokens


@jit_call
def leave_finished(p, st, r):
    """All that left at this boundary leave the cache; nobody has taken their slots yet."""
    at = st.m[st.rep + r * R_SIZE + R_PREFIX] + Z_LEAVER
    while st.m[at] > 0:
        s = st.m[at] - 1
        st.m[at] = st.m[st.slot + s * F_SIZE + F_PREV]
        leave_prefix(p, st, r, s, st.m[st.slot + s * F_SIZE + F_COMPUTED])


@jit
def leave_prefix(p, st, r, s, tokens):
    """A sequence with `tokens` computed or being computed leaves: its full blocks stay cached, held by one less."""
    ro = st.rep + r * R_SIZE
    so = st.slot + s * F_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    o = st.m[ro + R_PREFIX]
    trim(p, st, r)
    hold_blocks(p, st, r, s, full_blocks(p, lo, tokens))
    j = st.m[so + F_HELD]
    st.m[ro + R_FREE_BLOCKS] += blocks_of(p, lo, tokens) - j
    st.m[so + F_HELD] = 0
    if j > st.m[so + F_SHARED]:
        segment = p.m[P_N_SEGMENT] + st.m[so + F_REQUEST]
        u = st.m[so + F_OWN_RUN]
        if st.m[u + U_SEGMENT] != segment or st.m[u + U_SHALLOW] > 0:
            u = find_run(p, st, lo, o, segment)
        let_go(p, st, r, u, j)
        j = st.m[so + F_SHARED]
    segment = st.m[so + F_LEAF]
    while j > 0:
        first = first_block(p, lo, segment)
        if first < j:
            let_go(p, st, r, find_run(p, st, lo, o, segment), j)
            j = first
        segment = parent_of(p, segment)


@jit
def let_go(p, st, r, u, end):
    """One sequence less holds the blocks before `end` in the segment whose first run is u.

    Others hold what lies before its last run: fewer and fewer from run to run, or they would be one.
    """
    ro = st.rep + r * R_SIZE
    o = st.m[ro + R_PREFIX]
    while st.m[u + U_LAST] < end:
        st.m[u + U_REFS] -= 1
        u = st.m[u + U_DEEP]
    refs = st.m[u + U_REFS] - 1
    st.m[u + U_REFS] = refs
    deep = st.m[u + U_DEEP]
    if refs == 0:
        st.m[ro + R_FREE_BLOCKS] += st.m[u + U_LAST] - st.m[u + U_FIRST]
        give_up(st, o, u)
    elif deep > 0 and st.m[deep + U_REFS] == refs:
        join(p, st, p.pool + st.m[ro + R_POOL] * L_SIZE, o, deep)
