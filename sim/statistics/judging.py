"""Is one fleet better than another? Differences paired by seed, a verdict for each, one rate of error for a table.

Both fleets of a pair see the same requests (common random numbers), so that only what differs between them is left. All
comparisons of a table are judged together by Holm's procedure: the chance that any of them is called better or worse
although there is no difference is at most 5 %. Holm, "A simple sequentially rejective multiple test procedure",
Scandinavian Journal of Statistics 6 (1979).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sim.statistics.means import CONFIDENCE, mean_interval, p_of_mean
from sim.statistics.sequences import interval_at_any_time, p_at_any_time, p_of_signs_at_any_time

BETTER, WORSE, UNCLEAR, SAME = "better", "worse", "unclear", "same"
LOW, HIGH = "low", "high"  # as sim/measures has them
ALPHA = 1 - CONFIDENCE
ROUNDING = 1e-12  # relative: measures are quotients of whole numbers


class Paired(NamedTuple):
    """A measure of one fleet and of another, seed by seed: what is to be judged."""

    ours: Sequence[float | None]  # infinite: never served
    theirs: Sequence[float | None]
    better: str  # "low" or "high"; anything else gets no verdict
    margin: float = 0.0  # a difference that is surely smaller is `same`


class Judgement(NamedTuple):
    """What pairs of seeds say of one fleet against another."""

    verdict: str  # better, worse, unclear; same: equal in every seed, or surely closer than the margin
    mean: float | None  # mean difference of the pairs with two finite values
    low: float | None  # 95 % interval of it, this comparison alone
    high: float | None
    p: float  # this comparison alone
    p_holm: float  # with all comparisons of the table: the verdict holds where it is at most 5 %
    n: int  # pairs with two values
    n_infinite: (
        int  # pairs with an infinite side: they are judged by signs, in how many seeds either was better
    )


def judge(table: Sequence[Paired], looks: Sequence[int] | None = None, n_more: int = 0) -> list[Judgement]:
    """The verdicts of a table's comparisons, in their order. `n_more` others belong to the table and are not here: each
    takes its full share of the 5 %, so that verdicts hold whatever they are.

    With `looks`, numbers of seeds after which the table was looked at and might have stopped, p-values and intervals hold
    at all of them together.
    """
    found = [_alone(pair, looks) for pair in table]
    adjusted = holm([one.p if one.verdict != SAME else math.nan for one in found], n_more)
    return [
        one._replace(p_holm=p, verdict=_verdict(pair, one, p))
        for pair, one, p in zip(table, found, adjusted, strict=True)
    ]


def holm(p: Sequence[float], n_more: int = 0) -> list[float]:
    """p-values adjusted for all of them together, in their order; those that are NaN are none of them and become 1.

    With `n_more` others that are not known they are at least as large as they would be with these.
    """
    values = np.asarray(p, dtype=float)
    asked = np.flatnonzero(~np.isnan(values))
    order = asked[np.argsort(values[asked], kind="stable")]
    adjusted = np.ones(len(values))
    adjusted[order] = np.minimum(
        1.0, np.maximum.accumulate(values[order] * (n_more + np.arange(len(order), 0, -1)))
    )
    return [float(x) for x in adjusted]


def _alone(pair: Paired, looks: Sequence[int] | None) -> Judgement:
    """One comparison without regard to the others; its verdict is `same`, or still to be found."""
    known = _known(pair)
    finite = np.array([a - b for a, b in known if math.isfinite(a) and math.isfinite(b)])
    n, n_infinite = len(known), len(known) - len(finite)
    mean = float(finite.mean()) if len(finite) else None
    low, high = _interval(finite, looks) if len(finite) > 1 else (None, None)
    if n > 1 and all(a == b for a, b in known):
        return Judgement(SAME, mean, low, high, 1.0, 1.0, n, n_infinite)
    if n < 2:
        p = 1.0
    elif n_infinite:
        p = _p_of_signs(known, looks)
    else:
        p = float(p_of_mean(finite)) if looks is None else p_at_any_time(finite.tolist(), looks)
    return Judgement(UNCLEAR, mean, low, high, p, 1.0, n, n_infinite)


def _interval(values: np.ndarray, looks: Sequence[int] | None) -> tuple[float, float]:
    if looks is not None:
        return interval_at_any_time(values, ALPHA)
    low, high = mean_interval(values)
    return float(low), float(high)


def _p_of_signs(known: Sequence[tuple[float, float]], looks: Sequence[int] | None) -> float:
    """Of pairs: whether either side is larger more often. Ties say nothing."""
    signs = np.array([(a > b) - (a < b) for a, b in known])
    if looks is None:
        from scipy.special import bdtr

        n = int((signs != 0).sum())
        fewer = int(min((signs > 0).sum(), (signs < 0).sum()))
        return min(1.0, 2 * float(bdtr(fewer, n, 0.5))) if n else 1.0
    ends = [*(n for n in looks if n < len(signs)), len(signs)]
    return p_of_signs_at_any_time(
        [int((signs[:n] > 0).sum()) for n in ends], [int((signs[:n] < 0).sum()) for n in ends]
    )


def _verdict(pair: Paired, one: Judgement, p: float) -> str:
    if one.verdict == SAME or _is_within(pair.margin, one):
        return SAME
    if p > ALPHA or pair.better not in (LOW, HIGH):
        return UNCLEAR
    if one.n_infinite:
        is_lower = sum((a > b) - (a < b) for a, b in _known(pair)) < 0
    else:
        is_lower = one.mean is not None and one.mean < 0
    return BETTER if is_lower == (pair.better == LOW) else WORSE


def _known(pair: Paired) -> list[tuple[float, float]]:
    """Pairs with two values; what differs by no more than rounding is the same."""
    both = [(a, b) for a, b in zip(pair.ours, pair.theirs, strict=True) if a is not None and b is not None]
    return [(a, a) if math.isclose(a, b, rel_tol=ROUNDING) else (a, b) for a, b in both]


def _is_within(margin: float, one: Judgement) -> bool:
    if margin <= 0 or one.n_infinite or one.low is None or one.high is None:
        return False
    return -margin < one.low and one.high < margin
