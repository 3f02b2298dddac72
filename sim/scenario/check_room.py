"""Rules on how many nodes there can be: a gang finds all of its in one zone, no fault takes more than there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sim.errors import problem
from sim.scenario.cluster import Cluster, NodeGroup, RandomFault
from sim.scenario.faults import Fault
from sim.scenario.pool import Pool
from sim.scenario.said import Said


def most_nodes(cluster: Cluster, group: NodeGroup) -> int:
    """Nodes that a group ever has at once."""
    return group.max_nodes if cluster.autoscaler is not None else group.nodes_at_start


def gang_room_problems(
    pool: Pool, groups: Sequence[NodeGroup], cluster: Cluster, said: Said
) -> Iterator[str]:
    """The groups (of the pool's GPU, cut as it needs) have nodes at all, and in one zone places for all pp stages."""
    of = ", ".join(group.name for group in groups)
    key = "max_nodes" if cluster.autoscaler is not None else "initial_nodes"
    if not any(most_nodes(cluster, group) for group in groups):
        place = cluster.node_groups.index(groups[0])
        how = f"1 or more in one of {of}: pool {pool.name} has no other nodes"
        yield problem(f"cluster.node_groups.{place}.{key}", 0, how)
    elif pool.slice is None:
        room = {group.zone: 0 for group in groups}
        for group in groups:
            room[group.zone] += most_nodes(cluster, group) * (group.gpus // pool.member_gpus)
        most = max(room.values())
        if most < pool.pp:
            each = f"{pool.member_gpus} GPU{'s' * (pool.member_gpus > 1)} of one node"
            how = (
                f"at most {most}: a replica of {pool.name} takes {each} for each stage, all in one zone, "
                f"as far as {key} of {of} allows"
            )
            yield problem(said.key(pool.name, "pp"), pool.pp, how)


def lost_count_problems(key: str, fault: Fault | RandomFault, cluster: Cluster) -> Iterator[str]:
    """No more nodes are lost at once than there can be of the group and the zone."""
    struck = [
        group
        for group in cluster.node_groups
        if fault.node_group in (None, group.name) and fault.zone in (None, group.zone)
    ]
    most = sum(most_nodes(cluster, group) for group in struck)
    if struck and fault.nodes is not None and fault.nodes > most:
        names = ", ".join(group.name for group in struck)
        yield problem(
            f"{key}.nodes", fault.nodes, f"at most {most}, all that {names} can have, or null for all"
        )
