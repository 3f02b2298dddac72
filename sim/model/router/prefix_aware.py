"""The router that looks into prefix caches: the longest cached prefix, unless load is out of balance.

The rule of SGLang's and vLLM's routers (policy `cache_aware`). It asks the replicas what they have cached and does not
guess it from what was sent to them.
"""

from __future__ import annotations

from sim.compile.jit import jit_call
from sim.model.prefix_cache.block_ranges import trim
from sim.model.prefix_cache.lookup import cached_blocks
from sim.model.replica.jump import blocks_used, settle
from sim.model.request.in_flight import prompt_of
from sim.model.router.load import first_looked_at, least_outstanding, next_looked_at, outstanding_of
from sim.model.tables.replica import PrefixCache
from sim.schema import Field, Row


class PrefixAwareSettings(Row):
    """Settings of prefix_aware."""

    match_min_milli = Field(
        "a replica is taken for more than this share of the prompt in its cache", begin=300
    )
    imbalance_min = Field("out of balance: the fullest replica has so many requests more than the emptiest")
    imbalance_factor_milli = Field("… and more than so many times as many", begin=1250)


@jit_call
def cached_tokens(params, state, r, i, t):
    """Leading tokens of the prompt of request i that replica r has cached at t."""
    replica = state.replica[r]
    if replica.prefix_at == 0:
        return 0
    cache = PrefixCache(state, replica.prefix_at)
    pool = params.pool[replica.pool]
    if cache.cached_blocks > pool.n_blocks - blocks_used(params, state, r, pool.n_blocks, t):
        settle(params, state, r, t)  # the jump in progress has taken cached blocks by now
        trim(params, state, r)
    return cached_blocks(params, state, r, i, prompt_of(params, i)) * pool.block_size


@jit_call
def is_unbalanced(params, state, route):
    """Whether the fullest replica of the list has too many more requests than the emptiest, and too many times as many."""
    settings = PrefixAwareSettings(params, params.served_model[route.served_model].settings_at)
    ready = state.ready[route.first :]
    least = outstanding_of(state, ready[0])
    most = least
    for j in range(1, route.n):
        held = outstanding_of(state, ready[j])
        least = min(least, held)
        most = max(most, held)
    return most - least > settings.imbalance_min and 1000 * most > settings.imbalance_factor_milli * least


@jit_call
def prefix_aware(params, state, route):
    """The replica of the list that has most of the prompt cached, if that is enough of it; else the least loaded. Ties to
    the less loaded.
    """
    if is_unbalanced(params, state, route):
        return least_outstanding(params, state, route)
    best = -1
    longest = 0
    j = first_looked_at(params, route.request, route.attempt, route.n)
    for _ in range(route.n):
        r = state.ready[route.first + j]
        j = next_looked_at(j, route.n)
        found = cached_tokens(params, state, r, route.request, route.now_ps)
        if found > longest or (
            found > 0 and found == longest and outstanding_of(state, r) < outstanding_of(state, best)
        ):
            best = r
            longest = found
    settings = PrefixAwareSettings(params, params.served_model[route.served_model].settings_at)
    if best >= 0 and 1000 * longest > settings.match_min_milli * prompt_of(params, route.request):
        return best
    return least_outstanding(params, state, route)
