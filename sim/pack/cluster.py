"""The nodes of a scenario as rows of plain numbers, and whether the replicas that are there at the start find room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.errors import InputError
from sim.model.placement.mig import COMPUTE_MAX, N_SLICE, START_CHOICES
from sim.model.tables.node import (
    EXPANDERS,
    NODE_BOOTING,
    NODE_DRIVER,
    NODE_PROVISIONING,
    PLACEMENTS,
)
from sim.model.tables.pool import N_QUANTILE
from sim.scenario.cluster import DYNAMIC, WHOLE, NodeAutoscaler, NodeGroup
from sim.scenario.geometry import cut_into, offered
from sim.scenario.mig import MigKind
from sim.scenario.pool import Pool
from sim.scenario.scenario import Scenario
from sim.scenario.slices import kind_for, profile_named
from sim.units import NEVER, PS_PER_S, s_to_ps
from sim.workload.dists import quantile_table

Rows = list[dict[str, Any]]
STAGES = {"provisioning": NODE_PROVISIONING, "booting": NODE_BOOTING, "driver": NODE_DRIVER}
WHOLE_GPU = {"memory_slices": N_SLICE, "compute_slices": COMPUTE_MAX, "starts": 1, "media": 0}
NOTHING = {"memory_slices": 1, "compute_slices": 0, "starts": 0, "media": 0}
CHANCE = 2**20


def cluster_rows(scenario: Scenario, pools: Sequence[Pool]) -> dict[str, Rows]:
    """Table of Params → its rows, for pools in the order in which they are packed; nothing without node groups.

    Raises InputError where the initial replicas do not fit on the initial nodes.
    """
    cluster = scenario.cluster
    if not cluster.is_limited:
        return {}
    groups = cluster.node_groups
    check_start(groups, pools)
    zones = zones_of(groups)
    steps: Rows = []
    droughts: Rows = []
    rows = []
    for group in groups:
        rows.append(group_row(group, zones.index(group.zone), len(steps), len(droughts)))
        steps += step_rows(group)
        droughts += [
            {"from_ps": s_to_ps(window.from_s), "to_ps": s_to_ps(window.to_s)}
            for window in group.no_capacity.windows
        ]
    return {
        "cluster": [
            {
                "placement": PLACEMENTS.index(cluster.placement),
                "mig_placement": START_CHOICES.index(cluster.mig_placement),
                **scaler_fields(cluster.autoscaler),
            }
        ],
        "node_group": rows,
        "node_step": steps,
        "drought": droughts,
        "slice_ask": [ask_row(pool, group) for group in groups for pool in pools],
        "pool_place": [
            {"priority": pool.priority_class, "n_member": pool.n_members, "member_gpus": pool.member_gpus}
            for pool in pools
        ],
    }


def zones_of(groups: Sequence[NodeGroup]) -> list[str]:
    """Names of the zones, in the order of the groups: a zone's place is its number."""
    return list(dict.fromkeys(group.zone for group in groups))


def scaler_fields(scaler: NodeAutoscaler | None) -> dict[str, int]:
    """The node autoscaler's part of the cluster's row; without one nobody ever looks."""
    if scaler is None:
        return {"scan_ps": NEVER}
    return {
        "expander": EXPANDERS.index(scaler.expander),
        "scan_ps": s_to_ps(scaler.scan_period_s),
        "unneeded_ps": s_to_ps(scaler.unneeded_s),
        "delay_after_add_ps": s_to_ps(scaler.delay_after_add_s),
        "bulk_delete_max": scaler.bulk_delete_max,
    }


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
        "first_step": first_step,
        "n_step": len(STAGES),
        "no_capacity_q20": round(group.no_capacity.probability * CHANCE),
        "retry_ps": s_to_ps(group.no_capacity.retry_s),
        "first_drought": first_drought,
        "n_drought": len(group.no_capacity.windows),
        "create_ps": s_to_ps(group.mig_create_s) if group.mig == DYNAMIC else 0,
    }


def step_rows(group: NodeGroup) -> Rows:
    """The stages of a group's nodes, each with (N_QUANTILE,) int64 ps, equally likely and sorted."""
    return [
        {
            "stage": stage,
            "quantile_ps": np.rint(
                np.maximum(quantile_table(getattr(group.provision, name), N_QUANTILE), 0.0) * PS_PER_S
            ).astype(np.int64),
        }
        for name, stage in STAGES.items()
    ]


def ask_row(pool: Pool, group: NodeGroup) -> dict[str, int]:
    """What a replica of a pool takes of each of its GPUs in a group; no starts where it cannot run there.

    Where GPUs are cut once and for all, an instance starts where one of its profile lies.
    """
    named = not pool.node_groups or group.name in pool.node_groups
    weight = {"weight": pool.max_replicas}
    if not named or group.gpu.name != pool.gpu.name or (group.mig == WHOLE) != (pool.slice is None):
        return {**NOTHING, **weight}
    if pool.slice is None:
        return {**WHOLE_GPU, **weight}
    kind = kind_for(group.gpu)
    profile = None if kind is None else profile_named(kind, pool.slice)
    if kind is None or profile is None or profile not in offered(group):
        return {**NOTHING, **weight}
    starts = profile.start_indices
    if group.mig != DYNAMIC:
        starts = tuple(start for start, one in cut_into(group) if one == profile)
    scale = scale_of(kind)
    return {
        "memory_slices": scale * profile.memory_slices,
        "compute_slices": profile.compute_slices,
        "starts": sum(1 << scale * start for start in starts),
        "media": int(profile.is_media),
        **weight,
    }


def scale_of(kind: MigKind) -> int:
    """Memory slices of the model for one of a kind that has fewer: an A30's four are two each."""
    return N_SLICE // kind.memory_slices


# ---- at the start ----------------------------------------------------------------------
class Place(NamedTuple):
    """A ready node while the start is tried: each GPU's taken memory slices, compute slices and media extensions."""

    group: int
    zone: str
    gpus: list[list[int]]


def check_start(groups: Sequence[NodeGroup], pools: Sequence[Pool]) -> None:
    """Raise InputError where no way is found to place all initial replicas on the initial nodes.

    Tried are first fit and best fit, the largest first: whoever fits by neither waits for a node.
    """
    found = [left_out(groups, pools, is_best) for is_best in (False, True)]
    if all(found):
        fewest = min(found, key=lambda out: sum(out.values()))
        name, n = next(iter(fewest.items()))
        pool = next(pool for pool in pools if pool.name == name)
        ready = ", ".join(f"{group.nodes_at_start} of {group.name}" for group in groups)
        raise InputError(
            f"pools.{name}.initial_replicas: {pool.replicas_at_start} do not fit on the nodes that are ready at the start"
            f" ({ready}): {n} of them find no room; allowed: {pool.replicas_at_start - n} beside the others, or more"
            f" initial_nodes where {name} can run"
        )


def left_out(groups: Sequence[NodeGroup], pools: Sequence[Pool], is_best: bool) -> dict[str, int]:
    """Pool → how many of its initial replicas find no room; by best fit, or else by first fit."""
    nodes = [
        Place(place, group.zone, [[0, 0, 0] for _ in range(group.gpus)])
        for place, group in enumerate(groups)
        for _ in range(group.nodes_at_start)
    ]
    asks = {pool.name: [ask_row(pool, group) for group in groups] for pool in pools}
    order = sorted(pools, key=lambda pool: -size_of(pool, asks[pool.name]))
    out: dict[str, int] = {}
    for pool in order:
        placed = 0
        while placed < pool.replicas_at_start and place_gang(pool, nodes, asks[pool.name], is_best):
            placed += 1
        if placed < pool.replicas_at_start:
            out[pool.name] = pool.replicas_at_start - placed
    return out


def size_of(pool: Pool, asks: Sequence[dict[str, int]]) -> int:
    """Memory slices that a member of a replica takes."""
    return pool.member_gpus * max((ask["memory_slices"] for ask in asks if ask["starts"]), default=0)


def place_gang(pool: Pool, nodes: Sequence[Place], asks: Sequence[dict[str, int]], is_best: bool) -> bool:
    """Let a replica take what it needs, all its members in one zone; whether that was possible."""
    for zone in dict.fromkeys(node.zone for node in nodes):
        inside = [node for node in nodes if node.zone == zone]
        before = [[list(gpu) for gpu in node.gpus] for node in inside]
        if all(place_member(pool, inside, asks, is_best) for _ in range(pool.n_members)):
            return True
        for node, gpus in zip(inside, before, strict=True):
            node.gpus[:] = gpus
    return False


def place_member(pool: Pool, nodes: Sequence[Place], asks: Sequence[dict[str, int]], is_best: bool) -> bool:
    """Let one member take slices of as many GPUs of one node as it needs; whether that was possible."""
    order = sorted(nodes, key=lambda node: sum(free_of(gpu) for gpu in node.gpus)) if is_best else nodes
    for node in order:
        ask = asks[node.group]
        able = [(gpu, start) for gpu in node.gpus if (start := next(starts_on(gpu, ask), None)) is not None]
        if len(able) >= pool.member_gpus:
            for gpu, start in sorted(able, key=lambda found: free_of(found[0]))[: pool.member_gpus]:
                gpu[0] |= ((1 << ask["memory_slices"]) - 1) << start
                gpu[1] += ask["compute_slices"]
                gpu[2] += ask["media"]
            return True
    return False


def free_of(gpu: Sequence[int]) -> int:
    """Memory slices of a GPU that nobody holds."""
    return N_SLICE - gpu[0].bit_count()


def starts_on(gpu: Sequence[int], ask: dict[str, int]) -> Iterator[int]:
    """The memory slices at which an instance would fit on a GPU."""
    busy, compute, media = gpu
    if compute + ask["compute_slices"] > COMPUTE_MAX or media + ask["media"] > 1:
        return
    mask = (1 << ask["memory_slices"]) - 1
    yield from (s for s in range(N_SLICE) if ask["starts"] >> s & 1 and not busy & (mask << s))
