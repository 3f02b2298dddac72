"""The verbs that draw what was kept: `plot`, `why`, `report`. Each returns the files that it wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sim.errors import InputError, problem
from sim.words import take_flags, take_value

PAGE = "report.html"


def plot(words: list[str], console: Callable[[], Any]) -> list[Path]:
    """`plot RUN`: the picture of a run that was kept. Raises InputError."""
    take_flags("plot", words, ())
    if not words or "=" in words[0]:
        raise InputError("plot: needs a run first, as `fleetsim plot latest` or `fleetsim plot results/...`")
    if len(words) > 1:
        raise InputError(problem("plot", words[1], "one run and nothing else, as `fleetsim plot latest`"))
    from sim.records.run_dir import find_run
    from sim.report.plot import plot_run

    return plot_run(find_run(words[0]))


def why(words: list[str], console: Callable[[], Any]) -> list[Path]:
    """`why RUN [class=NAME] [measure=ttft|e2e]`: what the misses of a run that was kept spent their time on."""
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
    from sim.records.found import RUN, find_result

    found = [find_result(word) for word in words]
    if len(found) == 1:
        return one_page(*found[0])
    others = [f"{path} is a {kind}" for kind, path in found if kind != RUN]
    if others:
        raise InputError(f"report: several results are put side by side where all are runs; {others[0]}")
    raise InputError("report: takes one run")


def one_page(kind: str, path: Path) -> tuple[str, Path]:
    """The page of one result."""
    from sim.records.found import RUN

    if kind == RUN:
        from sim.records.run_dir import read_run
        from sim.report.page_run import run_page

        return run_page(read_run(path)), path
    raise InputError(f"report: {path} is a {kind}; takes one run")


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
