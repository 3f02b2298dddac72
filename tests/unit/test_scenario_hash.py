"""The hash of a configuration: the same for what gives the same results, another for anything else."""

from __future__ import annotations

import json

import pytest

from sim.scenario.compose import load_scenario
from sim.scenario.resolved import config_hash, resolved

SAME = [
    ["engine=simpy"],
    ["engine.threads=2"],
    ["output.dir=elsewhere"],
    ["question=another?"],
    ["name=other"],
    ["gpu.note=hello"],
    ["seed=1"],
    ["pool.max_replicas=2"],
]
OTHER = [
    ["seed=2"],
    ["gpu.memory_gb=79"],
    ["price.usd_per_gpu_hour=1"],
    ["traffic.arrivals.rate_per_s=7"],
    ["output.sample_interval_s=3"],
    ["router=random"],
    ["slo=none"],
]


@pytest.mark.parametrize("overrides", SAME, ids=lambda o: o[0])
def test_same(overrides: list[str]) -> None:
    assert config_hash(load_scenario("first_run", overrides)) == config_hash(load_scenario("first_run"))


@pytest.mark.parametrize("overrides", OTHER, ids=lambda o: o[0])
def test_other(overrides: list[str]) -> None:
    assert config_hash(load_scenario("first_run", overrides)) != config_hash(load_scenario("first_run"))


def test_whole_and_fractional_spellings_of_a_number_are_the_same() -> None:
    hashes = {
        config_hash(load_scenario("first_run", [f"duration_s={text}"])) for text in ("600", "600.0", "6e2")
    }
    assert len(hashes) == 1


def test_resolved_form_is_json() -> None:
    data = resolved(load_scenario("two_models"))
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert list(data["pools"]) == ["chat", "code"]
