"""What a run leaves behind, the same from every engine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from sim.arrays import pool_rows, state_sizes, table, traffic_of
from sim.engine.around import blocked_answers, station_rows, station_samples
from sim.engine.blame import blame_columns, network_ps
from sim.model.layout import (
    A_ATTEMPTS,
    A_CACHED,
    A_SIZE,
    A_TAKEN_PS,
    A_WASTED,
    B_SIZE,
    C_ALL_COMPLETED,
    C_ALL_FAILED,
    C_ALL_OFFERED,
    C_ALL_REJECTED,
    C_ALL_TIMED_OUT,
    C_ASKED_TOKENS,
    C_ATTEMPTS,
    C_CACHED,
    C_CACHED_TOKENS,
    C_COMPLETED,
    C_ENDED,
    C_FAILED,
    C_HEDGES,
    C_INSIDE_MISSED,
    C_MET,
    C_MORE_SUM,
    C_OFFERED,
    C_REASON,
    C_REJECTED,
    C_RETRIES,
    C_SIZE,
    C_SUM,
    C_TIMED_OUT,
    C_TOKENS_IN,
    C_TOKENS_OUT,
    C_WASTED_TOKENS,
    L_FIRST,
    L_GPUS,
    L_MAX_SEQS,
    L_N,
    M_ASKED_TOKENS,
    M_BILLED,
    M_BUSY,
    M_CACHED_TOKENS,
    M_COMPLETED,
    M_DECODE_PS,
    M_DECODE_TOKENS,
    M_KV_READ,
    M_PREEMPTED,
    M_PREFILL_PS,
    M_PREFILL_SQUARES,
    M_PREFILL_TOKENS,
    M_READY,
    M_RUNS_DROPPED,
    M_SIZE,
    M_SLOT,
    M_STARTED,
    M_STEPS,
    MARK_RUN,
    MARK_WARM,
    MARK_WINDOW,
    METRICS,
    MORE_METRICS,
    N_MARK,
    N_METRIC,
    N_MORE,
    OUTCOMES,
    P_ATTEMPTS,
    P_N_POOL,
    P_RECORDS,
    P_TURNS,
    Q_PEAK_READY,
    Q_SCALED_DOWN,
    Q_SCALED_UP,
    Q_SIZE,
    REASONS,
    S_DIGEST,
    S_N_SAMPLE,
    S_NOW,
    STAGE_NAMES,
    T_ARRIVALS,
    T_ASKED_TOKENS,
    T_BILLED_HI,
    T_BILLED_LO,
    T_BLOCKS,
    T_BLOCKS_CACHED,
    T_BLOCKS_USED,
    T_CACHED_TOKENS,
    T_COMPLETED,
    T_HELD,
    T_POOL,
    T_PREEMPTED,
    T_ROUTED,
    T_RUNNING,
    T_SIZE,
    T_STAGE,
    T_TIME_PS,
    T_WAITING,
    T_WANTED,
    X_FIRST_PS,
    X_GAP_MAX_PS,
    X_LAST_PS,
    X_OUTCOME,
    X_PREEMPTIONS,
    X_REASON,
    X_REPLICA,
    X_ROUTED_PS,
    X_SCHEDULED_PS,
    X_SIZE,
    Params,
    State,
)
from sim.model.metrics import N_BUCKET, wide
from sim.units import NEVER

#: The measures of a result's histograms and sums, in order.
RESULT_METRICS = ("ttft", "attempt_ttft", "itl", "tpot", "e2e", "queue_wait", "itl_max")
_SINGLE = {"attempt_ttft": "ttft"}  # where a request has one attempt, the two are one measure


class Result(NamedTuple):
    """A finished run as arrays; times are int64 ps, −1 where something did not happen."""

    requests: dict[str, np.ndarray]  # column → (request,), empty without records
    samples: dict[str, np.ndarray]  # column → (sample · pool,)
    hist: np.ndarray  # (1 + class, metric, bucket) int64, scope 0 = all classes
    sums: dict[str, list[int]]  # metric → [all, class 0, …] ps
    counts: dict[str, np.ndarray]  # name → (1 + class,)
    pools: list[dict[str, int]]
    end_ps: int
    digest: int
    stations: tuple[dict[str, int], ...] = ()
    station_samples: Mapping[str, np.ndarray] = MappingProxyType({})  # column → (sample · station,)


def make_result(p: Params, st: State) -> Result:
    """Read a finished run out of its state."""
    return Result(
        requests=_requests(p, st),
        samples=_samples(p, st),
        hist=_histograms(p, st),
        sums=_sums(p, st),
        counts=_counts(p, st),
        pools=[_pool(p, st, pool) for pool in range(int(p.m[P_N_POOL]))],
        end_ps=int(st.m[S_NOW]),
        digest=make_digest(p, st),
        stations=tuple(station_rows(p, st)),
        station_samples=station_samples(p, st),
    )


def make_digest(p: Params, st: State) -> int:
    """64 bits that stand for the requests, the time series and the summary of a run."""
    h = hashlib.sha256()
    h.update(np.array([st.m[S_DIGEST], st.m[S_N_SAMPLE], st.m[S_NOW]], dtype="<i8").tobytes())
    h.update(
        np.ascontiguousarray(st.m[st.counts : st.record], dtype="<i8").tobytes()
    )  # counts, histograms, marks
    return int.from_bytes(h.digest()[:8], "big")


def _requests(p: Params, st: State) -> dict[str, np.ndarray]:
    if p.m[P_RECORDS] == 0:
        return {}
    sizes, traffic, pools = state_sizes(p), traffic_of(p), pool_rows(p)
    rows = table(st, "record", sizes, X_SIZE)
    replica = rows[:, X_REPLICA]
    served = replica >= 0
    pool_of = np.repeat(np.arange(len(pools)), pools[:, L_N])
    pool = np.where(served, pool_of[np.maximum(replica, 0)], -1)
    first = pools[:, L_FIRST]
    many = bool(p.m[P_ATTEMPTS])
    arrival, came = _arrivals(p, st, traffic.arrival_ps)
    tried = table(st, "tried", sizes, A_SIZE)
    nothing = np.zeros(len(rows), dtype=np.int64)
    columns = {
        "request_id": np.arange(len(rows), dtype=np.int64),
        "class_id": traffic.class_id,
        "session_id": nothing - 1 if traffic.session_id is None else traffic.session_id,
        "arrival_ps": arrival,
        "routed_ps": rows[:, X_ROUTED_PS],
        "scheduled_ps": rows[:, X_SCHEDULED_PS],
        "first_token_ps": rows[:, X_FIRST_PS],
        "last_token_ps": rows[:, X_LAST_PS],
        "prompt_tokens": traffic.prompt_tokens,
        "output_tokens": traffic.output_tokens,
        "pool_id": pool,
        "replica_id": np.where(served, replica - first[np.maximum(pool, 0)], -1),
        "attempts": tried[:, A_ATTEMPTS] if many else nothing + 1,
        "taken_ps": tried[:, A_TAKEN_PS] if many else arrival,
        "wasted_tokens": tried[:, A_WASTED] if many else nothing,
        "network_ps": network_ps(p, traffic.class_id, pool),
        "preemptions": rows[:, X_PREEMPTIONS],
        "itl_max_ps": rows[:, X_GAP_MAX_PS],
        "outcome": rows[:, X_OUTCOME],
        "reason": rows[:, X_REASON],
        "cached_tokens": tried[:, A_CACHED] if len(tried) else nothing,
    }
    columns |= blame_columns(columns, table(st, "blame", sizes, 1).reshape(B_SIZE, -1))
    return columns if came.all() else {name: column[came] for name, column in columns.items()}


def _arrivals(p: Params, st: State, planned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(when each request arrived, whether it did): the later turns of a session come when it is their turn."""
    if p.m[P_TURNS] == 0:
        return planned, np.ones(len(planned), dtype=bool)
    arrived = table(st, "arrived", state_sizes(p), 1)[:, 0]
    return np.where(planned == NEVER, arrived, planned), (planned != NEVER) | (arrived > 0)


_SAMPLE_COLUMNS = {
    "time_ps": T_TIME_PS,
    "pool_id": T_POOL,
    "wanted": T_WANTED,
    **{STAGE_NAMES[stage]: T_STAGE + stage - 1 for stage in range(1, len(STAGE_NAMES))},
    "held": T_HELD,
    "waiting": T_WAITING,
    "running": T_RUNNING,
    "kv_blocks_used": T_BLOCKS_USED,
    "kv_blocks_total": T_BLOCKS,
    "arrivals": T_ARRIVALS,
    "routed": T_ROUTED,
    "completions": T_COMPLETED,
    "preemptions": T_PREEMPTED,
    "kv_blocks_cached": T_BLOCKS_CACHED,
    "asked_tokens": T_ASKED_TOKENS,
    "cached_tokens": T_CACHED_TOKENS,
}


def _samples(p: Params, st: State) -> dict[str, np.ndarray]:
    n_pool = int(p.m[P_N_POOL])
    rows = table(st, "sample", state_sizes(p), T_SIZE)[: int(st.m[S_N_SAMPLE]) * n_pool]
    columns = {name: rows[:, at] for name, at in _SAMPLE_COLUMNS.items()}
    gpus = pool_rows(p)[:, L_GPUS][rows[:, T_POOL]]
    billed = [wide(lo, hi) for lo, hi in rows[:, [T_BILLED_LO, T_BILLED_HI]]]
    columns["gpu_ps"] = np.array([b * int(g) for b, g in zip(billed, gpus, strict=True)], dtype=object)
    return columns


def _histograms(p: Params, st: State) -> np.ndarray:
    sizes = state_sizes(p)
    by_class = table(st, "hist", sizes, N_BUCKET).reshape(-1, N_METRIC, N_BUCKET)
    more = table(st, "more", sizes, N_BUCKET).reshape(-1, N_MORE, N_BUCKET)
    columns = []
    for name in RESULT_METRICS:
        kept_apart = name in MORE_METRICS and len(more) > 0
        found = more[:, MORE_METRICS.index(name)] if kept_apart else by_class[:, _place(name)]
        columns.append(np.concatenate([found.sum(axis=0, keepdims=True), found]))
    return np.stack(columns, axis=1)


def _place(name: str) -> int:
    """Where a measure's histogram and sum stand among those that every run keeps."""
    return METRICS.index(_SINGLE.get(name, name))


def _sums(p: Params, st: State) -> dict[str, list[int]]:
    rows = table(st, "counts", state_sizes(p), C_SIZE)
    sums = {}
    for name in RESULT_METRICS:
        at = C_SUM + 2 * _place(name) if name not in MORE_METRICS or not p.m[P_ATTEMPTS] else _more_at(name)
        by_class = [wide(row[at], row[at + 1]) for row in rows]
        sums[name] = [sum(by_class), *by_class]
    return sums


def _more_at(name: str) -> int:
    return C_MORE_SUM + 2 * MORE_METRICS.index(name)


_COUNTS = {
    "offered": C_OFFERED,
    "completed": C_COMPLETED,
    "rejected": C_REJECTED,
    "timed_out": C_TIMED_OUT,
    "failed": C_FAILED,
    "met": C_MET,
    "tokens_in": C_TOKENS_IN,
    "tokens_out": C_TOKENS_OUT,
    "all_offered": C_ALL_OFFERED,
    "all_completed": C_ALL_COMPLETED,
    "all_rejected": C_ALL_REJECTED,
    "all_timed_out": C_ALL_TIMED_OUT,
    "all_failed": C_ALL_FAILED,
    "inside_missed": C_INSIDE_MISSED,
    "asked_tokens": C_ASKED_TOKENS,
    "cached_tokens": C_CACHED_TOKENS,
    "attempts": C_ATTEMPTS,
    "retries": C_RETRIES,
    "hedges": C_HEDGES,
    "wasted_tokens": C_WASTED_TOKENS,
    "from_cache": C_CACHED,
    **{f"attempts_{outcome}": C_ENDED + i for i, outcome in enumerate((*OUTCOMES[1:], "cancelled"))},
    **{f"reason_{reason}": C_REASON + i for i, reason in enumerate(REASONS) if reason},
}


def _counts(p: Params, st: State) -> dict[str, np.ndarray]:
    rows = table(st, "counts", state_sizes(p), C_SIZE)
    counts = {name: np.concatenate([[rows[:, at].sum()], rows[:, at]]) for name, at in _COUNTS.items()}
    if not p.m[P_ATTEMPTS]:
        _count_single(counts)
    counts["blocked"] = (
        blocked_answers(p, st, counts) if p.m[P_ATTEMPTS] else np.zeros_like(counts["offered"])
    )
    gone = counts["completed"] + counts["rejected"] + counts["timed_out"] + counts["failed"]
    counts["inside"] = counts["offered"] - gone
    return counts


def _count_single(counts: dict[str, np.ndarray]) -> None:
    """Where every request has one attempt, the attempts are the requests."""
    counts["attempts"] = counts["offered"]
    for outcome in OUTCOMES[1:]:
        counts[f"attempts_{outcome}"] = counts[outcome]


_WIDE_MARKS = {
    "billed_ps": M_BILLED,
    "ready_ps": M_READY,
    "busy_ps": M_BUSY,
    "slot_ps": M_SLOT,
    "prefill_ps": M_PREFILL_PS,
    "decode_ps": M_DECODE_PS,
}
_PLAIN_MARKS = {
    "steps": M_STEPS,
    "prefill_tokens": M_PREFILL_TOKENS,
    "prefill_squares": M_PREFILL_SQUARES,
    "decode_tokens": M_DECODE_TOKENS,
    "kv_read_tokens": M_KV_READ,
    "completions": M_COMPLETED,
    "preemptions": M_PREEMPTED,
    "replicas_started": M_STARTED,
    "asked_tokens": M_ASKED_TOKENS,
    "cached_tokens": M_CACHED_TOKENS,
    "prefix_runs_dropped": M_RUNS_DROPPED,
}


def _pool(p: Params, st: State, pool: int) -> dict[str, int]:
    """What a pool did inside the measured window (keys with `run_` : over the whole run)."""
    marks = table(st, "mark", state_sizes(p), M_SIZE).reshape(N_MARK, -1, M_SIZE)[:, pool]
    row: dict[str, Any] = {}
    for name, at in _WIDE_MARKS.items():
        warm, window, run = (wide(marks[m][at], marks[m][at + 1]) for m in (MARK_WARM, MARK_WINDOW, MARK_RUN))
        row[name] = window - warm
        row["run_" + name] = run
    for name, at in _PLAIN_MARKS.items():
        row[name] = int(marks[MARK_WINDOW][at] - marks[MARK_WARM][at])
        row["run_" + name] = int(marks[MARK_RUN][at])
    row["prefill_attended_tokens"] = row["prefill_squares"] // 2
    limits = pool_rows(p)[pool]
    seen = table(st, "pool", state_sizes(p), Q_SIZE)[pool]
    row["gpus_per_replica"] = int(limits[L_GPUS])
    row["gpu_ps"] = row["billed_ps"] * row["gpus_per_replica"]
    row["run_gpu_ps"] = row["run_billed_ps"] * row["gpus_per_replica"]
    row["max_num_seqs"] = int(limits[L_MAX_SEQS])
    row["places"] = int(limits[L_N])
    row["peak_ready"] = int(seen[Q_PEAK_READY])
    row["scaled_up"] = int(seen[Q_SCALED_UP])
    row["scaled_down"] = int(seen[Q_SCALED_DOWN])
    return row
