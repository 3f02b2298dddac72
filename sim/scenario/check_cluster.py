"""Rules between the nodes of a cluster, and between them and the pools: each replica has a node that could hold it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import fields

from sim.errors import nearest, problem
from sim.scenario.check_node_scaling import node_scaling_problems, repartition_problems
from sim.scenario.check_peers import peer_problems
from sim.scenario.check_room import gang_room_problems, lost_count_problems
from sim.scenario.check_sense import too_long
from sim.scenario.check_sharing import (
    has_places,
    memory_problems,
    number_problems,
    percentage_problems,
    sharing_problems,
)
from sim.scenario.cluster import DYNAMIC, NODES_MAX, WHOLE, Cluster, NodeGroup, NodeScores, RandomFault
from sim.scenario.faults import Fault, GpuLost, Slow
from sim.scenario.geometry import ALL, BALANCED, cut_into, names_in, nearest_geometries, offered
from sim.scenario.pool import Pool
from sim.scenario.ranges import lowest, mean
from sim.scenario.said import Said
from sim.scenario.scenario import Scenario
from sim.scenario.sharing import SHARED, SHARED_BY, is_shared
from sim.scenario.slices import SMALLEST, kind_for, profile_named

PRICE_MAX = 1000.0  # USD/h, as of a pool's price.usd_per_gpu_hour
GAP_MIN_S = 1.0  # nothing fails every second
STAGES = ("provisioning", "booting", "driver")


def cluster_problems(scenario: Scenario, said: Said) -> Iterator[str]:
    """Every broken rule as one line."""
    groups = scenario.cluster.node_groups
    for place, group in enumerate(groups):
        key = f"cluster.node_groups.{place}"
        if group.name in (other.name for other in groups[:place]):
            yield problem(f"{key}.name", group.name, "a name that no node group before it has")
        yield from count_problems(key, group)
        yield from price_problems(key, group)
        yield from provision_problems(key, group)
        yield from window_problems(key, group, scenario.duration_s + scenario.drain_s)
        yield from cut_problems(f"{key}.mig", group)
        yield from repartition_problems(key, group)
        yield from sharing_problems(f"{key}.sharing", group)
        yield from preload_problems(f"{key}.preloaded", group, [pool.name for pool in scenario.pools])
    yield from score_problems(scenario.cluster)
    yield from node_scaling_problems(scenario.cluster)
    for place, fault in enumerate(scenario.cluster.random_faults):
        yield from random_fault_problems(f"cluster.random_faults.{place}", fault, scenario.cluster)
    total = sum(group.max_nodes for group in groups)
    if total > NODES_MAX:
        yield problem(
            "cluster.node_groups", f"{total} nodes", f"at most {NODES_MAX} by max_nodes of all together"
        )
    for pool in scenario.pools:
        yield from gang_problems(pool, said)
        yield from room_problems(pool, scenario.cluster, said)
        yield from share_problems(pool, scenario, said)
        yield from peer_problems(pool, groups_of(pool, groups), said)


def score_problems(cluster: Cluster) -> Iterator[str]:
    """Weights belong to `placement: weighted`, and some score counts; the places of a shape increase."""
    if cluster.law is not None and not cluster.node_groups:
        yield problem("cluster.law", cluster.law, "nothing where the cluster has no node groups")
    is_weighted, is_none = cluster.placement == "weighted", cluster.scores == NodeScores()
    if is_weighted and is_none:
        names = ", ".join(one.name for one in fields(NodeScores))
        yield f"cluster.scores: nothing counts; allowed where cluster.placement is weighted: a weight above 0 of {names}"
    if not is_weighted and not is_none:
        yield problem(
            "cluster.scores",
            "weights",
            f"nothing where cluster.placement is {cluster.placement}; say weighted",
        )
    for place, (before, after) in enumerate(itertools.pairwise(cluster.capacity_shape)):
        if after.utilization <= before.utilization:
            key = f"cluster.capacity_shape.{place + 1}.utilization"
            yield problem(
                key, after.utilization, f"more than that of the point before ({before.utilization})"
            )


# ---- node groups ----------------------------------------------------------------------
def count_problems(key: str, group: NodeGroup) -> Iterator[str]:
    """min ≤ initial ≤ max."""
    if group.min_nodes > group.max_nodes:
        yield problem(f"{key}.min_nodes", group.min_nodes, f"≤ max_nodes ({group.max_nodes})")
    elif not group.min_nodes <= group.nodes_at_start <= group.max_nodes:
        allowed = (
            f"from min_nodes ({group.min_nodes}) to max_nodes ({group.max_nodes}), or null for min_nodes"
        )
        yield problem(f"{key}.initial_nodes", group.initial_nodes, allowed)


def price_problems(key: str, group: NodeGroup) -> Iterator[str]:
    """No GPU of a node costs more than one does."""
    most = PRICE_MAX * group.gpus
    if group.usd_per_hour > most:
        allowed = f"at most {most:g}, in USD/h: {PRICE_MAX:g} for each of its GPUs"
        yield problem(f"{key}.usd_per_node_hour", group.usd_per_node_hour, allowed)


def provision_problems(key: str, group: NodeGroup) -> Iterator[str]:
    """No stage of a node takes less than no time, or longer than a run."""
    for name in STAGES:
        dist, where = getattr(group.provision, name), f"{key}.provision.{name}"
        if lowest(dist) < 0:
            yield f"{where}: can be negative ({lowest(dist):g} s); give it `min: 0`"
        yield from too_long(where, dist)


def window_problems(key: str, group: NodeGroup, end_s: float) -> Iterator[str]:
    """Windows without capacity begin within the run, end after they begin and follow each other."""
    windows = group.no_capacity.windows
    for place, window in enumerate(windows):
        where = f"{key}.no_capacity.windows.{place}"
        if window.from_s >= end_s:
            yield problem(f"{where}.from_s", window.from_s, f"less than {end_s:g} s, when the run is over")
        if window.to_s <= window.from_s:
            yield problem(f"{where}.to_s", window.to_s, f"more than from_s ({window.from_s:g} s)")
    for place, (before, after) in enumerate(itertools.pairwise(windows)):
        if after.from_s < before.to_s and before.from_s < before.to_s:
            where = f"{key}.no_capacity.windows.{place + 1}.from_s"
            yield problem(where, after.from_s, f"at least {before.to_s:g} s, when the window before it ends")


def preload_problems(key: str, group: NodeGroup, pools: Sequence[str]) -> Iterator[str]:
    """What nodes are preloaded with belongs to pools that there are, and they have a cache to keep it."""
    for name in group.preloaded:
        if name not in pools:
            yield problem(key, name, f"names of pools: {', '.join(pools)}", nearest(name, pools))
    if group.preloaded and group.cache_gb == 0:
        yield problem(key, list(group.preloaded), f"nothing where cache_gb of {group.name} is 0")


def random_fault_problems(key: str, fault: RandomFault, cluster: Cluster) -> Iterator[str]:
    """It strikes nodes that there are, and some time passes between one outage and the next."""
    groups = cluster.node_groups
    if not groups:
        yield f"{key}: strikes nothing: the cluster has no node groups"
        return
    yield from where_problems(key, fault, groups)
    yield from lost_count_problems(key, fault, cluster)
    for name in ("gap", "outage"):
        dist = getattr(fault, name)
        if lowest(dist) < 0:
            yield f"{key}.{name}: can be negative ({lowest(dist):g} s); give it `min: 0`"
        yield from too_long(f"{key}.{name}", dist)
    if mean(fault.gap) < GAP_MIN_S and lowest(fault.gap) >= 0:
        yield f"{key}.gap: has a mean of {mean(fault.gap):g} s; allowed: a mean of at least {GAP_MIN_S:g} s"


def where_problems(
    key: str, fault: Fault | RandomFault | Slow | GpuLost, groups: Sequence[NodeGroup]
) -> Iterator[str]:
    """Nodes are lost of a group and a zone that there are."""
    for name, there in (("node_group", [g.name for g in groups]), ("zone", [g.zone for g in groups])):
        value = getattr(fault, name)
        if value is not None and value not in there:
            known = ", ".join(dict.fromkeys(there)) or "there is none: the cluster has no node groups"
            allowed = f"a {name.replace('_', ' ')}: {known}"
            yield problem(f"{key}.{name}", value, allowed, nearest(value, there))
            return
    if groups and not any(
        fault.node_group in (None, g.name) and fault.zone in (None, g.zone) for g in groups
    ):
        yield problem(f"{key}.zone", fault.zone, f"a zone in which node group {fault.node_group} has nodes")


def lost_node_problems(key: str, fault: Fault, scenario: Scenario) -> Iterator[str]:
    """Nodes are lost of a group and a zone that there are, and without a word of replicas."""
    wrong = list(where_problems(key, fault, scenario.cluster.node_groups))
    if wrong:
        yield from wrong
    elif fault.drains and fault.outage_s > 0:
        yield problem(f"{key}.outage_s", fault.outage_s, "0 where nodes are drained: nothing fails")
    elif not fault.is_of_nodes:
        name, value = ("nodes", fault.nodes) if fault.nodes is not None else ("outage_s", fault.outage_s)
        yield problem(f"{key}.{name}", value, "with node_group or zone, of which nodes are lost")
    elif fault.pool is not None:
        allowed = "null where nodes are lost: all that they hold is lost with them"
        yield problem(f"{key}.pool", fault.pool, allowed)
    else:
        yield from lost_count_problems(key, fault, scenario.cluster)


def cut_problems(key: str, group: NodeGroup) -> Iterator[str]:
    """GPUs are cut only if they can be, into profiles that they have and that fit on one of them."""
    mig, kind = group.mig, kind_for(group.gpu)
    if mig == WHOLE:
        return
    if kind is None:
        yield problem(key, shown(mig), f"whole: conf/mig has no profiles of {group.gpu.name}")
    elif isinstance(mig, str) and mig != DYNAMIC and names_in(kind, mig) is None:
        words = [WHOLE, DYNAMIC, BALANCED, *(ALL + one.profile for one in kind.profiles)]
        yield problem(key, mig, f"{', '.join(words)}, or a list of profiles", nearest(mig, words))
    elif mig != DYNAMIC:
        names = names_in(kind, mig) or []
        unknown = [name for name in names if profile_named(kind, name) is None]
        there = [one.profile for one in kind.profiles]
        for name in dict.fromkeys(unknown):
            yield problem(
                key, name, f"profiles of {group.gpu.name}: {', '.join(there)}", nearest(name, there)
            )
        if not unknown and not cut_into(group):
            near = ", ".join(nearest_geometries(kind, names))
            yield problem(key, shown(mig), f"what fits on one {group.gpu.name}: nearest are {near}")


def shown(mig: str | Sequence[str]) -> str | list[str]:
    """The value as it is written."""
    return mig if isinstance(mig, str) else list(mig)


# ---- pools ----------------------------------------------------------------------
def gang_problems(pool: Pool, said: Said) -> Iterator[str]:
    """A replica on a slice has that one alone."""
    if pool.slice is None:
        return
    for name in ("tp", "pp", "dp"):
        if getattr(pool, name) > 1:
            why = (
                "a share is of one GPU"
                if is_shared(pool.slice)
                else "instances of MIG have no links between them"
            )
            allowed = f"1 with slice {pool.slice}: {why}"
            yield problem(said.key(pool.name, name), getattr(pool, name), allowed)


def room_problems(pool: Pool, cluster: Cluster, said: Said) -> Iterator[str]:
    """Some node group could hold a replica of the pool; the first of a pool's mistakes alone."""
    groups = cluster.node_groups
    names = [group.name for group in groups]
    for place, name in enumerate(pool.node_groups):
        if name not in names:
            key = said.key(pool.name, "node_groups", place)
            yield problem(
                key, name, f"a node group: {', '.join(names) or 'there is none'}", nearest(name, names)
            )
            return
    if not groups:
        if pool.slice is not None:
            how = "null without a cluster, or one whose GPUs are cut, as cluster=mig_a100_pool gpu=a100_80"
            if is_shared(pool.slice):
                how = "null without a cluster, or one with a node group that has sharing"
            yield problem(said.key(pool.name, "slice"), pool.slice, how)
        return
    allowed = [group for group in groups if not pool.node_groups or group.name in pool.node_groups]
    same = [group for group in allowed if group.gpu.name == pool.gpu.name]
    cut = [group for group in same if gives(group, pool)]
    if not same:
        there = ", ".join(dict.fromkeys(group.gpu.name for group in allowed))
        of = "its node groups" if pool.node_groups else "the cluster"
        yield problem(said.key(pool.name, "gpu", "name"), pool.gpu.name, f"a GPU that {of} has: {there}")
    elif not cut and is_shared(pool.slice):
        there = ", ".join(f"{SHARED_BY}{group.places}" for group in same if group.sharing is not None)
        how = there or f"null or a profile, or sharing in {', '.join(group.name for group in same)}"
        yield problem(said.key(pool.name, "slice"), pool.slice, how)
    elif not cut and any(group.sharing is not None for group in same):
        how = f"{SHARED}: GPUs of {', '.join(group.name for group in same)} are shared"
        yield problem(said.key(pool.name, "slice"), pool.slice, how)
    elif not cut and pool.slice is None:
        how = f"a profile, or {SMALLEST}: MIG is on in {', '.join(group.name for group in same)}"
        yield problem(said.key(pool.name, "slice"), None, how)
    elif not cut:
        how = f"null, or mig: dynamic in {', '.join(group.name for group in same)}, whose GPUs are whole"
        yield problem(said.key(pool.name, "slice"), pool.slice, how)
    elif pool.slice is not None and not is_shared(pool.slice):
        wrong = [*slice_problems(pool, cut, said)]
        yield from wrong or gang_room_problems(pool, cut, cluster, said)
    elif max(group.gpus for group in cut) < pool.member_gpus:
        yield from too_wide(pool, cut, said)
    else:
        yield from gang_room_problems(pool, cut, cluster, said)


def gives(group: NodeGroup, pool: Pool) -> bool:
    """Whether a group has the kind of thing that a pool asks for: whole GPUs, instances of MIG or places of shared GPUs."""
    if group.sharing is not None:
        return has_places(group, pool.slice)
    return group.gives_whole if pool.slice is None else not is_shared(pool.slice) and group.mig != WHOLE


def groups_of(pool: Pool, groups: Sequence[NodeGroup]) -> list[NodeGroup]:
    """The groups on which a replica of the pool may find room."""
    named = [group for group in groups if not pool.node_groups or group.name in pool.node_groups]
    return [group for group in named if group.gpu.name == pool.gpu.name and gives(group, pool)]


def share_problems(pool: Pool, scenario: Scenario, said: Said) -> Iterator[str]:
    """What a pool asks for of shared GPUs, the first of its mistakes with memory alone."""
    groups = scenario.cluster.node_groups
    mine = groups_of(pool, groups)
    yield from number_problems(pool, mine, said)
    yield from percentage_problems(pool, mine, said)
    lines = (
        line
        for group in mine
        for line in memory_problems(
            pool, [other for other in scenario.pools if group in groups_of(other, groups)], group, said
        )
    )
    yield from itertools.islice(lines, 1)


def slice_problems(pool: Pool, groups: Sequence[NodeGroup], said: Said) -> Iterator[str]:
    """Some node group has instances of the pool's profile."""
    kind = kind_for(pool.gpu)
    there = list(dict.fromkeys(one.profile for group in groups for one in offered(group)))
    if kind is None or not there or pool.slice == SMALLEST or pool.slice in there:
        return  # what is wrong with its groups is said there
    key, whose = said.key(pool.name, "slice"), ", ".join(group.name for group in groups)
    if profile_named(kind, str(pool.slice)) is None:
        names = [one.profile for one in kind.profiles]
        how = f"{SMALLEST}, or a profile of {pool.gpu.name}: {', '.join(names)}"
        yield problem(key, pool.slice, how, nearest(str(pool.slice), [*names, SMALLEST]))
    else:
        yield problem(
            key, pool.slice, f"what GPUs of {whose} are cut into: {', '.join(there)}, or mig: dynamic there"
        )


def too_wide(pool: Pool, groups: Sequence[NodeGroup], said: Said) -> Iterator[str]:
    """A pipeline stage needs more GPUs than a node has."""
    most = max(group.gpus for group in groups)
    name = "tp" if pool.dp == 1 else "dp"
    product = f"{pool.tp}" if pool.dp == 1 else f"{pool.tp}·{pool.dp} = {pool.member_gpus}"
    there = ", ".join(f"{group.gpus} in {group.name}" for group in groups)
    yield (
        f"{said.key(pool.name, name)}: {getattr(pool, name)} is not valid; allowed: tp·dp up to {most}, the GPUs of a node"
        f" ({there}): a replica of {pool.name} needs {product} on one node; pp spreads it over several"
    )
