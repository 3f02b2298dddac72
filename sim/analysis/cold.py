"""What requests waited for while replicas started: each instant of a cold start's wait is one stage of one start.

A request waits for a cold start while it is held and no replica of its model is ready, and while it is queued and replicas
of its pool are starting (`sim.model.record.latency_attribution`). At such an instant it waits for the start in progress
that is ready first, of its model's pools or of its pool, and where none comes to its end for the oldest; for the first of
that start's steps in progress, as starts.parquet lists them. Where no start is in progress nobody has asked for a replica.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.analysis.start_parts import Part, Start, closed_by_samples, of_steps, retold, steps_of_starts
from sim.records.occupancy import KEPT_MAX

UNWANTED, UNTOLD = "unwanted", "untold"  # nobody had asked for a replica; the records do not tell


class Split(NamedTuple):
    """The cold-start wait of some requests together, ps; the parts sum to the whole."""

    n: int  # requests
    total_ps: int
    parts_ps: dict[Part, int]
    held_back_ps: dict[Part, float]  # of a part with a link: how much of it that link held back

    def stages(self) -> dict[str, int]:
        """Stage → ps, in the order of the parts."""
        found: dict[str, int] = {}
        for part, ps in self.parts_ps.items():
            found[part.stage] = found.get(part.stage, 0) + ps
        return found


class Clock(NamedTuple):
    """How long each part has been waited for, up to any instant."""

    time_ps: np.ndarray  # (point,) rising
    sums_ps: np.ndarray  # (point, part)
    part: np.ndarray  # (point,) the part from then on, −1 = none
    held_ps: np.ndarray  # (point, part) of that, what links held back
    held_back: np.ndarray  # (point,) share from then on

    def spans(self, begin_ps: np.ndarray, end_ps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(request, part) ps between two instants of each request, and what links held back of it."""
        sums, held = self.at(end_ps), self.at(begin_ps)
        return sums[0] - held[0], sums[1] - held[1]

    def at(self, t_ps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The sums at some instants."""
        place = np.searchsorted(self.time_ps, t_ps, side="right") - 1
        sums, held = self.sums_ps[place].copy(), self.held_ps[place].copy()
        runs = np.flatnonzero(self.part[place] >= 0)
        since = t_ps[runs] - self.time_ps[place[runs]]
        sums[runs, self.part[place[runs]]] += since
        held[runs, self.part[place[runs]]] += since * self.held_back[place[runs]]
        return sums, held


class ColdStarts:
    """What the cold starts of a run were made of: of a cluster as its events tell, else as far as its starts' steps do."""

    def __init__(self, run: Any) -> None:
        tables = run.tables
        self._requests = tables.requests
        self.told_until_ps = _told_until(tables.events)
        series = tables.timeseries
        self._model = dict(
            zip(series.column("pool").to_pylist(), series.column("model").to_pylist(), strict=True)
        )
        if (run.config.get("config", {}).get("pool_choice") or {}).get("across_models", False):
            self._model = dict.fromkeys(self._model, "")
        steps = steps_of_starts(tables.starts)
        end_ps = round(float(run.summary["end_s"]) * 1e12)
        if tables.events.num_rows:
            self._starts, closed = retold(tables.events, steps, self._model, end_ps)
        else:
            self._starts = of_steps(steps, self._model)
            closed = {
                model: closed_by_samples(series, self._of_model(model), mine, end_ps)
                for model, mine in _pools_of(self._model).items()
            }
        found = [part for starts in self._starts.values() for start in starts for part in start.parts]
        self.parts = [*dict.fromkeys([Part(UNWANTED), *sorted(found, key=_in_order)])]
        self._held = {model: self._clock(self._of_model(model), spans) for model, spans in closed.items()}
        self._queued = {pool: self._clock(starts, None) for pool, starts in self._starts.items()}

    def split(self, rows: np.ndarray) -> Split:
        """The cold-start wait of some rows of requests.parquet, by what it was for."""
        names = ("taken_ps", "routed_ps", "scheduled_ps", "blame_cold_start_ps", "blame_cpu_ps")
        columns = {name: _ps(self._requests, name)[rows] for name in names}
        told = columns["blame_cold_start_ps"]
        pools = np.array(self._requests.column("pool").to_pylist(), dtype=object)[rows]
        found, held = self._found(columns, pools)
        is_told = (found.sum(axis=1) == told) & (columns["scheduled_ps"] <= self.told_until_ps)
        sums, held_sums = found[is_told].sum(axis=0), held[is_told].sum(axis=0)
        parts = {part: int(ps) for part, ps in zip(self.parts, sums, strict=True) if ps}
        rest = int(told[~is_told & (told > 0)].sum())
        if rest:
            parts[Part(UNTOLD)] = rest
        backs = zip(self.parts, held_sums.tolist(), strict=True)
        total = int(told[told > 0].sum())
        return Split(
            len(rows), total, parts, {part: ps for part, ps in backs if part.link is not None and ps}
        )

    def _found(self, columns: Mapping[str, np.ndarray], pools: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(request, part) what each waited for by the clocks, and what links held back of it."""
        n = len(pools)
        found = np.zeros((n, len(self.parts)), dtype=np.int64)
        held = np.zeros((n, len(self.parts)))
        waited = (columns["blame_cold_start_ps"] > 0) & (columns["routed_ps"] >= 0)
        for pool in dict.fromkeys(pools[waited].tolist()):
            mine = np.flatnonzero(waited & (pools == pool))
            routed = columns["routed_ps"][mine]
            from_ps = columns["taken_ps"][mine] + np.maximum(columns["blame_cpu_ps"][mine], 0)
            spans = (
                (self._held.get(self._model.get(pool, "")), np.minimum(from_ps, routed), routed),
                (self._queued.get(pool), routed, np.maximum(columns["scheduled_ps"][mine], routed)),
            )
            for clock, begin_ps, end_ps in spans:
                if clock is not None:
                    ps, back = clock.spans(begin_ps, end_ps)
                    found[mine] += ps
                    held[mine] += back
        return found, held

    def _of_model(self, model: str) -> list[Start]:
        return [
            start
            for pool, starts in self._starts.items()
            if self._model.get(pool) == model
            for start in starts
        ]

    def _clock(self, starts: Sequence[Start], closed: Sequence[tuple[int, int]] | None) -> Clock:
        """The clock of a model while it has no ready replica (`closed`), or of a pool while replicas of it start (None)."""
        number = {part: i for i, part in enumerate(self.parts)}
        edges = {0}
        for start in starts:
            edges |= {*start.from_ps, start.end_ps}
        for span in closed or ():
            edges |= {*span}
        time_ps = np.array(sorted(edges), dtype=np.int64)
        part = np.full(len(time_ps), -1)
        held_back = np.zeros(len(time_ps))
        for i, first in enumerate(waited_for(starts, time_ps.tolist())):
            if first is not None:
                at = bisect_right(first.from_ps, int(time_ps[i])) - 1
                part[i], held_back[i] = number[first.parts[at]], first.held_back[at]
            elif closed is not None:
                part[i] = number[Part(UNWANTED)]
        if closed is not None:
            begins, ends = np.array([(0, 0), *closed], dtype=np.int64).T  # one behind the other
            part[time_ps >= ends[np.searchsorted(begins, time_ps, side="right") - 1]] = -1
        return _summed(time_ps, part, held_back, len(self.parts))


def _summed(time_ps: np.ndarray, part: np.ndarray, held_back: np.ndarray, n_part: int) -> Clock:
    sums = np.zeros((len(time_ps), n_part), dtype=np.int64)
    runs = np.flatnonzero(part[:-1] >= 0)
    sums[runs + 1, part[runs]] = np.diff(time_ps)[runs]
    held = sums * np.concatenate([[0.0], held_back[:-1]])[:, None]
    return Clock(time_ps, sums.cumsum(axis=0), part, held.cumsum(axis=0), held_back)


def waited_for(starts: Sequence[Start], time_ps: Sequence[int]) -> Iterable[Start | None]:
    """The start that is waited for from each instant on: the one in progress that is ready first, or the oldest."""
    coming = sorted(range(len(starts)), key=lambda i: starts[i].begin_ps)
    active: list[tuple[bool, int, int]] = []
    at = 0
    for t in time_ps:
        while at < len(coming) and starts[coming[at]].begin_ps <= t:
            i = coming[at]
            start = starts[i]
            first = start.end_ps if start.is_ready else start.begin_ps
            heapq.heappush(active, (not start.is_ready, first, i))
            at += 1
        while active and starts[active[0][2]].end_ps <= t:
            heapq.heappop(active)
        yield starts[active[0][2]] if active else None


# ---- reading ----------------------------------------------------------------------
def cold_starts_of(run: Any) -> ColdStarts | None:
    """What a run's cold starts were made of; None where neither events nor steps of starts were kept."""
    has_told = run.tables.events.num_rows or run.tables.starts.num_rows
    return ColdStarts(run) if has_told and run.tables.requests.num_rows else None


def _told_until(events: Any) -> int:
    """Up to when all events were kept."""
    if events.num_rows < KEPT_MAX:
        return 2**62
    return int(events.column("time_ps")[events.num_rows - 1].as_py())


def _ps(table: Any, name: str) -> np.ndarray:
    """A column of exact times, −1 for null."""
    return np.asarray(table.column(name).fill_null(-1).to_numpy())


def _pools_of(model_of: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pool, model in model_of.items():
        found.setdefault(model, []).append(pool)
    return found


def _in_order(part: Part) -> tuple[int, str]:
    from sim.stages import START_STAGES

    place = START_STAGES.index(part.stage) if part.stage in START_STAGES else len(START_STAGES)
    return place, part.link or ""
