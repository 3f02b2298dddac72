"""Scores of nodes with exact fractions and the logistic function itself, by the rules' description alone."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction


def least_allocated(asked: int, there: int) -> int:
    """What stays free, in whole per cent."""
    return math.floor(Fraction(100 * (there - asked), there))


def most_allocated(asked: int, there: int) -> int:
    """What is taken, in whole per cent."""
    return math.floor(Fraction(100 * asked, there))


def by_shape(asked: int, there: int, shape: list[tuple[int, int]]) -> int:
    """The value of a function that is linear between its points, at the whole per cent taken; towards the first of two."""
    at = most_allocated(asked, there)
    if at <= shape[0][0]:
        return shape[0][1]
    for (left, low), (right, high) in itertools.pairwise(shape):
        if at <= right:
            return low + math.trunc(Fraction((high - low) * (at - left), right - left))
    return shape[-1][1]


def fragmentation_change(before: int, after: int, weight: int, places: int = 8) -> int:
    """FGD: 100 times the logistic function of how many whole GPUs of fragmentation a placement saves; a GPU has so many
    places, and each is counted in whole thousandths of it.
    """
    if before == after or weight == 0:
        return 50 if before == after else 99 if before > after else 0
    saved = (before - after) * (1000 // places) / 1000 / weight
    return min(99, max(0, math.floor(100 / (1 + math.exp(-saved)))))


def spread(here: int, counts: list[int]) -> int:
    """kube-scheduler's for one constraint: 100 where fewest are if any zone has some, by what a place is short of most."""
    if max(counts) == 0:
        return 100
    return math.floor(Fraction(100 * (max(counts) + min(counts) - here), max(counts)))
