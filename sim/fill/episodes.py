"""Faults that last for a while: room for what each of them strikes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sim.model.tables.fault import GPU_LOST
from sim.model.tables.run import Params
from sim.units import NEVER


def place_episodes(params: Params, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the places of their victims filled in; writes into params how many there may be at once.

    The numbers of nodes and of replica places have to be there already.
    """
    placed, first = [], 0
    for row in rows:
        units = row.get("units", NEVER)
        most = int(params.n_node if row.get("is_of_nodes") else params.n_replica)
        most = int(params.n_gpu) if row.get("kind") == GPU_LOST else most
        n_victim = min(units, most) if units < NEVER else 0
        placed.append({**row, "first_victim": first, "n_victim": n_victim})
        first += n_victim
    params.n_victim = first
    return placed
