"""Operating points of a running deployment: how many sequences decode at once, and how long a step then takes.

A CSV of points or of counters, or the result of a benchmark client; `benchmarks.py` and `counters.py` read the others.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sim.errors import InputError, nearest
from sim.steptime.rows import GRID_COLUMNS, SPLITWISE_COLUMNS

MAX_BYTES = 512 << 20
MAX_PROBLEMS = 20
UNITS = {"ms": 1.0, "s": 1e3, "us": 1e-3}
#: what a column may be called → what it is; times have a unit behind: itl_p50_ms, itl_p50_s
COUNTS = {
    "running": ("running", "mean_running", "num_requests_running", "running_sequences", "avg_batch"),
    "concurrency": ("concurrency", "max_concurrency", "clients"),
    "output_tokens_per_s": ("output_tokens_per_s", "output_throughput", "throughput_tokens_per_s"),
    "prompt_tokens": ("prompt_tokens", "prompt_tokens_mean", "input_tokens", "isl"),
    "output_tokens": ("output_tokens", "output_tokens_mean", "avg_output_tokens", "osl"),
}
TIMES = {
    "itl_p50": ("itl_p50", "median_itl", "itl_median", "itl"),
    "itl_mean": ("itl_mean", "mean_itl", "tpot", "mean_tpot", "tpot_mean"),
    "itl_p90": ("itl_p90", "p90_itl"),
    "ttft": ("ttft", "ttft_mean", "mean_ttft", "ttft_p50", "median_ttft"),
}
#: what each may be: beyond it the column holds something else, or in another unit
RANGES = {
    "running": (0.05, 1e5, "sequences"),
    "concurrency": (1, 1e5, "clients"),
    "output_tokens_per_s": (0.01, 1e8, "tokens a second"),
    "prompt_tokens": (1, 1e8, "tokens"),
    "output_tokens": (1, 1e8, "tokens"),
    "itl_p50": (0.2, 60_000, "ms"),
    "itl_mean": (0.2, 60_000, "ms"),
    "itl_p90": (0.2, 600_000, "ms"),
    "ttft": (0.2, 3_600_000, "ms"),
}
FORMS = (
    "rows of running or concurrency with itl_p50_ms or output_tokens_per_s; a result of vllm bench serve, guidellm or "
    "AIPerf; Prometheus ranges of num_requests_running and generation_tokens_total"
)


class Point(NamedTuple):
    """One steady state of one replica; None: it was not measured."""

    where: str  # file and line, for messages
    running: float  # sequences that decode at once, mean
    p50_ms: float | None = None  # median gap between tokens
    mean_ms: float | None = None  # mean step
    p90_ms: float | None = None  # 90th percentile of the gaps
    prompt_tokens: float | None = None  # means of a request
    output_tokens: float | None = None
    prompts_per_output: float | None = None  # prompt tokens for each token written
    output_spread: float | None = None  # standard deviation of output lengths over their mean


class CsvRow(NamedTuple):
    """A row of a CSV: its line and its cells by column; a short row lacks the last ones."""

    line: int
    cells: dict[str, str]


class Points(NamedTuple):
    """What the files hold."""

    source: str
    points: tuple[Point, ...]
    notes: tuple[str, ...] = ()  # what was passed over, each with its reason


def make_point(where: str, raw: dict[str, float], **more: float | None) -> Point:
    """A point of what was measured (keys of COUNTS and TIMES; times in ms); raises ValueError saying what is wrong.

    Without `running` it follows from the concurrency, less what waits for its first token, or from throughput and
    gaps (Little's law).
    """
    for key, value in raw.items():
        low, high, unit = RANGES[key]
        if not low <= value <= high:
            name = f"{key}_ms" if key in TIMES else key
            hint = f"; is it in seconds? Then call it {key}_s" if key in TIMES and value < low else ""
            raise ValueError(
                f"{name}: {value:g} is no number of {unit} that can be, {low:g} to {high:g}{hint}"
            )
    p50, mean, rate = raw.get("itl_p50"), raw.get("itl_mean"), raw.get("output_tokens_per_s")
    if p50 is None and mean is None and rate is None:
        raise ValueError("neither itl_p50_ms nor itl_mean_ms nor output_tokens_per_s is given")
    running = _running(raw, mean or p50)
    if mean is None and rate is not None:
        mean = 1e3 * running / rate
    _check_meaning(running, p50, mean, raw)
    lengths = (raw.get("prompt_tokens"), raw.get("output_tokens"))
    return Point(where, running, p50, mean, raw.get("itl_p90"), *lengths, **more)


def _running(raw: dict[str, float], gap_ms: float | None) -> float:
    """Mean sequences that decode at once."""
    if "running" in raw:
        return raw["running"]
    if "concurrency" in raw:
        ttft, tokens = raw.get("ttft", 0.0), raw.get("output_tokens")
        if gap_ms is None or tokens is None or tokens <= 1:
            return raw["concurrency"]
        decoding = (tokens - 1.0) * gap_ms
        return max(1.0, raw["concurrency"] * decoding / (decoding + ttft))
    if "output_tokens_per_s" in raw and gap_ms is not None:
        return raw["output_tokens_per_s"] * gap_ms / 1e3
    raise ValueError("neither running nor concurrency is given")


def _check_meaning(running: float, p50: float | None, mean: float | None, raw: dict[str, float]) -> None:
    """Raise ValueError where the numbers of a point cannot belong together."""
    if p50 is not None and mean is not None and not 1 / 20 <= p50 / mean <= 20:
        raise ValueError(
            f"{running:g} running sequences have a mean step of {mean:.3g} ms and a median gap of {p50:.3g} ms: these "
            "do not belong together; are all times in the units that their columns name, and rates per replica?"
        )
    p90 = raw.get("itl_p90")
    if p90 is not None and p50 is not None and p90 < p50:
        raise ValueError(f"itl_p90_ms: {p90:g} is below the median, {p50:g}")


# ---- files ---------------------------------------------------------------------------------------


def is_steps_file(path: str | Path, unless_known: bool = True) -> bool:
    """Whether a file is a CSV of single steps, which `rows.py` reads; raises InputError where it cannot be read.

    unless_known: a CSV of neither kind counts as one of steps.
    """
    if str(path).endswith((".json", ".jsonl")):
        return False
    header = read_text(path).partition("\n")[0].strip("\r\ufeff ")
    columns = {cell.strip().strip('"') for cell in header.split(",")}
    hits = max(len(columns & set(GRID_COLUMNS)), len(columns & set(SPLITWISE_COLUMNS)))
    return hits >= 2 or (unless_known and not _is_known(columns))


def _is_known(columns: set[str]) -> bool:
    """Whether any column is one of a point's or a counter."""
    known = [*COUNTS, *TIMES, "generation_tokens_total"]
    names = {_canonical(column)[0] for column in columns}
    return bool(names & set(known))


def read_points(paths: Sequence[str | Path]) -> Points:
    """All points of the files.

    Raises InputError with one line for each mistake: a file that cannot be read, another tool's file, missing
    columns, a number that cannot be.
    """
    from sim.steptime.benchmarks import from_json
    from sim.steptime.counters import from_counters

    parts: list[Points] = []
    documents: list[tuple[str, Any]] = []
    counters: list[tuple[str, list[CsvRow]]] = []
    for path in paths:
        name, text = Path(path).name, read_text(path)
        if _looks_like_json(text):
            documents += [(name, document) for document in _documents(name, text)]
            continue
        rows = csv_rows(name, text)
        if any(_canonical(column)[0] == "generation_tokens_total" for column in rows[0].cells):
            counters.append((name, rows))
        else:
            parts.append(_from_rows(name, rows))
    if documents:
        parts.append(from_json(documents))
    if counters:
        parts.append(from_counters(counters))
    source = ", ".join(dict.fromkeys(Path(path).name for path in paths))
    return Points(
        source,
        tuple(p for part in parts for p in part.points),
        tuple(n for part in parts for n in part.notes),
    )


def read_text(path: str | Path) -> str:
    """A text file; raises InputError where there is none or it is no text."""
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise InputError(
                f"{path}: is larger than {MAX_BYTES >> 20} MiB; allowed: a summary, not a log of requests"
            )
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise InputError(f"{path}: cannot be read as a CSV or JSON: {reason}") from error


def _looks_like_json(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[")


def _documents(name: str, text: str) -> list[Any]:
    """The JSON documents of a text: one, or one a line."""
    try:
        return [json.loads(text)]
    except (ValueError, RecursionError):
        pass
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        reason = (
            str(error) if isinstance(error, json.JSONDecodeError) else "a number or the nesting is too long"
        )
        raise InputError(f"{name}: cannot be read as JSON: {reason}") from error


def csv_rows(name: str, text: str) -> list[CsvRow]:
    """The rows of a CSV with a header; raises InputError where it is none."""
    try:
        reader = csv.reader(text.splitlines())
        columns = [column.strip() for column in next(reader, [])]
        rows = [
            CsvRow(reader.line_num, dict(zip(columns, cells, strict=False)))
            for cells in reader
            if any(cell.strip() for cell in cells)
        ]
    except csv.Error as error:
        raise InputError(f"{name}: cannot be read as a CSV: {error}") from error
    twice = [column for column in dict.fromkeys(columns) if columns.count(column) > 1]
    if twice:
        raise InputError(f"{name}: column {twice[0]!r} is there twice")
    if not rows:
        raise InputError(f"{name}: holds no rows")
    return rows


def _canonical(column: str) -> tuple[str, float]:
    """(what a column is, its unit in ms); a name that is not known comes back as it is."""
    name = re.sub(r"[\s-]+", "_", column.strip().lower())
    name = re.sub(r"^(vllm|sglang)[:_]", "", name)
    for key, names in COUNTS.items():
        if name in names:
            return key, 1.0
    stem, _, unit = name.rpartition("_")
    for key, names in TIMES.items():
        if stem in names and unit in UNITS:
            return key, UNITS[unit]
        if name in names:
            return key, math.nan
    return name, 1.0


def _from_rows(name: str, rows: list[CsvRow]) -> Points:
    """Points of a CSV; raises InputError with one line a mistake."""
    columns = {column: _canonical(column) for column in rows[0].cells}
    _check_columns(name, columns)
    points: list[Point] = []
    problems: list[str] = []
    for line, row in rows:
        where = f"{name}, line {line}"
        try:
            raw = {}
            for column, (key, unit) in columns.items():
                if key in RANGES and row.get(column, "").strip():
                    raw[key] = number(column, row[column]) * unit
            points.append(make_point(where, raw))
        except ValueError as error:
            problems.append(f"{where}: {error}")
        if len(problems) >= MAX_PROBLEMS:
            problems.append(f"{name}: stopped reading at line {line}")
            break
    if problems:
        raise InputError(problems)
    return Points(name, tuple(points))


def _check_columns(name: str, columns: dict[str, tuple[str, float]]) -> None:
    """Raise InputError where a point cannot come from these columns."""
    keys = [key for key, _ in columns.values()]
    for column, (key, unit) in columns.items():
        if math.isnan(unit):
            raise InputError(f"{name}: column {column!r}: say its unit, as {key}_ms or {key}_s")
        if key in RANGES and keys.count(key) > 1:
            raise InputError(
                f"{name}: two columns say {key}: {', '.join(c for c, k in columns.items() if k[0] == key)}"
            )
    has_n = {"running", "concurrency"} & set(keys)
    has_time = {"itl_p50", "itl_mean", "output_tokens_per_s"} & set(keys)
    if has_n and has_time:
        return
    wanted = (
        [*COUNTS["running"], *COUNTS["concurrency"]] if not has_n else ["itl_p50_ms", "output_tokens_per_s"]
    )
    close = next(
        (
            f"; did you mean {near!r} by {c}?"
            for c in columns
            if (near := nearest(c.strip().lower(), wanted, 0.7))
        ),
        "",
    )
    missing = "running or concurrency" if not has_n else "itl_p50_ms or output_tokens_per_s"
    raise InputError(f"{name}: no column {missing}{close}; allowed: {FORMS}")


def number(column: str, text: str) -> float:
    """A finite number above 0; raises ValueError naming the column otherwise."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{column}: {text.strip()[:40]!r} is not a number") from None
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"{column}: {text.strip()[:40]!r} must be a finite number above 0")
    return value
