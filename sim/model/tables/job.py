"""Batch jobs: training, fine-tuning, evaluation. What a run of a job is, and what has become of it."""

from __future__ import annotations

from sim.model.tables.pool import N_QUANTILE
from sim.schema import Array, Field, Row
from sim.units import NEVER

RUN_STAGES = ("not_submitted", "queued", "waiting", "running", "finished", "failed")
RUN_NOT_SUBMITTED, RUN_QUEUED, RUN_WAITING, RUN_RUNNING, RUN_FINISHED, RUN_FAILED = range(6)


class JobParams(Row):
    """A job; its gang is the row n_pool + its number of `pool_place`."""

    startup_ps = Field("how long a run holds its slices, each time, before it works")
    checkpoint_ps = Field("after every so much work the work is safe, NEVER = at its end alone", begin=NEVER)
    max_restarts = Field("so often a run begins again at most, NEVER = as often as it has to", begin=NEVER)
    work_ps = Array("how long the work of a run takes: one of these, equally likely", N_QUANTILE, unit="ps")


class JobRun(Row):
    """A run of a job, which is a workload: the one behind those of all replica places."""

    job = Field("its job")
    number = Field("which run of its job it is, from 0")
    submit_ps = Field("when it is submitted")


class JobRunState(Row):
    """What has become of a run."""

    stage = Field("RUN_…")
    work_ps = Field("how long its work takes in all")
    kept_ps = Field("work that is safe: done before the last checkpoint")
    placed_ps = Field("when it last got its slices")
    begun_ps = Field("when they were made: its start-up begins")
    first_placed_ps = Field("when it first got slices, −1 = not yet", begin=-1)
    ended_ps = Field("when it was finished or given up, −1 = not yet", begin=-1)
    n_placed = Field("how often it got slices")
    n_preempted = Field("how often it had to give them up to others")
    n_lost = Field("how often it lost a node")
    held_ps = Field("how long it has held slices, up to the last time it gave them back")
    lost_ps = Field("work that was done and was not safe when it gave its slices back")
