"""Operating points from an engine's counters, as Prometheus keeps them: sequences running and tokens written."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from sim.errors import InputError
from sim.steptime.points import CsvRow, Point, Points, number

WINDOW_S = 60.0
BUSY = 0.5  # windows with fewer sequences running on average are mostly idle
BIN = 1.25  # windows whose numbers of sequences differ by less than this factor are one point
GAUGE, WRITTEN, PROMPTS = "num_requests_running", "generation_tokens_total", "prompt_tokens_total"
ALIASES = {"num_running_reqs": GAUGE, "generation_tokens": WRITTEN, "prompt_tokens": PROMPTS}
TIME_COLUMNS = ("timestamp", "time", "ts", "time_s")
REPLICA_COLUMNS = ("instance", "pod", "replica", "engine")


class Window(NamedTuple):
    """What one replica did in about a minute."""

    running: float
    step_ms: float
    prompts_per_output: float | None


Series = dict[str, dict[float, float]]  # metric → time in seconds → value


def from_counters(files: Sequence[tuple[str, list[CsvRow]]]) -> Points:
    """Points of CSVs with a row a scrape: a time, GAUGE, WRITTEN and, if there, PROMPTS and the replica's name.

    Raises InputError with one line a mistake.
    """
    replicas: dict[str, Series] = defaultdict(lambda: defaultdict(dict))
    problems: list[str] = []
    for name, rows in files:
        columns = {column: _metric(column) for column in rows[0].cells}
        time = next((c for c in columns if c.lower() in TIME_COLUMNS), None)
        missing = [m for m in (GAUGE, WRITTEN) if m not in columns.values()]
        if time is None or missing:
            needed = [*([] if time else ["timestamp"]), *missing]
            raise InputError(
                f"{name}: no column {' and '.join(needed)}; needed: timestamp, {GAUGE}, {WRITTEN}"
            )
        who = next((c for c in columns if c.lower() in REPLICA_COLUMNS), None)
        for line, row in rows:
            try:
                at = _time_s(time, row.get(time, ""))
                for column, metric in columns.items():
                    if metric in (GAUGE, WRITTEN, PROMPTS):
                        replicas[row.get(who, "") if who else ""][metric][at] = _counter(
                            column, row.get(column, "")
                        )
            except ValueError as error:
                problems.append(f"{name}, line {line}: {error}")
            if len(problems) >= 20:
                break
    if problems:
        raise InputError(problems)
    return points_of(files[0][0], replicas)


def from_prometheus(documents: Sequence[tuple[str, Any]]) -> Points:
    """Points of answers to `query_range`, one metric or several a file; raises InputError with one line a mistake."""
    replicas: dict[str, Series] = defaultdict(lambda: defaultdict(dict))
    found: set[str] = set()
    for name, document in documents:
        for entry in _entries(name, document):
            labels = entry["metric"] if isinstance(entry.get("metric"), dict) else {}
            metric = _metric(str(labels.get("__name__", "")))
            if metric not in (GAUGE, WRITTEN, PROMPTS):
                continue
            found.add(metric)
            who = "/".join(str(labels[label]) for label in REPLICA_COLUMNS if label in labels)
            for pair in entry.get("values", ()):
                try:
                    at, value = pair
                    replicas[who][metric][_time_s("time", str(at))] = _counter(metric, str(value))
                except (TypeError, ValueError) as error:
                    raise InputError(
                        f"{name}: {metric}: {str(pair)[:40]} is no time and value: {error}"
                    ) from error
    missing = [metric for metric in (GAUGE, WRITTEN) if metric not in found]
    if missing:
        raise InputError(
            f"{documents[0][0]}: no series is named {' or '.join(missing)}; ask query_range for the plain metrics, as "
            '{__name__=~"vllm:(num_requests_running|generation_tokens_total|prompt_tokens_total)"}'
        )
    return points_of(documents[0][0], replicas)


def _entries(name: str, document: Any) -> list[dict[str, Any]]:
    """The series of an answer."""
    result = document["data"]["result"]
    if not isinstance(result, list) or not all(
        isinstance(entry, dict) and "values" in entry for entry in result
    ):
        raise InputError(
            f"{name}: no range of values in it; allowed: the answer to query_range (resultType matrix)"
        )
    return result


def _metric(column: str) -> str:
    """A metric's name without the engine's prefix."""
    name = column.strip().lower().rpartition(":")[2]
    return ALIASES.get(name, name)


def _time_s(column: str, text: str) -> float:
    """Seconds of a Unix time, in seconds or milliseconds, or of an ISO 8601 time; raises ValueError otherwise."""
    try:
        value = float(text)
    except ValueError:
        try:
            return datetime.fromisoformat(text.strip().replace("Z", "+00:00")).timestamp()
        except (ValueError, OverflowError):
            raise ValueError(f"{column}: {text.strip()[:40]!r} is no Unix or ISO 8601 time") from None
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{column}: {text.strip()[:40]!r} is no Unix or ISO 8601 time")
    return value / 1e3 if value > 1e11 else value


def _counter(column: str, text: str) -> float:
    """A counter's or gauge's value, 0 allowed; raises ValueError otherwise."""
    return 0.0 if text.strip() in ("0", "0.0") else number(column, text)


# ---- windows and points --------------------------------------------------------------------------


def points_of(name: str, replicas: dict[str, Series]) -> Points:
    """Windows of all replicas, those with about as many sequences running together as one point; raises InputError."""
    windows: list[Window] = []
    resets = idle = 0
    for series in replicas.values():
        made, n_reset, n_idle = _windows(series)
        windows += made
        resets, idle = resets + n_reset, idle + n_idle
    if not windows:
        raise InputError(
            f"{name}: no minute in which sequences ran and tokens were written ({idle} idle, {resets} resets)"
        )
    notes = [
        f"{name}: {n} windows {what}"
        for n, what in ((idle, "idle"), (resets, "with a counter that restarted"))
        if n
    ]
    return Points(name, tuple(_binned(name, windows)), tuple(notes))


def _windows(series: Series) -> tuple[list[Window], int, int]:
    """(windows of at least a minute, how many had a reset, how many were idle) of one replica."""
    times = sorted(set(series.get(GAUGE, {})) & set(series.get(WRITTEN, {})))
    made: list[Window] = []
    resets = idle = first = 0
    for last in range(1, len(times)):
        if times[last] - times[first] < WINDOW_S:
            continue
        at = times[first : last + 1]
        first = last
        written = np.diff([series[WRITTEN][t] for t in at])
        if (written < 0).any():
            resets += 1
            continue
        gauge = np.array([series[GAUGE][t] for t in at])
        span = at[-1] - at[0]
        running = float(np.sum((gauge[1:] + gauge[:-1]) / 2 * np.diff(at)) / span)
        if running < BUSY or written.sum() <= 0:
            idle += 1
            continue
        prompts = series.get(PROMPTS, {})
        share = None
        if at[0] in prompts and at[-1] in prompts and prompts[at[-1]] >= prompts[at[0]]:
            share = (prompts[at[-1]] - prompts[at[0]]) / float(written.sum())
        made.append(Window(running, 1e3 * running * span / float(written.sum()), share))
    return made, resets, idle


def _binned(name: str, windows: list[Window]) -> list[Point]:
    """A point for each group of windows with about as many sequences running: the medians of the group."""
    groups: dict[int, list[Window]] = defaultdict(list)
    for window in windows:
        groups[round(math.log(max(window.running, 1.0)) / math.log(BIN))].append(window)
    points = []
    for _, group in sorted(groups.items()):
        low, high = min(w.running for w in group), max(w.running for w in group)
        shares = [w.prompts_per_output for w in group if w.prompts_per_output]
        points.append(
            Point(
                f"{name}, {len(group)} windows with {low:.0f} to {high:.0f} running",
                float(np.median([w.running for w in group])),
                mean_ms=float(np.median([w.step_ms for w in group])),
                prompts_per_output=float(np.median(shares)) if shares else None,
            )
        )
    return points
