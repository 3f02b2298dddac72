"""Control variates: what a run owes to its luck with arrivals is taken out of its measures.

Whoever has more arrivals than usual waits longer and pays more. The number of arrivals x of a run is known without running
it, and so is its mean μ over many seeds; a measure y is then estimated by the mean of y − β (x − μ), with β from the
regression of y on x. Its variance is that of y times 1 − r², r being their correlation. Lavenberg and Welch, "A perspective
on the use of control variables", Management Science 27 (1981); the interval is that of the regression at μ, wider by what μ
itself is unsure of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sim.statistics.means import CONFIDENCE, student_t

LEAST = 5  # values: fewer do not tell a slope


class Controlled(NamedTuple):
    """A mean with the control's luck taken out."""

    mean: float
    low: float  # 95 %
    high: float
    saved: (
        float  # the share of the variance of the mean that is gone; below 0 where the control does not help
    )


def controlled(
    values: Sequence[float], control: Sequence[float], expected: float, expected_error: float = 0.0
) -> Controlled | None:
    """The mean of some values, finite, with a control of mean `expected` ± `expected_error` (its standard error).

    None where there are fewer than LEAST values, or the control does not vary.
    """
    y, x = np.asarray(values, dtype=float), np.asarray(control, dtype=float)
    n = len(y)
    around = float(((x - x.mean()) ** 2).sum())
    if n < LEAST or around == 0.0:
        return None
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / around
    away = float(x.mean()) - expected
    left = y - y.mean() - slope * (x - x.mean())
    spread = float((left**2).sum()) / (n - 2)
    variance = spread * (1 / n + away**2 / around) + (slope * expected_error) ** 2
    plain = float(y.var(ddof=1)) / n
    mean = float(y.mean()) - slope * away
    half = student_t(n - 2, CONFIDENCE) * math.sqrt(variance)
    return Controlled(mean, mean - half, mean + half, 1 - variance / plain if plain > 0 else 0.0)
