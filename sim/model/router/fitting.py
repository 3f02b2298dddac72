"""Which pools may serve a request: those that it fits, that its class names, and of a version that is its own."""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.kv_blocks import blocks_of
from sim.model.request.in_flight import class_of, output_of, prompt_of
from sim.rng import STREAM_SPLIT, draw_below


@jit
def fits(params, pool_id, i):
    """Whether request i alone fits a replica of the pool: its context and its KV blocks."""
    pool = params.pool[pool_id]
    prompt = prompt_of(params, i)
    output = output_of(params, i) if output_of(params, i) > 0 else 1
    return (
        prompt + output_of(params, i) <= pool.max_model_len
        and blocks_of(pool, prompt + output - 1) <= pool.n_blocks
    )


@jit
def n_fitting_pools(params, g, i):
    """In how many pools of the served model that may serve it request i fits."""
    if has_pool_list(params, g, i):
        return n_listed_pools(params, i)
    model = params.served_model[g]
    if params.all_fit == 1:
        return model.n_pool
    n = 0
    for pool in range(model.first_pool, model.first_pool + model.n_pool):
        if fits(params, pool, i):
            n += 1
    return n


@jit
def has_pool_list(params, g, i):
    """Whether the class of request i names or orders the pools of served model g; never for a fallback."""
    klass = params.klass[class_of(params, i)]
    return klass.n_pool > 0 and klass.served_model == g


@jit_call
def n_listed_pools(params, i):
    """In how many pools of its class's list request i fits."""
    klass = params.klass[class_of(params, i)]
    n = 0
    for j in range(klass.n_pool):
        if fits(params, params.m[klass.pools_at + j], i):
            n += 1
    return n


@jit
def may_serve(params, pool, i):
    """Whether request i fits a pool that may serve it."""
    klass = params.klass[class_of(params, i)]
    listed = not has_pool_list(params, params.pool[pool].served_model, i)
    for j in range(klass.n_pool):
        if params.m[klass.pools_at + j] == pool:
            listed = True
    return listed and fits(params, pool, i)


@jit_call
def avoid_others(params, state, route):
    """Draw which version of each deployment a request goes to: it avoids the other."""
    for number in range(params.n_rollout):
        own = state.rollout[number]
        if own.weight >= 0:
            drawn = draw_below(params.seed, STREAM_SPLIT, route.request, number, 100)
            other = own.pool if drawn < own.weight else params.rollout[number].to_pool
            state.pool[other].is_avoided = 1


@jit_call
def clear_avoided(params, state):
    """No pool is avoided."""
    for pool in range(params.n_pool):
        state.pool[pool].is_avoided = 0


@jit_call
def is_served(params, state, route):
    """Whether a pool that is not avoided has ready replicas for a request."""
    model = params.served_model[route.served_model]
    found = False
    for pool in range(model.first_pool, model.first_pool + model.n_pool):
        is_open = state.pool[pool].is_avoided == 0 and state.pool[pool].n_ready > 0
        if is_open and may_serve(params, pool, route.request):
            found = True
    return found
