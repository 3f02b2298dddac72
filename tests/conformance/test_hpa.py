"""The HPA against the table tests of its own source (kubernetes/kubernetes pkg/controller/podautoscaler)."""

from __future__ import annotations

import json
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import shared_data

from conformance.controllers import DATA, new, seen, vectors
from sim.scenario.metrics import SIGNALS_MAX

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


def target(law: Law, milli: int, inputs: Vector) -> Any:
    """A target with the tolerances of a vector."""
    up, down = (round(inputs["tolerance"][way] * 1000) for way in ("up", "down"))
    return new(law.HpaTarget, milli=milli, tolerance_up_milli=up, tolerance_down_milli=down)


def new_settings(law: Law, up: Vector | None = None, down: Vector | None = None, **fields: int) -> Any:
    """Settings with the rules of a vector; a rule that is not given has no policy and no window."""
    settings = new(law.HpaSettings, **fields)
    for direction, given in ((law.UP, up or {}), (law.DOWN, down or {})):
        rule = law.hpa_rule(settings, direction)
        window_s = given.get("stabilizationWindowSeconds", 0)
        rule.window_ps = (300 if window_s is None else window_s) * PS_PER_S
        rule.select = getattr(law, SELECT[given.get("selectPolicy", "Max")])
        for policy in given.get("policies", ()):
            kind = getattr(law, POLICY[policy["type"]])
            assert law.hpa_policy(rule, kind, policy["value"], policy["periodSeconds"] * PS_PER_S)
    return settings


def logs(law: Law, memory: Any) -> tuple[Any, Any, Any]:
    """Its logs: proposals, replicas added, replicas removed."""
    return tuple(law.HpaLog(log, 0) for log in (memory.proposals, memory.ups, memory.downs))


def fill(law: Law, log: Any, entries: list[Vector], field: str) -> None:
    for entry in entries:
        law.log_entry(log, -1, NOW_PS - entry["age_s"] * PS_PER_S, entry[field])


def entries(log: Any) -> list[tuple[int, int]]:
    return [(int(log.time_ps[i]), int(log.value[i])) for i in range(log.n)]


def test_the_vectors_are_the_recorded_ones() -> None:
    recorded = json.loads(shared_data(f"autoscalers/{FILE}").read_text())["vectors"]
    assert json.loads((DATA / FILE).read_text())["vectors"] == recorded


@cases("object_value", "external_value")
def test_value_targets(law: Law, vector: Vector) -> None:
    i, usage = vector["inputs"], 0
    for level in vector["inputs"]["levels_milli"]:
        usage = law.add_milli(usage, level)
    found = law.hpa_desired_value(
        i["currentReplicas"], usage, i["readyRunningPods"], target(law, i["targetValue_milli"], i)
    )
    assert (found, usage) == (vector["expected"]["desiredReplicas"], vector["expected"]["usage_milli"])


@cases("object_average_value", "external_average_value")
def test_average_value_targets(law: Law, vector: Vector) -> None:
    i, (usage,) = vector["inputs"], vector["inputs"]["levels_milli"]
    current = i["currentReplicas"]
    assert (
        law.hpa_desired(current, usage, target(law, i["targetAverageValue_milli"], i))
        == (vector["expected"]["desiredReplicas"])
    )
    assert law.usage_per_pod(usage, current) == vector["expected"]["usage_milli"]


@cases("pods_average_value")
def test_pods_metrics(law: Law, vector: Vector) -> None:
    i, levels = vector["inputs"], vector["inputs"]["levels_milli"]
    running = sum(pod["phase"] == "Running" for pod in i["pods"])
    pods = seen(n_reporting=len(levels), n_pending=len(i["pods"]) - running, n_missing=running - len(levels))
    held = target(law, i["targetAverageValue_milli"], i)
    found = law.hpa_desired_pods(i["currentReplicas"], sum(levels), pods, held)
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
    row = new(
        law.Pod,
        phase=phase_of(law, pod),
        is_deleted=pod["deleted"],
        has_sample=pod["name"] in inputs["metrics"],
        ready=ready,
        start_ps=time_ps(law, pod["start_time_s"]),
        transition_ps=time_ps(law, pod["last_transition_s"]),
        sample_ps=time_ps(law, sample.get("timestamp_s")),
        window_ps=sample.get("window_s", 0) * PS_PER_S,
    )
    return law.pod_group(inputs["now_s"] * PS_PER_S, row, pod_rules(law, inputs, inputs["resource"] == "cpu"))


def pod_rules(law: Law, inputs: Vector, is_cpu: bool) -> Any:
    return new(
        law.PodRules,
        is_cpu=is_cpu,
        initialization_ps=inputs["cpuInitializationPeriod_s"] * PS_PER_S,
        readiness_delay_ps=inputs["initialReadinessDelay_s"] * PS_PER_S,
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
    row = new(
        law.Pod,
        phase=phase_of(law, pod),
        is_deleted=pod["deleted"],
        has_sample=pod["name"] in inputs["pod_usage_milli"],
        ready=int(pod["ready"]),
        start_ps=start_ps,
        transition_ps=law.LONG_AGO_PS,
        sample_ps=law.LONG_AGO_PS,
        window_ps=inputs["metric_window_s"] * PS_PER_S,
    )
    return law.pod_group(NOW_PS, row, pod_rules(law, inputs, True))


@cases("resource_utilization")
def test_resource_utilisation(law: Law, vector: Vector) -> None:
    i, expected = vector["inputs"], vector["expected"]
    group = np.array([resource_group(law, i, pod) for pod in i["pods"]], np.int64)
    usage = np.array([i["pod_usage_milli"].get(pod["name"], 0) for pod in i["pods"]], np.int64)
    request = np.array(
        [-1 if pod["request_milli"] is None else pod["request_milli"] for pod in i["pods"]], np.int64
    )
    held = target(law, i["targetUtilizationPct"], i)
    found = law.hpa_desired_resource(i["currentReplicas"], held, group, usage, request)
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
    windows = [{"stabilizationWindowSeconds": i[f"{way}Window_s"]} for way in ("scaleUp", "scaleDown")]
    settings, memory = new_settings(law, *windows), new(law.HpaMemory)
    proposals, _, _ = logs(law, memory)
    fill(law, proposals, i["recommendations"], "rec")
    found = law.stabilize(NOW_PS, i["currentReplicas"], i["desiredReplicas"], settings, memory)
    assert found == expected["stabilized"]
    assert [value for _, value in entries(proposals)] == expected["log_after"]


@cases("stabilization_without_behavior")
def test_stabilisation_without_behavior(law: Law, vector: Vector) -> None:
    i, expected = vector["inputs"], vector["expected"]
    down = {"stabilizationWindowSeconds": i["downscaleStabilization_s"]}
    settings, memory = new_settings(law, None, down, behavior=0), new(law.HpaMemory)
    proposals, _, _ = logs(law, memory)
    fill(law, proposals, i["recommendations"], "rec")
    assert law.stabilize_down(NOW_PS, i["desiredReplicas"], settings, memory) == expected["stabilized"]
    assert [value for _, value in entries(proposals)] == expected["log_after"]


def bounds(inputs: Vector) -> dict[str, int]:
    return {"min_replicas": inputs["minReplicas"], "max_replicas": inputs["maxReplicas"]}


@cases("limits_without_behavior")
def test_limits_without_behavior(law: Law, vector: Vector) -> None:
    i, memory = vector["inputs"], new(law.HpaMemory)
    settings = new(law.HpaSettings, **bounds(i))
    found = law.limit_plain(i["currentReplicas"], i["desiredReplicas"], settings, memory)
    assert found == vector["expected"]["desiredReplicas"]
    assert memory.reason == getattr(law, REASON[vector["expected"]["reason"]])


@cases("scale_up_limit", "scale_down_limit")
def test_limit_of_one_direction(law: Law, vector: Vector) -> None:
    i, memory = vector["inputs"], new(law.HpaMemory)
    settings = new_settings(law, i.get("scaleUpRules"), i.get("scaleDownRules"))
    direction = law.UP if "scaleUpRules" in i else law.DOWN
    rule = law.hpa_rule(settings, direction)
    found = law.scale_limit(NOW_PS, i["currentReplicas"], direction, rule, memory)
    assert found == vector["expected"]["limit"]


@cases("behavior_rate_limit")
def test_rate_limits(law: Law, vector: Vector) -> None:
    i, memory = vector["inputs"], new(law.HpaMemory)
    settings = new_settings(law, i["scaleUpRules"], i["scaleDownRules"], **bounds(i))
    _, ups, downs = logs(law, memory)
    fill(law, ups, i["scaleUpEvents"], "change")
    fill(law, downs, i["scaleDownEvents"], "change")
    found = law.limit_rate(NOW_PS, i["currentReplicas"], i["desiredReplicas"], settings, memory)
    assert found == vector["expected"]["desiredReplicas"]
    assert memory.reason == getattr(law, REASON[vector["expected"]["reason"]])


@cases("scale_event_store")
@pytest.mark.parametrize("way", ["up", "down"])
def test_scale_events_are_kept(law: Law, vector: Vector, way: str) -> None:
    i, expected = vector["inputs"], vector["expected"]
    settings, memory = new_settings(law, i["rules"], i["rules"]), new(law.HpaMemory)
    settings.behavior = 0 if i["rules"] is None else 1
    _, ups, downs = logs(law, memory)
    log = ups if way == "up" else downs
    fill(law, log, i["events"], "change")
    cutoff_ps = NOW_PS - i["query_period_s"] * PS_PER_S
    assert law.changed_since(log, cutoff_ps) == expected["change_in_period_before_store"]
    old, new_count = (10, 10 + i["replicaChange"]) if way == "up" else (10 + i["replicaChange"], 10)
    law.hpa_record(NOW_PS, old, new_count, settings, memory)
    assert [change for _, change in entries(log)] == [e["change"] for e in expected["events_after"]]
    if i["rules"] is not None:
        longest_ps = max(p["periodSeconds"] for p in i["rules"]["policies"]) * PS_PER_S
        outdated = [time < NOW_PS - longest_ps for time, _ in entries(log)]
        assert outdated == [e["outdated"] for e in expected["events_after"]]


@cases("reconcile")
def test_reconcile(law: Law, vector: Vector) -> None:
    i, (metric,) = vector["inputs"], vector["inputs"]["metrics"]
    current = i["specReplicas"]
    scale_to_zero = int(i.get("HPAScaleToZero", False))
    settings = new(law.HpaSettings, behavior=0, scale_to_zero=scale_to_zero, **bounds(i))
    law.hpa_target(
        settings,
        metric.get("targetAverageValue_milli") or metric.get("targetValue_milli") or 1,
        kind=law.TARGET_AVERAGE if "targetAverageValue_milli" in metric else law.TARGET_VALUE,
    )
    memory = new(law.HpaMemory)
    memory.is_started = 1  # the upstream tables begin with an empty log of recommendations
    memory.is_at_zero = int("ScaledToZero=True" in i.get("initialConditions", ()))
    looked = seen(metric.get("current_milli", -1), n_reporting=current)
    found = law.hpa_tick(NOW_PS, current, settings, memory, looked)
    assert found == vector["expected"]["desiredReplicas"]
    if vector["name"] == "reconcile: scale to zero on external metric":
        assert memory.is_at_zero == 1


# ---- several metrics: computeReplicasForMetrics ----------------------------------------------------------------------
def in_python(current: int, targets: list[tuple[int, int]], tolerance: Fraction) -> int:
    """What the Kubernetes documentation says of several metrics with average values, in exact arithmetic: each proposes,
    the largest counts; where one cannot be read (negative) nothing is scaled down, and without any nothing changes.
    """
    proposals = []
    for usage, each in targets:
        if usage >= 0:
            is_near = abs(Fraction(usage, each * current) - 1) <= tolerance
            proposals.append(current if is_near else -(-usage // each))
    is_down = bool(proposals) and max(proposals) < current
    if not proposals or (is_down and len(proposals) < len(targets)):
        return current
    return max(proposals)


@pytest.mark.parametrize("seed", range(40))
def test_of_several_metrics_the_largest_proposal_counts(law: Law, seed: int) -> None:
    rng = np.random.default_rng(seed)
    current, n = int(rng.integers(1, 40)), int(rng.integers(1, law.TARGET_CAP + 1))
    each = rng.integers(1, 50, size=n).tolist()
    usage = [int(rng.integers(-1, 2 * current * e)) if rng.integers(5) else -1 for e in each]
    settings = new_settings(law, max_replicas=10_000, min_replicas=0)
    for e in each:
        assert law.hpa_target(settings, e)
    memory = new(law.HpaMemory, is_started=1)
    found = law.hpa_tick(NOW_PS, current, settings, memory, seen(*usage))
    assert found == in_python(current, list(zip(usage, each, strict=True)), Fraction(1, 10))


@pytest.mark.parametrize(
    ("usage", "wanted"),
    [
        ((50, 90), 9),  # 5 and 9
        ((90, 50), 9),
        ((50, -1), 6),  # 5 would scale down, and nobody knows what the other would say
        ((90, -1), 9),  # … but up it goes
        ((-1, -1), 6),
        ((60, 0), 6),  # 6 and 0
        ((0, 0), 0),
    ],
)
def test_a_metric_that_cannot_be_read_stops_the_way_down(
    law: Law, usage: tuple[int, int], wanted: int
) -> None:
    settings = new_settings(law, max_replicas=10_000, min_replicas=0)
    for _ in usage:
        law.hpa_target(settings, 10)
    assert law.hpa_tick(NOW_PS, 6, settings, new(law.HpaMemory, is_started=1), seen(*usage)) == wanted


def test_each_metric_has_the_kind_of_target_that_it_says(law: Law) -> None:
    """Four replicas, two of them report: 60 over 10 each, a value of 30 over 10 times the two, 60 over 2 of 10."""
    kinds = ((law.TARGET_AVERAGE, 6), (law.TARGET_VALUE, 12), (law.TARGET_PODS, 6))
    for kind, wanted in kinds:
        settings = new_settings(law, max_replicas=100)
        law.hpa_target(settings, 10, kind=kind)
        law.hpa_target(settings, 1000)
        looked = seen(60, 1000, n_reporting=2)
        assert law.hpa_tick(NOW_PS, 4, settings, new(law.HpaMemory, is_started=1), looked) == wanted


def test_there_is_room_for_so_many_metrics(law: Law) -> None:
    settings = new(law.HpaSettings)
    assert law.TARGET_CAP == SIGNALS_MAX  # what a scenario may have
    assert all(law.hpa_target(settings, 1) for _ in range(law.TARGET_CAP))
    assert not law.hpa_target(settings, 1)
