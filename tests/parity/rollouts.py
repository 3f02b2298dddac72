"""Deployments under the fleets made to hurt: one pool's replicas give way to another's, in every strategy.

Drawn from dice of their own, so that the rest of a seed's fleet is the same with and without them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.fill.rows import PoolRow
from sim.model.rollout.limits import CANARY, RECREATE, ROLLING

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
    return pools, {"rollout": rows, "rollout_step": steps}
