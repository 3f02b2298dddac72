"""Comparisons that may be looked at after every round of seeds: p-values and intervals that hold at all rounds together.

A test at 5 % that is looked at ten times is wrong far more often than in 5 %. These are built from a process that,
where there is no difference, is above 1 / α at any time with a probability of at most α (Ville's inequality), so that a
study may stop at whichever round it likes. For means: the Bayes factor of a t-test with an effect, in standard
deviations, of N(0, g) (Wang and Ramdas, "Anytime-valid t-tests and confidence sequences for Gaussian means with unknown
variance", 2023, arXiv:2310.03722; the prior of Rouder and others, 2009). For signs: a mixture of binomials over Beta(½,
½) (Robbins 1970).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sim.statistics.means import EQUAL_SURE

EFFECT = (
    0.5  # g: variance of the effect, in standard deviations of a difference, that the test is sharpest for
)
FIRST_ROUND = 10  # seeds: fewer say little of how differences spread
GROWTH = 1.5


def rounds(most: int) -> list[int]:
    """After how many seeds a study is looked at, up to `most`: 10, 20, 30, 50, 80, 120 and so on, each round half more."""
    found = [min(FIRST_ROUND, most)]
    while found[-1] < most:
        n = found[-1]
        grown = math.ceil(n * GROWTH / FIRST_ROUND) * FIRST_ROUND
        found.append(min(most, max(n + FIRST_ROUND, grown)))
    return found


def p_at_any_time(differences: Sequence[float], looks: Sequence[int]) -> float:
    """The p-value of a mean difference of 0 after some rounds: the smallest of 1 / e at each, which holds at all of them.

    `looks` are the numbers of seeds after which it was looked at, rising; those beyond the differences are left out.
    """
    values = np.asarray(differences, dtype=float)
    seen = [n for n in looks if 2 <= n < len(values)]
    return min((_p_of_mean(values[:n]) for n in (*seen, len(values))), default=1.0)


def p_of_signs_at_any_time(n_up: Sequence[int], n_down: Sequence[int]) -> float:
    """The p-value of either sign being as likely as the other, from counts at each look."""
    return min((_p_of_signs(a, b) for a, b in zip(n_up, n_down, strict=True)), default=1.0)


def _p_of_mean(values: np.ndarray) -> float:
    n = len(values)
    if n < 2 or not values.any():
        return 1.0
    if bool((values == values[0]).all()):
        return _p_of_signs(n, 0) if n < EQUAL_SURE else 0.0
    t_square = n * values.mean() ** 2 / values.var(ddof=1)
    more = 1 + n * EFFECT
    log_e = -0.5 * math.log(more) + 0.5 * n * (
        math.log1p(t_square / (n - 1)) - math.log1p(t_square / ((n - 1) * more))
    )
    return min(1.0, math.exp(-log_e))


def _p_of_signs(n_up: int, n_down: int) -> float:
    n = n_up + n_down
    log_e = (
        math.lgamma(n_up + 0.5) + math.lgamma(n_down + 0.5) - math.lgamma(n + 1) - math.log(math.pi)
    ) + n * math.log(2)
    return min(1.0, math.exp(-log_e))


def interval_at_any_time(differences: np.ndarray, alpha: float) -> tuple[float, float]:
    """(low, high) of the mean, of a sequence of intervals that all hold together with probability 1 − alpha; infinite
    where the values are too few to say anything.
    """
    values = np.asarray(differences, dtype=float)
    n = len(values)
    if n < 2:
        return -math.inf, math.inf
    mean = float(values.mean())
    if bool((values == values[0]).all()):
        return float(values[0]), float(values[0])
    more = 1 + n * EFFECT
    bound = math.exp((0.5 * math.log(more) - math.log(alpha)) * 2 / n)
    if bound >= more:
        return -math.inf, math.inf
    t_square = (n - 1) * (bound - 1) / (1 - bound / more)
    half = math.sqrt(t_square / n) * float(values.std(ddof=1))
    return mean - half, mean + half
