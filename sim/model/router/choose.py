"""Which replica a request goes to: the kinds of routers, and one switch (`choose_among`)."""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.min_tree import tree_first_key, tree_next, tree_set
from sim.model.replica.jump import blocks_used
from sim.model.request.in_flight import class_of
from sim.model.router.fitting import avoid_others, clear_avoided, fits, has_pool_list, is_served, may_serve
from sim.model.router.load import (
    first_looked_at,
    least_outstanding,
    next_looked_at,
    outstanding_of,
    place_above,
    total_outstanding,
)
from sim.model.router.prefix_aware import PrefixAwareSettings, prefix_aware
from sim.model.router.session_affinity import (
    ConsistentHashSettings,
    SessionAffinitySettings,
    SessionHome,
    consistent_hash,
    session_affinity,
)
from sim.model.router.weighted_score import Snapshot, WeightedScoreSettings, weighted_score
from sim.model.tables.codes import STAGE_READY
from sim.model.tables.kinds import REPLICA, SESSION, Kind, names_of_kinds
from sim.model.tables.served_model import PLACE_BITS, PLACES_MAX
from sim.rng import STREAM_ROUTE, draw_below
from sim.units import NEVER

ROUND_ROBIN, RANDOM, LEAST_OUTSTANDING, POWER_OF_TWO, LEAST_KV = 0, 1, 2, 3, 4
SESSION_AFFINITY, CONSISTENT_HASH, WEIGHTED_SCORE, PREFIX_AWARE = 5, 6, 7, 8
KINDS = (
    Kind(ROUND_ROBIN, "round_robin"),
    Kind(RANDOM, "random"),
    Kind(LEAST_OUTSTANDING, "least_outstanding"),
    Kind(POWER_OF_TWO, "power_of_two"),
    Kind(LEAST_KV, "least_kv"),
    Kind(SESSION_AFFINITY, "session_affinity", SessionAffinitySettings, SessionHome, SESSION),
    Kind(CONSISTENT_HASH, "consistent_hash", ConsistentHashSettings),
    Kind(WEIGHTED_SCORE, "weighted_score", WeightedScoreSettings, Snapshot, REPLICA),
    Kind(PREFIX_AWARE, "prefix_aware", PrefixAwareSettings),
)
ROUTERS = names_of_kinds(KINDS)


@jit
def next_ready(ready, n, after):
    """The place in a list of ready replicas of the first one above `after`, cyclic."""
    j = place_above(ready, n, after)
    return j if j < n else 0


@jit_call
def round_robin(params, state, route):
    """The replica of the list behind the one that was chosen last."""
    model = state.served_model[route.served_model]
    ready = state.ready[route.first :]
    model.cursor = ready[next_ready(ready, route.n, model.cursor)]
    return model.cursor


@jit_call
def random_choice(params, state, route):
    """A replica of the list drawn at random, each as likely."""
    return state.ready[
        route.first + draw_below(params.seed, STREAM_ROUTE, route.request, 2 * route.attempt, route.n)
    ]


@jit_call
def least_kv(params, state, route):
    """The replica of the list with the smallest share of its KV blocks in use."""
    best = -1
    best_used = 0
    best_blocks = 1
    j = first_looked_at(params, route.request, route.attempt, route.n)
    for _ in range(route.n):
        r = state.ready[route.first + j]
        j = next_looked_at(j, route.n)
        blocks = params.pool[state.replica[r].pool].n_blocks
        used = blocks_used(params, state, r, blocks, route.now_ps)
        if best < 0 or used * best_blocks < best_used * blocks:
            best = r
            best_used = used
            best_blocks = blocks
    return best


@jit_call
def power_of_two(params, state, route):
    """The less loaded of two different replicas of the list drawn at random; ties to the first drawn."""
    ready = state.ready[route.first :]
    if route.n == 1:
        return ready[0]
    a = draw_below(params.seed, STREAM_ROUTE, route.request, 2 * route.attempt, route.n)
    b = draw_below(params.seed, STREAM_ROUTE, route.request, 2 * route.attempt + 1, route.n - 1)
    if b >= a:
        b += 1
    ra = ready[a]
    rb = ready[b]
    return rb if outstanding_of(state, rb) < outstanding_of(state, ra) else ra


@jit
def ask(state, g, i, attempt, t):
    """Write down what the router of served model g is asked at t: attempt `attempt`, from 0, at request i. Which replicas
    it may choose from is said later.
    """
    route = state.route[g]
    route.served_model = g
    route.request = i
    route.attempt = attempt
    route.now_ps = t
    return route


@jit
def choose_replica(params, state, route):
    """The replica for an attempt among all ready ones of its served model, of which there is at least one."""
    g = route.served_model
    model = params.served_model[g]
    if model.router == LEAST_OUTSTANDING:
        return model.first_replica + least_loaded(params, state, g, route.request, route.attempt)
    return choose_among(params, state, route, model.first_replica, state.served_model[g].n_ready)


@jit
def least_loaded(params, state, g, i, attempt):
    """The ready replica that holds the fewest requests, as its place among the served model's replicas. The load tree
    finds the one that `least_outstanding` would find in the list of all.
    """
    model = params.served_model[g]
    load = state.load[model.load_at :]
    least = tree_first_key(load)
    place = least & PLACES_MAX
    more = least - place + PLACES_MAX + 1  # keys of replicas that hold more are no less
    if tree_next(load, model.leaves, place + 1, more) < 0:
        return place
    return one_of_equals(params, state, g, i, attempt, more)


@jit_call
def one_of_equals(params, state, g, i, attempt, more):
    """The place of the first replica with a key below `more`, from the one on at which the router begins to look."""
    model = params.served_model[g]
    load = state.load[model.load_at :]
    first = model.first_replica
    at = first_looked_at(params, i, attempt, state.served_model[g].n_ready)
    place = tree_next(load, model.leaves, state.ready[first + at] - first, more)
    return place if place >= 0 else tree_first_key(load) & PLACES_MAX


@jit_call
def choose_among(params, state, route, first, n):
    """The router's choice from n ready replicas in order of index, listed in `ready` from `first` on; there is at least
    one.
    """
    route.first = first
    route.n = n
    router = params.served_model[route.served_model].router
    if router == ROUND_ROBIN:
        r = round_robin(params, state, route)
    elif router == RANDOM:
        r = random_choice(params, state, route)
    elif router == POWER_OF_TWO:
        r = power_of_two(params, state, route)
    elif router == LEAST_OUTSTANDING:
        r = least_outstanding(params, state, route)
    elif router == SESSION_AFFINITY:
        r = session_affinity(params, state, route)
    elif router == CONSISTENT_HASH:
        r = consistent_hash(params, state, route)
    elif router == WEIGHTED_SCORE:
        r = weighted_score(params, state, route)
    elif router == PREFIX_AWARE:
        r = prefix_aware(params, state, route)
    else:
        r = least_kv(params, state, route)
    return r


@jit_call
def choose_fitting(params, state, route, most):
    """The replica for an attempt where not every pool may take it, its class orders the pools, or a replica may hold fewer
    than `most`; −1 when no replica that may take it is ready.
    """
    if state.served_model[route.served_model].n_split > 0:
        return choose_version(params, state, route, most)
    ordered = params.klass[class_of(params, route.request)].is_ordered == 1
    if ordered and most == NEVER and has_pool_list(params, route.served_model, route.request):
        return choose_in_order(params, state, route)
    return choose_narrowed(params, state, route, most)


@jit_call
def choose_version(params, state, route, most):
    """The router's choice where deployments say which share of the requests each version gets: whose a request is, is drawn
    by request. Where its version has no ready replica that may serve it, the other one does.
    """
    avoid_others(params, state, route)
    if not is_served(params, state, route):
        clear_avoided(params, state)
    r = choose_narrowed(params, state, route, most)
    clear_avoided(params, state)
    return r


@jit_call
def choose_narrowed(params, state, route, most):
    """The router's choice among the replicas that hold fewer than `most`, of all the pools that may take the request.

    The list of ready replicas is narrowed for the choice and put back: rare, so it may cost O(n).
    """
    first = params.served_model[route.served_model].first_replica
    n = state.served_model[route.served_model].n_ready
    kept = 0
    for j in range(n):
        r = state.ready[first + j]
        pool = state.replica[r].pool
        is_open = state.pool[pool].is_avoided == 0 and outstanding_of(state, r) < most
        if is_open and may_serve(params, pool, route.request):
            swap_in(state, first, kept, j)
            kept += 1
    r = -1
    if kept > 0:
        r = choose_among(params, state, route, first, kept)
    sort_ready(state, first, n)
    return r


@jit_call
def choose_in_order(params, state, route):
    """The router's choice in the first pool of the class's list that has room: with this request, no more per ready
    replica than the limit. Where none has, in the one with the fewest per ready replica; ties to the first.
    """
    model = params.served_model[route.served_model]
    klass = params.klass[class_of(params, route.request)]
    first = model.first_replica
    ready = state.ready[first:]
    n = state.served_model[route.served_model].n_ready
    spill = model.spill_milli
    best = -1
    best_n = 0
    best_held = 0
    for j in range(klass.n_pool):
        pool = params.m[klass.pools_at + j]
        n_ready = state.pool[pool].n_ready
        if n_ready == 0 or not fits(params, pool, route.request):
            continue
        start = place_above(ready, n, params.pool[pool].first_replica - 1)
        held = total_outstanding(state, ready[start:], n_ready) if spill != NEVER else 0
        if spill == NEVER or 1000 * (held + 1) <= spill * n_ready:
            return choose_among(params, state, route, first + start, n_ready)
        if best < 0 or held * best_n < best_held * n_ready:
            best = start
            best_n = n_ready
            best_held = held
    return choose_among(params, state, route, first + best, best_n) if best >= 0 else -1


@jit
def swap_in(state, first, at, j):
    """Move the j-th ready replica to place `at`, keeping the order of both parts."""
    r = state.ready[first + j]
    while j > at:
        state.ready[first + j] = state.ready[first + j - 1]
        j -= 1
    state.ready[first + at] = r


@jit
def sort_ready(state, first, n):
    """Put a ready list back in order of index (insertion sort: it is nearly sorted)."""
    for j in range(1, n):
        r = state.ready[first + j]
        q = j
        while q > 0 and state.ready[first + q - 1] > r:
            state.ready[first + q] = state.ready[first + q - 1]
            q -= 1
        state.ready[first + q] = r


@jit
def refresh_load(params, state, g, r):
    """Tell the load tree how many requests ready replica r holds now."""
    model = params.served_model[g]
    if model.has_load_tree == 1 and state.replica[r].stage == STAGE_READY:
        load = state.load[model.load_at :]
        m = model.leaves
        leaf = r - model.first_replica
        tree_set(load, m, leaf, outstanding_of(state, r) << PLACE_BITS | leaf)
