"""Charts of a run over time: the fleet's, each pool's, each class's, all on one time axis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sim.records.run_dir import RunFiles
from sim.report.cluster.parts import gpu_figures
from sim.report.figure import Figure, Group
from sim.report.markup import Html, tag
from sim.report.panels import (
    Axis,
    Panel,
    apart,
    queue_panel,
    rates_panel,
    replicas_panel,
    station_panels,
    time_axis,
    ttft_panel,
    unmeasured,
)
from sim.report.panels_parts import PoolSamples, class_arrivals, lines, pool_samples
from sim.report.series import (
    fleet_samples,
    last_event_s,
    station_samples,
    ttft_limits,
    ttft_over_time,
    ttft_parts,
)

MAX_CLASSES = 12  # with lines of their own


def over_time(run: RunFiles) -> list[Html | Figure | Group]:
    """Charts of the fleet, then of its GPUs, its pools and its classes."""
    summary = run.summary
    samples = fleet_samples(run.tables.timeseries, run.config)
    axis = time_axis(last_event_s(samples, summary["duration_s"]))
    spans = [(0.0, float(summary["warmup_s"])), (float(summary["duration_s"]), axis.end_s)]
    panels = {
        "rates": rates_panel(axis, samples),
        "replicas": replicas_panel(axis, samples),
        "queue": queue_panel(axis, samples),
    }
    for number, (part, ttft) in enumerate(_ttft(run)):
        panels[f"ttft-{number}"] = ttft_panel(axis, ttft, part.limits, part.name)
    stations = station_samples(run.tables.stations)
    if stations is not None:
        panels |= {f"stations-{i}": panel for i, panel in enumerate(station_panels(axis, stations))}
    parts: list[Html | Figure | Group] = [figure_of(name, panel, spans) for name, panel in panels.items()]
    parts += gpu_figures(run, axis, spans)
    pools = pool_samples(run.tables.timeseries)
    parts += [tag("h3", "Pools"), *(figure_of(f"pool-{name}", p, spans) for name, p in _pools(axis, pools))]
    classes = list(_classes(axis, run))
    if classes:
        parts += [
            tag("h3", "Classes"),
            *(figure_of(f"class-{name}", panel, spans) for name, panel in classes),
        ]
    return parts


def figure_of(name: str, panel: Panel, spans: list[tuple[float, float]]) -> Figure:
    """A panel as a figure of its own, grey where arrivals are not measured."""
    layers = [unmeasured(panel.axis, spans), *panel.layers]
    return Figure(name, panel.title, apart(layers), height=panel.height)


def _ttft(run: RunFiles) -> Iterator[tuple[Any, Any]]:
    end_s = float(run.summary["duration_s"])
    for part in ttft_parts(run.summary):
        found = ttft_over_time(run.tables.requests, end_s, part.classes)
        if found is not None:
            yield part, found


def _pools(axis: Axis, pools: Mapping[str, PoolSamples]) -> Iterator[tuple[str, Panel]]:
    """KV use and cost of each pool; where there are several, their replicas and queues too."""
    import altair as alt

    def panel(title: str, unit: str, key: str, factor: float = 1.0, height: int = 120, **mark: Any) -> Panel:
        series = {name: (found.time_s, getattr(found, key) * factor) for name, found in pools.items()}
        return Panel(title, height, axis, [lines(axis, series, alt.Y("y:Q", title=unit), **mark)])

    if len(pools) > 1:
        yield "ready", panel("Ready replicas of each pool", "replicas", "ready", interpolate="step-after")
        yield (
            "starting",
            panel("Replicas starting, of each pool", "replicas", "starting", interpolate="step-after"),
        )
        yield "waiting", panel("Requests waiting at the replicas of each pool", "requests", "waiting")
        yield "running", panel("Requests running in each pool", "requests", "running")
    if any(np.isfinite(found.kv_use).any() for found in pools.values()):
        yield "kv", panel("KV cache in use", "%", "kv_use", 100.0)
    if any(np.nansum(found.preemptions_per_s) for found in pools.values()):
        yield "preemptions", panel("Preemptions", "per second", "preemptions_per_s", height=90)
    yield "cost", panel("Cost", "usd per hour", "usd_per_hour", height=100, interpolate="step-before")


def _classes(axis: Axis, run: RunFiles) -> Iterator[tuple[str, Panel]]:
    """Arrivals and retries of each class, and its p99 of ttft; nothing where there is one class."""
    import altair as alt

    names = list(run.summary["classes"])[:MAX_CLASSES]
    end_s = float(run.summary["duration_s"])
    found = class_arrivals(run.tables.requests, end_s, names)
    if len(run.summary["classes"]) < 2 or found is None:
        return
    rate = alt.Y("y:Q", title="per second")
    arrivals = {name: (found.time_s, found.arrivals[name]) for name in names}
    yield (
        "arrivals",
        Panel("Arrivals of each class, retries not counted", 120, axis, [lines(axis, arrivals, rate)]),
    )
    retries = {name: (found.time_s, found.retries[name]) for name in names if found.retries[name].any()}
    if retries:
        yield (
            "retries",
            Panel(
                "Retries of each class, by arrival of their request", 100, axis, [lines(axis, retries, rate)]
            ),
        )
    drawn = [part.classes for part in ttft_parts(run.summary)]  # those of one class stand with the fleet's
    for number, name in enumerate(names):
        if [name] in drawn:
            continue
        over = ttft_over_time(run.tables.requests, end_s, [name])
        if over is not None:
            yield f"ttft-{number}", ttft_panel(axis, over, ttft_limits(run.summary, [name], [name]), name)
