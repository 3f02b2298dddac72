"""Renewal processes with unit mean gap, started in equilibrium: their rate is one from time 0 on."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]
CHUNK_MIN, CHUNK_MAX = 64, 65_536
DRAW_MIN, DRAW_SPARE = 32, 1.05  # how many gaps are drawn at first to pass a time of so many mean gaps


def renewal_times(
    draw: Draw, first: Draw, end: float, rng: np.random.Generator, alone: bool = False
) -> Floats:
    """Event times in [0, end) of a renewal process whose first gap is drawn by `first`, the others by `draw`.

    Gaps are cumulated in chunks whose sizes do not depend on `end`, so a longer horizon only adds events. Where the
    generator is there for these times `alone`, what lies far beyond `end` is not drawn.
    """
    last = float(first(rng, 1)[0])
    parts = [np.array([last])]
    size = CHUNK_MIN
    while last < end:
        times = _cumulated(draw, size, end - last if alone else math.inf, rng)
        times += last
        parts.append(times)
        last = float(times[-1])
        size = min(2 * size, CHUNK_MAX)
    events = np.concatenate(parts)
    return events[: np.searchsorted(events, end, side="left")]


def _cumulated(draw: Draw, size: int, room: float, rng: np.random.Generator) -> Floats:
    """The cumulated gaps of a chunk, or of its beginning that passes `room`: as one addition after the other has them."""
    parts: list[Floats] = []
    sofar, n = 0.0, 0
    while n < size and sofar <= room:
        left = size - n
        gaps = draw(rng, left if room > left else min(left, DRAW_MIN + int(DRAW_SPARE * (room - sofar))))
        gaps[0] += sofar
        parts.append(np.cumsum(gaps))
        sofar = float(parts[-1][-1])
        n += len(gaps)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def poisson_times(end: float, rng: np.random.Generator, alone: bool = False) -> Floats:
    """Event times in [0, end) of a Poisson process of rate one."""
    return renewal_times(_exponential, _exponential, end, rng, alone)


def gamma_times(shape: float, end: float, rng: np.random.Generator, alone: bool = False) -> Floats:
    """Event times in [0, end) with gamma gaps of mean one and CV 1/√shape."""

    def draw(rng: np.random.Generator, n: int) -> Floats:
        return rng.standard_gamma(shape, n) / shape

    def first(rng: np.random.Generator, n: int) -> Floats:
        return rng.random(n) * rng.standard_gamma(shape + 1.0, n) / shape  # U · length-biased gap

    return renewal_times(draw, first, end, rng, alone)


def weibull_times(shape: float, end: float, rng: np.random.Generator, alone: bool = False) -> Floats:
    """Event times in [0, end) with Weibull gaps of mean one."""
    scale = 1.0 / math.gamma(1.0 + 1.0 / shape)

    def draw(rng: np.random.Generator, n: int) -> Floats:
        return scale * rng.weibull(shape, n)

    def first(rng: np.random.Generator, n: int) -> Floats:
        biased = rng.standard_gamma(1.0 + 1.0 / shape, n) ** (1.0 / shape)
        return rng.random(n) * scale * biased  # U · length-biased gap

    return renewal_times(draw, first, end, rng, alone)


def weibull_shape(cv: float) -> float:
    """The Weibull shape k whose CV is `cv`: Γ(1 + 2/k) / Γ(1 + 1/k)² = 1 + cv², by bisection on ln k."""
    low, high = math.log(0.05), math.log(100.0)
    for _ in range(80):
        middle = 0.5 * (low + high)
        if _weibull_log_moment_ratio(math.exp(middle)) > math.log1p(cv * cv):
            low = middle
        else:
            high = middle
    return math.exp(0.5 * (low + high))


def _weibull_log_moment_ratio(shape: float) -> float:
    return math.lgamma(1.0 + 2.0 / shape) - 2.0 * math.lgamma(1.0 + 1.0 / shape)


def _exponential(rng: np.random.Generator, n: int) -> Floats:
    return rng.standard_exponential(n)
