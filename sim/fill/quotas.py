"""The tables of queues with quotas: what each node of their trees has, derived once, and how many rows a run needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sim.model.tables.quota import NO_LIMIT
from sim.model.tables.run import Params
from sim.model.tables.sample import N_MARK

Row = Mapping[str, Any]
Rows = Sequence[Row]


def place_quotas(params: Params, things: Mapping[str, Rows]) -> dict[str, Any]:
    """What follows from the rows of `quota_node` (queues, then cohorts), `quota` (node, pair) and `quota_pair`: what each
    node has with the nodes in it. Writes into params how many rows there are of what a run keeps.
    """
    n_place, n_pair = len(things["pool_place"]), len(things.get("quota_pair", ()))
    params.n_alike = n_place * (1 + n_pair)
    nodes = things.get("quota_node", ())
    if not nodes:
        return {}
    params.n_quota_queue = sum(node.get("is_queue", 0) for node in nodes)
    params.n_resource = 1
    params.n_quota_workload = params.n_workload
    params.n_quota_sample = params.n_sample * params.n_quota_queue * n_pair
    params.n_quota_mark = N_MARK * params.n_quota_queue * n_pair
    return {
        "quota": with_subtrees(nodes, things["quota"], n_pair),
        "resource_group": [0] * len(nodes),
        "pair_of": list(range(n_pair)),
    }


def with_subtrees(nodes: Rows, quotas: Rows, n_pair: int) -> list[dict[str, Any]]:
    """The quotas, each with what its node has and what the nodes in it lend (`sum_up_quotas` of the rules)."""
    made = [dict(quota) for quota in quotas]

    def of(node: int, pair: int) -> dict[str, Any]:
        return made[node * n_pair + pair]

    def subtree(node: int, pair: int) -> int:
        inside = [i for i, one in enumerate(nodes) if one.get("parent", -1) == node]
        total = int(of(node, pair).get("nominal", 0)) + sum(lent(i, pair) for i in inside)
        known = [of(node, pair).get("is_known", 0), *(of(i, pair).get("is_known", 0) for i in inside)]
        of(node, pair).update(subtree=total, is_known=max(known))
        return total

    def lent(node: int, pair: int) -> int:
        has, most = subtree(node, pair), int(of(node, pair).get("lend_max", NO_LIMIT))
        return has if most == NO_LIMIT else min(has, most)

    for node, one in enumerate(nodes):
        if one.get("parent", -1) < 0:
            for pair in range(n_pair):
                subtree(node, pair)
    return made
