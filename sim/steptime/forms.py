"""Forms of step-time curves, and the choice among them: the one that does best on points that it had not seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sim.scenario.hardware import Coefficients, Grid
from sim.steptime.fits import (
    Points,
    as_arrays,
    knots_of,
    least_squares,
    points_of,
    ramps,
    robust,
    tells_context,
)
from sim.steptime.make import extended
from sim.steptime.rows import Row

LEAST_MS = 1e-6  # a base is above 0
ENOUGH_POINTS = 4  # fewer cannot be left out one by one
N_FOLD_MAX = 24
N_KNEE = 24  # numbers of tokens tried as the end of a floor


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
    """A step of prompts alone: p0 + work(tokens) + p2·Σ length²; work is linear between knots, past the last as before."""

    form: str
    p0_ms: float
    p2_ms: float
    knots: tuple[float, ...]  # tokens, increasing, from 0
    work_ms: tuple[float, ...]  # from 0, not falling

    def work(self, tokens: np.ndarray) -> np.ndarray:
        """(point,) ms."""
        return extended(tokens, self.knots, self.work_ms)

    def times(self, points: Points) -> np.ndarray:
        """(point,) ms."""
        return self.p0_ms + self.work(points.tokens) + self.p2_ms * points.tokens * points.length


Fitted = DecodeFit | PromptFit


class Chosen(NamedTuple):
    """The form with the least error on points left out."""

    fit: Fitted
    left_out: (
        np.ndarray
    )  # (point,) relative errors of points that the fit had not seen; empty: too few points


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
    p0, p1, p2 = (
        float(c)
        for c in np.append(robust(np.column_stack(terms[: powers + 1]), points), np.zeros(2 - powers))
    )
    return PromptFit(form, p0, p2, (0.0, 1.0), (0.0, p1))


def prompt_line(points: Points) -> PromptFit:
    """p0 + p1·tokens."""
    return prompt_polynomial(points, "a straight line", 1)


def prompt_quadratic(points: Points) -> PromptFit:
    """p0 + p1·tokens + p2·Σ length²."""
    return prompt_polynomial(points, "a polynomial", 2)


def prompt_floor(points: Points) -> PromptFit:
    """A floor for few tokens, from some number of tokens on a straight line."""
    return _bent(points, "a floor, then a straight line", with_first=False, with_square=False)


def prompt_floor_square(points: Points) -> PromptFit:
    """A floor for few tokens, from some number of tokens on a polynomial."""
    return _bent(points, "a floor, then a polynomial", with_first=False, with_square=True)


def prompt_knee(points: Points) -> PromptFit:
    """Two straight lines, the second at least as steep."""
    return _bent(points, "two straight lines", with_first=True, with_square=False)


def _bent(points: Points, form: str, with_first: bool, with_square: bool) -> PromptFit:
    """Lines that meet at the number of tokens where the mean error is least."""
    tokens = points.tokens
    low, high = float(tokens.min()), float(tokens.max())

    def terms(knee: float) -> np.ndarray:
        columns = [np.ones_like(tokens), np.maximum(0.0, tokens - knee)]
        columns += [tokens] if with_first else []
        columns += [tokens * points.length] if with_square else []
        return np.column_stack(columns)

    def error(knee: float) -> float:
        found = least_squares(terms(knee), points.latency_ms, points.n_rows)
        off = np.abs(terms(knee) @ found / points.latency_ms - 1.0)
        return float(np.average(off, weights=points.n_rows))

    knee = low
    # Roughly, then between the neighbours of the best; where the first line rises too, few points cannot tell so finely.
    for _ in range((1 if with_first else 2) if high > low else 0):
        knees = np.geomspace(low, high, N_KNEE)
        best = int(np.argmin([error(k) for k in knees[:-1]]))
        knee, low, high = float(knees[best]), float(knees[max(best - 1, 0)]), float(knees[best + 1])
    knee = max(1.0, float(round(knee)))
    found = robust(terms(knee), points)
    first = float(found[2]) if with_first else 0.0
    square = float(found[-1]) if with_square else 0.0
    work = (0.0, first * knee, first * 2 * knee + float(found[1]) * knee)
    return PromptFit(form, float(found[0]), square, (0.0, knee, 2 * knee), work)


def prompt_table(points: Points) -> PromptFit:
    """A time at each measured number of tokens, linear between them, not falling."""
    knots = knots_of(points.tokens)
    climbs = robust(ramps(points.tokens, knots), points)
    heights = np.cumsum(climbs)
    floor = float(heights[0])
    work = (0.0, *(float(h) - floor for h in heights))
    return PromptFit("a time at each number of tokens", floor, 0.0, (0.0, *(float(k) for k in knots)), work)


DECODE_FORMS: tuple[Callable[[Points], Fitted], ...] = (decode_line, decode_same, decode_table, decode_slopes)
PROMPT_FORMS: tuple[Callable[[Points], Fitted], ...] = (
    prompt_line,
    prompt_quadratic,
    prompt_floor,
    prompt_floor_square,
    prompt_knee,
    prompt_table,
)


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


def to_grid(decode: DecodeFit, prompts: PromptFit, source: str, mixed_ms: float = 0.0) -> Grid:
    """Both fits as a scenario's step time."""
    is_line = prompts.knots == (0.0, 1.0)
    return Grid(
        batch_size=tuple(int(n) for n in decode.sizes),
        base_ms=tuple(float(b) for b in np.maximum(decode.base_ms, LEAST_MS)),
        slope_ms=tuple(float(s) for s in decode.slope_ms),
        p0_ms=prompts.p0_ms,
        p1_ms=prompts.work_ms[1] if is_line else 0.0,
        p2_ms=prompts.p2_ms,
        prompt_tokens=() if is_line else tuple(round(k) for k in prompts.knots[1:]),
        prompt_ms=() if is_line else prompts.work_ms[1:],
        mixed_ms=mixed_ms,
        source=source,
    )


def mixed_errors(rows: list[Row], decode: DecodeFit, prompts: PromptFit) -> tuple[float, np.ndarray]:
    """(fixed cost in ms of steps that carry prompts beside decodes, (row,) relative errors of rows left out).

    What such a step takes beyond its decodes and the work of its prompts: the median over the rows, no less than 0.
    """
    n, length, latency_ms = as_arrays(rows)
    tokens = np.array([row.prompt_tokens for row in rows])
    points = Points(n, length, latency_ms, np.ones(len(rows)))
    without = decode.times(points) + prompts.work(n + tokens) - prompts.work(n) + prompts.p2_ms * tokens**2
    extra = latency_ms - without
    found = max(0.0, float(np.median(extra)))
    if len(rows) < ENOUGH_POINTS:
        return found, np.zeros(0)
    others = np.array([max(0.0, float(np.median(np.delete(extra, i)))) for i in range(len(rows))])
    return found, (without + others) / latency_ms - 1.0


def fit_grid(prefill: list[Row], decode: list[Row], source: str) -> Grid:
    """The best decode and prompt fits as a grid."""
    of_decode, of_prompts = choose_decode(decode).fit, choose_prompts(prefill).fit
    assert isinstance(of_decode, DecodeFit)
    assert isinstance(of_prompts, PromptFit)
    return to_grid(of_decode, of_prompts, source)


def fit_coefficients(
    prefill: list[Row], decode: list[Row], source: str, mixed_ms: float = 0.0
) -> Coefficients:
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
        p1_ms=prompts.work_ms[1],
        p2_ms=prompts.p2_ms,
        mixed_ms=mixed_ms,
        source=source,
    )
