"""Requests as asynchronous slices of a timeline: what each was doing, from its arrival to its end."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from sim.outlets.replay import Replay
from sim.outlets.trace_events import (
    AT,
    AUTOSCALER,
    BEGIN_INNER,
    BEGIN_OUTER,
    END_INNER,
    END_OUTER,
    Event,
    Window,
    event,
    pid_of,
)
from sim.records.run_dir import RunFiles

NEVER = -1


class Phase(NamedTuple):
    """What a request was doing from `begin_ps` to `end_ps`."""

    name: str
    begin_ps: int
    end_ps: int


class Told(NamedTuple):
    """A request: its phases follow one another without a gap from its arrival to its end."""

    request_id: int
    pool: int  # −1: it never reached one
    arrival_ps: int
    end_ps: int
    phases: list[Phase]
    args: dict[str, Any]


#: instant that begins a phase → the phase's name
PHASES = (
    ("arrival_ps", "earlier attempts"),
    ("taken_ps", "at the gateway"),
    ("routed_ps", "queued"),
    ("scheduled_ps", "prefill"),
    ("first_token_ps", "decode"),
)
SHOWN = (
    "class",
    "model",
    "replica",
    "prompt_tokens",
    "output_tokens",
    "cached_tokens",
    "attempts",
    "outcome",
    "reason",
)


def told_requests(run: RunFiles, seen: Replay) -> list[Told]:
    """Every request of requests.parquet, in the order of arrival."""
    table = run.tables.requests
    pools = {pool.name: i for i, pool in enumerate(seen.scenario.pools)}
    columns = {name: table.column(name).to_pylist() for name in SHOWN}
    ids, names = table.column("request_id").to_pylist(), table.column("pool").to_pylist()
    cached = table.column("from_cache").to_pylist()
    times = {name: instants(table, name) for name in (*(name for name, _ in PHASES), "last_token_ps")}
    told = []
    for j, request in enumerate(ids):
        instant = {name: found[j] for name, found in times.items()}
        end = instant["last_token_ps"]
        if columns["outcome"][j] != "completed":
            end = seen.ends_ps.get(request, seen.end_ps)
        args = {name: column[j] for name, column in columns.items() if column[j] is not None}
        phases = phases_of(instant, end, cached[j])
        pool = pools[names[j]] if names[j] is not None else -1
        told.append(Told(request, pool, instant["arrival_ps"], end, phases, args))
    told.sort(key=lambda one: (one.arrival_ps, one.request_id))
    return told


def instants(table: Any, name: str) -> list[int]:
    """A column of instants, NEVER where it is null."""
    column = table.column(name)
    return np.asarray(column.fill_null(NEVER)).tolist()


def phases_of(instant: dict[str, int], end_ps: int, from_cache: bool) -> list[Phase]:
    """What a request was doing until its end; phases that took no time are left out."""
    begins = [(name, instant[column]) for column, name in PHASES if NEVER < instant[column] <= end_ps]
    if from_cache:
        begins = [("response cache" if name == "at the gateway" else name, at) for name, at in begins]
    ends = [at for _, at in begins[1:]] + [end_ps]
    spans = zip(begins, ends, strict=True)
    return [Phase(name, begin, end) for (name, begin), end in spans if begin < end]


def request_events(run: RunFiles, seen: Replay, window: Window) -> Iterator[Event]:
    """Slices of requests and of their phases, and what happened to them, as far as they are in the window."""
    lanes = Lanes()
    placed: dict[int, dict[str, Any]] = {}
    for one in told_requests(run, seen):
        pid = pid_of(one.pool)
        lane = lanes.take(one) if one.phases else None
        if lane is None:
            if window.has(one.arrival_ps):
                fields = {"ph": "i", "s": "t", "pid": pid, "tid": AUTOSCALER, "cat": "request"}
                name = str(one.args.get("reason") or one.args["outcome"])
                yield event(
                    one.arrival_ps,
                    AT,
                    {**fields, "name": name, "args": {"request_id": one.request_id, **one.args}},
                )
            continue
        common = {"cat": "request", "id": f"{one.pool}.{lane}", "pid": pid, "tid": 0}
        placed[one.request_id] = common
        yield from slices_of(one, common, window)
    for moments, name in ((seen.preemptions, "preemption"), (seen.attempts, "attempt")):
        for moment in moments:
            where = placed.get(moment.request)
            if where is not None and window.has(moment.time_ps):
                args = {"request_id": moment.request, "number": moment.number}
                yield event(moment.time_ps, AT, {"ph": "n", **where, "name": name, "args": args})


def slices_of(one: Told, common: dict[str, Any], window: Window) -> Iterator[Event]:
    """Beginning and end of a request and of each of its phases."""
    whole = window.cut(one.arrival_ps, one.end_ps)
    if whole is None:
        return
    name = f"request {one.request_id}"
    args = {"request_id": one.request_id, **one.args}
    if whole != (one.arrival_ps, one.end_ps):
        args["cut"] = True
    yield event(whole[0], BEGIN_OUTER, {"ph": "b", **common, "name": name, "args": args})
    for phase in one.phases:
        part = window.cut(phase.begin_ps, phase.end_ps)
        if part is not None:
            yield event(part[0], BEGIN_INNER, {"ph": "b", **common, "name": phase.name})
            yield event(part[1], END_INNER, {"ph": "e", **common, "name": phase.name})
    yield event(whole[1], END_OUTER, {"ph": "e", **common, "name": name})


class Lanes:
    """Places for slices that do not overlap: as many of each pool as it has requests at once."""

    def __init__(self) -> None:
        self.free: dict[int, list[int]] = {}
        self.busy: dict[int, list[tuple[int, int]]] = {}
        self.n: dict[int, int] = {}

    def take(self, one: Told) -> int:
        """The lowest lane of its pool that is free at its arrival; requests come in the order of arrival."""
        free, busy = self.free.setdefault(one.pool, []), self.busy.setdefault(one.pool, [])
        while busy and busy[0][0] <= one.arrival_ps:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if not free:
            free.append(self.n.get(one.pool, 0))
            self.n[one.pool] = free[0] + 1
        lane = heapq.heappop(free)
        heapq.heappush(busy, (one.end_ps, lane))
        return lane
