"""The table of samples: one row per sample time and pool, counts as what happened since the sample before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from sim.records.columns import coded, integers, moments
from sim.records.cost import fixed_usd, gpu_usd
from sim.records.schema import STAGES, TIMESERIES, schema
from sim.units import PS_PER_S

CUMULATIVE = (
    *("attempts", "retries", "routed", "completions", "preemptions", "restarts"),
    *("asked_tokens", "cached_tokens"),
)
LEVELS = ("held", "waiting", "running", "kv_blocks_used", "kv_blocks_total", "kv_blocks_cached")


def timeseries_table(scenario: Any, result: Any, footer: Mapping[str, str] | None = None) -> pa.Table:
    """Every sample of a run (schema `TIMESERIES`), by time, pools in order."""
    samples = result.samples
    order = np.lexsort((samples["pool_id"], samples["time_ps"]))
    rows = {key: np.asarray(values)[order] for key, values in samples.items()}
    made = {**_identity(scenario, rows), **_levels(rows), **_intervals(scenario, rows)}
    arrays = [made[column.name] for column in TIMESERIES]
    return pa.Table.from_arrays(arrays, schema=schema(TIMESERIES, footer))


def per_interval(cumulative: np.ndarray, pool_id: np.ndarray) -> np.ndarray:
    """What each row adds to the row of the same pool before it; the first row of a pool adds all it has.

    Sums may be wider than int64 (Python integers); what one interval adds may not.
    """
    added = np.zeros(len(pool_id), dtype=np.int64)
    for pool in np.unique(pool_id):
        rows = pool_id == pool
        added[rows] = np.diff(np.asarray(cumulative)[rows], prepend=0).astype(np.int64)
    return added


def _identity(scenario: Any, rows: Mapping[str, np.ndarray]) -> dict[str, pa.Array]:
    pools, pool_id = scenario.pools, rows["pool_id"]
    return {
        **moments("time", rows["time_ps"]),
        "pool": coded(pool_id, [pool.name for pool in pools]),
        "model": coded(pool_id, [pool.model.name for pool in pools]),
        "gpu": coded(pool_id, [pool.device for pool in pools]),
    }


def _levels(rows: Mapping[str, np.ndarray]) -> dict[str, pa.Array]:
    """What a sample sees at its instant."""
    used, total = rows["kv_blocks_used"], rows["kv_blocks_total"]
    replicas = {name: integers(rows[name], np.int32) for name in ("wanted", *STAGES)}
    levels = {name: integers(rows[name], np.int64) for name in LEVELS}
    kv_use = pa.array(used / np.maximum(total, 1), mask=total <= 0)
    return {**replicas, **levels, "kv_use": kv_use}


def _intervals(scenario: Any, rows: Mapping[str, np.ndarray]) -> dict[str, pa.Array]:
    """What happened, and was billed, since the sample before."""
    pool_id = rows["pool_id"]
    added = {name: per_interval(rows[name], pool_id) for name in CUMULATIVE}
    counts = {name: pa.array(values) for name, values in added.items() if name != "attempts"}
    counts["arrivals"] = pa.array(added["attempts"] - added["retries"])
    asked, cached = added["asked_tokens"], added["cached_tokens"]
    counts["prefix_hit_ratio"] = pa.array(cached / np.maximum(asked, 1), mask=asked <= 0)
    elapsed_ps = per_interval(rows["time_ps"], pool_id)
    gpu_ps = per_interval(rows["gpu_ps"], pool_id)
    pools = scenario.pools
    usd = [
        gpu_usd(pools[p], g) + fixed_usd(pools[p], e)
        for p, g, e in zip(pool_id.tolist(), gpu_ps.tolist(), elapsed_ps.tolist(), strict=True)
    ]
    return {
        **counts,
        "interval_s": pa.array(elapsed_ps / PS_PER_S),
        "gpu_s": pa.array(gpu_ps / PS_PER_S),
        "usd": pa.array(usd, type=pa.float64()),
        "watts": pa.array(rows["watts"], from_pandas=True)
        if "watts" in rows
        else pa.nulls(len(pool_id), pa.float64()),
    }
