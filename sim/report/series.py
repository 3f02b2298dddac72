"""A run's tables as the few numbers that a picture shows, at most MAX_POINTS a series."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.analysis.overtime import OverTime, percentiles_over_time
from sim.model.tables.codes import STAGE_NAMES
from sim.report.text import kinds

MAX_POINTS = 600
MAX_KINDS = 4  # panels of ttft
STAGES = STAGE_NAMES[1:]
STAGE_LABELS = {name: name.replace("_", " ") for name in STAGES} | {"waiting_slice": "waiting for a slice"}
LAST, LARGEST = "last", "largest"


class Samples(NamedTuple):
    """The time series of the whole fleet, thinned; arrays are (point,)."""

    time_s: np.ndarray
    interval_s: np.ndarray
    arrivals: np.ndarray  # in the interval, each request once
    retries: np.ndarray  # further attempts
    completions: np.ndarray
    wanted: np.ndarray
    stages: dict[str, np.ndarray]
    held: np.ndarray
    waiting: np.ndarray
    running: np.ndarray


def fleet_samples(table: Any, config: Mapping[str, Any] | None = None) -> Samples:
    """Sums the pools of each sample, what a model's pools share being taken once, and thins to MAX_POINTS.

    Under `pool_choice.across_models`, which `config` tells, all pools share it.
    """
    times, when = np.unique(numbers(table, "time_ps"), return_inverse=True)
    choice = (config or {}).get("config", {}).get("pool_choice", {})
    once = _first_of_group(table, choice.get("across_models", False))
    step = -(-len(times) // MAX_POINTS)

    def total(name: str, keep: str | None = None, weight: np.ndarray | float = 1.0) -> np.ndarray:
        summed = np.bincount(when, weights=numbers(table, name) * weight, minlength=len(times))
        return thinned(summed, step, keep)

    time_s = times / 1e12
    return Samples(
        time_s=thinned(time_s, step, LAST),
        interval_s=thinned(np.diff(time_s, prepend=0.0), step, None),
        arrivals=total("arrivals", weight=once),
        retries=total("retries", weight=once),
        completions=total("completions"),
        wanted=total("wanted", LAST),
        stages={name: total(name, LAST) for name in STAGES},
        held=total("held", LARGEST, once),
        waiting=total("waiting", LARGEST),
        running=total("running", LARGEST),
    )


class StationSamples(NamedTuple):
    """What samples saw at the CPU stations, thinned; arrays are (point,)."""

    time_s: np.ndarray
    in_line: dict[str, np.ndarray]  # station → visits
    use: dict[str, np.ndarray]  # station → share of its workers' time


def station_samples(table: Any) -> StationSamples | None:
    """The samples of each station, stations as the table has them; None where there are none."""
    names = list(dict.fromkeys(table.column("station").to_pylist()))
    if not names:
        return None
    columns = {
        key: numbers(table, key).reshape(-1, len(names)).astype(float)
        for key in ("time_ps", "interval_s", "workers", "in_line", "busy_s")
    }
    step = -(-len(columns["time_ps"]) // MAX_POINTS)
    room_s = columns["workers"] * columns["interval_s"]
    busy = {name: thinned(columns["busy_s"][:, i], step, None) for i, name in enumerate(names)}
    room = {name: thinned(room_s[:, i], step, None) for i, name in enumerate(names)}
    return StationSamples(
        time_s=thinned(columns["time_ps"][:, 0] / 1e12, step, LAST),
        in_line={name: thinned(columns["in_line"][:, i], step, LARGEST) for i, name in enumerate(names)},
        use={name: busy[name] / np.where(room[name] > 0, room[name], np.nan) for name in names},
    )


def thinned(values: np.ndarray, step: int, keep: str | None) -> np.ndarray:
    """One value for every `step`: the last, the largest, or their sum."""
    if step <= 1 or len(values) == 0:
        return values
    starts = np.arange(0, len(values), step)
    if keep == LAST:
        return values[np.minimum(starts + step, len(values)) - 1]
    if keep == LARGEST:
        return np.maximum.reduceat(values, starts)
    return np.add.reduceat(values, starts)


def last_event_s(samples: Samples, duration_s: float) -> float:
    """When the picture may end: after the last arrival, and when nothing is left inside."""
    busy = (
        samples.arrivals
        + samples.retries
        + samples.completions
        + samples.held
        + samples.waiting
        + samples.running
    )
    active = samples.time_s[busy > 0]
    return max(float(duration_s), float(active[-1]) if len(active) else 0.0)


def ttft_over_time(requests: Any, end_s: float, classes: Collection[str] | None = None) -> OverTime | None:
    """p50 and p99 of ttft by arrival time, of some classes or all, never where an answer broke off; None where there is
    no row of a request.
    """
    if requests.num_rows == 0:
        return None
    outcomes = requests.column("outcome").to_pylist()
    mine = np.ones(len(outcomes), dtype=bool)
    if classes is not None:
        mine = np.isin(requests.column("class").to_pylist(), list(classes))
    served = np.isin(outcomes, ("completed", "inside"))
    ttft_s = np.where(served, numbers(requests, "ttft_s"), np.nan)
    if not mine.any():
        return None
    return percentiles_over_time(numbers(requests, "arrival_s")[mine], ttft_s[mine], end_s)


class TtftPart(NamedTuple):
    """Requests whose ttft is drawn together, and what it is held against."""

    name: str  # "" for all requests
    classes: list[str] | None  # None: all
    limits: list[tuple[float, str]]  # (seconds, label)


def ttft_parts(summary: Mapping[str, Any]) -> list[TtftPart]:
    """All requests, or where classes differ in kind each kind by itself, those with most requests first, and all of them
    only where a limit is on all: a limit is drawn over the class that it is for.
    """
    classes = summary["classes"]
    limited = {v["scope"] for v in summary.get("verdicts", []) if _on_ttft(v) and v["scope"] is not None}
    alike = kinds(classes, limited)
    if len(alike) < 2:
        return [TtftPart("", None, ttft_limits(summary, list(classes), [None, *classes]))]
    alike = sorted(alike, key=lambda names: -sum(classes[name]["offered"] for name in names))[:MAX_KINDS]
    parts = [TtftPart(", ".join(names), names, ttft_limits(summary, names, names)) for names in alike]
    whole = ttft_limits(summary, [], [None])
    return [TtftPart("all classes mixed", None, whole), *parts] if whole else parts


def ttft_limits(
    summary: Mapping[str, Any], promised: Sequence[str], scopes: Sequence[str | None]
) -> list[tuple[float, str]]:
    """(seconds, label) of what ttft is held against: limits on its percentiles for some classes or all requests (None),
    then promises of classes.
    """
    limits = [
        (float(v["limit"]), v["text"])
        for v in summary.get("verdicts", [])
        if _on_ttft(v) and v["scope"] in scopes
    ]
    return _distinct([*limits, *_promises(summary["classes"], promised)])[:3]


def _on_ttft(verdict: Mapping[str, Any]) -> bool:
    return bool(verdict["measure"].startswith("ttft_p"))


def _promises(classes: Mapping[str, Any], names: Sequence[str]) -> Iterator[tuple[float, str]]:
    for name in names:
        limit_s = classes[name]["objectives"].get("ttft_s")
        if limit_s is not None:
            yield float(limit_s), f"{name}: ttft ≤ {limit_s:g} s"


def _distinct(limits: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """One label for each value, the first."""
    return list({value: (value, label) for value, label in reversed(limits)}.values())[::-1]


def _first_of_group(table: Any, across_models: bool) -> np.ndarray:
    """1 for rows of the first pool of each model, or of all, else 0."""
    pools, models = table.column("pool").to_pylist(), table.column("model").to_pylist()
    models = [""] * len(models) if across_models else models
    first: dict[str, str] = {}
    for pool, model in zip(pools, models, strict=True):
        first.setdefault(model, pool)
    return np.array([first[m] == p for p, m in zip(pools, models, strict=True)], dtype=np.float64)


def numbers(table: Any, name: str) -> np.ndarray:
    """A column as floats or ints, NaN for null."""
    return table.column(name).to_numpy(zero_copy_only=False)
