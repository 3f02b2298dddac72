"""Replications: means over seeds with confidence intervals, and differences paired by seed.

All variants of a seed see the same requests and the same cold starts (common random numbers), so that their
differences vary far less than the runs themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.analysis.compare import MEASURES, Measure

CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A mean over seeds; `half` is half the width of its 95 % interval (None with one seed or an infinite value)."""

    mean: float | None
    half: float | None
    n_infinite: int = 0  # seeds in which the measure was infinite: something was never served


class Replicated(NamedTuple):
    """One variant over all its seeds; lists are in the order of the measures."""

    name: str
    n_seed: int
    values: list[Estimate]
    differences: list[Estimate | None]  # against the first variant, paired by seed; None for that one itself
    slo_share: float | None  # share of the seeds in which every limit held


class Replication(NamedTuple):
    """Variants side by side."""

    measures: tuple[Measure, ...]
    rows: list[Replicated]


def replicate(
    rows: Sequence[Mapping[str, Any]], variants: Sequence[str], measures: Sequence[Measure] = MEASURES
) -> Replication:
    """Sum up the rows of a sweep."""
    kept = tuple(m for m in measures if any(row.get(m.key) is not None for row in rows))
    by_seed = {name: {row["seed"]: row for row in rows if row["variant"] == name} for name in variants}
    base = by_seed[variants[0]]
    return Replication(
        kept, [_one(name, by_seed[name], base, kept, name == variants[0]) for name in variants]
    )


def _one(
    name: str,
    rows: Mapping[int, Mapping[str, Any]],
    base: Mapping[int, Mapping[str, Any]],
    measures: tuple[Measure, ...],
    is_base: bool,
) -> Replicated:
    shared = [seed for seed in rows if seed in base]
    held = [row["slo_ok"] for row in rows.values() if row.get("slo_ok") is not None]
    return Replicated(
        name=name,
        n_seed=len(rows),
        values=[estimate([row.get(m.key) for row in rows.values()]) for m in measures],
        differences=[
            None if is_base else estimate([_minus(rows[s].get(m.key), base[s].get(m.key)) for s in shared])
            for m in measures
        ],
        slo_share=sum(held) / len(held) if held else None,
    )


def _minus(a: float | None, b: float | None) -> float | None:
    if a is None or b is None or math.isinf(a) or math.isinf(b):
        return None
    return a - b


def estimate(values: Sequence[float | None]) -> Estimate:
    """Mean and 95 % interval (Student's t) of independent values."""
    known = np.array([v for v in values if v is not None], dtype=float)
    n_infinite = int(np.isinf(known).sum())
    if len(known) == 0:
        return Estimate(None, None)
    if n_infinite:
        return Estimate(math.inf, None, n_infinite)
    mean = float(known.mean())
    if len(known) < 2:
        return Estimate(mean, None)
    # values that are all the same have no spread, whatever the rounding of their mean
    spread = 0.0 if (known == known[0]).all() else float(known.std(ddof=1)) / math.sqrt(len(known))
    return Estimate(mean, spread * student_t(len(known) - 1))


def student_t(degrees: int) -> float:
    """The two-sided 95 % quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.5 + CONFIDENCE / 2))
