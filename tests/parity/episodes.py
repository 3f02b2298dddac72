"""Faults that last for a while under the fleets made to hurt: slow steps and slow links, scripted and at random.

Drawn from dice of their own, so that the rest of a seed's fleet is the same with and without them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.model.tables.fault import CRASH, GPU_LOST, HANG, SLOW_LINK, SLOW_STEPS
from sim.model.tables.pool import N_QUANTILE
from sim.units import NEVER

Rows = dict[str, list[dict[str, Any]]]


def make_episodes(seed: int, grid_ps: int, n_pool: int, n_link: int, n_group: int) -> Rows:
    """A few of them: of pools, of groups and zones where there are nodes, of links where there are any; some at one
    instant, some that follow each other at once, some that strike only a few.
    """
    rng = np.random.default_rng([seed, 71])
    rows: list[dict[str, Any]] = []
    clocks: list[dict[str, Any]] = []
    for _ in range(int(rng.integers(5))):
        row: dict[str, Any] = {
            "at_ps": int(rng.integers(60)) * grid_ps,
            "lasts_ps": int(rng.integers(1, 40)) * grid_ps,
        }
        if rng.integers(2):
            spans = [np.sort(rng.integers(0, 40, size=N_QUANTILE)) * grid_ps for _ in range(2)]
            clocks.append({"gap_ps": spans[0] + grid_ps, "lasts_ps": spans[1]})
            row = {"clock": len(clocks)}
        if n_link and rng.integers(2):
            down = int(rng.integers(3)) > 0
            row |= {
                "kind": SLOW_LINK,
                "link": int(rng.integers(1, n_link + 1)),
                "factor_q20": down * int(rng.integers(2**20)),
            }
        else:
            row |= slow_row(rng, n_pool, n_group)
        if row["kind"] == SLOW_STEPS and not row.get("is_of_nodes") and rng.integers(2):
            row["kind"] = int(rng.choice((CRASH, HANG)))
        elif (
            row["kind"] == SLOW_STEPS and row.get("is_of_nodes") and row["units"] < NEVER and rng.integers(2)
        ):
            row["kind"] = GPU_LOST
        rows.append(row)
    return {"episode": rows, "fault_clock": clocks}


def slow_row(rng: np.random.Generator, n_pool: int, n_group: int) -> dict[str, Any]:
    """What is slow, and how slow."""
    row = {
        "kind": SLOW_STEPS,
        "factor_q20": int(rng.integers(2**20, 2**22)),
        "units": int(rng.integers(1, 4)) if rng.integers(2) else NEVER,
        "is_of_tp": int(rng.integers(4) == 0),
    }
    if n_group and rng.integers(2):
        of_group = int(rng.integers(n_group + 1))
        zone = int(rng.integers(int(of_group == 0), 3))
        return row | {"is_of_nodes": 1, "node_group": of_group, "zone": zone}
    return row | {"pool": int(rng.integers(n_pool + 1))}
