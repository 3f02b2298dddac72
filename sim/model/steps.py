"""How long steps last, and where in a jump of k steps a time falls.

A jump is k steps of g, g + d, g + 2d, … picoseconds; with a fixed decode set the attended tokens grow by n a step,
so d = slope[n]·n and every sum is exact (docs/step-time.md). A step that carries prompts computes all its tokens in
the same matrix products: its time depends on their number by a curve that is linear between knots.
"""

from __future__ import annotations

from sim.jit import bit_length, jit
from sim.model.layout import L_ATTENTION_Q16, L_TABLE, L_WORK, N_WORK, WORK_BITS


@jit
def span_ps(k, g, d):
    """The length of the first k steps of a jump."""
    return k * g + d * ((k * (k - 1)) >> 1)


@jit
def decode_ps(p, lo, n, kv):
    """The time of a step in which n sequences decode and attend kv tokens together."""
    at = p.m[lo + L_TABLE] + n
    return p.m[p.base + at] + p.m[p.slope + at] * kv


@jit
def work_ps(m, at, tokens):
    """The time by tokens whose knots begin at `at`: every number up to 16, then eight an octave, linear between them."""
    e = bit_length(tokens >> (WORK_BITS + 1))
    low = at + (e << WORK_BITS) + (tokens >> e)
    return m[low] + (((m[low + 1] - m[low]) * (tokens - ((tokens >> e) << e))) >> e)


@jit
def prompt_step_ps(p, lo, n, kv, tokens, squares):
    """The time of a step that computes `tokens` of prompts beside n decoding sequences that attend kv tokens.

    squares = Σ chunk·(2·context + chunk) over the chunks of prompts.
    """
    at = p.base + p.m[lo + L_WORK]
    beside = p.m[at + N_WORK + n] + p.m[p.slope + p.m[lo + L_TABLE] + n] * kv
    return beside + work_ps(p.m, at, n + tokens) + ((p.m[lo + L_ATTENTION_Q16] * squares) >> 17)


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
