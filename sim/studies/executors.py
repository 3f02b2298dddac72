"""Who runs shards: this process, processes beside it, or Ray. Each writes its shards itself and says when one is done.

An executor takes a task and the numbers of shards, and yields an outcome for each as they come, in any order. It loses
nothing when a process of its own dies: the shard comes out as failed, and whoever asked may ask again.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from sim.errors import InputError
from sim.records.study_dir import StudyDir
from sim.studies.planning import Plan
from sim.studies.running import Kept, partition_of, run_shard
from sim.sweeps.beside import Beside


class Task(NamedTuple):
    """What every worker of a study is told."""

    plan: Plan
    path: Path
    engine: str

    def worker(self) -> Worker:
        """Who does it in a process."""
        return Worker(self)


class Outcome(NamedTuple):
    """What became of a shard: done and on the disk, or the reason why not."""

    number: int
    n_run: int
    wall_s: float
    error: str | None = None
    is_input: bool = False  # the input's fault: trying again would not help


class Executor(Protocol):
    """Runs shards of a task."""

    def run(self, task: Task, numbers: Sequence[int]) -> Iterator[Outcome]:
        """An outcome for each of the shards, in any order; the caller may stop at any time."""


class Worker:
    """Runs shards one after the other in this process; points stay packed between them."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._kept = Kept(task.plan)
        self._partition = partition_of(task.plan)
        self._folder = StudyDir(task.path)

    def __call__(self, number: int) -> Outcome:
        """Run a shard and write it; what goes wrong in it is its outcome."""
        shard = self._task.plan.shard(number)
        begun = time.perf_counter()
        try:
            found = run_shard(self._task.plan, shard, self._kept, self._task.engine)
            shard_id = self._task.plan.id_of(shard)
            self._folder.commit(shard_id, found.runs, found.histograms, self._partition)
        except InputError as error:
            return Outcome(number, shard.n_run, 0.0, error.problems[0], is_input=True)
        except MemoryError:
            return Outcome(number, shard.n_run, 0.0, "there is not enough memory for it")
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            why = f"{type(error).__name__}: {' '.join(str(error).split())} ({Path(where.filename).name}:{where.lineno})"
            return Outcome(number, shard.n_run, 0.0, why)
        return Outcome(number, shard.n_run, time.perf_counter() - begun)


class Here:
    """All of it in this process."""

    def run(self, task: Task, numbers: Sequence[int]) -> Iterator[Outcome]:
        """One shard after the other."""
        worker = Worker(task)
        for number in numbers:
            yield worker(number)


class Processes:
    """So many processes beside this one: each a Python of its own that ends when nobody is there to ask it."""

    def __init__(self, n: int) -> None:
        self.n = n

    def run(self, task: Task, numbers: Sequence[int]) -> Iterator[Outcome]:
        """Shards as they are done; a process that dies takes one shard with it, and another one is started."""
        todo = list(reversed(numbers))
        lean = task._replace(
            plan=replace(task.plan, study=replace(task.plan.study, constraints=(), whens=()))
        )
        crew: dict[Any, Helper] = {}
        try:
            while todo or crew:
                while todo and len(crew) < self.n:
                    helper = Helper(lean)
                    crew[helper.line] = helper
                    helper.ask(todo.pop())
                for line in wait(list(crew)):
                    helper = crew.pop(line)
                    outcome = helper.answer()
                    if outcome is None:
                        yield helper.lost()
                    elif todo:
                        crew[line] = helper
                        helper.ask(todo.pop())
                        yield outcome
                    else:
                        helper.close()
                        yield outcome
        finally:
            for helper in crew.values():
                helper.close()


class Helper(Beside):
    """A process that runs shards of a study."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._task = task
        self._number = 0

    def ask(self, what: object) -> None:
        """Have it run a shard, by its number."""
        if isinstance(what, int):
            self._number = what
        super().ask(what)

    def lost(self) -> Outcome:
        """The outcome of a shard whose process is gone."""
        n_run = self._task.plan.shard(self._number).n_run
        return Outcome(self._number, n_run, 0.0, self.why_gone())


class Ray:
    """Workers on a Ray cluster: the one that RAY_ADDRESS names, or one on this machine. They share the study's folder."""

    def __init__(self, n: int | None = None) -> None:
        self.n = n

    def run(self, task: Task, numbers: Sequence[int]) -> Iterator[Outcome]:
        """Shards as they are done; one whose worker or node is lost comes out as failed. Raises InputError without Ray."""
        try:
            import ray
        except ImportError:
            raise InputError("executor: ray is not installed: pip install 'fleetsim[ray]'") from None
        if not ray.is_initialized():
            ray.init(log_to_driver=False, configure_logging=False, num_cpus=None)
        shared = ray.put(task)
        run = ray.remote(max_retries=0, num_cpus=1)(_on_ray)
        todo = list(reversed(numbers))
        asked: dict[Any, int] = {}
        ahead = 2 * int(self.n or ray.cluster_resources().get("CPU", 1))
        while todo or asked:
            while todo and len(asked) < ahead:
                number = todo.pop()
                asked[run.remote(shared, number)] = number
            ready, _ = ray.wait(list(asked), num_returns=1)
            for reference in ready:
                number = asked.pop(reference)
                try:
                    yield Outcome(*ray.get(reference))
                except ray.exceptions.RayError as error:
                    why = f"its worker on Ray is gone: {type(error).__name__}"
                    yield Outcome(number, task.plan.shard(number).n_run, 0.0, why)


WORKERS: dict[str, Worker] = {}  # of a process of Ray: the packed points of the study at hand


def _on_ray(task: Task, number: int) -> tuple[Any, ...]:
    """One shard in a process of Ray."""
    key = f"{task.path}:{sorted(task.plan.depends.items())}:{task.plan.n_run}"
    if key not in WORKERS:
        WORKERS.clear()
        WORKERS[key] = Worker(task)
    return tuple(WORKERS[key](number))
