"""How long steps last, and where in a jump of k steps a time falls.

A jump is k steps of g, g + d, g + 2d, … picoseconds; with a fixed decode set the attended tokens grow by n a step,
so d = slope[n]·n and every sum is exact (MODEL: step time).
"""

from __future__ import annotations

from sim.jit import jit
from sim.model.layout import L_ATTENTION_Q16, L_PREFILL_PS


@jit
def span_ps(k, g, d):
    """The length of the first k steps of a jump."""
    return k * g + d * ((k * (k - 1)) >> 1)


@jit
def prefill_ps(pool, lo, chunk_tokens, chunk_squares):
    """The time that prompt chunks add to a step; chunk_squares = Σ chunk·(2·context + chunk)."""
    return pool[lo + L_PREFILL_PS] * chunk_tokens + ((pool[lo + L_ATTENTION_Q16] * chunk_squares) >> 17)


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
