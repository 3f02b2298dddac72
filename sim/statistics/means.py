"""Means over seeds: Student's t with a correction for skewness.

Waiting times and costs over seeds have long tails on one side, where Student's interval of ten to thirty seeds covers
the mean too seldom, and misses it on one side only. The statistic T = √n (mean − μ) / s is made symmetric by Hall's
cubic transformation, T + γ T² / (3 √n) + γ² T³ / (27 n) + γ / (6 √n), which can be undone in closed form, and held
against Student's t. Hall, "On the removal of skewness by transformation", J. R. Stat. Soc. B 54 (1992). A few seeds say
little of their skewness γ: it is drawn towards 0 by its standard error under a normal distribution, so that seeds
without a tail get Student's interval, and γ / √n is held within BEND_MAX, beyond which the correction of ten seeds
overshoots (docs/statistics.md has the coverage that was measured).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

CONFIDENCE = 0.95
BEND_MAX = 0.2
EQUAL_SURE = 5  # values that are equal to the last digit are no chance, from so many on
STRAIGHT = 1e-9  # a skewness below it changes nothing that can be seen


class Moments(NamedTuple):
    """What intervals and tests need of some values, over the last axis."""

    n: int
    mean: np.ndarray
    error: np.ndarray  # standard error of the mean; 0 where all values are the same
    bend: np.ndarray  # γ / √n, as far as the values show it


def moments(values: np.ndarray) -> Moments:
    """The moments over the last axis, which has two values or more."""
    n = values.shape[-1]
    mean = values.mean(axis=-1)
    away = values - mean[..., None]
    spread = np.sqrt((away**2).mean(axis=-1))
    # values that are all the same have no spread, whatever the rounding of their mean
    spread = np.where((values == values[..., :1]).all(axis=-1), 0.0, spread)
    skew = np.zeros_like(mean)
    if n > 2:
        third = (away**3).mean(axis=-1)
        raw = np.divide(third, spread**3, out=np.zeros_like(mean), where=spread**3 > 0)
        raw = raw * math.sqrt(n * (n - 1)) / (n - 2)
        doubt = math.sqrt(6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3)))
        skew = np.sign(raw) * np.maximum(0.0, np.abs(raw) - doubt)
    return Moments(n, mean, spread / math.sqrt(n - 1), np.clip(skew / math.sqrt(n), -BEND_MAX, BEND_MAX))


def mean_interval(values: np.ndarray, confidence: float = CONFIDENCE) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) of the mean over the last axis, in the unit of the values; one value gives an infinite interval."""
    values = np.asarray(values, dtype=float)
    if values.shape[-1] < 2:
        nowhere = np.full(values.shape[:-1], np.inf)
        return -nowhere, nowhere
    found = moments(values)
    reach = student_t(found.n - 1, confidence)
    return (
        found.mean - found.error * _straightened(reach, found.bend),
        found.mean - found.error * _straightened(-reach, found.bend),
    )


def p_of_mean(values: np.ndarray, mean: float = 0.0) -> np.ndarray:
    """The two-sided p-value of the mean being `mean`, over the last axis: below 1 − confidence exactly where the interval
    of that confidence leaves it out. 1 where there are fewer than two values, or all are `mean`.

    Values that are all the same, but not `mean`, have no spread to measure by: fewer than EQUAL_SURE get the p-value of
    their signs, more are sure.
    """
    from scipy.special import stdtr

    values = np.asarray(values, dtype=float)
    n = values.shape[-1]
    if n < 2:
        return np.ones(values.shape[:-1])
    found = moments(values)
    away = found.mean - mean
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(found.error > 0, away / found.error, 0.0)
    bent = t + found.bend * t**2 / 3 + found.bend**2 * t**3 / 27 + found.bend / 6
    p = 2 * stdtr(n - 1, -np.abs(bent))
    return np.where(found.error > 0, p, np.where(away == 0, 1.0, 2.0 * 0.5**n if n < EQUAL_SURE else 0.0))


def _straightened(y: float, bend: np.ndarray) -> np.ndarray:
    """The T whose transformation is y."""
    safe = np.where(np.abs(bend) < STRAIGHT, 1.0, bend)
    curved = 3 / safe * (np.cbrt(1 + safe * (y - safe / 6)) - 1)
    return np.where(np.abs(bend) < STRAIGHT, y, curved)


def student_half(values: np.ndarray, confidence: float = CONFIDENCE) -> float:
    """Half of Student's interval of a mean, of 95 % unless told; 0 for one value."""
    if len(values) < 2 or bool((values == values[0]).all()):
        return 0.0
    return student_t(len(values) - 1, confidence) * float(values.std(ddof=1)) / math.sqrt(len(values))


def student_t(degrees: int, confidence: float = CONFIDENCE) -> float:
    """The two-sided quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.5 + confidence / 2))
