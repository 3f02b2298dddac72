"""Replications: means over seeds with intervals, differences paired by seed, and a verdict on each.

All variants of a seed see the same requests and the same cold starts (common random numbers), so that their
differences vary far less than the runs themselves. Variants are held against each other within the same traffic only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.analysis.compare import MEASURES, cells
from sim.measures.shown import Compared
from sim.statistics.judging import Judgement, Paired, judge
from sim.statistics.means import CONFIDENCE, mean_interval
from sim.statistics.shares import share_interval


class Estimate(NamedTuple):
    """A mean over seeds with its 95 % interval, `low` to `high`; None with one seed or an infinite value.

    `half` is the larger of the distances from the mean to the ends. Of a measure with a tail, and of shares near 0 and 1,
    the interval is not symmetric.
    """

    mean: float | None
    half: float | None
    n_infinite: int = 0  # seeds in which the measure was infinite: something was never served
    low: float | None = None
    high: float | None = None
    n_left_out: int = 0  # of a difference: seeds in which either side was infinite


class Replicated(NamedTuple):
    """One variant over all its seeds; lists are in the order of the measures."""

    name: str
    n_seed: int
    values: list[Estimate]
    differences: list[Estimate | None]  # against the baseline, paired by seed; None for that one itself
    slo_share: float | None  # share of the seeds in which every limit held
    baseline: str | None = None  # of those that see the same traffic, None for that one itself
    slo_interval: tuple[float, float] | None = None  # 95 %, of slo_share
    judged: Sequence[
        Judgement | None
    ] = ()  # each difference with its verdict, all of a table together; None as above


class Replication(NamedTuple):
    """Variants side by side."""

    measures: tuple[Compared, ...]
    rows: list[Replicated]
    looks: tuple[int, ...] | None = (
        None  # seeds after which it might have stopped: verdicts hold at all of them
    )

    n_together: int | None = None  # comparisons judged together, where some of them are not among the rows

    @property
    def n_judged(self) -> int:
        """How many comparisons were judged together."""
        if self.n_together is not None:
            return self.n_together
        return sum(one is not None for row in self.rows for one in row.judged)


def replicate(
    rows: Sequence[Mapping[str, Any]],
    variants: Sequence[str],
    measures: Sequence[Compared] = MEASURES,
    traffic: Mapping[str, str] | None = None,
    baselines: Mapping[str, str | None] | None = None,
    looks: Sequence[int] | None = None,
    margins: Mapping[str, float] | None = None,
    n_more: int = 0,
) -> Replication:
    """Sum up the rows of a sweep.

    `traffic` (variant → key) tells which variants see the same requests in a seed: only these are held against each
    other, and stand side by side. None: all do. `baselines` (variant → variant) says against which, else it is the first
    of them. `looks` says after how many seeds the sweep might have stopped, where what it showed decided that. `margins`
    (column → a difference that does not matter) says which measures are judged; None: all. `n_more` variants with a
    baseline belong to the sweep and are not among these.
    """
    kept = tuple(m for m in measures if any(row.get(m.key) is not None for row in rows))
    by_seed: dict[str, dict[int, Mapping[str, Any]]] = {name: {} for name in variants}
    for row in rows:
        if row["variant"] in by_seed:
            by_seed[row["variant"]][row["seed"]] = row
    together = cells(variants, traffic)
    chosen = baselines or {name: names[0] for names in together for name in names}
    found = []
    for name in (name for names in together for name in names):
        base = chosen.get(name)
        found.append(_one(name, by_seed, kept, base if base != name else None))
    asked = {m.key: (margins or {}).get(m.key, 0.0) for m in kept if margins is None or m.key in margins}
    n_not_here = n_more * len(asked)
    judged = _judged(found, by_seed, kept, looks, asked, n_not_here)
    told = Replication(kept, judged, None if looks is None else tuple(looks))
    return told._replace(n_together=told.n_judged + n_not_here) if n_not_here else told


BySeed = Mapping[str, Mapping[int, Mapping[str, Any]]]


def _one(name: str, by_seed: BySeed, measures: tuple[Compared, ...], baseline: str | None) -> Replicated:
    rows = by_seed[name]
    base = by_seed[baseline] if baseline is not None else {}
    shared = [seed for seed in rows if seed in base]
    held = [float(row["slo_ok"]) for row in rows.values() if row.get("slo_ok") is not None]
    return Replicated(
        name=name,
        n_seed=len(rows),
        values=[
            estimate([row.get(m.key) for row in rows.values()], m.unit == "share", least=0.0)
            for m in measures
        ],
        differences=[
            None
            if baseline is None
            else difference([(rows[s].get(m.key), base[s].get(m.key)) for s in shared])
            for m in measures
        ],
        slo_share=sum(held) / len(held) if held else None,
        baseline=baseline,
        slo_interval=share_interval(held) if len(held) > 1 else None,
    )


def _judged(
    found: list[Replicated],
    by_seed: BySeed,
    measures: tuple[Compared, ...],
    looks: Sequence[int] | None,
    asked: Mapping[str, float],
    n_not_here: int,
) -> list[Replicated]:
    """The same with verdicts: of everything that has a baseline, and all of them together."""
    pairs = []
    for row in found:
        if row.baseline is not None:
            ours, theirs = by_seed[row.name], by_seed[row.baseline]
            shared = sorted(seed for seed in ours if seed in theirs)
            for m in (m for m in measures if m.key in asked):
                left, right = ([side[seed].get(m.key) for seed in shared] for side in (ours, theirs))
                pairs.append(Paired(left, right, m.better, asked[m.key]))
    verdicts = iter(judge(pairs, looks, n_not_here))
    return [
        row._replace(
            judged=[None if row.baseline is None or m.key not in asked else next(verdicts) for m in measures]
        )
        for row in found
    ]


def difference(pairs: Sequence[tuple[float | None, float | None]]) -> Estimate:
    """The mean difference of pairs; those with an infinite side have none, and are counted."""
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    finite = [a - b for a, b in known if math.isfinite(a) and math.isfinite(b)]
    return estimate(finite)._replace(n_left_out=len(known) - len(finite))


def estimate(
    values: Sequence[float | None],
    is_share: bool = False,
    confidence: float = CONFIDENCE,
    least: float = -math.inf,
    most: float = math.inf,
) -> Estimate:
    """Mean and interval, of 95 % unless told, of independent values: `mean_interval`, of shares in [0, 1]
    `share_interval`; it reaches no further than from `least` to `most`, which no value is beyond. Where a value is
    infinite, so is the mean.
    """
    known = np.array([v for v in values if v is not None], dtype=float)
    if len(known) == 0:
        return Estimate(None, None)
    infinite = known[np.isinf(known)]
    if len(infinite):
        return Estimate(float(infinite[0]), None, len(infinite))
    mean = float(known.mean())
    if len(known) < 2:
        return Estimate(mean, None)
    if is_share:
        low, high = share_interval(known.tolist(), confidence)
    else:
        low, high = (float(end) for end in mean_interval(known, confidence))
    low, high = max(least, low), min(most, high)
    return Estimate(mean, max(mean - low, high - mean), low=low, high=high)
