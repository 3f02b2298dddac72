"""The router that looks into prefix caches: the longest cached prefix, unless load is out of balance.

The rule of SGLang's and vLLM's routers (policy `cache_aware`), told by the replicas what they have cached rather than
guessing it from what was sent to them.
"""

from __future__ import annotations

from sim.jit import jit_call
from sim.model.layout import (
    G_FACTOR_MILLI,
    G_LOAD_MIN,
    G_MATCH_MILLI,
    G_SIZE,
    L_BLOCK,
    L_BLOCKS,
    L_SIZE,
    R_POOL,
    R_PREFIX,
    R_SIZE,
    Z_CACHED,
)
from sim.model.load import first_looked_at, least_outstanding, next_looked_at, outstanding_of
from sim.model.prefix import cached_blocks
from sim.model.replica import blocks_used, settle
from sim.model.request import prompt_of
from sim.model.runs import trim


@jit_call
def cached_tokens(p, st, r, i, t):
    """Leading tokens of the prompt of request i that replica r has cached at t."""
    ro = st.rep + r * R_SIZE
    o = st.m[ro + R_PREFIX]
    if o == 0:
        return 0
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    if st.m[o + Z_CACHED] > p.m[lo + L_BLOCKS] - blocks_used(p, st, r, p.m[lo + L_BLOCKS], t):
        settle(p, st, r, t)  # the jump in progress has taken cached blocks by now
        trim(p, st, r)
    return cached_blocks(p, st, r, i, prompt_of(p, i)) * p.m[lo + L_BLOCK]


@jit_call
def is_unbalanced(p, st, g, at, n):
    """Whether the fullest replica of a list has too many more requests than the emptiest, and too many times as many."""
    go = p.group + g * G_SIZE
    least = outstanding_of(st, st.m[at])
    most = least
    for j in range(at + 1, at + n):
        held = outstanding_of(st, st.m[j])
        least = min(least, held)
        most = max(most, held)
    return most - least > p.m[go + G_LOAD_MIN] and 1000 * most > p.m[go + G_FACTOR_MILLI] * least


@jit_call
def prefix_aware(p, st, g, i, attempt, at, n, t):
    """The replica of a list that has most of the prompt cached, if that is enough of it; else the least loaded. Ties to
    the less loaded.
    """
    if is_unbalanced(p, st, g, at, n):
        return least_outstanding(p, st, i, attempt, at, n)
    best = -1
    longest = 0
    j = at + first_looked_at(p, i, attempt, n)
    for _ in range(n):
        r = st.m[j]
        j = next_looked_at(j, at, n)
        found = cached_tokens(p, st, r, i, t)
        if found > longest or (
            found > 0 and found == longest and outstanding_of(st, r) < outstanding_of(st, best)
        ):
            best = r
            longest = found
    if best >= 0 and 1000 * longest > p.m[p.group + g * G_SIZE + G_MATCH_MILLI] * prompt_of(p, i):
        return best
    return least_outstanding(p, st, i, attempt, at, n)
