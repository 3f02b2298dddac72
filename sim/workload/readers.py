"""Recorded traffic read block by block: CSV, Parquet, JSON; broken rows are named by line, column and value."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError, problem
from sim.scenario.trace import Trace
from sim.workload.assemble import UNKNOWN_NS, Part, joined
from sim.workload.cells import BROKEN_NS, Cells, report, times_ns, tokens
from sim.workload.foreign import known_header
from sim.workload.formats import SHAREGPT, Block, Faults, Layout, TraceRows, choose_layout
from sim.workload.json_lines import json_blocks, json_header, json_rows
from sim.workload.meaning import check_units
from sim.workload.source import BROKEN_FILE, Source

BLOCK_BYTES = 16 * 2**20  # of a CSV file
PER_TOKEN = 4.0  # characters, where nobody asks what texts come to
EMPTY_ALLOWED = (
    "1 or more (traffic.trace.failed_rows=drop leaves out rows without tokens, keep takes them as they are; answers of 0"
    " tokens are for a model of kind embedding)"
)


class Opened(NamedTuple):
    """A file with its layout and its rows still to be read."""

    layout: Layout
    blocks: Iterator[Block]
    first_line: int = 1  # the line of the first row


def read_trace(trace: Trace, with_hashes: bool = False, writes: bool = False) -> TraceRows:
    """A trace up to its `end_s`; raise InputError with file, line, column and value of each broken row.

    Where its answers are written (`writes`), they have a token at least, as every prompt does.
    """
    if trace.tenant is None:
        found = _read_all(trace, with_hashes, writes)
    else:  # one of many who have a class each
        found = _read_once(replace(trace, tenant=None), _stamp(trace.file), with_hashes, writes)
    return joined(trace, *found, with_hashes)


def _stamp(file: str) -> tuple[int, int]:
    """When a file was changed, and its size; zeros where there is none."""
    try:
        found = os.stat(file)
    except (OSError, ValueError):
        return 0, 0
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=1)
def _read_once(
    trace: Trace, _stamp: tuple[int, int], with_hashes: bool, writes: bool
) -> tuple[Layout, list[Part], int]:
    return _read_all(trace, with_hashes, writes)


def _read_all(trace: Trace, with_hashes: bool, writes: bool) -> tuple[Layout, list[Part], int]:
    """(layout, checked rows, line of the first row)."""
    faults = Faults(trace.file)
    try:
        opened = open_trace(trace, Source(trace.file), faults, with_hashes)
        parts = _read_parts(trace, opened, faults, writes)
    except BROKEN_FILE as error:
        reason = (str(error).splitlines() or ["unreadable"])[0]
        raise InputError(problem("trace.file", trace.file, f"a readable trace ({reason})")) from error
    faults.raise_if_any()
    return opened.layout, parts, opened.first_line


def open_trace(trace: Trace, source: Source, faults: Faults, with_hashes: bool = False) -> Opened:
    """The layout of a file and its blocks; InputError where it is no trace, or not of the format that is stated."""
    _check_kind(trace, source)
    if source.kind not in ("csv", "parquet"):
        header, rows = json_header(json_rows(source, faults))
        if not header:
            faults.raise_if_any()
            raise InputError(problem("trace.file", trace.file, "a trace with at least one row"))
        layout = choose_layout(trace, header, source.kind)
        _check_texts(trace, layout)
        return Opened(layout, json_blocks(rows, layout, trace.chars_per_token or PER_TOKEN, faults))
    from sim.workload.tables import csv_blocks, parquet_blocks, separator, table_header

    header = table_header(source)
    if not header:
        raise InputError(
            problem("trace.file", trace.file, "a trace with at least one row, and a header line")
        )
    if source.kind == "csv":
        source.refuse(known_header(header))
        mark = separator(header)
        source.refuse(None if mark is None else f"separated by {mark!r}; write it with commas")
    layout = choose_layout(trace, header, source.kind)
    _check_texts(trace, layout)
    if source.kind == "parquet":
        return Opened(layout, parquet_blocks(source, layout, with_hashes))
    if layout.hashes is not None and trace.columns is not None:
        raise InputError(
            problem(
                "trace.columns.hashes", layout.hashes, "null for CSV, whose cells hold no lists; use Parquet"
            )
        )
    return Opened(layout._replace(hashes=None), csv_blocks(source, header, layout, faults, BLOCK_BYTES), 2)


def _check_kind(trace: Trace, source: Source) -> None:
    """Raise InputError where a file is not written as its stated format is."""
    stated = {"csv": ("csv",), "parquet": ("parquet",), "mooncake": ("jsonl",), "weka": ("weka",)}.get(
        trace.format
    )
    if stated is not None and source.kind not in stated:
        raise InputError(
            problem(
                "trace.format", trace.format, f"auto, or the format of {trace.file}, which is {source.kind}"
            )
        )


def _check_texts(trace: Trace, layout: Layout) -> None:
    """Raise InputError where texts are to be counted and nobody said how, or where there are none."""
    if layout.texts and trace.chars_per_token is None:
        times = " and arrivals from traffic.arrivals" if layout.name == SHAREGPT.name else ""
        raise InputError(
            f"trace.file: {trace.file} holds texts ({layout.name}) and no token counts; traffic.trace.chars_per_token=4"
            f" takes estimated lengths{times}, or count tokens yourself and give columns prompt_tokens, output_tokens"
        )
    if not layout.texts and trace.chars_per_token is not None:
        raise InputError(
            problem("trace.chars_per_token", trace.chars_per_token, f"null: {trace.file} has token counts")
        )


def _read_parts(trace: Trace, opened: Opened, faults: Faults, writes: bool) -> list[Part]:
    """Every block checked, up to the first that lies wholly after the window."""
    layout = opened.layout
    parts: list[Part] = []
    first = last = 0
    for block in opened.blocks:
        part = _check(block, layout, faults, writes)
        if part.arrival_ns is not None and len(part.line):
            first = first if parts else int(part.arrival_ns[0])
            if layout.in_order and layout.times == "trace":
                _check_order(part, last if parts else first, layout, faults)
            last = int(part.arrival_ns[-1])
        parts += [part] if len(part.line) or part.n_empty else []
        if not faults.room or _is_past_window(trace, layout, first, last):
            break
    return parts


def _is_past_window(trace: Trace, layout: Layout, first_ns: int, last_ns: int) -> bool:
    if trace.end_s is None or not layout.in_order or layout.times == "session" or layout.arrival is None:
        return False
    if trace.sessions == "closed":
        return False  # what follows a call in the window may lie behind it
    origin_ns = first_ns if layout.origin == "first_row" else 0
    return last_ns - origin_ns > trace.end_s * 1e9


def _check(block: Block, layout: Layout, faults: Faults, writes: bool) -> Part:
    """Numbers for the block's cells; a broken cell is a fault."""
    line, columns = block.line, block.columns
    arrival = None
    is_relative = layout.origin == "first_row" or layout.times == "session"
    if layout.arrival is not None:
        cells = columns[layout.arrival]
        check_units(faults.file, layout, np.where(cells.is_number, cells.values, 0), line)
        arrival = times_ns(cells, layout.time_unit, line, layout.arrival, faults, is_relative)
    prompt = tokens(columns[layout.prompt_tokens], line, layout.prompt_tokens, faults)
    output = tokens(columns[layout.output_tokens], line, layout.output_tokens, faults)
    if layout.empty == "refuse":
        for name, n in ((layout.prompt_tokens, prompt), (layout.output_tokens, output)):
            is_good = (n != 0) | (name == layout.output_tokens and not writes)
            report(columns[name], is_good, line, name, EMPTY_ALLOWED, faults)
    seconds = {
        name: _spans(columns[name], line, name, faults) for name in (layout.think, layout.took) if name
    }
    end = None
    if layout.end is not None:
        end = times_ns(columns[layout.end], layout.time_unit, line, layout.end, faults, is_relative)
    think, took = (seconds.get(name or "") for name in (layout.think, layout.took))
    part = Part(arrival, prompt, output, line, think, took, end, block.hash_ids, block.labels)
    return _without_failed(layout, part)


def _spans(cells: Cells, line: NDArray[np.int64], column: str, faults: Faults) -> NDArray[np.int64]:
    """Seconds as nanoseconds; UNKNOWN_NS where nothing is written."""
    is_empty = np.zeros(len(line), dtype=bool)
    for i in np.flatnonzero(~cells.is_number):
        value = cells.raw[int(i)]
        value = value.as_py() if hasattr(value, "as_py") else value
        is_empty[i] = value is None or (isinstance(value, str) and not value.strip())
    known = cells._replace(is_number=cells.is_number | is_empty, values=np.where(is_empty, 0, cells.values))
    return np.where(is_empty, UNKNOWN_NS, times_ns(known, "s", line, column, faults))


def _without_failed(layout: Layout, part: Part) -> Part:
    """The rows but for those without tokens, where the format means failed calls by them."""
    is_empty = (part.prompt_tokens == 0) | (part.output_tokens == 0)
    if layout.empty != "drop" or not is_empty.any():
        return part
    return part.at(np.flatnonzero(~is_empty))._replace(n_empty=int(is_empty.sum()))


def _check_order(part: Part, last_ns: int, layout: Layout, faults: Faults) -> None:
    """A fault for each row that comes before the row above it."""
    assert part.arrival_ns is not None
    is_time = part.arrival_ns != BROKEN_NS
    arrival_ns, line = part.arrival_ns[is_time], part.line[is_time]
    before = np.concatenate([[last_ns], arrival_ns[:-1]])
    for i in np.flatnonzero(arrival_ns < before)[: faults.room]:
        earlier_s = (before[i] - arrival_ns[i]) / 1e9
        value = f"{earlier_s:.9g} s before the row above"
        faults.add(line[i], str(layout.arrival), value, "rising times, or sort: true")
