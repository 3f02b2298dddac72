"""Queues with quotas on the clusters of generated fleets, drawn from dice of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.model.tables.quota import NO_LIMIT, NO_THRESHOLD

Rows = list[dict[str, Any]]
WEIGHTS = (0, 500_000, 1_000_000, 1_000_000, 2_000_000)


class QueueDice:
    """Whole numbers for the queues of one seed's cluster."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng([seed, 79])

    def below(self, n: int) -> int:
        """From 0 to n − 1."""
        return int(self.rng.integers(n))


def with_queues(seed: int, things: dict[str, Rows]) -> dict[str, Rows]:
    """The rows of a cluster's tables with a forest of queues and cohorts; each pool and job but some is in a queue."""
    dice = QueueDice(seed)
    groups, places = things["node_group"], things["pool_place"]
    n_flavor = 1 + dice.below(min(len(groups), 3))
    flavors = [i if i < n_flavor else dice.below(n_flavor) for i in range(len(groups))]
    cohorts = [cohort_of(dice, i) for i in range(1 + dice.below(3))]
    queues = [queue_of(dice, len(cohorts)) for _ in range(1 + dice.below(4))]
    offered: Rows = []
    for queue in queues:
        order = dice.rng.permutation(n_flavor).tolist()[: 1 + dice.below(n_flavor)]
        queue |= {"first_flavor": len(offered), "n_flavor": len(order)}
        offered += [{"flavor": flavor, "group": 0} for flavor in order]
    nodes = [*queues, *cohorts]
    for node in nodes:
        node["parent"] += len(queues) * (node["parent"] >= 0)
    quotas = [
        quota_of(dice, nodes[i], flavor, offered) for i in range(len(nodes)) for flavor in range(n_flavor)
    ]
    return things | {
        "cluster": [things["cluster"][0] | {"is_fair": int(dice.below(3) == 0)}],
        "node_group": [
            group | {"flavor": (1 + flavor) * (dice.below(9) > 0)}
            for group, flavor in zip(groups, flavors, strict=True)
        ],
        "pool_place": [place | need_of(dice, len(queues), n_flavor) for place in places],
        "quota_node": nodes,
        "quota": quotas,
        "quota_pair": [{"flavor": flavor, "resource": 0} for flavor in range(n_flavor)],
        "queue_flavor": offered,
    }


def cohort_of(dice: QueueDice, place: int) -> dict[str, int]:
    """A cohort, in one before it or in none."""
    parent = dice.below(place) if place and dice.below(4) else -1
    return {"parent": parent, "weight_micro": WEIGHTS[dice.below(len(WEIGHTS))]}


def queue_of(dice: QueueDice, n_cohort: int) -> dict[str, int]:
    """A queue, in a cohort or in none."""
    bound = (NO_THRESHOLD, -1, 0, 1)[dice.below(4)]
    return {
        "parent": dice.below(n_cohort) if dice.below(6) else -1,
        "is_queue": 1,
        "weight_micro": WEIGHTS[dice.below(len(WEIGHTS))],
        "within": dice.below(3),
        "reclaim": dice.below(4),
        "may_borrow": int(dice.below(3) == 0),
        "threshold": bound,
        "borrow_next": dice.below(2),
        "preempt_stops": dice.below(2),
        "is_strict": int(dice.below(4) == 0),
    }


def quota_of(dice: QueueDice, node: dict[str, int], flavor: int, offered: Rows) -> dict[str, int]:
    """What a node has of a flavour, with or without limits: a queue of those that it offers, a cohort of some."""
    first, n = node.get("first_flavor", 0), node.get("n_flavor", 0)
    mine = [one["flavor"] for one in offered[first : first + n]]
    if flavor not in mine if node.get("is_queue") else dice.below(3) > 0:
        return {}
    limits = [dice.below(10) if node["parent"] >= 0 and dice.below(3) == 0 else NO_LIMIT for _ in range(2)]
    nominal = dice.below(20)
    return {"nominal": nominal, "borrow_max": limits[0], "lend_max": limits[1], "is_known": 1}


def need_of(dice: QueueDice, n_queue: int, n_flavor: int) -> dict[str, int]:
    """What one of a pool or job needs of its queue, if it is in one."""
    return {
        "queue": (1 + dice.below(n_queue)) * (dice.below(6) > 0),
        "flavors": sum(1 << flavor for flavor in range(n_flavor) if dice.below(5)),
        "quota_units": 1 + dice.below(6),
    }
