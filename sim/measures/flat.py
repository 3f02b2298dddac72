"""Measures by the names of the columns of a flat summary: `ttft_p99_s`, `usd_per_hour`."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

from sim.measures.levels import STATISTICS, key_of
from sim.measures.listed import TIMES, WHOLE
from sim.measures.measure import COUNT, SECONDS, SHARE, TOKENS, Measure


class Column(NamedTuple):
    """A column: a measure, and of a latency one statistic."""

    name: str
    unit: str  # as the measure has it
    file_unit: str
    means: str


def column_unit(name: str) -> str:
    """A column's unit in files; "1" for one that is no measure."""
    found = _columns().get(name)
    return COUNT if found is None else found.file_unit


def column_means(name: str) -> str:
    """What a column says, in words; its name for one that is no measure."""
    found = _columns().get(name)
    return name if found is None else found.means


def is_share(name: str) -> bool:
    """Whether a column is a fraction, shown in percent."""
    found = _columns().get(name)
    return found is not None and found.unit == SHARE


def is_whole(name: str) -> bool:
    """Whether a column counts something: its values are whole numbers, whatever a run came to."""
    found = _columns().get(name)
    return found is not None and found.unit in (COUNT, TOKENS) and not name.endswith("_mean")


@functools.cache
def _columns() -> dict[str, Column]:
    return {column.name: column for measure in (*TIMES, *WHOLE) for column in columns_of(measure)}


def columns_of(measure: Measure) -> Iterator[Column]:
    """The columns of a measure."""
    if not measure.is_latency:
        yield Column(measure.name, measure.unit, measure.file_unit, measure.means)
        return
    for statistic in STATISTICS:
        level, _, served = statistic.partition("_")
        over = "over the served" if served else "over all requests"
        means = f"{level} {over} of: {measure.means}"
        yield Column(f"{measure.name}_{key_of(statistic)}", SECONDS, SECONDS, means)
