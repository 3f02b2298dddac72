"""The time of a step by the tokens it computes: a curve given at knots, read by `work_ps` of
`sim.model.base.step_time`.
"""

from __future__ import annotations

import numpy as np

from sim.model.tables.pool import N_WORK, WORK_BITS
from sim.units import NEVER


def knot_tokens() -> np.ndarray:
    """The numbers of tokens at the knots of the time by tokens, (N_WORK,): up to 16 each, then eight an octave."""
    knot = np.arange(N_WORK)
    e = np.maximum((knot >> WORK_BITS) - 1, 0)
    return (knot - (e << WORK_BITS)) << e


def linear_work(prefill_ps: int) -> np.ndarray:
    """The time by tokens at its knots where each token takes as long, (N_WORK,) int64 ps."""
    return np.array([min(prefill_ps * int(tokens), NEVER) for tokens in knot_tokens()], dtype=np.int64)


def work_at(work_ps: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The time by tokens, ps: `work_ps` of the model for many numbers of tokens at once."""
    knots = knot_tokens()
    low = np.searchsorted(knots, tokens, side="right") - 1
    width = knots[low + 1] - knots[low]
    return np.asarray(work_ps[low] + (work_ps[low + 1] - work_ps[low]) * (tokens - knots[low]) // width)


def prompt_table(
    base_ps: np.ndarray, work_ps: np.ndarray | None, prefill_ps: int, mixed_ps: int
) -> np.ndarray:
    """What steps with prompts take: the time by tokens at its knots, then what is added by sequences, int64 ps.

    A step of n sequences and c prompt tokens takes base[n] + work(n + c) − work(n), and mixed_ps where n > 0. Without
    `work_ps` each token takes prefill_ps.
    """
    curve_ps = linear_work(prefill_ps) if work_ps is None else work_ps
    beside_ps = base_ps - work_at(curve_ps, np.arange(len(base_ps)))
    beside_ps[1:] += mixed_ps
    return np.concatenate([curve_ps, beside_ps]).astype(np.int64)
