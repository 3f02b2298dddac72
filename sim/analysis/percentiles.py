"""Percentiles from integer log-histograms, with what was never served counted as infinitely late."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sim.measures.levels import PERMILLES, STATISTICS, key_of
from sim.units import PS_PER_S

KEYS = tuple(key_of(statistic) for statistic in STATISTICS)


class Population(NamedTuple):
    """The durations of one measure: those that happened, in buckets, and how many never will."""

    counts: np.ndarray  # (bucket,) int64
    sum_ps: int  # of those that happened, exact
    n_lost: int = 0  # never served: later than every bucket

    @property
    def n_served(self) -> int:
        """How many happened."""
        return int(self.counts.sum())


class Histograms:
    """Histograms side by side, read once: where they hold something, and how many values lie up to there."""

    def __init__(self, counts: np.ndarray) -> None:
        n, width = counts.shape
        at = np.flatnonzero(counts != 0)  # numbered through all of them; of booleans it is twice as fast
        self._hold(at, counts.reshape(-1)[at], n, width)

    @classmethod
    def filled(cls, at: np.ndarray, numbers: np.ndarray, n: int, width: int) -> Histograms:
        """Of n histograms so wide what the buckets `at`, numbered through all of them and rising, hold."""
        made = cls.__new__(cls)
        made._hold(at, numbers, n, width)
        return made

    def _hold(self, at: np.ndarray, numbers: np.ndarray, n: int, width: int) -> None:
        self.at, self.width = at, width
        self.up_to = np.cumsum(numbers)
        ends = np.searchsorted(at, np.arange(n + 1) * width)
        self.before = np.concatenate([[0], self.up_to])[ends].tolist()

    def n_values(self, i: int) -> int:
        """How many values the i-th holds."""
        return int(self.before[i + 1] - self.before[i])

    def buckets(self, asked: Sequence[tuple[int, int]]) -> np.ndarray:
        """The bucket of each (histogram, rank); ranks count from 1 to what the histogram holds."""
        return self.buckets_at(np.array([self.before[i] + rank for i, rank in asked], dtype=np.int64))

    def buckets_at(self, ranks: np.ndarray) -> np.ndarray:
        """The bucket of each value, these numbered through all histograms from 1 on."""
        return self.at[np.searchsorted(self.up_to, ranks)] % self.width


def quantile_ps(counts: np.ndarray, edges_ps: np.ndarray, permille: int, n_lost: int = 0) -> float | None:
    """Nearest-rank quantile in picoseconds: the middle of the bucket that holds it, so within 1 %.

    `edges_ps` (bucket + 1,) are the buckets' lower edges and the last one's upper edge. None of nothing;
    infinity when the rank falls on one of the `n_lost` that were never served.
    """
    seen = Histograms(counts[np.newaxis])
    return quantiles_ps(seen, edges_ps, [(0, n_lost)], [permille])[0]


def quantiles_ps(
    seen: Histograms, edges_ps: np.ndarray, people: Sequence[tuple[int, int]], permilles: Sequence[int]
) -> list[float | None]:
    """The quantiles of each (histogram, how many of its values were lost), as `quantile_ps` has them, one population
    after the other."""
    found: list[float | None] = []
    places, asked = [], []
    for i, n_lost in people:
        n_served = seen.n_values(i)
        n_all = n_served + n_lost
        for permille in permilles:
            rank = max(1, -(-permille * n_all // 1000))
            if rank <= n_served:
                places.append(len(found))
                asked.append((i, rank))
            found.append(math.inf if n_all else None)
    if asked:
        for place, value in zip(places, middles_ps(edges_ps, seen.buckets(asked)).tolist(), strict=True):
            found[place] = value
    return found


def middles_ps(edges_ps: np.ndarray, buckets: np.ndarray) -> np.ndarray:
    """Middles of the integers that fall into some buckets; 0 for the first, so that no wait reads as none."""
    low, high = edges_ps[buckets], edges_ps[buckets + 1]
    return np.where(buckets > 0, (low + high - 1) / 2, low)


def statistics(everybody: Population, edges_ps: np.ndarray) -> dict[str, float | None]:
    """`mean_s`, `p50_s` … `p99_9_s` over everybody, then `mean_served_s` … over the served alone."""
    return statistics_of([everybody], Histograms(everybody.counts[np.newaxis]), edges_ps)[0]


def statistics_of(
    populations: Sequence[Population], seen: Histograms, edges_ps: np.ndarray
) -> list[dict[str, float | None]]:
    """`statistics` of several populations, whose counts are the rows of `seen`, in one go."""
    people = [(i, one.n_lost) for i, one in enumerate(populations)]
    lossy = [i for i, one in enumerate(populations) if one.n_lost > 0]
    levels = quantiles_ps(seen, edges_ps, [*people, *((i, 0) for i in lossy)], tuple(PERMILLES.values()))
    n = len(PERMILLES)
    chunks = [levels[at : at + n] for at in range(0, len(levels), n)]
    served = dict(
        zip(lossy, chunks[len(people) :], strict=True)
    )  # of the others it is the same as of everybody
    found = []
    for i, one in enumerate(populations):
        n_served = seen.n_values(i)
        mean = one.sum_ps / n_served if n_served else None  # exact, past 64 bits too
        values = [math.inf if one.n_lost > 0 else mean, *chunks[i], mean, *served.get(i, chunks[i])]
        found.append(
            {key: None if ps is None else ps / PS_PER_S for key, ps in zip(KEYS, values, strict=True)}
        )
    return found


def lost_in_proportion(n_served_values: int, n_served: int, n_lost: int) -> int:
    """How many values the lost requests would have had, had they had as many each as the served ones.

    For measures that a request has many of (token gaps) or may lack (tpot). With nothing served, `n_lost`.
    """
    if n_served <= 0 or n_served_values == 0:
        return n_lost if n_served <= 0 else 0
    return (n_served_values * n_lost + n_served // 2) // n_served
