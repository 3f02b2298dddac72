"""Rules of the keys by which nodes are given back, and GPUs cut anew: who does that, and in whose words."""

from __future__ import annotations

from collections.abc import Iterator

from sim.errors import problem
from sim.scenario.cluster import DYNAMIC, Cluster, NodeGroup


def repartition_problems(key: str, group: NodeGroup) -> Iterator[str]:
    """Only where instances are made on demand can they be made elsewhere, or give way to a whole GPU."""
    for name in ("mig_repartition", "mig_whole"):
        if getattr(group, name) and group.mig != DYNAMIC:
            how = f"false where mig of {group.name} is not dynamic: its cut does not change"
            yield problem(f"{key}.{name}", True, how)


def node_scaling_problems(cluster: Cluster) -> Iterator[str]:
    """A consolidation has somebody who acts and nodes to act on, and stands in the place of the thresholds."""
    how, scaler = cluster.consolidation, cluster.autoscaler
    if how is None:
        return
    if not cluster.node_groups:
        yield problem(
            "cluster.consolidation",
            how.policy,
            "null where the cluster has no node groups: there are no nodes",
        )
    elif scaler is None:
        yield problem(
            "cluster.consolidation", how.policy, "null where cluster.autoscaler is null: nobody removes nodes"
        )
    elif scaler.scale_down_utilization_threshold is not None:
        yield problem(
            "cluster.autoscaler.scale_down_utilization_threshold",
            scaler.scale_down_utilization_threshold,
            "null with a cluster.consolidation, which decides by what fits elsewhere",
        )
