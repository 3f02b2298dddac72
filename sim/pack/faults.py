"""Faults that last for a while, as rows of plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sim.model.tables.fault import CRASH, FACTOR_ONE, GPU_LOST, HANG, SLOW_LINK, SLOW_STEPS
from sim.pack.cluster import quantiles_ps, zones_of
from sim.scenario.dist import Constant, Dist
from sim.scenario.faults import Crash, Fault, GpuLost, Hang, Slow, SlowLink
from sim.scenario.pool import Pool
from sim.scenario.scenario import Scenario
from sim.units import NEVER, s_to_ps

Rows = list[dict[str, Any]]
Lasting = Slow | SlowLink | Crash | Hang | GpuLost


def episode_rows(scenario: Scenario, pools: Sequence[Pool]) -> dict[str, Rows]:
    """Table of Params → its rows, for pools in the order in which they are packed; nothing where no fault lasts."""
    rows: Rows = []
    clocks: Rows = []
    for fault in scenario.faults:
        if isinstance(fault, Fault):
            continue
        row = time_row(fault, lasts_of(fault), clocks)
        if isinstance(fault, Slow):
            row |= slow_row(fault, scenario, pools)
        elif isinstance(fault, GpuLost):
            row |= {"kind": GPU_LOST, "units": fault.gpus, **of_nodes(fault, scenario)}
        elif isinstance(fault, SlowLink):
            names = [link.name for link in scenario.links]
            factor_q20 = round(fault.factor * FACTOR_ONE)
            row |= {"kind": SLOW_LINK, "link": 1 + names.index(fault.link), "factor_q20": factor_q20}
        else:
            kind = HANG if isinstance(fault, Hang) else CRASH
            pool = place_of(fault.pool, [one.name for one in pools])
            row |= {"kind": kind, "pool": pool, "units": fault.replicas}
        rows.append(row)
    return {"episode": rows, "fault_clock": clocks} if rows else {}


def lasts_of(fault: Lasting) -> Dist:
    """How long it lasts: a crash no time, a replica hangs until its health check has failed often enough."""
    if isinstance(fault, Hang):
        return Constant(value=fault.period_s * fault.failures)
    return Constant(value=0) if isinstance(fault, Crash) else fault.lasts


def time_row(fault: Lasting, lasts: Dist, clocks: Rows) -> dict[str, int]:
    """When it comes and how long it lasts; what is drawn gets a clock."""
    at_ps = NEVER if fault.at_s is None else s_to_ps(fault.at_s)
    if fault.gap is None and isinstance(lasts, Constant):
        return {"at_ps": at_ps, "lasts_ps": int(quantiles_ps(lasts)[0])}
    gap_ps = 0 if fault.gap is None else quantiles_ps(fault.gap)
    clocks.append({"gap_ps": gap_ps, "lasts_ps": quantiles_ps(lasts)})
    return {"at_ps": at_ps, "clock": len(clocks)}


def slow_row(fault: Slow, scenario: Scenario, pools: Sequence[Pool]) -> dict[str, int]:
    """Where steps are slow."""
    units = fault.nodes if fault.is_of_nodes else fault.replicas
    return {
        "kind": SLOW_STEPS,
        "pool": place_of(fault.pool, [pool.name for pool in pools]),
        **(of_nodes(fault, scenario) if fault.is_of_nodes else {}),
        "is_of_tp": int(fault.kind == "nvlink"),
        "units": NEVER if units is None else units,
        "factor_q20": round(fault.factor * FACTOR_ONE),
    }


def of_nodes(fault: Slow | GpuLost, scenario: Scenario) -> dict[str, int]:
    """Of which group and zone nodes are struck."""
    groups = scenario.cluster.node_groups
    return {
        "is_of_nodes": 1,
        "node_group": place_of(fault.node_group, [group.name for group in groups]),
        "zone": place_of(fault.zone, zones_of(groups)),
    }


def place_of(name: str | None, names: Sequence[str]) -> int:
    """1 + where a name stands, 0 = none is named."""
    return 0 if name is None else 1 + list(names).index(name)
