"""The tables of a cluster: where its nodes, GPUs and the gangs of its replicas and jobs lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sim.fill.quotas import place_quotas
from sim.fill.rows import PoolRow, power_of_two
from sim.model.tables.run import Params
from sim.model.tables.sample import N_MARK

EVENTS_KEPT = 1 << 17  # 5 MB
Rows = Sequence[Mapping[str, Any]]


def place_cluster(params: Params, pools: Sequence[PoolRow], things: Mapping[str, Rows]) -> dict[str, Rows]:
    """The rows of groups and of pools' placements, with the numbers of their first node, GPU and member filled in.

    `things` has `cluster` (one row), `node_group`, `slice_ask` (a row a group and pool or job, groups outermost) and, if
    need be, `pool_place` (pools, then jobs), `node_step`, `drought`, which groups name by their first row, `job` and
    `job_run`. Writes into params how many nodes, GPUs, members and workloads there are.
    """
    groups, node, gpu = [], 0, 0
    for group in things["node_group"]:
        groups.append({**group, "first_node": node, "first_gpu": gpu})
        node += group["n_node"]
        gpu += group["n_node"] * group["gpus"]
    runs = sorted(things.get("job_run", ()), key=lambda run: (run["submit_ps"], run["job"], run["number"]))
    n_of = Counter(run["job"] for run in runs)
    counts = [pool.max_replicas for pool in pools] + [n_of[j] for j in range(len(things.get("job", ())))]
    places, member = [], 0
    for n, place in zip(counts, things.get("pool_place") or [{} for _ in counts], strict=True):
        places.append({**place, "first_member": member})
        member += n * place.get("n_member", 1)
    if len(things["slice_ask"]) != len(counts) * len(groups):
        raise ValueError(
            f"{len(things['slice_ask'])} rows of slice_ask for {len(groups)} groups, {len(counts)} pools and jobs"
        )
    params.n_node, params.n_gpu, params.n_member = node, gpu, member
    params.n_gpu_share = gpu if any(group.get("sharing") for group in groups) else 0
    params.node_leaves = power_of_two(max(node, 1))
    params.n_workload = params.n_replica + len(runs)
    params.job_leaves = power_of_two(len(runs)) if runs else 0
    params.n_job_sample = params.n_sample * len(groups) * bool(runs)
    params.n_cached = node * len(things.get("artifact", ()))
    params.n_group_mark = N_MARK * len(groups)
    params.n_group_sample = params.n_sample * len(groups)
    params.n_event = EVENTS_KEPT * params.keeps_records + 1
    placed = {"node_group": groups, "pool_place": places} | ({"job_run": runs} if runs else {})
    return placed | place_quotas(params, {**things, **placed})
