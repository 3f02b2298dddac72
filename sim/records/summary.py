"""The summary as one flat row: what runs are compared by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from sim.measures.flat import column_means, column_unit
from sim.records.schema import Column, schema

NOT_FLAT = (
    "reasons",
    "classes",
    "tenants",
    "pools",
    "stations",
    "links",
    "node_groups",
    "slice_waits",
    "jobs",
    "queues",
    "deployments",
    "traces",
    "unsent",
    "usd_lines",
    "verdicts",
    "look_at",
    "engine",
)  # kept in summary.json only

LISTS = (list, tuple)


def flat_summary(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Nested keys joined by "_": {"ttft": {"p99_s": 1}} → {"ttft_p99_s": 1}; lists and sections left out."""
    row: dict[str, Any] = {}
    _add_flat(row, {key: value for key, value in summary.items() if key not in NOT_FLAT}, "")
    return row


def summary_table(
    summaries: Sequence[Mapping[str, Any]], footer: Mapping[str, str] | None = None
) -> pa.Table:
    """One row per run, a column for every key that any of them has; infinity stays infinity."""
    rows = [flat_summary(summary) for summary in summaries]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = [column(name, [row.get(name) for row in rows]) for name in names]
    values = [[row.get(c.name) for row in rows] for c in columns]
    arrays = [pa.array(v, type=c.type) for c, v in zip(columns, values, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema(columns, footer))


def _add_flat(row: dict[str, Any], section: Mapping[str, Any], prefix: str) -> None:
    for key, value in section.items():
        if isinstance(value, dict):
            _add_flat(row, value, f"{prefix}{key}_")
        elif not isinstance(value, LISTS):
            row[prefix + key] = value


def column(name: str, values: list[Any]) -> Column:
    """The column that holds some values of one key of the flat summary: its type, unit and meaning."""
    known = [value for value in values if value is not None]
    means = column_means(name)
    if known and all(isinstance(value, bool) for value in known):
        return Column(name, pa.bool_(), "bool", means)
    if any(isinstance(value, str) for value in known):
        return Column(name, pa.string(), "name", means)
    if known and all(isinstance(value, int) for value in known):
        return Column(name, pa.int64(), column_unit(name), means)
    return Column(name, pa.float64(), column_unit(name), means)
