"""The table of CPU stations: one row per sample and station, counts as what happened since the sample before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from sim.records.columns import coded, integers, moments
from sim.records.schema import STATIONS, schema
from sim.records.timeseries import per_interval
from sim.units import PS_PER_S


def stations_table(scenario: Any, result: Any, footer: Mapping[str, str] | None = None) -> pa.Table:
    """What samples saw at the CPU stations (schema `STATIONS`), by time, stations in order; no rows without any."""
    rows = result.station_samples
    if not rows:
        return schema(STATIONS, footer).empty_table()
    made = _columns(list(scenario.gateway.stations), result, rows)
    arrays = [made[column.name] for column in STATIONS]
    return pa.Table.from_arrays(arrays, schema=schema(STATIONS, footer))


def _columns(names: list[str], result: Any, rows: Mapping[str, np.ndarray]) -> dict[str, pa.Array]:
    station = rows["station_id"]
    workers = np.array([found["workers"] for found in result.stations], dtype=np.int64)[station]
    interval_ps = per_interval(rows["time_ps"], station)
    busy_ps = per_interval(rows["done_ps"], station)
    room_ps = workers * interval_ps.astype(float)
    return {
        **moments("time", rows["time_ps"]),
        "interval_s": pa.array(interval_ps / PS_PER_S),
        "station": coded(station, names),
        "workers": integers(workers, np.int32),
        "busy_workers": integers(rows["busy_workers"], np.int32),
        "in_line": integers(rows["in_line"], np.int64),
        "wait_s": pa.array(rows["wait_ps"] / PS_PER_S),
        "visits": pa.array(per_interval(rows["visits"], station)),
        "busy_s": pa.array(busy_ps / PS_PER_S),
        "use": pa.array(busy_ps / np.maximum(room_ps, 1), mask=interval_ps <= 0),
    }
