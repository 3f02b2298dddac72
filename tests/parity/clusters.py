"""Clusters under the fleets made to hurt: groups of nodes, GPUs that are cut or whole, gangs, droughts, lost nodes.

Drawn from dice of their own, so that the rest of a seed's fleet is the same with and without a cluster.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.fill.rows import FaultRow, PoolRow, StepRow
from sim.model.placement.mig import START_CHOICES
from sim.model.tables.node import (
    EXPANDERS,
    N_SHAPE_POINT,
    NODE_PROVISIONING,
    NODE_READY,
    NODE_SCORES,
    PLACEMENTS,
    TENANTS_MAX,
)
from sim.model.tables.pool import N_QUANTILE
from sim.units import NEVER

from .jobs import with_jobs
from .queues import with_queues

Rows = list[dict[str, Any]]
#: (memory slices, compute slices, starts, media) of instances as an A100 has them, and the GPU as a whole.
PROFILES = (
    (1, 1, 0b1111111, 0),
    (1, 1, 0b1111111, 1),
    (2, 1, 0b1010101, 0),
    (2, 2, 0b10101, 0),
    (4, 3, 0b10001, 0),
    (4, 4, 0b1, 0),
    (8, 7, 0b1, 0),
)


class ClusterDice:
    """Whole numbers and times for the cluster of one seed's fleet."""

    def __init__(self, seed: int, grid_ps: int, stream: int = 43) -> None:
        self.rng = np.random.default_rng([seed, stream])
        self.grid_ps = grid_ps
        self.is_loose = bool(self.rng.integers(3) == 0)

    def whole(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(self.rng.integers(low, high, endpoint=True))

    def ticks(self, low: int, high: int) -> int:
        """A time of so many ticks of the grid, ps; off the grid where the cluster is loose."""
        t = self.whole(low, high) * self.grid_ps
        return t + self.whole(0, self.grid_ps - 1) if self.is_loose and t > 0 else t


def make_cluster(seed: int, grid_ps: int, pools: list[PoolRow]) -> tuple[dict[str, Rows], list[FaultRow]]:
    """(rows of the cluster's tables, nodes that are lost)."""
    dice = ClusterDice(seed, grid_ps)
    steps, droughts, groups = [], [], []
    for _ in range(dice.whole(1, 3)):
        groups.append(make_group(dice, steps, droughts))
    bills = np.random.default_rng([seed, 71])
    for group in groups:
        group |= {
            "paid_from": int(bills.integers(1, 3)),
            "unit_ps": int(bills.integers(1, 9 * grid_ps)) if bills.integers(2) else 1,
            "least_ps": int(bills.integers(0, 40 * grid_ps)) * int(bills.integers(2)),
        }
    zones = sorted({group["zone"] for group in groups})
    for group in groups:
        group["zone"] = zones.index(group["zone"])  # they are numbered from 0 without gaps
    asks = [make_ask(dice) for _ in groups for _ in pools]
    if not any(ask["starts"] for ask in asks):
        asks[0] = make_ask(dice, always=True)
    cluster: dict[str, Any] = {
        "placement": dice.whole(0, len(PLACEMENTS) - 1),
        **make_scores(np.random.default_rng([seed, 53])),
        "mig_placement": dice.whole(0, len(START_CHOICES) - 1),
        "expander": dice.whole(0, len(EXPANDERS) - 1),
        "scan_ps": dice.ticks(1, 6) if dice.whole(0, 3) else NEVER,
        "unneeded_ps": dice.ticks(0, 12),
        "delay_after_add_ps": dice.ticks(0, 12),
        "bulk_delete_max": dice.whole(1, 3),
    }
    places = [
        {"priority": dice.whole(-1, 1), "n_member": dice.whole(1, 2), "member_gpus": dice.whole(1, 2)}
        for _ in pools
    ]
    share_gpus(seed, groups, asks, places)
    things = {
        "cluster": [cluster],
        "node_group": groups,
        "node_step": steps,
        "drought": droughts,
        "slice_ask": asks,
        "pool_place": places,
        "random_fault": [random_fault(dice, len(groups)) for _ in range(dice.whole(0, 2))],
    }
    faults = [lost(dice, len(groups)) for _ in range(dice.whole(0, 3))]
    faults += with_budgets(seed, dice.grid_ps, things, len(pools))
    let_nodes_go(seed, dice.grid_ps, things)
    if dice.whole(0, 1):
        pools, things["artifact"] = with_artifacts(dice, pools)
        for group in groups:
            group |= {
                "cache_bytes": dice.whole(0, 100) * 10**9,
                "preloaded": dice.whole(0, 7) & dice.whole(0, 7),
            }
    pools = with_ends(seed, grid_ps, pools, things)
    more = ClusterDice(seed, grid_ps, 6115)
    things = with_jobs(seed, grid_ps, things, lambda: make_ask(more))
    keep_jobs_off(things, len(pools))
    if np.random.default_rng([seed, 83]).integers(3) == 0:
        things = with_queues(seed, things)
    for number, ask in enumerate(things["slice_ask"]):
        group = things["node_group"][number // len(things["pool_place"])]
        ask["is_whole"] = int(bool(group.get("switches")) and ask["memory_slices"] == 8)
    return pools, things, faults


def keep_jobs_off(things: dict[str, Rows], n_pool: int) -> None:
    """Jobs take whole GPUs or instances, no places of GPUs that are shared."""
    n_place = len(things["pool_place"])
    for number, group in enumerate(things["node_group"]):
        for ask in things["slice_ask"][number * n_place : (number + 1) * n_place][n_pool:]:
            if group.get("sharing"):
                ask["starts"] = 0


def with_budgets(seed: int, grid_ps: int, things: dict[str, Rows], n_pool: int) -> list[FaultRow]:
    """Nodes that are drained; some pools get disruption budgets. From dice of their own."""
    rng = np.random.default_rng([seed, 73])
    things["cluster"][0]["retry_ps"] = int(rng.integers(1, 6)) * grid_ps
    if rng.integers(3):
        things["budget"] = [
            {
                "is_set": int(rng.integers(2)),
                "is_max": int(rng.integers(2)),
                "bound": int(rng.integers(3)),
                "is_percent": 0,
            }
            | ({"bound": int(rng.integers(101)), "is_percent": 1} if rng.integers(2) else {})
            for _ in range(n_pool)
        ]
    n_group = len(things["node_group"])
    return [
        FaultRow(
            int(rng.integers(1, 60)) * grid_ps,
            0,
            0,
            int(rng.integers(1, n_group, endpoint=True)),
            nodes=int(rng.integers(1, 3)),
            drains=1,
        )
        for _ in range(rng.integers(3))
    ]


def let_nodes_go(seed: int, grid_ps: int, things: dict[str, Rows]) -> None:
    """In two of three seeds nodes go of which little is in use, or that others can stand in for; most of those have many
    nodes. From dice of its own.
    """
    rng = np.random.default_rng([seed, 101])
    how, is_percent = int(rng.integers(6)), int(rng.integers(2))
    for group in things["node_group"]:
        group["is_prepaid"] = int(rng.integers(4) == 0)
        if how > 1 and rng.integers(4):
            group |= {"n_node": 2 + group["n_node"], "initial_nodes": 1 + group["n_node"], "min_nodes": 0}
        group["repartitions"] = int(rng.integers(3) == 0)
        if rng.integers(3) == 0 and not group.get("sharing"):
            group |= {
                "switches": 1,
                "mode_ps": int(rng.integers(4)) * grid_ps,
                "mode_of_node": int(rng.integers(2)),
            }
    things["cluster"][0] |= {
        "repartitions": max(group["repartitions"] for group in things["node_group"]),
        "below_milli": int(rng.integers(3, 11)) * 100 * (how in (2, 3)),
        "drains_max": int(rng.integers(1, 4)),
        "replace_after_ps": int(rng.integers(20)) * grid_ps if rng.integers(2) else NEVER,
        "graceful_ps": int(rng.integers(6)) * grid_ps,
        "consolidation": (0, 0, 0, 0, 1 + int(rng.integers(2)), 2)[how],
        "consolidate_after_ps": int(rng.integers(10)) * grid_ps,
        "disrupted": int(rng.integers(10, 101)) if is_percent else int(rng.integers(1, 4)),
        "is_percent": is_percent,
    }


def share_gpus(seed: int, groups: Rows, asks: Rows, places: Rows) -> None:
    """In some groups of some seeds replicas share GPUs; then every replica takes one GPU, or one place of it. From dice of
    its own.
    """
    rng = np.random.default_rng([seed, 61])
    if rng.integers(2):
        return
    for place in places:
        place |= {"n_member": 1, "member_gpus": 1, "thread_percent": int(rng.integers(20, 101))}
    if rng.integers(2):
        for place in places:
            place["memory_micro"] = int(rng.integers(10**5, 6 * 10**5))
    for number, group in enumerate(groups):
        k = int(rng.integers(2, TENANTS_MAX + 1))
        if rng.integers(4) == 0:
            continue
        group |= {
            "slices": k,
            "sharing": int(rng.integers(1, 3)),
            "beside_q10": int(rng.integers(3)) * 50,
            "create_ps": 0,
        }
        if rng.integers(4):
            group["initial_nodes"] = group[
                "n_node"
            ]  # most are there from the beginning: their replicas have work
        for ask in asks[number * len(places) : (number + 1) * len(places)]:
            able = rng.integers(6) > 0
            ask |= {"memory_slices": 1, "compute_slices": 0, "media": 0, "starts": ((1 << k) - 1) * int(able)}
    if not any(ask["starts"] for ask in asks):
        asks[0]["starts"] = 1


def with_artifacts(dice: ClusterDice, pools: list[PoolRow]) -> tuple[list[PoolRow], Rows]:
    """(pools of which starts bring something to their node that it may keep, what that is)."""
    sizes = [dice.whole(1, 60) for _ in range(dice.whole(1, 3))]
    made = []
    for pool in pools:
        n = 0 if pool.stage_ps is None else len(pool.stage_ps)
        steps = pool.steps or tuple(StepRow(i + 1, i + 1, (1 << i) >> 1) for i in range(n))
        brings = [dice.whole(0, len(sizes)) * dice.whole(0, 1) for _ in steps]
        rows = [
            step._replace(
                artifact=what,
                hit_ps=dice.ticks(0, 2),
                moved_bytes=step.moved_bytes or sizes[what - 1] * 10**9,
            )
            if what
            else step
            for step, what in zip(steps, brings, strict=True)
        ]
        made.append(pool._replace(steps=tuple(rows)) if n else pool)
    return made, [{"size_bytes": size * 10**9} for size in sizes]


def with_ends(seed: int, grid_ps: int, pools: list[PoolRow], things: dict[str, Rows]) -> list[PoolRow]:
    """Pools of which starts move bytes through the network card or the disk of their node, and let other nodes serve what
    these keep; some groups say what a card and a disk carry: about as much as one transfer alone. From dice of their own.
    """
    rng = np.random.default_rng([seed, 6131])
    if rng.integers(3) == 0:
        return pools
    is_single = bool(rng.integers(2))
    for place in things["pool_place"] if is_single else ():
        place["n_member"] = 1  # gangs on several nodes use no cache
    for group in things["node_group"]:
        group["cache_bytes"] = group.get("cache_bytes", 0) + int(rng.integers(2)) * 10**11
        group |= {
            name: (int(rng.integers(1, 25)) << 28) * int(rng.integers(3) > 0)
            for name in ("nic_q40", "disk_q40")
        }
    unit_ps, made = max(grid_ps, 10**9), []  # what takes some microseconds shares nothing
    for pool in pools:
        brings = np.array([[step.artifact > 0 and bool(rng.integers(5))] for step in pool.steps or ()])
        own = np.sort(rng.integers(1, 12, size=(len(brings), N_QUANTILE)) * unit_ps, axis=1)
        steps = tuple(
            step._replace(
                moved_bytes=max(1, int(rng.integers(1, 9)) * unit_ps >> 10) if is_long else step.moved_bytes,
                through=int(rng.integers(3)) if step.moved_bytes else 0,
                peers=int(rng.integers(3) > 0),
                peer_q40=int(rng.integers(1, 25)) << 28,
                uploads_max=int(rng.integers(1, 4)),
                seeds_max=int(rng.integers(1, 3)) if rng.integers(3) else NEVER,
            )
            for step, (is_long,) in zip(pool.steps or (), brings, strict=True)
        )
        stage_ps = np.where(brings, own, pool.stage_ps) if steps else None
        made.append(pool._replace(steps=steps, stage_ps=stage_ps) if steps else pool)
    return made


def make_group(dice: ClusterDice, steps: Rows, droughts: Rows) -> dict[str, Any]:
    """A group, whose steps and droughts are added to those of the groups before it."""
    n_node, n_step, n_drought = dice.whole(1, 5), dice.whole(0, 3), dice.whole(0, 1)
    group = {
        "n_node": n_node,
        "initial_nodes": dice.whole(0, n_node),
        "gpus": dice.whole(1, 4),
        "zone": dice.whole(0, 1),
        "priority": dice.whole(0, 2),
        "price_micro": dice.whole(0, 9) * 10**6,
        "first_step": len(steps),
        "n_step": n_step,
        "no_capacity_q20": dice.whole(0, 2) * 2**18,
        "retry_ps": dice.ticks(0, 8),
        "first_drought": len(droughts),
        "n_drought": n_drought,
        "create_ps": dice.ticks(0, 2) * dice.whole(0, 1),
    }
    group["min_nodes"] = dice.whole(0, int(group["initial_nodes"]))
    for i in range(n_step):
        values = [dice.ticks(0, 6) for _ in range(dice.whole(1, 3))]
        steps.append(
            {
                "stage": min(NODE_PROVISIONING + i, NODE_READY - 1),
                "quantile_ps": np.sort(np.resize(values, N_QUANTILE)),
            }
        )
    for _ in range(n_drought):
        begin_ps = dice.ticks(0, 30)
        droughts.append({"from_ps": begin_ps, "to_ps": begin_ps + dice.ticks(1, 30)})
    return group


def make_scores(rng: np.random.Generator) -> dict[str, Any]:
    """What each score of a node counts, often nothing, and a shape."""
    n_score = len(NODE_SCORES)
    shape = np.zeros(2 * N_SHAPE_POINT, dtype=np.int64)
    shape[:6] = [
        rng.integers(30),
        rng.integers(101),
        rng.integers(30, 60),
        rng.integers(101),
        90,
        rng.integers(101),
    ]
    return {
        "score_weights": rng.integers(0, 4, n_score) * rng.integers(0, 2, n_score),
        "shape": shape,
        "n_shape": int(rng.integers(1, 4)),
    }


def make_ask(dice: ClusterDice, always: bool = False) -> dict[str, int]:
    """What a pool takes of each GPU in a group: a profile, or one with only some of its starts, or nothing."""
    memory, compute, starts, media = PROFILES[dice.whole(0, len(PROFILES) - 1)]
    if not always and dice.whole(0, 4) == 0:
        starts &= dice.whole(0, 255)
    return {
        "memory_slices": memory,
        "compute_slices": compute,
        "starts": starts,
        "media": media,
        "weight": dice.whole(0, 3),
    }


def lost(dice: ClusterDice, n_group: int) -> FaultRow:
    """Some nodes, or all of a group or zone, are lost; sometimes there are none to be had for a while."""
    of_group = dice.whole(0, n_group)
    return FaultRow(
        at_ps=dice.ticks(0, 60),
        pool=0,
        replicas=0,
        node_group=of_group,
        zone=dice.whole(int(of_group == 0), 2),
        nodes=dice.whole(1, 2) if dice.whole(0, 1) else NEVER,
        outage_ps=dice.ticks(0, 10) * dice.whole(0, 1),
    )


def random_fault(dice: ClusterDice, n_group: int) -> dict[str, Any]:
    """Nodes that are lost again and again, with or without notice."""
    of_group = dice.whole(0, n_group)
    gaps = [dice.ticks(1, 30) for _ in range(dice.whole(1, 3))]
    outages = [dice.ticks(0, 10) for _ in range(dice.whole(1, 2))]
    return {
        "node_group": of_group,
        "zone": dice.whole(int(of_group == 0), 2),
        "nodes": dice.whole(1, 2) if dice.whole(0, 1) else NEVER,
        "notice_ps": dice.ticks(0, 6) * dice.whole(0, 1),
        "gap_ps": np.sort(np.resize(gaps, N_QUANTILE)),
        "outage_ps": np.sort(np.resize(outages, N_QUANTILE)),
    }
