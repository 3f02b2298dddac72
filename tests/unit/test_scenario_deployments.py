"""Deployments as they are written: what each mistake says, and what a run makes of a version."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sim
from sim.errors import InputError
from sim.report.deployments import deployment_lines
from sim.scenario.compose import load_scenario
from sim.steptime import make_step_table

STORY = "rolling_upgrade_under_load"
SHORT = ["duration_s=300", "drain_s=60", "pool.min_replicas=2", "deployments.0.at_s=60"]
SHORT += ["traffic.arrivals.rate_per_s=4", "coldstart=none"]


def lines_of(*words: str) -> list[str]:
    with pytest.raises(InputError) as raised:
        load_scenario(STORY, list(words))
    return raised.value.problems


def with_deployment(**keys: object) -> str:
    row = {"at_s": 200, "pool": "old", "to": "new", **keys}
    return "deployments=[{" + ", ".join(f"{key}: {value}" for key, value in row.items()) + "}]"


@pytest.mark.parametrize(
    ("keys", "key", "says"),
    [
        ({"pool": "odl"}, "deployments.0.pool", "old"),
        ({"to": "now"}, "deployments.0.to", "new"),
        ({"to": "old"}, "deployments.0.to", "another pool than `pool`"),
        ({"at_s": 5000}, "deployments.0.at_s", "less than duration_s"),
        ({"strategy": "rollling"}, "deployments.0.strategy", "rolling"),
        ({"strategy": "canary"}, "deployments.0.steps", "is missing"),
        ({"steps": "[{weight: 20}]"}, "deployments.0.steps", "unless strategy is canary"),
        ({"strategy": "canary", "steps": "[{weight: 120}]"}, "deployments.0.steps.0.weight", "100"),
        ({"traffic": "router"}, "deployments.0.traffic", "unless strategy is canary"),
        ({"traffic": "routr"}, "deployments.0.traffic", "router"),
        ({"preview_replicas": 1}, "deployments.0.preview_replicas", "null, unless strategy is blue_green"),
        ({"auto_promotion": "false"}, "deployments.0.auto_promotion", "true, unless strategy is blue_green"),
        ({"auto_promotion_s": 5}, "deployments.0.auto_promotion_s", "unless strategy is blue_green"),
        ({"strategy": "blue_green", "steps": "[{weight: 20}]"}, "deployments.0.steps", "unless strategy is"),
        ({"strategy": "blue-green"}, "deployments.0.strategy", "blue_green"),
        ({"max_surge": "25 percent"}, "deployments.0.max_surge", "a percentage as 25%"),
        ({"max_unavailable": 1.5}, "deployments.0.max_unavailable", "a count as 1"),
        ({"max_surge": "101%"}, "deployments.0.max_surge", "a percentage as 25%"),
    ],
)
def test_each_mistake_is_one_line(keys: dict[str, object], key: str, says: str) -> None:
    (line,) = lines_of(with_deployment(**keys))
    assert line.replace("[0]", ".0").startswith(key)
    assert says in line


def test_both_versions_serve_one_model_and_are_as_large() -> None:
    assert any("a pool that serves" in line for line in lines_of("model@pools.new.model=qwen3_32b"))
    (line,) = lines_of("pools.new.min_replicas=2", "pools.new.max_replicas=5")
    assert line.startswith("pools.new.max_replicas: 5")
    (line,) = lines_of("pools.new.initial_replicas=8", "autoscaler=hpa")
    assert line.startswith("pools.new.initial_replicas: 8")


def test_a_pool_comes_and_goes_once() -> None:
    back = "deployments=[{at_s: 200, pool: old, to: new}, {at_s: 400, pool: new, to: old}]"
    (line,) = lines_of(back)
    assert line.startswith("deployments.1.to: 'old'")
    twice = "deployments=[{at_s: 200, pool: old, to: new}, {at_s: 400, pool: old, to: new}]"
    assert {line.split(":")[0] for line in lines_of(twice)} == {"deployments.1.pool", "deployments.1.to"}


def test_the_record_says_which_version_answered(tmp_path: Path) -> None:
    run = sim.run(STORY, SHORT, out=tmp_path)
    rows = run.requests.to_pydict()
    found = run.summary["deployments"]["old to new"]
    assert found["started_s"] == 60
    by_version = {
        version: [at for at, v in zip(rows["arrival_s"], rows["version"], strict=True) if v == version]
        for version in ("v1", "v2")
    }
    assert max(by_version["v1"]) <= found["ended_s"] + 1
    assert min(by_version["v2"]) > 60
    assert set(rows["version"]) == {"v1", "v2"}


def test_without_a_spare_gpu_a_surge_waits() -> None:
    """Eight replicas on eight GPUs: nothing moves until one may be missing; seven leave a GPU for the new version."""
    words = ["duration_s=300", "drain_s=60", "deployments.0.at_s=60", "traffic.arrivals.rate_per_s=8"]
    words += ["coldstart=none", "deployments.0.progress_deadline_s=100"]
    stuck = sim.run(STORY, [*words, "pool.min_replicas=8"], out=None).summary["deployments"]["old to new"]
    assert stuck["ended_s"] is None
    assert 160 < stuck["timed_out_s"] <= 163
    spare = sim.run(STORY, words, out=None).summary["deployments"]["old to new"]
    assert spare["ended_s"] is not None
    assert spare["available_min"] == 7
    fewer = ["deployments.0.max_surge=0", "deployments.0.max_unavailable=1"]
    tight = sim.run(STORY, [*words, *fewer, "pool.min_replicas=8"], out=None).summary["deployments"]
    assert tight["old to new"]["ended_s"] is not None
    assert tight["old to new"]["available_min"] == 7


@pytest.mark.parametrize(
    ("gate", "key", "says"),
    [
        ({"measure": "ttft"}, "measure", "as ttft.p99"),
        ({"measure": "ttfx.p99"}, "measure", "as ttft.p99"),
        ({"measure": "ttft.p0"}, "measure", "a percentile of"),
        ({"at_most": 2, "measure": "errors"}, "at_most", "0 to 1: errors is a share"),
        ({"at_most": 1, "measure": "bad_answers"}, "at_most", "the gate cannot fail"),
        ({"fail_above": 0.5}, "fail_above", "at least at_most (1)"),
        ({"count": 3}, "count", "unless strategy is canary"),
        ({"samples": 20_000, "measure": "bad_answers", "at_most": 0.1}, "samples", "1 to 10000 answers"),
        ({"missed": 0.1}, "missed", "unless measure is bad_answers"),
        ({"interval_s": 0}, "interval_s", "0.001"),
        ({"failure_limit": -1}, "failure_limit", "0"),
        ({"failures": 1}, "failures", "failure_limit"),
    ],
)
def test_each_mistake_in_a_gate_is_one_line(gate: dict[str, object], key: str, says: str) -> None:
    row = {"measure": "ttft.p99", "at_most": 1, **gate}
    text = "{" + ", ".join(f"{name}: {value}" for name, value in row.items()) + "}"
    (line,) = lines_of(with_deployment(gates=f"[{text}]"))
    assert line.replace("[0]", ".0").startswith(f"deployments.0.gates.0.{key}")
    assert says in line


def test_the_terminal_says_what_became_of_it() -> None:
    gate = "[{measure: bad_answers, at_most: 0.2, samples: 50}]"
    words = [*SHORT, "deployments.0.gates=" + gate]
    for share, says in ((0.5, "went back at"), (0.0, "took")):
        run = sim.run(STORY, [*words, f"pools.new.bad_answer_share={share}"], out=None)
        (line,) = deployment_lines(run.summary)
        assert says in line
        assert ("for bad_answers" in line) == (share > 0)


def test_a_step_time_factor_makes_every_time_longer() -> None:
    old, new = (
        make_step_table(pool) for pool in load_scenario(STORY, ["pools.new.step_time_factor=1.5"]).pools
    )
    for name in ("base_ps", "slope_ps", "work_ps", "mixed_ps", "attention_q16"):
        assert np.all(np.abs(1.5 * getattr(old, name) - getattr(new, name)) <= 2), name
    assert "times 1.5" in new.source
