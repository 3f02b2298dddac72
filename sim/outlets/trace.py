"""A run as a timeline: Chrome's Trace Event Format, which Perfetto and chrome://tracing open.

A process for the gateway and one for each pool, a track for each replica with the stages of its life, counters, and
requests as asynchronous slices. Times are virtual microseconds, written to the picosecond.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sim.errors import InputError, printable, problem
from sim.model.tables.codes import STAGE_NAMES, STAGE_READY
from sim.outlets.replay import Replay, Stage, replay
from sim.outlets.trace_events import (
    AT,
    AUTOSCALER,
    BEGIN_INNER,
    BEGIN_OUTER,
    GATEWAY,
    Event,
    Window,
    event,
    pid_of,
    tid_of,
)
from sim.outlets.trace_requests import request_events
from sim.records.files import keep_text
from sim.records.run_dir import RunFiles
from sim.units import PS_PER_S


def write_trace(
    run: RunFiles,
    out: Path,
    from_s: float = 0.0,
    to_s: float = math.inf,
    progress: Callable[..., None] | None = None,
) -> int:
    """Writes the timeline of a run and returns how many events it has; a name that ends in .gz is compressed.

    Raises InputError where the run cannot be repeated, the window is empty or the file cannot be written.
    """
    window = window_of(run, from_s, to_s)
    seen = replay(run.config, run.summary["digest"], progress)
    events = all_events(run, seen, window)
    ends = [",\n"] * (len(events) - 1) + ["\n]}\n"]
    lines = (one.text + end for one, end in zip(events, ends, strict=True))
    keep_text(out, itertools.chain([head(run)], lines), "-o")
    return len(events)


def window_of(run: RunFiles, from_s: float, to_s: float) -> Window:
    """The window in picoseconds; raises InputError where it is empty or after the end."""
    end_s = float(run.summary["end_s"])
    if not 0 <= from_s < end_s:
        raise InputError(
            problem("--from", f"{from_s:g} s", f"seconds from 0 to below {end_s:g}, the end of the run")
        )
    if to_s <= from_s:
        raise InputError(problem("--to", f"{to_s:g} s", f"seconds after --from, which is {from_s:g}"))
    return Window(round(from_s * PS_PER_S), round(min(to_s, end_s) * PS_PER_S) + 1)


def all_events(run: RunFiles, seen: Replay, window: Window) -> list[Event]:
    """Every event of the window, in the order of time; metadata first."""
    timed = [
        *replica_events(seen, window),
        *decision_events(seen, window),
        *fault_events(seen, window),
        *pool_counters(run, seen, window),
        *replica_counters(seen, window),
        *preemption_events(seen, window),
        *request_events(run, seen, window),
    ]
    timed.sort(key=lambda one: one[:2])
    return [*metadata(seen), *timed]


def head(run: RunFiles) -> str:
    """What stands before the events: which run this is."""
    about = {
        "scenario": printable(str(run.summary["scenario"])),
        "seed": str(run.config.get("seed")),
        "digest": str(run.summary["digest"]),
        "config_hash": str(run.config.get("config_hash")),
        "made_by": "fleetsim",
        "times": "virtual: microseconds of simulated time since the run began",
    }
    return f'{{"displayTimeUnit":"ms","otherData":{json.dumps(about)},"traceEvents":[\n'


# ---- who there is ----------------------------------------------------------------------
def metadata(seen: Replay) -> Iterator[Event]:
    """Names of processes and tracks, and the order in which they are shown."""

    def named(kind: str, pid: int, tid: int, value: dict[str, Any]) -> Event:
        return event(0, 0, {"ph": "M", "pid": pid, "tid": tid, "name": kind, "args": value})

    yield named("process_name", GATEWAY, 0, {"name": "gateway"})
    yield named("process_sort_index", GATEWAY, 0, {"sort_index": GATEWAY})
    yield named("thread_name", GATEWAY, AUTOSCALER, {"name": "requests that ended at once"})
    for i, pool in enumerate(seen.scenario.pools):
        title = printable(f"pool {pool.name}: {pool.model.name} on {pool.device}")
        yield named("process_name", pid_of(i), 0, {"name": title})
        yield named("process_sort_index", pid_of(i), 0, {"sort_index": pid_of(i)})
        yield named("thread_name", pid_of(i), AUTOSCALER, {"name": f"autoscaler ({pool.autoscaler.kind})"})
        for replica in sorted({stage.replica for stage in seen.stages if stage.pool == i}):
            yield named("thread_name", pid_of(i), tid_of(replica), {"name": f"replica {replica}"})
            yield named("thread_sort_index", pid_of(i), tid_of(replica), {"sort_index": tid_of(replica)})


# ---- replicas ----------------------------------------------------------------------
def replica_events(seen: Replay, window: Window) -> Iterator[Event]:
    """The stages of every replica's life; those of a cold start lie inside a slice of the whole start."""
    for stages in starts(seen.stages):
        first, last = stages[0], stages[-1]
        whole = Stage(first.pool, first.replica, first.stage, first.start, first.begin_ps, last.end_ps)
        yield from slice_of(whole, f"cold start {first.start}", window, BEGIN_OUTER, {"start": first.start})
    for stage in seen.stages:
        args = {} if stage.start < 0 else {"start": stage.start}
        yield from slice_of(stage, STAGE_NAMES[stage.stage], window, BEGIN_INNER, args)


def starts(stages: Iterable[Stage]) -> Iterator[list[Stage]]:
    """The stages of each cold start, which follow one another at one replica."""
    found: list[Stage] = []
    for stage in stages:
        is_start = stage.stage < STAGE_READY
        goes_on = found and found[-1][:2] == stage[:2] and found[-1].start == stage.start
        if found and not (is_start and goes_on):
            yield found
            found = []
        if is_start:
            found.append(stage)
    if found:
        yield found


def slice_of(stage: Stage, name: str, window: Window, order: int, args: dict[str, Any]) -> Iterator[Event]:
    """A slice on a replica's track, as far as it is in the window."""
    part = window.cut(stage.begin_ps, stage.end_ps)
    if part is None:
        return
    is_cut = part != (stage.begin_ps, stage.end_ps)
    fields = {
        "ph": "X",
        "pid": pid_of(stage.pool),
        "tid": tid_of(stage.replica),
        "name": name,
        "cat": "replica",
    }
    more = {**args, "cut": True} if is_cut else args
    yield event(part[0], order, {**fields, **({"args": more} if more else {})}, part[1] - part[0])


def preemption_events(seen: Replay, window: Window) -> Iterator[Event]:
    """Preemptions, at the replica whose memory was full."""
    for moment in seen.preemptions:
        if window.has(moment.time_ps):
            pool = int(seen.pool_of[moment.replica])
            place = moment.replica - int(seen.first_replica[pool])
            fields = {"ph": "i", "s": "t", "pid": pid_of(pool), "tid": tid_of(place), "cat": "request"}
            args = {"request_id": moment.request, "time": moment.number}
            yield event(moment.time_ps, AT, {**fields, "name": "preemption", "args": args})


# ---- autoscalers and faults ----------------------------------------------------------------------
def decision_events(seen: Replay, window: Window) -> Iterator[Event]:
    """What the autoscalers asked for, with what they saw."""
    for decision in seen.decisions:
        if not window.has(decision.time_ps):
            continue
        pool = seen.scenario.pools[decision.pool]
        args = {
            "from": decision.before,
            "to": decision.after,
            "ready": decision.ready,
            "starting": decision.starting,
            "autoscaler": pool.autoscaler.kind,
            "metrics": [None if math.isnan(value) else value for value in decision.metrics],
        }
        name = f"scale {decision.before} to {decision.after}"
        fields = {"ph": "i", "s": "p", "pid": pid_of(decision.pool), "tid": AUTOSCALER, "cat": "autoscaler"}
        yield event(decision.time_ps, AT, {**fields, "name": name, "args": args})


def fault_events(seen: Replay, window: Window) -> Iterator[Event]:
    """Scripted losses of replicas."""
    names = [pool.name for pool in seen.scenario.pools]
    for fault in seen.scenario.losses:
        t = round(fault.at_s * PS_PER_S)
        if window.has(t) and t <= seen.end_ps:
            pool = names.index(fault.pool) if fault.pool is not None else 0
            fields = {"ph": "i", "s": "p", "pid": pid_of(pool), "tid": AUTOSCALER, "cat": "fault"}
            yield event(t, AT, {**fields, "name": "replicas lost", "args": {"replicas": fault.replicas}})


# ---- counters ----------------------------------------------------------------------
#: counter → series → column of timeseries.parquet
POOL_COUNTERS: Mapping[str, Mapping[str, str]] = {
    "replicas": {"ready": "ready", "draining": "draining", "asked for": "wanted"},
    "requests": {"waiting": "waiting", "running": "running", "held": "held"},
    "kv blocks": {"used": "kv_blocks_used", "cached": "kv_blocks_cached"},
}


def pool_counters(run: RunFiles, seen: Replay, window: Window) -> Iterator[Event]:
    """The time series of each pool."""
    names = {pool.name: i for i, pool in enumerate(seen.scenario.pools)}
    rows = run.tables.timeseries.to_pydict()
    for counter, series in POOL_COUNTERS.items():
        points: dict[str, list[tuple[int, dict[str, int]]]] = {name: [] for name in names}
        for j, t in enumerate(rows["time_ps"]):
            values = {name: rows[column][j] for name, column in series.items()}
            points[rows["pool"][j]].append((t, values))
        for name, found in points.items():
            yield from counted(pid_of(names[name]), counter, found, window)


def replica_counters(seen: Replay, window: Window) -> Iterator[Event]:
    """Requests and KV use of each replica at the instants of the time series, while it serves."""
    used_ever = {(stage.pool, stage.replica) for stage in seen.stages if stage.stage >= STAGE_READY}
    for pool, place in sorted(used_ever):
        r = place + int(seen.first_replica[pool])
        times = seen.sample_ps.tolist()
        loads = zip(seen.running[:, r].tolist(), seen.waiting[:, r].tolist(), strict=True)
        requests = [(t, {"running": n, "waiting": m}) for t, (n, m) in zip(times, loads, strict=True)]
        blocks = [(t, {"used": n}) for t, n in zip(times, seen.used_blocks[:, r].tolist(), strict=True)]
        yield from counted(pid_of(pool), f"replica {place} requests", requests, window)
        yield from counted(pid_of(pool), f"replica {place} kv blocks", blocks, window)


def counted(
    pid: int, name: str, points: Iterable[tuple[int, dict[str, int]]], window: Window
) -> Iterator[Event]:
    """A counter where its values change, from what it was at the window's beginning on."""
    was, before = None, None
    for t, values in points:
        if t < window.from_ps:
            before = values
            continue
        if before is not None and t > window.from_ps:
            yield event(window.from_ps, AT, {"ph": "C", "pid": pid, "tid": 0, "name": name, "args": before})
            was = before
        before = None
        if t <= window.to_ps and values != was:
            yield event(t, AT, {"ph": "C", "pid": pid, "tid": 0, "name": name, "args": values})
            was = values
