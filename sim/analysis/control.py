"""Arrivals as a control variate of the means of a study's points: what runs owe to how many requests came is taken out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sim.analysis.replicate import Estimate, Replication
from sim.measures.shown import Compared
from sim.statistics.controls import LEAST, Controlled, controlled

HELPS = 0.2  # the least share of a variance that a control variate takes away, to be used
FEW = f"fewer than {LEAST} seeds do not tell what arrivals explain"


class Control(NamedTuple):
    """What a control variate did."""

    why_not: str  # why means, or some of them, are as they are; empty where nothing stood against it
    shares: Mapping[
        str, Sequence[float]
    ] = {}  # measure's label → of each point, the share of the variance gone
    n_list: int = 0  # lists of arrivals that the mean of each traffic is known from


def with_control(
    found: Replication,
    rows: Sequence[Mapping[str, Any]],
    traffic: Mapping[str, str],
    controls: Mapping[str, Mapping[str, Any]],
) -> tuple[Replication, Control]:
    """The means again with arrivals as a control variate, where that takes HELPS or more of their variance away.

    `controls` has for each traffic `arrivals` (seed → how many), their `mean` over `lists` other lists and its standard
    `error`, or `why_not`. Differences and verdicts stay as they are.
    """
    of_point: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        of_point.setdefault(row["variant"], {})[str(row["seed"])] = row
    shares: dict[str, list[float]] = {}
    reasons: dict[str, None] = {}
    changed, n_list = [], 0
    for point in found.rows:
        control, own, values = controls[traffic[point.name]], of_point.get(point.name, {}), list(point.values)
        if control.get("why_not"):
            reasons[str(control["why_not"])] = None
            changed.append(point)
            continue
        n_list = int(control["lists"])
        for i, one in enumerate(found.measures):
            better = _controlled(own, one, control)
            if isinstance(better, str):
                reasons[better] = None
                continue
            shares.setdefault(one.label, []).append(max(0.0, better.saved))
            if better.saved >= HELPS:
                values[i] = _estimate(better, one)
        changed.append(point._replace(values=values))
    return found._replace(rows=changed), Control("; ".join(reasons), shares, n_list)


def _controlled(
    own: Mapping[str, Mapping[str, Any]], one: Compared, control: Mapping[str, Any]
) -> Controlled | str:
    """The mean of a measure with the control, or why there is none."""
    seeds = [seed for seed in own if seed in control["arrivals"]]
    values = [own[seed].get(one.key) for seed in seeds]
    known = [float(value) for value in values if value is not None and math.isfinite(value)]
    if len(known) < len(values):
        return f"{one.label} is infinite or not known in some seeds"
    counts = [control["arrivals"][seed] for seed in seeds]
    return controlled(known, counts, control["mean"], control["error"]) or FEW


def _estimate(better: Controlled, one: Compared) -> Estimate:
    low = max(0.0, better.low)
    high = min(1.0, better.high) if one.unit == "share" else better.high
    return Estimate(better.mean, max(better.mean - low, high - better.mean), low=low, high=high)
