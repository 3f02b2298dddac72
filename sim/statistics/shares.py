"""Intervals of shares over seeds, which must hold near 0 and 1, where seeds that all look alike say little of the rest.

A share's mean is bounded from below by giving the seeds, and one more that nobody has seen, weights that are uniform on
the simplex, and taking the level's quantile of the weighted mean; from above likewise. With an unseen seed of 0 (of 1)
that is Gaffke's bound for means of values in [0, 1], for seeds that are all 0 or 1 it is Clopper and Pearson's interval,
and where all n seeds show 1 its lower end is 0.025^(1/n), some 1 - 3.7 / n. Gaffke, "Three test statistics for a
nonparametric one-sided hypothesis on the mean of a nonnegative variable", 2005; Learned-Miller and Thomas, "A new
confidence interval for the mean of a bounded random variable", 2019, arXiv:1905.06208.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sim.statistics.means import CONFIDENCE, student_half

NEAR = 0.1  # closer to 0 or 1, what was not seen may be as far off as can be
N_DRAW = 8192
N_VALUES_MAX = 256  # different values that are told apart


def share_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The interval, of 95 % unless told, of the mean of independent shares in [0, 1], at least one of them.

    Within NEAR of 0 or 1 it supposes nothing about how they are distributed. Further in, an unseen seed is taken to lie
    among those seen, and the wider of that and Student's interval is returned.
    """
    seen = np.sort(np.asarray(values, dtype=float))
    mean = float(seen.mean())
    is_near = min(mean, 1 - mean) <= NEAR
    low = weighted_quantile(seen, 0.0 if is_near else seen[0], (1 - confidence) / 2)
    high = weighted_quantile(seen, 1.0 if is_near else seen[-1], (1 + confidence) / 2)
    half = student_half(seen, confidence)
    return max(0.0, min(low, mean - half)), min(1.0, max(high, mean + half))


def weighted_quantile(seen: np.ndarray, unseen: float, level: float) -> float:
    """The quantile of the mean of `seen` (rising) and one `unseen` value under uniformly random weights; by simulation
    with a stream of its own, so that it is the same at every call.
    """
    values, n = np.unique(_coarse(seen, unseen > seen[0]), return_counts=True)
    rng = np.random.default_rng(0)
    total, weighted = rng.standard_exponential(N_DRAW), np.zeros(N_DRAW)
    weighted += total * unseen
    for value, k in zip(values.tolist(), n.tolist(), strict=True):
        weight = rng.standard_gamma(k, N_DRAW)
        total += weight
        weighted += weight * value
    return float(np.quantile(weighted / total, level))


def _coarse(seen: np.ndarray, upwards: bool) -> np.ndarray:
    """The values with at most N_VALUES_MAX different ones, rounded up or down so that an interval grows."""
    size = -(-len(seen) // N_VALUES_MAX)
    if size == 1:
        return seen
    at = np.arange(len(seen)) // size * size
    return seen[np.minimum(at + size, len(seen)) - 1] if upwards else seen[at]
