"""Measured step times, read from a CSV: one row a measurement."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sim.errors import InputError, nearest

MAX_ROWS = 1_000_000
MAX_PROBLEMS = 20
GRID_COLUMNS = ("mode", "batch_size", "isl", "latency_ms")
SPLITWISE_COLUMNS = ("prompt_size", "batch_size", "token_size", "prompt_time", "token_time")
MODES = {
    "static_ctx": "prefill",
    "prefill": "prefill",
    "prompt": "prefill",
    "static_gen": "decode",
    "decode": "decode",
    "token": "decode",
    "mixed": "mixed",
    "static_mix": "mixed",
}


class Row(NamedTuple):
    """One measured step: `batch_size` sequences, each computing or attending `length` tokens."""

    group: tuple[str, str, int]  # system, model, tp
    is_prefill: bool
    batch_size: int
    length: float  # prefill: prompt tokens of each sequence; decode: tokens each attends to
    latency_ms: float
    prompt_tokens: float = 0.0  # computed beside decoding sequences: above 0 it is a mixed step


class Rows(NamedTuple):
    """What a file holds."""

    rows: list[Row]
    skipped: list[str]  # lines left out, each with its reason


def read_rows(path: str | Path) -> Rows:
    """Read a step-time CSV in aiconfigurator's or splitwise-sim's columns.

    Raises InputError with one line for each bad row (its line number, the first 20), for missing columns, and
    for a file that cannot be read.
    """
    name = Path(path).name
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            return _read(name, reader, reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: cannot be read as a CSV: {reason}") from error


def _read(name: str, reader: csv.DictReader[str], columns: Sequence[str]) -> Rows:
    """All rows of an open file, or InputError with every problem found."""
    splitwise = set(SPLITWISE_COLUMNS) <= set(columns)
    if not splitwise:
        _need_columns(name, columns)
    rows: list[Row] = []
    skipped: list[str] = []
    problems: list[str] = []
    for n_read, cells in enumerate(reader):
        if n_read >= MAX_ROWS or len(problems) >= MAX_PROBLEMS:
            problems.append(f"{name}: stopped reading at line {reader.line_num}")
            break
        try:
            found = list(_splitwise_rows(cells) if splitwise else _grid_rows(cells))
        except ValueError as error:
            problems.append(f"{name}, line {reader.line_num}: {error}")
            continue
        rows.extend(found)
        if not found:
            skipped.append(f"line {reader.line_num}: its batch was not served as one")
    if not rows and not problems:
        problems.append(f"{name}: holds no measurements")
    if problems:
        raise InputError(problems)
    return Rows(rows, skipped)


def _need_columns(name: str, columns: Sequence[str]) -> None:
    """Raise InputError naming each missing column and the column that may have been meant."""
    missing = [column for column in GRID_COLUMNS if column not in columns]
    if missing:
        hints = [f"{m} (did you mean {near}?)" if (near := nearest(m, columns)) else m for m in missing]
        raise InputError(
            f"{name}: missing columns {', '.join(hints)}; needed: {', '.join(GRID_COLUMNS)}, "
            f"or {', '.join(SPLITWISE_COLUMNS)}"
        )


def _grid_rows(cells: dict[str, str]) -> Iterator[Row]:
    """One row of aiconfigurator's grid; raises ValueError saying which cell is wrong."""
    mode = MODES.get(str(cells["mode"]).strip().lower())
    if mode is None:
        raise ValueError(f"mode: {cells['mode']!r} is not one of {', '.join(MODES)}")
    group = (cells.get("system") or "", cells.get("model") or "", _whole(cells, "tp", default=1))
    batch, length = _whole(cells, "batch_size"), _whole(cells, "isl")
    beside = _number(cells, "prompt_tokens") if mode == "mixed" else 0.0
    yield Row(group, mode == "prefill", batch, float(length), _number(cells, "latency_ms"), beside)


def _splitwise_rows(cells: dict[str, str]) -> Iterator[Row]:
    """One line of splitwise-sim's table: a prompt step and the mean decode step after it.

    Where e2e_time is given it tells how many tokens each sequence really made; a line whose batch took half
    as long again as its steps explain was not served as one (its KV did not fit), and yields nothing.
    """
    group = (
        cells.get("hardware") or "",
        cells.get("model") or "",
        _whole(cells, "tensor_parallel", default=1),
    )
    batch, prompt, asked = (_whole(cells, c) for c in ("batch_size", "prompt_size", "token_size"))
    prompt_ms, token_ms = _number(cells, "prompt_time"), _number(cells, "token_time")
    made = float(asked)
    if cells.get("e2e_time"):
        made = (_number(cells, "e2e_time") - prompt_ms) / token_ms + 1
        if made > 1.5 * asked:
            return
    yield Row(group, True, batch, float(prompt), prompt_ms)
    yield Row(group, False, batch, prompt + max(1.0, min(made, asked)) / 2, token_ms)


def _number(cells: dict[str, str], column: str) -> float:
    """A positive, finite cell; raises ValueError naming the column otherwise."""
    text = cells.get(column)
    try:
        value = float(text or "")
    except ValueError:
        raise ValueError(f"{column}: {text!r} is not a number") from None
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"{column}: {text!r} must be a finite number above 0")
    return value


def _whole(cells: dict[str, str], column: str, default: int | None = None) -> int:
    """A positive whole cell, or `default` where the column is absent or empty."""
    if default is not None and not cells.get(column):
        return default
    value = _number(cells, column)
    if value != int(value):
        raise ValueError(f"{column}: {cells[column]!r} must be a whole number")
    return int(value)
