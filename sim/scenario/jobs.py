"""Batch jobs: training, fine-tuning, evaluation. They hold GPUs of the cluster for as long as their work takes."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.scenario.dist import Constant, Dist
from sim.scenario.types import (
    CONFIG,
    Int,
    Key,
    MigWord,
    PeriodS,
    PriorityClass,
    Seconds,
    SomeSeconds,
    Tags,
    Text,
)

RUNS_MAX = 10_000  # of all jobs together
WORKERS_MAX = 10_000

Workers = Annotated[Int, Field(ge=1, le=WORKERS_MAX)]
GpusOfWorker = Annotated[Int, Field(ge=1, le=16)]
RunsAtOnce = Annotated[Int, Field(ge=1, le=RUNS_MAX)]
Restarts = Annotated[Int, Field(ge=0, le=1_000_000)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Job:
    """A batch job: `count` runs of it are submitted at each time of `at_s`, and every `every_s` after the last of them.

    A run is a gang of `workers`, each with `gpus` GPUs of one node (or as many instances of the profile `slice`), all in
    one zone: all of them or none. Its work takes `duration`, after `startup_s` each time that it begins. One that is
    preempted, or loses a node, begins again with the work of its last checkpoint, up to `max_restarts` times (None: as
    often as it has to); without `checkpoint_s` with nothing. Being done later than `deadline_s` is counted, no more.
    """

    name: Key
    workers: Workers = 1
    gpus: GpusOfWorker = 1
    slice: MigWord | None = None
    node_groups: Tags = ()
    at_s: Annotated[tuple[Seconds, ...], Field(min_length=1, max_length=RUNS_MAX)] = (0.0,)
    every_s: PeriodS | None = None
    count: RunsAtOnce = 1
    duration: Dist = field(default_factory=lambda: Constant(value=3600))
    startup_s: Seconds = 0.0
    checkpoint_s: SomeSeconds | None = None
    max_restarts: Restarts | None = None
    priority_class: PriorityClass = 0
    queue: Key | None = None  # one of cluster.queues
    deadline_s: SomeSeconds | None = None
    source: Text = ""
    confidence: Text = ""

    def times_s(self, end_s: float) -> list[float]:
        """When its runs are submitted, in order, before the run of the simulator ends."""
        times = [t for t in self.at_s if t < end_s]
        if self.every_s is not None:
            last, n = max(self.at_s), 1
            while last + n * self.every_s < end_s and len(times) <= RUNS_MAX:
                times.append(last + n * self.every_s)
                n += 1
        return sorted(t for t in times for _ in range(self.count))
