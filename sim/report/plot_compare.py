"""Several runs in one picture: ttft and replicas over time, and what each setting costs for its p99."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sim.errors import InputError
from sim.records.run_dir import RunFiles, read_run
from sim.report.heads import head_of_runs
from sim.report.labels import place_labels
from sim.report.panels import Axis, Rows, apart, limit_lines, log_ticks, long_rows, time_axis, value_axis
from sim.report.panels_parts import told_apart
from sim.report.plot import stem_of, title_of, write_chart
from sim.report.series import (
    Samples,
    TtftPart,
    fleet_samples,
    last_event_s,
    ttft_limits,
    ttft_over_time,
    ttft_parts,
)
from sim.report.style import BLACK, MAX_LOOKS, WIDTH, configured, looks
from sim.report.text import seconds
from sim.scenario.resolved import traffic_key

MAX_RUNS = MAX_LOOKS
SCATTER_HEIGHT = 220  # px


def plot_comparison(
    runs: Mapping[str, Path | str], out: Path | str, formats: tuple[str, ...] = ("html", "png")
) -> list[Path]:
    """Draws runs (name → folder) over each other. Returns the files written.

    `out` is a folder (then comparison.html and comparison.png) or a file name whose ending is replaced.
    Raises InputError when a run cannot be read, there are too many, or the files cannot be written.
    """
    if not 1 <= len(runs) <= MAX_RUNS:
        raise InputError(f"runs: {len(runs)} given; a picture holds 1 to {MAX_RUNS}")
    read = {name: read_run(path) for name, path in runs.items()}
    return write_chart(comparison_chart(read), stem_of(out, Path(), "comparison"), formats)


def comparison_chart(runs: Mapping[str, RunFiles]) -> Any:
    """The altair chart of several runs."""
    import altair as alt

    samples = {name: fleet_samples(run.tables.timeseries, run.config) for name, run in runs.items()}
    ends_s = [last_event_s(samples[name], run.summary["duration_s"]) for name, run in runs.items()]
    axis = time_axis(max(ends_s))
    first = next(iter(runs.values()))
    above = axis._replace(is_named=False)
    panels = [_ttft_panel(above, runs, part) for part in ttft_parts(first.summary)]
    panels += [_replicas_panel(axis, samples), _cost_panel(runs, ttft_limits(first.summary, [], [None])[:1])]
    n_traffic = len({traffic_key(run.config["config"]) for run in runs.values()})
    same = "the same traffic" if n_traffic == 1 else f"{n_traffic} kinds of traffic: not all can be compared"
    head = head_of_runs([(run.config, run.summary) for run in runs.values()])
    title = title_of(first.summary, head, [f"{len(runs)} settings, {same}"])
    return configured(alt.vconcat(*[p for p in panels if p is not None]).properties(title=title))


def _ttft_panel(axis: Axis, runs: Mapping[str, RunFiles], part: TtftPart) -> Any:
    """p99 of ttft by arrival time, a line a run; None where no run kept such requests."""

    data: Rows = []
    for name, run in runs.items():
        ttft = ttft_over_time(run.tables.requests, float(run.summary["duration_s"]), part.classes)
        if ttft is not None:
            data += long_rows(axis, ttft.time_s, {name: ttft.value["p99"]})
    if not data:
        return None
    limits = part.limits[:1]
    y = value_axis([row["y"] for row in data if row["y"] is not None] + [v for v, _ in limits], "seconds")
    lines = told_apart(axis, data, y, list(runs))
    layers = apart([lines, *limit_lines(limits, y)])
    whose = f" of {part.name}" if part.name else ""
    title = f"Time to first token{whose}, p99 by arrival (gaps: never served)"
    return layers.properties(width=WIDTH, height=170, title=title)


def _replicas_panel(axis: Axis, samples: Mapping[str, Samples]) -> Any:
    """Ready replicas, a line a run."""
    import altair as alt

    data = [row for n, s in samples.items() for row in long_rows(axis, s.time_s, {n: s.stages["ready"]})]
    y = alt.Y("y:Q", title="replicas")
    lines = told_apart(axis, data, y, list(samples), interpolate="step-after")
    return alt.layer(lines).properties(width=WIDTH, height=140, title="Ready replicas")


def _cost_panel(runs: Mapping[str, RunFiles], limits: list[tuple[float, str]]) -> Any:
    """Cost against the p99 of ttft, a point a run; an infinite p99 is a triangle on the upper edge."""
    import altair as alt

    points = [_cost_point(name, run.summary) for name, run in runs.items()]
    span = _spread(points, [limit for limit, _ in limits])
    y_scale = alt.Scale(type="log", domain=[span.low, span.high], nice=False)
    y = alt.Y("y:Q", title="ttft p99, seconds (log)", scale=y_scale, axis=log_ticks(span.low, span.high))
    x_scale = alt.Scale(domain=[0, span.usd], nice=False)
    x = alt.X("usd:Q", title="cost (usd per hour)", scale=x_scale, axis=alt.Axis(tickCount=8))
    names = [point["series"] for point in points]
    found = looks(names)
    colours = alt.Scale(domain=names, range=[found[name].colour for name in names])
    shapes = alt.Scale(domain=["served", "never"], range=["circle", "triangle-up"])
    marks = (
        alt.Chart(alt.InlineData(points))
        .mark_point(filled=True, size=90, opacity=1)
        .encode(
            x=x,
            y=y,
            color=alt.Color("series:N", scale=colours, legend=None),
            shape=alt.Shape("kind:N", scale=shapes, legend=None),
            tooltip=["series:N", "usd:Q", "p99:N"],
        )
    )
    rules = [
        alt.Chart(alt.InlineData([{"y": limit}])).mark_rule(strokeDash=[6, 4], color=BLACK).encode(y=y)
        for limit, _ in limits
    ]
    title = "What it costs, and what it gives (lower left is better; ▲ never served)"
    layers = [*rules, marks, *_names(points, span, x, y)]
    return alt.layer(*layers).properties(width=WIDTH, height=SCATTER_HEIGHT, title=title)


class Span(NamedTuple):
    """The axes of the cost panel: seconds from low to high, usd per hour from 0."""

    low: float
    high: float
    usd: float

    def place(self, point: Mapping[str, Any]) -> tuple[float, float]:
        """Where a point is drawn, in px from the upper left corner."""
        x = point["usd"] / self.usd * WIDTH
        return x, math.log(self.high / point["y"]) / math.log(self.high / self.low) * SCATTER_HEIGHT


def _cost_point(name: str, summary: Mapping[str, Any]) -> dict[str, Any]:
    p99_s = summary["ttft"]["p99_s"]
    is_served = p99_s is not None and math.isfinite(p99_s)
    return {
        "series": name,
        "usd": round(float(summary["usd_per_hour"] or 0.0), 4),
        "y": p99_s if is_served else None,
        "kind": "served" if is_served else "never",
        "p99": seconds(p99_s),
    }


def _spread(points: Rows, limits: list[float]) -> Span:
    """Axes that hold every point; those without a y get one near the upper edge."""
    finite = [value for value in [*(p["y"] for p in points), *limits] if value]
    low, high = (min(finite) / 2, max(finite) * 3) if finite else (0.1, 10.0)
    for point in points:
        point["y"] = high / (high / low) ** 0.05 if point["y"] is None else max(point["y"], low)
    return Span(low, high, max(point["usd"] for point in points) * 1.3 or 1.0)


def _names(points: Rows, span: Span, x: Any, y: Any) -> list[Any]:
    """A text layer for each point's name that has room."""
    import altair as alt

    at = [span.place(point) for point in points]
    places = place_labels(at, [point["series"] for point in points], (WIDTH, SCATTER_HEIGHT))
    return [
        alt.Chart(alt.InlineData([point]))
        .mark_text(align=place.align, dx=place.dx, dy=place.dy, fontSize=11, color=BLACK)  # type: ignore[arg-type]
        .encode(x=x, y=y, text="series:N")
        for point, place in zip(points, places, strict=True)
        if place is not None
    ]
