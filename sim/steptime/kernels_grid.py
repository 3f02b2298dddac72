"""Measured times on a grid: linear between the points in logarithms of all axes and of the time."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np


class LogGrid(NamedTuple):
    """Times at every combination of the axes' points.

    Inside the grid the logarithm of the time is interpolated linearly in the logarithms of the coordinates: what
    grows as a power of each coordinate is exact, and what does not fall from point to point falls nowhere. Below
    an axis' first point the first is taken. Past its last the time goes on as the power `beyond` of the coordinate.
    """

    axes: tuple[np.ndarray, ...]  # each (points,) float, positive, strictly increasing
    log_s: np.ndarray  # (points of axis 0, points of axis 1, ...) natural logarithm of seconds
    beyond: tuple[float, ...]  # one for each axis: 0 = flat, 1 = proportional, 2 = quadratic

    def at(self, *where: np.ndarray | float) -> np.ndarray:
        """Seconds at the coordinates, one argument for each axis; they broadcast, and so does the result."""
        spots = np.broadcast_arrays(*(np.asarray(x, dtype=float) for x in where))
        total = np.zeros(spots[0].shape)
        below, weight = [], []
        for axis, power, x in zip(self.axes, self.beyond, spots, strict=True):
            inside = np.clip(x, axis[0], axis[-1])
            total += power * np.log(np.maximum(x, axis[-1]) / axis[-1])
            index, share = _cell(axis, inside)
            below.append(index)
            weight.append(share)
        for corner in product((0, 1), repeat=len(self.axes)):
            share = np.ones(total.shape)
            for side, w in zip(corner, weight, strict=True):
                share = share * (w if side else 1.0 - w)
            last = (size - 1 for size in self.log_s.shape)
            spot = tuple(np.minimum(i + side, end) for i, side, end in zip(below, corner, last, strict=True))
            total += share * self.log_s[spot]
        return np.exp(total)


def _cell(axis: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The point at or below each x, and how far x is on the way to the next in logarithms, 0 to 1."""
    if len(axis) == 1:
        return np.zeros(x.shape, dtype=int), np.zeros(x.shape)
    index = np.clip(np.searchsorted(axis, x, side="right") - 1, 0, len(axis) - 2)
    low, high = np.log(axis[index]), np.log(axis[index + 1])
    return index, (np.log(x) - low) / (high - low)
