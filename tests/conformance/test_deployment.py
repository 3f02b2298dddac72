"""Kubernetes Deployments and disruption budgets against upstream's tests; what must hold in any rolling update."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import shared_data
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance.controllers import DATA, new, vectors
from sim.model.tables.rollout import NONE, Budget, DeploymentStatus, Limits, ReplicaSet, RollingSync
from sim.scenario.amounts import amount_of

FILE = "kubernetes_deployment.json"
STRATEGIES = {"RollingUpdate": "ROLLING", "Recreate": "RECREATE"}
STATUS = ("replicas", "updated", "ready", "available")

Vector = dict[str, Any]
Law = SimpleNamespace


def limits_of(inputs: Vector) -> Any:
    surge, unavailable = (amount_of(inputs.get(key)) for key in ("max_surge", "max_unavailable"))
    return new(
        Limits,
        surge=surge.value,
        surge_percent=int(surge.is_percent),
        unavailable=unavailable.value,
        unavailable_percent=int(unavailable.is_percent),
    )


def sets_of(*pairs: tuple[int, int]) -> Any:
    """Sets side by side, of (replicas, available)."""
    words = np.concatenate([ReplicaSet.blank() for _ in range(max(1, len(pairs)))])
    for i, (replicas, available) in enumerate(pairs):
        row = ReplicaSet(words, i * ReplicaSet.SIZE)
        row.replicas, row.available = replicas, available
    return ReplicaSet(words, 0)


def column(sets: Any, n: int, name: str) -> list[int]:
    return [int(getattr(ReplicaSet(sets.words, i * ReplicaSet.SIZE), name)) for i in range(n)]


def old_sets(inputs: Vector) -> Any:
    return sets_of(*((old["replicas"], old["available"]) for old in inputs["old_rs"]))


# ---- the recorded vectors ----------------------------------------------------------------------
def resolve_fenceposts(law: Law, inputs: Vector) -> Vector:
    try:
        limits = limits_of(inputs)
    except ValueError:
        return {"error": True}
    replicas = inputs["replicas"]
    return {
        "surge": law.resolved_surge(limits, replicas),
        "unavailable": law.resolved_unavailable(limits, replicas),
    }


def max_unavailable(law: Law, inputs: Vector) -> Vector:
    strategy = getattr(law, STRATEGIES[inputs["strategy"]])
    return {"max_unavailable": law.max_unavailable(strategy, limits_of(inputs), inputs["replicas"])}


def new_rs_new_replicas(law: Law, inputs: Vector) -> Vector:
    strategy = getattr(law, STRATEGIES[inputs["strategy"]])
    asked = inputs["replicas"], inputs["new_rs_replicas"], inputs["total_replicas_all_sets"]
    return {"new_rs_replicas": law.new_set_replicas(strategy, limits_of(inputs), *asked)}


def reconcile_new_rs(law: Law, inputs: Vector) -> Vector:
    asked = inputs["replicas"], inputs["new_rs_replicas"], inputs["old_rs_replicas"]
    wanted = law.reconciled_new(limits_of(inputs), *asked)
    return {"scaled": wanted != inputs["new_rs_replicas"], "new_rs_replicas": wanted}


def reconcile_old_rs(law: Law, inputs: Vector) -> Vector:
    old, n, newest = old_sets(inputs), len(inputs["old_rs"]), inputs["new_rs"]
    asked = inputs["replicas"], old, n, newest["replicas"], newest["available"]
    taken = law.reconcile_old(limits_of(inputs), *asked)
    return {"scaled": taken > 0, "old_rs_replicas": column(old, n, "replicas")}


def cleanup_unhealthy(law: Law, inputs: Vector) -> Vector:
    return {"cleaned": law.clean_up_unhealthy(old_sets(inputs), len(inputs["old_rs"]), inputs["max_cleanup"])}


def scale_down_old_rs(law: Law, inputs: Vector) -> Vector:
    old, n = old_sets(inputs), len(inputs["old_rs"])
    taken = law.scale_down_old(limits_of(inputs), inputs["replicas"], old, n, 0)
    return {"scaled": taken > 0, "old_rs_replicas": column(old, n, "replicas")}


def deployment_complete(law: Law, inputs: Vector) -> Vector:
    status = new(DeploymentStatus, **inputs["status"])
    return {"complete": law.is_complete(inputs["replicas"], status)}


def deployment_progressing(law: Law, inputs: Vector) -> Vector:
    before, after = (new(DeploymentStatus, **inputs[key]) for key in ("before", "after"))
    return {"progressing": law.is_progressing(before, after)}


def deployment_timed_out(law: Law, inputs: Vector) -> Vector:
    deadline, reason = inputs["progress_deadline_s"], inputs["progressing_reason"]
    code = law.PROGRESSING_REASONS.index(reason) if reason in law.PROGRESSING_REASONS else law.REASON_OTHER
    since = inputs["seconds_since_last_progress"]
    return {"timed_out": law.is_timed_out(NONE if deadline is None else deadline, since, code)}


def proportional_scale(law: Law, inputs: Vector) -> Vector:
    has_new = inputs["new_rs"] is not None
    sizes = [inputs["new_rs"]] * has_new + inputs["old_rs_newest_first"]
    sets = sets_of(*((size, 0) for size in sizes))
    before = inputs["previous_replicas"] + inputs["previous_max_surge"]
    law.proportional_scale(limits_of(inputs), inputs["replicas"], before, sets, len(sizes))
    wanted = column(sets, len(sizes), "wanted")
    return {"new_rs": wanted[0] if has_new else None, "old_rs_newest_first": wanted[has_new:]}


def rolling_update_run(law: Law, inputs: Vector) -> Vector:
    steps, lag = [], inputs["ready_after_syncs"]
    old, sync = sets_of((inputs["replicas"], inputs["replicas"])), new(RollingSync)
    born: list[int] = []  # the sync that made each replica of the new set
    for number in range(1000):
        sync.new_available = sum(1 for made in born if number >= made + lag)
        action = law.rolling_sync(limits_of(inputs), inputs["replicas"], old, 1, sync)
        born = [*born, *[number] * (int(sync.new) - len(born))]
        old.available = min(old.available, old.replicas)
        step = {"action": law.ACTIONS[action], "old": int(old.replicas), "new": int(sync.new)}
        steps.append({**step, "new_available": int(sync.new_available), "old_available": int(old.available)})
        if sync.new_available == inputs["replicas"] and old.replicas == 0 and action == law.ACTION_NONE:
            break
    return {
        "steps": steps,
        "min_available": min(step["old_available"] + step["new_available"] for step in steps),
        "max_pods": max(step["old"] + step["new"] for step in steps),
    }


def pdb_status(law: Law, inputs: Vector) -> Vector:
    is_max = inputs["max_unavailable"] is not None
    bound = amount_of(inputs["max_unavailable"] if is_max else inputs["min_available"])
    budget = new(Budget, bound=bound.value, is_percent=int(bound.is_percent), is_max=int(is_max))
    law.budget_status(
        budget, inputs["matching_pods"], inputs["healthy_pods"], inputs["controller_scale"] or 0
    )
    return {
        "disruptions_allowed": budget.allowed,
        "current_healthy": budget.healthy,
        "desired_healthy": budget.desired,
        "expected_pods": budget.expected,
    }


def eviction_decision(law: Law, inputs: Vector) -> Vector:
    budget = new(
        Budget,
        allowed=inputs["disruptions_allowed"],
        healthy=inputs["current_healthy"],
        desired=inputs["desired_healthy"],
    )
    phase = law.POD_PHASES.index(inputs["pod_phase"])
    flags = (int(bool(inputs[key])) for key in ("pod_terminating", "pod_ready", "budget_matches"))
    return {"evicted": law.may_evict(phase, *flags, budget)}


KINDS = {
    rule.__name__: rule
    for rule in (
        resolve_fenceposts,
        max_unavailable,
        new_rs_new_replicas,
        reconcile_new_rs,
        reconcile_old_rs,
        cleanup_unhealthy,
        scale_down_old_rs,
        deployment_complete,
        deployment_progressing,
        deployment_timed_out,
        proportional_scale,
        rolling_update_run,
        pdb_status,
        eviction_decision,
    )
}


def test_the_vectors_are_the_recorded_ones() -> None:
    recorded = json.loads(shared_data(f"cluster/{FILE}").read_text())["vectors"]
    assert json.loads((DATA / FILE).read_text())["vectors"] == recorded


def test_every_vector_is_tried() -> None:
    assert len(list(vectors(FILE, *KINDS))) == len(json.loads((DATA / FILE).read_text())["vectors"]) == 135


@pytest.mark.parametrize("vector", [pytest.param(v, id=v["name"]) for v in vectors(FILE, *KINDS)])
def test_upstream(law: Law, vector: Vector) -> None:
    """The rule of the vector's kind decides as upstream does; a budget's vector may expect a part of the status."""
    found = KINDS[vector["kind"]](law, vector["inputs"])
    assert {key: found[key] for key in vector["expected"]} == vector["expected"]


# ---- laws ----------------------------------------------------------------------
AMOUNTS = st.integers(0, 12) | st.integers(0, 100).map(lambda n: f"{n}%")
FIXTURE = [HealthCheck.function_scoped_fixture]


@settings(suppress_health_check=FIXTURE, deadline=None, max_examples=60)
@given(
    replicas=st.integers(1, 24),
    surge=AMOUNTS,
    unavailable=AMOUNTS,
    lag=st.integers(1, 5),
)
def test_a_rolling_update_keeps_its_limits_and_ends(
    law: Law, replicas: int, surge: int | str, unavailable: int | str, lag: int
) -> None:
    asked = {"replicas": replicas, "max_surge": surge, "max_unavailable": unavailable}
    limits = limits_of(asked)
    run = rolling_update_run(law, {**asked, "ready_after_syncs": lag})
    assert run["max_pods"] <= replicas + law.max_surge(law.ROLLING, limits, replicas)
    assert run["min_available"] >= replicas - law.max_unavailable(law.ROLLING, limits, replicas)
    last = run["steps"][-1]
    assert (last["old"], last["new_available"], last["action"]) == (0, replicas, "none")


@settings(suppress_health_check=FIXTURE, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 30), min_size=2, max_size=6),
    surge=st.integers(0, 4),
    before=st.integers(0, 4),
    size=st.integers(0, 40),
)
def test_a_change_of_size_is_shared_out_without_a_rest(
    law: Law, sizes: list[int], surge: int, before: int, size: int
) -> None:
    sets = sets_of(*((n, 0) for n in sizes))
    limits = new(Limits, surge=surge, unavailable=1)
    law.proportional_scale(limits, size, sum(sizes) + before, sets, len(sizes))
    wanted = column(sets, len(sizes), "wanted")
    active = [n for n in sizes if n > 0]
    allowed = size + surge if size > 0 and len(active) > 1 else size
    assert min(wanted) >= 0
    assert sum(wanted) == allowed
    if len(active) > 1:
        assert all(after == 0 for n, after in zip(sizes, wanted, strict=True) if n == 0)


@settings(suppress_health_check=FIXTURE, deadline=None)
@given(
    bound=AMOUNTS,
    is_max=st.booleans(),
    scale=st.integers(0, 40),
    healthy=st.integers(0, 40),
)
def test_a_budget_is_kept_by_as_many_evictions_as_it_allows(
    law: Law, bound: int | str, is_max: bool, scale: int, healthy: int
) -> None:
    amount = amount_of(bound)
    budget = new(Budget, bound=amount.value, is_percent=int(amount.is_percent), is_max=int(is_max))
    law.budget_status(budget, max(scale, healthy), healthy, scale)
    allowed = int(budget.allowed)
    assert allowed == 0 or healthy - allowed == budget.desired
    for gone in range(allowed + 1):
        law.budget_status(budget, max(scale, healthy), healthy - gone, scale)
        assert budget.allowed == allowed - gone
        assert law.may_evict(law.POD_RUNNING, 0, 1, 1, budget) == (gone < allowed)
