"""Deployments in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sim.model.rollout.limits import STRATEGIES
from sim.scenario.amounts import amount_of
from sim.scenario.deployments import Deployment
from sim.units import s_to_ps

Rows = list[dict[str, Any]]


def rollout_rows(deployments: Sequence[Deployment], pools: Sequence[str]) -> dict[str, Rows]:
    """The rows of deployments and of their steps; `pools` names the pools in the order of their numbers."""
    rows: Rows = []
    steps: Rows = []
    for deployment in deployments:
        rows.append(rollout_row(deployment, pools) | {"first_step": len(steps)})
        steps += [{"weight": step.weight, "pause_ps": s_to_ps(step.pause_s)} for step in deployment.steps]
    return {"rollout": rows, "rollout_step": steps}


def rollout_row(deployment: Deployment, pools: Sequence[str]) -> dict[str, int]:
    """A deployment's row, but for where its steps start."""
    surge, unavailable = amount_of(deployment.max_surge), amount_of(deployment.max_unavailable)
    return {
        "at_ps": s_to_ps(deployment.at_s),
        "pool": list(pools).index(deployment.pool),
        "to_pool": list(pools).index(deployment.to),
        "strategy": STRATEGIES.index(deployment.strategy),
        "surge": surge.value,
        "surge_percent": int(surge.is_percent),
        "unavailable": unavailable.value,
        "unavailable_percent": int(unavailable.is_percent),
        "min_ready_ps": s_to_ps(deployment.min_ready_s),
        "progress_deadline_ps": s_to_ps(deployment.progress_deadline_s),
        "sync_ps": s_to_ps(deployment.sync_s),
        "n_step": len(deployment.steps),
    }
