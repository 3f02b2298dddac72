"""Which replica a request goes to: integer codes, one switch."""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.affinity import consistent_hash, session_affinity
from sim.model.kv import blocks_of
from sim.model.layout import (
    CONSISTENT_HASH,
    G_FIRST,
    G_FIRST_POOL,
    G_LEAVES,
    G_LOAD,
    G_N_POOL,
    G_ROUTER,
    G_SIZE,
    G_SPILL_MILLI,
    G_TREE,
    H_CURSOR,
    H_N_READY,
    H_SIZE,
    K_GROUP,
    K_N_POOL,
    K_ORDERED,
    K_POOLS,
    K_SIZE,
    L_BLOCKS,
    L_FIRST,
    L_GROUP,
    L_MAX_LEN,
    L_SIZE,
    LEAST_OUTSTANDING,
    P_ALL_FIT,
    P_SEED,
    PLACE_BITS,
    PLACES_MAX,
    POWER_OF_TWO,
    PREFIX_AWARE,
    Q_N_READY,
    Q_SIZE,
    R_POOL,
    R_SIZE,
    R_STAGE,
    RANDOM,
    ROUND_ROBIN,
    SESSION_AFFINITY,
    STAGE_READY,
    WEIGHTED_SCORE,
)
from sim.model.load import (
    first_looked_at,
    least_outstanding,
    next_looked_at,
    outstanding_of,
    place_above,
    total_outstanding,
)
from sim.model.prefix_aware import prefix_aware
from sim.model.replica import blocks_used
from sim.model.request import class_of, output_of, prompt_of
from sim.model.score import weighted_score
from sim.model.tree import tree_first_key, tree_next, tree_set
from sim.rng import STREAM_ROUTE, draw_below
from sim.units import NEVER


@jit
def fits(p, pool, i):
    """Whether request i alone fits a replica of the pool: its context and its KV blocks."""
    lo = p.pool + pool * L_SIZE
    prompt = prompt_of(p, i)
    output = output_of(p, i) if output_of(p, i) > 0 else 1
    return (
        prompt + output_of(p, i) <= p.m[lo + L_MAX_LEN]
        and blocks_of(p, lo, prompt + output - 1) <= p.m[lo + L_BLOCKS]
    )


@jit
def n_fitting_pools(p, g, i):
    """In how many pools of the group that may serve it request i fits."""
    if is_choosy(p, g, i):
        return n_listed_pools(p, i)
    go = p.group + g * G_SIZE
    if p.m[P_ALL_FIT] == 1:
        return p.m[go + G_N_POOL]
    n = 0
    for pool in range(p.m[go + G_FIRST_POOL], p.m[go + G_FIRST_POOL] + p.m[go + G_N_POOL]):
        if fits(p, pool, i):
            n += 1
    return n


@jit
def is_choosy(p, g, i):
    """Whether not every pool of group g may serve request i, or not all alike: never in a group it falls back to."""
    ko = p.klass + class_of(p, i) * K_SIZE
    return p.m[ko + K_N_POOL] > 0 and p.m[ko + K_GROUP] == g


@jit_call
def n_listed_pools(p, i):
    """In how many pools of its class's list request i fits."""
    ko = p.klass + class_of(p, i) * K_SIZE
    n = 0
    for j in range(p.m[ko + K_POOLS], p.m[ko + K_POOLS] + p.m[ko + K_N_POOL]):
        if fits(p, p.m[j], i):
            n += 1
    return n


@jit
def may_serve(p, pool, i):
    """Whether request i fits a pool that may serve it."""
    ko = p.klass + class_of(p, i) * K_SIZE
    listed = not is_choosy(p, p.m[p.pool + pool * L_SIZE + L_GROUP], i)
    for j in range(p.m[ko + K_POOLS], p.m[ko + K_POOLS] + p.m[ko + K_N_POOL]):
        if p.m[j] == pool:
            listed = True
    return listed and fits(p, pool, i)


@jit
def next_ready(st, at, n, after):
    """The place in a list of ready replicas of the first one above `after`, cyclic."""
    j = place_above(st, at, n, after)
    return j if j < n else 0


@jit_call
def least_kv(p, st, i, attempt, at, n, t):
    """The replica of a list with the smallest share of its KV blocks in use."""
    best = -1
    best_used = 0
    best_blocks = 1
    j = at + first_looked_at(p, i, attempt, n)
    for _ in range(n):
        r = st.m[j]
        j = next_looked_at(j, at, n)
        blocks = p.m[p.pool + st.m[st.rep + r * R_SIZE + R_POOL] * L_SIZE + L_BLOCKS]
        used = blocks_used(p, st, r, blocks, t)
        if best < 0 or used * best_blocks < best_used * blocks:
            best = r
            best_used = used
            best_blocks = blocks
    return best


@jit_call
def power_of_two(p, st, at, n, i, attempt):
    """The less loaded of two different replicas of a list drawn at random; ties to the first drawn."""
    a = draw_below(p.m[P_SEED], STREAM_ROUTE, i, 2 * attempt, n)
    if n == 1:
        return st.m[at]
    b = draw_below(p.m[P_SEED], STREAM_ROUTE, i, 2 * attempt + 1, n - 1)
    if b >= a:
        b += 1
    ra = st.m[at + a]
    rb = st.m[at + b]
    return rb if outstanding_of(st, rb) < outstanding_of(st, ra) else ra


@jit
def choose_replica(p, st, g, i, attempt, t):
    """The replica for request i among the group's ready ones, of which there is at least one; `attempt` counts from 0."""
    go = p.group + g * G_SIZE
    if p.m[go + G_ROUTER] == LEAST_OUTSTANDING:
        return p.m[go + G_FIRST] + least_loaded(p, st, g, i, attempt)
    return choose_among(
        p, st, g, i, attempt, t, st.ready + p.m[go + G_FIRST], st.m[st.group + g * H_SIZE + H_N_READY]
    )


@jit
def least_loaded(p, st, g, i, attempt):
    """The place in its group of the ready replica that holds the fewest requests, as `least_outstanding` of the list of all
    would find it, by the load tree.
    """
    go = p.group + g * G_SIZE
    o = st.load + p.m[go + G_LOAD]
    least = tree_first_key(st.m, o)
    place = least & PLACES_MAX
    more = least - place + PLACES_MAX + 1  # keys of replicas that hold more are no less
    if tree_next(st.m, o, p.m[go + G_LEAVES], place + 1, more) < 0:
        return place
    return one_of_equals(p, st, g, i, attempt, more)


@jit_call
def one_of_equals(p, st, g, i, attempt, more):
    """The place of the first replica with a key below `more`, from the one on at which the router begins to look."""
    go = p.group + g * G_SIZE
    o = st.load + p.m[go + G_LOAD]
    first = p.m[go + G_FIRST]
    at = first_looked_at(p, i, attempt, st.m[st.group + g * H_SIZE + H_N_READY])
    place = tree_next(st.m, o, p.m[go + G_LEAVES], st.m[st.ready + first + at] - first, more)
    return place if place >= 0 else tree_first_key(st.m, o) & PLACES_MAX


@jit_call
def choose_among(p, st, g, i, attempt, t, at, n):
    """The router's choice from n ready replicas that are listed in order from `at` on; there is at least one."""
    router = p.m[p.group + g * G_SIZE + G_ROUTER]
    if router == ROUND_ROBIN:
        r = st.m[at + next_ready(st, at, n, st.m[st.group + g * H_SIZE + H_CURSOR])]
        st.m[st.group + g * H_SIZE + H_CURSOR] = r
    elif router == RANDOM:
        r = st.m[at + draw_below(p.m[P_SEED], STREAM_ROUTE, i, 2 * attempt, n)]
    elif router == POWER_OF_TWO:
        r = power_of_two(p, st, at, n, i, attempt)
    elif router == LEAST_OUTSTANDING:
        r = least_outstanding(p, st, i, attempt, at, n)
    elif router == SESSION_AFFINITY:
        r = session_affinity(p, st, g, i, attempt, at, n)
    elif router == CONSISTENT_HASH:
        r = consistent_hash(p, st, g, i, at, n)
    elif router == WEIGHTED_SCORE:
        r = weighted_score(p, st, g, i, attempt, at, n, t)
    elif router == PREFIX_AWARE:
        r = prefix_aware(p, st, g, i, attempt, at, n, t)
    else:
        r = least_kv(p, st, i, attempt, at, n, t)
    return r


@jit_call
def choose_fitting(p, st, g, i, attempt, most, t):
    """As choose_replica for a request that not all of the group's pools may take, or not all alike, or where a replica may
    hold fewer than `most`; −1 when none that may is ready.
    """
    ordered = p.m[p.klass + class_of(p, i) * K_SIZE + K_ORDERED] == 1
    if ordered and most == NEVER and is_choosy(p, g, i):
        return choose_in_order(p, st, g, i, attempt, t)
    return choose_narrowed(p, st, g, i, attempt, most, t)


@jit_call
def choose_narrowed(p, st, g, i, attempt, most, t):
    """The router's choice among the replicas that hold fewer than `most`, of all the pools that may take request i.

    The list of ready replicas is narrowed for the choice and put back: rare, so it may cost O(n).
    """
    first = p.m[p.group + g * G_SIZE + G_FIRST]
    n = st.m[st.group + g * H_SIZE + H_N_READY]
    kept = 0
    for j in range(n):
        r = st.m[st.ready + first + j]
        if outstanding_of(st, r) < most and may_serve(p, st.m[st.rep + r * R_SIZE + R_POOL], i):
            swap_in(st, first, kept, j)
            kept += 1
    r = -1
    if kept > 0:
        r = choose_among(p, st, g, i, attempt, t, st.ready + first, kept)
    sort_ready(st, first, n)
    return r


@jit_call
def choose_in_order(p, st, g, i, attempt, t):
    """The router's choice in the first pool of the class's list that has room: with this request, no more per ready
    replica than the limit. Where none has, in the one with the fewest per ready replica; ties to the first.
    """
    go = p.group + g * G_SIZE
    ko = p.klass + class_of(p, i) * K_SIZE
    at = st.ready + p.m[go + G_FIRST]
    n = st.m[st.group + g * H_SIZE + H_N_READY]
    spill = p.m[go + G_SPILL_MILLI]
    best = -1
    best_n = 0
    best_held = 0
    for j in range(p.m[ko + K_POOLS], p.m[ko + K_POOLS] + p.m[ko + K_N_POOL]):
        pool = p.m[j]
        ready = st.m[st.pool + pool * Q_SIZE + Q_N_READY]
        if ready == 0 or not fits(p, pool, i):
            continue
        start = at + place_above(st, at, n, p.m[p.pool + pool * L_SIZE + L_FIRST] - 1)
        held = total_outstanding(st, start, ready) if spill != NEVER else 0
        if spill == NEVER or 1000 * (held + 1) <= spill * ready:
            return choose_among(p, st, g, i, attempt, t, start, ready)
        if best < 0 or held * best_n < best_held * ready:
            best = start
            best_n = ready
            best_held = held
    return choose_among(p, st, g, i, attempt, t, best, best_n) if best >= 0 else -1


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
def refresh_load(p, st, g, r):
    """Tell the load tree how many requests ready replica r holds now."""
    go = p.group + g * G_SIZE
    if p.m[go + G_TREE] == 1 and st.m[st.rep + r * R_SIZE + R_STAGE] == STAGE_READY:
        o = st.load + p.m[go + G_LOAD]
        m = p.m[go + G_LEAVES]
        leaf = r - p.m[go + G_FIRST]
        tree_set(st.m, o, m, leaf, outstanding_of(st, r) << PLACE_BITS | leaf)
