"""Charts of many seeds: a measure with its intervals against what was varied, a line for each of the rest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from sim.analysis.replicate import Estimate, Replication
from sim.analysis.varied import Varied, is_number, is_traffic, text_of
from sim.measures.shown import Compared
from sim.report.panels import LOG_FROM, apart, log_ticks
from sim.report.panels_parts import series_channel
from sim.report.style import BLACK, MAX_LOOKS, Look, looks
from sim.report.sweep_terminal import interval_text
from sim.report.text import quantity

TOGETHER = 6  # series in one chart; more are drawn in several, side by side
NEVER_PX = 6  # where what is infinite is marked: below the upper edge
FACTORS = {"share": 100.0}


class Layout(NamedTuple):
    """How points are laid out: along an axis, in charts side by side, as series within each."""

    x: str | None  # the key of the axis; None: points below each other
    places: list[Any]  # of each point on the axis
    charts: list[str]  # the chart of each point
    series: list[str]  # the series of each point


class Shown(NamedTuple):
    """A value with its interval, ready to be drawn."""

    value: float | None  # None: infinite, or not known
    low: float | None
    high: float | None
    is_infinite: bool
    text: str
    ends: str  # the interval in words, with its unit


def layout_of(varied: Varied) -> Layout:
    """Along the numeric key with most values that every point has; apart by an option where there are many series."""
    x = _axis(varied)
    rest = [key for key in varied.keys if key != x]
    n = len(varied.names)
    apart = None
    if len(set(varied.labels(rest))) > TOGETHER or x is None:
        apart = next((k for k in rest if _splits(varied, k)), None) if x is not None else None
    inner = [key for key in rest if key != apart]
    charts = varied.labels([apart]) if apart is not None else [""] * n
    series = varied.labels(inner) if inner else [""] * n
    if x is not None:
        return Layout(x, varied.values[x], charts, series)
    short = varied.labels(varied.keys)
    return Layout(None, short if len(set(short)) == n else list(varied.names), charts, series)


def _axis(varied: Varied) -> str | None:
    numeric = [
        key
        for key, values in varied.values.items()
        if all(is_number(value) for value in values) and len(set(values)) > 1
    ]
    return max(numeric, key=lambda key: (is_traffic(key), len(varied.distinct(key))), default=None)


def _splits(varied: Varied, key: str) -> bool:
    """Whether a chart for each value of a key is worth it: a few names, that every point has."""
    values = varied.values[key]
    return all(isinstance(value, str) for value in values) and 2 <= len(set(values)) <= 12


def shown(estimate: Estimate, unit: str) -> Shown:
    """An estimate in the unit of its axis."""
    factor = FACTORS.get(unit, 1.0)
    mean = estimate.mean
    text = "–" if mean is None else ("∞" if math.isinf(mean) else quantity(mean, unit))
    if mean is None or not math.isfinite(mean):
        return Shown(None, None, None, mean is not None, text, "")
    ends = [
        None if end is None or not math.isfinite(end) else end * factor
        for end in (estimate.low, estimate.high)
    ]
    return Shown(
        mean * factor, ends[0], ends[1], False, text, interval_text(estimate.low, estimate.high, unit)
    )


def rows_of(layout: Layout, points: Sequence[int], values: Mapping[int, Shown]) -> list[dict[str, Any]]:
    """A row for each of some points."""
    return [
        {
            "x": layout.places[i],
            "series": layout.series[i],
            "y": values[i].value,
            "low": values[i].low if values[i].low is not None else values[i].value,
            "high": values[i].high if values[i].high is not None else values[i].value,
            "never": values[i].is_infinite,
        }
        for i in points
    ]


def span_of(values: Sequence[Shown], unit: str) -> tuple[float, float, bool]:
    """(lowest, highest, whether logarithmic) of an axis that holds all values and their intervals."""
    known = [v for one in values for v in (one.value, one.low, one.high) if v is not None]
    if not known:
        return 0.0, 1.0, False
    low, high = min(known), max(known)
    positive = [v for v in known if v > 0]
    if unit == "s" and positive and low > 0 and high / low >= LOG_FROM:
        return low / 1.4, high * 1.6, True
    if unit == "share":
        pad = max(1.0, (high - low) * 0.08)
        return max(0.0, low - pad), min(104.0, high + pad), False
    return (0.0, (high * 1.1 or 1.0), False) if low >= 0 else (low * 1.1, max(high * 1.1, 0.0), False)


def value_scale(span: tuple[float, float, bool], title: str, channel: Any, field: str) -> Any:
    """An axis of values."""
    import altair as alt

    low, high, is_log = span
    kind: Literal["log", "linear"] = "log" if is_log else "linear"
    axis = log_ticks(low, high) if is_log else alt.Axis(format="~r", tickCount=5)
    scale = alt.Scale(type=kind, domain=[low, high], nice=False, clamp=True)
    return channel(f"{field}:Q", title=f"{title} (log)" if is_log else title, scale=scale, axis=axis)


def along(
    layout: Layout,
    rows: list[dict[str, Any]],
    found: Mapping[str, Look],
    span: tuple[float, float, bool],
    title: str,
) -> Any:
    """A line for each series (name → how it looks) along the axis, with intervals; what is infinite is a triangle at the
    upper edge.
    """
    import altair as alt

    places = sorted(set(layout.places))
    x_scale = alt.Scale(type="log" if _is_even_in_log(places) else "linear", nice=False, padding=14)
    x = alt.X("x:Q", title=layout.x, scale=x_scale, axis=alt.Axis(values=_ticks(places), format="~r"))
    y, y_low = value_scale(span, title, alt.Y, "y"), value_scale(span, title, alt.Y, "low")
    known = alt.Chart(alt.InlineData([row for row in rows if row["y"] is not None]))
    colour, plain = (series_channel(alt.Color, found, "colour", has) for has in (True, False))
    dash, shape = (
        series_channel(alt.StrokeDash, found, "dash"),
        series_channel(alt.Shape, found, "shape", False),
    )
    layers = [
        known.mark_line(strokeWidth=1.8).encode(x=x, y=y, color=colour, strokeDash=dash),
        known.mark_rule(strokeWidth=1.3, opacity=0.8).encode(x=x, y=y_low, y2="high:Q", color=plain),
        known.mark_point(filled=True, size=55, opacity=1).encode(x=x, y=y, color=plain, shape=shape),
        *_never(rows, plain, x=x, y=alt.value(NEVER_PX)),
    ]
    return apart(layers)


def _never(rows: list[dict[str, Any]], colour: Any, **place: Any) -> list[Any]:
    """Triangles where something is infinite."""
    import altair as alt

    never = [row for row in rows if row["never"]]
    marks = alt.Chart(alt.InlineData(never)).mark_point(shape="triangle-up", filled=True, size=65, opacity=1)
    return [marks.encode(color=colour, **place)] if never else []


def below_each_other(
    rows: list[dict[str, Any]], span: tuple[float, float, bool], title: str, names: Sequence[str]
) -> Any:
    """A line of the chart for each point: its value with its interval."""
    import altair as alt

    found = (
        looks(names) if len(names) <= MAX_LOOKS else {name: Look(BLACK, [1, 0], "circle") for name in names}
    )
    y = alt.Y("x:N", title=None, sort=[row["x"] for row in rows], axis=alt.Axis(labelLimit=170))
    known = alt.Chart(alt.InlineData([row for row in rows if row["y"] is not None]))
    colour = alt.Color(
        "x:N",
        sort=None,
        scale=alt.Scale(domain=list(names), range=[found[n].colour for n in names]),
        legend=None,
    )
    shape = alt.Shape(
        "x:N",
        sort=None,
        scale=alt.Scale(domain=list(names), range=[found[n].shape for n in names]),
        legend=None,
    )
    rule = known.mark_rule(strokeWidth=1.6).encode(
        y=y, x=value_scale(span, title, alt.X, "low"), x2="high:Q", color=colour
    )
    point = known.mark_point(filled=True, size=60, opacity=1).encode(
        y=y, x=value_scale(span, title, alt.X, "y"), color=colour, shape=shape
    )
    layers = [rule, point]
    never = [row for row in rows if row["never"]]
    if never:
        marks = alt.Chart(alt.InlineData(never)).mark_text(text="∞", align="right", fontSize=14)
        layers.append(marks.encode(y=y, x=alt.value("width"), color=colour))
    return alt.layer(*layers)


def _is_even_in_log(places: Sequence[float]) -> bool:
    """Whether places are spread evenly by factors rather than by differences."""
    if len(places) < 4 or places[0] <= 0 or places[-1] / places[0] < LOG_FROM:
        return False
    return places[len(places) // 2] / places[-1] < 0.25


def _ticks(places: Sequence[float]) -> Any:
    import altair as alt

    return list(places) if len(places) <= 8 else alt.Undefined


def estimates_of(found: Replication, measure: Compared) -> dict[str, Estimate]:
    """Point → what its seeds say of a measure."""
    at = found.measures.index(measure)
    return {row.name: row.values[at] for row in found.rows}


def place_text(value: Any) -> str:
    """A place on the axis as a table has it."""
    return text_of(value)


def trade(
    rows: list[dict[str, Any]],
    spans: Sequence[tuple[float, float, bool]],
    titles: Sequence[str],
    found: Mapping[str, Look],
) -> Any:
    """What points cost against what they give, both with intervals; `rows` have x and y with their ends, and a series."""
    import altair as alt

    plain = series_channel(alt.Color, found, "colour", False)
    colour, shape = (
        series_channel(c, found, p, is_line=False) for c, p in ((alt.Color, "colour"), (alt.Shape, "shape"))
    )
    known = alt.Chart(alt.InlineData([row for row in rows if row["x"] is not None and row["y"] is not None]))
    x, y = value_scale(spans[0], titles[0], alt.X, "x"), value_scale(spans[1], titles[1], alt.Y, "y")
    x_low, y_low = (
        value_scale(spans[0], titles[0], alt.X, "x_low"),
        value_scale(spans[1], titles[1], alt.Y, "y_low"),
    )
    layers = [
        known.mark_rule(strokeWidth=1.2, opacity=0.7).encode(x=x_low, x2="x_high:Q", y=y, color=plain),
        known.mark_rule(strokeWidth=1.2, opacity=0.7).encode(x=x, y=y_low, y2="y_high:Q", color=plain),
        known.mark_point(filled=True, size=75, opacity=1).encode(x=x, y=y, color=colour, shape=shape),
        *_never(rows, plain, x=x, y=alt.value(NEVER_PX)),
    ]
    return apart(layers)
