"""A few nodes and pools by hand, without requests that matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sim.engine.host import Policies
from sim.engine.simpy import Fleet
from sim.fill.params import ClassRow, FaultRow, PoolRow, RunRow, ServedModelRow, Traffic, make_params
from sim.model.tables.node import EVENT_NAMES
from sim.model.tables.pool import N_QUANTILE
from sim.units import NEVER, PS_PER_S

#: What a replica takes of a GPU: all of it, half of it, an eighth.
WHOLE = {"memory_slices": 8, "compute_slices": 7, "starts": 1, "weight": 1}
HALF = {"memory_slices": 4, "compute_slices": 3, "starts": 0b10001, "weight": 1}
SMALL = {"memory_slices": 1, "compute_slices": 1, "starts": 0b1111111, "weight": 1}
NOT_THERE = {**WHOLE, "starts": 0}
END_S = 1000


def seconds(n: int) -> np.ndarray:
    """A duration that is always the same."""
    return np.full(N_QUANTILE, n * PS_PER_S)


def group(n_node: int, initial: int = 0, gpus: int = 1, **more: Any) -> dict[str, Any]:
    """A group of nodes; they take no time to come unless it says so."""
    return {"n_node": n_node, "initial_nodes": initial, "gpus": gpus, **more}


def pool(most: int, initial: int = 0, start_s: int = 10) -> PoolRow:
    """A pool without a controller."""
    speed = np.full(9, PS_PER_S)
    return PoolRow(speed, 0 * speed, 0, 0, 1000, 8, 64, 1000)._replace(
        min_replicas=0, max_replicas=most, initial_replicas=initial, stage_ps=seconds(start_s)[None]
    )


def small(
    groups: list[dict[str, Any]],
    asks: list[dict[str, int]],
    pools: list[PoolRow],
    places: list[dict[str, int]] | None = None,
    faults: list[FaultRow] | None = None,
    steps: list[dict[str, Any]] | None = None,
    droughts: list[dict[str, int]] | None = None,
    policies: Policies | None = None,
    budgets: list[dict[str, int]] | None = None,
    requests: Sequence[tuple[int, int]] = (),
    episodes: Sequence[dict[str, int]] = (),
    **cluster: Any,
) -> Fleet:
    """A run in SimPy; asks: (group, pool); requests: (when in s, output tokens), in order. There is no node autoscaler
    unless `scan_ps` is given.
    """
    end_ps = END_S * PS_PER_S
    p = make_params(
        RunRow(1, end_ps, 0, end_ps, 0),
        Traffic(
            np.array([*(at_s * PS_PER_S for at_s, _ in requests), end_ps - 1]),
            np.ones(len(requests) + 1, dtype=np.int64),
            np.array([*(tokens for _, tokens in requests), 1]),
            np.zeros(len(requests) + 1, dtype=np.int64),
        ),
        [ClassRow()],
        [ServedModelRow()],
        pools,
        faults,
        things={
            "cluster": [{"scan_ps": NEVER, **cluster}],
            "node_group": groups,
            "slice_ask": asks,
            "pool_place": places or [{} for _ in pools],
            "node_step": steps or [],
            "drought": droughts or [],
            "episode": list(episodes),
            "budget": [{"is_set": int(bool(row)), **row} for row in budgets or []],
        },
    )
    return Fleet(p, policies)


def told(fleet: Fleet, *names: str) -> list[tuple[float, str, int, int]]:
    """(when in s, what, node, replica) of the events of these names, all if none is named."""
    rows = fleet.state.rows("event", int(fleet.state.n_event))
    found = [
        (float(row["time_ps"] / PS_PER_S), EVENT_NAMES[row["event"]], int(row["node"]), int(row["replica"]))
        for row in rows
    ]
    return [event for event in found if not names or event[1] in names]


def nodes_of(fleet: Fleet) -> list[int]:
    """The node of each replica place's first member, −1 = it holds nothing."""
    p = fleet.params
    return [
        int(fleet.state.member[int(p.pool_place[i].first_member) + r * int(p.pool_place[i].n_member)].node)
        for i in range(int(p.n_pool))
        for r in range(int(p.pool[i].n_replica))
    ]


def stages(fleet: Fleet) -> list[str]:
    """The stage of each node that is not absent."""
    return [node.stage for node in fleet.nodes()]
