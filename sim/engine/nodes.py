"""What the nodes of a run did: sums of each group, what the samples saw, and the events of the cluster."""

from __future__ import annotations

import numpy as np

from sim.fill.state import pool_rows
from sim.model.base.histogram import wide
from sim.model.tables.node import NODE_STAGES
from sim.model.tables.run import Params, State
from sim.model.tables.sample import MARK_RUN, MARK_WARM, MARK_WINDOW, N_MARK

AREAS = ("billed_ps", "paid_ps", "rounded_ps", "ready_ps", "used_ps", "job_ps")
COUNTS = ("requested", "refused", "removed", "lost", "peak_nodes")
SAMPLED = (
    *("used_slices", "free_slices", "useless_slices", "empty_gpus", "part_gpus", "waiting"),
    *COUNTS[:4],
)


def group_rows(params: Params, state: State) -> list[dict[str, int]]:
    """Each group in the measured window (node and slice picoseconds), and its counts over the whole run."""
    n = int(params.n_node_group)
    marks = state.rows("group_mark", N_MARK * n).reshape(N_MARK, n)
    found = []
    for i in range(n):
        group, of_group = params.node_group[i], state.node_group[i]
        row = {
            "gpus": int(group.gpus),
            "n_node": int(group.n_node),
            "slices": int(group.gpus) * int(group.slices),
        }
        for name in AREAS:
            warm, window, run = (wide(*marks[mark, i][name]) for mark in (MARK_WARM, MARK_WINDOW, MARK_RUN))
            row[name], row[f"run_{name}"] = window - warm, run
        served = {"served_bytes": wide(of_group.served_bytes[0], of_group.served_bytes[1])}
        found.append(row | served | {name: int(getattr(of_group, name)) for name in COUNTS})
    return found


def wait_rows(params: Params, state: State) -> list[dict[str, int]]:
    """How long replicas of each pool have waited for GPUs, over the whole run; nothing without a cluster."""
    n = int(params.n_pool) if params.n_cluster else 0
    return [
        {
            "placed": int(state.pool_place[i].placed),
            "waited_ps": wide(state.pool_place[i].waited_ps[0], state.pool_place[i].waited_ps[1]),
            "waited_max_ps": int(state.pool_place[i].waited_max_ps),
            "preempted": int(state.pool_place[i].preempted),
            "evicted": int(state.pool_place[i].evicted),
            "refused": int(state.pool_place[i].refused),
            "broken": int(state.budget[i].broken) if params.n_budget else 0,
        }
        for i in range(n)
    ]


def group_samples(params: Params, state: State) -> dict[str, np.ndarray]:
    """Column → (sample · group,): what the samples saw; counts and `billed_ps`, `used_ps` since the start."""
    rows = state.rows("group_sample", int(state.n_sample) * int(params.n_node_group))
    if not len(rows):
        return {}
    columns = {"time_ps": rows["time_ps"], "group_id": rows["group"]}
    columns |= {f"nodes_{name}": rows["by_stage"][:, i] for i, name in enumerate(NODE_STAGES[1:])}
    columns |= {name: rows[name] for name in SAMPLED}
    columns["job_slices"] = np.zeros(len(rows), dtype=np.int64)
    if params.n_job_run:
        columns["job_slices"] = state.rows("job_sample", len(rows))["job_slices"]
    for name in ("billed_ps", "used_ps"):
        columns[name] = np.array([wide(low, high) for low, high in rows[name].tolist()], dtype=object)
    return columns


def node_columns(params: Params, node: np.ndarray, of_group: str, of_node: str) -> dict[str, np.ndarray]:
    """(row,) numbers of nodes, −1 = none, as two columns: the group of each, and which node of it, from 0."""
    if params.n_node_group == 0:
        return {of_group: np.full(len(node), -1), of_node: np.full(len(node), -1)}
    group = table_of_nodes(params)[np.maximum(node, 0)]
    first_node = np.array([int(params.node_group[g].first_node) for g in range(int(params.n_node_group))])
    return {
        of_group: np.where(node >= 0, group, -1),
        of_node: np.where(node >= 0, node - first_node[group], -1),
    }


def event_columns(params: Params, state: State) -> dict[str, np.ndarray]:
    """Column → (event,): what happened, in order, as far as there was room; −1 where it was to no node or no replica. Of
    `replica_names` (replica place, 2): the pool of each, and which place of it.
    """
    n = min(int(state.n_event), int(params.n_event) - 1) if params.n_cluster and params.keeps_records else 0
    if n <= 0:
        return {}
    rows, pools, nodes = state.rows("event", n), pool_rows(params), table_of_nodes(params)
    replica, node = rows["replica"], rows["node"]
    n_replica, n_run = int(params.n_replica), int(params.n_job_run)
    all_pools = np.repeat(np.arange(len(pools)), pools["n_replica"])
    pool = np.append(all_pools, np.zeros(n_run, dtype=np.int64))[np.maximum(replica, 0)]
    is_replica, is_run = (replica >= 0) & (replica < n_replica), replica >= n_replica
    runs, run = params.rows("job_run", n_run), np.where(is_run, replica - n_replica, 0)
    group = nodes[np.maximum(node, 0)]
    return {
        "time_ps": rows["time_ps"],
        "event": rows["event"],
        **node_columns(params, node, "group_id", "node"),
        "pool_id": np.where(is_replica, pool, -1),
        "replica_id": np.where(is_replica, replica - pools["first_replica"][pool], -1),
        "job_id": np.where(is_run, runs["job"][run], -1) if n_run else np.full(n, -1),
        "run_id": np.where(is_run, runs["number"][run], -1) if n_run else np.full(n, -1),
        **{name: rows[name] for name in ("value", "cause", "cause_id", "because", "gpus", "starts")},
        "place": replica,
        "slices": asked_slices(params)[
            group, np.where(is_run, len(pools) + runs["job"][run], pool) if n_run else pool
        ],
        "replica_names": np.stack(
            [all_pools, np.arange(len(all_pools)) - pools["first_replica"][all_pools]], 1
        ),
        "run_names": np.stack([runs["job"], runs["number"]], 1),
    }


def asked_slices(params: Params) -> np.ndarray:
    """(group, pool) memory slices that a replica of a pool takes of each of its GPUs in a group."""
    n_group, n_pool = int(params.n_node_group), int(params.n_pool_place)
    return params.rows("slice_ask", n_group * n_pool)["memory_slices"].reshape(n_group, n_pool)


def table_of_nodes(params: Params) -> np.ndarray:
    """(node,) the group of each."""
    counts = [int(params.node_group[g].n_node) for g in range(int(params.n_node_group))]
    return np.repeat(np.arange(len(counts)), counts) if sum(counts) else np.zeros(1, dtype=np.int64)
