"""Percentiles from integer log-histograms, with what was never served counted as infinitely late."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sim.units import PS_PER_S

PERMILLES = {"p50": 500, "p90": 900, "p95": 950, "p99": 990, "p99_9": 999}


class Population(NamedTuple):
    """The durations of one measure: those that happened, in buckets, and how many never will."""

    counts: np.ndarray  # (bucket,) int64
    sum_ps: int  # of those that happened, exact
    n_lost: int = 0  # never served: later than every bucket

    @property
    def n_served(self) -> int:
        """How many happened."""
        return int(self.counts.sum())


def quantile_ps(counts: np.ndarray, edges_ps: np.ndarray, permille: int, n_lost: int = 0) -> float | None:
    """Nearest-rank quantile in picoseconds: the middle of the bucket that holds it, so within 1 %.

    `edges_ps` (bucket + 1,) are the buckets' lower edges and the last one's upper edge. None of nothing;
    infinity when the rank falls on one of the `n_lost` that were never served.
    """
    cumulative = np.cumsum(counts)
    n_served = int(cumulative[-1])
    n_all = n_served + n_lost
    if n_all == 0:
        return None
    rank = max(1, -(-permille * n_all // 1000))
    if rank > n_served:
        return math.inf
    return middle_ps(edges_ps, int(np.searchsorted(cumulative, rank)))


def middle_ps(edges_ps: np.ndarray, bucket: int) -> float:
    """Middle of the integers that fall into a bucket; 0 for the first, so that no wait reads as none."""
    low, high = int(edges_ps[bucket]), int(edges_ps[bucket + 1])
    return (low + high - 1) / 2 if bucket > 0 else float(low)


def mean_ps(population: Population) -> float | None:
    """Exact mean; infinite when anything was lost, None of nothing."""
    if population.n_lost > 0:
        return math.inf
    return population.sum_ps / population.n_served if population.n_served else None


def statistics(everybody: Population, edges_ps: np.ndarray) -> dict[str, float | None]:
    """`mean_s`, `p50_s` … `p99_9_s` over everybody, then `mean_served_s` … over the served alone."""
    served = everybody._replace(n_lost=0)
    return {**_statistics(everybody, edges_ps, "_s"), **_statistics(served, edges_ps, "_served_s")}


def _statistics(population: Population, edges_ps: np.ndarray, ending: str) -> dict[str, float | None]:
    found = {"mean": mean_ps(population)} | {
        name: quantile_ps(population.counts, edges_ps, permille, population.n_lost)
        for name, permille in PERMILLES.items()
    }
    return {f"{name}{ending}": None if ps is None else ps / PS_PER_S for name, ps in found.items()}


def lost_in_proportion(n_served_values: int, n_served: int, n_lost: int) -> int:
    """How many values the lost requests would have had, had they had as many each as the served ones.

    For measures that a request has many of (token gaps) or may lack (tpot). With nothing served, `n_lost`.
    """
    if n_served <= 0 or n_served_values == 0:
        return n_lost if n_served <= 0 else 0
    return (n_served_values * n_lost + n_served // 2) // n_served
