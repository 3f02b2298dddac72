"""The verbs that draw what was kept: `plot`, `why`, `report`. Each returns the files that it wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sim.errors import InputError, problem
from sim.words import take_flags, take_value

PAGE = "report.html"


def plot(words: list[str], console: Callable[[], Any]) -> list[Path]:
    """`plot RUN|SWEEP|STUDY|RUN RUN...`: the picture of what was kept. Raises InputError."""
    take_flags("plot", words, ())
    if not words or "=" in words[0]:
        raise InputError("plot: needs a run first, as `fleetsim plot latest` or `fleetsim plot results/...`")
    wrong = next((word for word in words[1:] if "=" in word), None)
    if wrong is not None:
        raise InputError(problem("plot", wrong, "results and nothing else, as `fleetsim plot latest`"))
    from sim.records.found import RUN, find_result

    found = [find_result(word) for word in words]
    if len(found) > 1:
        from sim.records.run_dir import read_run
        from sim.report.page_runs import named
        from sim.report.plot_compare import plot_comparison

        runs, _ = named([read_run(path) for path in only_runs("plot", found)])
        return plot_comparison({name: run.path for name, run in runs.items()}, Path())
    kind, path = found[0]
    if kind == RUN:
        from sim.report.plot import plot_run

        return plot_run(path)
    from sim.report.plot_study import plot_study

    return plot_study(found_of(kind, path), path)


def only_runs(verb: str, found: Sequence[tuple[str, Path]]) -> list[Path]:
    """The folders of several runs. Raises InputError where one of them is something else, or comes twice."""
    from sim.records.found import RUN

    for kind, path in found:
        if kind != RUN:
            line = f"{verb}: several results are put side by side where all are runs; {path} is a {kind}"
            raise InputError(line)
    paths = [path.resolve() for _, path in found]
    for i, path in enumerate(paths):
        if path in paths[:i]:
            raise InputError(f"{verb}: {found[i][1]} is named twice; allowed: each run once")
    return [path for _, path in found]


def why(words: list[str], console: Callable[[], Any]) -> list[Path]:
    """`why RUN [class=NAME] [measure=ttft|e2e] | request=ID`: what misses, or one request, spent their time on."""
    from sim.report.plot_why import why_run

    return why_run(words, console())


def report(words: list[str], console: Callable[[], Any]) -> list[Path]:
    """`report RUN|SWEEP|STUDY|RUN RUN... [-o FILE]`: one page, written whole. Raises InputError."""
    from sim.report.page import write_page

    out = take_value("report", words, "-o")
    take_flags("report", words, ("-o FILE",))
    if not words:
        raise InputError(
            "report: needs a result first, as `fleetsim report latest` or `fleetsim report results/...`"
        )
    text, folder = page_of(words)
    return [write_page(text, place_of(out, folder), "report" if out is None else "report: -o")]


def page_of(words: Sequence[str]) -> tuple[str, Path]:
    """(the page, the folder it goes to unless told otherwise) of one result, or of several runs."""
    from sim.records.found import find_result

    found = [find_result(word) for word in words]
    if len(found) == 1:
        return one_page(*found[0])
    from sim.records.run_dir import read_run
    from sim.report.page_runs import runs_page

    return runs_page([read_run(path) for path in only_runs("report", found)]), Path()


def one_page(kind: str, path: Path) -> tuple[str, Path]:
    """The page of one result."""
    from sim.records.found import RUN

    if kind == RUN:
        from sim.records.run_dir import read_run
        from sim.report.page_run import run_page

        return run_page(read_run(path)), path
    from sim.report.page_study import study_page

    return study_page(found_of(kind, path)), path


def found_of(kind: str, path: Path) -> Any:
    """What a sweep or a study came to."""
    from sim.records.found import STUDY
    from sim.report.study_found import study_found, sweep_found

    if kind == STUDY:
        from sim.records.study_open import open_study

        results = open_study(path)
        return study_found(results, basis_of(str(results.study["scenario"]), results.study["overrides"]))
    from sim.records.sweep_dir import read_plan, read_sweep

    plan = read_plan(path)
    return sweep_found(
        plan, read_sweep(path).to_pylist(), basis_of_config(next(iter(plan["variants"].values()))["config"])
    )


def basis_of(scenario: str, overrides: Sequence[str]) -> Any:
    """What a study's scenario is and rests on; None where it cannot be composed here any more."""
    from sim.records.config import plain
    from sim.scenario.compose import load_scenario

    try:
        story = load_scenario(scenario, list(overrides))
    except InputError:
        return None
    return basis_of_story(story, {"config": plain(story)})


def basis_of_config(config: Any) -> Any:
    """The same of a resolved configuration."""
    from sim.scenario.build import from_dict

    try:
        return basis_of_story(from_dict(config), {"config": config})
    except InputError:
        return None


def basis_of_story(story: Any, config: Any) -> Any:
    """The same of a scenario: its step times are looked up, nothing is run."""
    from sim.report.assumed import assumptions
    from sim.report.study_found import Basis
    from sim.steptime import make_step_table, pool_basis
    from sim.steptime.slices import with_slices

    pools = {}
    for pool in with_slices(story).pools:
        basis = pool_basis(pool)
        step_time = {"class": basis.kind, "text": basis.text, "source": make_step_table(pool).source}
        pools[pool.name] = {"step_time": step_time}
    return Basis(config, assumptions(config, {"pools": pools}))


def place_of(out: str | None, folder: Path) -> Path:
    """Where the page goes: the file or into the folder that was asked for, else into the result's own."""
    if out is None:
        return folder / PAGE
    path = Path(out)
    return path / PAGE if path.is_dir() else path


VERBS: dict[str, Callable[[list[str], Callable[[], Any]], list[Path]]] = {
    "plot": plot,
    "why": why,
    "report": report,
}
