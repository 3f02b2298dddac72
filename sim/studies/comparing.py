"""A study's points against their baselines: within the same traffic, seed by seed, whether that decides the question."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.analysis.compare import MEASURES
from sim.analysis.replicate import Estimate, Replication, replicate
from sim.analysis.verdicts import limits_of
from sim.measures.measure import NEITHER
from sim.measures.shown import Compared, compared, measure
from sim.records.study_open import Results
from sim.scenario.resolved import traffic_key
from sim.scenario.scenario import Scenario
from sim.scenario.types import SEED_MAX
from sim.statistics.controls import Controlled, controlled
from sim.studies.planning import Plan
from sim.studies.points import Points
from sim.workload.counts import n_arrivals

LISTS = 10  # lists of arrivals for each seed, from which the mean number of arrivals is known
HELPS = 0.2  # the least share of a variance that a control variate takes away, to be used
USUAL = ("slo_attainment", "ttft.p99", "usd_per_hour")  # what a study without limits decides on
DECIDED = ("better", "worse", "same")


class Question(NamedTuple):
    """What a study is to decide: each point against its baseline, on some measures."""

    names: list[str]  # of the points
    traffic: dict[str, str]  # point → what those that see the same requests have in common
    baselines: dict[str, str | None]  # point → point; itself where it is one, None where its traffic has none
    measures: tuple[Compared, ...]
    margins: dict[str, float]  # measure's column → a difference that does not matter

    @property
    def n(self) -> int:
        """How many comparisons there are."""
        held = [base for name, base in self.baselines.items() if base not in (None, name)]
        return len(held) * len(self.measures)


def question_of(plan: Plan) -> Question:
    """What a study decides: composes every point once, to see which share their traffic. Raises InputError."""
    names = [plan.points.label(point) for point in range(plan.points.n)]
    stories = [plan.scenario(point) for point in range(plan.points.n)]
    traffic = [traffic_key(story, with_seed=False) for story in stories]
    chosen = baselines(plan.points, plan.study.baseline, traffic)
    decide = plan.study.decide or tuple((name, 0.0) for name in usual_measures(stories[0]))
    columns = tuple(compared(name) for name, _ in decide)
    return Question(
        names,
        dict(zip(names, traffic, strict=True)),
        {names[i]: None if base is None else names[base] for i, base in enumerate(chosen)},
        columns,
        {column.key: margin for column, (_, margin) in zip(columns, decide, strict=True)},
    )


def usual_measures(story: Any) -> list[str]:
    """What a scenario's limits are on, as far as they are the whole fleet's; without any, the usual ones."""
    limits = [limit for limit in limits_of(story) if limit.scope is None]
    names = [f"{one.metric}.{one.statistic}" if one.statistic else one.metric for one in limits]
    asked = [name for name in names if measure(name.partition(".")[0]).better != NEITHER]
    return list(dict.fromkeys(asked)) or list(USUAL)


def baselines(points: Points, wanted: Mapping[str, Any], traffic: Sequence[str]) -> list[int | None]:
    """The baseline of each point: of those that see its traffic and have the values `wanted`, the one that has most in
    common with it; itself where it is one of them, None where there is none. Without `wanted`, the first of its traffic.
    """
    is_base = points.where(wanted)
    of_traffic: dict[str, list[int]] = {}
    for i, key in enumerate(traffic):
        found = of_traffic.setdefault(key, [])
        if is_base[i] and (wanted or not found):
            found.append(i)
    chosen: list[int | None] = []
    for i, key in enumerate(traffic):
        there = of_traffic[key]
        own = points.varied(i)
        alike = [sum(own.get(k, key) == v for k, v in points.varied(b).items()) for b in there]
        chosen.append(i if i in there else there[alike.index(max(alike))] if there else None)
    return chosen


def compare_points(
    asked: Question,
    results: Results,
    seeds: Sequence[int],
    looks: Sequence[int] | None,
    measures: Sequence[Compared] = MEASURES,
) -> Replication:
    """Means of every point over some seeds, differences against its baseline, verdicts. With `looks`, the seeds after which
    it might have stopped, verdicts are on what the study decides, else on all measures.
    """
    both = tuple(dict.fromkeys((*measures, *asked.measures)))
    table = results.columns(["seed", "variant", "slo_ok", *(one.key for one in both)])
    wanted = set(seeds)
    rows = [row for row in table.to_pylist() if row["seed"] in wanted]
    margins = None if looks is None else asked.margins
    return replicate(rows, asked.names, both, asked.traffic, asked.baselines, looks, margins)


class Saved(NamedTuple):
    """What a control variate did."""

    replication: Replication  # means with it, where it helps
    n_list: int  # lists of arrivals that its mean is known from, of each traffic
    shares: dict[
        str, list[float]
    ]  # measure's label → of each point, the share of the variance of the mean that is gone


def with_control(plan: Plan, asked: Question, results: Results, found: Replication) -> Saved | None:
    """The means again with arrivals as a control variate, where that takes HELPS or more of their variance away.

    The mean number of arrivals is known from LISTS lists of arrivals for each seed, which are not run. None where arrivals
    do not vary, or clients of a closed loop send when they like.
    """
    columns = [measure.key for measure in found.measures]
    table = results.columns(["seed", "variant", *columns]).to_pylist()
    rows: dict[str, dict[int, Any]] = {name: {} for name in asked.names}
    for row in table:
        rows[row["variant"]][row["seed"]] = row
    controls: dict[str, tuple[dict[int, int], float, float] | None] = {}
    shares: dict[str, list[float]] = {}
    changed, n_list = [], 0
    for row in found.rows:
        key, seeds = asked.traffic[row.name], sorted(rows[row.name])
        if key not in controls:
            controls[key] = arrivals_of(plan.scenario(asked.names.index(row.name)), seeds)
        control = controls[key]
        values = list(row.values)
        for i, measure_ in enumerate(found.measures if control is not None else ()):
            assert control is not None
            n_list = LISTS * len(seeds)
            own = [rows[row.name][seed].get(measure_.key) for seed in seeds]
            better = _controlled(own, [control[0][seed] for seed in seeds], *control[1:])
            if better is not None:
                shares.setdefault(measure_.label, []).append(max(0.0, better.saved))
            if better is not None and better.saved >= HELPS:
                low = max(0.0, better.low)
                high = min(1.0, better.high) if measure_.unit == "share" else better.high
                half = max(better.mean - low, high - better.mean)
                values[i] = Estimate(better.mean, half, low=low, high=high)
        changed.append(row._replace(values=values))
    return Saved(found._replace(rows=changed), n_list, shares) if shares else None


def arrivals_of(story: Scenario, seeds: Sequence[int]) -> tuple[dict[int, int], float, float] | None:
    """(arrivals of each seed, their mean over many other seeds, its standard error); None where they do not vary."""
    first = n_arrivals(story, seeds[0])
    if first is None or len(seeds) < 2:
        return None
    own = {seed: n_arrivals(story, seed) or 0 for seed in seeds}
    if len(set(own.values())) == 1:
        return None
    more = np.array([n_arrivals(story, SEED_MAX - i) or 0 for i in range(LISTS * len(seeds))], dtype=float)
    return own, float(more.mean()), float(more.std(ddof=1)) / math.sqrt(len(more))


def _controlled(
    values: Sequence[float | None], control: Sequence[int], expected: float, error: float
) -> Controlled | None:
    known = [float(value) for value in values if value is not None and math.isfinite(value)]
    if len(known) < len(values):
        return None
    return controlled(known, control, expected, error)


def n_decided(found: Replication) -> int:
    """How many of the comparisons have a verdict other than `unclear`."""
    return sum(one is not None and one.verdict in DECIDED for row in found.rows for one in row.judged)
