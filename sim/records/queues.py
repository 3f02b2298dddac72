"""The table of queues with quotas: one row per sample, queue and flavor that it has a quota of, or uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from sim.records.cluster_schema import QUEUES
from sim.records.columns import coded, integers, moments, names_of
from sim.records.schema import schema
from sim.scenario.queues import flavors_of


def queues_table(scenario: Any, result: Any, footer: Mapping[str, str] | None = None) -> pa.Table:
    """What samples saw of the queues (schema `QUEUES`), by time, queues and flavors in order; no rows without queues."""
    seen = result.queue_samples
    if not seen:
        return schema(QUEUES, footer).empty_table()
    cluster = scenario.cluster
    rows = {name: column[seen["is_known"] == 1] for name, column in seen.items()}
    made = {
        **moments("time", rows["time_ps"]),
        "queue": coded(rows["queue"], names_of(cluster.queues)),
        "flavor": coded(rows["pair"], flavors_of(cluster.queues, cluster.cohorts)),
        **{f"{name}_gpus": pa.array(rows[name] / rows["units"]) for name in ("nominal", "used", "borrowed")},
        **{name: integers(rows[name], np.int32) for name in ("pending", "unplaced")},
    }
    return pa.Table.from_arrays([made[column.name] for column in QUEUES], schema=schema(QUEUES, footer))
