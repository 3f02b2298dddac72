"""Checks on the cells of a trace: times to nanoseconds, token counts to whole numbers, the rest to faults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.workload.formats import NS_PER_UNIT, Faults

Ints = NDArray[np.int64]
TOKENS_MAX = 2**31 - 1
NS_MAX = 2**62
BROKEN_NS = -(2**63)
BROKEN_TOKENS = -1
TIME_ALLOWED = {
    "timestamp": "a date and time such as 2024-05-10 00:00:00.009930, with a zone in all rows or in none",
    **{unit: f"a time of 0 or more, in {unit}" for unit in NS_PER_UNIT},
}
EARLIER = " (with origin: first_row times may be negative)"
TOKENS_ALLOWED = f"a whole number of tokens from 1 to {TOKENS_MAX}"
SHOWN = 100  # characters of a broken cell


class Cells(NamedTuple):
    """One column of some rows."""

    values: NDArray[Any]  # (row,) int64 or float64; anything where `is_number` is False
    is_number: NDArray[np.bool_]  # (row,)
    raw: Sequence[Any]  # (row,) as written, for the message


def times_ns(
    cells: Cells, unit: str, line: Ints, column: str, faults: Faults, may_be_negative: bool = False
) -> Ints:
    """Nanoseconds, exact for whole numbers, to the nearest for fractions; BROKEN_NS for a fault."""
    factor = NS_PER_UNIT.get(unit, 1)  # a timestamp is in nanoseconds already
    most = NS_MAX // factor
    with np.errstate(invalid="ignore"):
        is_good = (
            cells.is_number & (cells.values >= (-most if may_be_negative else 0)) & (cells.values < most)
        )
    allowed = TIME_ALLOWED[unit]
    if unit in NS_PER_UNIT:
        allowed = (
            allowed.replace("of 0 or more", "").replace("  ", " ") if may_be_negative else allowed + EARLIER
        )
    report(cells, is_good, line, column, allowed, faults)
    values = np.where(is_good, cells.values, 0)
    if values.dtype.kind == "i":
        ns = values * np.int64(factor)
    else:
        ns = np.rint(values * factor).astype(np.int64)
    return np.where(is_good, ns, BROKEN_NS)


def tokens(cells: Cells, line: Ints, column: str, faults: Faults, least: int = 0) -> Ints:
    """Token counts of at least `least`; 472.0 is a whole number, 472.5 is a fault. BROKEN_TOKENS for a fault."""
    with np.errstate(invalid="ignore"):
        is_good = cells.is_number & (cells.values >= least) & (cells.values <= TOKENS_MAX)
        is_good &= np.floor(cells.values) == cells.values
    report(cells, is_good, line, column, TOKENS_ALLOWED, faults)
    return np.where(is_good, cells.values, BROKEN_TOKENS).astype(np.int64)


def report(
    cells: Cells, is_good: NDArray[np.bool_], line: Ints, column: str, allowed: str, faults: Faults
) -> None:
    """A fault for each cell that is not good, as far as there is room for them."""
    for i in np.flatnonzero(~is_good)[: faults.room]:
        value = cells.raw[int(i)]
        value = value.as_py() if hasattr(value, "as_py") else value
        text = str(value)
        faults.add(line[i], column, value if len(text) <= SHOWN else text[:SHOWN] + "…", allowed)
