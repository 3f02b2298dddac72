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
