"""What samples saw of a cluster over time: nodes by stage, slices held and free, links, power."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sim.records.run_dir import RunFiles
from sim.report.cluster.rows import COMING, CORDONED_FREE, NODE_COLOURS
from sim.report.panels import Axis, Panel, areas, long_rows
from sim.report.panels_parts import lines
from sim.report.series import LARGEST, LAST, MAX_POINTS, numbers, thinned
from sim.report.style import BLUE, GREEN, PALE, RED

LINKS_MAX = 8  # with lines of their own, those that moved most
NODE_STAGES = {  # column of nodes.parquet → what it is called, from what serves on
    "nodes_ready": ("ready", GREEN),
    "nodes_cordoned": ("cordoned", NODE_COLOURS[CORDONED_FREE]),
    "nodes_driver": ("driver", "#EFB13F"),
    "nodes_booting": ("booting", "#F6CC7A"),
    "nodes_provisioning": ("provisioning", NODE_COLOURS[COMING]),
}
JOBS, HELD, FREE, USELESS = "held by jobs", "held by replicas", "free", "free and useless"
SLICE_COLOURS = {HELD: GREEN, JOBS: BLUE, FREE: PALE, USELESS: RED}


def cluster_panels(run: RunFiles, axis: Axis) -> Iterator[tuple[str, Panel]]:
    """(name, panel) of what samples saw; nothing where a run has neither nodes nor links."""
    tables = run.tables
    if tables.nodes.num_rows:
        yield "nodes", nodes_panel(axis, tables.nodes)
        yield "slices", slices_panel(axis, tables.nodes)
    if tables.links.num_rows:
        yield "links", links_panel(axis, tables.links)
        yield "transfers", links_panel(axis, tables.links, is_rate=False)
    power = power_panel(axis, tables) if tables.nodes.num_rows else None
    if power is not None:
        yield "power", power


def summed(table: Any, names: Sequence[str], keep: str = LAST) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(time in seconds, column → its sum over the rows of each sample), thinned; what is not known counts as nothing."""
    times, when = np.unique(numbers(table, "time_ps"), return_inverse=True)
    step = -(-len(times) // MAX_POINTS)
    found = {}
    for name in names:
        values = np.nan_to_num(numbers(table, name).astype(float))
        found[name] = thinned(np.bincount(when, weights=values, minlength=len(times)), step, keep)
    return thinned(times / 1e12, step, LAST), found


def nodes_panel(axis: Axis, table: Any) -> Panel:
    """Nodes by stage as a stack."""
    time_s, found = summed(table, list(NODE_STAGES))
    seen = {NODE_STAGES[name][0]: values for name, values in found.items() if values.any()}
    colours = {name: colour for name, colour in NODE_STAGES.values() if name in seen}
    chart = areas(axis, long_rows(axis, time_s, seen), colours, "nodes", interpolate="step-after")
    return Panel("Nodes by stage", 100, axis, [chart])


def slices_panel(axis: Axis, table: Any) -> Panel:
    """Memory slices as a stack: held, free, and of these useless to everybody."""
    names = ("used_slices", "job_slices", "free_slices", "useless_slices")
    time_s, found = summed(table, names)
    parts = {
        HELD: found["used_slices"] - found["job_slices"],
        JOBS: found["job_slices"],
        FREE: found["free_slices"] - found["useless_slices"],
        USELESS: found["useless_slices"],
    }
    seen = {name: values for name, values in parts.items() if values.any() or name == HELD}
    colours = {name: SLICE_COLOURS[name] for name in seen}
    chart = areas(axis, long_rows(axis, time_s, seen), colours, "slices", interpolate="step-after")
    return Panel("Slices of GPUs (a GPU has 8, or its shares)", 110, axis, [chart])


def links_panel(axis: Axis, table: Any, is_rate: bool = True) -> Panel:
    """A line for each link: what moves over it, or how many transfers do; the busiest of many."""
    import altair as alt

    names = np.array(table.column("link").to_pylist())
    moved = {name: numbers(table, "busy_s")[names == name].sum() for name in dict.fromkeys(names.tolist())}
    busiest = sorted(moved, key=lambda name: -moved[name])[:LINKS_MAX]
    column, factor = ("rate", 1e-9) if is_rate else ("transfers", 1.0)
    series = {}
    for name in (name for name in moved if name in busiest):
        mine = names == name
        step = -(-int(mine.sum()) // MAX_POINTS)
        time_s = thinned(numbers(table, "time_s")[mine], step, LAST)
        series[name] = (time_s, thinned(numbers(table, column)[mine] * factor, step, LARGEST))
    title = "What moves over" if is_rate else "Transfers in progress over"
    title = f"{title} {busiest[0] if len(moved) == 1 else 'links'}"
    y = alt.Y("y:Q", title="GB/s" if is_rate else "transfers")
    return Panel(title, 100, axis, [lines(axis, series, y, interpolate="step-after")])


def power_panel(axis: Axis, tables: Any) -> Panel | None:
    """What pools draw, with what nodes draw while nothing is computed beside it; None where it is not known."""
    import altair as alt

    known = numbers(tables.timeseries, "watts").astype(float)
    if not np.isfinite(known).any():
        return None
    pool_s, pools = summed(tables.timeseries, ["watts"], LARGEST)
    node_s, nodes = summed(tables.nodes, ["idle_watts"], LARGEST)
    series = {
        "pools: GPUs held, and what they compute": (pool_s, pools["watts"] / 1e3),
        "all nodes, nothing computed": (node_s, nodes["idle_watts"] / 1e3),
    }
    return Panel(
        "Power", 100, axis, [lines(axis, series, alt.Y("y:Q", title="kW"), interpolate="step-before")]
    )
