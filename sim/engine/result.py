"""What a run leaves behind, the same from every engine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from sim.arrays import pool_rows, traffic_of
from sim.engine.around import blocked_answers, station_rows, station_samples
from sim.engine.blame import blame_columns, network_ps
from sim.engine.starts import Starts, all_starts
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
    C_DONE,
    C_DONE_MET,
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
    M_SERVING,
    M_SIZE,
    M_SLOT,
    M_STARTED,
    M_STEP_PARTS,
    M_STEPS,
    M_TIME_PS,
    MARK_RUN,
    MARK_WARM,
    MARK_WINDOW,
    METRICS,
    MORE_METRICS,
    N_MARK,
    N_METRIC,
    OUTCOMES,
    P_ATTEMPTS,
    P_N_CLASS,
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
    T_AGAIN,
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
from sim.state import state_sizes, table
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
    starts: tuple[Starts, ...] = ()  # cold starts of each pool
    window_end_ps: int | None = None  # of the measured window; None: the scenario's duration


def make_result(p: Params, st: State, records: bool = True, classes: bool = True) -> Result:
    """Read a finished run out of its state. A sweep leaves out what it does not keep: without `records` the requests and
    what was billed up to each sample, without `classes` all histograms but those of the fleet, and cold starts."""
    return Result(
        requests=_requests(p, st) if records else {},
        samples=_samples(p, st, records),
        hist=_histograms(p, st, classes),
        sums=_sums(p, st),
        counts=_counts(p, st),
        pools=_pools(p, st),
        end_ps=int(st.m[S_NOW]),
        digest=make_digest(p, st),
        stations=tuple(station_rows(p, st)),
        station_samples=station_samples(p, st),
        starts=all_starts(p, st) if classes else (),
        window_end_ps=int(st.m[st.mark + MARK_WINDOW * int(p.m[P_N_POOL]) * M_SIZE + M_TIME_PS]),
    )


def make_digest(p: Params, st: State) -> int:
    """64 bits that stand for the requests, the time series and the summary of a run."""
    h = hashlib.sha256()
    h.update(np.array([st.m[S_DIGEST], st.m[S_N_SAMPLE], st.m[S_NOW]], dtype="<i8").tobytes())
    h.update(np.ascontiguousarray(st.m[st.counts : st.record], dtype="<i8").data)  # counts, histograms, marks
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
    "attempts": T_ARRIVALS,
    "retries": T_AGAIN,
    "routed": T_ROUTED,
    "completions": T_COMPLETED,
    "preemptions": T_PREEMPTED,
    "kv_blocks_cached": T_BLOCKS_CACHED,
    "asked_tokens": T_ASKED_TOKENS,
    "cached_tokens": T_CACHED_TOKENS,
}


def _samples(p: Params, st: State, with_billed: bool) -> dict[str, np.ndarray]:
    n_pool = int(p.m[P_N_POOL])
    rows = st.m[st.sample :][: int(st.m[S_N_SAMPLE]) * n_pool * T_SIZE].reshape(-1, T_SIZE)
    columns = {name: rows[:, at] for name, at in _SAMPLE_COLUMNS.items()}
    if with_billed:
        gpus = pool_rows(p)[:, L_GPUS][rows[:, T_POOL]]
        billed = [wide(lo, hi) for lo, hi in rows[:, [T_BILLED_LO, T_BILLED_HI]].tolist()]
        columns["gpu_ps"] = np.array(
            [b * g for b, g in zip(billed, gpus.tolist(), strict=True)], dtype=object
        )
    return columns


def _histograms(p: Params, st: State, with_classes: bool) -> np.ndarray:
    n_class = int(p.m[P_N_CLASS])
    by_class = st.m[st.hist : st.more].reshape(n_class, N_METRIC, N_BUCKET)
    more = st.m[st.more : st.mark].reshape(n_class, -1, N_BUCKET)
    hist = np.empty((1 + n_class * with_classes, len(RESULT_METRICS), N_BUCKET), dtype=np.int64)
    for i, name in enumerate(RESULT_METRICS):
        kept_apart = name in MORE_METRICS and more.shape[1] > 0
        found = more[:, MORE_METRICS.index(name)] if kept_apart else by_class[:, _place(name)]
        found.sum(axis=0, out=hist[0, i])
        if with_classes:
            hist[1:, i] = found
    return hist


def _place(name: str) -> int:
    """Where a measure's histogram and sum stand among those that every run keeps."""
    return METRICS.index(_SINGLE.get(name, name))


def _sums(p: Params, st: State) -> dict[str, list[int]]:
    rows = st.m[st.counts : st.hist].reshape(-1, C_SIZE).tolist()
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
    "done": C_DONE,
    "done_met": C_DONE_MET,
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
    rows = st.m[st.counts : st.hist].reshape(-1, C_SIZE)
    columns = np.concatenate([rows.sum(axis=0, keepdims=True), rows]).T.copy()
    counts = {name: columns[at] for name, at in _COUNTS.items()}
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
    "serving_ps": M_SERVING,
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


def _pools(p: Params, st: State) -> list[dict[str, int]]:
    """What each pool did inside the measured window (keys with `run_` : over the whole run)."""
    n_pool = int(p.m[P_N_POOL])
    marks = st.m[st.mark :][: N_MARK * n_pool * M_SIZE].reshape(N_MARK, n_pool, M_SIZE).tolist()
    limits, seen = pool_rows(p).tolist(), st.m[st.pool : st.group].reshape(n_pool, Q_SIZE).tolist()
    return [_pool([mark[i] for mark in marks], limits[i], seen[i]) for i in range(n_pool)]


def _pool(marks: list[list[int]], limits: list[int], seen: list[int]) -> dict[str, int]:
    warm, window, run = marks[MARK_WARM], marks[MARK_WINDOW], marks[MARK_RUN]
    row: dict[str, int] = {}
    for name, at in _WIDE_MARKS.items():
        row[name] = wide(window[at], window[at + 1]) - wide(warm[at], warm[at + 1])
        row["run_" + name] = wide(run[at], run[at + 1])
    for name, at in _PLAIN_MARKS.items():
        row[name] = window[at] - warm[at]
        row["run_" + name] = run[at]
    row["step_parts"] = window[M_STEP_PARTS] - warm[M_STEP_PARTS]
    row["prefill_attended_tokens"] = row["prefill_squares"] // 2
    row["gpus_per_replica"] = limits[L_GPUS]
    row["gpu_ps"] = row["billed_ps"] * row["gpus_per_replica"]
    row["run_gpu_ps"] = row["run_billed_ps"] * row["gpus_per_replica"]
    row["max_num_seqs"] = limits[L_MAX_SEQS]
    row["places"] = limits[L_N]
    row["peak_ready"] = seen[Q_PEAK_READY]
    row["scaled_up"] = seen[Q_SCALED_UP]
    row["scaled_down"] = seen[Q_SCALED_DOWN]
    return row
