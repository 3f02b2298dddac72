"""How long steps last, and where in a jump of k steps a time falls.

A jump is k steps of g, g + d, g + 2d, … picoseconds; with a fixed decode set the attended tokens grow by n a step,
so d = slope[n]·n and every sum is exact (docs/step-time.md). A step that carries prompts computes all its tokens in
the same matrix products: its time depends on their number by a curve that is linear between knots.
"""

from __future__ import annotations

from sim.compile.jit import bit_length, jit
from sim.model.tables.fault import FACTOR_BITS, FACTOR_ONE
from sim.model.tables.pool import N_WORK, WORK_BITS


@jit
def span_ps(k, g, d):
    """The length of the first k steps of a jump."""
    return k * g + d * ((k * (k - 1)) >> 1)


@jit
def decode_ps(params, pool, n, kv):
    """The time of a step in which n sequences decode and attend kv tokens together."""
    at = pool.table_at + n
    return params.base[at] + params.slope[at] * kv


@jit
def slowed(value, factor_q20):
    """A time, or what a token adds to it, multiplied by a factor, rounded down. Of up to 2⁵⁰ ps and a factor of 2¹⁰."""
    return (value >> FACTOR_BITS) * factor_q20 + (((value & (FACTOR_ONE - 1)) * factor_q20) >> FACTOR_BITS)


@jit
def work_ps(knots, tokens):
    """The time of so many tokens, from its knots: every number up to 16, then eight an octave; linear between them."""
    e = bit_length(tokens >> (WORK_BITS + 1))
    low = (e << WORK_BITS) + (tokens >> e)
    return knots[low] + (((knots[low + 1] - knots[low]) * (tokens - ((tokens >> e) << e))) >> e)


@jit
def prompt_step_ps(params, pool, n, kv, tokens, squares):
    """The time of a step that computes `tokens` of prompts beside n decoding sequences that attend kv tokens.

    squares = Σ chunk·(2·context + chunk) over the chunks of prompts.
    """
    knots = params.base[pool.work_at :]
    beside = knots[N_WORK + n] + params.slope[pool.table_at + n] * kv
    return beside + work_ps(knots, n + tokens) + ((pool.attention_q16 * squares) >> 17)


@jit
def steps_reaching(span, k, g, d):
    """The fewest steps, at least 1 and at most k, whose length is ≥ span ≤ the whole jump's."""
    low = span // (g + d * (k - 1))  # every step is at most the last: low steps are certainly not too many
    if low < 1:
        low = 1
    high = span // g + 1  # every step is at least the first
    if high > k:
        high = k
    while low < high:
        middle = (low + high) >> 1
        if span_ps(middle, g, d) >= span:
            high = middle
        else:
            low = middle + 1
    return low


@jit
def steps_before(span, k, g, d):
    """How many boundaries of a jump lie strictly before `span`, not counting its last."""
    if span <= g:
        return 0
    if span > span_ps(k, g, d):
        return k - 1
    return steps_reaching(span, k, g, d) - 1
