"""What some seeds say of a setting: its cost, and of each limit whether it is kept, surely or on average."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.analysis.replicate import Estimate, estimate
from sim.answers.bench import Setting, Trial, column_of
from sim.errors import InputError
from sim.measures.flat import is_share
from sim.measures.measure import HIGH, LOW, NEITHER
from sim.measures.shown import Compared, compared
from sim.scenario.slo import METRICS, Limit, measure_of
from sim.statistics.means import CONFIDENCE
from sim.statistics.shares import share_interval

KEPT, NEAR, BROKEN = "kept", "near", "broken"


class Kept(NamedTuple):
    """A limit over some seeds."""

    text: str
    observed: Estimate  # of its measure over the seeds, in s, fractions, USD, counts
    is_met: bool  # by the mean
    status: str  # kept or broken: the interval says so too; near: it reaches over the limit
    unit: str  # of its measure


class Measured(NamedTuple):
    """A setting over some seeds."""

    setting: Setting
    values: Mapping[str, Any]  # the keys that were varied
    n_seed: int
    cost: Estimate
    limits: tuple[Kept, ...]
    share: Estimate  # of the runs in which every limit held

    @property
    def is_met(self) -> bool:
        """Whether every limit is kept by the means."""
        return all(limit.is_met for limit in self.limits)

    @property
    def status(self) -> str:
        """Kept where every limit surely is, broken where one surely is not, else near."""
        found = {limit.status for limit in self.limits}
        return BROKEN if BROKEN in found else NEAR if NEAR in found else KEPT


BETTER = {
    LOW: "less of it is better",
    HIGH: "more of it is better",
    NEITHER: "neither more nor less of it is better",
}
ALLOWED = {
    (LOW,): "; allowed: a measure of which less is better, as usd",
    (LOW, HIGH): "; allowed: a measure with a better end, as usd",
}


def named_measure(name: str, option: str, better: tuple[str, ...] = tuple(BETTER)) -> Compared:
    """A measure as an option names it, `usd` or `ttft.p99`, whose better end is one of some. Raises InputError, which names
    the nearest.
    """
    try:
        _, metric, statistic = measure_of(name, name, ())
    except InputError as error:
        raise InputError(line.replace("slo: ", f"{option}: ", 1) for line in error.problems) from None
    if METRICS[metric].better not in better:
        raise InputError(f"{option}: {name}: {BETTER[METRICS[metric].better]}{ALLOWED[better]}")
    found = compared(f"{metric}.{statistic}" if statistic else metric)
    assert found.key == column_of(metric, statistic)
    return found


def cost_measure(name: str) -> Compared:
    """What is to be as little as possible. Raises InputError."""
    return named_measure(name, "--minimise", (LOW,))


def measured(
    setting: Setting,
    values: Mapping[str, Any],
    trials: Sequence[Trial],
    cost: Compared,
    limits: Sequence[Limit],
    n_look: int = 1,
) -> Measured:
    """Sum up a setting's trials. Where it is looked at up to `n_look` times, with more seeds each, its intervals hold at
    all of these looks together.
    """
    sure = 1 - (1 - CONFIDENCE) / n_look
    kept = [_kept(limit, [t.observed[i] for t in trials], sure) for i, limit in enumerate(limits)]
    held = [float(all(_is_met(limit, t.observed[i]) for i, limit in enumerate(limits))) for t in trials]
    costs = [t.row.get(cost.key) for t in trials]
    return Measured(
        setting,
        values,
        len(trials),
        estimate(costs, cost.unit == "share", sure, least=0.0),
        tuple(kept),
        share_of(held, sure),
    )


def share_of(held: Sequence[float], sure: float) -> Estimate:
    """The share of runs in which something held, with an interval that allows for runs as nobody has seen them."""
    mean = float(np.mean(held))
    if len(held) < 2:
        return Estimate(mean, None)
    low, high = share_interval(held, sure)
    return Estimate(mean, max(mean - low, high - mean), low=low, high=high)


def _kept(limit: Limit, observed: Sequence[float | None], sure: float) -> Kept:
    worst = math.inf if limit.op.startswith("<") else -math.inf
    is_known = any(value is not None for value in observed)
    values = [worst if value is None else value for value in observed] if is_known else []
    # of shares too, and not `share_interval`: of fifty seeds that would decide no limit above 93 % (docs/statistics.md)
    found = estimate(values, confidence=sure, least=0.0, most=1.0 if is_share(limit.metric) else math.inf)
    is_met = _is_met(limit, found.mean)
    ends = [end for end in (found.low, found.high) if end is not None]
    if not ends:
        return Kept(limit.text, found, is_met, NEAR if is_met else BROKEN, METRICS[limit.metric].unit)
    agree = all(limit.is_met(end) == is_met for end in ends)
    status = NEAR if not agree else KEPT if is_met else BROKEN
    return Kept(limit.text, found, is_met, status, METRICS[limit.metric].unit)


def _is_met(limit: Limit, value: float | None) -> bool:
    return value is not None and limit.is_met(value)
