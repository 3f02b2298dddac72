"""A shard from its points and seeds to its tables: each point composed and packed once, only requests made seed by seed."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.analysis.many import Latencies, Row
from sim.engine.result import RESULT_METRICS
from sim.fill.series import Memory
from sim.pack.scenario import outline
from sim.records.study_tables import Bins, Varied, bins_of, histograms_table, runs_table
from sim.runner import choose_engine
from sim.scenario.scenario import Scenario
from sim.studies.planning import Plan as StudyPlan
from sim.studies.planning import Shard
from sim.studies.points import NEVER
from sim.sweeps.batch import Prepared, SharedRequests, run_part
from sim.workload.tenants import with_recorded_tenants

KEPT_MAX = 1000  # packed points of some 50 kB each
PARTITIONS_MAX = 64
FIRST_SEEDS, SEEDS_TOGETHER = 4, 64
REQUESTS_TOGETHER = 500_000
VALUES_MAX = 24  # of one partitioned key


class ShardTables(NamedTuple):
    """What a shard came to, as Arrow tables."""

    runs: Any
    histograms: Any | None


class Kept:
    """Points that this process has composed and packed, the latest of them."""

    def __init__(self, plan: StudyPlan) -> None:
        self._plan = plan
        self._kept: OrderedDict[int, Prepared] = OrderedDict()
        self.memory = Memory()
        self.n_request: float | None = None  # of a run, as the runs before had them

    def __call__(self, point: int) -> Prepared:
        """A point packed, but for its seed. Raises InputError, which names the point."""
        found = self._kept.get(point)
        if found is None:
            found = Prepared(outline(quiet(self._plan.scenario(point))))
            self._kept[point] = found
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(point)
        return found


def quiet(story: Scenario) -> Scenario:
    """The scenario with records off: a study keeps summaries."""
    story = with_recorded_tenants(story)
    return dataclasses.replace(story, output=dataclasses.replace(story.output, records=False))


def run_shard(plan: StudyPlan, shard: Shard, kept: Kept, engine: str) -> ShardTables:
    """Run a shard: rows by point, then seed. Raises InputError where a point or its traffic is impossible."""
    seeds = plan.seeds_of(shard)
    numbers = range(shard.first_point, shard.first_point + shard.n_point)
    asked = [kept(point) for point in numbers]
    names: list[str] = []
    rows: list[Row] = [[]] * shard.n_run
    cells = Cells(plan.study.histograms, shard.n_point, shard.n_run)
    engine = choose_engine(engine, shard.n_run)
    place_of = {seed: place for place, seed in enumerate(seeds)}
    for part in parts_of(seeds, kept, engine):
        shared = SharedRequests()
        for point, found in enumerate(run_part([(one, part) for one in asked], engine, shared, kept.memory)):
            for summed in found:
                names = summed.names
                places = [point * len(seeds) + place_of[seed] for seed in summed.seeds]
                for place, row in zip(places, summed.rows, strict=True):
                    rows[place] = row
                cells.add(point, places, summed.latencies)
        kept.n_request = shared.mean or kept.n_request
    return tables(plan, numbers, seeds, dict(zip(names, zip(*rows, strict=True), strict=True)), cells)


def parts_of(seeds: Sequence[int], kept: Kept, engine: str) -> Iterator[Sequence[int]]:
    """The seeds in the parts that are run together: all of them on a device, else few enough for their requests to lie in
    memory.
    """
    first = 0
    while first < len(seeds):
        n = FIRST_SEEDS if kept.n_request is None else int(REQUESTS_TOGETHER // max(1.0, kept.n_request))
        n = len(seeds) if engine == "cuda" else max(1, min(n, SEEDS_TOGETHER))
        yield seeds[first : first + n]
        first += n


class Cells:
    """Histograms of a shard, added up over seeds for each point, or kept run by run."""

    def __init__(self, per: str, n_point: int, n_run: int) -> None:
        self._per = per
        self._counts: dict[int, np.ndarray] = {}
        self._lost = np.zeros((n_point, len(RESULT_METRICS)), dtype=np.int64)
        self._bins: list[Bins | None] = [None] * n_run

    def add(self, point: int, places: Sequence[int], latencies: Latencies) -> None:
        """Count some runs, which are the shard's `places`, at their point."""
        if self._per == "none":
            return
        if self._per == "run":
            for run, place in enumerate(places):
                self._bins[place] = bins_of(place, latencies.counts(run), latencies.n_lost[run])
            return
        self._lost[point] += latencies.n_lost.sum(axis=0)
        counts = latencies.counts()
        if point in self._counts:
            self._counts[point] += counts
        else:
            self._counts[point] = counts

    def table(self, numbers: Sequence[int], seeds: Sequence[int]) -> Any | None:
        """All of them as one table."""
        if self._per == "none":
            return None
        if self._per == "run":
            points = [point for point in numbers for _ in seeds]
            parts = [bins for bins in self._bins if bins is not None]
            return histograms_table(points, list(seeds) * len(numbers), RESULT_METRICS, parts)
        parts = [bins_of(i, counts, self._lost[i]) for i, counts in sorted(self._counts.items())]
        return histograms_table(list(numbers), [None] * len(numbers), RESULT_METRICS, parts)


def tables(
    plan: StudyPlan,
    numbers: range,
    seeds: Sequence[int],
    measures: Mapping[str, Sequence[Any]],
    cells: Cells,
) -> ShardTables:
    """The columns of a shard: `measures` by point, then seed."""
    n_seed = len(seeds)
    varied = []
    for column in plan.points.columns:
        values = [None if column.codes[p] == NEVER else column.value(p) for p in numbers]
        varied.append(Varied(column.key, column.kind, [v for v in values for _ in range(n_seed)]))
    labels = [plan.points.label(p) for p in numbers]
    runs = runs_table(
        points=np.repeat(np.arange(numbers.start, numbers.stop), n_seed),
        seeds=np.tile(np.array(seeds, dtype=np.int64), len(numbers)),
        labels=[label for label in labels for _ in range(n_seed)],
        varied=varied,
        digests=measures["digest"],
        measures=measures,
    )
    return ShardTables(runs, cells.table(numbers, seeds))


def partition_of(plan: StudyPlan) -> list[str]:
    """The keys by which results are put into folders: those of text that every point has, as long as they are few."""
    found, n = [], 1
    for column in plan.points.columns:
        is_text = column.kind == "text" and all(isinstance(value, str) and value for value in column.table)
        if not is_text or len(column.table) > VALUES_MAX or (column.codes == NEVER).any():
            continue
        if n * len(column.table) <= PARTITIONS_MAX:
            found.append(column.key)
            n *= len(column.table)
    return found


def folders_of(plan: StudyPlan) -> int:
    """How many folders the runs are in, where every combination of the partitioned keys comes."""
    n = 1
    for column in plan.points.columns:
        n *= len(column.table) if column.key in partition_of(plan) else 1
    return n
