"""Several runs side by side: key measures, the best of each, and differences against a baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sim.measures.shown import COMPARED, Compared, compared
from sim.records.summary import flat_summary

MEASURES = tuple(compared(name) for name in COMPARED)


class Row(NamedTuple):
    """One run of a comparison; lists are in the order of the measures."""

    name: str
    values: list[float | None]
    change: list[float | None]  # against the baseline, as `_change` says
    best: list[bool]
    slo_ok: bool | None  # None: the scenario sets no limit
    failed: list[str]  # limits that did not hold
    cell: int = 0  # rows with the same number saw the same traffic
    is_baseline: bool = False  # the first row of a cell of several


class Comparison(NamedTuple):
    """Runs side by side, those that saw the same traffic together; the first of these is their baseline."""

    measures: tuple[Compared, ...]
    rows: list[Row]


def compare(
    summaries: Mapping[str, Mapping[str, Any]],
    measures: Sequence[Compared] = MEASURES,
    traffic: Mapping[str, str] | None = None,
) -> Comparison:
    """Compares runs (name → summary); measures that no run has are left out.

    `traffic` (name → key) tells which runs saw the same requests: each is held against the first of these, and the best
    is the best of these. None: all of them did.
    """
    flat = {name: flat_summary(summary) for name, summary in summaries.items()}
    kept = tuple(m for m in measures if any(row.get(m.key) is not None for row in flat.values()))
    values = {name: [row.get(m.key) for m in kept] for name, row in flat.items()}
    rows = []
    for number, names in enumerate(cells(list(flat), traffic)):
        best = [_best([values[name][i] for name in names], m.better) for i, m in enumerate(kept)]
        for name in names:
            told = summaries[name]
            pairs = zip(kept, values[name], values[names[0]], strict=True)
            rows.append(
                Row(
                    name=name,
                    values=values[name],
                    change=[_change(m, v, b) if name != names[0] else None for m, v, b in pairs],
                    best=[_is_best(v, b) for v, b in zip(values[name], best, strict=True)],
                    slo_ok=told.get("slo_ok"),
                    failed=[v["text"] for v in told.get("verdicts", []) if not v["ok"]],
                    cell=number,
                    is_baseline=name == names[0] and len(names) > 1,
                )
            )
    return Comparison(kept, rows)


def cells(names: Sequence[str], traffic: Mapping[str, str] | None) -> list[list[str]]:
    """Names with the same traffic together, in the order in which they come."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(traffic[name] if traffic is not None else "", []).append(name)
    return list(found.values())


def _best(values: Sequence[float | None], better: str) -> float | None:
    """The best value; None when all are equal, since nothing is better than the rest then."""
    known = [v for v in values if v is not None]
    if len(known) < 2 or len(set(known)) == 1:
        return None
    return min(known) if better == "low" else max(known)


def _is_best(value: float | None, best: float | None) -> bool:
    return value is not None and best is not None and value == best


def _change(measure: Compared, value: float | None, baseline: float | None) -> float | None:
    """Difference to the baseline: of shares in points (0.02 = 2 points), of all else relative to it.

    None where either is unknown or infinite, or the baseline is 0.
    """
    if value is None or baseline is None or math.isinf(baseline) or math.isinf(value):
        return None
    if measure.unit == "share":
        return value - baseline
    return (value - baseline) / abs(baseline) if baseline else None
