"""The HPA against the table tests of its own source (kubernetes/kubernetes pkg/controller/podautoscaler)."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import shared_data

from conformance.controllers import DATA, vectors, zeros

PS_PER_S = 10**12
FILE = "kubernetes_hpa.json"
SELECT = {"Max": "SELECT_MAX", "Min": "SELECT_MIN", "Disabled": "SELECT_DISABLED"}
POLICY = {"Pods": "POLICY_PODS", "Percent": "POLICY_PERCENT"}
REASON = {
    "DesiredWithinRange": "DESIRED_WITHIN_RANGE",
    "ScaleUpLimit": "SCALE_UP_LIMIT",
    "TooManyReplicas": "TOO_MANY_REPLICAS",
    "ScaleDownLimit": "SCALE_DOWN_LIMIT",
    "TooFewReplicas": "TOO_FEW_REPLICAS",
}
NOW_PS = 10_000 * PS_PER_S

Vector = dict[str, Any]
Law = SimpleNamespace


def cases(*kinds: str) -> pytest.MarkDecorator:
    found = [pytest.param(v, id=v["name"]) for v in vectors(FILE, *kinds)]
    assert found
    return pytest.mark.parametrize("vector", found)


def tolerances(inputs: Vector) -> tuple[int, int]:
    return round(inputs["tolerance"]["up"] * 1000), round(inputs["tolerance"]["down"] * 1000)


def new_par(
    law: Law, up: Vector | None = None, down: Vector | None = None, down_window_s: int = 300
) -> np.ndarray:
    """A par with the rules of a vector; a rule that is not given has no policy and no window."""
    par = zeros(law.HPA_PAR_SIZE)
    rules = (up or {}, down or {})
    window_s = [rule.get("stabilizationWindowSeconds", 0) for rule in rules]
    select = [getattr(law, SELECT[rule.get("selectPolicy", "Max")]) for rule in rules]
    down_s = down_window_s if window_s[1] is None else window_s[1]
    law.hpa_par(
        par,
        1000,
        up_window_ps=window_s[0] * PS_PER_S,
        down_window_ps=down_s * PS_PER_S,
        up_select=select[0],
        down_select=select[1],
    )
    for direction, rule in zip((law.UP, law.DOWN), rules, strict=True):
        for policy in rule.get("policies", ()):
            kind = getattr(law, POLICY[policy["type"]])
            assert law.hpa_policy(par, direction, kind, policy["value"], policy["periodSeconds"] * PS_PER_S)
    return par


def fill(law: Law, state: np.ndarray, log: int, entries: list[Vector], field: str) -> None:
    for entry in entries:
        law.log_entry(state, log, -1, NOW_PS - entry["age_s"] * PS_PER_S, entry[field])


def entries(state: np.ndarray, log: int) -> list[tuple[int, int]]:
    return [(int(state[log + 1 + 2 * i]), int(state[log + 2 + 2 * i])) for i in range(state[log])]


def test_the_vectors_are_the_recorded_ones() -> None:
    recorded = json.loads(shared_data(f"autoscalers/{FILE}").read_text())["vectors"]
    assert json.loads((DATA / FILE).read_text())["vectors"] == recorded


@cases("object_value", "external_value")
def test_value_targets(law: Law, vector: Vector) -> None:
    i, usage = vector["inputs"], 0
    for level in vector["inputs"]["levels_milli"]:
        usage = law.add_milli(usage, level)
    found = law.hpa_desired_value(
        i["currentReplicas"], usage, i["targetValue_milli"], i["readyRunningPods"], *tolerances(i)
    )
    assert (found, usage) == (vector["expected"]["desiredReplicas"], vector["expected"]["usage_milli"])


@cases("object_average_value", "external_average_value")
def test_average_value_targets(law: Law, vector: Vector) -> None:
    i, (usage,) = vector["inputs"], vector["inputs"]["levels_milli"]
    current = i["currentReplicas"]
    assert (
        law.hpa_desired(current, usage, i["targetAverageValue_milli"], *tolerances(i))
        == (vector["expected"]["desiredReplicas"])
    )
    assert law.usage_per_pod(usage, current) == vector["expected"]["usage_milli"]


@cases("pods_average_value")
def test_pods_metrics(law: Law, vector: Vector) -> None:
    i, levels = vector["inputs"], vector["inputs"]["levels_milli"]
    running = sum(pod["phase"] == "Running" for pod in i["pods"])
    found = law.hpa_desired_pods(
        i["currentReplicas"],
        sum(levels),
        i["targetAverageValue_milli"],
        len(levels),
        len(i["pods"]) - running,
        running - len(levels),
        *tolerances(i),
    )
    assert found == vector["expected"]["desiredReplicas"]
    assert sum(levels) // len(levels) == vector["expected"]["usage_milli"]


def phase_of(law: Law, pod: Vector) -> int:
    return getattr(law, f"PHASE_{pod['phase'].upper()}")


def time_ps(law: Law, seconds: float | None) -> int:
    return law.LONG_AGO_PS if seconds is None else round(seconds * PS_PER_S)


def recorded_group(law: Law, inputs: Vector, pod: Vector) -> int:
    """The group of a pod of a `pod_grouping` vector, whose clock stands at 0."""
    sample = inputs["metrics"].get(pod["name"], {})
    ready = (
        -1 if pod["ready_condition"] is None or pod["start_time_s"] is None else int(pod["ready_condition"])
    )
    return law.pod_group(
        inputs["now_s"] * PS_PER_S,
        phase_of(law, pod),
        pod["deleted"],
        pod["name"] in inputs["metrics"],
        inputs["resource"] == "cpu",
        ready,
        time_ps(law, pod["start_time_s"]),
        time_ps(law, pod["last_transition_s"]),
        time_ps(law, sample.get("timestamp_s")),
        sample.get("window_s", 0) * PS_PER_S,
        inputs["cpuInitializationPeriod_s"] * PS_PER_S,
        inputs["initialReadinessDelay_s"] * PS_PER_S,
    )


@cases("pod_grouping")
def test_pods_are_grouped(law: Law, vector: Vector) -> None:
    groups = {pod["name"]: recorded_group(law, vector["inputs"], pod) for pod in vector["inputs"]["pods"]}
    expected = vector["expected"]
    assert list(groups.values()).count(law.POD_READY) == expected["readyCount"]
    for name in ("unready", "missing", "ignored"):
        code = getattr(law, f"POD_{name.upper()}")
        assert sorted(p for p, group in groups.items() if group == code) == sorted(expected[name])


def resource_group(law: Law, inputs: Vector, pod: Vector) -> int:
    """The group of a pod of a `resource_utilization` vector: conditions and samples carry Go's zero time."""
    start_ps = law.LONG_AGO_PS if pod["age_s"] is None else NOW_PS - round(pod["age_s"] * PS_PER_S)
    return law.pod_group(
        NOW_PS,
        phase_of(law, pod),
        pod["deleted"],
        pod["name"] in inputs["pod_usage_milli"],
        True,
        int(pod["ready"]),
        start_ps,
        law.LONG_AGO_PS,
        law.LONG_AGO_PS,
        inputs["metric_window_s"] * PS_PER_S,
        inputs["cpuInitializationPeriod_s"] * PS_PER_S,
        inputs["initialReadinessDelay_s"] * PS_PER_S,
    )


@cases("resource_utilization")
def test_resource_utilisation(law: Law, vector: Vector) -> None:
    i, expected = vector["inputs"], vector["expected"]
    group = np.array([resource_group(law, i, pod) for pod in i["pods"]], np.int64)
    usage = np.array([i["pod_usage_milli"].get(pod["name"], 0) for pod in i["pods"]], np.int64)
    request = np.array(
        [-1 if pod["request_milli"] is None else pod["request_milli"] for pod in i["pods"]], np.int64
    )
    found = law.hpa_desired_resource(
        i["currentReplicas"], i["targetUtilizationPct"], group, usage, request, *tolerances(i)
    )
    if "error" in expected:
        assert found == law.NO_PROPOSAL
        return
    assert found == expected["desiredReplicas"]
    ready_usage = law.group_sum(usage, group, law.POD_READY)
    ready_request = law.group_sum(request, group, law.POD_READY)
    assert law.utilization_pct(ready_usage, ready_request) == expected["utilizationPct"]
    assert ready_usage // law.group_count(group, law.POD_READY) == expected["rawAverageMilli"]


@cases("stabilization_with_behavior")
def test_stabilisation(law: Law, vector: Vector) -> None:
    i, expected = vector["inputs"], vector["expected"]
    par, state = new_par(law), zeros(law.HPA_STATE_SIZE)
    law.hpa_par(
        par, 1, up_window_ps=i["scaleUpWindow_s"] * PS_PER_S, down_window_ps=i["scaleDownWindow_s"] * PS_PER_S
    )
    fill(law, state, law.HPA_PROPOSALS, i["recommendations"], "rec")
    found = law.stabilize(NOW_PS, i["currentReplicas"], i["desiredReplicas"], par, state)
    assert found == expected["stabilized"]
    assert [value for _, value in entries(state, law.HPA_PROPOSALS)] == expected["log_after"]


@cases("stabilization_without_behavior")
def test_stabilisation_without_behavior(law: Law, vector: Vector) -> None:
    i, expected = vector["inputs"], vector["expected"]
    par, state = zeros(law.HPA_PAR_SIZE), zeros(law.HPA_STATE_SIZE)
    law.hpa_par(par, 1, down_window_ps=i["downscaleStabilization_s"] * PS_PER_S, behavior=0)
    fill(law, state, law.HPA_PROPOSALS, i["recommendations"], "rec")
    assert law.stabilize_down(NOW_PS, i["desiredReplicas"], par, state) == expected["stabilized"]
    assert [value for _, value in entries(state, law.HPA_PROPOSALS)] == expected["log_after"]


@cases("limits_without_behavior")
def test_limits_without_behavior(law: Law, vector: Vector) -> None:
    i, state = vector["inputs"], zeros(law.HPA_STATE_SIZE)
    found = law.limit_plain(
        i["currentReplicas"], i["desiredReplicas"], i["minReplicas"], i["maxReplicas"], state
    )
    assert found == vector["expected"]["desiredReplicas"]
    assert state[law.HPA_REASON] == getattr(law, REASON[vector["expected"]["reason"]])


@cases("scale_up_limit", "scale_down_limit")
def test_limit_of_one_direction(law: Law, vector: Vector) -> None:
    i, state = vector["inputs"], zeros(law.HPA_STATE_SIZE)
    par = new_par(law, i.get("scaleUpRules"), i.get("scaleDownRules"))
    direction = law.UP if "scaleUpRules" in i else law.DOWN
    found = law.scale_limit(NOW_PS, i["currentReplicas"], direction, par, state)
    assert found == vector["expected"]["limit"]


@cases("behavior_rate_limit")
def test_rate_limits(law: Law, vector: Vector) -> None:
    i, state = vector["inputs"], zeros(law.HPA_STATE_SIZE)
    par = new_par(law, i["scaleUpRules"], i["scaleDownRules"])
    fill(law, state, law.HPA_UPS, i["scaleUpEvents"], "change")
    fill(law, state, law.HPA_DOWNS, i["scaleDownEvents"], "change")
    found = law.limit_rate(
        NOW_PS, i["currentReplicas"], i["desiredReplicas"], i["minReplicas"], i["maxReplicas"], par, state
    )
    assert found == vector["expected"]["desiredReplicas"]
    assert state[law.HPA_REASON] == getattr(law, REASON[vector["expected"]["reason"]])


@cases("scale_event_store")
@pytest.mark.parametrize("way", ["up", "down"])
def test_scale_events_are_kept(law: Law, vector: Vector, way: str) -> None:
    i, expected = vector["inputs"], vector["expected"]
    par, state = new_par(law, i["rules"], i["rules"]), zeros(law.HPA_STATE_SIZE)
    par[law.HPA_BEHAVIOR] = 0 if i["rules"] is None else 1
    log = law.HPA_UPS if way == "up" else law.HPA_DOWNS
    fill(law, state, log, i["events"], "change")
    cutoff_ps = NOW_PS - i["query_period_s"] * PS_PER_S
    assert law.changed_since(state, log, cutoff_ps) == expected["change_in_period_before_store"]
    old, new = (10, 10 + i["replicaChange"]) if way == "up" else (10 + i["replicaChange"], 10)
    law.hpa_record(NOW_PS, old, new, par, state)
    assert [change for _, change in entries(state, log)] == [e["change"] for e in expected["events_after"]]
    if i["rules"] is not None:
        longest_ps = max(p["periodSeconds"] for p in i["rules"]["policies"]) * PS_PER_S
        outdated = [time < NOW_PS - longest_ps for time, _ in entries(state, log)]
        assert outdated == [e["outdated"] for e in expected["events_after"]]


@cases("reconcile")
def test_reconcile(law: Law, vector: Vector) -> None:
    i, (metric,) = vector["inputs"], vector["inputs"]["metrics"]
    par, state = zeros(law.HPA_PAR_SIZE), zeros(law.HPA_STATE_SIZE)
    target = metric.get("targetAverageValue_milli") or metric.get("targetValue_milli") or 1
    law.hpa_par(
        par,
        target,
        law.TARGET_AVERAGE if "targetAverageValue_milli" in metric else law.TARGET_VALUE,
        down_window_ps=0,
        behavior=0,
        scale_to_zero=int(i.get("HPAScaleToZero", False)),
    )
    state[law.HPA_STARTED] = 1  # the upstream tables begin with an empty log of recommendations
    state[law.HPA_AT_ZERO] = int("ScaledToZero=True" in i.get("initialConditions", ()))
    current = i["specReplicas"]
    found = law.hpa_tick(
        NOW_PS,
        current,
        metric.get("current_milli", -1),
        current,
        0,
        0,
        i["minReplicas"],
        i["maxReplicas"],
        par,
        state,
    )
    assert found == vector["expected"]["desiredReplicas"]
    if vector["name"] == "reconcile: scale to zero on external metric":
        assert state[law.HPA_AT_ZERO] == 1
