"""Percentiles of all requests together, with intervals over seeds.

The requests of a run are not independent of each other; its seeds are. So the percentile of all requests has its
interval by turning a test around (Woodruff 1952; Francisco and Fuller, "Quantile estimation with a complex survey
design", Annals of Statistics 19, 1991): a value lies in it where the seeds do not contradict that a share p of the
requests is at most that value. It is asymmetric as the histogram is, and infinite above where the rank may fall on
requests that were never served.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sim.statistics.means import CONFIDENCE, p_of_mean


class Interval(NamedTuple):
    """A value with its 95 % interval; the ends are None where the seeds are too few to say."""

    value: float
    low: float | None
    high: float | None


def pooled_percentile(counts: np.ndarray, upper: np.ndarray, share: float) -> Interval:
    """The value that a `share` of all requests stay at or below.

    `counts` (seed, bucket) are the requests of each seed in buckets that rise, `upper` (bucket,) the value that stands for
    each; the last may be infinite. ValueError where there are no requests.
    """
    totals = counts.sum(axis=1)
    if not totals.sum():
        raise ValueError("no requests")
    up_to = counts.cumsum(axis=1)
    rank = max(1, math.ceil(share * totals.sum() - 1e-9))
    at = int(np.searchsorted(up_to.sum(axis=0), rank))
    if len(counts) < 2:
        return Interval(float(upper[at]), None, None)
    # of each seed, by how many requests it has more at or below a value than its part of them
    over = (up_to - share * totals[:, None]).T
    is_sure = (p_of_mean(over) < 1 - CONFIDENCE) | (over == over[:, :1]).all(axis=1)
    mean = over.mean(axis=1)
    low = int(np.argmin(is_sure & (mean < 0)))
    above = np.flatnonzero(is_sure & (mean > 0))
    high = int(above[0]) if len(above) else len(upper) - 1
    return Interval(float(upper[at]), float(upper[min(low, at)]), float(upper[max(high, at)]))
