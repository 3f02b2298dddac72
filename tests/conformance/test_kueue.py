"""Kueue: preemption by priority, by place in a tree of cohorts and by fair shares; shares; assignment of flavours.

Upstream's table tests, and cases that a second implementation of the rules derived.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import shared_data

from conformance.controllers import DATA
from conformance.kueue_kit import Fleet

FILE = "kueue_preemption.json"
ALL = json.loads((DATA / FILE).read_text())["vectors"]
PREEMPTION = (
    "preemption_classical",
    "preemption_hierarchical",
    "preemption_fair",
    "derived_preemption_classical",
    "derived_preemption_fair",
)

Vector = dict[str, Any]
Law = SimpleNamespace


def cases(*kinds: str) -> pytest.MarkDecorator:
    found = [pytest.param(v, id=f"{v['kind']}: {v['name']}") for v in ALL if v["kind"] in kinds]
    assert found
    return pytest.mark.parametrize("vector", found)


def test_the_vectors_are_the_recorded_ones() -> None:
    assert json.loads(shared_data(f"cluster/{FILE}").read_text())["vectors"] == ALL
    assert len(ALL) == 155
    assert {v["kind"] for v in ALL} == {*PREEMPTION, "dominant_resource_share", "flavor_assignment"}


@cases(*PREEMPTION)
def test_victims(law: Law, vector: Vector) -> None:
    inputs = vector["inputs"]
    found = Fleet(law, inputs).victims(inputs["incoming"], inputs.get("fair_strategies"))
    assert found == sorted((one["name"], one["reason"]) for one in vector["expected"]["victims"])


@cases("dominant_resource_share")
def test_shares(law: Law, vector: Vector) -> None:
    fleet = Fleet(law, vector["inputs"])
    for expected in vector["expected"]["shares"]:
        node = fleet.node[expected["node"].removeprefix("cluster_"), expected["name"]]
        extra = vector["inputs"].get("extra_request") or ()
        places = [node * len(fleet.pairs) + fleet.pair(one["flavor"], one["resource"]) for one in extra]
        for at, one in zip(places, extra, strict=True):
            fleet.state.quota_used[at] += one["amount"]
        share = law.node_share(fleet.params, fleet.state, node)
        resource = law.dominant_resource(fleet.params, fleet.state, node)
        assert law.rounded_share(share) == expected["share"]
        assert (fleet.resources[resource] if resource >= 0 else "") == expected["dominant_resource"]
        assert law.borrows(fleet.params, fleet.state, node) == expected["borrowing"]
        for at, one in zip(places, extra, strict=True):
            fleet.state.quota_used[at] -= one["amount"]


# ---- flavours ----------------------------------------------------------------------
def tolerates(taint: Vector, tolerations: list[Vector]) -> bool:
    """Whether one of the tolerations is for a taint."""
    return any(
        (not t.get("key") or t["key"] == taint["key"])
        and (t.get("operator", "Equal") == "Exists" or t.get("value", "") == taint.get("value", ""))
        and t.get("effect", taint["effect"]) == taint["effect"]
        for t in tolerations
    )


def allowed(fleet: Fleet, parts: list[Vector], about: Vector) -> int:
    """The flavours that parts of a workload may have, a bit each."""
    bits = 0
    for i, name in enumerate(fleet.flavors):
        flavor = about.get(name)
        if flavor is None:
            continue
        taints = [t for t in flavor.get("taints", ()) if t["effect"] in ("NoSchedule", "NoExecute")]
        more = flavor.get("tolerations", [])
        if all(tolerates(t, part.get("tolerations", []) + more) for part in parts for t in taints):
            bits |= 1 << i
    return bits


def groups_of(fleet: Fleet, inputs: Vector) -> list[list[Vector]]:
    """The parts of a workload, those of a group together, with what each asks for in all."""
    gone = {one["podset"]: one["count"] for one in inputs.get("reclaimable_pods") or ()}
    found: dict[str, list[Vector]] = {}
    for i, part in enumerate(inputs["podsets"]):
        count = part["count"] - gone.get(part["name"], 0)
        asked = {resource: count * amount for resource, amount in part["requests"].items()}
        own = fleet.node["queue", inputs["cluster_queues"][0]["name"]] * len(fleet.resources)
        if (
            "pods" in fleet.resources
            and fleet.params.resource_group[own + fleet.resources.index("pods")] >= 0
        ):
            asked["pods"] = count
        found.setdefault(part.get("group") or f"#{i}", []).append({**part, "count": count, "asked": asked})
    return list(found.values())


@cases("flavor_assignment")
def test_flavors(law: Law, vector: Vector) -> None:
    inputs, expected = vector["inputs"], vector["expected"]
    fleet = Fleet(law, inputs)
    state, n = fleet.state, len(fleet.resources)
    groups = groups_of(fleet, inputs)
    for g, parts in enumerate(groups):
        state.group_flavors[g] = allowed(fleet, parts, inputs["flavors"])
        for r, resource in enumerate(fleet.resources):
            amounts = [part["asked"][resource] for part in parts if resource in part["asked"]]
            state.group_asked[g * n + r] = sum(amounts) if amounts else -1
    for one in inputs.get("preemption_oracle") or ():
        answer = state.quota_answer[fleet.pair(one["flavor"], one["resource"])]
        answer.possibility = ("NoCandidates", "Preempt", "Reclaim").index(one["possibility"])
        answer.borrowing = one["borrowing_after"]
    wanting = state.preemption[0]
    wanting.queue, wanting.is_recorded = fleet.node["queue", inputs["cluster_queues"][0]["name"]], 1
    wanting.is_fair = int(inputs["fair_sharing"])
    mode = law.assign_flavors(fleet.params, state, len(groups))
    assert law.MODES[mode] == {"NoFit": "no_fit", "Preempt": "preempt", "Fit": "fit"}[expected["mode"]]
    found = {}
    for g, parts in enumerate(groups):
        for part in parts:
            got = {
                resource: (fleet.flavors[state.got_flavor[g * n + r]], law.MODES[state.got_mode[g * n + r]])
                for r, resource in enumerate(fleet.resources)
                if resource in part["asked"] and state.got_flavor[g * n + r] >= 0
            }
            found[part["name"]] = (got, part["count"])
    for part in expected["podsets"]:
        wanted = {
            r: (f["flavor"], {"NoFit": "no_fit", "Preempt": "preempt", "Fit": "fit"}[f["mode"]])
            for r, f in (part.get("flavors") or {}).items()
        }
        assert found[part["name"]] == (wanted, part["count"])
    usage = {pair: int(state.assumed[i]) for i, pair in enumerate(fleet.pairs) if state.assumed[i]}
    assert usage == {(u["flavor"], u["resource"]): u["amount"] for u in expected["usage"] if u["amount"]}
    assert wanting.borrowing == expected["borrowing_level"]
