"""A shard from its points and seeds to its tables: each point composed and packed once, only requests made seed by seed."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.analysis.latency import histograms, n_lost
from sim.engine.host import Policies, run_plan
from sim.engine.result import RESULT_METRICS, Result
from sim.pack.scenario import Outline, Plan, outline, with_seed
from sim.records.study_tables import Bins, Varied, bins_of, histograms_table, runs_table
from sim.runner import choose_engine, laws_of
from sim.scenario.scenario import Scenario
from sim.studies.planning import Plan as StudyPlan
from sim.studies.planning import Shard
from sim.studies.points import NEVER
from sim.sweeps.rows import Row, row_and_result
from sim.workload.requests import Requests, make_requests
from sim.workload.tenants import with_recorded_tenants

KEPT_MAX = 1000  # packed points of some 50 kB each
PARTITIONS_MAX = 64
BATCH = 32  # runs whose arrays are held at once
VALUES_MAX = 24  # of one partitioned key


class ShardTables(NamedTuple):
    """What a shard came to, as Arrow tables."""

    runs: Any
    histograms: Any | None


class Kept:
    """Points that this process has composed and packed, the latest of them."""

    def __init__(self, plan: StudyPlan) -> None:
        self._plan = plan
        self._kept: OrderedDict[int, Outline] = OrderedDict()

    def __call__(self, point: int) -> Outline:
        """A point packed, but for its seed. Raises InputError, which names the point."""
        found = self._kept.get(point)
        if found is None:
            found = outline(quiet(self._plan.scenario(point)))
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


class OneSeed:
    """Requests of the seed at hand: points that see the same ones share them (common random numbers, and half the work)."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._requests: Requests | None = None

    def __call__(self, of: Outline, seed: int) -> Plan:
        """A point with a seed, packed."""
        story = of.scenario
        asks_prefixes = any(pool.runtime.prefix_caching for pool in story.pools)
        key = (seed, asks_prefixes, story.duration_s, story.classes, tuple(of.in_list.items()))
        if self._requests is None or key != self._key:
            self._requests, self._key = make_requests(story, seed, of.in_list), key
        return with_seed(of, seed, self._requests)


def run_shard(plan: StudyPlan, shard: Shard, kept: Kept, engine: str) -> ShardTables:
    """Run a shard: rows by point, then seed. Raises InputError where a point or its traffic is impossible."""
    seeds = plan.seeds_of(shard)
    numbers = range(shard.first_point, shard.first_point + shard.n_point)
    asked = [kept(point) for point in numbers]
    rows: list[Row] = [{}] * shard.n_run
    cells = Cells(plan.study.histograms, shard.n_point, shard.n_run)
    engine = choose_engine(engine, shard.n_run)
    on = _on_gpu if engine == "cuda" else _on_cpu
    for i, packed, state in on(asked, seeds, engine):
        seed, point = divmod(i, shard.n_point)
        place = point * len(seeds) + seed
        rows[place], result = row_and_result(packed, state, engine)
        cells.add(point, place, result)
    return tables(plan, numbers, seeds, rows, cells)


def _on_cpu(asked: Sequence[Outline], seeds: Sequence[int], engine: str) -> Iterator[tuple[int, Plan, Any]]:
    """Every point with every seed, all points of a seed together.

    Some runs at a time are packed, then run, then handed on: what does the same again finds its code and tables in the
    processor's caches.
    """
    pack = OneSeed()
    pairs = [(seed, of) for seed in seeds for of in asked]
    for first in range(0, len(pairs), BATCH):
        packed = [pack(of, seed) for seed, of in pairs[first : first + BATCH]]
        states = [_run(one, engine) for one in packed]
        for i, (one, state) in enumerate(zip(packed, states, strict=True), first):
            yield i, one, state


def _run(packed: Plan, engine: str) -> Any:
    policies = Policies(laws_of(packed))
    if engine == "simpy":
        from sim.engine.simpy import Fleet

        return Fleet(packed.params, policies).run()
    return run_plan(packed.params, policies)


def _on_gpu(asked: Sequence[Outline], seeds: Sequence[int], engine: str) -> Iterator[tuple[int, Plan, Any]]:
    """The same, in one batch on the device."""
    from sim.engine import cuda

    pack = OneSeed()
    packed = [pack(of, seed) for seed in seeds for of in asked]
    for i, state in cuda.run_each([p.params for p in packed], [Policies(laws_of(p)) for p in packed]):
        yield i, packed[i], state


class Cells:
    """Histograms of a shard, added up over seeds for each point, or kept run by run."""

    def __init__(self, per: str, n_point: int, n_run: int) -> None:
        self._per = per
        self._counts: dict[int, np.ndarray] = {}
        self._lost = np.zeros((n_point, len(RESULT_METRICS)), dtype=np.int64)
        self._bins: list[Bins | None] = [None] * n_run

    def add(self, point: int, place: int, result: Result) -> None:
        """Count a run, the `place`-th of the shard, at its point."""
        if self._per == "none":
            return
        counts = histograms(result, 0)
        lost = np.array(
            [
                n_lost(result, name, 0, int(n))
                for name, n in zip(RESULT_METRICS, counts.sum(axis=1), strict=True)
            ]
        )
        if self._per == "run":
            self._bins[place] = bins_of(place, counts, lost)
            return
        self._lost[point] += lost
        if point in self._counts:
            self._counts[point] += counts
        else:
            self._counts[point] = counts.copy()

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
    plan: StudyPlan, numbers: range, seeds: Sequence[int], rows: Sequence[Row], cells: Cells
) -> ShardTables:
    """Rows as columns."""
    names = dict.fromkeys(name for row in rows for name in row)
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
        digests=[row["digest"] for row in rows],
        measures={name: [row.get(name) for row in rows] for name in names},
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
