"""The tables of a cluster: one row per sample and node group, and one per event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from sim.model.tables.node import (
    EVENT_FAULT_BEGINS,
    EVENT_FAULT_ENDS,
    EVENT_JOB_PLACED,
    EVENT_NAMES,
    EVENT_NODE_STAGE,
    EVENT_POOL_SCALED,
    EVENT_REPLICA_PLACED,
    NODE_STAGES,
)
from sim.records.columns import coded, integers, moments, names_of
from sim.records.cost import PS_PER_HOUR
from sim.records.schema import EVENTS, NODES, schema
from sim.records.timeseries import per_interval
from sim.scenario.faults import Fault
from sim.units import PS_PER_S

COUNTED = ("requested", "refused", "lost", "removed")
SEEN = ("used_slices", "job_slices", "free_slices", "useless_slices", "waiting")


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
    made = {
        **moments("time", rows["time_ps"]),
        "interval_s": pa.array(interval_ps / PS_PER_S),
        "node_group": coded(place, names_of(groups)),
        "zone": coded(place, [group.zone for group in groups]),
        **{f"nodes_{name}": integers(rows[f"nodes_{name}"], np.int32) for name in NODE_STAGES[1:]},
        **{name: integers(rows[name], np.int32) for name in SEEN},
        **{name: integers(per_interval(rows[name], place), np.int64) for name in COUNTED},
        "usd": pa.array(np.asarray(billed_ps, dtype=float) / PS_PER_HOUR * price),
    }
    return pa.Table.from_arrays([made[column.name] for column in NODES], schema=schema(NODES, footer))


def numbers_of_faults(scenario: Any, event: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Which of the scenario's faults begins or ends with each event, −1 = none."""
    lasting = [place for place, fault in enumerate(scenario.faults) if not isinstance(fault, Fault)]
    is_one = (event == EVENT_FAULT_BEGINS) | (event == EVENT_FAULT_ENDS)
    return np.where(is_one, np.array([*lasting, -1])[np.where(is_one, value, -1)], -1)


def events_table(scenario: Any, result: Any, footer: Mapping[str, str] | None = None) -> pa.Table:
    """What happened in the cluster (schema `EVENTS`), in order; no rows without a cluster, or without records."""
    rows = result.events
    if not rows:
        return schema(EVENTS, footer).empty_table()
    event, value = rows["event"], rows["value"]
    waited = np.where(np.isin(event, (EVENT_REPLICA_PLACED, EVENT_JOB_PLACED)), value, -1)
    made = {
        **moments("time", rows["time_ps"]),
        "event": coded(event, list(EVENT_NAMES)),
        "node_group": coded(rows["group_id"], names_of(scenario.cluster.node_groups)),
        "node": integers(rows["node"], np.int32, null_below=0),
        "pool": coded(rows["pool_id"], names_of(scenario.pools)),
        "replica": integers(
            np.where(event == EVENT_POOL_SCALED, -1, rows["replica_id"]), np.int32, null_below=0
        ),
        "stage": coded(np.where(event == EVENT_NODE_STAGE, value, -1), list(NODE_STAGES)),
        "wanted": integers(np.where(event == EVENT_POOL_SCALED, value, -1), np.int32, null_below=0),
        "waited_s": pa.array(waited / PS_PER_S, mask=waited < 0),
        "fault": integers(numbers_of_faults(scenario, event, value), np.int32, null_below=0),
        "job": coded(rows["job_id"], names_of(scenario.cluster.jobs)),
        "run": integers(rows["run_id"], np.int32, null_below=0),
    }
    return pa.Table.from_arrays([made[column.name] for column in EVENTS], schema=schema(EVENTS, footer))
