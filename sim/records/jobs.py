"""The table of batch jobs: one row per run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from sim.model.tables.job import RUN_NOT_SUBMITTED, RUN_STAGES
from sim.records.cluster_schema import JOBS
from sim.records.columns import coded, integers, moments, names_of
from sim.records.schema import schema
from sim.units import PS_PER_S, s_to_ps


def jobs_table(scenario: Any, result: Any, footer: Mapping[str, str] | None = None) -> pa.Table:
    """What became of the runs of batch jobs (schema `JOBS`), by time; no rows without jobs."""
    runs = result.job_runs
    if not runs:
        return schema(JOBS, footer).empty_table()
    jobs = scenario.cluster.jobs
    came = runs["stage"] != RUN_NOT_SUBMITTED
    allowed_ps = [-1 if job.deadline_s is None else s_to_ps(job.deadline_s) for job in jobs]
    within_ps = np.array(allowed_ps)[runs["job"]]
    due_ps = np.where(within_ps < 0, -1, runs["submit_ps"] + within_ps)
    made = {
        "job": coded(runs["job"], names_of(jobs)),
        "run": integers(runs["number"], np.int32),
        "state": coded(runs["stage"], list(RUN_STAGES)),
        **moments("submitted", np.where(came, runs["submit_ps"], -1)),
        **moments("placed", runs["first_placed_ps"]),
        **moments("ended", runs["ended_ps"]),
        **moments("due", due_ps),
        "placements": integers(runs["n_placed"], np.int32),
        "preemptions": integers(runs["n_preempted"], np.int32),
        "losses": integers(runs["n_lost"], np.int32),
        "work_s": pa.array(runs["work_ps"] / PS_PER_S, mask=~came),
        "done_s": pa.array(runs["kept_ps"] / PS_PER_S),
        "gpus": pa.array(runs["gpus"]),
        "gpu_s": pa.array(runs["gpus"] * runs["held_ps"] / PS_PER_S),
        "lost_gpu_s": pa.array(runs["gpus"] * runs["lost_ps"] / PS_PER_S),
    }
    return pa.Table.from_arrays([made[column.name] for column in JOBS], schema=schema(JOBS, footer))
