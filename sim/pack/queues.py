"""The queues of a scenario's cluster, and what its pools and jobs need of them, as rows of plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sim.model.placement.fair_preemption import STRATEGIES
from sim.model.tables.quota import NO_LIMIT, NO_THRESHOLD, PREEMPTION_POLICIES
from sim.scenario.cluster import Cluster
from sim.scenario.queues import (
    ClusterQueue,
    Cohort,
    FlavorQuota,
    all_cohorts,
    flavor_of,
    flavors_of,
    places_of,
    units_of,
)

Rows = list[dict[str, Any]]
MILLION = 1_000_000


def queue_rows(cluster: Cluster) -> dict[str, Rows]:
    """Table of Params → its rows; nothing without queues."""
    if not cluster.queues:
        return {}
    units = units_of(cluster.node_groups)
    queues, cohorts = cluster.queues, all_cohorts(cluster.queues, cluster.cohorts)
    flavors = flavors_of(queues, cohorts)
    names = [cohort.name for cohort in cohorts]
    nodes: Rows = []
    offered: Rows = []
    every: list[ClusterQueue | Cohort] = [*queues, *cohorts]
    for queue in queues:
        row = queue_row(queue, names, len(queues))
        nodes.append(row | {"first_flavor": len(offered), "n_flavor": len(queue.quotas)})
        offered += [{"flavor": flavors.index(quota.flavor), "group": 0} for quota in queue.quotas]
    nodes += [cohort_row(cohort, names, len(queues)) for cohort in cohorts]
    return {
        "quota_node": nodes,
        "quota": [row for node in every for row in quota_rows(node.quotas, flavors, units)],
        "quota_pair": [{"flavor": i, "resource": 0} for i in range(len(flavors))],
        "queue_flavor": offered,
    }


def parent_of(cohort: str | None, names: Sequence[str], n_queue: int) -> int:
    """The number of a cohort among queues and cohorts, −1 = none."""
    return -1 if cohort is None else n_queue + names.index(cohort)


def queue_row(queue: ClusterQueue, names: Sequence[str], n_queue: int) -> dict[str, int]:
    """A queue in numbers."""
    rules = queue.preemption
    below = rules.borrow_within_cohort
    threshold = None if below is None else below.max_priority
    return {
        "parent": parent_of(queue.cohort, names, n_queue),
        "is_queue": 1,
        "weight_micro": round(queue.weight * MILLION),
        "within": PREEMPTION_POLICIES.index(rules.within_cluster_queue),
        "reclaim": PREEMPTION_POLICIES.index(rules.reclaim_within_cohort),
        "may_borrow": int(below is not None),
        "threshold": NO_THRESHOLD if threshold is None else threshold,
        "borrow_next": int(queue.when_can_borrow == "try_next_flavor"),
        "preempt_stops": int(queue.when_can_preempt == "preempt"),
        "is_strict": int(queue.queueing == "strict_fifo"),
    }


def cohort_row(cohort: Cohort, names: Sequence[str], n_queue: int) -> dict[str, int]:
    """A cohort in numbers."""
    parent = parent_of(cohort.parent, names, n_queue)
    return {"parent": parent, "weight_micro": round(cohort.weight * MILLION)}


def quota_rows(quotas: Sequence[FlavorQuota], flavors: Sequence[str], units: int) -> Rows:
    """What a queue or cohort has of each flavor, in units."""
    of = {quota.flavor: quota for quota in quotas}
    return [quota_row(of[name], units) if name in of else {} for name in flavors]


def quota_row(quota: FlavorQuota, units: int) -> dict[str, int]:
    """A quota in units."""

    def limit(gpus: float | None) -> int:
        return NO_LIMIT if gpus is None else round(gpus * units)

    return {
        "nominal": round(quota.nominal * units),
        "borrow_max": limit(quota.borrowing_limit),
        "lend_max": limit(quota.lending_limit),
        "is_known": 1,
    }


def fair_fields(cluster: Cluster) -> dict[str, int]:
    """How queues share, for the cluster's row."""
    if not cluster.queues:
        return {}
    is_fair = cluster.fair_sharing is not None
    return {
        "quota_units": units_of(cluster.node_groups),
        "is_fair": int(is_fair),
        "strategies": STRATEGIES.index(cluster.fair_sharing) if is_fair else 0,
    }


def with_queue(
    row: Mapping[str, Any], queue: str | None, asks: Sequence[Mapping[str, int]], cluster: Cluster
) -> dict[str, Any]:
    """A pool's or job's row with what it needs of its queue; `asks`: what it takes of a GPU in each group."""
    if queue is None:
        return dict(row)
    flavors = flavors_of(cluster.queues, cluster.cohorts)
    units = units_of(cluster.node_groups)
    able = [
        (flavor_of(group, flavors), ask["memory_slices"] * units // places_of(group))
        for group, ask in zip(cluster.node_groups, asks, strict=True)
        if ask["starts"]
    ]
    names = [one.name for one in cluster.queues]
    each = max((amount for flavor, amount in able if flavor is not None), default=0)
    return {
        **row,
        "queue": 1 + names.index(queue),
        "flavors": sum({1 << flavors.index(flavor) for flavor, _ in able if flavor is not None}),
        "quota_units": each * row["n_member"] * row["member_gpus"],
    }
