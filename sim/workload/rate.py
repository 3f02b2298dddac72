"""A rate over time, its integral, and the way back: the times at which the integral reaches given values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BEND_S_MAX = 1.0  # where two slopes multiply, the product is drawn with straight pieces at most this long
N_PIECE_MAX = 4_000_000


class Rate(NamedTuple):
    """A non-negative function of time, straight between breakpoints; it may jump at them."""

    start_s: Floats  # (n + 1,) breakpoints, strictly rising
    left: Floats  # (n,) value at the start of each piece
    right: Floats  # (n,) value at the end of each piece


def constant_rate(value: float, end_s: float) -> Rate:
    """The same value everywhere on [0, end_s]."""
    return Rate(np.array([0.0, end_s]), np.array([value]), np.array([value]))


def steps(start_s: Floats, values: Floats) -> Rate:
    """`values[i]` on [start_s[i], start_s[i + 1])."""
    return Rate(start_s, values, values)


def lines(at_s: Floats, values: Floats) -> Rate:
    """Straight lines through the points (at_s[i], values[i])."""
    return Rate(at_s, values[:-1], values[1:])


def evaluate(rate: Rate, at_s: Floats, piece: NDArray[np.intp]) -> Floats:
    """Values at `at_s`, each read on the given piece (so that a jump has both its values)."""
    begin, end = rate.start_s[piece], rate.start_s[piece + 1]
    share = (at_s - begin) / (end - begin)
    return rate.left[piece] + (rate.right[piece] - rate.left[piece]) * share


def multiply(a: Rate, b: Rate) -> Rate:
    """The product of two rates that cover the same time.

    Exact where one of them is flat; where both slope, straight pieces of BEND_S_MAX through exact points.
    """
    for one, other in ((a, b), (b, a)):
        if len(one.left) == 1 and is_flat(one) and is_flat(other) and one.start_s[-1] == other.start_s[-1]:
            return scale(other, float(one.left[0]))
    breaks = np.union1d(a.start_s, b.start_s)
    breaks = _split_bends(breaks, _slopes(a, breaks[:-1]) & _slopes(b, breaks[:-1]))
    begin, end = breaks[:-1], breaks[1:]
    in_a, in_b = _piece_of(a, begin), _piece_of(b, begin)
    left = evaluate(a, begin, in_a) * evaluate(b, begin, in_b)
    right = evaluate(a, end, in_a) * evaluate(b, end, in_b)
    return Rate(breaks, left, right)


def is_flat(rate: Rate) -> bool:
    """Whether every piece has one value."""
    return bool((rate.left == rate.right).all())


def scale(rate: Rate, factor: float) -> Rate:
    """The rate times a number."""
    return Rate(rate.start_s, rate.left * factor, rate.right * factor)


def integral(rate: Rate) -> Floats:
    """(n + 1,) the integral from the first breakpoint up to each breakpoint."""
    areas = 0.5 * (rate.left + rate.right) * (rate.start_s[1:] - rate.start_s[:-1])
    found = np.zeros(len(areas) + 1)
    np.cumsum(areas, out=found[1:])
    return found


def integral_at(rate: Rate, at_s: Floats) -> Floats:
    """The integral from the first breakpoint up to each of `at_s`."""
    piece = _piece_of(rate, at_s)
    height = evaluate(rate, at_s, piece)
    return integral(rate)[piece] + 0.5 * (rate.left[piece] + height) * (at_s - rate.start_s[piece])


def times_at(rate: Rate, areas: Floats, cumulated: Floats | None = None) -> Floats:
    """The times at which the integral reaches each of `areas` (rising, each below the whole): time rescaling.

    A process with unit rate, mapped through this, has rate `rate`: exact for any unit-rate process. `cumulated` is the
    rate's `integral`, where it is known.
    """
    cumulated = integral(rate) if cumulated is None else cumulated
    if len(rate.left) == 1 and rate.left[0] == rate.right[0]:
        return rate.start_s[0] + areas / rate.left[0]
    firsts = np.searchsorted(areas, cumulated[1:-1], side="left")  # of each piece but the first
    ends = np.concatenate([firsts, [len(areas)]])
    numbers = ends.copy()
    numbers[1:] -= ends[:-1]
    piece = np.repeat(np.arange(len(rate.left)), numbers)
    rest = areas - cumulated[piece]
    left = rate.left[piece]
    if is_flat(rate):  # what the root below comes to, to the last bit
        into_s = np.divide(rest, left, out=np.zeros_like(rest), where=rest > 0)
        return rate.start_s[piece] + into_s
    slope = ((rate.right - rate.left) / np.diff(rate.start_s))[piece]
    root = np.sqrt(np.maximum(left * left + 2.0 * slope * rest, 0.0))  # of left·x + slope·x²/2 = rest
    into_s = np.divide(2.0 * rest, left + root, out=np.zeros_like(rest), where=rest > 0)
    return rate.start_s[piece] + into_s


def _piece_of(rate: Rate, at_s: Floats) -> NDArray[np.intp]:
    piece = np.searchsorted(rate.start_s, at_s, side="right") - 1
    return np.clip(piece, 0, len(rate.left) - 1)


def _slopes(rate: Rate, at_s: Floats) -> NDArray[np.bool_]:
    piece = _piece_of(rate, at_s)
    return rate.left[piece] != rate.right[piece]


def _split_bends(breaks: Floats, is_bent: NDArray[np.bool_]) -> Floats:
    if not is_bent.any():
        return breaks
    begin, end = breaks[:-1][is_bent], breaks[1:][is_bent]
    piece_s = max(BEND_S_MAX, float((end - begin).sum()) / N_PIECE_MAX)
    extra = [np.arange(a, b, piece_s)[1:] for a, b in zip(begin, end, strict=True)]
    return np.union1d(breaks, np.concatenate(extra))
