"""A study from its plan to its folder: what is done stays, what is missing is run, and every shard has a reason to be."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sim.engine.cpu import compiled_loop
from sim.errors import InputError
from sim.records.config import plain, versions
from sim.records.study_dir import StudyDir
from sim.records.study_open import Results
from sim.records.version import SCHEMA_VERSION
from sim.studies.comparing import (
    Question,
    compare_points,
    judged_on,
    keep_compared,
    n_decided,
    question_of,
)
from sim.studies.executors import Executor, Here, Outcome, Processes, Ray, Task
from sim.studies.planning import Plan, said_seeds
from sim.studies.running import partition_of
from sim.sweeps.workers import n_threads

TRIES = 3  # of a shard, before it is put aside
PROCESS_PAYS_S = 3.0  # left to each: a process takes a second or two to start
FIRST_RUN = "first run"
EXECUTORS = ("auto", "here", "processes", "ray")
PARTS = {
    "scenario": "the scenario has changed",
    "overrides": "the overrides have changed",
    "files": "a recording, a policy or an option of your own has changed",
    "model": "fleetsim has changed: another version of the model or of its libraries",
}
Tick = Callable[..., None]


@dataclass
class Done:
    """What became of a study, or of a part of it."""

    path: Path
    n_run: int  # of the plan, or of the part asked for
    n_kept: int  # runs that were done before
    n_new: int = 0  # runs that were done now
    wall_s: float = 0.0
    reasons: dict[str, str] = field(default_factory=dict)  # shard → why it had to be run
    failed: dict[str, str] = field(default_factory=dict)  # shard → why it was put aside
    is_input: bool = False  # whether the input is to blame for the first of them
    n_removed: int = 0  # shards of an earlier plan that were removed
    n_seed: int = 0  # seeds that every point has
    # of a study that runs until it is decided: its comparisons, and how many have a verdict
    n_compared: int = 0
    n_decided: int = 0
    is_waiting: bool = False  # whether other parts have to be run before it can go on

    def add(self, plan: Plan, mine: Sequence[int], todo: Sequence[int], reasons: Mapping[str, str]) -> None:
        """Count a round that begins: its shards, and which of them have to be run."""
        n_run, n_todo = (sum(plan.shard(i).n_run for i in numbers) for numbers in (mine, todo))
        self.n_run += n_run
        self.n_kept += n_run - n_todo
        self.reasons |= reasons

    @property
    def is_whole(self) -> bool:
        """Whether every run that was asked for is done."""
        return self.n_kept + self.n_new == self.n_run


def execute(
    plan: Plan,
    path: Path,
    engine: str = "auto",
    processes: int | None = None,
    part: tuple[int, int] = (1, 1),
    executor: str = "auto",
    progress: Tick | None = None,
    said: Callable[[str], None] | None = None,
) -> Done:
    """Run what is missing of a study in its folder. `part` (i, n) takes every n-th shard, from the i-th on.
    `said` is told why shards are run that might have been done.

    Raises InputError where the folder cannot be used. Interrupted at any instant, what `progress` was told stays done.
    """
    folder = StudyDir(path)
    asked = question_of(plan) if plan.looks else None
    if asked is not None and not asked.n:
        raise InputError(
            "seeds: until decided compares points that see the same traffic with their baseline, and here is nothing to "
            "compare; allowed: seeds as 1..30"
        )
    before = folder.begin(record_of(plan))
    ids = [plan.id_of(shard) for shard in plan.all_shards()]
    done = Done(path, 0, 0)
    for n_seed, shards in plan.stages():
        mine = [i for i in shards if i % part[1] == part[0] - 1]
        todo, reasons = missing(plan, folder, ids, mine, before)
        done.add(plan, mine, todo, {ids[i]: why for i, why in reasons.items()})
        if said is not None and todo:
            for line in reason_lines(reasons, ids, len(mine)):
                said(line)
        task = Task(plan, path, engine)
        run_stage(done, outcomes(task, todo, n_threads(processes), executor, folder, ids, done), progress)
        if any(folder.mark(ids[i]) is None for i in shards):
            done.is_waiting = not done.failed
            return done
        done.n_seed = n_seed
        if asked is not None and is_over(plan, asked, folder, done):
            break
    done.n_removed = folder.remove_others(ids[: shards.stop])
    keep_compared(plan, asked, folder, done.n_seed)
    return done


def run_stage(done: Done, found: Iterator[Outcome], progress: Tick | None) -> None:
    """Take outcomes as they come and tell how far it is."""
    earlier_s, before = done.wall_s, done.n_new
    begun = time.perf_counter()
    try:
        for outcome in found:
            done.n_new += outcome.n_run
            done.wall_s = earlier_s + time.perf_counter() - begun
            if progress is not None:
                rate = (done.n_new - before) / (done.wall_s - earlier_s)
                n = done.n_kept + done.n_new
                left_s = (done.n_run - n) / rate
                progress(
                    n / done.n_run,
                    1.0,
                    f"{n:,} of {done.n_run:,} runs, {rate:,.0f}/s, {span(left_s)} left",
                )
    finally:
        done.wall_s = earlier_s + time.perf_counter() - begun


def is_over(plan: Plan, asked: Question, folder: StudyDir, done: Done) -> bool:
    """Whether a study may stop after a round: every comparison is decided, or there is no further round. Kept in the folder
    if so.
    """
    assert plan.looks is not None
    seen = [n for n in plan.looks if n <= done.n_seed]
    found = compare_points(asked, Results(folder.path), plan.seeds[: done.n_seed], seen)
    done.n_compared, done.n_decided = found.n_judged, n_decided(found)
    if done.n_decided < done.n_compared and done.n_seed < len(plan.seeds):
        return False
    folder.stop(
        {
            "seeds": done.n_seed,
            "looks": seen,
            "measures": {key: {"margin": margin} for key, margin in asked.margins.items()},
            "comparisons": done.n_compared,
            "decided": done.n_decided,
        }
    )
    return True


def missing(
    plan: Plan, folder: StudyDir, ids: Sequence[str], mine: Sequence[int], before: dict[str, Any] | None
) -> tuple[list[int], dict[int, str]]:
    """(the shards that have to be run, why each of them)."""
    changed = what_changed(before, plan)
    earlier = set(before.get("shards", ())) if before else set()
    todo, reasons = [], {}
    for i in mine:
        why = folder.why_not_done(ids[i])
        if why is None:
            continue
        failure = folder.failure(ids[i])
        if failure is not None:
            why = f"failed before: {failure}"
        elif why == "not finished" and before is None:
            why = FIRST_RUN
        elif why == "not finished" and ids[i] not in earlier:
            why = changed
        todo.append(i)
        reasons[i] = why
    return todo, reasons


def reason_lines(reasons: Mapping[int, str], ids: Sequence[str], n_shard: int) -> list[str]:
    """Why shards are run although the study was begun before: a line for each reason."""
    lines = []
    for why, n in Counter(reasons.values()).items():
        if why != FIRST_RUN:
            named = [ids[i] for i, other in reasons.items() if other == why][:3]
            more = "" if n <= len(named) else ", …"
            lines.append(f"{n:,} of {n_shard:,} shards are run: {why} ({', '.join(named)}{more})")
    return lines


def what_changed(before: dict[str, Any] | None, plan: Plan) -> str:
    """Why shards of a plan are others than those of the plan before."""
    if before is None:
        return FIRST_RUN
    old = before.get("depends") or {}
    parts = [text for name, text in PARTS.items() if old.get(name) != plan.depends.get(name)]
    return "; ".join(parts) or "not in the earlier plan: axes, seeds or histograms have changed"


def outcomes(
    task: Task, todo: list[int], n: int, executor: str, folder: StudyDir, ids: Sequence[str], done: Done
) -> Iterator[Outcome]:
    """Shards as they are done. One that fails is tried again, and put aside after some times; bad input at once."""
    failures: Counter[int] = Counter()
    while todo:
        again = []
        for outcome in with_executor(task, todo, n, executor):
            if outcome.error is None:
                yield outcome
                continue
            failures[outcome.number] += 1
            if outcome.is_input or failures[outcome.number] >= TRIES:
                folder.fail(ids[outcome.number], outcome.error, failures[outcome.number])
                done.is_input = done.is_input or (outcome.is_input and not done.failed)
                done.failed[ids[outcome.number]] = outcome.error
            else:
                again.append(outcome.number)
        todo = sorted(again)


def with_executor(task: Task, todo: Sequence[int], n: int, executor: str) -> Iterator[Outcome]:
    """By the executor that was asked for. `auto`: here, and on processes once what is left to do is worth starting them."""
    if executor != "auto":
        chosen: dict[str, Executor] = {"here": Here(), "processes": Processes(n), "ray": Ray(n)}
        yield from chosen[executor].run(task, todo)
        return
    compiled_loop()
    n_left = sum(task.plan.shard(i).n_run for i in todo)
    for place, outcome in enumerate(Here().run(task, todo), 1):
        yield outcome
        n_left -= outcome.n_run
        left_s = outcome.wall_s / outcome.n_run * n_left / n
        if n > 1 and len(todo) - place > 1 and left_s > PROCESS_PAYS_S:
            yield from Processes(min(n, len(todo) - place)).run(task, todo[place:])
            return


def record_of(plan: Plan) -> dict[str, Any]:
    """What study.json holds: the plan, and what its results depend on; the same for the same plan."""
    study = plan.study
    record: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "name": study.name,
        "question": study.question,
        "scenario": study.scenario,
        "overrides": list(study.overrides),
        "said": list(study.said),
        "keys": [{"key": c.key, "kind": c.kind} for c in plan.points.columns],
        "constraints": [rule.text for rule in study.constraints],
        "sampler": study.sampler._asdict(),
        "points": plan.points.n,
        "seeds": said_seeds(plan),
        "until_decided": study.seeds.until_decided,
        "baseline": plain(dict(study.baseline)),
        "control": study.control,
        "decide": judged_on(plan),
        "histograms": study.histograms,
        "partition": partition_of(plan),
        "depends": plan.depends,
        "versions": versions(),
        "shards": [plan.id_of(shard) for shard in plan.all_shards()],
    }
    if plan.looks:
        record["rounds"] = [{"seeds": n, "shards": shards.stop} for n, shards in plan.stages()]
    return record


def span(seconds: float) -> str:
    """A time as people say it: 45 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def read_part(text: str) -> tuple[int, int]:
    """`2/8` as the second of eight parts; raises InputError."""
    first, slash, of = text.partition("/")
    if not slash or not (first.isdecimal() and of.isdecimal()) or not 1 <= int(first) <= int(of) <= 1_000_000:
        raise InputError(f"--shard: {text!r} is not valid; allowed: i/n with 1 ≤ i ≤ n, as 1/8")
    return int(first), int(of)
