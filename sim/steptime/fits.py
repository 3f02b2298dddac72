"""Points of measured steps, and least squares that never fall and do not follow a few rows far off."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sim.steptime.rows import Row

SAME_LENGTH = 1.01  # lengths within a token or a hundredth of each other are one length
SPREAD_LENGTH = 1.25  # lengths less far apart than this cannot tell what context costs
N_KNOT_MAX = 24
HUBER = 1.5 * 1.4826  # times the median error: 1.5 standard deviations of normal noise
SMALLEST_LIMIT = 1e-3  # relative errors below a thousandth are never outliers


class Points(NamedTuple):
    """Distinct measured steps, each column (point,) float: repeats of one step are one point, their median."""

    batch: np.ndarray
    length: np.ndarray
    latency_ms: np.ndarray
    n_rows: np.ndarray

    @property
    def tokens(self) -> np.ndarray:
        """Tokens of the whole batch: those computed (prompts) or attended (decode)."""
        return self.batch * self.length

    def where(self, chosen: np.ndarray) -> Points:
        """The chosen points."""
        return Points(*(column[chosen] for column in self))


# ---- points --------------------------------------------------------------------------------------


def as_arrays(rows: list[Row]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(batch size, length, latency_ms) of rows, each (row,) float."""
    columns = np.array([(r.batch_size, r.length, r.latency_ms) for r in rows], dtype=float).reshape(-1, 3)
    return columns[:, 0], columns[:, 1], columns[:, 2]


def points_of(rows: list[Row]) -> Points:
    """The distinct steps of rows of one mode; repeats within a length are one, at the median of their times."""
    batch, length, latency_ms = as_arrays(rows)
    length = merged(length)
    keys, which = np.unique(np.column_stack([batch, length]), axis=0, return_inverse=True)
    latency = np.array([np.median(latency_ms[which == i]) for i in range(len(keys))])
    return Points(keys[:, 0], keys[:, 1], latency, np.bincount(which).astype(float))


def merged(lengths: np.ndarray) -> np.ndarray:
    """Each length as the mean of those near it: within a hundredth or a token (below 20 tokens: a twentieth)."""
    order = np.argsort(lengths, kind="stable")
    group = np.zeros(len(lengths), dtype=int)
    first, name = -math.inf, -1
    for i in order:
        if lengths[i] > max(first * SAME_LENGTH, first + min(1.0, first / 20)):
            first, name = float(lengths[i]), name + 1
        group[i] = name
    return np.array([lengths[group == g].mean() for g in range(name + 1)])[group]


def tells_context(points: Points) -> bool:
    """Whether the lengths lie far enough apart to say what attended tokens cost."""
    return bool(points.length.max() >= SPREAD_LENGTH * points.length.min())


# ---- least squares -------------------------------------------------------------------------------


def least_squares(
    terms: np.ndarray, unit: np.ndarray, weight: np.ndarray | None = None, target: np.ndarray | None = None
) -> np.ndarray:
    """Coefficients ≥ 0 that minimise the weighted squares of (`terms @ c` − `target`)/`unit`.

    terms: (row, coefficient); unit: (row,) > 0; target: (row,), where not given `unit`: the error is then relative
    to it; weight: (row,) ≥ 0, 1 where not given.
    """
    from scipy.optimize import nnls

    root = np.sqrt(np.ones(len(unit)) if weight is None else weight) / unit
    scaled = terms * root[:, None]
    size = np.linalg.norm(scaled, axis=0)
    size[size == 0] = 1.0
    found, _ = nnls(scaled / size, root * (unit if target is None else target))
    return found / size


def robust(terms: np.ndarray, points: Points) -> np.ndarray:
    """Coefficients ≥ 0 of the least relative error, in which no point far from the others pulls hard.

    Huber's weights (1964) on (measured − fitted)/fitted, from the fit of the least absolute error: errors relative
    to the measured times would follow one that is far too short.
    """
    measured, weight = points.latency_ms, points.n_rows
    unit = np.full(len(measured), float(np.median(measured)))
    for _ in range(12):
        found = least_squares(terms, unit, weight, measured)
        off = np.abs(terms @ found - measured)
        weight = points.n_rows / np.maximum(off / unit, SMALLEST_LIMIT)
    for _ in range(20):
        fitted = np.maximum(terms @ found, SMALLEST_LIMIT * unit)
        error = np.abs(measured / fitted - 1.0)
        limit = max(SMALLEST_LIMIT, HUBER * float(np.median(error)))
        before, weight = weight, points.n_rows * np.minimum(1.0, limit / np.maximum(error, 1e-12))
        found = least_squares(terms, fitted, weight, measured)
        if np.allclose(before, weight, rtol=1e-3):
            break
    return found


def ramps(at: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """(row, knot) terms of a curve that is linear between knots and, with coefficients ≥ 0, never falls.

    The first is 1, each further one climbs from 0 to 1 between two knots; past the last it goes on.
    """
    ones = np.ones((len(at), 1))
    if len(knots) == 1:
        return ones
    climbed = (at[:, None] - knots[:-1]) / np.diff(knots)
    upper = np.ones(len(knots) - 1)
    upper[-1] = np.inf
    return np.hstack([ones, np.clip(climbed, 0.0, upper)])


def knots_of(values: np.ndarray) -> np.ndarray:
    """The distinct values, or so many of them that a fit stays quick: evenly spread by their logarithm."""
    distinct = np.unique(values)
    if len(distinct) <= N_KNOT_MAX:
        return distinct
    wanted = np.geomspace(distinct[0], distinct[-1], N_KNOT_MAX)
    return distinct[np.unique([np.argmin(np.abs(distinct - w)) for w in wanted])]
