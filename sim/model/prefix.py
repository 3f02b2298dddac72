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
from sim.model.holders import enter_blocks, enter_prefix, has_runs, hold_own, is_new, let_go, share_path
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
    F_LEAF,
    F_PREV,
    F_PROMPT,
    F_REQUEST,
    F_RUN,
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
    Z_LEAVER,
    Z_N_FREE,
)
from sim.model.runs import deepest_run, find_run, make_room, trim
from sim.model.segments import above, first_block, leaf_of, parent_of, shared_blocks

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
    make_room(p, st, ro, lo, o)
    j = full_blocks(p, lo, st.m[so + F_PROMPT] + st.m[so + F_GENERATED] - 1)
    segment = p.m[P_N_SEGMENT] + i
    first = shared_blocks(p, lo, i)
    st.m[so + F_SHARED] = first
    st.m[so + F_LEAF] = leaf_of(p, i)
    if is_new(st, so):  # nothing of its own is there, and to see that would take a cache miss
        j = j if j < first else first
        segment = st.m[so + F_LEAF]
        first = first_block(p, lo, segment) if segment >= 0 else 0
    hit = 0
    loose = 0
    while j > 0:
        u = find_run(p, st, lo, o, segment) if first < j else 0
        if u > 0:
            if hit == 0:
                st.m[so + F_RUN] = u
            held = st.m[u + U_LAST] if st.m[u + U_REFS] > 0 else first
            while st.m[u + U_LAST] < j and st.m[u + U_DEEP] > 0:
                u = st.m[u + U_DEEP]
                held = st.m[u + U_LAST] if st.m[u + U_REFS] > 0 else held
            last = st.m[u + U_LAST] if st.m[u + U_LAST] < j else j
            hit = hit if hit > 0 else last  # the deepest segment that is there: so is all before it
            loose += last - held if last > held else 0
            if held > first:
                break  # so is all before it
        j = j if j < first else first
        segment = above(p, i, segment)
        if segment < 0:
            break
        first = first_block(p, lo, segment)
    if not has_runs(p, st, o, hit):
        return find_cut(p, st, r, i, hit)
    return (hit << HIT_BITS) | loose


@jit_call
def find_cut(p, st, r, i, hit):
    """As find_prefix, of `hit` cached blocks, where there may be too few runs to cut all that the way leaves in the
    middle, for others went on in that segment.
    """
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    o = st.m[ro + R_PREFIX]
    loose = 0
    cuts = 0
    j = hit
    segment = p.m[P_N_SEGMENT] + i
    first = shared_blocks(p, lo, i)
    while j > 0:
        if first < j:
            u = find_run(p, st, lo, o, segment)
            here = 0
            while st.m[u + U_LAST] < j:
                here += st.m[u + U_LAST] - st.m[u + U_FIRST] if st.m[u + U_REFS] == 0 else 0
                u = st.m[u + U_DEEP]
            cuts += 1 if st.m[u + U_LAST] > j else 0
            if cuts > st.m[o + Z_N_FREE]:
                st.m[st.pool + st.m[ro + R_POOL] * Q_SIZE + Q_RUNS_DROPPED] += 1
                hit = st.m[u + U_FIRST]
                loose = here
                cuts = 0
            else:
                loose += here + (j - st.m[u + U_FIRST] if st.m[u + U_REFS] == 0 else 0)
            j = first
        segment = above(p, i, segment)
        first = first_block(p, lo, segment) if segment >= 0 else 0
    return (hit << HIT_BITS) | loose


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


@jit
def take_prefix(p, st, r, s, hit):
    """An admitted sequence holds the first `hit` blocks from the cache: they count as computed.

    They are what find_prefix has just found, or fewer.
    """
    so = st.slot + s * F_SIZE
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    o = st.m[ro + R_PREFIX]
    st.m[so + F_HELD] = 0
    if hit > st.m[so + F_SHARED] or not has_runs(p, st, o, hit):
        st.m[ro + R_FREE_BLOCKS] -= (
            hit  # as if it brought its own, of which there are none: what it shares comes back
        )
        enter_prefix(p, st, r, s, hit)
    elif hit > 0:
        st.m[so + F_HELD] = hit
        share_path(p, st, ro, lo, o, st.m[so + F_RUN], hit)
    cached = hit * p.m[lo + L_BLOCK]
    st.m[so + F_COMPUTED] = cached
    if st.m[so + F_SCHEDULED_PS] < 0:
        qo = st.pool + st.m[ro + R_POOL] * Q_SIZE
        prompt = st.m[so + F_PROMPT]
        st.m[so + F_CACHED] = cached
        st.m[qo + Q_ASKED_TOKENS] += prompt
        st.m[qo + Q_CACHED_TOKENS] += cached
        if p.m[P_WARMUP_PS] <= st.m[so + F_ARRIVAL_PS] < p.m[P_DURATION_PS]:
            co = st.counts + st.m[so + F_CLASS] * C_SIZE
            st.m[co + C_ASKED_TOKENS] += prompt
            st.m[co + C_CACHED_TOKENS] += cached


@jit_call
def admit_prefix(p, st, r, s, hit, chunk):
    """An admitted sequence holds the first `hit` blocks from the cache and those of the chunk that follows them."""
    take_prefix(p, st, r, s, hit)
    hold_prompt(p, st, r, s, st.m[st.slot + s * F_SIZE + F_COMPUTED] + chunk)


@jit_call
def chunk_prefix(p, st, r, s, chunk):
    """A sequence that was admitted before holds the blocks of one more chunk."""
    hold_prompt(p, st, r, s, st.m[st.slot + s * F_SIZE + F_COMPUTED] + chunk)


@jit
def hold_prompt(p, st, r, s, tokens):
    """So many tokens of a sequence are computed or being computed: the full blocks of its prompt are in the cache."""
    so = st.slot + s * F_SIZE
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    o = st.m[ro + R_PREFIX]
    prompt = st.m[so + F_PROMPT]
    end = full_blocks(p, lo, tokens if tokens < prompt else prompt)
    if not hold_own(p, st, s, lo, o, end):
        trim(p, st, r)
        enter_prefix(p, st, r, s, end)


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
    end = full_blocks(p, lo, tokens)
    if not hold_own(p, st, s, lo, o, end):
        enter_blocks(p, st, r, s, end)  # not a call: this is where a device's stack is deepest
    j = st.m[so + F_HELD]
    st.m[ro + R_FREE_BLOCKS] += blocks_of(p, lo, tokens) - j
    st.m[so + F_HELD] = 0
    if j > st.m[so + F_SHARED]:
        segment = p.m[P_N_SEGMENT] + st.m[so + F_REQUEST]
        u = st.m[so + F_RUN]
        if st.m[u + U_SEGMENT] != segment or st.m[u + U_SHALLOW] > 0:
            u = find_run(p, st, lo, o, segment)
        let_go(p, st, ro, lo, o, u, j)
        j = st.m[so + F_SHARED]
    segment = st.m[so + F_LEAF]
    while j > 0:
        first = first_block(p, lo, segment)
        if first < j:
            let_go(p, st, ro, lo, o, find_run(p, st, lo, o, segment), j)
            j = first
        segment = parent_of(p, segment)
