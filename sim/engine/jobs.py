"""What became of the runs of batch jobs, as columns."""

from __future__ import annotations

import numpy as np

from sim.model.placement.mig import N_SLICE
from sim.model.tables.run import Params, State

OF_RUN = ("job", "number", "submit_ps")
OF_STATE = (
    *("stage", "work_ps", "kept_ps", "first_placed_ps", "ended_ps", "n_placed", "n_preempted", "n_lost"),
    *("held_ps", "lost_ps"),
)


def run_columns(params: Params, state: State) -> dict[str, np.ndarray]:
    """Column → (run,) int64, by time; nothing without jobs. `gpus` are those that its gang holds: of instances of MIG their
    memory slices, an eighth of a GPU each (float64).
    """
    n = int(params.n_job_run)
    if n == 0:
        return {}
    runs, found = params.rows("job_run", n), state.rows("job_run", n)
    gpus = np.array([gang_gpus(params, int(params.n_pool) + job) for job in range(int(params.n_job))])
    columns = {name: runs[name].copy() for name in OF_RUN} | {name: found[name].copy() for name in OF_STATE}
    waits = state.rows("pool_place", int(params.n_pool_place))[int(params.n_pool) :]
    return {
        **columns,
        "gpus": gpus[runs["job"]],
        "wait_max_ps": waits["waited_max_ps"][runs["job"]],  # of its job
    }


def gang_gpus(params: Params, place: int) -> float:
    """GPUs that a gang holds: of the first group that it can run in, for they are alike."""
    of = params.pool_place[place]
    for group in range(int(params.n_node_group)):
        ask = params.slice_ask[group * int(params.n_pool_place) + place]
        if ask.starts:
            return int(of.n_member) * int(of.member_gpus) * int(ask.memory_slices) / N_SLICE
    return 0.0
