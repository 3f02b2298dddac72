"""How a table becomes a Parquet file: the same table gives the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP = 1 << 17  # rows; fixed, so that a file does not depend on how its rows came


def write_table(table: pa.Table, path: Path | pa.NativeFile) -> None:
    """Writes one Parquet file (or into a stream): zstd, floats split by byte, integers as deltas, texts as a dictionary."""
    pq.write_table(
        table.combine_chunks(),
        path,
        compression="zstd",
        use_dictionary=[f.name for f in table.schema if pa.types.is_dictionary(f.type)],
        column_encoding=_encodings(table.schema),
        row_group_size=ROW_GROUP,
        write_statistics=True,
        store_schema=True,
        version="2.6",
        data_page_version="2.0",
    )


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Reads a Parquet file with its metadata, by default every column."""
    return pq.read_table(path, columns=columns)


def _encodings(schema: pa.Schema) -> dict[str, str] | None:
    found: dict[str, Any] = {f.name: _encoding(f.type) for f in schema}
    return {name: encoding for name, encoding in found.items() if encoding} or None


def _encoding(kind: pa.DataType) -> str | None:
    if pa.types.is_floating(kind):
        return "BYTE_STREAM_SPLIT"
    if pa.types.is_integer(kind):
        return "DELTA_BINARY_PACKED"
    return None
