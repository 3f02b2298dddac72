"""Why requests missed, for a page: the sentence, the charts over time, the table by cause."""

from __future__ import annotations

from sim.analysis.blame import Blame, Spent, blame_of_run, causes_seen
from sim.records.run_dir import RunFiles
from sim.report.figure import Figure
from sim.report.markup import Cell, Html, Table, listed, paragraph, table
from sim.report.page_time import figure_of
from sim.report.panels import time_axis
from sim.report.plot_why import labelled, mean_panel, missed_panel, shares_panel
from sim.report.text import number
from sim.report.why import LABELS, no_promise, sentence
from sim.report.why_cold import cold_wait, link_lines, wait_page_table


def blame_section(run: RunFiles) -> list[Html | Figure]:
    """What the misses of a run spent their time on; InputError where its requests were not kept."""
    found = blame_of_run(run)
    axis = time_axis(float(run.summary["duration_s"]))
    spans = [(0.0, float(run.summary["warmup_s"]))]
    panels = {"why-missed": missed_panel(axis, found)}
    if found.n_missed and labelled(found):
        panels |= {"why-mean": mean_panel(axis, found), "why-shares": shares_panel(axis, found)}
    parts: list[Html | Figure] = [paragraph(sentence(found))]
    if not found.promises and found.n:
        parts.append(paragraph(no_promise(found), "note"))
    if found.unanswered:
        fates = ", ".join(f"{number(n)} {fate}" for fate, n in found.unanswered.items())
        parts.append(paragraph(f"never answered: {fates}", "note"))
    if found.n_missed:
        parts.append(cause_table(found))
        wait = cold_wait(run, found)
        parts += [] if wait is None else [wait_page_table(wait, found), listed(link_lines(wait))]
        parts += [figure_of(name, panel, spans) for name, panel in panels.items()]
    return parts


def cause_table(blame: Blame) -> Html:
    """A row for each cause: its share and mean of the misses, beside those that met."""
    if not (blame.missed.n or blame.met.n):
        return Html("")
    missed, met = ("missed", "met") if blame.promises else ("slowest", "the rest")
    rows: list[list[Cell | str]] = [
        [LABELS[cause], *_cells(blame.missed, cause), *_cells(blame.met, cause)]
        for cause in causes_seen([blame.missed, blame.met], blame.measure)
    ]
    rows.append(["all", *_cells(blame.missed, None), *_cells(blame.met, None)])
    counts = [Cell(number(some.n), some.n) for some in (blame.missed, blame.met)]
    rows.append(["answered requests", counts[0], "", counts[1], ""])
    return table(
        Table((f"{blame.measure} spent on", missed, "mean ms", met, "mean ms"), rows), caption="causes"
    )


def _cells(spent: Spent, cause: str | None) -> list[Cell | str]:
    part = 1.0 if cause is None else spent.share(cause)
    mean_s = spent.mean_s(cause)
    mean_ms = None if mean_s is None else mean_s * 1e3
    return [
        Cell(f"{part * 100:.1f} %" if spent.n else "–", part if spent.n else None),
        Cell(number(mean_ms), mean_ms),
    ]
