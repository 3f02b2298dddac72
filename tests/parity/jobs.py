"""Batch jobs on the clusters of generated fleets, drawn from dice of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sim.model.tables.pool import N_QUANTILE
from sim.units import NEVER

Rows = list[dict[str, Any]]


class JobDice:
    """Whole numbers and times for the jobs of one seed's fleet."""

    def __init__(self, seed: int, grid_ps: int) -> None:
        self.rng = np.random.default_rng([seed, 6114])
        self.grid_ps = grid_ps

    def whole(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(self.rng.integers(low, high, endpoint=True))

    def ticks(self, low: int, high: int) -> int:
        """A time of so many ticks of the grid, ps."""
        return self.whole(low, high) * self.grid_ps


def with_jobs(
    seed: int, grid_ps: int, things: dict[str, Rows], make_ask: Callable[[], dict[str, int]]
) -> dict[str, Rows]:
    """The rows of a cluster's tables; in two of three seeds with those of jobs."""
    dice = JobDice(seed, grid_ps)
    n_job = dice.whole(0, 2)
    if n_job == 0:
        return things
    n_pool, asks = len(things["pool_place"]), things["slice_ask"]
    rows = [asks[i : i + n_pool] + [make_ask() for _ in range(n_job)] for i in range(0, len(asks), n_pool)]
    places = [
        {"priority": dice.whole(-2, 2), "n_member": dice.whole(1, 2), "member_gpus": dice.whole(1, 2)}
        for _ in range(n_job)
    ]
    jobs, runs = [], []
    for j in range(n_job):
        took = [dice.ticks(0, 40) for _ in range(dice.whole(1, 3))]
        jobs.append(
            {
                "startup_ps": dice.ticks(0, 3),
                "checkpoint_ps": dice.ticks(1, 9) if dice.whole(0, 2) else NEVER,
                "max_restarts": dice.whole(0, 3) if dice.whole(0, 1) else NEVER,
                "work_ps": np.sort(np.resize(took, N_QUANTILE)),
            }
        )
        at_ps = sorted(dice.ticks(0, 50) for _ in range(dice.whole(1, 6)))
        runs += [{"job": j, "number": i, "submit_ps": t} for i, t in enumerate(at_ps)]
    return things | {
        "slice_ask": [ask for row in rows for ask in row],
        "pool_place": things["pool_place"] + places,
        "job": jobs,
        "job_run": runs,
    }
