"""The picture of what misses spent their time on: how many missed, their mean by cause, its shares over time."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.analysis.blame import Blame, blame_of_run, causes_seen
from sim.errors import InputError, nearest, problem
from sim.records.run_dir import RunFiles, find_run, read_run
from sim.report.heads import head_of_run
from sim.report.panels import Axis, Panel, areas, long_rows, stacked, time_axis
from sim.report.plot import SUBTITLE_CHARACTERS, stem_of, title_of, write_chart
from sim.report.style import CAUSE_COLOURS, RED, configured
from sim.report.why import LABELS, UNTIL, no_promise, print_why, sentence, start_waits
from sim.report.why_cold import cold_wait, link_lines, wait_table
from sim.report.why_request import print_request

if TYPE_CHECKING:
    from rich.console import Console

MET = "#C9D6DF"


SETTINGS = ("class", "measure", "request")


def why_run(words: Sequence[str], console: Console) -> list[Path]:
    """Prints and draws what `why RUN [class=NAME] [measure=ttft|e2e]` asks for, or prints what `why RUN request=ID` does;
    the files written.

    Raises InputError for words it cannot use, a run that is not there or kept no requests.
    """
    name, asked = asked_of(words)
    run = read_run(find_run(name))
    if "request" in asked:
        if len(asked) > 1:
            raise InputError("why: request=ID is asked for alone, without class and measure")
        print_request(run, asked["request"], console)
        return []
    found = blame_of_run(run, asked.get("class"), asked.get("measure"))
    print_why(found, console)
    wait = cold_wait(run, found)
    if wait is not None:
        console.print(wait_table(wait, found))
        for line in link_lines(wait):
            console.print(line, highlight=False)
    for line in start_waits(run.summary):
        console.print(line, highlight=False)
    return plot_why(run, found, list(asked.values()))


def asked_of(words: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The run and the settings that the words name."""
    if not words or "=" in words[0] or words[0].startswith("-"):
        raise InputError("why: needs a run first, as `fleetsim why latest class=chat`")
    asked = {}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals or key not in SETTINGS:
            raise InputError(
                problem(
                    "why", word, "class=NAME, measure=ttft, measure=e2e, request=ID", nearest(key, SETTINGS)
                )
            )
        if key in asked:
            raise InputError(f"why: {word!r}: {key} is said twice; allowed: once")
        asked[key] = value
    return words[0], asked


def plot_why(
    run: RunFiles,
    blame: Blame,
    asked: Sequence[str] = (),
    out: Path | str | None = None,
    formats: Sequence[str] = ("html", "png"),
) -> list[Path]:
    """Draws what the misses of a run spent their time on. Returns the files written.

    `out` as for `plot_run`; None: why.html, why.png in the run's folder, the class and the measure that were asked
    for in their names. Raises InputError when the files cannot be written.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(["why", *asked]))
    return write_chart(why_chart(run, blame), stem_of(out, run.path, name), formats)


def why_chart(run: RunFiles, blame: Blame) -> Any:
    """The altair chart."""
    below = time_axis(float(run.summary["duration_s"]))
    above = below._replace(is_named=False)
    if labelled(blame):
        panels = [missed_panel(above, blame), mean_panel(above, blame), shares_panel(below, blame)]
    else:  # nobody who missed was answered: there is no time to share out
        panels = [missed_panel(below, blame)]
    spans = [(0.0, float(run.summary["warmup_s"]))]
    lines = [sentence(blame)] if blame.promises else [no_promise(blame), sentence(blame)]
    head = head_of_run(run.config, run.summary)
    told = [part for line in lines for part in textwrap.wrap(line, SUBTITLE_CHARACTERS)]
    return configured(stacked(panels, spans).properties(title=title_of(run.summary, head, told)))


def missed_panel(axis: Axis, blame: Blame) -> Panel:
    """Requests that missed and met, by arrival."""
    over = blame.over_time
    names = ("missed", "met") if blame.promises else ("slowest 1 %", "the rest")
    per_s = dict(zip(names, (over.missed / over.width_s, over.met / over.width_s), strict=True))
    colours = dict(zip(names, (RED, MET), strict=True))
    chart = areas(axis, long_rows(axis, over.time_s, per_s), colours, "per second", interpolate="step")
    return Panel("Requests per second, by arrival", 90, axis, [chart])


def mean_panel(axis: Axis, blame: Blame) -> Panel:
    """The mean of the misses, by cause."""
    spent = labelled(blame)
    data = long_rows(axis, blame.over_time.time_s, spent)
    chart = areas(axis, data, colours_of(spent), "seconds", interpolate="step")
    return Panel(f"What the {UNTIL[blame.measure]} of a miss was spent on, mean", 150, axis, [chart])


def shares_panel(axis: Axis, blame: Blame) -> Panel:
    """The same as shares of the whole."""
    spent = labelled(blame)
    whole = np.maximum(sum(spent.values(), start=np.zeros(len(blame.over_time.time_s))), 1e-15)
    parts = {label: 100 * seconds / whole for label, seconds in spent.items()}
    data = long_rows(axis, blame.over_time.time_s, parts)
    chart = areas(axis, data, colours_of(spent), "%", top=100, interpolate="step")
    return Panel("The same as shares", 110, axis, [chart])


def labelled(blame: Blame) -> dict[str, np.ndarray]:
    """Label → mean seconds over time, of the causes that took any time."""
    return {
        LABELS[cause]: blame.over_time.spent_s[cause] for cause in causes_seen([blame.missed], blame.measure)
    }


def colours_of(spent: dict[str, np.ndarray]) -> dict[str, str]:
    """Label → colour."""
    return {label: CAUSE_COLOURS[label] for label in spent}
