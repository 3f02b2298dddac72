"""What utilisations are made of, which are never one number: step_busy, slot_use, kv_use, mfu and bandwidth_use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sim.model.tables.sample import STEP_PARTS
from sim.units import PS_PER_S


def used_parts(pools: Sequence[Mapping[str, int]], step_tables: Sequence[Any | None]) -> dict[str, float]:
    """What some pools used, and what there was of it: steps and places; FLOPs and bytes, where step tables tell them."""
    serving = [float(c["serving_ps"]) for c in pools]
    parts = {
        "busy": sum(float(c["busy_ps"]) for c in pools),
        "serving": sum(serving),
        "slots": sum(float(c["slot_ps"]) for c in pools),
        "slots_max": sum(ps * int(c["max_num_seqs"]) for ps, c in zip(serving, pools, strict=True)),
    }
    told = [
        (c, t, int(c["serving_ps"]) / PS_PER_S)
        for c, t in zip(pools, step_tables, strict=True)
        if t is not None
    ]
    if told:
        parts["flops"] = sum(flops(c, t) for c, t, _ in told)
        parts["peak_flops"] = sum(t.peak_flops * serving_s for _, t, serving_s in told)
        parts["bytes_read"] = sum(bytes_read(c, t) for c, t, _ in told)
        parts["peak_bytes"] = sum(t.peak_bytes_per_s * serving_s for _, t, serving_s in told)
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
