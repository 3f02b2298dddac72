"""Node groups: how many nodes there were, what was used of them, and what they cost by what they were paid for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sim.measures.listed import NODE_GROUP, SLICE_WAIT
from sim.measures.measure import values
from sim.records.cost import PS_PER_HOUR, gpu_usd
from sim.records.window import measured_window_ps

PAID_ANYWAY = ("reserved", "owned")
ROUNDING = 1e-9
BESIDE = ("jobs", "free", "fragmented", "not_ready", "rounding", "unused")


def node_measures(scenario: Any, result: Any) -> dict[str, dict[str, Any]]:
    """Node group → its nodes and their cost in the measured window, and counts of the whole run."""
    if not result.node_groups:
        return {}
    return {
        group.name: values(NODE_GROUP, node_facts(scenario, result, place, group))
        for place, group in enumerate(scenario.cluster.node_groups)
    }


def wait_measures(scenario: Any, result: Any) -> dict[str, dict[str, Any]]:
    """Pool → how long its replicas waited for GPUs, over the whole run; empty without a cluster."""
    waits = result.slice_waits
    return {
        pool.name: values(SLICE_WAIT, c)
        for pool, c in zip(scenario.pools if waits else (), waits, strict=True)
    }


def node_facts(scenario: Any, result: Any, place: int, group: Any) -> dict[str, Any]:
    """What the measures of a group are made of. Every node's time is in one of the parts of the bill:

    `used`, the memory slices that replicas hold, and `jobs`, those that batch jobs do; of ready nodes' others, those that
    no replica of any pool and no job could take (`fragmented`, by the samples of the window) and those that some could
    (`free`); `not_ready`, from when it is paid until a node is ready; what the provider rounds up when it is gone
    (`rounding`); and of reserved and owned nodes, which are paid all the time, that in which they were not even asked for
    (`unused`).
    """
    counters = result.node_groups[place]
    start_ps, end_ps = measured_window_ps(scenario, result)
    slices = counters["slices"]
    ready, used = counters["ready_ps"] * slices, counters["used_ps"]
    useless = (ready - used) * useless_share(result.node_samples, place, start_ps, end_ps)
    absent = counters["n_node"] * (end_ps - start_ps) - counters["billed_ps"]
    is_kept = group.market in PAID_ANYWAY
    paid = counters["billed_ps" if is_kept else "paid_ps"]
    parts = {
        "used": (used - counters["job_ps"]) / slices,
        "jobs": counters["job_ps"] / slices,
        "free": (ready - used - useless) / slices,
        "fragmented": useless / slices,
        "not_ready": paid - counters["ready_ps"],
        "rounding": 0 if is_kept else counters["rounded_ps"],
        "unused": absent if is_kept else 0,
    }
    bill = {f"{name}_usd": node_ps / PS_PER_HOUR * group.usd_per_hour for name, node_ps in parts.items()}
    return {
        **counters,
        **bill,
        "bill_usd": sum(bill.values()),
        "window_ps": end_ps - start_ps,
        "room_ps": ready,
    }


def beside_usd(
    scenario: Any,
    groups: Sequence[Mapping[str, int]],
    pools: Sequence[Mapping[str, int]],
    elapsed_ps: int,
    end_ps: int,
) -> tuple[float, float]:
    """(in the window, in the whole run) what nodes cost beside what pools pay for GPUs: together they are the nodes' bill.
    `groups` and `pools` are what each counted.
    """
    if not groups:
        return 0.0, 0.0
    window = run = 0.0
    for group, c in zip(scenario.cluster.node_groups, groups, strict=True):
        price, is_kept = group.usd_per_hour / PS_PER_HOUR, group.market in PAID_ANYWAY
        window += (c["n_node"] * elapsed_ps if is_kept else c["paid_ps"] + c["rounded_ps"]) * price
        run += (c["n_node"] * end_ps if is_kept else c["run_paid_ps"] + c["run_rounded_ps"]) * price
    for pool, c in zip(scenario.pools, pools, strict=True):
        window -= gpu_usd(pool, c["gpu_ps"])
        run -= gpu_usd(pool, c["run_gpu_ps"])
    return window, run


def beside_lines(scenario: Any, result: Any) -> list[dict[str, Any]]:
    """Billing lines of what nodes cost beside what pools pay for GPUs: jobs, idle time by cause, then what is left, for a
    pool that may run on groups of several prices pays their mean, and pays from when its start begins.
    """
    lines = idle_lines(scenario, result)
    start_ps, end_ps = measured_window_ps(scenario, result)
    whole, _ = beside_usd(scenario, result.node_groups, result.pools, end_ps - start_ps, int(result.end_ps))
    rest = whole - sum(line["usd"] for line in lines)
    hours = (end_ps - start_ps) / PS_PER_HOUR
    if not result.node_groups or abs(rest) <= ROUNDING * abs(whole) or hours == 0:
        return lines
    left = {"gpu": None, "quantity_h": hours, "unit_usd_per_hour": rest / hours, "usd": rest}
    return [*lines, {"pool": "nodes", "line": "beside the pools' price", **left}]


def idle_lines(scenario: Any, result: Any) -> list[dict[str, Any]]:
    """Billing lines of what nodes cost beside what replicas held: what batch jobs held, and idle time by cause."""
    lines = []
    for name, found in node_measures(scenario, result).items():
        group = next(group for group in scenario.cluster.node_groups if group.name == name)
        for cause in BESIDE:
            if usd := found[f"usd_{cause}"]:
                hours = usd / group.usd_per_hour
                lines.append(
                    {
                        "pool": f"nodes of {name}",
                        "line": cause,
                        "gpu": None,
                        "quantity_h": hours,
                        "unit_usd_per_hour": group.usd_per_hour,
                        "usd": usd,
                    }
                )
    return lines


def useless_share(samples: Any, place: int, start_ps: int, end_ps: int) -> float:
    """Of the free memory slices that the window's samples saw in a group, those that no replica of any pool could take."""
    if not samples:
        return 0.0
    seen = (samples["group_id"] == place) & (samples["time_ps"] >= start_ps) & (samples["time_ps"] <= end_ps)
    free = int(np.sum(samples["free_slices"][seen]))
    return int(np.sum(samples["useless_slices"][seen])) / free if free else 0.0
