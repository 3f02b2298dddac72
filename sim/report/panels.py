"""The panels of a run's picture, one above the other on one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.analysis.overtime import OverTime
from sim.report.series import STAGE_LABELS, Samples, StationSamples
from sim.report.style import (
    BLACK,
    BLUE,
    DASHES,
    GREY,
    ORANGE,
    OTHER_STAGE,
    RED,
    SKY,
    STAGE_COLOURS,
    STATION_COLOURS,
    WIDTH,
    time_unit,
)

Rows = list[dict[str, Any]]
QUEUE_COLOURS = {"held at the gateway": RED, "waiting at replicas": SKY}
LIMIT_DASHES: tuple[list[int], ...] = ([6, 4], [2, 3], [10, 3, 2, 3])
LOG_FROM = 20.0  # largest / smallest from which an axis is logarithmic


class Axis(NamedTuple):
    """The shared time axis."""

    end_s: float
    unit_s: float
    unit: str
    is_named: bool = True  # the lowest panel alone says what the axis is

    def of(self, time_s: np.ndarray) -> np.ndarray:
        """Times in the axis's unit, short enough to be written out many times."""
        return np.round(time_s / self.unit_s, 5)


class Panel(NamedTuple):
    """One panel before it is put on the page."""

    title: str
    height: int  # px
    axis: Axis
    layers: list[Any]  # altair charts


def time_axis(end_s: float) -> Axis:
    """An axis from 0 to `end_s`."""
    return Axis(end_s, *time_unit(end_s))


def long_rows(axis: Axis, time_s: np.ndarray, series: dict[str, np.ndarray]) -> Rows:
    """One row for each point of each series inside the axis; y is None, a gap, where it is infinite."""
    inside = time_s <= axis.end_s
    t = axis.of(time_s[inside]).tolist()
    return [
        {"t": at, "y": round(y, 6) if np.isfinite(y) else None, "series": name, "order": number}
        for number, (name, values) in enumerate(series.items())
        for at, y in zip(t, values[inside].astype(float).tolist(), strict=True)
    ]


def stacked(panels: list[Panel], unmeasured_s: list[tuple[float, float]], below: Sequence[Any] = ()) -> Any:
    """Panels one above the other, each with its own colours, and grey where arrivals are not measured; then charts that
    have no part in their time axis.
    """
    import altair as alt

    drawn = [
        alt.layer(unmeasured(panel.axis, unmeasured_s), *panel.layers)
        .properties(width=WIDTH, height=panel.height, title=panel.title)
        .resolve_scale(color="independent", strokeDash="independent", shape="independent")
        for panel in panels
    ]
    return alt.vconcat(*drawn, *below).resolve_scale(
        color="independent", strokeDash="independent", shape="independent"
    )


def apart(layers: list[Any]) -> Any:
    """Layers over each other, each with colours, dashes and marks of its own."""
    import altair as alt

    return alt.layer(*layers).resolve_scale(
        color="independent", strokeDash="independent", shape="independent"
    )


def rates_panel(axis: Axis, samples: Samples) -> Panel:
    """Arrivals, further attempts at the same requests where there are any, and completions per second."""
    length_s = np.where(samples.interval_s > 0, samples.interval_s, np.nan)
    counts = {"arrivals": samples.arrivals, "retries": samples.retries, "completions": samples.completions}
    series = {name: n / length_s for name, n in counts.items() if name != "retries" or n.any()}
    data = long_rows(axis, samples.time_s, series)
    colours = {"arrivals": BLUE, "retries": RED, "completions": ORANGE}
    chart = _lines(axis, data, {name: colours[name] for name in series}, _y("per second"))
    return Panel("Requests per second", 110, axis, [chart])


def replicas_panel(axis: Axis, samples: Samples) -> Panel:
    """Replicas by stage as a stack, what serves lowest, with what the autoscaler wants as a line."""
    stages = samples.stages
    upwards = ["ready", *(name for name in reversed(stages) if name not in ("ready", "draining")), "draining"]
    seen = {STAGE_LABELS[name]: stages[name] for name in upwards if stages[name].any() or name == "ready"}
    colours = {label: STAGE_COLOURS.get(label, OTHER_STAGE) for label in seen}
    area = areas(axis, long_rows(axis, samples.time_s, seen), colours, "replicas", interpolate="step-after")
    wanted = long_rows(axis, samples.time_s, {"wanted": samples.wanted})
    line = line_over(axis, wanted, "wanted", interpolate="step-after", strokeDash=[4, 2])
    return Panel("Replicas by stage", 120, axis, [area, line])


def queue_panel(axis: Axis, samples: Samples) -> Panel:
    """Requests waiting (at the gateway and at replicas) as a stack, running as a line."""
    waiting = {"waiting at replicas": samples.waiting}
    if samples.held.any():
        waiting = {"held at the gateway": samples.held, **waiting}
    colours = {name: QUEUE_COLOURS[name] for name in waiting}
    area = areas(axis, long_rows(axis, samples.time_s, waiting), colours, "requests")
    running = long_rows(axis, samples.time_s, {"running": samples.running})
    return Panel("Requests waiting and running", 110, axis, [area, line_over(axis, running, "running")])


def station_panels(axis: Axis, samples: StationSamples) -> list[Panel]:
    """How busy each CPU station is, and the line before it."""
    colours = {name: STATION_COLOURS[i % len(STATION_COLOURS)] for i, name in enumerate(samples.in_line)}
    percent = {name: 100 * use for name, use in samples.use.items()}
    y = _y("%", top=100)
    busy = _lines(axis, long_rows(axis, samples.time_s, percent), colours, y)
    line = areas(axis, long_rows(axis, samples.time_s, samples.in_line), colours, "requests")
    return [
        Panel("CPU stations: workers busy", 70, axis, [busy]),
        Panel("CPU stations: requests in line", 110, axis, [line]),
    ]


def ttft_panel(axis: Axis, ttft: OverTime, limits: list[tuple[float, str]], who: str = "") -> Panel:
    """p50 and p99 of ttft by arrival time, its limits dashed, and marks where requests were never served."""
    series = {"p99": ttft.value["p99"], "p50": ttft.value["p50"]}
    data = long_rows(axis, ttft.time_s, series)
    shown = [row["y"] for row in data if row["y"] is not None] + [limit for limit, _ in limits]
    y = value_axis(shown, "seconds")
    never = ttft.time_s[np.isinf(ttft.value["p99"])]
    has_gaps = any(row["y"] is None for row in data)
    chart = _lines(axis, data, {"p99": RED, "p50": BLUE}, y, point=has_gaps)
    layers = [chart, *limit_lines(limits, y)]
    if len(never):
        layers.append(_never_served(axis, never))
    title = f"Time to first token{f' of {who}' if who else ''}, by arrival" + (
        " (▲ p99 never served)" if len(never) else ""
    )
    return Panel(title, 140, axis, layers)


def value_axis(shown: list[float], title: str) -> Any:
    """A y axis for durations: logarithmic where they differ widely, from 0 otherwise."""
    import altair as alt

    positive = [value for value in shown if value > 0]
    low, high = (min(positive), max(positive)) if positive else (0.1, 1.0)
    if high / low < LOG_FROM:
        return alt.Y("y:Q", title=title, scale=alt.Scale(domain=[0, high * 1.15], nice=False))
    scale = alt.Scale(type="log", domain=[low / 1.5, high * 1.8], nice=False)
    return alt.Y("y:Q", title=f"{title} (log)", scale=scale, axis=log_ticks(low / 1.5, high * 1.8))


def log_ticks(low: float, high: float) -> Any:
    """Ticks at powers of ten; at 1, 2 and 5 times them on a short axis."""
    import altair as alt

    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = (1, 2, 5) if high / low < 200 else (1,)
    values = [round(step * 10.0**d, 9) for d in decades for step in steps]
    return alt.Axis(values=[v for v in values if low <= v <= high], format="~g")


def limit_lines(limits: list[tuple[float, str]], y: Any) -> list[Any]:
    """A dashed line at each limit; what it is stands in the legend, where it covers nothing."""
    import altair as alt

    lines = []
    for number, (limit, label) in enumerate(limits):
        dash = LIMIT_DASHES[number % len(LIMIT_DASHES)]
        scale = alt.Scale(domain=[label], range=[BLACK])
        legend = alt.Legend(symbolType="stroke", symbolDash=dash, labelLimit=0)
        colour = alt.Color("series:N", title=None, scale=scale, legend=legend)
        data = alt.InlineData([{"y": limit, "series": label}])
        lines.append(alt.Chart(data).mark_rule(strokeDash=dash, strokeWidth=1.4).encode(y=y, color=colour))
    return lines


def unmeasured(axis: Axis, spans_s: list[tuple[float, float]]) -> Any:
    """Grey bands where arrivals are not measured."""
    import altair as alt

    bands = [{"t": a, "t2": b} for a, b in (axis.of(np.array(span)).tolist() for span in spans_s) if b > a]
    data = alt.InlineData(bands)
    return alt.Chart(data).mark_rect(color=GREY, opacity=0.13).encode(x=x_of(axis), x2="t2:Q")


def _never_served(axis: Axis, time_s: np.ndarray) -> Any:
    """Marks along the upper edge."""
    import altair as alt

    data = alt.InlineData([{"t": t} for t in axis.of(time_s).tolist()])
    marks = alt.Chart(data).mark_point(shape="triangle-up", filled=True, size=28, color=RED, opacity=1)
    return marks.encode(x=x_of(axis), y=alt.value(5))


def _lines(axis: Axis, data: Rows, colours: dict[str, str], y: Any, point: bool = False) -> Any:
    """A line for each series, with dashes of its own; with `point`, a value alone between gaps is seen too."""
    import altair as alt

    points = {"size": 8, "filled": True} if point else False
    marks = alt.Chart(alt.InlineData(data)).mark_line(strokeWidth=1.8, point=points)
    scale = alt.Scale(domain=list(colours), range=[*DASHES, *DASHES][: len(colours)])
    dash = alt.StrokeDash("series:N", title=None, sort=None, scale=scale)
    return marks.encode(x=x_of(axis), y=y, color=_colour(colours, "stroke"), strokeDash=dash)


def areas(
    axis: Axis, data: Rows, colours: dict[str, str], title: str, top: float | None = None, **mark: Any
) -> Any:
    """Series stacked in their order, up to `top` where that is known."""
    import altair as alt

    marks = alt.Chart(alt.InlineData(data)).mark_area(**mark)
    scale = alt.Scale(domain=[0, top]) if top is not None else alt.Undefined
    y = alt.Y("y:Q", stack="zero", title=title, scale=scale)
    return marks.encode(x=x_of(axis), y=y, color=_colour(colours, "square"), order="order:Q")


def line_over(axis: Axis, data: Rows, name: str, **mark: Any) -> Any:
    """A dark line over a stack, with its own entry in the legend."""
    import altair as alt

    marks = alt.Chart(alt.InlineData(data)).mark_line(strokeWidth=1.5, **mark)
    return marks.encode(x=x_of(axis), y="y:Q", color=_colour({name: BLACK}, "stroke"))


def _colour(colours: dict[str, str], symbol: str) -> Any:
    """Colours by series, with a legend in the order given."""
    import altair as alt

    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    return alt.Color("series:N", title=None, sort=None, scale=scale, legend=alt.Legend(symbolType=symbol))


def _y(title: str, top: float | None = None) -> Any:
    import altair as alt

    scale = alt.Scale(domain=[0, top], nice=False) if top is not None else alt.Undefined
    return alt.Y("y:Q", title=title, scale=scale)


def x_of(axis: Axis) -> Any:
    """The shared time axis as an encoding."""
    import altair as alt

    domain = [0, float(axis.of(np.array(axis.end_s)))]
    title = f"time ({axis.unit})" if axis.is_named else None
    ticks = alt.Axis(labels=axis.is_named, ticks=axis.is_named, format="~f")
    return alt.X("t:Q", title=title, axis=ticks, scale=alt.Scale(domain=domain, nice=False))
