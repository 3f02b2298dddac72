"""Replications: means over seeds with confidence intervals, and differences paired by seed.

All variants of a seed see the same requests and the same cold starts (common random numbers), so that their
differences vary far less than the runs themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.analysis.compare import MEASURES, cells
from sim.analysis.shares import share_interval, student_half
from sim.measures.shown import Compared


class Estimate(NamedTuple):
    """A mean over seeds with its 95 % interval, `low` to `high`; None with one seed or an infinite value.

    `half` is the larger of the distances from the mean to the ends. Of shares the interval holds near 0 and 1 too, and
    is not symmetric there.
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
    baseline: str | None = None  # the first variant that sees the same traffic, None for that one itself
    slo_interval: tuple[float, float] | None = None  # 95 %, of slo_share


class Replication(NamedTuple):
    """Variants side by side."""

    measures: tuple[Compared, ...]
    rows: list[Replicated]


def replicate(
    rows: Sequence[Mapping[str, Any]],
    variants: Sequence[str],
    measures: Sequence[Compared] = MEASURES,
    traffic: Mapping[str, str] | None = None,
) -> Replication:
    """Sum up the rows of a sweep.

    `traffic` (variant → key) tells which variants see the same requests in a seed: only these are held against each
    other, and stand side by side. None: all do.
    """
    kept = tuple(m for m in measures if any(row.get(m.key) is not None for row in rows))
    by_seed = {name: {row["seed"]: row for row in rows if row["variant"] == name} for name in variants}
    found = [
        _one(name, by_seed[name], kept, names[0] if name != names[0] else None, by_seed[names[0]])
        for names in cells(variants, traffic)
        for name in names
    ]
    return Replication(kept, found)


def _one(
    name: str,
    rows: Mapping[int, Mapping[str, Any]],
    measures: tuple[Compared, ...],
    baseline: str | None,
    base: Mapping[int, Mapping[str, Any]],
) -> Replicated:
    shared = [seed for seed in rows if seed in base]
    held = [float(row["slo_ok"]) for row in rows.values() if row.get("slo_ok") is not None]
    return Replicated(
        name=name,
        n_seed=len(rows),
        values=[estimate([row.get(m.key) for row in rows.values()], m.unit == "share") for m in measures],
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


def difference(pairs: Sequence[tuple[float | None, float | None]]) -> Estimate:
    """The mean difference of pairs; those with an infinite side have none, and are counted."""
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    finite = [a - b for a, b in known if math.isfinite(a) and math.isfinite(b)]
    return estimate(finite)._replace(n_left_out=len(known) - len(finite))


def estimate(values: Sequence[float | None], is_share: bool = False) -> Estimate:
    """Mean and 95 % interval of independent values: Student's t, of shares in [0, 1] `share_interval`."""
    known = np.array([v for v in values if v is not None], dtype=float)
    n_infinite = int(np.isinf(known).sum())
    if len(known) == 0:
        return Estimate(None, None)
    if n_infinite:
        return Estimate(math.inf, None, n_infinite)
    mean = float(known.mean())
    if len(known) < 2:
        return Estimate(mean, None)
    if is_share:
        low, high = share_interval(known.tolist())
        return Estimate(mean, max(mean - low, high - mean), low=low, high=high)
    half = student_half(known)
    return Estimate(mean, half, low=mean - half, high=mean + half)
