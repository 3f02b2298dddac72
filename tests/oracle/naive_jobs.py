"""Batch jobs of the plain cluster: what a job is, and a run of it as somebody who waits for slices and holds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FOREVER = 2**63 - 1
STREAM_WORK = 52
SUBMITTED, RUN_PLACED, RUN_PREEMPTED, RUN_LOST, FINISHED, FAILED = range(19, 25)


@dataclass(frozen=True)
class JobKind:
    """A job: its gang, when its runs come, 1024 durations of their work."""

    priority: int
    members: int
    gpus: int
    submits: list[int]
    work: list[int]
    startup_ps: int
    checkpoint_ps: int
    most_restarts: int


class Job:
    """A job, with what pools have too: a number behind theirs, and counts."""

    def __init__(self, number: int, index: int, kind: JobKind) -> None:
        self.number, self.index, self.kind = number, index, kind
        self.placed = self.waited_ps = self.longest_ps = self.preempted = 0

    @property
    def priority(self) -> int:
        """The highest goes first."""
        return self.kind.priority


class Work:
    """A run of a job. `state` is one of new, waits, runs, finished, failed."""

    def __init__(self, number: int, job: Job, nth: int, submit_ps: int) -> None:
        self.number, self.pool, self.nth = number, job, nth
        self.state = "new"
        self.stage = -1  # of no replica
        self.members: list[list[Any]] = []
        self.waits = self.was_tried = False
        self.since_ps = 0
        self.due_ps = submit_ps
        self.is_repartition = False
        self.promised: Any = None
        self.placed_ps = self.got_ps = 0
        self.work_ps = self.safe_ps = 0
        self.held_ps = self.lost_ps = 0
        self.starts = self.n_preempted = self.n_lost = 0
        self.ended_ps = self.first_ps = -1
        self.why: Any = None  # of its last event
        self.has_to_go = False

    @property
    def rank(self) -> tuple[int, int, int]:
        """Its place in the waiting list."""
        return -self.pool.kind.priority, self.since_ps, self.number

    def done_ps(self, t: int) -> int:
        """Work done by t, what was safe before included."""
        return min(self.work_ps, self.safe_ps + max(0, t - self.placed_ps - self.pool.kind.startup_ps))

    def give_back(self, t: int) -> None:
        """It holds nothing any longer: work since the last checkpoint is lost."""
        done, every = self.done_ps(t), self.pool.kind.checkpoint_ps
        safe = done if done == self.work_ps else (0 if every == FOREVER else done // every * every)
        self.held_ps += t - self.got_ps
        self.lost_ps += done - safe
        self.safe_ps = safe


def runs_of(jobs: list[Job], first: int) -> list[Work]:
    """All runs by the time at which they come, then by job; numbered from `first` on."""
    coming = [(at, job.index, nth) for job in jobs for nth, at in enumerate(sorted(job.kind.submits))]
    return [Work(first + i, jobs[index], nth, at) for i, (at, index, nth) in enumerate(sorted(coming))]
