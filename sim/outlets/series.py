"""Events and levels as the series of a metric: cumulative counts, sums and buckets at the instants of a time series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sim.outlets.families import Family
from sim.units import PS_PER_S


class Series(NamedTuple):
    """One metric of a family. Of a histogram `values` are the sums and `counts` cumulative in time and over buckets."""

    family: Family
    labels: tuple[str, ...]  # values, in the family's order
    time_ps: np.ndarray  # (point,)
    values: np.ndarray  # (point,)
    counts: np.ndarray | None = None  # (point, bucket + 1), the last one of all values
    buckets: tuple[float, ...] = ()
    ends: bool = False  # what it is about is gone after its last point


class Grid(NamedTuple):
    """The instants at which metrics are told. An event at an instant comes after it, but for the last one."""

    time_ps: np.ndarray  # (point,)

    def place(self, event_ps: np.ndarray) -> np.ndarray:
        """The first point that knows of each event; the number of points where none does."""
        place = np.searchsorted(self.time_ps, event_ps, side="right")
        if len(self.time_ps):
            place[event_ps == self.time_ps[-1]] = len(self.time_ps) - 1
        return place

    def counted(self, event_ps: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """(point,) how many events, or how much of what they weigh, there have been."""
        n = len(self.time_ps)
        if weights is not None and weights.dtype.kind == "i":
            added = np.zeros(n + 1, dtype=np.int64)
            np.add.at(added, self.place(event_ps), weights)
        else:
            added = np.bincount(self.place(event_ps), weights, n + 1)
        return added[:n].cumsum()

    def histogram(
        self, event_ps: np.ndarray, values: np.ndarray, buckets: Sequence[float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """((point,) sums, (point, bucket + 1) cumulative counts) of values that were seen at these instants."""
        n, n_bucket = len(self.time_ps), len(buckets) + 1
        place = self.place(event_ps)
        which = np.searchsorted(np.asarray(buckets), values, side="left")
        added = np.zeros((n + 1, n_bucket), dtype=np.int64)
        np.add.at(added, (place, which), 1)
        sums = np.bincount(place, values, n + 1)[:n].cumsum()
        return sums, added[:n].cumsum(axis=0).cumsum(axis=1)


def seconds(ps: np.ndarray) -> np.ndarray:
    """Picoseconds as seconds."""
    return np.asarray(ps) / PS_PER_S
