"""Utilisation, which is never one number: step_busy, slot_use, kv_use, mfu and bandwidth_use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sim.model.tables.sample import STEP_PARTS
from sim.units import PS_PER_S

ROUNDING = 1e-9
Parts = dict[str, tuple[float, float]]  # measure → (what was used, what there was)


def use_parts(counters: Mapping[str, int], step_table: Any | None) -> Parts:
    """What a pool used and had of each measure, so that pools add up to a fleet."""
    serving_ps = int(counters["serving_ps"])
    parts: Parts = {
        "step_busy": (float(counters["busy_ps"]), float(serving_ps)),
        "slot_use": (float(counters["slot_ps"]), float(serving_ps) * int(counters["max_num_seqs"])),
    }
    if step_table is not None:
        serving_s = serving_ps / PS_PER_S
        parts["mfu"] = (flops(counters, step_table), step_table.peak_flops * serving_s)
        parts["bandwidth_use"] = (bytes_read(counters, step_table), step_table.peak_bytes_per_s * serving_s)
    return parts


def flops(counters: Mapping[str, int], step_table: Any) -> float:
    """Floating-point operations of the tokens that were computed; attention as far as it was counted."""
    n_tokens = int(counters["prefill_tokens"]) + int(counters["decode_tokens"])
    n_attended = int(counters["kv_read_tokens"]) + int(counters.get("prefill_attended_tokens", 0))
    return n_tokens * float(step_table.flops_per_token) + n_attended * float(
        step_table.flops_per_attended_token
    )


def bytes_read(counters: Mapping[str, int], step_table: Any) -> float:
    """Bytes that steps moved: the weights once a step, and the KV cache they attended to."""
    n_steps = int(counters["steps"]) + int(counters.get("step_parts", 0)) / STEP_PARTS
    weights = n_steps * float(step_table.weight_bytes)
    return weights + int(counters["kv_read_tokens"]) * float(step_table.kv_bytes_per_token)


def shares(parts: Sequence[Parts]) -> dict[str, float | None]:
    """Each measure over some pools: used / there was; None where nothing ever served, or where step times of a table of
    one's own are shorter than the GPU's peaks allow.
    """
    names = list(dict.fromkeys(name for part in parts for name in part))
    return {name: _share([part[name] for part in parts if name in part]) for name in names}


def kv_use(seen: Mapping[str, np.ndarray], window_ps: tuple[int, int]) -> float | None:
    """Mean over the window's samples (as `at_each_time` has them) of KV blocks in use on serving replicas."""
    time_ps, used, total = seen["time_ps"], seen["kv_blocks_used"], seen["kv_blocks_total"]
    counted = (time_ps >= window_ps[0]) & (time_ps <= window_ps[1]) & (total > 0)
    return float(np.mean(used[counted] / total[counted])) if counted.any() else None


def at_each_time(
    samples: Mapping[str, np.ndarray], pool_ids: Sequence[int], names: Sequence[str]
) -> dict[str, np.ndarray]:
    """The times of the samples, rising, and the sums of some columns over some pools at each of them."""
    pool_id = np.asarray(samples["pool_id"])
    columns = [np.asarray(samples[name]) for name in ("time_ps", *names)]
    if list(pool_ids) != list(range(int(pool_id.max(initial=-1)) + 1)):
        mine = np.isin(pool_id, np.asarray(pool_ids))
        columns = [column[mine] for column in columns]
    if (columns[0][1:] < columns[0][:-1]).any():
        order = np.argsort(columns[0], kind="stable")
        columns = [column[order] for column in columns]
    time_ps = columns[0]
    if len(time_ps):
        starts = np.concatenate([[0], np.flatnonzero(time_ps[1:] > time_ps[:-1]) + 1])
        columns = [time_ps[starts], *(np.add.reduceat(column, starts) for column in columns[1:])]
    return dict(zip(("time_ps", *names), columns, strict=True))


def _share(parts: Sequence[tuple[float, float]]) -> float | None:
    there_was = sum(part[1] for part in parts)
    share = sum(part[0] for part in parts) / there_was if there_was > 0 else None
    if share is not None and share > 1:
        return 1.0 if share < 1 + ROUNDING else None
    return share
