"""The time of a step by the tokens it computes: a curve given at knots, as `sim.model.steps.work_ps` reads it."""

from __future__ import annotations

import numpy as np

from sim.model import layout as a
from sim.units import NEVER


def knot_tokens() -> np.ndarray:
    """The numbers of tokens at the knots of the time by tokens, (N_WORK,): up to 16 each, then eight an octave."""
    knot = np.arange(a.N_WORK)
    e = np.maximum((knot >> a.WORK_BITS) - 1, 0)
    return (knot - (e << a.WORK_BITS)) << e


def linear_work(prefill_ps: int) -> np.ndarray:
    """The time by tokens at its knots where each token takes as long, (N_WORK,) int64 ps."""
    return np.array([min(prefill_ps * int(tokens), NEVER) for tokens in knot_tokens()], dtype=np.int64)


def work_at(work_ps: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The time by tokens, ps: `sim.model.steps.work_ps` for many numbers of tokens at once."""
    knots = knot_tokens()
    low = np.searchsorted(knots, tokens, side="right") - 1
    width = knots[low + 1] - knots[low]
    return np.asarray(work_ps[low] + (work_ps[low + 1] - work_ps[low]) * (tokens - knots[low]) // width)
