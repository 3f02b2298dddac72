"""The tables of a cluster: where its nodes, GPUs and the gangs of its replicas lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sim.fill.rows import PoolRow, power_of_two
from sim.model.tables.run import Params
from sim.model.tables.sample import N_MARK

EVENTS_KEPT = 1 << 17  # 5 MB
Rows = Sequence[Mapping[str, Any]]


def place_cluster(params: Params, pools: Sequence[PoolRow], things: Mapping[str, Rows]) -> dict[str, Rows]:
    """The rows of groups and of pools' placements, with the numbers of their first node, GPU and member filled in.

    `things` has `cluster` (one row), `node_group`, `slice_ask` (a row a group and pool, groups outermost) and, if need be,
    `pool_place`, `node_step`, `drought`, which groups name by their first row. Writes into params how many nodes, GPUs,
    members and workloads there are.
    """
    groups, node, gpu = [], 0, 0
    for group in things["node_group"]:
        groups.append({**group, "first_node": node, "first_gpu": gpu})
        node += group["n_node"]
        gpu += group["n_node"] * group["gpus"]
    places, member = [], 0
    for pool, place in zip(pools, things.get("pool_place") or [{} for _ in pools], strict=True):
        places.append({**place, "first_member": member})
        member += pool.max_replicas * place.get("n_member", 1)
    if len(things["slice_ask"]) != len(pools) * len(groups):
        raise ValueError(
            f"{len(things['slice_ask'])} rows of slice_ask for {len(groups)} groups, {len(pools)} pools"
        )
    params.n_node, params.n_gpu, params.n_member = node, gpu, member
    params.node_leaves = power_of_two(max(node, 1))
    params.n_workload = params.n_replica
    params.n_cached = node * len(things.get("artifact", ()))
    params.n_group_mark = N_MARK * len(groups)
    params.n_group_sample = params.n_sample * len(groups)
    params.n_event = EVENTS_KEPT * params.keeps_records + 1
    return {"node_group": groups, "pool_place": places}
