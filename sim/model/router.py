"""Which replica a request goes to: integer codes, one switch."""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.kv import blocks_of
from sim.model.layout import (
    G_FIRST,
    G_FIRST_POOL,
    G_LEAVES,
    G_LOAD,
    G_N_POOL,
    G_ROUTER,
    G_SIZE,
    H_CURSOR,
    H_N_READY,
    H_SIZE,
    L_BLOCK,
    L_BLOCKS,
    L_MAX_LEN,
    L_SIZE,
    LEAST_OUTSTANDING,
    P_SEED,
    POWER_OF_TWO,
    R_N_RUN,
    R_N_WAIT,
    R_POOL,
    R_SIZE,
    R_STAGE,
    RANDOM,
    ROUND_ROBIN,
    STAGE_READY,
)
from sim.model.replica import blocks_used
from sim.model.request import output_of, prompt_of
from sim.model.tree import tree_first, tree_set
from sim.rng import STREAM_ROUTE, draw_below


@jit
def fits(p, pool, i):
    """Whether request i alone fits a replica of the pool: its context and its KV blocks."""
    lo = p.pool + pool * L_SIZE
    prompt = prompt_of(p, i)
    output = output_of(p, i) if output_of(p, i) > 0 else 1
    return (
        prompt + output_of(p, i) <= p.m[lo + L_MAX_LEN]
        and blocks_of(prompt + output - 1, p.m[lo + L_BLOCK]) <= p.m[lo + L_BLOCKS]
    )


@jit
def n_fitting_pools(p, g, i):
    """In how many pools of the group request i fits."""
    go = p.group + g * G_SIZE
    n = 0
    for pool in range(p.m[go + G_FIRST_POOL], p.m[go + G_FIRST_POOL] + p.m[go + G_N_POOL]):
        if fits(p, pool, i):
            n += 1
    return n


@jit
def outstanding_of(st, r):
    """Requests waiting or running at a replica."""
    return st.m[st.rep + r * R_SIZE + R_N_WAIT] + st.m[st.rep + r * R_SIZE + R_N_RUN]


@jit_call
def next_ready(st, first, n, after):
    """The place in a group's ready list of the first replica above `after`, cyclic."""
    low = 0
    high = n
    while low < high:
        middle = (low + high) >> 1
        if st.m[st.ready + first + middle] > after:
            high = middle
        else:
            low = middle + 1
    return low if low < n else 0


@jit_call
def least_kv(p, st, first, n, t):
    """The ready replica with the smallest share of its KV blocks in use; ties to the first."""
    best = -1
    best_used = 0
    best_blocks = 1
    for j in range(n):
        r = st.m[st.ready + first + j]
        blocks = p.m[p.pool + st.m[st.rep + r * R_SIZE + R_POOL] * L_SIZE + L_BLOCKS]
        used = blocks_used(p, st, r, blocks, t)
        if best < 0 or used * best_blocks < best_used * blocks:
            best = r
            best_used = used
            best_blocks = blocks
    return best


@jit_call
def power_of_two(p, st, first, n, i):
    """The less loaded of two different ready replicas drawn at random; ties to the first drawn."""
    a = draw_below(p.m[P_SEED], STREAM_ROUTE, i, 0, n)
    if n == 1:
        return st.m[st.ready + first]
    b = draw_below(p.m[P_SEED], STREAM_ROUTE, i, 1, n - 1)
    if b >= a:
        b += 1
    ra = st.m[st.ready + first + a]
    rb = st.m[st.ready + first + b]
    return rb if outstanding_of(st, rb) < outstanding_of(st, ra) else ra


@jit
def choose_replica(p, st, g, i, t):
    """The replica for request i among the group's ready ones; there is at least one."""
    go = p.group + g * G_SIZE
    first = p.m[go + G_FIRST]
    n = st.m[st.group + g * H_SIZE + H_N_READY]
    router = p.m[go + G_ROUTER]
    if router == LEAST_OUTSTANDING:
        r = first + tree_first(st.m, st.load + p.m[go + G_LOAD], p.m[go + G_LEAVES])
    elif router == ROUND_ROBIN:
        r = st.m[st.ready + first + next_ready(st, first, n, st.m[st.group + g * H_SIZE + H_CURSOR])]
        st.m[st.group + g * H_SIZE + H_CURSOR] = r
    elif router == RANDOM:
        r = st.m[st.ready + first + draw_below(p.m[P_SEED], STREAM_ROUTE, i, 0, n)]
    elif router == POWER_OF_TWO:
        r = power_of_two(p, st, first, n, i)
    else:
        r = least_kv(p, st, first, n, t)
    return r


@jit_call
def choose_fitting(p, st, g, i, t):
    """As choose_replica for a request that fits only some of the group's pools; −1 when none of those is ready.

    The list of ready replicas is narrowed for the choice and put back: rare, so it may cost O(n).
    """
    go = p.group + g * G_SIZE
    first = p.m[go + G_FIRST]
    n = st.m[st.group + g * H_SIZE + H_N_READY]
    kept = 0
    for j in range(n):
        if fits(p, st.m[st.rep + st.m[st.ready + first + j] * R_SIZE + R_POOL], i):
            swap_in(st, first, kept, j)
            kept += 1
    r = -1
    if kept > 0:
        r = choose_among(p, st, g, i, t, first, kept)
    sort_ready(st, first, n)
    return r


@jit
def swap_in(st, first, at, j):
    """Move the j-th ready replica to place `at`, keeping the order of both parts."""
    r = st.m[st.ready + first + j]
    while j > at:
        st.m[st.ready + first + j] = st.m[st.ready + first + j - 1]
        j -= 1
    st.m[st.ready + first + at] = r


@jit
def sort_ready(st, first, n):
    """Put a ready list back in order of index (insertion sort: it is nearly sorted)."""
    for j in range(1, n):
        r = st.m[st.ready + first + j]
        q = j
        while q > 0 and st.m[st.ready + first + q - 1] > r:
            st.m[st.ready + first + q] = st.m[st.ready + first + q - 1]
            q -= 1
        st.m[st.ready + first + q] = r


@jit
def choose_among(p, st, g, i, t, first, n):
    """The switch of choose_replica over the first n of the ready list, without the load tree."""
    router = p.m[p.group + g * G_SIZE + G_ROUTER]
    if router == ROUND_ROBIN:
        r = st.m[st.ready + first + next_ready(st, first, n, st.m[st.group + g * H_SIZE + H_CURSOR])]
        st.m[st.group + g * H_SIZE + H_CURSOR] = r
    elif router == RANDOM:
        r = st.m[st.ready + first + draw_below(p.m[P_SEED], STREAM_ROUTE, i, 0, n)]
    elif router == POWER_OF_TWO:
        r = power_of_two(p, st, first, n, i)
    elif router == LEAST_OUTSTANDING:
        r = st.m[st.ready + first]
        for j in range(1, n):
            if outstanding_of(st, st.m[st.ready + first + j]) < outstanding_of(st, r):
                r = st.m[st.ready + first + j]
    else:
        r = least_kv(p, st, first, n, t)
    return r


@jit
def refresh_load(p, st, g, r):
    """Tell the load tree how many requests ready replica r holds now."""
    go = p.group + g * G_SIZE
    if p.m[go + G_ROUTER] == LEAST_OUTSTANDING and st.m[st.rep + r * R_SIZE + R_STAGE] == STAGE_READY:
        o = st.load + p.m[go + G_LOAD]
        m = p.m[go + G_LEAVES]
        leaf = r - p.m[go + G_FIRST]
        held = outstanding_of(st, r)
        if st.m[o + m + leaf] != held:
            tree_set(st.m, o, m, leaf, held)
