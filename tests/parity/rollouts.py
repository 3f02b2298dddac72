"""Deployments under the fleets made to hurt: one pool's replicas give way to another's, in every strategy.

Drawn from dice of their own, so that the rest of a seed's fleet is the same with and without them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.fill.rows import PoolRow
from sim.model.rollout.limits import BLUE_GREEN, CANARY, RECREATE, ROLLING
from sim.model.tables.gate import GATE_ERRORS, GATE_MEASURES
from sim.model.tables.rollout import NONE
from sim.units import NEVER

Rows = dict[str, list[dict[str, Any]]]


def make_rollouts(seed: int, grid_ps: int, last_ps: int, pools: list[PoolRow]) -> tuple[list[PoolRow], Rows]:
    """The pools, and up to as many deployments as there are neighbours that serve one model: the new versions begin
    without replicas. Chains, syncs that fall on ticks, canaries without steps and limits of nothing come along.
    """
    rng = np.random.default_rng([seed, 59])
    rows: list[dict[str, Any]] = []
    steps: list[dict[str, Any]] = []
    pools = list(pools)
    for old, new in zip(range(len(pools)), range(1, len(pools)), strict=False):
        if pools[old].served_model != pools[new].served_model or rng.integers(4) == 0:
            continue
        pools[new] = pools[new]._replace(initial_replicas=0)
        n_step = int(rng.integers(4))
        rows.append(
            {
                "at_ps": int(rng.integers(1, max(2, last_ps // 2))) // grid_ps * grid_ps + grid_ps,
                "pool": old,
                "to_pool": new,
                "strategy": int(rng.choice((ROLLING, ROLLING, RECREATE, CANARY))),
                "surge": int(rng.integers(3)),
                "surge_percent": int(rng.integers(2)),
                "unavailable": int(rng.integers(60)),
                "unavailable_percent": int(rng.integers(2)),
                "min_ready_ps": int(rng.integers(3)) * grid_ps,
                "progress_deadline_ps": int(rng.integers(1, 40)) * grid_ps,
                "sync_ps": int(rng.integers(1, 5)) * grid_ps,
                "first_step": len(steps),
                "n_step": n_step,
            }
        )
        steps += [
            {"weight": int(rng.integers(101)), "pause_ps": int(rng.integers(6)) * grid_ps}
            for _ in range(n_step)
        ]
    more = np.random.default_rng([seed, 79])
    for row in rows:
        row["routed"] = int(more.integers(2)) if row["strategy"] == CANARY else 0
        if more.integers(3) == 0:
            row |= {"strategy": BLUE_GREEN, "routed": 0}
        row |= {
            "preview": int(more.integers(-1, 3)) or NONE,
            "auto_promotion": int(more.integers(4) > 0),
            "auto_promotion_ps": int(more.integers(3)) * grid_ps,
            "scale_down_delay_ps": int(more.integers(5)) * grid_ps,
            "abort_delay_ps": int(more.integers(4)) * grid_ps,
        }
    return pools, {"rollout": rows, "rollout_step": steps, **make_gates(seed, grid_ps, rows, len(pools))}


def make_gates(seed: int, grid_ps: int, rollouts: list[dict[str, Any]], n_pool: int) -> Rows:
    """Gates of some deployments, which are written into their rows, and how good each pool's answers are."""
    rng = np.random.default_rng([seed, 67])
    gates: list[dict[str, Any]] = []
    versions = [{"bad_q30": int(rng.integers(2) * rng.integers(2**29))} for _ in range(n_pool)]
    for row in rollouts:
        n_gate = int(rng.integers(4))
        of_gates = {"first_gate": len(gates), "n_gate": n_gate}
        row |= {**of_gates, "aborts_late": int(rng.integers(2))}
        versions[row["to_pool"]] |= of_gates
        gates += [make_gate(rng, grid_ps, row["strategy"] == CANARY) for _ in range(n_gate)]
    return {"gate": gates, "version": versions if rng.integers(4) or gates else []}


def make_gate(rng: np.random.Generator, grid_ps: int, has_steps: bool) -> dict[str, Any]:
    """A gate that may hold, fail, find too little, or not be able to say."""
    measure = int(rng.integers(len(GATE_MEASURES)))
    at_most = int(rng.integers(4)) * grid_ps if measure < GATE_ERRORS else int(rng.integers(500_000))
    return {
        "measure": measure,
        "percentile_milli": int(rng.choice((1, 50_000, 90_000, 99_999))),
        "at_most": at_most,
        "fail_above": NEVER if rng.integers(2) else at_most + int(rng.integers(1, 4)) * max(1, at_most),
        "window_ps": int(rng.integers(1, 60)) * grid_ps,
        "period_ps": int(rng.integers(1, 8)) * grid_ps,
        "retry_ps": int(rng.integers(1, 4)) * grid_ps,
        "delay_ps": int(rng.integers(3)) * grid_ps,
        "samples": int(rng.integers(1, 5)),
        "seen_q30": int(rng.integers(2**29)),
        "count": int(rng.integers(3)) if has_steps else 0,
        "failure_limit": int(rng.integers(4)),
        "inconclusive_limit": int(rng.integers(4)),
        "error_limit": int(rng.integers(8)),
    }
