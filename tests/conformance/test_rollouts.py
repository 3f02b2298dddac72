"""Argo Rollouts against upstream's tests: weights to replicas, blue-green decisions; what must hold in any canary."""

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
from conformance.test_deployment import column, limits_of, resolve_fenceposts, sets_of
from sim.model.tables.rollout import NONE, UNREADABLE, BlueGreen, Canary, CanaryStep, ReplicaSet

FILE = "argo_rollouts.json"
PS_PER_S = 10**12
NOW_PS = 1000 * PS_PER_S

Vector = dict[str, Any]
Law = SimpleNamespace


def or_none(value: int | None) -> int:
    return NONE if value is None else value


def steps_of(steps: list[Vector]) -> Any:
    words = np.concatenate([CanaryStep.blank() for _ in range(max(1, len(steps)))])
    for i, step in enumerate(steps):
        row, scale = CanaryStep(words, i * CanaryStep.SIZE), step.get("set_canary_scale") or {}
        row.weight = or_none(step.get("set_weight"))
        row.scale_replicas, row.scale_weight = (or_none(scale.get(key)) for key in ("replicas", "weight"))
        row.match_weight = int(bool(scale.get("match_traffic_weight")))
    return CanaryStep(words, 0)


def canary_of(law: Law, inputs: Vector) -> tuple[Any, Any]:
    """The rollout of a vector's inputs, and its steps."""
    steps = inputs.get("steps") or [{"set_weight": weight} for weight in inputs.get("steps_set_weight", [])]
    if "set_weight" in inputs:
        steps = [{"set_weight": inputs["set_weight"]}]
        if inputs.get("set_canary_scale"):
            steps.append({"set_canary_scale": inputs["set_canary_scale"]})
    replicas = inputs.get("replicas", 1)
    limits = limits_of(inputs)
    canary = new(
        Canary,
        replicas=replicas,
        max_weight=inputs.get("max_weight", 100),
        surge=law.max_surge(law.CANARY, limits, replicas),
        unavailable=law.max_unavailable(law.CANARY, limits, replicas),
        traffic_routing=int(inputs.get("traffic_routing", "dynamic_stable_scale" in inputs)),
        dynamic_stable=int(inputs.get("dynamic_stable_scale", False)),
        min_pods=inputs.get("min_pods_per_replica_set") or 0,
        abort_delay=or_none(inputs.get("abort_scale_down_delay_s")),
        n_step=len(steps),
        step=inputs.get("current_step", max(0, len(steps) - 1) if "set_weight" in inputs else 0),
        is_aborted=int(inputs.get("abort", False)),
        is_full=int(inputs.get("promote_full", False)),
    )
    for name in ("canary", "stable"):
        if inputs.get(name):
            setattr(canary, f"has_{name}", 1)
            setattr(canary, name, inputs[name]["replicas"])
            setattr(canary, f"{name}_available", inputs[name]["available"])
    if inputs.get("stable"):
        canary.stable_created = inputs["stable"].get("status_replicas", inputs["stable"]["replicas"])
    older = inputs.get("older") or {}
    canary.older, canary.older_available = older.get("replicas", 0), older.get("available", 0)
    traffic = inputs.get("actual_weights") or {}
    canary.canary_traffic, canary.stable_traffic = (or_none(traffic.get(key)) for key in ("canary", "stable"))
    return canary, steps_of(steps)


def counts(canary: Any) -> Vector:
    return {"canary": int(canary.wanted_canary), "stable": int(canary.wanted_stable)}


# ---- canaries ----------------------------------------------------------------------
def canary_counts(law: Law, inputs: Vector) -> Vector:
    canary, steps = canary_of(law, inputs)
    law.canary_counts(canary, steps)
    return counts(canary)


def weight_to_counts(law: Law, inputs: Vector) -> Vector:
    canary = new(Canary)
    keys = ("replicas", "weight", "max_weight", "max_surge")
    law.weight_to_counts(*(inputs[key] for key in keys), canary)
    return counts(canary)


def traffic_weight_to_replicas(law: Law, inputs: Vector) -> Vector:
    asked = inputs["replicas"], inputs["weight"], inputs["max_weight"]
    return {"replicas": law.weight_to_replicas(*asked)}


def current_set_weight(law: Law, inputs: Vector) -> Vector:
    return {"weight": law.set_weight(*canary_of(law, inputs))}


def canary_replicas_or_weight(law: Law, inputs: Vector) -> Vector:
    canary, steps = canary_of(law, inputs)
    replicas = law.canary_replicas(canary, steps)
    return {
        "replicas": None if replicas == NONE else replicas,
        "weight": law.canary_weight(canary, steps),
    }


def at_desired_counts(law: Law, inputs: Vector) -> Vector:
    return {"at_desired": law.at_desired_counts(*canary_of(law, inputs))}


def threshold(law: Law, inputs: Vector) -> tuple[int, int]:
    kinds = {"Pod": "Pods"}
    kind = inputs["threshold_type"] or ""
    return law.THRESHOLDS.index(kinds.get(kind, kind)), or_none(inputs["threshold"])


def progress_threshold(law: Law, inputs: Vector) -> Vector:
    asked = or_none(inputs["spec_replicas"]), or_none(inputs["available"]), inputs["desired"]
    return {"met": law.threshold_met(*threshold(law, inputs), *asked)}


def canary_full_promotion(law: Law, inputs: Vector) -> Vector:
    canary = inputs["canary"]
    asked = canary["replicas"], canary["available"], inputs["replicas"]
    return {"promote": inputs["steps_done"] and law.threshold_met(*threshold(law, inputs), *asked)}


def replicas_for_scale_down(law: Law, inputs: Vector) -> Vector:
    has = inputs["spec_replicas"] is not None
    asked = int(has), inputs["spec_replicas"] or 0, inputs["available"] or 0
    return {"replicas": law.for_scale_down(*asked, inputs["ignore_availability"])}


def rollback_window(law: Law, inputs: Vector) -> Vector:
    names = inputs["revisions_oldest_first"]
    experiments = np.array([name in inputs["experiment_revisions"] for name in names], np.int64)
    target, stable = (
        NONE if inputs[key] is None else names.index(inputs[key]) for key in ("target", "stable")
    )
    return {"within": law.is_within_rollback_window(experiments, target, stable, inputs["window"] or 0)}


def max_surge(law: Law, inputs: Vector) -> Vector:
    strategy = law.BLUE_GREEN if inputs["strategy"] == "blueGreen" else law.CANARY
    return {"max_surge": law.max_surge(strategy, limits_of(inputs), inputs["replicas"])}


# ---- blue-green ----------------------------------------------------------------------
def bluegreen_new_rs_replicas(law: Law, inputs: Vector) -> Vector:
    rollout = new(
        BlueGreen,
        replicas=inputs["replicas"],
        preview_replicas=or_none(inputs["preview_replica_count"]),
        has_active=int(inputs["active_revision"] is not None),
        new_is_active=int(inputs["active_revision"] == inputs["new_revision"]),
        new_is_recorded=int(inputs["recorded_current_revision"] == inputs["new_revision"]),
        check_point=int(inputs["scale_up_preview_check_point"]),
        is_full=int(inputs["promote_full"]),
        is_paused=int(inputs["paused"]),
    )
    return {"new_rs_replicas": law.new_replicas(rollout)}


def bluegreen_promotion(law: Law, inputs: Vector) -> Vector:
    newest, active, age_s = inputs["new"], inputs["active_revision"], inputs["pause_condition_age_s"]
    rollout = new(
        BlueGreen,
        replicas=inputs["replicas"],
        preview_replicas=or_none(inputs.get("preview_replica_count")),
        auto_promotion=int(inputs["auto_promotion_enabled"] is not False),
        auto_promotion_ps=(inputs["auto_promotion_seconds"] or 0) * PS_PER_S,
        has_active=int(active is not None),
        new_is_active=int(active == newest["revision"]),
        new_is_stable=int(inputs["stable_revision"] == newest["revision"]),
        is_full=int(inputs.get("promote_full", False)),
        is_aborted=int(inputs["abort"]),
        is_paused=int(inputs["user_paused"] or inputs["pause_reason"] == "InconclusiveAnalysisRun"),
        pause_age_ps=NONE if age_s is None else age_s * PS_PER_S,
        controller_pause=int(inputs["controller_pause"]),
        check_point=int(inputs.get("scale_up_preview_check_point", False)),
        new=newest["replicas"],
        new_available=newest["available"],
    )
    action = law.PROMOTIONS[law.promotion(rollout)]
    return {
        "action": action,
        "reason": "BlueGreenPause" if action == "pause" else None,
        "active_revision": newest["revision"] if action == "promote" else active,
        "stable_revision": newest["revision"] if action == "promote" else inputs["stable_revision"],
    }


def deadline_ps(deadline_s: int | str | None) -> int:
    if deadline_s is None:
        return NONE
    return UNREADABLE if isinstance(deadline_s, str) else NOW_PS + deadline_s * PS_PER_S


def bluegreen_scale_down_old(law: Law, inputs: Vector) -> Vector:
    listed = inputs.get("old_sets_newest_first")
    olds = listed or [{"replicas": inputs["old_replicas"], "deadline_in_s": inputs["deadline_in_s"]}]
    sets = sets_of(*((old["replicas"], old["replicas"]) for old in olds))
    for i, old in enumerate(olds):
        row = ReplicaSet(sets.words, i * ReplicaSet.SIZE)
        row.deadline_ps = deadline_ps(old["deadline_in_s"])
    limit = law.ANY_REVISIONS if inputs["revision_limit"] is None else inputs["revision_limit"]
    size = inputs.get("replicas", max(old["replicas"] for old in olds))
    law.scale_down_old_sets(sets, len(olds), size, limit, 30 * PS_PER_S, NOW_PS)
    wanted = column(sets, len(olds), "wanted")
    return {
        "old_replicas": wanted[0],
        "old_replicas_newest_first": wanted,
        "deadline_set_in_s": (int(sets.deadline_ps) - NOW_PS) // PS_PER_S,
    }


def bluegreen_reconcile_new_rs(law: Law, inputs: Vector) -> Vector:
    delay_s = inputs["abort_scale_down_delay_s"]
    passed = -1 if inputs["deadline_passed"] else 1
    rollout = new(
        BlueGreen,
        replicas=inputs["replicas"],
        new=inputs["new_rs_replicas"],
        is_aborted=int(inputs["abort"]),
        abort_delay_ps=(30 if delay_s is None else delay_s) * PS_PER_S,
        new_deadline_ps=deadline_ps(passed if inputs["deadline_set"] else None),
        stable_available=inputs["stable_available"],
    )
    wanted = law.reconciled_new_replicas(rollout, NOW_PS)
    return {"scaled": wanted != inputs["new_rs_replicas"], "new_rs_replicas": wanted}


def bluegreen_reconcile_old_rs(law: Law, inputs: Vector) -> Vector:
    old = inputs["old"]
    sets = sets_of((old["replicas"], old["available"]))
    limit = law.ANY_REVISIONS if inputs["revision_limit"] is None else inputs["revision_limit"]
    scaled = law.scale_down_old_sets(sets, 1, inputs["replicas"], limit, 30 * PS_PER_S, NOW_PS)
    return {"scaled": scaled, "old_replicas": int(sets.wanted)}


def bluegreen_preview_check_point(law: Law, inputs: Vector) -> Vector:
    newest = inputs["new"]
    rollout = new(
        BlueGreen,
        replicas=inputs["replicas"],
        preview_replicas=or_none(inputs["preview_replica_count"]),
        new=newest["replicas"],
        new_available=newest["available"],
        check_point=int(inputs["check_point"]),
        new_is_active=int(inputs["active_revision"] == "new"),
    )
    return {"check_point": law.preview_check_point(rollout)}


KINDS = {
    rule.__name__: rule
    for rule in (
        canary_counts,
        weight_to_counts,
        traffic_weight_to_replicas,
        current_set_weight,
        canary_replicas_or_weight,
        at_desired_counts,
        progress_threshold,
        canary_full_promotion,
        replicas_for_scale_down,
        rollback_window,
        resolve_fenceposts,
        max_surge,
        bluegreen_new_rs_replicas,
        bluegreen_promotion,
        bluegreen_scale_down_old,
        bluegreen_reconcile_new_rs,
        bluegreen_reconcile_old_rs,
        bluegreen_preview_check_point,
    )
} | {"traffic_routed_dynamic_stable": canary_counts, "abort_weight": current_set_weight}


def test_the_vectors_are_the_recorded_ones() -> None:
    recorded = json.loads(shared_data(f"cluster/{FILE}").read_text())["vectors"]
    assert json.loads((DATA / FILE).read_text())["vectors"] == recorded


def test_every_vector_is_tried() -> None:
    assert len(list(vectors(FILE, *KINDS))) == len(json.loads((DATA / FILE).read_text())["vectors"]) == 157


@pytest.mark.parametrize("vector", [pytest.param(v, id=v["name"]) for v in vectors(FILE, *KINDS)])
def test_upstream(law: Law, vector: Vector) -> None:
    """The rule of the vector's kind decides as upstream does."""
    found = KINDS[vector["kind"]](law, vector["inputs"])
    assert {key: found[key] for key in vector["expected"]} == vector["expected"]


# ---- laws ----------------------------------------------------------------------
FIXTURE = [HealthCheck.function_scoped_fixture]


@settings(suppress_health_check=FIXTURE, deadline=None)
@given(replicas=st.integers(0, 60), weight=st.integers(0, 100), surge=st.integers(0, 2))
def test_counts_stand_for_the_weight(law: Law, replicas: int, weight: int, surge: int) -> None:
    canary = new(Canary)
    law.weight_to_counts(replicas, weight, 100, surge, canary)
    total = canary.wanted_canary + canary.wanted_stable
    assert replicas <= total <= replicas + min(surge, 1)
    if replicas > 0:
        assert abs(canary.wanted_canary * 100 - weight * total) < 100 * max(1, total) / min(2, replicas)
    if replicas + min(surge, 1) > 1 and 0 < weight < 100 and replicas > 0:
        assert min(canary.wanted_canary, canary.wanted_stable) >= 1
    if weight in (0, 100):
        assert min(canary.wanted_canary, canary.wanted_stable) == 0


@settings(suppress_health_check=FIXTURE, deadline=None, max_examples=60)
@given(
    replicas=st.integers(1, 16),
    weights=st.lists(st.integers(0, 100), min_size=1, max_size=4),
    surge=st.integers(0, 4),
    unavailable=st.integers(0, 4),
    late=st.integers(1, 3),
)
def test_a_canary_keeps_its_limits_and_gets_there(
    law: Law, replicas: int, weights: list[int], surge: int, unavailable: int, late: int
) -> None:
    """Step by step, replicas available a few syncs after they were asked for: never more than replicas + surge, never
    fewer available than replicas − unavailable, and in the end all are of the new version.
    """
    unavailable = min(unavailable, replicas) if surge or unavailable else 1
    canary = new(
        Canary,
        replicas=replicas,
        surge=surge,
        unavailable=unavailable,
        has_canary=1,
        has_stable=1,
        stable=replicas,
        stable_available=replicas,
        stable_created=replicas,
        n_step=len(weights),
    )
    steps = steps_of([{"set_weight": weight} for weight in weights])
    born: dict[str, list[int]] = {"canary": [], "stable": [-late] * replicas}
    for now in range(40 * replicas):
        law.canary_counts(canary, steps)
        for name, made in born.items():
            wanted = int(getattr(canary, f"wanted_{name}"))
            made[wanted:] = [now] * (wanted - len(made))
            setattr(canary, name, wanted)
            setattr(canary, f"{name}_available", sum(1 for at in made if at + late <= now))
        canary.stable_created = canary.stable
        assert canary.canary + canary.stable <= replicas + surge
        assert canary.canary_available + canary.stable_available >= replicas - unavailable
        for made in born.values():
            assert made == sorted(made)
        for name, made in born.items():
            setattr(canary, f"{name}_available", sum(1 for at in made if at + late <= now + 1))
        if law.at_desired_counts(canary, steps):
            if canary.step == canary.n_step:
                break
            canary.step += 1
    assert (canary.canary, canary.canary_available, canary.stable) == (replicas, replicas, 0)
