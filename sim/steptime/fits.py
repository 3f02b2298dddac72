"""Step-time curves fitted to measured rows: robust, never falling, chosen by what they say of rows left out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sim.scenario.hardware import Coefficients, Grid
from sim.steptime.make import extended
from sim.steptime.rows import Row

LEAST_MS = 1e-6  # a base is above 0
SAME_LENGTH = 1.01  # lengths within a token or a hundredth of each other are one length
SPREAD_LENGTH = 1.25  # lengths less far apart than this cannot tell what context costs
ENOUGH_POINTS = 4  # fewer cannot be left out one by one
N_KNOT_MAX = 24
N_FOLD_MAX = 24
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


class DecodeFit(NamedTuple):
    """A decode step: base and slope at batch sizes, linear between them."""

    form: str
    sizes: np.ndarray  # (size,) increasing
    base_ms: np.ndarray
    slope_ms: np.ndarray

    def times(self, points: Points) -> np.ndarray:
        """(point,) ms."""
        base = extended(points.batch, tuple(self.sizes), tuple(self.base_ms))
        return base + np.interp(points.batch, self.sizes, self.slope_ms) * points.tokens


class PromptFit(NamedTuple):
    """A step of prompts alone: p0 + p1·tokens + p2·Σ length²."""

    form: str
    p0_ms: float
    p1_ms: float
    p2_ms: float

    def times(self, points: Points) -> np.ndarray:
        """(point,) ms."""
        return self.p0_ms + self.p1_ms * points.tokens + self.p2_ms * points.tokens * points.length


Fitted = DecodeFit | PromptFit


class Chosen(NamedTuple):
    """The form with the least error on points left out."""

    fit: Fitted
    left_out: (
        np.ndarray
    )  # (point,) relative errors of points that the fit had not seen; empty: too few points


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
    """Lengths of which those that differ by no more than a token or a hundredth are one, their mean."""
    order = np.argsort(lengths, kind="stable")
    group = np.zeros(len(lengths), dtype=int)
    first, name = -math.inf, -1
    for i in order:
        if lengths[i] > max(first + 1.0, first * SAME_LENGTH):
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


# ---- forms ---------------------------------------------------------------------------------------


def decode_line(points: Points, with_batch: bool = True) -> DecodeFit:
    """d0 + d1·sequences + d2·kv tokens; d2 only where the lengths tell it, d1 only `with_batch`."""
    terms = [np.ones_like(points.batch)]
    terms += [points.batch] if with_batch else []
    terms += [points.tokens] if tells_context(points) else []
    found = robust(np.column_stack(terms), points)
    d0, d1 = found[0], found[1] if with_batch else 0.0
    sizes = np.unique(np.append(knots_of(points.batch), 1.0))
    slope = found[-1] if tells_context(points) else 0.0
    form = "a straight line" if with_batch else "the same for every batch"
    return DecodeFit(form, sizes, d0 + d1 * sizes, np.full(len(sizes), slope))


def decode_same(points: Points) -> DecodeFit:
    """d0 + d2·kv tokens."""
    return decode_line(points, with_batch=False)


def decode_table(points: Points) -> DecodeFit:
    """A base at every batch size, one slope for all."""
    knots = knots_of(points.batch)
    terms = ramps(points.batch, knots)
    known = tells_context(points)
    found = robust(np.column_stack([terms, points.tokens]) if known else terms, points)
    slope = found[-1] if known else 0.0
    base = np.cumsum(found[: len(knots)])
    return DecodeFit("a base at each batch size", knots, base, np.full(len(knots), slope))


def decode_slopes(points: Points) -> DecodeFit:
    """A base and a slope at every batch size."""
    knots = knots_of(points.batch)
    own = [n for n in knots if tells_context(points.where(points.batch == n))]
    if not own:
        return decode_table(points)
    slopes = np.clip(ramps(points.batch, np.array(own)), 0.0, 1.0)
    found = robust(np.column_stack([ramps(points.batch, knots), slopes * points.tokens[:, None]]), points)
    slope = np.interp(knots, own, np.cumsum(found[len(knots) :]))
    return DecodeFit("a base and a slope at each batch size", knots, np.cumsum(found[: len(knots)]), slope)


def prompt_polynomial(points: Points, form: str, powers: int) -> PromptFit:
    """p0 + p1·tokens + p2·Σ length², the first `powers` + 1 terms of it."""
    terms = [np.ones_like(points.batch), points.tokens, points.tokens * points.length]
    found = robust(np.column_stack(terms[: powers + 1]), points)
    return PromptFit(form, *(float(c) for c in np.append(found, np.zeros(2 - powers))))


def prompt_line(points: Points) -> PromptFit:
    """p0 + p1·tokens."""
    return prompt_polynomial(points, "a straight line", 1)


def prompt_quadratic(points: Points) -> PromptFit:
    """p0 + p1·tokens + p2·Σ length²."""
    return prompt_polynomial(points, "a polynomial", 2)


DECODE_FORMS: tuple[Callable[[Points], Fitted], ...] = (decode_line, decode_same, decode_table, decode_slopes)
PROMPT_FORMS: tuple[Callable[[Points], Fitted], ...] = (prompt_line, prompt_quadratic)


# ---- choosing ------------------------------------------------------------------------------------


def folds(key: np.ndarray) -> list[np.ndarray]:
    """Which points are left out together: (point,) bool each.

    All points of a batch size (of prompts: of a number of tokens) between the smallest and the largest, since a
    step between them is what a fit is asked for; the points of the smallest and the largest one by one.
    """
    values = np.unique(key)
    inside = values[1:-1] if len(values) >= ENOUGH_POINTS else values[:0]
    together = [key == value for value in inside]
    alone = [np.arange(len(key)) == i for i in np.flatnonzero(~np.isin(key, inside))]
    found = together + alone
    if len(found) <= N_FOLD_MAX:
        return found
    return [np.any(found[i::N_FOLD_MAX], axis=0) for i in range(N_FOLD_MAX)]


def left_out_errors(points: Points, key: np.ndarray, form: Callable[[Points], Fitted]) -> np.ndarray:
    """(point,) relative errors of a form fitted without the point's fold."""
    errors = np.zeros(len(key))
    for fold in folds(key):
        fitted = form(points.where(~fold))
        errors[fold] = fitted.times(points.where(fold)) / points.latency_ms[fold] - 1.0
    return errors


def choose(points: Points, key: np.ndarray, forms: tuple[Callable[[Points], Fitted], ...]) -> Chosen:
    """The form with the least mean error on points left out, the earlier one where they are equal.

    Of fewer than four points none can be left out: the first form then, and no error.
    """
    if len(points.batch) < ENOUGH_POINTS:
        return Chosen(forms[0](points), np.zeros(0))
    tried = [left_out_errors(points, key, form) for form in forms]
    means = [round(float(np.average(np.abs(errors), weights=points.n_rows)), 6) for errors in tried]
    best = means.index(min(means))
    return Chosen(forms[best](points), tried[best])


def choose_decode(rows: list[Row]) -> Chosen:
    """The decode fit of rows."""
    points = points_of(rows)
    return choose(points, points.batch, DECODE_FORMS)


def choose_prompts(rows: list[Row]) -> Chosen:
    """The prompt fit of rows."""
    points = points_of(rows)
    return choose(points, points.tokens, PROMPT_FORMS)


def to_grid(decode: DecodeFit, prompts: PromptFit, source: str) -> Grid:
    """Both fits as a scenario's step time."""
    return Grid(
        batch_size=tuple(int(n) for n in decode.sizes),
        base_ms=tuple(float(b) for b in np.maximum(decode.base_ms, LEAST_MS)),
        slope_ms=tuple(float(s) for s in decode.slope_ms),
        p0_ms=prompts.p0_ms,
        p1_ms=prompts.p1_ms,
        p2_ms=prompts.p2_ms,
        source=source,
    )


def fit_grid(prefill: list[Row], decode: list[Row], source: str) -> Grid:
    """The best decode and prompt fits as a grid."""
    of_decode, of_prompts = choose_decode(decode).fit, choose_prompts(prefill).fit
    assert isinstance(of_decode, DecodeFit)
    assert isinstance(of_prompts, PromptFit)
    return to_grid(of_decode, of_prompts, source)


def fit_coefficients(prefill: list[Row], decode: list[Row], source: str) -> Coefficients:
    """The linear step time: d0 + d1·sequences + d2·kv tokens, and the prompts' polynomial."""
    points = points_of(decode)
    prompts = prompt_quadratic(points_of(prefill))
    terms = [np.ones_like(points.batch), points.batch]
    terms += [points.tokens] if tells_context(points) else []
    d0, d1, d2 = np.append(robust(np.column_stack(terms), points), 0.0)[:3]
    return Coefficients(
        d0_ms=max(float(d0), LEAST_MS),
        d1_ms=float(d1),
        d2_ms=float(d2),
        p0_ms=prompts.p0_ms,
        p1_ms=prompts.p1_ms,
        p2_ms=prompts.p2_ms,
        source=source,
    )
