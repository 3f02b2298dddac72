"""A run's nodes and links as metrics: what samples saw of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sim.model.tables.node import NODE_STAGES
from sim.outlets import families as f
from sim.outlets.series import Series
from sim.outlets.told import Told

#: What slices of a group are → what of nodes.parquet they are; free ones without those that nobody could take.
SLICES = {
    "replicas": ("used_slices", "job_slices"),
    "jobs": ("job_slices", None),
    "free": ("free_slices", "useless_slices"),
    "useless": ("useless_slices", None),
}


def cluster_series(told: Told) -> Iterator[Series]:
    """The series of nodes and links; nothing where a run has none."""
    tables, time_ps = told.run.tables, told.grid.time_ps
    for group, column in by_name(tables.nodes, "node_group", len(time_ps)):
        for stage in NODE_STAGES[1:]:
            yield Series(f.OWN_NODES, (group, stage), time_ps, column(f"nodes_{stage}"))
        for state, (whole, less) in SLICES.items():
            found = column(whole) - (column(less) if less is not None else 0)
            yield Series(f.OWN_SLICES, (group, state), time_ps, found)
    for link, column in by_name(tables.links, "link", len(time_ps)):
        yield Series(f.OWN_LINK_TRANSFERS, (link,), time_ps, column("transfers"))
        yield Series(f.OWN_LINK_RATE, (link,), time_ps, column("rate"))


def by_name(table: Any, key: str, n: int) -> Iterator[tuple[str, Any]]:
    """(name, a function from a column to its first n values) of each group or link of a table."""
    names = np.array(table.column(key).to_pylist(), dtype=object)
    for name in dict.fromkeys(names.tolist()):
        mine = np.flatnonzero(names == name)[:n]

        def column(of: str, mine: np.ndarray = mine) -> np.ndarray:
            return np.asarray(table.column(of).to_numpy())[mine]

        yield name, column
