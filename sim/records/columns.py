"""Arrays of the engine (codes, picoseconds, -1 for never) as Arrow arrays with nulls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sim.units import PS_PER_S


def names_of(things: Iterable[Any]) -> list[str]:
    """The `name` of each."""
    return [thing.name for thing in things]


def coded(codes: np.ndarray, names: Sequence[str | None]) -> pa.DictionaryArray:
    """Integer codes as texts; a code below 0, or whose name is None, is null."""
    texts = sorted({name for name in names if name is not None})
    place = {name: i for i, name in enumerate(texts)}
    to_index = np.array([-1 if name is None else place[name] for name in names] + [-1], dtype=np.int32)
    index = to_index[np.where(np.asarray(codes) < 0, len(names), codes)]
    indices = pa.array(index, type=pa.int32(), mask=index < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(texts, type=pa.string()))


def integers(
    values: np.ndarray, kind: type[np.signedinteger[Any]], null_below: int | None = None
) -> pa.Array:
    """Integers of one width; those below `null_below` are null."""
    values = np.asarray(values)
    mask = None if null_below is None else values < null_below
    return pa.array(values.astype(kind), mask=mask)


def moments(event: str, time_ps: np.ndarray) -> dict[str, pa.Array]:
    """The `_s` and `_ps` columns of an instant; null where it is -1."""
    never = time_ps < 0
    return {
        f"{event}_s": pa.array(time_ps / PS_PER_S, mask=never),
        f"{event}_ps": pa.array(time_ps.astype(np.int64), mask=never),
    }


def durations(start_ps: np.ndarray, end_ps: np.ndarray, parts: np.ndarray | int = 1) -> pa.Array:
    """Seconds from start to end, divided into whole picoseconds by `parts`; null where an end is -1."""
    never = (start_ps < 0) | (end_ps < 0)
    return pa.array((end_ps - start_ps) // parts / PS_PER_S, mask=never)
