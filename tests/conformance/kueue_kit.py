"""Kueue's queues, cohorts and workloads, as the vectors tell them, in the tables of the rules."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.model.tables.quota import (
    NO_LIMIT,
    NO_THRESHOLD,
    Candidate,
    OracleAnswer,
    Preemption,
    QueueFlavor,
    Quota,
    QuotaNode,
    QuotaPair,
    QuotaVictim,
    QuotaWorkload,
)
from sim.schema import Field, Table, Words, World

Vector = dict[str, Any]

POLICY = {"Never": 0, "LowerPriority": 1, "LowerOrNewerEqualPriority": 2, "Any": 3}
STRATEGY = {
    ("LessThanOrEqualToFinalShare", "LessThanInitialShare"): 0,
    ("LessThanOrEqualToFinalShare",): 1,
    ("LessThanInitialShare",): 2,
}
PS_PER_S = 10**12
EPOCH_S = 10**5  # before anything that happens


class QuotaParams(World):
    """The tables that a run does not change."""

    n_quota_node = Field("nodes")
    n_quota_pair = Field("pairs")
    n_quota_workload = Field("places for workloads")
    n_resource = Field("resources")
    quota_node = Table(QuotaNode, "nodes")
    quota = Table(Quota, "(node, pair)")
    quota_pair = Table(QuotaPair, "pairs")
    queue_flavor = Table(QueueFlavor, "flavours of queues")
    resource_group = Words("(node, resource)")
    pair_of = Words("(flavor, resource)")


class QuotaState(World):
    """The tables that a run changes."""

    preemption = Table(Preemption, "one")
    quota_used = Words("(node, pair)")
    quota_workload = Table(QuotaWorkload, "workloads")
    workload_usage = Words("(workload, pair)")
    asked = Words("(pair,)")
    contested = Words("(pair,)")
    left = Words("(pair,)")
    advantage = Words("(node,)")
    pruned = Words("(node,)")
    candidate = Table(Candidate, "(workload,)")
    quota_victim = Table(QuotaVictim, "(workload,)")
    quota_answer = Table(OracleAnswer, "(pair,)")
    group_asked = Words("(group, resource)")
    group_flavors = Words("(group,)")
    got_flavor = Words("(group, resource)")
    got_mode = Words("(group, resource)")
    got_level = Words("(group, resource)")
    found = Words("(resource,)")
    assumed = Words("(pair,)")


def world(kind: type[World], header: dict[str, int], sizes: dict[str, int]) -> Any:
    """A world with so many rows, or words, of each table, blank."""
    parts, at, starts = [], kind.SIZE, {}
    for name in kind.fixed():
        row, n = kind.TABLES[name].row, sizes[name] + 1
        starts[name] = at
        parts.append(np.tile(row.blank(), n) if row else np.zeros(n, np.int64))
        at += len(parts[-1])
    made = kind(np.concatenate([np.zeros(kind.SIZE, np.int64), *parts]))
    for name, start in starts.items():
        made.m[kind.TABLES[name].start] = start
    for name, value in header.items():
        setattr(made, name, value)
    return made


class Fleet:
    """What a vector tells, as tables; names become numbers in alphabetical order."""

    def __init__(self, law: Any, inputs: Vector) -> None:
        self.law = law
        queues, cohorts = inputs["cluster_queues"], inputs.get("cohorts") or []
        named = {c["name"] for c in cohorts} | {c["parent"] for c in cohorts} | {q["cohort"] for q in queues}
        self.queues = [q["name"] for q in queues]
        self.cohorts = sorted(named - {None})
        nodes = [("cohort", name) for name in self.cohorts] + [("queue", name) for name in self.queues]
        self.node = {key: i for i, key in enumerate(nodes)}
        self.workloads = sorted(inputs.get("admitted", []), key=lambda one: one["name"])
        offers = [f for q in queues for g in q["resource_groups"] for f in g] + [
            f for c in cohorts for f in c["quotas"]
        ]
        pairs = {(f["flavor"], r) for f in offers for r in f["quotas"]}
        pairs |= {(u["flavor"], u["resource"]) for w in self.workloads for u in w["usage"]}
        incoming = inputs.get("incoming", {})
        pairs |= {(a["flavor"], a["resource"]) for a in incoming.get("flavor_assignment", [])}
        podsets = inputs.get("podsets", []) + incoming.get("podsets", [])
        resources = {r for _, r in pairs} | {r for p in podsets for r in p["requests"]}
        if any("pods" in f["quotas"] for f in offers):
            resources.add("pods")
        self.resources = sorted(resources)
        self.flavors = sorted({f["flavor"] for f in offers} | {f for f, _ in pairs})
        self.pairs = sorted(pairs)
        self.params = self.make_params(queues, cohorts)
        self.state = self.make_state(inputs)

    def pair(self, flavor: str, resource: str) -> int:
        return self.pairs.index((flavor, resource))

    # ---- params ----------------------------------------------------------------------
    def make_params(self, queues: list[Vector], cohorts: list[Vector]) -> Any:
        offered = [f for q in queues for g in q["resource_groups"] for f in g]
        n_node, n_resource = len(self.node), len(self.resources)
        params = world(
            QuotaParams,
            {
                "n_quota_node": n_node,
                "n_quota_pair": len(self.pairs),
                "n_quota_workload": len(self.workloads),
                "n_resource": n_resource,
            },
            {
                "quota_node": n_node,
                "quota": n_node * len(self.pairs),
                "quota_pair": len(self.pairs),
                "queue_flavor": len(offered),
                "resource_group": n_node * n_resource,
                "pair_of": len(self.flavors) * n_resource,
            },
        )
        params.resource_group[: n_node * n_resource] = -1
        params.pair_of[: len(self.flavors) * n_resource] = -1
        for i, (flavor, resource) in enumerate(self.pairs):
            place, kind = self.resources.index(resource), self.flavors.index(flavor)
            params.quota_pair[i].flavor, params.quota_pair[i].resource = kind, place
            params.pair_of[kind * n_resource + place] = i
        n_flavor = 0
        for queue in queues:
            self.add_queue(params, queue, n_flavor)
            n_flavor += sum(len(g) for g in queue["resource_groups"])
        for cohort in cohorts:
            number = self.node["cohort", cohort["name"]]
            row = params.quota_node[number]
            row.weight_micro = round(cohort["fair_weight"] * 10**6)
            row.parent = self.node.get(("cohort", cohort["parent"]), -1)
            self.add_quotas(params, number, cohort["quotas"])
        self.law.sum_up_quotas(params)
        return params

    def add_queue(self, params: Any, queue: Vector, first_flavor: int) -> None:
        number = self.node["queue", queue["name"]]
        row, rules = params.quota_node[number], queue["preemption"]
        row.is_queue, row.first_flavor = 1, first_flavor
        row.parent = self.node.get(("cohort", queue["cohort"]), -1)
        row.weight_micro = round(queue["fair_weight"] * 10**6)
        row.within = POLICY[rules["within_cluster_queue"]]
        row.reclaim = POLICY[rules["reclaim_within_cohort"]]
        below = rules["borrow_within_cohort"]
        if below is not None and below["policy"] != "Never":
            row.may_borrow = 1
            threshold = below["max_priority_threshold"]
            row.threshold = NO_THRESHOLD if threshold is None else threshold
        fungible = queue["flavor_fungibility"]
        row.borrow_next = int(fungible["when_can_borrow"] == "TryNextFlavor")
        row.preempt_stops = int(fungible["when_can_preempt"] == "MayStopSearch")
        for place, group in enumerate(queue["resource_groups"]):
            for offer in group:
                line = params.queue_flavor[first_flavor + row.n_flavor]
                line.flavor, line.group = self.flavors.index(offer["flavor"]), place
                row.n_flavor += 1
                for resource in offer["quotas"]:
                    at = number * len(self.resources) + self.resources.index(resource)
                    params.resource_group[at] = place
            self.add_quotas(params, number, group)

    def add_quotas(self, params: Any, node: int, offers: list[Vector]) -> None:
        for offer in offers:
            for resource, about in offer["quotas"].items():
                row = params.quota[node * len(self.pairs) + self.pair(offer["flavor"], resource)]
                row.nominal, row.is_known = about["nominal"], 1
                for field, key in (("borrow_max", "borrowing_limit"), ("lend_max", "lending_limit")):
                    setattr(row, field, NO_LIMIT if about[key] is None else about[key])

    # ---- state ----------------------------------------------------------------------
    def make_state(self, inputs: Vector) -> Any:
        n_pair, n_node, n_workload = len(self.pairs), len(self.node), len(self.workloads)
        n_group = len(inputs.get("podsets", []))
        by_group = {name: n_group * len(self.resources) for name in ("group_asked", "got_flavor", "got_mode")}
        state = world(
            QuotaState,
            {},
            {
                "preemption": 1,
                "quota_used": n_node * n_pair,
                "workload_usage": n_workload * n_pair,
                **dict.fromkeys(("asked", "contested", "left", "quota_answer", "assumed"), n_pair),
                **dict.fromkeys(("advantage", "pruned"), n_node),
                **dict.fromkeys(("quota_workload", "candidate", "quota_victim"), n_workload),
                **by_group,
                "got_level": n_group * len(self.resources),
                "group_flavors": n_group,
                "found": len(self.resources),
            },
        )
        for w, about in enumerate(self.workloads):
            row = state.quota_workload[w]
            row.queue, row.priority = self.node["queue", about["cluster_queue"]], about["priority"]
            row.reserved_ps = self.time_ps(about["quota_reserved_s"])
            row.created_ps = self.time_ps(about.get("created_s"))
            row.is_evicted = int(bool(about.get("evicted")))
            for part in about["usage"]:
                at = w * n_pair + self.pair(part["flavor"], part["resource"])
                state.workload_usage[at] += part["amount"]
            self.law.admit_usage(self.params, state, w)
        for name, parts in inputs.get("usage", {}).items():
            for part in parts:
                pair = self.pair(part["flavor"], part["resource"])
                self.law.add_usage(self.params, state, self.node["queue", name], pair, part["amount"])
        return state

    @staticmethod
    def time_ps(seconds: float | None) -> int:
        return round((EPOCH_S + (seconds or 0)) * PS_PER_S)

    # ---- what a vector asks ----------------------------------------------------------------------
    def victims(self, incoming: Vector, strategies: list[str] | None) -> list[tuple[str, str]]:
        """(name, reason) of the workloads that have to go."""
        state, wanting = self.state, self.state.preemption[0]
        wanting.queue, wanting.priority = self.node["queue", incoming["cluster_queue"]], incoming["priority"]
        wanting.created_ps = self.time_ps(incoming.get("created_s"))
        wanting.is_fair = int(strategies is not None)
        wanting.strategies = STRATEGY[tuple(strategies)] if strategies else 0
        counts = {part["name"]: part for part in incoming["podsets"]}
        for line in incoming["flavor_assignment"]:
            pair, part = self.pair(line["flavor"], line["resource"]), counts[line["podset"]]
            state.asked[pair] += part["count"] * part["requests"].get(line["resource"], 0)
            state.contested[pair] = max(state.contested[pair], int(line["mode"] == "Preempt"))
        before = state.quota_used[: len(self.node) * len(self.pairs)].copy()
        n = self.law.find_victims(self.params, state)
        assert np.array_equal(before, state.quota_used[: len(before)]), "usage is left as it was"
        reasons = (
            "InClusterQueue",
            "InCohortReclamation",
            "InCohortReclaimWhileBorrowing",
            "InCohortFairSharing",
        )
        found = [state.quota_victim[i] for i in range(n)]
        return sorted((self.workloads[v.workload]["name"], reasons[v.reason]) for v in found)
