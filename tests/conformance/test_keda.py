"""The queue scaler against KEDA's executor tests (kedacore/keda pkg/scaling/executor), and its own clock."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import shared_data

from conformance.controllers import DATA, vectors, zeros

PS_PER_S = 10**12
FILE = "keda.json"
NOW_PS = 100_000 * PS_PER_S
FLAGS = {
    "paused": "KEDA_PAUSED",
    "pause_scale_in": "KEDA_PAUSED_SCALE_IN",
    "pause_scale_out": "KEDA_PAUSED_SCALE_OUT",
    "force_activation": "KEDA_FORCE_ACTIVATION",
}

Vector = dict[str, Any]
Law = SimpleNamespace


def cases(*kinds: str) -> pytest.MarkDecorator:
    found = [pytest.param(v, id=v["name"]) for v in vectors(FILE, *kinds)]
    assert found
    return pytest.mark.parametrize("vector", found)


def new_par(law: Law, lo: int, hi: int, target_milli: int = 5000, **knobs: int) -> np.ndarray:
    par = zeros(law.KEDA_PAR_SIZE)
    law.keda_par(par, lo, hi, **knobs)
    law.hpa_par(par[law.KEDA_HPA_PAR :], target_milli, behavior=0)
    return par


def test_the_vectors_are_the_recorded_ones() -> None:
    recorded = json.loads(shared_data(f"autoscalers/{FILE}").read_text())["vectors"]
    assert json.loads((DATA / FILE).read_text())["vectors"] == recorded


def executor_case(law: Law, inputs: Vector) -> tuple[np.ndarray, np.ndarray]:
    flags = sum(getattr(law, code) for name, code in FLAGS.items() if inputs.get(name))
    par = new_par(
        law,
        inputs.get("min", 0),
        100,
        cooldown_ps=inputs.get("cooldown", 300) * PS_PER_S,
        idle_replicas=inputs.get("idle", law.KEDA_NO_IDLE),
        flags=flags,
    )
    state = zeros(law.KEDA_STATE_SIZE)
    state[law.KEDA_CREATED_PS] = NOW_PS - inputs.get("created_age_s", 1000) * PS_PER_S
    if "last_active_age_s" in inputs:
        state[law.KEDA_WAS_ACTIVE] = 1
        state[law.KEDA_LAST_ACTIVE_PS] = NOW_PS - inputs["last_active_age_s"] * PS_PER_S
    return par, state


@cases("request_scale")
def test_executor(law: Law, vector: Vector) -> None:
    i, expected = vector["inputs"], vector["expected"]
    par, state = executor_case(law, i)
    current = i["current_replicas"]
    found = law.keda_request_scale(NOW_PS, current, i["is_active"], i["is_error"], par, state)
    assert found == expected["replicas"]
    assert (found != current) == expected["scale_called"]
    if "last_active_time_set_to_now" in expected:
        is_now = state[law.KEDA_WAS_ACTIVE] == 1 and state[law.KEDA_LAST_ACTIVE_PS] == NOW_PS
        assert is_now == expected["last_active_time_set_to_now"]


@cases("activation")
def test_activation(law: Law, vector: Vector) -> None:
    i = vector["inputs"]
    found = law.is_active(round(i["value"] * 1000), i["activation_threshold"] * 1000)
    assert found == vector["expected"]["is_active"]


@cases("hpa_average_value_ideal")
def test_average_value_path(law: Law, vector: Vector) -> None:
    i, tolerance = vector["inputs"], round(vector["inputs"]["tolerance"] * 1000)
    found = law.hpa_desired(
        i["current_replicas"], i["metric_total"] * 1000, i["threshold"] * 1000, tolerance, tolerance
    )
    assert (
        law.fixed_desired(found, i["min_replicas"], i["max_replicas"])
        == vector["expected"]["desired_replicas"]
    )


def play(law: Law, par: np.ndarray, start: int, backlog: dict[int, int], until_s: int) -> dict[int, int]:
    """Wanted replicas at every change, with the scaler called at its own dates and a stepwise backlog."""
    state, wanted, now_ps, level, changes = zeros(law.KEDA_STATE_SIZE), start, 0, 0, {0: start}
    while now_ps <= until_s * PS_PER_S:
        level = next((v for t, v in sorted(backlog.items(), reverse=True) if t * PS_PER_S <= now_ps), 0)
        new = law.keda_desired(now_ps, wanted, level * 1000, par, state)
        if new != wanted:
            changes[now_ps // PS_PER_S] = int(new)
        wanted, now_ps = new, int(law.keda_next_ps(state))
    return changes


def test_from_zero_and_back(law: Law) -> None:
    """Polls every 30 s, syncs every 15 s: out at 60 to 1, at once to 4 (the HPA may always reach 4), doubling
    to the 10 that 50 requests need. They are gone at 121: the last proposal of 10 and the last active poll
    are those at 120 and still count at 420; then the HPA goes to its 1 and KEDA to 0."""
    par = new_par(law, 0, 20)
    expected = {0: 0, 60: 4, 75: 8, 90: 10, 435: 1, 450: 0}
    assert play(law, par, 0, {31: 50, 121: 0}, 900) == expected


def test_min_replicas_are_left_to_the_hpa(law: Law) -> None:
    """With a minimum of 2 the way down is the HPA's: 300 s without a higher proposal, not the cooldown."""
    par = new_par(law, 2, 20, cooldown_ps=0)
    assert play(law, par, 2, {0: 50, 100: 0}, 900) == {0: 4, 15: 8, 30: 10, 405: 2}


def test_a_backlog_that_cannot_be_read_changes_nothing(law: Law) -> None:
    par, state = new_par(law, 0, 20, cooldown_ps=0), zeros(law.KEDA_STATE_SIZE)
    for tick in range(100):
        assert law.keda_desired(tick * 15 * PS_PER_S, 7, -1, par, state) == 7


def test_an_error_beside_an_active_trigger_does_not_renew_the_activity(law: Law) -> None:
    par, state = new_par(law, 0, 20), zeros(law.KEDA_STATE_SIZE)
    assert law.keda_request_scale(NOW_PS, 3, True, True, par, state) == 3
    assert state[law.KEDA_WAS_ACTIVE] == 0
    assert law.keda_request_scale(NOW_PS, 3, True, False, par, state) == 3
    assert state[law.KEDA_LAST_ACTIVE_PS] == NOW_PS


def test_nothing_happens_between_the_dates(law: Law) -> None:
    par, state = new_par(law, 0, 20), zeros(law.KEDA_STATE_SIZE)
    law.keda_desired(0, 3, 10_000, par, state)
    kept = state.copy()
    assert law.keda_next_ps(state) == 15 * PS_PER_S
    assert law.keda_desired(15 * PS_PER_S - 1, 3, 900_000, par, state) == 3
    assert (state == kept).all()
