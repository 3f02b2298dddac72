"""Readers of recorded traffic, block by block: CSV, Parquet, JSON lines; broken rows are named by line."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError, problem
from sim.scenario.trace import Trace
from sim.workload.cells import BROKEN_NS, Cells, times_ns, tokens
from sim.workload.formats import BURSTGPT, MOONCAKE, Block, Faults, Layout, TraceRows, choose_layout, required
from sim.workload.json_lines import json_blocks

BLOCK_BYTES = 16 * 2**20
BLOCK_ROWS = 200_000
HASHES = ("hash_ids", "prefix_hash_ids")  # a Parquet file's lists of block hashes
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
ZONE = r"(Z|[+-]\d\d(:?\d\d)?)\s*$"


class Part(NamedTuple):
    """A block after its checks."""

    arrival_ns: NDArray[np.int64] | None
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    line: NDArray[np.int64]
    hash_ids: list[list[int]] | None


def read_trace(trace: Trace, with_hashes: bool = False) -> TraceRows:
    """A trace up to its `end_s`; raise InputError with file, line, column and value of each broken row."""
    path = Path(trace.file)
    if not path.is_file():
        raise InputError(problem("trace.file", trace.file, "a file that exists"))
    faults = Faults(trace.file)
    try:
        layout = choose_layout(trace, _header(trace, path))
        parts = _read_parts(trace, path, layout, faults, with_hashes)
    except (OSError, ValueError) as error:  # Arrow's own errors are among these
        reason = (str(error).splitlines() or ["unreadable"])[0]
        raise InputError(problem("trace.file", trace.file, f"a readable trace ({reason})")) from error
    faults.raise_if_any()
    return _join(trace, layout, parts)


def _read_parts(trace: Trace, path: Path, layout: Layout, faults: Faults, with_hashes: bool) -> list[Part]:
    """Every block checked, up to the first that lies wholly after the window."""
    parts: list[Part] = []
    first = last = 0
    for block in _blocks(trace, path, layout, faults, with_hashes):
        part = _drop_failed(trace, layout, _check(block, layout, faults))
        if part.arrival_ns is not None and len(part.line):
            first = first if parts else int(part.arrival_ns[0])
            if not trace.sort:
                _check_order(part, last if parts else first, layout, faults)
            last = int(part.arrival_ns[-1])
        parts += [part] if len(part.line) else []
        if not faults.room or _is_past_window(trace, layout, first, last):
            break
    return parts


def _is_past_window(trace: Trace, layout: Layout, first_ns: int, last_ns: int) -> bool:
    if trace.end_s is None or trace.sort or layout.arrival is None:
        return False
    origin_ns = first_ns if layout.origin == "first_row" else 0
    return last_ns - origin_ns > trace.end_s * 1e9


def _check(block: Block, layout: Layout, faults: Faults) -> Part:
    """Numbers for the block's cells; a broken cell is a fault and counts as 0."""
    line, columns = block.line, block.columns
    arrival = None
    if layout.arrival is not None:
        arrival = times_ns(columns[layout.arrival], layout.time_unit, line, layout.arrival, faults)
    prompt = tokens(columns[layout.prompt_tokens], line, layout.prompt_tokens, faults)
    output = tokens(columns[layout.output_tokens], line, layout.output_tokens, faults)
    return Part(arrival, prompt, output, line, block.hash_ids)


def _drop_failed(trace: Trace, layout: Layout, part: Part) -> Part:
    """BurstGPT marks a failed call by an answer of 0 tokens; elsewhere 0 is an answer of no tokens."""
    if trace.failed_rows == "keep" or layout.output_tokens != BURSTGPT.output_tokens:
        return part
    kept = part.output_tokens > 0
    arrival = None if part.arrival_ns is None else part.arrival_ns[kept]
    return Part(arrival, part.prompt_tokens[kept], part.output_tokens[kept], part.line[kept], None)


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


def _join(trace: Trace, layout: Layout, parts: list[Part]) -> TraceRows:
    """The parts as one table, on the trace's own origin, sorted if asked."""
    if not parts:
        raise InputError(problem("trace.file", trace.file, "a trace with at least one row"))
    prompt = np.maximum(np.concatenate([p.prompt_tokens for p in parts]), 1).astype(np.int32)
    output = np.concatenate([p.output_tokens for p in parts]).astype(np.int32)
    first_line = 2 if _kind(trace, Path(trace.file)) == "csv" else 1
    row = np.concatenate([p.line for p in parts]) - first_line
    hash_ids = [ids for p in parts for ids in p.hash_ids] if parts[0].hash_ids is not None else None  # type: ignore
    order = np.arange(len(row))
    arrival = None
    if layout.arrival is not None:
        arrival = np.concatenate([p.arrival_ns for p in parts if p.arrival_ns is not None])
        order = np.argsort(arrival, kind="stable") if trace.sort else order
        arrival = arrival[order] - (arrival[order[0]] if layout.origin == "first_row" else 0)
    return TraceRows(arrival, prompt[order], output[order], row[order], *_flat(hash_ids, order))


def _flat(
    lists: list[list[int]] | None, order: NDArray[np.intp]
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
    """(values, start of each row) of lists taken in the given order."""
    if lists is None:
        return None, None
    ordered = [np.asarray(lists[i], dtype=np.int64) for i in order]
    start = np.concatenate([[0], np.cumsum([len(ids) for ids in ordered])]).astype(np.int64)
    return np.concatenate(ordered), start


def _kind(trace: Trace, path: Path) -> str:
    """parquet, jsonl or csv, from the stated format or else the file's ending."""
    endings = {".parquet": "parquet", ".jsonl": "jsonl", ".json": "jsonl"}
    if trace.format == "mooncake":
        return "jsonl"
    return trace.format if trace.format == "parquet" else endings.get(path.suffix.lower(), "csv")


def _header(trace: Trace, path: Path) -> list[str]:
    """The names of the file's columns."""
    kind = _kind(trace, path)
    if kind == "jsonl":
        return list(required(MOONCAKE))
    if kind == "parquet":
        from pyarrow import parquet

        return [str(name) for name in parquet.read_schema(path).names]
    import pyarrow as pa

    with pa.input_stream(path, compression="detect") as stream:
        first_line = stream.read(65_536).decode("utf-8-sig").splitlines()[:1]
    return [name.strip() for name in next(csv.reader(first_line), [])]


def _blocks(trace: Trace, path: Path, layout: Layout, faults: Faults, with_hashes: bool) -> Iterator[Block]:
    kind = _kind(trace, path)
    if kind == "jsonl":
        return json_blocks(path, required(layout), faults)
    if kind == "parquet":
        return _parquet_blocks(path, layout, with_hashes)
    return _csv_blocks(path, _header(trace, path), layout, faults)


def _parquet_blocks(path: Path, layout: Layout, with_hashes: bool) -> Iterator[Block]:
    from pyarrow import parquet

    file, n_read = parquet.ParquetFile(path), 0
    hashes = [name for name in HASHES if with_hashes and name in file.schema_arrow.names][:1]
    for batch in file.iter_batches(BLOCK_ROWS, columns=[*required(layout), *hashes]):
        line = np.arange(n_read + 1, n_read + batch.num_rows + 1)
        ids = [row or [] for name in hashes for row in batch.column(name).to_pylist()] if hashes else None
        yield Block(line, _parsed({name: batch.column(name) for name in required(layout)}, layout), ids)
        n_read += batch.num_rows


def _csv_blocks(path: Path, header: list[str], layout: Layout, faults: Faults) -> Iterator[Block]:
    """Every cell as text, so that a broken one can be named; rows of the wrong length are faults."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    skipped: list[int] = []

    def on_wrong_length(row: Any) -> str:
        skipped.append(row.number)
        faults.add(row.number, "row", row.text, f"{row.expected_columns} columns, not {row.actual_columns}")
        return "skip"

    reader = arrow_csv.open_csv(
        path,
        arrow_csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, skip_rows=1, column_names=header),
        arrow_csv.ParseOptions(ignore_empty_lines=False, invalid_row_handler=on_wrong_length),
        arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()),
            include_columns=list(required(layout)),
            strings_can_be_null=False,
        ),
    )
    n_read = 0
    for batch in reader:
        line = np.arange(n_read, n_read + batch.num_rows) + 2  # line 1 is the header
        for number in skipped:
            line[line >= number] += 1
        n_read += batch.num_rows
        kept = _not_blank(path, line, [batch.column(name) for name in required(layout)])
        columns = {name: batch.column(name).filter(pa.array(kept)) for name in required(layout)}
        yield Block(line[kept], _parsed(columns, layout))


def _not_blank(path: Path, line: NDArray[np.int64], columns: list[Any]) -> NDArray[np.bool_]:
    """False for lines with nothing on them; a line of separators alone stays, and is a fault later."""
    import pyarrow as pa
    import pyarrow.compute as pc

    is_empty = np.ones(len(line), dtype=bool)
    for column in columns:
        is_empty &= np.asarray(pc.equal(column, ""))
    if is_empty.any():  # rare: look at the text itself
        with pa.input_stream(path, compression="detect") as stream:
            text = stream.read().split(b"\n")
        for i in np.flatnonzero(is_empty):
            is_empty[i] = not text[line[i] - 1].strip()
    return ~is_empty


def _parsed(columns: dict[str, Any], layout: Layout) -> dict[str, Cells]:
    """Arrow arrays as numbers, times of day as nanoseconds."""
    clock = layout.arrival if layout.time_unit == "timestamp" else None
    return {name: (_timestamps if name == clock else _numbers)(column) for name, column in columns.items()}


def _numbers(column: Any) -> Cells:
    """Whole numbers exactly where every cell is one, else floats; cells that are no number are marked."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_boolean(column.type) or pa.types.is_temporal(column.type):
        return _nothing(column)
    for kind in (pa.int64(), pa.float64()):
        try:
            values = pc.cast(column, kind)
        except pa.ArrowInvalid:
            continue
        is_number = np.asarray(pc.fill_null(pc.is_finite(values), False))
        return Cells(np.asarray(pc.fill_null(values, 0)), is_number, column)
    text = pc.utf8_trim_whitespace(column)
    matched = pc.fill_null(pc.match_substring_regex(text, NUMBER), False)
    values = pc.cast(pc.if_else(matched, text, "0"), pa.float64())
    return Cells(np.asarray(values), np.asarray(matched) & np.isfinite(values), column)


def _timestamps(column: Any) -> Cells:
    """Nanoseconds since 1970; the first row decides whether there is a time zone."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not len(column) or not (pa.types.is_timestamp(column.type) or pa.types.is_string(column.type)):
        return _nothing(column)
    is_zoned = pa.types.is_string(column.type) and re.search(ZONE, column[0].as_py() or "") is not None
    kind = pa.timestamp("ns", tz="UTC") if is_zoned else pa.timestamp("ns")
    try:
        values = pc.cast(column, kind)
    except pa.ArrowInvalid:
        return _timestamps_one_by_one(column, kind)
    ns = pc.fill_null(pc.cast(values, pa.int64()), 0)
    return Cells(np.asarray(ns), np.asarray(values.is_valid()), column)


def _timestamps_one_by_one(column: Any, kind: Any) -> Cells:
    """The slow way, which finds the cells that are no time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values, is_time = np.zeros(len(column), dtype=np.int64), np.ones(len(column), dtype=bool)
    for i, cell in enumerate(column):
        try:
            values[i] = pc.cast(pc.cast(pa.array([cell.as_py().strip()]), kind), pa.int64())[0].as_py()
        except (pa.ArrowInvalid, AttributeError):
            is_time[i] = False
    return Cells(values, is_time, column)


def _nothing(column: Any) -> Cells:
    """A column of the wrong type: no cell of it is usable."""
    return Cells(np.zeros(len(column), dtype=np.int64), np.zeros(len(column), dtype=bool), column)
