"""Batch jobs: how long their runs waited and took, and the GPU time that they held and lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sim.measures.listed import JOB
from sim.measures.measure import values
from sim.model.tables.job import RUN_FAILED, RUN_FINISHED, RUN_NOT_SUBMITTED
from sim.units import s_to_ps


def job_measures(scenario: Any, result: Any) -> dict[str, dict[str, Any]]:
    """Batch job → what became of its runs, over the whole run of the simulator; empty without jobs."""
    if not result.job_runs:
        return {}
    jobs = scenario.cluster.jobs
    return {job.name: values(JOB, job_facts(result, place, job)) for place, job in enumerate(jobs)}


def job_facts(result: Any, place: int, job: Any) -> dict[str, Any]:
    """What the measures of a job are made of."""
    runs = {name: column[result.job_runs["job"] == place] for name, column in result.job_runs.items()}
    came, got = runs["stage"] != RUN_NOT_SUBMITTED, runs["first_placed_ps"] >= 0
    ended = runs["stage"] == RUN_FINISHED
    return {
        "submitted": int(came.sum()),
        "finished": int(ended.sum()),
        "failed": int((runs["stage"] == RUN_FAILED).sum()),
        "late": int(is_late(runs, job.deadline_s, result.end_ps).sum()),
        "placed": int(runs["n_placed"].sum()),
        "preempted": int(runs["n_preempted"].sum()),
        "lost": int(runs["n_lost"].sum()),
        "started": int(got.sum()),
        "start_ps": int((runs["first_placed_ps"] - runs["submit_ps"])[got].sum()),
        "turnaround_ps": int((runs["ended_ps"] - runs["submit_ps"])[ended].sum()),
        "wait_max_ps": int(runs["wait_max_ps"].max(initial=0)),
        "gpu_ps": gpu_ps(runs, "held_ps"),
        "lost_gpu_ps": gpu_ps(runs, "lost_ps"),
    }


def gpu_ps(runs: Mapping[str, np.ndarray], name: str) -> float:
    """GPU time, ps, of a time that runs' gangs held."""
    return float(sum(gpus * int(ps) for gpus, ps in zip(runs["gpus"], runs[name], strict=True)))


def is_late(runs: Mapping[str, np.ndarray], deadline_s: float | None, end_ps: int) -> np.ndarray:
    """(run,) whether each was not finished within its deadline, and that has passed by the end."""
    if deadline_s is None:
        return np.zeros(len(runs["stage"]), dtype=bool)
    due_ps = runs["submit_ps"] + s_to_ps(deadline_s)
    in_time = (runs["stage"] == RUN_FINISHED) & (runs["ended_ps"] <= due_ps)
    late: np.ndarray = (runs["stage"] != RUN_NOT_SUBMITTED) & ~in_time & (due_ps <= end_ps)
    return late
