"""A study's points against their baselines: within the same traffic, seed by seed, whether that decides the question."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.analysis.compare import MEASURES
from sim.analysis.control import FEW
from sim.analysis.replicate import Replication, replicate
from sim.analysis.studied import ALL_POINTS, ALL_RUNS
from sim.analysis.varied import Varied, baselines
from sim.analysis.verdicts import limits_of
from sim.measures.measure import NEITHER
from sim.measures.shown import Compared, compared, measure
from sim.records.study_dir import StudyDir
from sim.records.study_open import Results
from sim.scenario.resolved import traffic_key
from sim.scenario.scenario import Scenario
from sim.scenario.types import SEED_MAX
from sim.statistics.controls import LEAST
from sim.studies.planning import Plan
from sim.studies.points import Points
from sim.workload.counts import n_arrivals

LISTS = 10  # lists of arrivals for each seed, from which the mean number of arrivals is known
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
    chosen = baselines(varied_of(plan.points), plan.study.baseline, traffic)
    decide = decided_on(plan)
    columns = tuple(compared(name) for name, _ in decide)
    return Question(
        names,
        dict(zip(names, traffic, strict=True)),
        {names[i]: None if base is None else names[base] for i, base in enumerate(chosen)},
        columns,
        {column.key: margin for column, (_, margin) in zip(columns, decide, strict=True)},
    )


def decided_on(plan: Plan) -> tuple[tuple[str, float], ...]:
    """(measure, margin) of what a study decides, as `decide` names them or as its scenario has limits."""
    return tuple(plan.study.decide) or tuple((name, 0.0) for name in usual_measures(plan.scenario(0)))


def judged_on(plan: Plan) -> dict[str, float]:
    """Measure → margin of what is judged: what a study runs until it is decided, or names; empty where all measures are."""
    return dict(decided_on(plan) if plan.looks else plan.study.decide)


def usual_measures(story: Any) -> list[str]:
    """What a scenario's limits are on, as far as they are the whole fleet's; without any, the usual ones."""
    limits = [limit for limit in limits_of(story) if limit.scope is None]
    names = [f"{one.metric}.{one.statistic}" if one.statistic else one.metric for one in limits]
    asked = [name for name in names if measure(name.partition(".")[0]).better != NEITHER]
    return list(dict.fromkeys(asked)) or list(USUAL)


def varied_of(points: Points) -> Varied:
    """The values of all points, named by their labels."""
    own = [points.varied(i) for i in range(points.n)]
    return Varied(
        [points.label(i) for i in range(points.n)],
        {column.key: [values.get(column.key) for values in own] for column in points.columns},
    )


def compare_points(
    asked: Question, results: Results, seeds: Sequence[int], looks: Sequence[int]
) -> Replication:
    """Means of every point over some seeds, differences against its baseline, verdicts on what the study decides. `looks`
    are the seeds after which it might have stopped.
    """
    both = tuple(dict.fromkeys((*MEASURES, *asked.measures)))
    table = results.columns(["seed", "variant", "slo_ok", *(one.key for one in both)])
    wanted = set(seeds)
    rows = [row for row in table.to_pylist() if row["seed"] in wanted]
    return replicate(rows, asked.names, both, asked.traffic, asked.baselines, looks, asked.margins)


def keep_compared(plan: Plan, asked: Question | None, folder: StudyDir, n_seed: int) -> None:
    """Keep of a study that is whole how its points are compared, unless it is there or the study is too large."""
    if plan.points.n <= ALL_POINTS and plan.points.n * n_seed <= ALL_RUNS and folder.compared() is None:
        folder.compare(compared_record(plan, asked or question_of(plan), plan.seeds[:n_seed]))


def compared_record(plan: Plan, asked: Question, seeds: Sequence[int]) -> dict[str, Any]:
    """What compared.json holds: for each point the number of its traffic and the place of its baseline, and where arrivals
    are a control what is known of those of each traffic.
    """
    numbers: dict[str, int] = {}
    first: list[int] = []  # a point of each traffic
    for i, name in enumerate(asked.names):
        if asked.traffic[name] not in numbers:
            numbers[asked.traffic[name]] = len(numbers)
            first.append(i)
    places = {name: i for i, name in enumerate(asked.names)}
    record: dict[str, Any] = {
        "traffic": [numbers[asked.traffic[name]] for name in asked.names],
        "baselines": [
            None if (base := asked.baselines[name]) is None else places[base] for name in asked.names
        ],
    }
    if plan.study.control == "arrivals":
        record["controls"] = {str(n): arrivals_of(plan.scenario(i), seeds) for n, i in enumerate(first)}
    return record


def arrivals_of(story: Scenario, seeds: Sequence[int]) -> dict[str, Any]:
    """The arrivals of each seed, their mean over LISTS other lists for each seed, which are not run, and its standard
    error; or `why_not`.
    """
    if len(seeds) < LEAST:
        return {"why_not": FEW}
    if n_arrivals(story, seeds[0]) is None:
        return {"why_not": "clients decide when requests come"}
    own = {str(seed): n_arrivals(story, seed) or 0 for seed in seeds}
    if len(set(own.values())) == 1:
        return {"why_not": "the number of arrivals is the same in every run"}
    more = np.array([n_arrivals(story, SEED_MAX - i) or 0 for i in range(LISTS * len(seeds))], dtype=float)
    error = float(more.std(ddof=1)) / math.sqrt(len(more))
    return {"arrivals": own, "mean": float(more.mean()), "error": error, "lists": len(more)}


def n_decided(found: Replication) -> int:
    """How many of the comparisons have a verdict other than `unclear`."""
    return sum(one is not None and one.verdict in DECIDED for row in found.rows for one in row.judged)
