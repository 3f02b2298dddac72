"""Laws of quotas on generated trees of queues and cohorts, against what the words say and nothing else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from conformance.kueue_kit import Fleet
from conformance.naive_kueue import Preemptor

Law = SimpleNamespace
POLICIES = ("Never", "LowerPriority", "LowerOrNewerEqualPriority", "Any")


def some_quotas(rng: np.random.Generator) -> dict[str, Any]:
    """Quotas of two resources, each with or without limits."""

    def limit() -> int | None:
        return None if rng.random() < 0.5 else int(rng.integers(0, 8))

    return {
        resource: {"nominal": int(rng.integers(0, 10)), "borrowing_limit": limit(), "lending_limit": limit()}
        for resource in ("cpu", "gpu")
    }


def some_fleet(seed: int, n_workload: int = 0) -> dict[str, Any]:
    """Inputs as vectors have them: a forest of cohorts with queues, and workloads admitted as they fit."""
    rng = np.random.default_rng([seed, 99])
    names = [f"c{i}" for i in range(int(rng.integers(1, 5)))]
    cohorts = [
        {
            "name": name,
            "parent": None if i == 0 or rng.random() < 0.15 else names[int(rng.integers(i))],
            "quotas": [{"flavor": "f", "quotas": some_quotas(rng)}] if rng.random() < 0.4 else [],
            "fair_weight": float(rng.choice([0, 0.5, 1, 2])),
        }
        for i, name in enumerate(names)
    ]
    for cohort in cohorts:
        for offer in cohort["quotas"] if cohort["parent"] is None else ():
            for about in offer["quotas"].values():
                about["borrowing_limit"] = about["lending_limit"] = None  # a root has none
    queues = [
        {
            "name": f"q{i}",
            "cohort": names[int(rng.integers(len(names)))],
            "resource_groups": [[{"flavor": "f", "quotas": some_quotas(rng)}]],
            "preemption": {
                "within_cluster_queue": str(rng.choice(POLICIES[:3])),
                "reclaim_within_cohort": str(rng.choice(POLICIES)),
                "borrow_within_cohort": None
                if rng.random() < 0.6
                else {"policy": "LowerPriority", "max_priority_threshold": int(rng.integers(-1, 2))},
            },
            "fair_weight": float(rng.choice([0, 0.5, 1, 1, 2])),
            "flavor_fungibility": {"when_can_borrow": "MayStopSearch", "when_can_preempt": "TryNextFlavor"},
        }
        for i in range(int(rng.integers(1, 6)))
    ]
    return {"cohorts": cohorts, "cluster_queues": queues, "admitted": [], "rng": rng}


def above(fleet: Fleet, node: int) -> list[int]:
    """A node and those above it."""
    found = [node]
    while fleet.params.quota_node[found[-1]].parent >= 0:
        found.append(int(fleet.params.quota_node[found[-1]].parent))
    return found


def recounted(fleet: Fleet, own: dict[int, int], pair: int) -> dict[int, int]:
    """Usage of every node from that of the queues alone: a cohort's is what passes its children's local quotas."""
    usage = {node: own.get(node, 0) for node in fleet.node.values()}
    for node in sorted(usage, key=lambda n: -len(above(fleet, n))):
        parent = int(fleet.params.quota_node[node].parent)
        quota = fleet.params.quota[node * len(fleet.pairs) + pair]
        local = 0 if quota.lend_max < 0 else max(0, quota.subtree - quota.lend_max)
        if parent >= 0:
            usage[parent] += max(0, usage[node] - local)
    return usage


def breaks_a_limit(fleet: Fleet, usage: dict[int, int], pair: int, queue: int) -> bool:
    """Whether the usage of a node on the way from a queue to its root is more than limits allow."""
    for node in above(fleet, queue):
        quota = fleet.params.quota[node * len(fleet.pairs) + pair]
        if fleet.params.quota_node[node].parent < 0:
            return bool(usage[node] > quota.subtree)
        if quota.borrow_max >= 0 and usage[node] > quota.subtree + quota.borrow_max:
            return True
    return False


def queues_of(fleet: Fleet) -> list[int]:
    return [number for (kind, _), number in fleet.node.items() if kind == "queue"]


@pytest.mark.parametrize("seed", range(20))
def test_usage_comes_and_goes(law: Law, seed: int) -> None:
    """After any additions and removals each node's usage is what follows from that of the queues."""
    rng = np.random.default_rng(seed)
    fleet = Fleet(law, some_fleet(seed))
    queues, own = queues_of(fleet), {}
    for _ in range(12):
        queue, amount = int(rng.choice(queues)), int(rng.integers(1, 9))
        if rng.random() < 0.4 and own.get(queue, 0) > 0:
            amount = min(amount, own[queue])
            law.remove_usage(fleet.params, fleet.state, queue, 0, amount)
            own[queue] -= amount
        else:
            law.add_usage(fleet.params, fleet.state, queue, 0, amount)
            own[queue] = own.get(queue, 0) + amount
        found = {n: int(fleet.state.quota_used[n * len(fleet.pairs)]) for n in fleet.node.values()}
        assert found == recounted(fleet, own, 0)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_available_is_the_most_that_breaks_no_limit(law: Law, seed: int) -> None:
    rng = np.random.default_rng(seed)
    fleet = Fleet(law, some_fleet(seed))
    own: dict[int, int] = {}
    for queue in queues_of(fleet):
        most = law.available(fleet.params, fleet.state, queue, 0)
        fitting = [
            amount
            for amount in range(60)
            if not breaks_a_limit(
                fleet, recounted(fleet, {**own, queue: own.get(queue, 0) + amount}, 0), 0, queue
            )
        ]
        assert most == max(fitting)
        assert most <= law.potential(fleet.params, queue, 0)
        taken = int(rng.integers(0, most + 1))
        law.add_usage(fleet.params, fleet.state, queue, 0, taken)
        own[queue] = own.get(queue, 0) + taken


def filled(law: Law, seed: int) -> tuple[Fleet, dict[str, Any], dict[str, Any]]:
    """(a fleet with workloads that were admitted as they fit, one that asks for room, the inputs of the fleet)."""
    inputs = some_fleet(seed)
    rng = inputs.pop("rng")
    queues = [queue["name"] for queue in inputs["cluster_queues"]]
    fleet = Fleet(law, inputs)
    for i in range(14):
        queue, amount = str(rng.choice(queues)), int(rng.integers(1, 5))
        number, pair = fleet.node["queue", queue], fleet.pair("f", "cpu")
        if law.available(fleet.params, fleet.state, number, pair) >= amount:
            law.add_usage(fleet.params, fleet.state, number, pair, amount)
            usage = [{"podset": "main", "flavor": "f", "resource": "cpu", "amount": amount}]
            inputs["admitted"].append(
                {
                    "name": f"w{i:02d}",
                    "priority": int(rng.integers(-1, 3)),
                    "cluster_queue": queue,
                    "quota_reserved_s": i,
                    "created_s": int(rng.integers(4)),
                    "evicted": rng.random() < 0.1,
                    "usage": usage,
                }
            )
    wanting = {
        "name": "in",
        "cluster_queue": str(rng.choice(queues)),
        "priority": int(rng.integers(0, 3)),
        "created_s": int(rng.integers(4)),
        "podsets": [{"name": "main", "count": 1, "requests": {"cpu": int(rng.integers(1, 9))}}],
        "flavor_assignment": [{"podset": "main", "resource": "cpu", "flavor": "f", "mode": "Preempt"}],
    }
    return Fleet(law, {**inputs, "podsets": wanting["podsets"]}), wanting, inputs


@pytest.mark.parametrize("is_fair", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_victims_are_enough_and_none_can_be_spared(law: Law, seed: int, is_fair: bool) -> None:
    """Without the victims the workload fits; with any one of them back it does not, or borrows where it may not; each is of
    the own queue or of one that borrowed, and of a priority that the policy allows.
    """
    fleet, wanting, _ = filled(law, seed)
    queue, pair = fleet.node["queue", wanting["cluster_queue"]], fleet.pair("f", "cpu")
    asked = wanting["podsets"][0]["requests"]["cpu"]
    borrowing = {q: law.would_borrow(fleet.params, fleet.state, q, pair, 0) for q in fleet.node.values()}
    strategies = ["LessThanOrEqualToFinalShare", "LessThanInitialShare"] if is_fair else None
    if asked <= law.available(fleet.params, fleet.state, queue, pair):
        return  # nobody has to go
    victims = [name for name, _ in fleet.victims(wanting, strategies)]
    numbers = {one["name"]: i for i, one in enumerate(fleet.workloads)}
    rules = fleet.params.quota_node[queue]
    for name in victims:
        row = fleet.state.quota_workload[numbers[name]]
        policy = POLICIES[rules.within if row.queue == queue else rules.reclaim]
        assert row.queue == queue or borrowing[int(row.queue)]
        assert policy == "Any" or (policy != "Never" and row.priority <= wanting["priority"])
        law.release_usage(fleet.params, fleet.state, numbers[name])
    assert not victims or asked <= law.available(fleet.params, fleet.state, queue, pair)
    nominal = fleet.params.quota[queue * len(fleet.pairs) + pair].nominal
    borrows = fleet.state.quota_used[queue * len(fleet.pairs) + pair] + asked > nominal
    for name in victims:
        law.admit_usage(fleet.params, fleet.state, numbers[name])
        used = int(fleet.state.quota_used[queue * len(fleet.pairs) + pair])
        fits = asked <= law.available(fleet.params, fleet.state, queue, pair)
        assert not fits or (not borrows and used + asked > nominal)
        law.release_usage(fleet.params, fleet.state, numbers[name])


@pytest.mark.parametrize("is_fair", [False, True], ids=["classical", "fair"])
@pytest.mark.parametrize("first", range(0, 400, 50))
def test_victims_are_those_of_a_naive_model(law: Law, first: int, is_fair: bool) -> None:
    strategies = ["LessThanOrEqualToFinalShare", "LessThanInitialShare"] if is_fair else None
    for seed in range(first, first + 50):
        fleet, wanting, inputs = filled(law, seed)
        naive = Preemptor(inputs, wanting)
        if naive.fits(True):
            continue
        expected = naive.fair() if is_fair else naive.classical()
        assert fleet.victims(wanting, strategies) == expected, f"seed {seed}"


@pytest.mark.parametrize("is_fair", [False, True], ids=["classical", "fair"])
@pytest.mark.parametrize("first", range(0, 100, 25))
def test_a_flavour_is_found_as_by_a_naive_model(law: Law, first: int, is_fair: bool) -> None:
    """Whether the workload fits, or would after preemption, which is tried, and from how far up it borrows."""
    for seed in range(first, first + 25):
        fleet, wanting, inputs = filled(law, seed)
        state, place = fleet.state, fleet.resources.index("cpu")
        asking = state.preemption[0]
        asking.queue, asking.priority = fleet.node["queue", wanting["cluster_queue"]], wanting["priority"]
        asking.created_ps, asking.is_fair = fleet.time_ps(wanting["created_s"]), int(is_fair)
        state.group_asked[: len(fleet.resources)] = -1
        state.group_asked[place] = wanting["podsets"][0]["requests"]["cpu"]
        state.group_flavors[0] = 1
        mode, level = Preemptor(inputs, wanting).mode(is_fair)
        assert law.MODES[law.assign_flavors(fleet.params, state, 1)] == mode, f"seed {seed}"
        if mode != "no_fit":
            assert asking.borrowing == level, f"seed {seed}"
            assert state.got_flavor[place] == 0


def test_workloads_that_were_told_to_go_are_counted_first(law: Law) -> None:
    """Two of the same priority: the one that goes already makes room, not the one admitted last."""
    quotas = {"cpu": {"nominal": 2, "borrowing_limit": None, "lending_limit": None}}
    queue = some_fleet(0)["cluster_queues"][0] | {
        "name": "q",
        "cohort": None,
        "resource_groups": [[{"flavor": "f", "quotas": quotas}]],
        "preemption": {
            "within_cluster_queue": "LowerPriority",
            "reclaim_within_cohort": "Never",
            "borrow_within_cohort": None,
        },
    }
    usage = [{"podset": "main", "flavor": "f", "resource": "cpu", "amount": 1}]
    workload = {"priority": 0, "cluster_queue": "q", "created_s": 0, "usage": usage}
    admitted = [
        workload | {"name": "going", "quota_reserved_s": 1, "evicted": True},
        workload | {"name": "staying", "quota_reserved_s": 2, "evicted": False},
    ]
    wanting = {
        "cluster_queue": "q",
        "priority": 1,
        "podsets": [{"name": "main", "count": 1, "requests": {"cpu": 1}}],
        "flavor_assignment": [{"podset": "main", "resource": "cpu", "flavor": "f", "mode": "Preempt"}],
    }
    for strategies in (None, ["LessThanOrEqualToFinalShare"]):
        fleet = Fleet(law, {"cluster_queues": [queue], "cohorts": [], "admitted": admitted})
        assert fleet.victims(wanting, strategies) == [("going", "InClusterQueue")]
