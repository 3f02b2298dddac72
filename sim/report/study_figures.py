"""The charts of a sweep or a study: measures along what was varied, costs against what they buy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sim.report.figure import Figure, Group
from sim.report.markup import Cell, Html, Table, paragraph, tag
from sim.report.study_charts import (
    Layout,
    Shown,
    along,
    below_each_other,
    estimates_of,
    place_text,
    rows_of,
    shown,
    span_of,
    trade,
)
from sim.report.study_found import Found, cells_of, short_names
from sim.report.style import BLACK, MAX_LOOKS, Look, looks
from sim.report.sweep_terminal import control_line, interval_text, verdicts_line
from sim.report.text import share

CHARTED = ("slo_attainment", "ttft_p99_s", "usd_per_hour")  # the rest stand in the tables
MAX_TRADES = 6  # kinds of traffic with a chart of their own


def comparison(found: Found, layout: Layout) -> Iterator[Html | Figure | Group]:
    """Charts of some measures, and how sure the verdicts are."""
    for name, title, values, unit in charted(found):
        if len(set(layout.charts)) > 1:
            yield tag("h3", title)
        yield from charts_of(name, title, found, layout, values, unit)
    yield from trades(found)
    note = (
        "Points are means over seeds, the lines through them 95 % intervals; ▲ or ∞ stands for what is infinite: requests"
        " were never served."
    )
    yield paragraph(note, "note")
    if found.control is not None:
        yield paragraph(f"{control_line(found.control)}.", "note")
    if found.found.n_judged:
        yield paragraph(f"{verdicts_line(found.found)}.", "note")


def charted(found: Found) -> Iterator[tuple[str, str, dict[int, Shown], str]]:
    """(id, title, point → value, unit) of what is drawn."""
    rows = {row.name: row for row in found.found.rows}
    if any(row.slo_share is not None for row in rows.values()):
        values = {}
        for i, name in enumerate(found.varied.names):
            kept, (low, high) = rows[name].slo_share, rows[name].slo_interval or (None, None)
            percent = [None if v is None else 100.0 * v for v in (kept, low, high)]
            ends = interval_text(low, high, "share")
            values[i] = Shown(percent[0], percent[1], percent[2], False, share(kept), ends)
        yield "limits", "Share of the seeds that keep every limit", values, "share"
    for measure in found.measures:
        if measure.key in CHARTED:
            estimates = estimates_of(found.found, measure)
            values = {i: shown(estimates[name], measure.unit) for i, name in enumerate(found.varied.names)}
            yield measure.key, f"{measure.label}, mean over seeds", values, measure.unit


def charts_of(
    name: str, title: str, found: Found, layout: Layout, values: dict[int, Shown], unit: str
) -> Iterator[Figure | Group]:
    """A measure in one chart, or in several side by side on the same axes."""
    span, axis = span_of(list(values.values()), unit), axis_title(unit)
    if layout.x is None:
        rows = rows_of(layout, range(len(found.varied.names)), values)
        chart = below_each_other(rows, span, axis, layout.places)
        yield Figure(name, title, chart, _values_below(layout, values), height=22 * len(rows) + 10)
        return
    charts = list(dict.fromkeys(layout.charts))
    figures = []
    for number, which in enumerate(charts):
        there = [i for i, other in enumerate(layout.charts) if other == which]
        own = looks_of(list(dict.fromkeys(layout.series[i] for i in there)), which)
        chart = along(layout, rows_of(layout, there, values), own, span, axis)
        told = _values_along(layout, there, list(own), values)
        figures.append(Figure(f"{name}-{number}", which or title, chart, told, height=150))
    yield Group(figures) if len(figures) > 1 else figures[0]


def axis_title(unit: str) -> str:
    """What stands at an axis of a unit."""
    return {"share": "%", "s": "seconds", "usd/h": "usd per hour"}.get(unit, unit)


def looks_of(names: Sequence[str], which: str) -> dict[str, Look]:
    """How the series of a chart look; one without a name as the chart's own."""
    if len(names) > MAX_LOOKS:
        return {name: Look(BLACK, [1, 0], "circle") for name in names}
    found = looks([name or which for name in names])
    return {name: found[name or which] for name in names}


def trades(found: Found) -> Iterator[Html | Group]:
    """What points cost against what they give, a chart for each traffic; nothing where either is not known."""
    measures = {measure.key: measure for measure in found.measures}
    gives = next((measures[key] for key in ("ttft_p99_s", "slo_attainment") if key in measures), None)
    cells = dict(list(cells_of(found).items())[:MAX_TRADES])
    if gives is None or "usd_per_hour" not in measures or all(len(names) < 2 for names in cells.values()):
        return
    costs = measures["usd_per_hour"]
    every = {
        m.key: {n: shown(e, m.unit) for n, e in estimates_of(found.found, m).items()} for m in (costs, gives)
    }
    spans = [
        span_of([every[m.key][n] for names in cells.values() for n in names], m.unit) for m in (costs, gives)
    ]
    called = short_names(found)
    series = list(dict.fromkeys(called[name] for names in cells.values() for name in names))
    if len(series) > MAX_LOOKS:
        return
    look = looks(series)
    figures = []
    for number, (cell, names) in enumerate(cells.items()):
        rows = [_trade_row(called[name], every[costs.key][name], every[gives.key][name]) for name in names]
        chart = trade(rows, spans, [axis_title(m.unit) for m in (costs, gives)], {n: look[n] for n in series})
        told: list[list[Cell | str]] = [
            [called[name], *(_interval_cell(every[m.key][name]) for m in (costs, gives))] for name in names
        ]
        title = f"{cell}: " if cell else ""
        values = Table(("point", costs.label, gives.label), told)
        figures.append(
            Figure(
                f"trade-{number}", f"{title}{gives.label} against {costs.label}", chart, values, height=210
            )
        )
    yield tag("h3", "What it costs, and what it gives (lower left is better)")
    yield Group(figures, has_one_legend=True)


def _trade_row(name: str, x: Shown, y: Shown) -> dict[str, Any]:
    ends = {"x_low": x.low, "x_high": x.high, "y_low": y.low, "y_high": y.high}
    middle = {"x": x.value, "y": y.value}
    row = {key: middle[key[0]] if value is None else value for key, value in ends.items()}
    return {**middle, **row, "series": name, "never": y.is_infinite and x.value is not None}


def _values_below(layout: Layout, values: dict[int, Shown]) -> Table:
    rows: list[list[Cell | str]] = [[name, _interval_cell(values[i])] for i, name in enumerate(layout.places)]
    return Table(("point", "mean"), rows)


def _values_along(
    layout: Layout, points_: Sequence[int], names: Sequence[str], values: dict[int, Shown]
) -> Table:
    rows: list[list[Cell | str]] = []
    for place in sorted({layout.places[i] for i in points_}):
        row: list[Cell | str] = [Cell(place_text(place), float(place))]
        for name in names:
            at = next((i for i in points_ if layout.places[i] == place and layout.series[i] == name), None)
            row.append("" if at is None else _interval_cell(values[at]))
        rows.append(row)
    return Table((str(layout.x), *(name or "mean" for name in names)), rows)


def _interval_cell(one: Shown) -> Cell:
    return Cell(one.text, one.value, below=one.ends)
