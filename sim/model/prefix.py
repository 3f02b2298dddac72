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
    F_CACHED,
    F_CLASS,
    F_COMPUTED,
    F_GENERATED,
    F_HELD,
    F_PREV,
    F_PROMPT,
    F_REQUEST,
    F_SCHEDULED_PS,
    F_SIZE,
    L_BLOCK,
    L_SIZE,
    P_DURATION_PS,
    P_N_SEGMENT,
    P_SEGMENT,
    P_WARMUP_PS,
    Q_ASKED_TOKENS,
    Q_CACHED_TOKENS,
    Q_SIZE,
    R_FREE_BLOCKS,
    R_POOL,
    R_PREFIX,
    R_SIZE,
    SEG_PARENT,
    SEG_SIZE,
    U_DEEP,
    U_FIRST,
    U_LAST,
    U_REFS,
    U_SHALLOW,
    Z_LEAVER,
    Z_N_FREE,
)
from sim.model.runs import (
    deepest_run,
    drop_run,
    find_run,
    give_up,
    join,
    keep,
    make_room,
    new_run,
    split,
    trim,
)
from sim.model.segments import (
    leaf_of,
    segment_at,
    segment_end,
    segment_first,
    shared_blocks,
)

HIT_BITS = 31
HIT_MASK = (1 << HIT_BITS) - 1


@jit_call
def find_prefix(p, st, r, s):
    """Leading blocks of a waiting sequence that are cached, and how many of them nobody holds: hit << 31 | loose.

    At least the last token is computed, so that there is something to answer from.
    """
    ro = st.rep + r * R_SIZE
    so = st.slot + s * F_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    o = st.m[ro + R_PREFIX]
    trim(p, st, r)
    make_room(p, st, r)
    hit = cached_blocks(p, st, r, st.m[so + F_REQUEST], st.m[so + F_PROMPT] + st.m[so + F_GENERATED])
    j = hit
    loose = 0
    cuts = 0
    while j > 0:
        u = find_run(p, st, lo, o, segment_at(p, lo, st.m[so + F_REQUEST], j - 1))
        while st.m[u + U_LAST] < j:
            u = st.m[u + U_DEEP]
        if st.m[u + U_LAST] > j:
            cuts += 1  # others went on in this segment where the request leaves it
        if cuts > st.m[o + Z_N_FREE]:
            hit = st.m[u + U_FIRST]  # no run is left to cut this one in two
            loose = 0
            cuts = 0
        elif st.m[u + U_REFS] == 0:
            loose += j - st.m[u + U_FIRST]
        j = st.m[u + U_FIRST]
    return (hit << HIT_BITS) | loose


@jit
def cached_blocks(p, st, r, i, tokens):
    """Leading blocks of request i that replica r has, of `tokens` but the last. Where a segment is, all before is."""
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    o = st.m[ro + R_PREFIX]
    most = full_blocks(p, lo, tokens - 1)
    u = deepest_run(p, st, lo, o, p.m[P_N_SEGMENT] + i)
    if u > 0:
        return min(most, st.m[u + U_LAST])
    most = min(most, shared_blocks(p, lo, i))
    segment = leaf_of(p, i)
    while segment >= 0:
        u = deepest_run(p, st, lo, o, segment)
        if u > 0:
            return min(most, st.m[u + U_LAST])
        most = min(most, segment_first(p, lo, i, segment))
        segment = p.trace[p.m[P_SEGMENT] + segment * SEG_SIZE + SEG_PARENT]
    return 0


@jit_call
def take_prefix(p, st, r, s, hit):
    """An admitted sequence holds the first `hit` blocks from the cache: they count as computed."""
    so = st.slot + s * F_SIZE
    ro = st.rep + r * R_SIZE
    block = p.m[p.pool + st.m[ro + R_POOL] * L_SIZE + L_BLOCK]
    st.m[so + F_HELD] = 0
    st.m[ro + R_FREE_BLOCKS] -= (
        hit  # as if it brought its own, of which there are none: what it shares comes back
    )
    enter_prefix(p, st, r, s, hit)
    st.m[so + F_COMPUTED] = hit * block
    if st.m[so + F_SCHEDULED_PS] < 0:
        pool = st.m[ro + R_POOL]
        st.m[so + F_CACHED] = hit * block
        st.m[st.pool + pool * Q_SIZE + Q_ASKED_TOKENS] += st.m[so + F_PROMPT]
        st.m[st.pool + pool * Q_SIZE + Q_CACHED_TOKENS] += hit * block
        if p.m[P_WARMUP_PS] <= st.m[so + F_ARRIVAL_PS] < p.m[P_DURATION_PS]:
            co = st.counts + st.m[so + F_CLASS] * C_SIZE
            st.m[co + C_ASKED_TOKENS] += st.m[so + F_PROMPT]
            st.m[co + C_CACHED_TOKENS] += hit * block


@jit_call
def hold_prompt(p, st, r, s, tokens):
    """So many tokens of a sequence are computed or being computed: the full blocks of its prompt are in the cache."""
    so = st.slot + s * F_SIZE
    lo = p.pool + st.m[st.rep + r * R_SIZE + R_POOL] * L_SIZE
    trim(p, st, r)
    enter_prefix(p, st, r, s, full_blocks(p, lo, min(tokens, st.m[so + F_PROMPT])))


@jit
def enter_prefix(p, st, r, s, end):
    """A sequence that has its blocks up to `end` holds them in the cache; copies of what is there are given back."""
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    so = st.slot + s * F_SIZE
    i = st.m[so + F_REQUEST]
    o = st.m[ro + R_PREFIX]
    j = st.m[so + F_HELD]
    while j < end:
        make_room(p, st, r)
        segment = segment_at(p, lo, i, j)
        upto = min(end, segment_end(p, lo, i, j))
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
            j = share_run(p, st, r, u)
        elif last > 0 and st.m[last + U_LAST] == j and st.m[last + U_REFS] == 1:
            st.m[last + U_LAST] = upto  # its own run grows
            j = upto
        elif st.m[o + Z_N_FREE] == 0:
            break
        else:
            u = new_run(p, st, lo, o, segment, last)
            st.m[u + U_FIRST] = j
            st.m[u + U_LAST] = upto
            st.m[u + U_REFS] = 1
            j = upto
    st.m[so + F_HELD] = j


@jit
def share_run(p, st, r, u):
    """One more sequence holds run u, whose own copy of these blocks is free; returns where the run ends."""
    ro = st.rep + r * R_SIZE
    o = st.m[ro + R_PREFIX]
    end = st.m[u + U_LAST]
    if st.m[u + U_REFS] == 0:
        keep(st, o, u)  # one free block less, one more
    else:
        st.m[ro + R_FREE_BLOCKS] += end - st.m[u + U_FIRST]
    st.m[u + U_REFS] += 1
    join(p, st, p.pool + st.m[ro + R_POOL] * L_SIZE, o, u)
    return end


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
    enter_prefix(p, st, r, s, full_blocks(p, lo, tokens))
    j = st.m[so + F_HELD]
    st.m[ro + R_FREE_BLOCKS] += blocks_of(p, lo, tokens) - j
    st.m[so + F_HELD] = 0
    while j > 0:
        segment = segment_at(p, lo, st.m[so + F_REQUEST], j - 1)
        u = find_run(p, st, lo, o, segment)
        while st.m[u + U_LAST] < j:
            u = st.m[u + U_DEEP]
        j = segment_first(p, lo, st.m[so + F_REQUEST], segment)
        let_go(p, st, r, u)


@jit
def let_go(p, st, r, u):
    """One sequence less holds run u and those of its segment before it; what nobody holds is given up as one run."""
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    o = st.m[ro + R_PREFIX]
    given = 0  # the run behind u, given up just now
    while u > 0:
        shallow = st.m[u + U_SHALLOW]
        deep = st.m[u + U_DEEP]
        st.m[u + U_REFS] -= 1
        if st.m[u + U_REFS] == 0:
            st.m[ro + R_FREE_BLOCKS] += st.m[u + U_LAST] - st.m[u + U_FIRST]
            if given > 0:
                keep(st, o, given)
                st.m[u + U_LAST] = st.m[given + U_LAST]
                drop_run(p, st, lo, o, given)
            give_up(st, o, u)
            given = u
        elif deep > 0 and st.m[deep + U_REFS] == st.m[u + U_REFS]:
            join(p, st, lo, o, deep)
        u = shallow
