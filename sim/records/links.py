"""The table of links that starts share: one row per sample and link, sums as what was added since the sample before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from sim.records.cluster_schema import LINKS
from sim.records.columns import coded, integers, moments, names_of
from sim.records.schema import schema
from sim.records.timeseries import per_interval
from sim.units import PS_PER_S

Q40_PER_S = PS_PER_S / (1 << 40)  # rates of the model are bytes in 2⁴⁰ ps


def links_table(scenario: Any, result: Any, footer: Mapping[str, str] | None = None) -> pa.Table:
    """What samples saw of links (schema `LINKS`), by time, links in order; no rows where starts share none."""
    rows = result.link_samples
    if not rows:
        return schema(LINKS, footer).empty_table()
    place = rows["link_id"]
    rate, capacity = rows["rate_q40"] * Q40_PER_S, rows["capacity_q40"] * Q40_PER_S
    added = {
        name: per_interval(rows[name], place) for name in ("time_ps", "moved_bytes", "busy_ps", "full_ps")
    }
    made = {
        **moments("time", rows["time_ps"]),
        "interval_s": pa.array(added["time_ps"] / PS_PER_S),
        "link": coded(place, names_of(scenario.links)),
        "transfers": integers(rows["transfers"], np.int32),
        "rate": pa.array(rate),
        "capacity": pa.array(capacity),
        "use": pa.array(rate / np.maximum(capacity, 1), mask=capacity <= 0),
        "moved_bytes": pa.array(added["moved_bytes"]),
        "busy_s": pa.array(added["busy_ps"] / PS_PER_S),
        "full_s": pa.array(added["full_ps"] / PS_PER_S),
    }
    return pa.Table.from_arrays([made[column.name] for column in LINKS], schema=schema(LINKS, footer))
