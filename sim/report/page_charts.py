"""Charts of a summary that are not over time: latencies by statistic, stages of cold starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sim.measures.levels import LEVELS, key_of
from sim.report.panels import log_ticks
from sim.report.style import ORANGE, looks


def latency_chart(summary: Mapping[str, Any]) -> Any:
    """A point for each statistic of each latency, on a logarithmic axis of seconds; None where all are infinite."""
    import altair as alt

    from sim.report.terminal import LATENCIES

    shown = {label: summary[name] for name, label in LATENCIES.items() if summary[name]["p50_s"] is not None}
    data = [
        {"latency": label, "statistic": level, "s": value}
        for label, found in shown.items()
        for level in LEVELS
        if (value := found[key_of(level)]) is not None and math.isfinite(value) and value > 0
    ]
    if not data:
        return None
    low, high = min((d["s"] for d in data), default=0.1) / 1.5, max((d["s"] for d in data), default=1.0) * 1.5
    drawn, names = looks(LEVELS), list(LEVELS)
    colours = alt.Scale(domain=names, range=[drawn[name].colour for name in names])
    shapes = alt.Scale(domain=names, range=[drawn[name].shape for name in names])
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    x = alt.X("s:Q", title="seconds (log)", axis=log_ticks(low, high), scale=scale)
    y = alt.Y("latency:N", title=None, sort=list(shown), scale=alt.Scale(padding=0.6))
    points = alt.Chart(alt.InlineData(data)).mark_point(filled=True, size=70, opacity=1)
    marks = points.encode(
        x=x,
        y=y,
        color=alt.Color("statistic:N", sort=None, scale=colours),
        shape=alt.Shape("statistic:N", sort=None, scale=shapes),
    )
    return alt.layer(marks)


def stages_chart(starts: Mapping[str, Mapping[str, Any]]) -> Any:
    """The median of each stage of each pool's cold starts, as bars."""
    import altair as alt

    data = [
        {"stage": f"{pool}: {stage}", "s": value}
        for pool, start in starts.items()
        for stage, value in start["stages"].items()
    ]
    bars = alt.Chart(alt.InlineData(data)).mark_bar(color=ORANGE)
    y = alt.Y("stage:N", title=None, sort=[row["stage"] for row in data], axis=alt.Axis(labelLimit=150))
    return alt.layer(bars.encode(x=alt.X("s:Q", title="seconds"), y=y))
