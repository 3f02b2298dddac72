"""The verbs of studies, as text: `plan`, `sweep`, `sql`. What they print and ask goes through the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.errors import InputError, nearest, problem
from sim.words import take_flags, take_value

if TYPE_CHECKING:
    from sim.studies.estimate import Estimate
    from sim.studies.execution import Done
    from sim.studies.planning import Plan

ASK_ABOVE_S = 600.0
SHOWN_POINTS = 12  # of a table on the terminal
LISTED_ROWS = 40
Say = Callable[[str], Any]


def planned(verb: str, words: list[str]) -> Plan:
    """The plan that words ask for; raises InputError."""
    for word in words:
        if word.startswith("--"):
            known = ("--yes", "--shard", "--executor") if verb == "sweep" else ("--yes",)
            raise InputError(f"{verb}: {word!r} is no option of it; there are: {', '.join(known)}")
    if not words or "=" in words[0]:
        raise InputError(f"{verb}: needs a study or a scenario first, as `fleetsim {verb} spiky_policies`")
    from sim.studies.planning import check_points, make_plan
    from sim.studies.reading import load_study

    plan = make_plan(load_study(words[0], words[1:]))
    check_points(plan)
    return plan


def folder_of(plan: Plan, words: Sequence[str]) -> Path:
    """Where a study's results are."""
    from sim.studies.planning import folder_name

    return Path(plan.scenario(0).output.dir) / folder_name(plan.study, words[0], words[1:])


def plan_text(words: list[str]) -> str:
    """`plan STUDY`: points, runs, and what they will take, from a measured trial."""
    words = [word for word in words if word != "--yes"]
    plan = planned("plan", words)
    from sim.studies.estimate import estimate

    found = estimate(plan, plan.scenario(0).engine.threads)
    lines = [plan.study.question] if plan.study.question else []
    lines += [
        f"{plan.study.name}: {plan.study.scenario}, {plan.points.n:,} points × {len(plan.seeds):,} seeds"
    ]
    for column in plan.points.columns:
        lines.append(f"  {column.key}: {values_text(column)}")
    lines += [f"  only where {rule.text}" for rule in plan.study.constraints]
    if plan.looks:
        lines.append(
            f"  looked at after {', '.join(map(str, plan.looks))} seeds; what follows is if all are needed"
        )
    lines += estimate_lines(plan, found)
    lines.append(f"results: {folder_of(plan, words)}")
    return "\n".join(lines) + "\n"


def values_text(column: Any) -> str:
    """The values of an axis in a few words."""
    table = list(column.table)
    shown = ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in table[:8])
    return shown if len(table) <= 8 else f"{shown}, … {len(table):,} values"


def estimate_lines(plan: Plan, found: Estimate) -> list[str]:
    """What a study will take."""
    from sim.studies.execution import span

    return [
        f"{found.n_run:,} runs in {plan.n_shard:,} shards",
        f"time    about {span(found.wall_s)} on {found.processes} processes",
        f"memory  about {size(found.memory_bytes)}",
        f"disk    about {size(found.disk_bytes)}",
        f"measured by {found.n_trial} runs: {found.run_s * 1e3:.3g} ms each, {found.pack_s * 1e3:.3g} ms to compose",
    ]


def size(n_bytes: float) -> str:
    """Bytes as people say them."""
    for unit in ("B", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} GB"


def sweep(words: list[str], console: Any, tell: Say, ask: Callable[[str], bool], progress: Any) -> int:
    """`sweep STUDY|SCENARIO [key=a,b ...]`: run what is missing of a study; 3 when a limit failed in a run."""
    from sim.studies.estimate import estimate
    from sim.studies.execution import EXECUTORS, execute, read_part, span

    part = read_part(take_value("sweep", words, "--shard") or "1/1")
    executor = take_value("sweep", words, "--executor") or "auto"
    if executor not in EXECUTORS:
        raise InputError(problem("--executor", executor, ", ".join(EXECUTORS), nearest(executor, EXECUTORS)))
    is_sure = "--yes" in words
    words[:] = [word for word in words if word != "--yes"]
    plan = planned("sweep", words)
    story, path = plan.scenario(0), folder_of(plan, words)
    if not is_sure:
        found = estimate(plan, story.engine.threads, quick=True)
        wall_s = found.wall_s * left(plan, path, part)
        if wall_s > ASK_ABOVE_S and not ask(f"{found.n_run:,} runs take about {span(wall_s)}; go on?"):
            raise InputError(f"sweep: about {span(wall_s)} of computing; --yes begins it without asking")
    with progress(f"{plan.n_run:,} runs of {plan.study.name}") as tick:
        try:
            done = execute(plan, path, story.engine.name, story.engine.threads, part, executor, tick, tell)
        except BaseException:
            if path.is_dir():  # else it was refused before anything was begun
                tell(f"what is done is kept in {path}; the same command goes on from there")
            raise
    return finished(plan, done, console, tell)


def left(plan: Plan, path: Path, part: tuple[int, int]) -> float:
    """The share of a plan that still has to be run."""
    from sim.records.study_dir import StudyDir

    folder = StudyDir(path)
    mine = list(plan.all_shards())[part[0] - 1 :: part[1]]
    return sum(s.n_run for s in mine if folder.mark(plan.id_of(s)) is None) / plan.n_run


def finished(plan: Plan, done: Done, console: Any, tell: Say) -> int:
    """Say what became of a study; returns the exit code."""
    if done.failed:
        for shard, why in list(done.failed.items())[:5]:
            tell(f"shard {shard} was put aside: {why}")
        more = len(done.failed) - 5
        if more > 0:
            tell(f"… and {more} more; {done.path / 'failed'} has the reasons")
    if done.n_removed:
        tell(f"{done.n_removed} shards of an earlier plan were removed")
    if plan.looks:
        tell(decided_line(plan, done))
    if not done.n_run:
        tell(f"this part has nothing to run: there are {plan.n_shard} shards")
        return 0
    if not done.n_kept + done.n_new:
        return 2 if done.is_input else 1
    from sim.records.study_open import open_study

    results = open_study(done.path)
    print_table(plan, done, results, console)
    if done.failed:
        return 2 if done.is_input else 1
    return 3 if False in results.runs["slo_ok"].unique().to_pylist() else 0


def decided_line(plan: Plan, done: Done) -> str:
    """After how many seeds a study that runs until it is decided was over, and why."""
    if done.is_waiting:
        return "this part of the round is done; when the others are, the same command goes on with the next round"
    if not done.n_compared and done.n_kept + done.n_new < done.n_run:
        return "nothing is decided: shards of a round are missing"
    if not done.n_compared:
        names = ", ".join(name for name, _ in plan.study.decide) or "what the limits are on"
        return f"nothing is decided: no run of {done.n_seed} seeds has a value of {names}"
    n, still = done.n_compared, done.n_compared - done.n_decided
    if not still:
        return (
            f"stopped after {done.n_seed} of at most {len(plan.seeds)} seeds: all {n} comparisons are decided"
        )
    return f"all {done.n_seed} seeds were run, and {still} of {n} comparisons are still unclear"


def print_table(plan: Plan, done: Done, results: Any, console: Any) -> None:
    """The means of a few points, or where many are and how to ask for them."""
    from sim.analysis.studied import ALL_POINTS, ALL_RUNS, TOO_MANY

    is_whole = results.n_done == results.n_shard and plan.points.n * done.n_seed <= ALL_RUNS
    if plan.points.n <= SHOWN_POINTS and is_whole:
        from sim.report.sweep_terminal import control_line, print_sweep
        from sim.sweeps.run import Sweep

        came_to, seeds = studied_of(results), list(plan.seeds[: done.n_seed])
        rows = results.columns(["variant"]).to_pylist()
        wall_s = 0.0 if done.n_kept else done.wall_s  # else it is of a part of the rows
        names = [row.name for row in came_to.found.rows]
        print_sweep(Sweep(plan.scenario(0), names, seeds, rows, done.path, wall_s), console, came_to.found)
        if came_to.control is not None:
            console.print(control_line(came_to.control))
    else:
        speed = f", {done.n_new / done.wall_s:,.0f} runs/s" if done.n_new and done.wall_s > 0 else ""
        console.print(
            f"{done.n_kept + done.n_new:,} of {done.n_run:,} runs are done ({done.n_new:,} now{speed})"
        )
        if plan.points.n <= ALL_POINTS and is_whole:
            print_judged(plan, results, console)
        elif plan.study.control == "arrivals":
            console.print(f"control: means are as they are: {TOO_MANY}")
        console.print(f"files in {done.path}", soft_wrap=True)
    by = f'"{plan.points.columns[0].key}", ' if plan.points.columns else ""
    console.print(
        f"ask    fleetsim sql 'select {by}avg(usd_per_hour), avg(slo_attainment) from runs group by all' {done.path}",
        soft_wrap=True,
    )


def print_judged(plan: Plan, results: Any, console: Any) -> None:
    """A line a point: what the study decides on, and the verdict against the baseline of its traffic."""
    from sim.measures.shown import compared
    from sim.report.sweep_terminal import control_line, print_verdicts
    from sim.studies.comparing import decided_on

    came_to = studied_of(results)
    if came_to.found.n_judged:
        print_verdicts(came_to.found, console, [compared(name).key for name, _ in decided_on(plan)])
    if came_to.control is not None:
        console.print(control_line(came_to.control))


def studied_of(results: Any) -> Any:
    """What all points of a study come to."""
    from sim.analysis.studied import judged_measures, pairing_of, studied
    from sim.analysis.varied import varied_of_study

    keys = [str(entry["key"]) for entry in results.study["keys"]]
    columns = [one.key for one in judged_measures(results.study)[0]]
    runs = results.columns(["variant", *keys, "slo_ok", *columns])
    every = varied_of_study(runs, keys)
    return studied(results, runs, every.names, pairing_of(results, every), range(len(every.names)))


def sql_rows(words: list[str]) -> tuple[Any, bool]:
    """`sql QUERY RESULT [--json]`: (the answer as an Arrow table, whether as JSON)."""
    flags = take_flags("sql", words, ("--json",))
    if len(words) != 2:
        raise InputError(
            "sql: needs a query and a result, as fleetsim sql 'select * from runs' results/study-spiky_policies"
        )
    from sim.records.study_open import open_study

    return open_study(words[1]).sql(words[0]), "--json" in flags


def sql_text(words: list[str], console: Any) -> str:
    """`sql`, printed as a table on a console; returned as text where JSON is asked for."""
    table, as_lines = sql_rows(words)
    if as_lines:
        from sim.records.study_open import as_json

        return as_json(table)
    from sim.report.sweep_terminal import print_rows

    print_rows(table.column_names, table.slice(0, LISTED_ROWS).to_pylist(), table.num_rows, console)
    return ""
