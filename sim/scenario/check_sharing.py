"""Rules of shared GPUs: one way of sharing, whole GPUs, and memory that replicas can have side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sim.errors import problem
from sim.scenario.cluster import WHOLE, NodeGroup
from sim.scenario.hardware import Gpu
from sim.scenario.pool import Pool
from sim.scenario.said import Said
from sim.scenario.sharing import SHARED, SHARED_BY, is_shared, places_in

GIB = 2**30
ROUNDING = 1e-9


def sharing_problems(key: str, group: NodeGroup) -> Iterator[str]:
    """GPUs are shared in one way, and only whole ones."""
    sharing = group.sharing
    if sharing is None:
        return
    said = [name for name in ("time_slicing", "mps") if getattr(sharing, name) is not None]
    if not sharing.is_clear:
        value = " and ".join(said) or "nothing"
        yield problem(key, value, "one of time_slicing: {replicas: 2} and mps: {replicas: 2}, the other null")
    elif group.mig != WHOLE:
        yield problem(
            key, said[0], f"null where mig of {group.name} is not whole: instances are not shared here"
        )


def has_places(group: NodeGroup, word: str | None) -> bool:
    """Whether a group has GPUs that are shared as a pool's slice asks."""
    if group.sharing is None or not is_shared(word):
        return False
    return not group.sharing.is_clear or places_in(word) in (None, group.places)


def number_problems(pool: Pool, groups: Sequence[NodeGroup], said: Said) -> Iterator[str]:
    """The groups of a pool agree on how many replicas share a GPU, or it says how many."""
    there = {
        group.name: group.places for group in groups if group.sharing is not None and group.sharing.is_clear
    }
    if pool.slice == SHARED and len(set(there.values())) > 1:
        able = ", ".join(f"{SHARED_BY}{n} (in {name})" for name, n in there.items())
        yield problem(
            said.key(pool.name, "slice"), pool.slice, f"one of them, for its node groups differ: {able}"
        )


def percentage_problems(pool: Pool, groups: Sequence[NodeGroup], said: Said) -> Iterator[str]:
    """A part of the multiprocessors is what an MPS client may use; the groups of a pool agree on it."""
    key, value = said.key(pool.name, "active_thread_percentage"), pool.active_thread_percentage
    shared = [group for group in groups if has_places(group, pool.slice)]
    by_mps = [group for group in shared if group.sharing is not None and group.sharing.mps is not None]
    if value is not None and not by_mps:
        yield problem(key, value, "null but for a pool with slice: shared on GPUs that mps shares")
    elif value is None and len({percentage_of(group) for group in shared}) > 1:
        there = ", ".join(f"{percentage_of(group)} in {group.name}" for group in shared)
        yield problem(key, None, f"one number of its own: its node groups have several ({there})")


def percentage_of(group: NodeGroup) -> int | None:
    """What a group lets its MPS clients use of the multiprocessors."""
    mps = None if group.sharing is None else group.sharing.mps
    return None if mps is None else mps.active_thread_percentage


def memory_problems(pool: Pool, pools: Sequence[Pool], group: NodeGroup, said: Said) -> Iterator[str]:
    """Whoever may come to be on one GPU with a replica of the pool has memory there: all of them set it aside when they
    start, by gpu_memory_utilization.
    """
    if group.sharing is None or not group.sharing.is_clear or group.sharing.overcommit:
        return
    others = sorted(
        (
            (other.runtime.gpu_memory_utilization, other.name)
            for other in pools
            for _ in range(min(other.max_replicas, group.sharing.replicas) - (other.name == pool.name))
        ),
        reverse=True,
    )[: group.sharing.replicas - 1]
    own = pool.runtime.gpu_memory_utilization
    whole = own + sum(use for use, _ in others)
    if whole <= 1 + ROUNDING:
        return
    gib, places = memory_gib(group.gpu), group.sharing.replicas
    beside = ", ".join(f"{name} {use:g}" for use, name in others)
    yield problem(
        said.key(pool.name, "runtime", "gpu_memory_utilization"),
        own,
        f"at most {1 / places:.3g} for each of {places} replicas on one GPU of {group.name}, or less for the others: it may"
        f" come to lie beside {beside}, and together they are too much by {(whole - 1) * gib:.1f} GiB of its {gib:.1f}",
    )


def memory_gib(gpu: Gpu) -> float:
    """What a process sees of a GPU's memory."""
    return gpu.device_memory_gib or gpu.memory_gb * 1e9 / GIB
