"""The table of requests: one row each, written in the order of their numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from sim.model.tables.codes import BLAME_STREAM_COLUMNS, BLAME_TTFT_COLUMNS, COMPLETED, OUTCOMES, REASONS
from sim.records.columns import coded, durations, integers, moments, names_of
from sim.records.schema import FURTHER, REQUESTS, schema
from sim.records.window import measured_window_ps


def requests_table(
    scenario: Any,
    result: Any,
    footer: Mapping[str, str] | None = None,
) -> pa.Table:
    """Every request of a run with its time stamps, place, outcome and durations; no rows with records off.

    Times that did not happen (-1 in the result) are null.
    """
    rows = result.requests
    if not rows:
        return schema(REQUESTS, footer).empty_table()
    order = np.argsort(rows["request_id"], kind="stable")
    rows = {key: np.asarray(values)[order] for key, values in rows.items()}
    made = {
        **_identity(scenario, rows),
        **_place(scenario, rows),
        **_times(rows),
        **_outcome(rows),
        **_blame(rows),
        **_further(rows),
    }
    arrays = [made[column.name] for column in REQUESTS]
    return pa.Table.from_arrays(arrays, schema=schema(REQUESTS, footer))


def class_models(scenario: Any) -> list[str | None]:
    """Model that each class asks for: its own, or the only one of the fleet."""
    models = sorted({pool.model.name for pool in scenario.pools})
    only = models[0] if len(models) == 1 else None
    return [c.model if c.model is not None else only for c in scenario.classes]


def _identity(scenario: Any, rows: Mapping[str, np.ndarray]) -> dict[str, pa.Array]:
    """Who asked for what."""
    classes, class_id = scenario.classes, rows["class_id"]
    start_ps, end_ps = measured_window_ps(scenario)
    arrival_ps = rows["arrival_ps"]
    priorities = np.array([getattr(c, "priority", 0) for c in classes], dtype=np.int32)
    return {
        "request_id": integers(rows["request_id"], np.int64),
        "session": integers(rows["session_id"], np.int64, null_below=0),
        "class": coded(class_id, names_of(classes)),
        "tenant": coded(class_id, [getattr(c, "tenant", None) for c in classes]),
        "model": coded(class_id, class_models(scenario)),
        "priority": integers(priorities[class_id], np.int32),
        "measured": pa.array((arrival_ps >= start_ps) & (arrival_ps < end_ps)),
        "prompt_tokens": integers(rows["prompt_tokens"], np.int32),
        "output_tokens": integers(rows["output_tokens"], np.int32),
        "cached_tokens": integers(rows["cached_tokens"], np.int32),
        "from_cache": pa.array((rows["outcome"] == COMPLETED) & (rows["replica_id"] < 0)),
    }


def _place(scenario: Any, rows: Mapping[str, np.ndarray]) -> dict[str, pa.Array]:
    """Where the last attempt ran; null where no replica was ever chosen."""
    pools = scenario.pools
    pool_id = np.where(rows["routed_ps"] >= 0, rows["pool_id"], -1)
    replica = np.where(pool_id >= 0, rows["replica_id"], -1)
    of_pool: dict[str, Callable[[Any], str]] = {
        "pool": lambda pool: pool.name,
        "runtime": lambda pool: pool.runtime.name,
        "runtime_version": lambda pool: str(pool.runtime.version),
        "gpu": lambda pool: pool.device,
    }
    made = {name: coded(pool_id, [read(pool) for pool in pools]) for name, read in of_pool.items()}
    is_answered = (rows["outcome"] == COMPLETED) & (rows["replica_id"] >= 0)
    bad = rows.get("bad_answer", np.zeros(len(is_answered), dtype=bool))
    made["bad_answer"] = pa.array(bad, mask=~is_answered)
    made["version"] = coded(pool_id, [getattr(pool, "version", None) for pool in pools])
    return {**made, "replica": integers(replica, np.int32, null_below=0)}


def _times(rows: Mapping[str, np.ndarray]) -> dict[str, pa.Array]:
    """Every instant, and the durations between them that people ask for."""
    made: dict[str, pa.Array] = {}
    for event in ("arrival", "taken", "routed", "scheduled", "first_token", "last_token"):
        made |= moments(event, rows[f"{event}_ps"])
    arrival, first, last = rows["arrival_ps"], rows["first_token_ps"], rows["last_token_ps"]
    taken, network = rows["taken_ps"], rows["network_ps"]
    seen = [np.where(event >= 0, event + network, -1) for event in (first, last)]  # by the user
    n_gaps = rows["output_tokens"].astype(np.int64) - 1
    stations = np.maximum(
        rows["blame_stream_cpu_ps"], 0
    )  # the replica's last token came so long before the answer
    gap_last = np.where((n_gaps >= 1) & (last >= 0), last - stations, -1)
    itl_max = np.where(n_gaps >= 1, rows["itl_max_ps"], -1)
    return made | {
        "queue_wait_s": durations(taken, rows["scheduled_ps"]),
        "ttft_s": durations(arrival, seen[0]),
        "attempt_ttft_s": durations(taken, first),
        "tpot_s": durations(first, gap_last, np.maximum(n_gaps, 1)),
        "itl_max_s": durations(np.zeros_like(itl_max), itl_max),
        "itl_max_ps": integers(itl_max, np.int64, null_below=0),
        "e2e_s": durations(arrival, seen[1]),
        "network_s": durations(np.zeros_like(network), network),
    }


def _blame(rows: Mapping[str, np.ndarray]) -> dict[str, pa.Array]:
    """What its time was spent on; null where the first or the last token did not come."""
    return {
        name: integers(rows[name], np.int64, null_below=0)
        for name in (*BLAME_TTFT_COLUMNS, *BLAME_STREAM_COLUMNS)
    }


def _further(rows: Mapping[str, np.ndarray]) -> dict[str, pa.Array]:
    """What else the model wrote down; null where a field that begins as −1 still is."""
    made: dict[str, pa.Array] = {}
    for name, field in FURTHER.items():
        if field.begin < 0 and name.endswith("_ps"):
            made |= moments(name.removesuffix("_ps"), rows[name])
        else:
            made[name] = integers(rows[name], np.int64, null_below=0 if field.begin < 0 else None)
    return made


def _outcome(rows: Mapping[str, np.ndarray]) -> dict[str, pa.Array]:
    return {
        "attempts": integers(rows["attempts"], np.int32),
        "wasted_tokens": integers(rows["wasted_tokens"], np.int64),
        "preemptions": integers(rows["preemptions"], np.int32),
        "outcome": coded(rows["outcome"], list(OUTCOMES)),
        "reason": coded(rows["reason"], [name or None for name in REASONS]),
    }
