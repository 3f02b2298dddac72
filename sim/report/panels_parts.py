"""Panels over time with a line for each pool, or for each class of traffic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.analysis.overtime import bin_count, bin_of
from sim.report.panels import Axis, Rows, apart, long_rows, x_of
from sim.report.series import LARGEST, LAST, MAX_POINTS, STAGES, numbers, thinned
from sim.report.style import Look, looks

S_PER_HOUR = 3600.0
MARKS = 14  # of a line: so many of its points are marked


class PoolSamples(NamedTuple):
    """The time series of one pool, thinned; arrays are (point,)."""

    time_s: np.ndarray
    kv_use: np.ndarray  # share of its KV blocks, NaN where it has none
    ready: np.ndarray
    starting: np.ndarray  # replicas on their way to ready
    usd_per_hour: np.ndarray
    preemptions_per_s: np.ndarray
    waiting: np.ndarray
    running: np.ndarray


def pool_samples(table: Any) -> dict[str, PoolSamples]:
    """The samples of each pool, in the order of the table."""
    names = table.column("pool").to_pylist()
    pools = np.array(names)
    return {name: _pool(table, np.flatnonzero(pools == name)) for name in dict.fromkeys(names)}


def _pool(table: Any, mine: np.ndarray) -> PoolSamples:
    step = -(-len(mine) // MAX_POINTS)

    def over(key: str, keep: str | None = None) -> np.ndarray:
        return thinned(numbers(table, key)[mine].astype(float), step, keep)

    length_s = over("interval_s")
    length_s = np.where(length_s > 0, length_s, np.nan)
    on_the_way = [over(stage, LAST) for stage in STAGES if stage not in ("ready", "draining")]
    return PoolSamples(
        time_s=over("time_s", LAST),
        kv_use=over("kv_use", LARGEST),
        ready=over("ready", LAST),
        starting=np.sum(on_the_way, axis=0),
        usd_per_hour=over("usd") / length_s * S_PER_HOUR,
        preemptions_per_s=over("preemptions") / length_s,
        waiting=over("waiting", LARGEST),
        running=over("running", LARGEST),
    )


class ClassArrivals(NamedTuple):
    """Requests of each class by when they first arrived, per second: (bin,) each."""

    time_s: np.ndarray
    arrivals: dict[str, np.ndarray]
    retries: dict[str, np.ndarray]  # further attempts at the requests of a bin


def class_arrivals(requests: Any, end_s: float, classes: Sequence[str]) -> ClassArrivals | None:
    """The arrivals of each class; None where no request was kept."""
    if requests.num_rows == 0:
        return None
    arrival_s = numbers(requests, "arrival_s")
    bins, n = bin_of(arrival_s, end_s), bin_count(requests.num_rows)
    names = np.array(requests.column("class").to_pylist())
    more = np.maximum(numbers(requests, "attempts").astype(float) - 1, 0)
    width_s = end_s / n
    arrivals, retries = {}, {}
    for name in classes:
        mine = names == name
        arrivals[name] = np.bincount(bins[mine], minlength=n) / width_s
        retries[name] = np.bincount(bins[mine], weights=more[mine], minlength=n) / width_s
    return ClassArrivals((np.arange(n) + 0.5) * width_s, arrivals, retries)


def lines(axis: Axis, series: Mapping[str, tuple[np.ndarray, np.ndarray]], y: Any, **mark: Any) -> Any:
    """A line for each name → (time_s, values), told apart by colour, dash and the shape of marks on it."""
    data: Rows = [row for name, (t, values) in series.items() for row in long_rows(axis, t, {name: values})]
    return told_apart(axis, data, y, list(series), **mark)


def told_apart(axis: Axis, data: Rows, y: Any, names: Sequence[str], **mark: Any) -> Any:
    """A line for each series of some rows; marks on it at other places than on its neighbours."""
    import altair as alt

    found = looks(names)
    colour, plain = (series_channel(alt.Color, found, "colour", has) for has in (True, False))
    dash, shape = (
        series_channel(alt.StrokeDash, found, "dash"),
        series_channel(alt.Shape, found, "shape", False),
    )
    x = x_of(axis)
    drawn = alt.Chart(alt.InlineData(data)).mark_line(strokeWidth=1.8, **mark)
    if len(names) < 2:  # there is nothing to tell it from
        return drawn.encode(x=x, y=y, color=colour)
    line = drawn.encode(x=x, y=y, color=colour, strokeDash=dash)
    points = alt.Chart(alt.InlineData(marked(data, names))).mark_point(filled=True, size=34, opacity=1)
    marks = points.encode(x=x, y=y, color=plain, shape=shape)
    return apart([line, marks])


def series_channel(
    channel: Any, found: Mapping[str, Look], part: str, has_legend: bool = True, is_line: bool = True
) -> Any:
    """A channel by which series are told apart: colour, dash or shape. One layer of a picture has the legend: its lines, or
    where there are none its points.
    """
    import altair as alt

    scale = alt.Scale(domain=list(found), range=[getattr(look, part) for look in found.values()])
    as_line = alt.Legend(symbolType="stroke", symbolStrokeWidth=2.2, symbolSize=300)
    legend = None if not has_legend or len(found) < 2 else as_line if is_line else alt.Legend(labelLimit=260)
    return channel("series:N", sort=None, title=None, scale=scale, legend=legend)


def marked(data: Rows, names: Sequence[str]) -> Rows:
    """Some rows of each series, evenly spread, those of one series between those of another."""
    found: Rows = []
    for number, name in enumerate(names):
        mine = [row for row in data if row["series"] == name and row["y"] is not None]
        step = max(1, len(mine) // MARKS)
        found += mine[(number * step // max(1, len(names))) % step :: step]
    return found
