"""Faults that last for a while, as rows of plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sim.model.tables.fault import FACTOR_ONE, SLOW_LINK, SLOW_STEPS
from sim.pack.cluster import quantiles_ps, zones_of
from sim.scenario.dist import Constant
from sim.scenario.faults import Fault, Slow, Timed
from sim.scenario.pool import Pool
from sim.scenario.scenario import Scenario
from sim.units import NEVER, s_to_ps

Rows = list[dict[str, Any]]


def episode_rows(scenario: Scenario, pools: Sequence[Pool]) -> dict[str, Rows]:
    """Table of Params → its rows, for pools in the order in which they are packed; nothing where no fault lasts."""
    rows: Rows = []
    clocks: Rows = []
    for fault in scenario.faults:
        if isinstance(fault, Fault):
            continue
        row = time_row(fault, clocks)
        if isinstance(fault, Slow):
            row |= slow_row(fault, scenario, pools)
        else:
            names = [link.name for link in scenario.links]
            row |= {"kind": SLOW_LINK, "link": 1 + names.index(fault.link)}
        rows.append(row | {"factor_q20": round(fault.factor * FACTOR_ONE)})
    return {"episode": rows, "fault_clock": clocks} if rows else {}


def time_row(fault: Timed, clocks: Rows) -> dict[str, int]:
    """When it comes and how long it lasts; what is drawn gets a clock."""
    at_ps = NEVER if fault.at_s is None else s_to_ps(fault.at_s)
    if fault.gap is None and isinstance(fault.lasts, Constant):
        return {"at_ps": at_ps, "lasts_ps": int(quantiles_ps(fault.lasts)[0])}
    gap_ps = 0 if fault.gap is None else quantiles_ps(fault.gap)
    clocks.append({"gap_ps": gap_ps, "lasts_ps": quantiles_ps(fault.lasts)})
    return {"at_ps": at_ps, "clock": len(clocks)}


def slow_row(fault: Slow, scenario: Scenario, pools: Sequence[Pool]) -> dict[str, int]:
    """Where steps are slow."""
    groups = scenario.cluster.node_groups
    units = fault.nodes if fault.is_of_nodes else fault.replicas
    return {
        "kind": SLOW_STEPS,
        "pool": place_of(fault.pool, [pool.name for pool in pools]),
        "node_group": place_of(fault.node_group, [group.name for group in groups]),
        "zone": place_of(fault.zone, zones_of(groups)),
        "is_of_nodes": int(fault.is_of_nodes),
        "is_of_tp": int(fault.kind == "nvlink"),
        "units": NEVER if units is None else units,
    }


def place_of(name: str | None, names: Sequence[str]) -> int:
    """1 + where a name stands, 0 = none is named."""
    return 0 if name is None else 1 + list(names).index(name)
