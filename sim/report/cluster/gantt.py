"""GPUs over time: a row for each GPU, who holds which of its slices and in which stage, and what happened to nodes.

A row is as high as the number of GPUs allows. Where there are more GPUs or more changes than can be told apart, the slices
of the cluster are stacked by what they are used for instead.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.records.occupancy import Held, Mark, Occupancy
from sim.records.run_dir import RunFiles
from sim.report.cluster.rows import (
    FREE,
    HELD_COLOURS,
    JOB,
    MARK_LOOKS,
    MARK_NAMES,
    NODE_COLOURS,
    GpuRows,
    held_colour,
    held_label,
    marks_shown,
    node_label,
)
from sim.report.markup import Cell, Table
from sim.report.panels import Axis, Panel, areas, long_rows, x_of
from sim.report.text import number
from sim.units import PS_PER_S

GPUS_MAX, SPANS_MAX, MARKS_MAX = 200, 1_500, 300  # drawn one by one
ROW_PX, LEAST_PX, SLICED_PX, HEIGHT_PX = (
    15,
    3,
    96,
    560,
)  # of a row, at most where it is cut, and of all of them
APART_PX = 8  # a row that has a line around its bars
LABEL_PX, LETTER_PX = 13, 6.2  # a label's height, and a letter's width
BINS = 400  # of the stack
NAMES = "gpu_names"  # what the chart calls the names of its rows
DARK = ("ready", JOB)  # what a name is written on


class Gantt(NamedTuple):
    """A picture of GPUs over time: the panel, its values, and what a reader has to know of it."""

    panel: Panel
    values: Table
    note: str


def gantt(run: RunFiles, axis: Axis, told: Occupancy, rows: GpuRows, width_px: float) -> Gantt:
    """The picture of a run; names stand on bars that are wide enough on an axis of `width_px`."""
    import altair as alt

    cut = "" if told.is_whole else f" Only the first {number(run.tables.events.num_rows)} events were kept."
    if rows.n > GPUS_MAX or len(told.held) > SPANS_MAX:
        return _stack(axis, told, rows, cut)
    is_sliced = any(held.place.slices < rows.places[held.place.node[0]] for held in told.held)
    row_px = max(LEAST_PX, min(SLICED_PX if is_sliced else ROW_PX, HEIGHT_PX // max(1, rows.n)))
    marks = marks_shown(told.marks)[:MARKS_MAX]
    top = -1 if any(mark.node is None for mark in marks) else 0
    named = list(_named_rows(rows, row_px))
    y = _y(rows, [place for place, _ in named], top)
    edge_px = 1.0 if row_px >= APART_PX else 0.3
    nodes = _bars(axis, y, _node_bars(axis, told, rows, edge_px / row_px), NODE_COLOURS)
    layers = [nodes.add_params(alt.param(name=NAMES, value=[name for _, name in named]))]
    held = list(_held_bars(axis, told, rows, edge_px / row_px))
    colours = {label: held_colour(label) for label in _seen(held)}
    layers.append(_bars(axis, y, held, colours, edge=0.6 if row_px >= APART_PX else 0.0))
    if row_px >= LABEL_PX:
        layers.append(_names(axis, y, _wide(axis, told, rows, (width_px, row_px))))
    if marks:
        layers.append(_marks(axis, y, [_mark(axis, rows, mark) for mark in marks]))
    note = (
        "Each row is a GPU; an instance of MIG, or a share, is as high as its part of it."
        if is_sliced
        else ""
    )
    height = row_px * (rows.n - top) + 2
    return Gantt(Panel("GPUs over time", height, axis, layers), _table(told, rows), (note + cut).strip())


def _seen(bars: Sequence[dict[str, Any]]) -> list[str]:
    """The labels of some bars, in the order of a start's life."""
    found = {bar["series"] for bar in bars}
    return [*(label for label in HELD_COLOURS if label in found), *sorted(found - set(HELD_COLOURS))]


# ---- bars ----------------------------------------------------------------------
def _span(axis: Axis, begin_ps: int, end_ps: int) -> dict[str, float]:
    t, t2 = axis.of(np.array([begin_ps, end_ps]) / PS_PER_S).tolist()
    return {"t": min(t, axis.end_s / axis.unit_s), "t2": min(t2, axis.end_s / axis.unit_s)}


def _node_bars(axis: Axis, told: Occupancy, rows: GpuRows, edge: float) -> list[dict[str, Any]]:
    """What nodes are: a bar over the rows of all their GPUs."""
    return [
        {
            **_span(axis, span.begin_ps, span.end_ps),
            "y": rows.first_row[span.node] + edge,
            "y2": rows.first_row[span.node] + rows.gpus[span.node] - edge,
            "series": node_label(span.stage),
        }
        for span in told.nodes
    ]


def _held_bars(axis: Axis, told: Occupancy, rows: GpuRows, edge: float) -> Iterator[dict[str, Any]]:
    """Who holds slices: a bar over its part of a row."""
    for held in told.held:
        top, bottom = rows.band(held.place)
        series = held_label(held.stage)
        span = _span(axis, held.begin_ps, held.end_ps)
        yield {**span, "y": top + edge / 2, "y2": bottom - edge / 2, "series": series}


def _bars(axis: Axis, y: Any, bars: list[dict[str, Any]], colours: dict[str, str], edge: float = 0.0) -> Any:
    import altair as alt

    found = {bar["series"] for bar in bars}
    seen = {name: colour for name, colour in colours.items() if name in found}
    scale = alt.Scale(domain=list(seen), range=list(seen.values()))
    colour = alt.Color("series:N", title=None, sort=None, scale=scale, legend=alt.Legend(symbolType="square"))
    drawn = alt.Chart(alt.InlineData(bars)).mark_rect(clip=True, stroke="white", strokeWidth=edge)
    return drawn.encode(x=x_of(axis), x2="t2:Q", y=y, y2="y2:Q", color=colour)


def _y(rows: GpuRows, places: list[float], top: int) -> Any:
    """The axis of rows. The names at some places are data that an expression looks up: none of them is an expression."""
    import altair as alt

    found = f"{NAMES}[indexof({json.dumps(places)}, datum.value)]"
    ticks = alt.Axis(values=places, labelExpr=found, grid=False, ticks=False, labelLimit=130, domain=False)
    scale = alt.Scale(domain=[top, rows.n], reverse=True, nice=False, zero=False)
    return alt.Y("y:Q", title=None, axis=ticks, scale=scale)


def _named_rows(rows: GpuRows, row_px: float) -> Iterator[tuple[float, str]]:
    """(middle, name) of what there is room to name: GPUs, or nodes, or some of the nodes."""
    if row_px >= LABEL_PX - 1:
        for node, first in rows.first_row.items():
            for gpu in range(rows.gpus[node]):
                yield first + gpu + 0.5, rows.label(node, gpu)
        return
    last = -float("inf")
    for node, first in rows.first_row.items():
        middle = first + rows.gpus[node] / 2
        if (middle - last) * row_px >= LABEL_PX:
            yield middle, rows.label(node)
            last = middle


# ---- names on bars ----------------------------------------------------------------------
def _wide(axis: Axis, told: Occupancy, rows: GpuRows, size_px: tuple[float, float]) -> list[dict[str, Any]]:
    """A name for each bar that is wide and high enough; `size_px` of the axis, and of a row."""
    found = []
    for held in told.held:
        if held_label(held.stage) not in DARK:
            continue
        span = _span(axis, held.begin_ps, held.end_ps)
        top, bottom = rows.band(held.place)
        name = name_of(held)
        px = (span["t2"] - span["t"]) / (axis.end_s / axis.unit_s) * size_px[0]
        if px >= LETTER_PX * len(name) + 8 and (bottom - top) * size_px[1] >= LABEL_PX - 2:
            found.append({"t": span["t"], "y": (top + bottom) / 2, "name": name})
    return found


def name_of(held: Held) -> str:
    """A replica, or a run of a job, in short."""
    return f"{held.who[1]} {held.who[2]}"


def _names(axis: Axis, y: Any, names: list[dict[str, Any]]) -> Any:
    import altair as alt

    text = alt.Chart(alt.InlineData(names)).mark_text(
        align="left", baseline="middle", dx=4, fontSize=10.5, color="white", fontWeight=600
    )
    return text.encode(x=x_of(axis), y=y, text="name:N")


# ---- marks ----------------------------------------------------------------------
def _mark(axis: Axis, rows: GpuRows, mark: Any) -> dict[str, Any]:
    """Where a mark is: on the first GPU of its node, or above all rows."""
    first = -0.5 if mark.node is None else rows.first_row[mark.node] + 0.5
    return {**_span(axis, mark.time_ps, mark.time_ps), "y": first, "mark": MARK_NAMES[mark.event]}


def _marks(axis: Axis, y: Any, marks: list[dict[str, Any]]) -> Any:
    import altair as alt

    found = {mark["mark"] for mark in marks}
    looks = {name: look for name, look in MARK_LOOKS.items() if name in found}
    colours = alt.Scale(domain=list(looks), range=[look.colour for look in looks.values()])
    shapes = alt.Scale(domain=list(looks), range=[look.shape for look in looks.values()])
    points = alt.Chart(alt.InlineData(marks)).mark_point(
        filled=True, size=55, opacity=1, stroke="white", strokeWidth=0.8
    )
    return points.encode(
        x=x_of(axis),
        y=y,
        color=alt.Color("mark:N", title=None, sort=None, scale=colours),
        shape=alt.Shape("mark:N", title=None, sort=None, scale=shapes),
    )


# ---- its values ----------------------------------------------------------------------
def _table(told: Occupancy, rows: GpuRows) -> Table:
    """What is drawn, a row a bar, then a row a mark."""
    body: list[list[Cell | str]] = []
    for held in sorted(told.held, key=lambda one: (rows.band(one.place), one.begin_ps)):
        place = held.place
        who = name_of(held)
        what = (rows.label(place.node, place.gpu), rows.slices_text(place), who, held_label(held.stage))
        body.append([*what, *_times(held.begin_ps, held.end_ps)])
    for span in told.nodes:
        shown = node_label(span.stage)
        if shown != FREE:
            body.append([rows.label(span.node), "", "", shown, *_times(span.begin_ps, span.end_ps)])
    for mark in marks_shown(told.marks)[:MARKS_MAX]:
        where = rows.label(mark.node) if mark.node is not None else "cluster"
        who = f"{mark.who[1]} {mark.who[2]}" if mark.who is not None else mark.cause
        body.append([where, "", who, MARK_NAMES[mark.event], *_times(mark.time_ps, mark.time_ps)])
    return Table(("GPU", "slices", "held by", "is", "from, s", "to, s"), body)


def _times(begin_ps: int, end_ps: int) -> list[Cell | str]:
    return [Cell(f"{ps / PS_PER_S:,.1f}", ps / PS_PER_S) for ps in (begin_ps, end_ps)]


# ---- many GPUs ----------------------------------------------------------------------
def _stack(axis: Axis, told: Occupancy, rows: GpuRows, cut: str) -> Gantt:
    """GPUs by what they are used for, a mean for each of BINS parts of the time."""
    edges = np.linspace(0, axis.end_s, BINS + 1) * PS_PER_S
    series: dict[str, np.ndarray] = {}

    def add(label: str, begin_ps: int, end_ps: int, gpus: float) -> None:
        covered = np.minimum(end_ps, edges) - np.minimum(begin_ps, edges)
        series.setdefault(label, np.zeros(BINS))
        series[label] += gpus * np.diff(covered) / np.diff(edges)

    for held in told.held:
        part = held.place.slices / rows.places[held.place.node[0]]
        add(held_label(held.stage), held.begin_ps, held.end_ps, part)
    for span in told.nodes:
        add(node_label(span.stage), span.begin_ps, span.end_ps, rows.gpus[span.node])
    upwards, colours = _upwards(series)
    middle_s = (edges[:-1] + edges[1:]) / 2 / PS_PER_S
    data = long_rows(axis, middle_s, {label: np.round(upwards[label], 4) for label in upwards})
    layers = [areas(axis, data, colours, "GPUs", interpolate="step")]
    marks = marks_shown(told.marks)[:MARKS_MAX]
    if marks:
        import altair as alt

        layers.append(_marks(axis, alt.value(7), [_mark(axis, rows, mark) for mark in marks]))
    many = f"{number(rows.n)} GPUs with {number(len(told.held))} bars: too many to draw one by one."
    values = _stack_table(middle_s, upwards, np.searchsorted(edges, [m.time_ps for m in marks]) - 1, marks)
    return Gantt(Panel("GPUs by what they are used for", 220, axis, layers), values, many + cut)


def _upwards(series: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What is stacked, what serves lowest, and its colours; free GPUs of nodes are those that nobody holds."""
    held = {label: values for label, values in series.items() if label not in NODE_COLOURS}
    used = np.sum(list(held.values()), axis=0) if held else np.zeros(BINS)
    order = ("ready", JOB, "draining")
    first = [label for label in order if label in held]
    stacked = {label: held[label] for label in (*first, *(name for name in held if name not in first))}
    cordoned = series.get("cordoned, free", np.zeros(BINS))
    free = np.maximum(series.get(FREE, np.zeros(BINS)) + cordoned - used, 0)
    stacked |= {FREE: free, "node on its way": series.get("node on its way", np.zeros(BINS))}
    stacked = {label: values for label, values in stacked.items() if values.any()}
    return stacked, {label: NODE_COLOURS.get(label) or held_colour(label) for label in stacked}


def _stack_table(
    time_s: np.ndarray, series: dict[str, np.ndarray], places: np.ndarray, marks: Sequence[Mark]
) -> Table:
    """A row a bin; the last column says what happened in it, if anything did anywhere."""
    happened: dict[int, list[str]] = {}
    for place, mark in zip(places.tolist(), marks, strict=True):
        happened.setdefault(max(0, min(place, BINS - 1)), []).append(MARK_NAMES[mark.event])
    body: list[list[Cell | str]] = []
    for i, t in enumerate(time_s.tolist()):
        counts = Counter(happened.get(i, []))
        said = ", ".join(f"{n} × {name}" for name, n in counts.items())
        cells = [Cell(number(float(values[i])), float(values[i])) for values in series.values()]
        body.append([Cell(f"{t:,.0f}", t), *cells, *([said] if marks else [])])
    return Table(("time, s", *series, *(["what happened"] if marks else [])), body)
