"""The nodes of a scenario, and what its pools ask of them, as rows of plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sim.fill.by_name import BYTES_IN_Q40
from sim.model.placement.mig import COMPUTE_MAX, N_SLICE, START_CHOICES
from sim.model.tables.node import (
    BY_SCORES,
    BY_USER,
    N_SHAPE_POINT,
    NODE_BOOTING,
    NODE_DRIVER,
    NODE_PROVISIONING,
    NODE_SCORES,
    PLACEMENTS,
)
from sim.model.tables.pool import N_QUANTILE
from sim.pack.budgets import budget_rows
from sim.pack.coldstart import Artifact, artifacts_of
from sim.pack.gpu_modes import mode_fields, share_fields
from sim.pack.node_power import with_node_power
from sim.pack.node_scaling import consolidation_fields, scaler_fields
from sim.pack.queues import fair_fields, queue_rows, with_queue
from sim.scenario.check_sharing import has_places
from sim.scenario.cluster import (
    DYNAMIC,
    WHOLE,
    Cluster,
    NodeGroup,
    RandomFault,
)
from sim.scenario.dist import Dist
from sim.scenario.geometry import cut_into, offered
from sim.scenario.jobs import Job
from sim.scenario.mig import MigKind
from sim.scenario.pool import Pool
from sim.scenario.queues import flavor_of, flavors_of
from sim.scenario.scenario import Scenario
from sim.scenario.sharing import is_shared
from sim.scenario.slices import kind_for, profile_named
from sim.units import HORIZON_MAX_S, NEVER, PS_PER_S, s_to_ps
from sim.workload.dists import quantile_table

Rows = list[dict[str, Any]]
STAGES = {"provisioning": NODE_PROVISIONING, "booting": NODE_BOOTING, "driver": NODE_DRIVER}
WHOLE_GPU = {"memory_slices": N_SLICE, "compute_slices": COMPUTE_MAX, "starts": 1, "media": 0}
NOTHING = {"memory_slices": 1, "compute_slices": 0, "starts": 0, "media": 0}
CHANCE = 2**20
SHAPE_UNIT = 10  # a shape's scores go to 10, a node's to 100


def cluster_rows(
    scenario: Scenario, pools: Sequence[Pool], artifacts: Sequence[Artifact] = ()
) -> dict[str, Rows]:
    """Table of Params → its rows, for pools in the order in which they are packed; nothing without node groups.

    `artifacts` is what nodes may keep of what the pools' starts bring.
    """
    cluster = scenario.cluster
    if not cluster.is_limited:
        return {}
    groups = cluster.node_groups
    zones = zones_of(groups)
    flavors = flavors_of(cluster.queues, cluster.cohorts)
    steps: Rows = []
    droughts: Rows = []
    rows = []
    for group in groups:
        row = group_row(group, zones.index(group.zone), len(steps), len(droughts))
        flavor = flavor_of(group, flavors)
        row["flavor"] = 0 if flavor is None else 1 + flavors.index(flavor)
        rows.append(row | {"preloaded": preloaded(group, pools, artifacts)})
        steps += step_rows(group)
        droughts += [
            {"from_ps": s_to_ps(window.from_s), "to_ps": s_to_ps(window.to_s)}
            for window in group.no_capacity.windows
        ]
    return {
        "cluster": [
            {
                **placement_fields(cluster),
                "mig_placement": START_CHOICES.index(cluster.mig_placement),
                "preempts": int(cluster.preemption),
                "grace_ps": s_to_ps(cluster.grace_s),
                **scaler_fields(cluster.autoscaler),
                **fair_fields(cluster),
                **consolidation_fields(cluster.consolidation),
                "repartitions": int(any(group.mig_repartition for group in groups)),
            }
        ],
        "node_group": rows,
        "node_step": steps,
        "drought": droughts,
        "random_fault": [random_fault_row(fault, groups, zones) for fault in cluster.random_faults],
        "slice_ask": [
            row
            for group in groups
            for row in (*(ask_row(p, group) for p in pools), *(job_ask(j, group) for j in cluster.jobs))
        ],
        "pool_place": [
            *(pool_place(p, cluster) for p in pools),
            *(job_place(j, cluster) for j in cluster.jobs),
        ],
        **queue_rows(cluster),
        **job_rows(cluster.jobs, scenario.duration_s + scenario.drain_s),
        "budget": budget_rows(pools),
        "artifact": [{"size_bytes": max(1, round(one.n_bytes))} for one in artifacts],
    }


def pool_place(pool: Pool, cluster: Cluster) -> dict[str, Any]:
    """How a pool's replicas are placed."""
    row = {
        "priority": pool.priority_class,
        "n_member": pool.n_members,
        "member_gpus": pool.member_gpus,
        "thread_percent": pool.active_thread_percentage or 100,
        "memory_micro": round(1e6 * pool.runtime.gpu_memory_utilization),
    }
    return with_queue(row, pool.queue, [ask_row(pool, group) for group in cluster.node_groups], cluster)


def job_place(job: Job, cluster: Cluster) -> dict[str, Any]:
    """How a job's runs are placed."""
    row = {"priority": job.priority_class, "n_member": job.workers, "member_gpus": job.gpus}
    return with_queue(row, job.queue, [job_ask(job, group) for group in cluster.node_groups], cluster)


def placement_fields(cluster: Cluster) -> dict[str, Any]:
    """How nodes are chosen: a score that is named alone counts once."""
    if cluster.law is not None:
        return {"placement": BY_USER}
    if cluster.placement in PLACEMENTS:
        return {"placement": PLACEMENTS.index(cluster.placement)}
    weights = [
        getattr(cluster.scores, name) if cluster.placement == "weighted" else int(name == cluster.placement)
        for name in NODE_SCORES
    ]
    given = [(point.utilization, SHAPE_UNIT * point.score) for point in cluster.capacity_shape]
    points = given or [(0, 0), (100, 10 * SHAPE_UNIT)]
    shape = np.zeros(2 * N_SHAPE_POINT, dtype=np.int64)
    shape[: 2 * len(points)] = np.ravel(points)
    return {
        "placement": BY_SCORES,
        "score_weights": np.array(weights, dtype=np.int64),
        "shape": shape,
        "n_shape": len(points),
    }


def with_node_prices(scenario: Scenario) -> Scenario:
    """The scenario; on a cluster each pool pays for a GPU what its nodes cost, and draws what they draw around it: the mean
    of those that it may run on.
    """
    groups = scenario.cluster.node_groups
    pools = tuple(with_node_price(pool, groups) for pool in scenario.pools)
    return replace(scenario, pools=pools) if groups else scenario


def with_node_price(pool: Pool, groups: Sequence[NodeGroup]) -> Pool:
    """One pool."""
    mine = [group for group in groups if ask_row(pool, group)["starts"]]
    if not mine:
        return pool
    prices = [group.usd_per_hour / group.gpus for group in mine]
    own = replace(pool.price, usd_per_gpu_hour=sum(prices) / len(prices), source="its node groups")
    return with_node_power(replace(pool, price=own), mine)


def preloaded(group: NodeGroup, pools: Sequence[Pool], artifacts: Sequence[Artifact]) -> int:
    """The artifacts, a bit each, that a group's nodes have as soon as they are ready."""
    kept = artifacts_of([pool for pool in pools if pool.name in group.preloaded])
    return sum(1 << artifacts.index(one) for one in kept)


def zones_of(groups: Sequence[NodeGroup]) -> list[str]:
    """Names of the zones, in the order of the groups: a zone's place is its number."""
    return list(dict.fromkeys(group.zone for group in groups))


def group_row(group: NodeGroup, zone: int, first_step: int, first_drought: int) -> dict[str, int]:
    """A node group in numbers."""
    return {
        "n_node": group.max_nodes,
        "min_nodes": group.min_nodes,
        "initial_nodes": group.nodes_at_start,
        "gpus": group.gpus,
        "zone": zone,
        "priority": group.priority,
        "price_micro": round(group.usd_per_hour * 1e6),
        "is_prepaid": int(group.is_prepaid),
        "first_step": first_step,
        "n_step": len(STAGES),
        "no_capacity_q20": round(group.no_capacity.probability * CHANCE),
        "retry_ps": s_to_ps(group.no_capacity.retry_s),
        "first_drought": first_drought,
        "n_drought": len(group.no_capacity.windows),
        "cache_bytes": round(group.cache_gb * 1e9),
        "nic_q40": 0 if group.nic_gb_s is None else round(group.nic_gb_s * BYTES_IN_Q40),
        "disk_q40": 0 if group.disk_gb_s is None else round(group.disk_gb_s * BYTES_IN_Q40),
        "paid_from": NODE_BOOTING if group.billing.starts == "running" else NODE_PROVISIONING,
        "unit_ps": 1 if group.billing.unit_s is None else s_to_ps(group.billing.unit_s),
        "least_ps": s_to_ps(group.billing.minimum_s),
        "repartitions": int(group.mig_repartition),
        **mode_fields(group),
        "create_ps": s_to_ps(group.mig_create_s) if group.mig == DYNAMIC else 0,
        **share_fields(group),
    }


def random_fault_row(fault: RandomFault, groups: Sequence[NodeGroup], zones: Sequence[str]) -> dict[str, Any]:
    """Faults that strike again and again, in numbers."""
    names = [group.name for group in groups]
    return {
        "node_group": 0 if fault.node_group is None else 1 + names.index(fault.node_group),
        "zone": 0 if fault.zone is None else 1 + zones.index(fault.zone),
        "nodes": NEVER if fault.nodes is None else fault.nodes,
        "notice_ps": s_to_ps(fault.notice_s),
        "gap_ps": quantiles_ps(fault.gap),
        "outage_ps": quantiles_ps(fault.outage),
    }


def quantiles_ps(dist: Dist) -> np.ndarray:
    """(N_QUANTILE,) int64 ps, equally likely and sorted."""
    seconds = np.maximum(quantile_table(dist, N_QUANTILE), 0.0)
    return np.rint(np.minimum(seconds, HORIZON_MAX_S) * PS_PER_S).astype(np.int64)


def step_rows(group: NodeGroup) -> Rows:
    """The stages of a group's nodes, each with (N_QUANTILE,) int64 ps, equally likely and sorted."""
    return [
        {
            "stage": stage,
            "quantile_ps": quantiles_ps(getattr(group.provision, name)),
        }
        for name, stage in STAGES.items()
    ]


def ask_row(pool: Pool, group: NodeGroup) -> dict[str, int]:
    """What a replica of a pool takes of each of its GPUs in a group; no starts where it cannot run there.

    Where GPUs are cut once and for all, an instance starts where one of its profile lies.
    """
    named = not pool.node_groups or group.name in pool.node_groups
    weight = {"weight": pool.max_replicas}
    if not named or group.gpu.name != pool.gpu.name:
        return {**NOTHING, **weight}
    if group.sharing is not None or is_shared(pool.slice):
        if not has_places(group, pool.slice):
            return {**NOTHING, **weight}
        return {**NOTHING, "starts": (1 << group.places) - 1, **weight}
    return {**slice_row(pool.slice, group), **weight}


def slice_row(name: str | None, group: NodeGroup) -> dict[str, int]:
    """What a whole GPU (None), or an instance of a profile, takes of a GPU of a group; no starts where it has none."""
    if group.sharing is not None or not (group.gives_whole if name is None else group.mig != WHOLE):
        return NOTHING
    if name is None:
        return {**WHOLE_GPU, "is_whole": int(group.mig_whole)}
    kind = kind_for(group.gpu)
    profile = None if kind is None else profile_named(kind, name)
    if kind is None or profile is None or profile not in offered(group):
        return NOTHING
    starts = profile.start_indices
    if group.mig != DYNAMIC:
        starts = tuple(start for start, one in cut_into(group) if one == profile)
    scale = scale_of(kind)
    return {
        "memory_slices": scale * profile.memory_slices,
        "compute_slices": profile.compute_slices,
        "starts": sum(1 << scale * start for start in starts),
        "media": int(profile.is_media),
    }


# ---- batch jobs ----------------------------------------------------------------------
def job_ask(job: Job, group: NodeGroup) -> dict[str, int]:
    """What a worker of a job takes of each of its GPUs in a group; no starts where it cannot run there."""
    named = not job.node_groups or group.name in job.node_groups
    return {**(slice_row(job.slice, group) if named else NOTHING), "weight": job.count}


def job_rows(jobs: Sequence[Job], end_s: float) -> dict[str, Rows]:
    """The jobs and their runs; nothing without any."""
    if not jobs:
        return {}
    rows = [
        {
            "startup_ps": s_to_ps(job.startup_s),
            "checkpoint_ps": NEVER if job.checkpoint_s is None else s_to_ps(job.checkpoint_s),
            "max_restarts": NEVER if job.max_restarts is None else job.max_restarts,
            "work_ps": quantiles_ps(job.duration),
        }
        for job in jobs
    ]
    runs = [
        {"job": j, "number": i, "submit_ps": s_to_ps(at_s)}
        for j, job in enumerate(jobs)
        for i, at_s in enumerate(job.times_s(end_s))
    ]
    return {"job": rows, "job_run": runs}


def scale_of(kind: MigKind) -> int:
    """Memory slices of the model for one of a kind that has fewer: an A30's four are two each."""
    return N_SLICE // kind.memory_slices
