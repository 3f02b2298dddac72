"""Mooncake's JSON lines, one object a line, block by block."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from sim.workload.cells import Cells
from sim.workload.formats import Block, Faults

BLOCK_ROWS = 100_000


def json_blocks(path: Path, names: tuple[str, ...], faults: Faults) -> Iterator[Block]:
    """Blocks of rows; a line that is no JSON object is a fault, an empty line is passed over."""
    lines: list[int] = []
    rows: list[dict[str, Any]] = []
    with _open(path) as stream:
        for line, text in enumerate(stream, start=1):
            row = _row(line, text, faults) if text.strip() else None
            if row is not None:
                lines.append(line)
                rows.append(row)
            if len(rows) == BLOCK_ROWS:
                yield _block(lines, rows, names)
                lines, rows = [], []
            if faults.room == 0:
                break
    if rows:
        yield _block(lines, rows, names)


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _row(line: int, text: bytes, faults: Faults) -> dict[str, Any] | None:
    try:
        row = json.loads(text)
    except ValueError:
        row = None
    if isinstance(row, dict):
        return row
    faults.add(line, "row", text[:80].decode("utf-8", "replace").strip(), "a JSON object")
    return None


def _block(lines: list[int], rows: list[dict[str, Any]], names: tuple[str, ...]) -> Block:
    columns = {name: _cells([row.get(name, "missing") for row in rows]) for name in names}
    return Block(np.array(lines), columns, [_hash_ids(row) for row in rows])


def _cells(raw: list[Any]) -> Cells:
    is_number = np.array([isinstance(value, int | float) and not isinstance(value, bool) for value in raw])
    values = [value if good else 0 for value, good in zip(raw, is_number, strict=True)]
    return Cells(np.array(values, dtype=np.float64), is_number, raw)


def _hash_ids(row: dict[str, Any]) -> list[int]:
    ids = row.get("hash_ids") or []
    return [value for value in ids if isinstance(value, int)] if isinstance(ids, list) else []
