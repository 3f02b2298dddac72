"""Charts of a page: drawn by Vega in whatever width there is, their legend and their values beside them as HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sim.report.markup import Cell, Html, Table, details, paragraph, table, tag
from sim.report.style import BLACK, BLUE, GREY, PALE
from sim.report.text import number

INK = {
    BLACK: "var(--ink)",
    BLUE: "var(--blue)",
    "white": "var(--card)",
    GREY: "var(--faint)",
    PALE: "var(--grid)",
}  # follow light and dark
HIDDEN = ("config", "$schema", "title", "width", "height")
SHAPES = {  # in a box from −5 to 5
    "circle": "M4,0A4,4,0,1,1,-4,0A4,4,0,1,1,4,0",
    "square": "M-3.5,-3.5h7v7h-7Z",
    "triangle-up": "M0,-4L4,3.5H-4Z",
    "triangle-down": "M0,4L-4,-3.5H4Z",
    "diamond": "M0,-4.6L4.6,0L0,4.6L-4.6,0Z",
    "cross": "M-1.5,-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3Z",
}


class Entry(NamedTuple):
    """One line of a legend: how a series is drawn."""

    name: str
    colour: str
    dash: Sequence[int] = ()
    shape: str = ""  # of its points
    is_area: bool = False
    is_line: bool = False


class Figure(NamedTuple):
    """A chart before it is on a page."""

    name: str  # its id
    title: str
    chart: Any  # altair's
    values: Table | None = None  # None: read from the chart's own data, series side by side
    note: str = ""
    height: int = 150


class Group(NamedTuple):
    """Charts beside each other where the page is wide enough, with one legend where they show the same series."""

    figures: Sequence[Figure]
    has_one_legend: bool = False


def group_drawn(group: Group) -> tuple[Html, dict[str, dict[str, Any]]]:
    """A group as HTML, and what Vega is to draw in each of its figures."""
    made = [drawn(figure, has_legend=not group.has_one_legend) for figure in group.figures]
    specs = {figure.name: spec for figure, (_, spec) in zip(group.figures, made, strict=True)}
    entries = {entry.name: entry for figure in group.figures for entry in legend_of(figure.chart.to_dict())}
    shared = legend(list(entries.values())) if group.has_one_legend else Html("")
    return Html(shared + tag("div", *(html for html, _ in made), klass="grid")), specs


def drawn(figure: Figure, has_legend: bool = True) -> tuple[Html, dict[str, Any]]:
    """A figure as HTML, and what Vega is to draw in it."""
    said = figure.chart.to_dict()
    entries = legend_of(said) if has_legend else []
    values = figure.values if figure.values is not None else values_of(said)
    spec = adapted(said, figure.height)
    chart = tag(
        "div", id=f"chart-{figure.name}", klass="chart", role="img", aria_label=figure.title,
        style=f"min-height:{figure.height + 40}px",
    )  # fmt: skip
    shown = tag(
        "figure",
        tag("figcaption", figure.title),
        legend(entries),
        chart,
        paragraph(figure.note, "note"),
        details("Values", table(values, "values", figure.title)),
        id=figure.name,
        data_axis="time" if figure.values is None else None,  # then pointing at it shows a row of the table
    )
    return shown, spec


# ---- what Vega draws ----------------------------------------------------------------------
def adapted(said: Mapping[str, Any], height: int) -> dict[str, Any]:
    """A chart for the page: as wide as its place, colours that follow the page's, legend and title left to HTML."""
    spec = {key: _adapted(value) for key, value in said.items() if key not in HIDDEN}
    fits = {"type": "fit-x", "contains": "padding"}
    return {"$schema": said["$schema"], "width": "container", "height": height, "autosize": fits, **spec}


def _adapted(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        if key in ("color", "strokeDash", "shape") and "field" in value:
            value = {**value, "legend": None}
        return {name: _adapted(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return value if key == "values" else [_adapted(item) for item in value]
    return INK.get(value, value) if isinstance(value, str) else value


# ---- its legend ----------------------------------------------------------------------
def legend_of(said: Mapping[str, Any]) -> list[Entry]:
    """How each series is drawn, in the order of the chart's scales."""
    found: dict[str, Entry] = {}
    for mark, encoding in _layers(said):
        colours = _scale(encoding, "color")
        dashes, shapes = _scale(encoding, "strokeDash"), _scale(encoding, "shape")
        for name, colour in colours.items():
            before = found.get(name, Entry(name, colour))
            found[name] = before._replace(
                dash=tuple(dashes.get(name, ())) or before.dash or tuple(mark.get("strokeDash", ())),
                shape=shapes.get(name, "") or before.shape,
                is_area=mark.get("type") in ("area", "bar", "rect") or before.is_area,
                is_line=mark.get("type") in ("line", "trail", "rule")
                or "strokeDash" in mark
                or before.is_line,
            )
    return list(found.values())


def _layers(said: Any) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """(mark, encoding) of everything that is drawn."""
    if isinstance(said, list):
        for part in said:
            yield from _layers(part)
    elif isinstance(said, dict):
        if "encoding" in said:
            mark = said.get("mark", {})
            yield (mark if isinstance(mark, dict) else {"type": mark}), said["encoding"]
        for name in ("layer", "hconcat", "vconcat", "spec"):
            yield from _layers(said.get(name))


def _scale(encoding: Mapping[str, Any], channel: str) -> dict[str, Any]:
    """Name → what a channel's scale makes of it; empty where the channel shows no series."""
    if encoding.get(channel, {}).get("field") == encoding.get("y", {}).get("field"):
        return {}  # the axis says it
    scale = encoding.get(channel, {}).get("scale") or {}
    if not isinstance(scale, dict) or "range" not in scale:
        return {}
    return dict(zip(scale.get("domain", []), scale["range"], strict=False))


def legend(entries: Sequence[Entry]) -> Html:
    """A legend that wraps: samples of the lines, and what they are; nothing where there is a single series."""
    if len(entries) < 2:
        return Html("")
    return tag("ul", *(tag("li", sample(entry), entry.name) for entry in entries), klass="legend")


def sample(entry: Entry) -> Html:
    """A small picture of how a series is drawn."""
    colour = INK.get(entry.colour, entry.colour)
    style = f"color:{colour}" if re.fullmatch(r"#[0-9A-Fa-f]{6}|var\(--[a-z]+\)", colour) else None
    if entry.is_area:
        inside = tag("rect", x="3", y="-5", width="18", height="10", fill="currentColor")
    else:
        dash = " ".join(f"{step:g}" for step in entry.dash) if entry.dash else None
        line = tag("path", d="M0,0H24", stroke="currentColor", stroke_width="2", stroke_dasharray=dash)
        inside = line if entry.is_line else Html("")
        if entry.shape in SHAPES:
            shape = tag("path", d=SHAPES[entry.shape], fill="currentColor", transform="translate(12,0)")
            inside = Html(inside + shape)
    return tag("svg", inside, viewBox="0 -7 24 14", width="24", height="14", aria_hidden="true", style=style)


# ---- its values ----------------------------------------------------------------------
def values_of(said: Mapping[str, Any]) -> Table:
    """The data of a chart over time as a table: a row for each time, a column for each series."""
    rows: dict[float, dict[str, float | None]] = {}
    names: dict[str, None] = {}
    for row in _data(said):
        if "series" in row and "t" in row:
            names.setdefault(row["series"])
            rows.setdefault(row["t"], {})[row["series"]] = row["y"]
    head = [_time_title(said), *names]
    body = [
        [Cell(f"{t:g}", t), *(value_cell(found[name]) if name in found else "" for name in names)]
        for t, found in sorted(rows.items())
    ]
    return Table(head, body)


def value_cell(value: float | None) -> Cell:
    """A number of a series; None is what has no place in the chart: never served, or nothing to measure."""
    return Cell("–") if value is None else Cell(number(value), value)


def _data(said: Any, shared: Mapping[str, Any] | None = None) -> Iterator[Mapping[str, Any]]:
    if isinstance(said, list):
        for part in said:
            yield from _data(part, shared)
    elif isinstance(said, dict):
        known = said.get("datasets", shared) or {}
        data = said.get("data")
        yield from (data.get("values") or known.get(data.get("name"), [])) if isinstance(data, dict) else []
        for name in ("layer", "hconcat", "vconcat"):
            yield from _data(said.get(name), known)


def _time_title(said: Mapping[str, Any]) -> str:
    for _, encoding in _layers(said):
        title = encoding.get("x", {}).get("title")
        if title:
            return str(title)
    return "time"
