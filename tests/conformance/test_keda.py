"""The queue scaler against KEDA's executor tests (kedacore/keda pkg/scaling/executor), and its own clock."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import shared_data

from conformance.controllers import DATA, new, seen, vectors

PS_PER_S = 10**12
FILE = "keda.json"
NOW_PS = 100_000 * PS_PER_S
FLAGS = {
    "paused": "PAUSED",
    "pause_scale_in": "PAUSED_SCALE_IN",
    "pause_scale_out": "PAUSED_SCALE_OUT",
    "force_activation": "FORCE_ACTIVATION",
}

Vector = dict[str, Any]
Law = SimpleNamespace


def cases(*kinds: str) -> pytest.MarkDecorator:
    found = [pytest.param(v, id=v["name"]) for v in vectors(FILE, *kinds)]
    assert found
    return pytest.mark.parametrize("vector", found)


def new_settings(law: Law, lo: int, hi: int, target_milli: int = 5000, **fields: int) -> Any:
    settings = new(law.KedaSettings)
    law.keda_settings(settings, min_replicas=lo, max_replicas=hi, **fields)
    assert law.keda_trigger(settings, target_milli)
    return settings


def test_the_vectors_are_the_recorded_ones() -> None:
    recorded = json.loads(shared_data(f"autoscalers/{FILE}").read_text())["vectors"]
    assert json.loads((DATA / FILE).read_text())["vectors"] == recorded


def executor_case(law: Law, inputs: Vector) -> tuple[Any, Any]:
    flags = sum(getattr(law, code) for name, code in FLAGS.items() if inputs.get(name))
    settings = new_settings(
        law,
        inputs.get("min", 0),
        100,
        cooldown_ps=inputs.get("cooldown", 300) * PS_PER_S,
        idle_replicas=inputs.get("idle", law.NO_IDLE),
        flags=flags,
    )
    memory = new(law.KedaMemory, created_ps=NOW_PS - inputs.get("created_age_s", 1000) * PS_PER_S)
    if "last_active_age_s" in inputs:
        memory.was_active = 1
        memory.last_active_ps = NOW_PS - inputs["last_active_age_s"] * PS_PER_S
    return settings, memory


@cases("request_scale")
def test_executor(law: Law, vector: Vector) -> None:
    i, expected = vector["inputs"], vector["expected"]
    settings, memory = executor_case(law, i)
    current = i["current_replicas"]
    found = law.keda_request_scale(NOW_PS, current, i["is_active"], i["is_error"], settings, memory)
    assert found == expected["replicas"]
    assert (found != current) == expected["scale_called"]
    if "last_active_time_set_to_now" in expected:
        is_now = memory.was_active == 1 and memory.last_active_ps == NOW_PS
        assert is_now == expected["last_active_time_set_to_now"]


@cases("activation")
def test_activation(law: Law, vector: Vector) -> None:
    i = vector["inputs"]
    found = law.is_active(round(i["value"] * 1000), i["activation_threshold"] * 1000)
    assert found == vector["expected"]["is_active"]


@cases("hpa_average_value_ideal")
def test_average_value_path(law: Law, vector: Vector) -> None:
    i, tolerance = vector["inputs"], round(vector["inputs"]["tolerance"] * 1000)
    held = new(
        law.HpaTarget,
        milli=i["threshold"] * 1000,
        tolerance_up_milli=tolerance,
        tolerance_down_milli=tolerance,
    )
    found = law.hpa_desired(i["current_replicas"], i["metric_total"] * 1000, held)
    assert (
        law.fixed_desired(found, i["min_replicas"], i["max_replicas"])
        == vector["expected"]["desired_replicas"]
    )


def play(law: Law, settings: Any, start: int, backlog: dict[int, int], until_s: int) -> dict[int, int]:
    """Wanted replicas at every change, with the scaler called at its own dates and a stepwise backlog."""
    memory, wanted, now_ps, level, changes = new(law.KedaMemory), start, 0, 0, {0: start}
    while now_ps <= until_s * PS_PER_S:
        level = next((v for t, v in sorted(backlog.items(), reverse=True) if t * PS_PER_S <= now_ps), 0)
        now = law.keda_desired(now_ps, wanted, settings, memory, seen(level * 1000))
        if now != wanted:
            changes[now_ps // PS_PER_S] = int(now)
        wanted, now_ps = now, int(law.keda_next_ps(memory))
    return changes


def test_from_zero_and_back(law: Law) -> None:
    """Polls every 30 s, syncs every 15 s: out at 60 to 1, at once to 4 (the HPA may always reach 4), doubling
    to the 10 that 50 requests need. They are gone at 121: the last proposal of 10 and the last active poll
    are those at 120 and still count at 420; then the HPA goes to its 1 and KEDA to 0."""
    expected = {0: 0, 60: 4, 75: 8, 90: 10, 435: 1, 450: 0}
    assert play(law, new_settings(law, 0, 20), 0, {31: 50, 121: 0}, 900) == expected


def test_min_replicas_are_left_to_the_hpa(law: Law) -> None:
    """With a minimum of 2 the way down is the HPA's: 300 s without a higher proposal, not the cooldown."""
    settings = new_settings(law, 2, 20, cooldown_ps=0)
    assert play(law, settings, 2, {0: 50, 100: 0}, 900) == {0: 4, 15: 8, 30: 10, 405: 2}


def test_a_backlog_that_cannot_be_read_changes_nothing(law: Law) -> None:
    settings, memory = new_settings(law, 0, 20, cooldown_ps=0), new(law.KedaMemory)
    for tick in range(100):
        assert law.keda_desired(tick * 15 * PS_PER_S, 7, settings, memory, seen(-1)) == 7


def test_an_error_beside_an_active_trigger_does_not_renew_the_activity(law: Law) -> None:
    settings, memory = new_settings(law, 0, 20), new(law.KedaMemory)
    assert law.keda_request_scale(NOW_PS, 3, True, True, settings, memory) == 3
    assert memory.was_active == 0
    assert law.keda_request_scale(NOW_PS, 3, True, False, settings, memory) == 3
    assert memory.last_active_ps == NOW_PS


def test_nothing_happens_between_the_dates(law: Law) -> None:
    settings, memory = new_settings(law, 0, 20), new(law.KedaMemory)
    law.keda_desired(0, 3, settings, memory, seen(10_000))
    kept = memory.m.copy()
    assert law.keda_next_ps(memory) == 15 * PS_PER_S
    assert law.keda_desired(15 * PS_PER_S - 1, 3, settings, memory, seen(900_000)) == 3
    assert (memory.m == kept).all()


# ---- several triggers ----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("values", "current", "wanted"),
    [
        ((0, 0), 0, 0),  # nobody is active
        ((5, 0), 0, 0),  # not above its activation of 5
        ((6, 0), 0, 1),
        ((0, 1), 0, 1),  # the second one has no threshold of activation
        ((0, -1), 0, 0),
        ((6, -1), 0, 1),  # active, whatever the other one is
        ((0, -1), 3, 3),  # in error: nothing is taken away
        ((0, 0), 3, 0),
        ((0, 1), 3, 3),
    ],
)
def test_any_trigger_wakes_and_all_must_be_silent(
    law: Law, values: tuple[int, int], current: int, wanted: int
) -> None:
    settings = new_settings(law, 0, 20, cooldown_ps=0)
    settings.activation_milli[0] = 5
    assert law.keda_trigger(settings, 7)
    memory = new(law.KedaMemory, next_sync_ps=NOW_PS + 1, created_ps=0)  # KEDA's own loop alone is due
    assert law.keda_desired(NOW_PS, current, settings, memory, seen(*values)) == wanted


def test_the_trigger_that_needs_most_replicas_decides(law: Law) -> None:
    """50 over 5 are 10, 24 over 2 are 12; without behavior 6 replicas may double."""
    settings = new_settings(law, 1, 20)
    assert law.keda_trigger(settings, 2000)
    assert law.keda_desired(NOW_PS, 6, settings, new(law.KedaMemory), seen(50_000, 24_000)) == 12
    assert law.keda_desired(NOW_PS, 6, settings, new(law.KedaMemory), seen(50_000, 8000)) == 10
