"""A study's points against their baselines: within the same traffic, seed by seed, whether that decides the question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sim.analysis.compare import MEASURES
from sim.analysis.replicate import Replication, replicate
from sim.analysis.verdicts import limits_of
from sim.measures.measure import NEITHER
from sim.measures.shown import Compared, compared, measure
from sim.records.study_open import Results
from sim.scenario.resolved import traffic_key
from sim.studies.planning import Plan
from sim.studies.points import Points

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


def n_decided(found: Replication) -> int:
    """How many of the comparisons have a verdict other than `unclear`."""
    return sum(one is not None and one.verdict in DECIDED for row in found.rows for one in row.judged)
