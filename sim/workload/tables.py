"""CSV and Parquet traces, block by block: every cell as a number, a time or a label, broken ones marked."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from sim.workload.cells import Cells
from sim.workload.formats import Block, Faults, Layout, required
from sim.workload.pieces import hashes_of
from sim.workload.source import Source

BLOCK_ROWS = 200_000
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
ZONE = r"(Z|[+-]\d\d(:?\d\d)?)\s*$"
SEPARATORS = (";", "\t", "|")


def table_header(source: Source) -> list[str]:
    """The names of the columns of a CSV or Parquet file."""
    if source.kind == "parquet":
        return [str(name) for name in parquet.read_schema(source.path).names]
    first_line = source.head.decode("utf-8-sig").splitlines()[:1]
    return [name.strip() for name in next(csv.reader(first_line), [])]


def separator(header: list[str]) -> str | None:
    """What stands between the cells of a file that has one column, where that is no comma."""
    return next((mark for mark in SEPARATORS if len(header) == 1 and mark in header[0]), None)


def parquet_blocks(source: Source, layout: Layout, with_hashes: bool) -> Iterator[Block]:
    """Blocks of a Parquet file's rows; its lists of hashes only where somebody asks."""
    file, n_read = parquet.ParquetFile(source.path), 0
    hashes = [layout.hashes] if with_hashes and layout.hashes else []
    names = dict.fromkeys([*required(layout), *spans(layout), *labels(layout), *hashes])
    for batch in file.iter_batches(BLOCK_ROWS, columns=list(names)):
        columns = {name: batch.column(name) for name in names}
        line = np.arange(n_read + 1, n_read + batch.num_rows + 1)
        ids = [hashes_of(row) for name in hashes for row in columns[name].to_pylist()] if hashes else None
        yield _block(line, columns, layout, ids)
        n_read += batch.num_rows


def csv_blocks(
    source: Source, header: list[str], layout: Layout, faults: Faults, block_bytes: int
) -> Iterator[Block]:
    """Every cell as text, so that a broken one can be named; rows of the wrong length are faults."""
    skipped: list[int] = []

    def on_wrong_length(row: Any) -> str:
        skipped.append(row.number)
        faults.add(
            row.number, "row", row.text[:100], f"{row.expected_columns} columns, not {row.actual_columns}"
        )
        return "skip"

    names = list(dict.fromkeys([*required(layout), *spans(layout), *labels(layout)]))
    reader = arrow_csv.open_csv(
        pa.input_stream(source.path, compression="gzip" if source.is_packed else None),
        arrow_csv.ReadOptions(use_threads=False, block_size=block_bytes, skip_rows=1, column_names=header),
        arrow_csv.ParseOptions(ignore_empty_lines=False, invalid_row_handler=on_wrong_length),
        arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), include_columns=names, strings_can_be_null=False
        ),
    )
    n_read = 0
    for batch in reader:
        line = np.arange(n_read, n_read + batch.num_rows) + 2  # line 1 is the header
        for number in skipped:
            line[line >= number] += 1
        n_read += batch.num_rows
        kept = _not_blank(source, line, [batch.column(name) for name in names])
        yield _block(line[kept], {name: batch.column(name).filter(pa.array(kept)) for name in names}, layout)


def _not_blank(source: Source, line: NDArray[np.int64], columns: list[Any]) -> NDArray[np.bool_]:
    """False for lines with nothing on them; a line of separators alone stays, and is a fault later."""
    is_empty = np.ones(len(line), dtype=bool)
    for column in columns:
        is_empty &= np.asarray(pc.equal(column, ""))
    if is_empty.any():  # rare: look at the text itself
        with source.open() as stream:
            text = stream.read().split(b"\n")
        for i in np.flatnonzero(is_empty):
            is_empty[i] = not text[line[i] - 1].strip()
    return ~is_empty


def spans(layout: Layout) -> list[str]:
    """The columns of a layout that are times beside the arrival."""
    return [name for name in (layout.think, layout.took, layout.end) if name]


def labels(layout: Layout) -> list[str]:
    """The columns of a layout that are names."""
    return [name for name in (layout.session, layout.parent, layout.group, layout.tenant) if name]


def _block(
    line: NDArray[np.int64],
    columns: dict[str, Any],
    layout: Layout,
    ids: list[NDArray[np.int64]] | None = None,
) -> Block:
    """Arrow arrays as numbers, times of day as nanoseconds, names as text."""
    clocks = (layout.arrival, layout.end) if layout.time_unit == "timestamp" else ()
    cells = {
        name: (_timestamps if name in clocks else _numbers)(columns[name])
        for name in dict.fromkeys([*required(layout), *spans(layout)])
    }
    texts = {
        name: ["" if cell is None else str(cell) for cell in columns[name].to_pylist()]
        for name in labels(layout)
    }
    return Block(line, cells, ids, texts)


def _numbers(column: Any) -> Cells:
    """Whole numbers exactly where every cell is one, else floats; cells that are no number are marked."""
    if not (
        pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or _is_text(column.type)
    ):  # lists, times, flags, decimals
        return _nothing(column)
    for kind in (pa.int64(), pa.float64()):
        try:
            values = pc.cast(column, kind)
        except pa.ArrowInvalid:
            continue
        is_number = np.asarray(pc.fill_null(pc.is_finite(values), False))
        return Cells(np.asarray(pc.fill_null(values, 0)), is_number, column)
    if not _is_text(column.type):
        return _nothing(column)
    text = pc.utf8_trim_whitespace(column)
    matched = pc.fill_null(pc.match_substring_regex(text, NUMBER), False)
    values = pc.cast(pc.if_else(matched, text, "0"), pa.float64())
    return Cells(np.asarray(values), np.asarray(matched) & np.isfinite(values), column)


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _timestamps(column: Any) -> Cells:
    """Nanoseconds since 1970; the first row decides whether there is a time zone."""
    if not len(column) or not (pa.types.is_timestamp(column.type) or _is_text(column.type)):
        return _nothing(column)
    is_zoned = _is_text(column.type) and re.search(ZONE, column[0].as_py() or "") is not None
    kind = pa.timestamp("ns", tz="UTC") if is_zoned else pa.timestamp("ns")
    try:
        values = pc.cast(column, kind)
    except pa.ArrowInvalid:
        return _timestamps_one_by_one(column, kind)
    ns = pc.fill_null(pc.cast(values, pa.int64()), 0)
    return Cells(np.asarray(ns), np.asarray(values.is_valid()), column)


def timestamps(texts: list[Any]) -> Cells:
    """As `_timestamps`, of values that a JSON file has."""
    column = pa.array([value if isinstance(value, str) else None for value in texts], pa.string())
    return _timestamps(column)._replace(raw=texts)


def _timestamps_one_by_one(column: Any, kind: Any) -> Cells:
    """The slow way, which finds the cells that are no time."""
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
