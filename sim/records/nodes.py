"""The table of node groups: one row per sample and group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from sim.model.tables.node import NODE_STAGES
from sim.records.cluster_schema import NODES
from sim.records.columns import coded, integers, moments, names_of
from sim.records.cost import PS_PER_HOUR
from sim.records.schema import schema
from sim.records.timeseries import per_interval
from sim.scenario.power import idle_w
from sim.units import PS_PER_S

COUNTED = ("requested", "refused", "lost", "removed")
SEEN = (
    *("used_slices", "job_slices", "free_slices", "useless_slices", "empty_gpus", "part_gpus"),
    "waiting",
)


def nodes_table(scenario: Any, result: Any, footer: Mapping[str, str] | None = None) -> pa.Table:
    """What samples saw of the node groups (schema `NODES`), by time, groups in order; no rows without a cluster."""
    rows = result.node_samples
    if not rows:
        return schema(NODES, footer).empty_table()
    groups = scenario.cluster.node_groups
    place = rows["group_id"]
    interval_ps = per_interval(rows["time_ps"], place)
    billed_ps = per_interval(rows["billed_ps"], place)
    price = np.array([group.usd_per_hour for group in groups])[place]
    node_watts = np.array([idle_watts(group) for group in groups])[place]
    made = {
        **moments("time", rows["time_ps"]),
        "interval_s": pa.array(interval_ps / PS_PER_S),
        "node_group": coded(place, names_of(groups)),
        "zone": coded(place, [group.zone for group in groups]),
        **{f"nodes_{name}": integers(rows[f"nodes_{name}"], np.int32) for name in NODE_STAGES[1:]},
        **{name: integers(rows[name], np.int32) for name in SEEN},
        **{name: integers(per_interval(rows[name], place), np.int64) for name in COUNTED},
        "usd": pa.array(np.asarray(billed_ps, dtype=float) / PS_PER_HOUR * price),
        "idle_watts": pa.array(
            np.asarray(billed_ps, dtype=float) * node_watts / np.maximum(interval_ps, 1),
            mask=interval_ps <= 0,
        ),
    }
    return pa.Table.from_arrays([made[column.name] for column in NODES], schema=schema(NODES, footer))


def idle_watts(group: Any) -> float:
    """W of one node of a group while nothing is computed on it, with the data centre's overhead."""
    return float(
        (idle_w(group.gpu.power, float(group.gpu.tdp_w)) + group.host_w) * group.gpus * group.site.pue
    )
