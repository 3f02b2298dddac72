"""bad_version: what a gate on quality saves, over seeds; what docs/deployments.md says of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sim

NAME = "bad_version"
ROLLING = "deployments=[{at_s: 300, pool: old, to: new}]"
FEWER = "traffic.arrivals.rate_per_s=30"  # a canary has a tenth: enough for its gate on latency


def rollouts(n: int, *words: str) -> list[dict[str, Any]]:
    """What became of the deployment, a row a seed."""
    runs = (sim.run(NAME, [*words, f"seed={seed}"], out=None) for seed in range(n))
    return [run.summary["deployments"]["old to new"] for run in runs]


def test_a_canary_stops_a_bad_version_and_a_rollout_without_gates_does_not() -> None:
    gated, plain = rollouts(3, FEWER), rollouts(3, FEWER, ROLLING)
    assert {row["outcome"] for row in gated} == {"rolled_back"}
    assert {row["because"] for row in gated} == {"bad_answers"}
    assert {row["outcome"] for row in plain} == {"promoted"}
    assert sum(row["new_bad"] for row in gated) * 20 < sum(row["new_bad"] for row in plain)


@pytest.mark.slow
def test_over_a_hundred_seeds() -> None:
    gated, plain = rollouts(100), rollouts(100, ROLLING)
    good = rollouts(100, "pools.new.bad_answer_share=0.01")
    assert {row["outcome"] for row in gated} == {"rolled_back"}
    assert {row["outcome"] for row in plain} == {"promoted"}
    assert sum(row["outcome"] == "promoted" for row in good) >= 98
    bad, all_bad = (np.array([row["new_bad"] for row in rows]) for rows in (gated, plain))
    assert np.median(bad) * 100 < np.median(all_bad)


@pytest.mark.parametrize(
    ("share", "ends"),
    [
        ("0.1", ["rollout_started", "rollout_back", "rollout_rolled_back"]),
        ("0.01", ["rollout_started", "rollout_promoted", "rollout_ended"]),
    ],
)
def test_on_a_cluster_every_measurement_and_what_came_of_it_is_an_event(share: str, ends: list[str]) -> None:
    words = ["duration_s=400", "traffic.arrivals.rate_per_s=2", "cluster=one_dgx_h100", "coldstart=snapshot"]
    words += ["pool={min_replicas: 2, max_replicas: 4}", f"pools.new.bad_answer_share={share}"]
    ways = ("traffic=router", "steps=[{weight: 50, pause_s: 100}]", "at_s=20", "scale_down_delay_s=20")
    done = sim.run("bad_version", [*words, *(f"deployments.0.{way}" for way in ways)])
    found = done.summary["deployments"]["old to new"]
    events = done.events.to_pylist()
    rows = [row for row in events if row["event"].startswith(("rollout", "gate"))]
    assert {(row["pool"], row["cause"], row["cause_of"]) for row in rows} == {
        ("new", "deployment", "deployments.0")
    }
    assert [row["event"] for row in rows if row["gate"] is None] == ends
    measured = [row for row in rows if row["gate"] is not None]
    assert len(measured) == found["measurements"] > 5
    assert {row["gate"] for row in measured} == {0, 1, 2}
    if found["outcome"] == "rolled_back":
        back = next(row for row in rows if row["event"] == "rollout_back")
        decided = events[back["because"]]
        assert (decided["event"], decided["gate"], decided["time_ps"]) == ("gate_failed", 0, back["time_ps"])
        assert found["because"] == "bad_answers"
