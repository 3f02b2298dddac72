"""The pictures of a cluster as parts of a run's picture and of its page; those of starts where they were kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sim.records.occupancy import occupancy
from sim.records.run_dir import RunFiles
from sim.report.cluster.bill import bill_chart, bill_values
from sim.report.cluster.gantt import Gantt, gantt
from sim.report.cluster.levels import cluster_panels
from sim.report.cluster.rows import gpu_rows
from sim.report.cluster.waterfall import all_starts, chosen, height_of, title_of, values_of, waterfall
from sim.report.figure import Figure, Group
from sim.report.markup import Html, tag
from sim.report.panels import Axis, apart, unmeasured
from sim.report.style import WIDTH
from sim.units import s_to_ps

PAGE_PX = 300  # of an axis on a narrow page
DRAWN = ("slowest", "median")  # starts of a picture, which has less room than a page
HELD_BACK_NOTE = (
    "A red line is as long as a link, its node or a peer held a transfer back: how long, not when. What is moved at the"
    " speed that was drawn for it waits for nothing."
)


def has_cluster(run: RunFiles) -> bool:
    """Whether a run had nodes."""
    return bool(run.summary.get("node_groups"))


def gpus_over_time(run: RunFiles, axis: Axis, width_px: float = WIDTH) -> Gantt | None:
    """The GPUs of a run over time; None without a cluster, or where no events were kept."""
    if not has_cluster(run) or run.tables.events.num_rows == 0:
        return None
    told = occupancy(run.tables.events, s_to_ps(float(run.summary["end_s"])))
    rows = gpu_rows(run.config, told)
    return gantt(run, axis, told, rows, width_px) if rows.n else None


def charts_below(run: RunFiles) -> list[Any]:
    """What stands below the panels over time of a run's picture: some cold starts, and the bill."""
    charts = []
    starts = [one for one in chosen(all_starts(run.tables.starts)) if one[0] in DRAWN]
    for why, start in starts:
        chart = waterfall(start, starts[0][1].total_s)
        title = f"Cold start, {title_of(why, start)}"
        charts.append(chart.properties(width=WIDTH, height=height_of(start), title=title))
    if has_cluster(run):
        chart, height = bill_chart(run.summary["usd_lines"])
        charts.append(chart.properties(width=WIDTH, height=height, title="The bill by line"))
    return charts


def gpu_figures(run: RunFiles, axis: Axis, spans: list[tuple[float, float]]) -> list[Html | Figure | Group]:
    """The GPUs of a run over time, then its nodes, links and power, for its page."""
    found = gpus_over_time(run, axis, PAGE_PX)
    figures = []
    if found is not None:
        panel = found.panel
        chart = apart([unmeasured(axis, spans), *panel.layers])
        figures.append(Figure("gpus", panel.title, chart, found.values, found.note, panel.height))
    for name, panel in cluster_panels(run, axis):
        chart = apart([unmeasured(axis, spans), *panel.layers])
        figures.append(Figure(f"cluster-{name}", panel.title, chart, height=panel.height))
    return [tag("h3", "GPUs"), *figures] if figures else []


def start_figures(run: RunFiles) -> list[Html | Figure | Group]:
    """Some cold starts of a run, step by step, for its page."""
    starts = chosen(all_starts(run.tables.starts))
    if not starts:
        return []
    figures = [
        Figure(
            f"start-{i}", title_of(why, start), waterfall(start, start.total_s), values_of(start),
            height=height_of(start),
        )
        for i, (why, start) in enumerate(starts)
    ]  # fmt: skip
    is_held_back = any(step.link is not None for _, start in starts for step in start.steps)
    note = [tag("p", HELD_BACK_NOTE, klass="note")] if is_held_back else []
    return [tag("h3", "Step by step"), *note, Group(figures, has_one_legend=True)]


def bill_figures(run: RunFiles) -> Sequence[Figure]:
    """The bill by line, for a page."""
    lines = run.summary["usd_lines"]
    if not has_cluster(run) or not lines:
        return []
    chart, height = bill_chart(lines)
    return [Figure("bill-chart", "The bill by line", chart, bill_values(lines), height=height)]
