"""Queues with quotas of made clusters, as the plain model takes them: out of the product's rows."""

from __future__ import annotations

from typing import Any

from sim.model.tables.quota import NO_LIMIT, NO_THRESHOLD

from .naive_quota import NO_BOUND, Branch, QueueKind, Quotas, Share

Row = dict[str, Any]
MILLION = 10**6


def quotas_of(things: dict[str, list[Row]]) -> Quotas:
    """The queues, cohorts, flavours and needs that a cluster's rows tell."""
    nodes, n_flavor = things["quota_node"], len(things["quota_pair"])
    n_queue = sum(node.get("is_queue", 0) for node in nodes)
    rows = [things["quota"][i * n_flavor : (i + 1) * n_flavor] for i in range(len(nodes))]
    queues = []
    for node, quotas in zip(nodes[:n_queue], rows, strict=False):
        first, n = node["first_flavor"], node["n_flavor"]
        order = [one["flavor"] for one in things["queue_flavor"][first : first + n]]
        bound = NO_BOUND if node["threshold"] == NO_THRESHOLD else node["threshold"]
        queues.append(
            QueueKind(
                cohort(node, n_queue),
                {flavor: share(quotas[flavor]) for flavor in order},
                node["weight_micro"] / MILLION,
                within=node["within"],
                reclaim=node["reclaim"],
                borrows_up_to=bound if node["may_borrow"] else None,
                borrow_next=bool(node["borrow_next"]),
                preempt_stops=bool(node["preempt_stops"]),
                is_strict=bool(node["is_strict"]),
            )
        )
    cohorts = [
        Branch(cohort(node, n_queue), shares(quotas), node["weight_micro"] / MILLION)
        for node, quotas in zip(nodes[n_queue:], rows[n_queue:], strict=True)
    ]
    return Quotas(
        queues,
        cohorts,
        bool(things["cluster"][0]["is_fair"]),
        [group["flavor"] - 1 if group["flavor"] else None for group in things["node_group"]],
        [
            (
                place["queue"] - 1 if place["queue"] else None,
                frozenset(flavor for flavor in range(n_flavor) if place["flavors"] >> flavor & 1),
                place["quota_units"],
            )
            for place in things["pool_place"]
        ],
        n_flavor,
    )


def cohort(node: Row, n_queue: int) -> int | None:
    """The number of a node's cohort among cohorts."""
    return None if node["parent"] < 0 else node["parent"] - n_queue


def share(quota: Row) -> Share:
    """A quota."""
    limits = [None if quota[name] == NO_LIMIT else quota[name] for name in ("borrow_max", "lend_max")]
    return Share(quota["nominal"], *limits)


def shares(quotas: list[Row]) -> dict[int, Share]:
    """Those quotas that a node names."""
    return {flavor: share(quota) for flavor, quota in enumerate(quotas) if quota}
