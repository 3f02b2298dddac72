"""Placement against an exhaustive search: a replica waits only where no way of cutting the GPUs would hold it."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from rules.cluster.small import HALF, SMALL, WHOLE, group, nodes_of, pool, small
from sim.engine.simpy import Fleet
from sim.model.placement.mig import START_CHOICES, START_FIRST, START_LAST

PROFILES = (
    SMALL,
    HALF,
    WHOLE,
    {"memory_slices": 2, "compute_slices": 2, "starts": 0b10101, "weight": 1},
    {"memory_slices": 2, "compute_slices": 1, "starts": 0b1010101, "weight": 2},
    {"memory_slices": 1, "compute_slices": 1, "starts": 0b1111111, "media": 1},
    {"memory_slices": 4, "compute_slices": 4, "starts": 1},
)
Gpu = tuple[int, int, int]  # (memory slices that are held, a bit each; compute slices; media extensions)
CASES = 60


def cut(gpu: Gpu, ask: dict[str, int]) -> list[Gpu]:
    """What a GPU could be with one more instance."""
    busy, compute, media = gpu
    compute, media = compute + ask["compute_slices"], media + ask.get("media", 0)
    if compute > 7 or media > 1:
        return []
    masks = (((1 << ask["memory_slices"]) - 1) << s for s in range(8) if ask["starts"] >> s & 1)
    return [(busy | mask, compute, media) for mask in masks if busy & mask == 0]


def most(gpu: Gpu, ask: dict[str, int]) -> int:
    """How many instances of a profile a GPU could still hold."""
    return max((1 + most(after, ask) for after in cut(gpu, ask)), default=0)


def holds_gang(nodes: list[list[Gpu]], ask: dict[str, int], n_member: int, n_gpu: int) -> bool:
    """Whether so many members, each on so many different GPUs of one node, could be held in any way."""
    if n_member == 0:
        return True
    for i, gpus in enumerate(nodes):
        for taken in combinations(range(len(gpus)), n_gpu):
            for ways in product(*(cut(gpus[u], ask) for u in taken)):
                after = list(gpus)
                for u, way in zip(taken, ways, strict=True):
                    after[u] = way
                if holds_gang([*nodes[:i], after, *nodes[i + 1 :]], ask, n_member - 1, n_gpu):
                    return True
    return False


def gpus_of(fleet: Fleet) -> list[Gpu]:
    """What all GPUs hold."""
    rows = fleet.state.rows("gpu", int(fleet.params.n_gpu))
    return list(zip(*(rows[name].tolist() for name in ("busy", "compute", "media")), strict=True))


def fragmented(
    rng: np.random.Generator, gangs: list[dict[str, int]], n_node: int, gpus: int, how: int
) -> Fleet:
    """Nodes on which replicas of two pools have come and gone; the third pool has none yet."""
    asks = [PROFILES[i] for i in rng.integers(len(PROFILES), size=3)]
    pools = [pool(6, start_s=0), pool(6, start_s=0), pool(9, start_s=0)]
    fleet = small([group(n_node, n_node, gpus=gpus)], asks, pools, gangs, mig_placement=how, preempts=0)
    for t in range(1, 6):
        fleet.run(until_s=t)
        fleet.scale(int(rng.integers(2)), int(rng.integers(7)))
    fleet.run(until_s=6)
    for which in (0, 1):
        held = [node >= 0 for node in nodes_of(fleet)][6 * which : 6 * which + 6]
        fleet.scale(which, sum(held))  # nobody waits
    fleet.run(until_s=7)
    return fleet


@pytest.mark.parametrize("how", range(len(START_CHOICES)))
def test_a_gpu_holds_as_many_as_any_way_of_cutting_it_would(how: int) -> None:
    none = some = fewer = 0
    for seed in range(CASES):
        fleet = fragmented(np.random.default_rng([seed, 61]), [{}, {}, {}], 1, 1, how)
        ask = fleet.params.slice_ask[2]
        wanted = {
            name: int(getattr(ask, name)) for name in ("memory_slices", "compute_slices", "starts", "media")
        }
        expected = most(gpus_of(fleet)[0], wanted)
        fleet.scale(2, 9)
        fleet.run(until_s=8)
        placed = sum(node >= 0 for node in nodes_of(fleet)[12:])
        assert placed <= expected
        assert (placed > 0) == (expected > 0)
        if how in (START_FIRST, START_LAST):
            assert placed == expected, f"seed {seed}"
        none, some, fewer = none + (expected == 0), some + (expected > 0), fewer + (placed < expected)
    assert min(none, some) > 10
    assert fewer <= CASES // 10


def test_a_gang_is_placed_where_any_way_would_hold_it() -> None:
    """Where each member takes one GPU. Members of several GPUs take the fullest first, and may so miss a way."""
    held = absent = 0
    for seed in range(3 * CASES):
        rng = np.random.default_rng([seed, 67])
        n_member, n_gpu = int(rng.integers(1, 4)), int(rng.integers(1, 3))
        n_node, gpus = int(rng.integers(1, 4)), int(rng.integers(1, 3))
        gangs = [{}, {}, {"n_member": n_member, "member_gpus": n_gpu}]
        fleet = fragmented(rng, gangs, n_node, gpus, START_FIRST)
        ask = fleet.params.slice_ask[2]
        wanted = {
            name: int(getattr(ask, name)) for name in ("memory_slices", "compute_slices", "starts", "media")
        }
        found = gpus_of(fleet)
        nodes = [found[i * gpus : (i + 1) * gpus] for i in range(n_node)]
        expected = holds_gang(nodes, wanted, n_member, n_gpu)
        fleet.scale(2, 1)
        fleet.run(until_s=8)
        is_placed = nodes_of(fleet)[12] >= 0
        assert expected or not is_placed, f"seed {seed}"
        if n_gpu == 1:
            assert is_placed == expected, f"seed {seed}"
            held, absent = held + is_placed, absent + (not is_placed)
    assert min(held, absent) > 20
