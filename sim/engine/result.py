"""What a run leaves behind, the same from every engine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from sim.engine import around
from sim.engine.blame import blame_columns, network_ps
from sim.engine.jobs import run_columns
from sim.engine.nodes import event_columns, group_rows, group_samples, wait_rows
from sim.engine.quotas import queue_rows, queue_samples
from sim.engine.starts import Starts, all_starts, taken_columns
from sim.fill.params import traffic_of
from sim.fill.state import pool_rows, table
from sim.model.base.histogram import N_BUCKET, wide
from sim.model.tables.codes import (
    COMPLETED,
    METRICS,
    MORE_METRICS,
    N_METRIC,
    N_MORE,
    OUTCOMES,
    REASONS,
    STAGE_NAMES,
)
from sim.model.tables.pool import PoolParams, PoolState
from sim.model.tables.record import AttemptRecord, ClassCounts, RequestRecord
from sim.model.tables.run import DIGESTED, Params, State
from sim.model.tables.sample import MARK_RUN, MARK_WARM, MARK_WINDOW, N_MARK
from sim.model.tables.slot import N_SPENT
from sim.units import NEVER

#: The measures of a result's histograms and sums, in order.
RESULT_METRICS = ("ttft", "attempt_ttft", "itl", "tpot", "e2e", "queue_wait", "itl_max")
SINGLE = {"attempt_ttft": "ttft"}  # where a request has one attempt, the two are one measure


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
    links: tuple[dict[str, int], ...] = ()  # what each carried
    node_groups: tuple[dict[str, int], ...] = ()  # what the nodes of each did
    node_samples: Mapping[str, np.ndarray] = MappingProxyType({})  # column → (sample · group,)
    slice_waits: tuple[dict[str, int], ...] = ()  # of each pool, for GPUs of a cluster
    events: Mapping[str, np.ndarray] = MappingProxyType({})  # column → (event,) of the cluster
    job_runs: Mapping[str, np.ndarray] = MappingProxyType({})  # column → (run,) of batch jobs
    queues: tuple[dict[str, int], ...] = ()  # what each queue used
    queue_samples: Mapping[str, np.ndarray] = MappingProxyType({})  # column → (sample · queue · flavor,)
    steps_taken: Mapping[str, np.ndarray] = MappingProxyType({})  # column → (step,) of starts that are over
    rollouts: tuple[dict[str, int], ...] = ()  # what became of each deployment
    versions: tuple[dict[str, int], ...] = ()  # what each pool answered, where versions differ
    gates: tuple[dict[str, int], ...] = ()  # what became of each
    link_samples: Mapping[str, np.ndarray] = MappingProxyType({})  # column → (sample · link,)
    window_end_ps: int | None = None  # of the measured window; None: the scenario's duration


def make_result(
    params: Params, state: State, records: bool = True, classes: bool = True, blame: bool = True
) -> Result:
    """Read a finished run out of its state. A sweep leaves out what it does not keep: without `records` the requests and
    what was billed up to each sample, without `classes` all histograms but those of the fleet, and cold starts; without
    `blame` requests do not say what their time was spent on.
    """
    window = state.rows("mark", N_MARK * int(params.n_pool))[MARK_WINDOW * int(params.n_pool)]
    return Result(
        requests=_requests(params, state, blame) if records and params.keeps_records else {},
        samples=_samples(params, state, records),
        hist=_histograms(params, state, classes),
        sums=_sums(params, state),
        counts=_counts(params, state),
        pools=_pools(params, state),
        end_ps=int(state.now_ps),
        digest=make_digest(state),
        stations=tuple(around.station_rows(params, state)),
        station_samples=around.station_samples(params, state),
        links=tuple(around.link_rows(params, state)),
        link_samples=around.link_samples(params, state),
        node_groups=tuple(group_rows(params, state)),
        node_samples=group_samples(params, state),
        slice_waits=tuple(wait_rows(params, state)),
        events=event_columns(params, state) if records else {},
        job_runs=run_columns(params, state),
        queues=tuple(queue_rows(params, state)),
        queue_samples=queue_samples(params, state),
        rollouts=tuple(around.rollout_rows(params, state)),
        versions=tuple(around.version_rows(params, state)),
        gates=tuple(around.gate_rows(params, state)),
        starts=all_starts(params, state) if classes else (),
        steps_taken=taken_columns(params, state) if records else {},
        window_end_ps=int(window["time_ps"]),
    )


_AFTER_DIGESTED = State.fixed()[State.fixed().index(DIGESTED[-1]) + 1]


def make_digest(state: State) -> int:
    """64 bits that stand for the requests, the time series and the summary of a run."""
    h = hashlib.sha256()
    h.update(np.array([state.digest, state.n_sample, state.now_ps], dtype="<i8").tobytes())
    begin, end = (State.TABLES[name].start_of(state) for name in (DIGESTED[0], _AFTER_DIGESTED))
    h.update(np.ascontiguousarray(state.m[begin:end], dtype="<i8").data)
    return int.from_bytes(h.digest()[:8], "big")


#: Field of a request's record → column of another name; every other field is a column of its own name.
_RENAMED = {"first_ps": "first_token_ps", "last_ps": "last_token_ps", "gap_max_ps": "itl_max_ps"}


def _requests(params: Params, state: State, blame: bool = True) -> dict[str, np.ndarray]:
    traffic, pools = traffic_of(params), pool_rows(params)
    columns = _recorded(params, state)
    replica = columns.pop("replica")
    served = replica >= 0
    pool_of = np.repeat(np.arange(len(pools)), pools["n_replica"])
    pool = np.where(served, pool_of[np.maximum(replica, 0)], -1)
    arrival, came = _arrivals(params, state, traffic.arrival_ps)
    nothing = np.zeros(len(replica), dtype=np.int64)
    columns |= {
        "request_id": np.arange(len(replica), dtype=np.int64),
        "class_id": traffic.class_id,
        "session_id": nothing - 1 if traffic.session_id is None else traffic.session_id,
        "arrival_ps": arrival,
        "prompt_tokens": traffic.prompt_tokens,
        "output_tokens": traffic.output_tokens,
        "pool_id": pool,
        "replica_id": np.where(served, replica - pools["first_replica"][np.maximum(pool, 0)], -1),
        "network_ps": network_ps(params, traffic.class_id, pool),
    }
    is_answered = served & (columns["outcome"] == COMPLETED)
    columns["bad_answer"] = around.bad_answers(params, pool, is_answered)
    if not params.has_attempts:
        columns |= {"attempts": nothing + 1, "taken_ps": arrival, "wasted_tokens": nothing}
    if blame:
        columns |= blame_columns(columns, table(params, state, "spent").reshape(N_SPENT, -1))
    return columns if came.all() else {name: column[came] for name, column in columns.items()}


def _recorded(params: Params, state: State) -> dict[str, np.ndarray]:
    """Column → (request,): what the model wrote down of each; as it begins where there is no such table."""
    rows, tried = table(params, state, "record"), table(params, state, "attempt")
    columns = {_RENAMED.get(name, name): rows[name] for name in RequestRecord.FIELDS}
    for name, field in AttemptRecord.FIELDS.items():
        columns[name] = tried[name] if len(tried) else np.full(len(rows), field.begin, dtype=np.int64)
    return columns


def _arrivals(params: Params, state: State, planned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(when each request arrived, whether it did): the later turns of a session have no arrival time of their own."""
    if params.turn_at == 0:
        return planned, np.ones(len(planned), dtype=bool)
    arrived = table(params, state, "arrived")
    return np.where(planned == NEVER, arrived, planned), (planned != NEVER) | (arrived > 0)


#: Column of a result's samples → field of the sample.
_SAMPLE_COLUMNS = {
    "held": "held",
    "waiting": "waiting",
    "running": "running",
    "kv_blocks_used": "used_blocks",
    "kv_blocks_total": "n_blocks",
    "attempts": "arrivals",
    "retries": "retries",
    "routed": "routed",
    "completions": "completed",
    "preemptions": "preempted",
    "kv_blocks_cached": "cached_blocks",
    "asked_tokens": "asked_tokens",
    "cached_tokens": "cached_tokens",
}


def _samples(params: Params, state: State, with_billed: bool) -> dict[str, np.ndarray]:
    rows = state.rows("sample", int(state.n_sample) * int(params.n_pool))
    columns = {"time_ps": rows["time_ps"], "pool_id": rows["pool"], "wanted": rows["wanted"]}
    columns |= {STAGE_NAMES[stage]: rows["by_stage"][:, stage - 1] for stage in range(1, len(STAGE_NAMES))}
    columns |= {name: rows[field] for name, field in _SAMPLE_COLUMNS.items()}
    if with_billed:
        gpus = pool_rows(params)["gpus"][rows["pool"]]
        billed = [wide(low, high) for low, high in rows["billed_ps"].tolist()]
        columns["gpu_ps"] = np.array(
            [b * g for b, g in zip(billed, gpus.tolist(), strict=True)], dtype=object
        )
        columns |= _work(state, len(rows))
    return columns


def _work(state: State, n: int) -> dict[str, np.ndarray]:
    """What engines had done by each sample, of which watts are worked out: columns of the names that a pool's have."""
    rows = state.rows("work_sample", n)
    columns = {
        name: np.array([wide(low, high) for low, high in rows[name].tolist()], dtype=object)
        for name in ("prefill_ps", "decode_ps")
    }
    columns["restarts"] = rows["crashed"]
    plain = ("prefill_tokens", "prefill_squares", "decode_tokens", "kv_read")
    return columns | {PLAIN_OF[name]: rows[name] for name in plain}


def _histograms(params: Params, state: State, with_classes: bool) -> np.ndarray:
    n_class = int(params.n_class)
    by_class = state.rows("hist", n_class * N_METRIC * N_BUCKET).reshape(n_class, N_METRIC, N_BUCKET)
    n_more = N_MORE if params.has_attempts else 0
    more = state.rows("more", n_class * n_more * N_BUCKET).reshape(n_class, n_more, N_BUCKET)
    hist = np.empty((1 + n_class * with_classes, len(RESULT_METRICS), N_BUCKET), dtype=np.int64)
    for i, name in enumerate(RESULT_METRICS):
        kept_apart = name in MORE_METRICS and n_more > 0
        found = more[:, MORE_METRICS.index(name)] if kept_apart else by_class[:, _place(name)]
        found.sum(axis=0, out=hist[0, i])
        if with_classes:
            hist[1:, i] = found
    return hist


def _place(name: str) -> int:
    """Where a measure's histogram and sum stand among those that every run keeps."""
    return METRICS.index(SINGLE.get(name, name))


def _sums(params: Params, state: State) -> dict[str, list[int]]:
    rows = state.rows("counts", int(params.n_class))
    sums = {}
    for name in RESULT_METRICS:
        kept_apart = name in MORE_METRICS and params.has_attempts
        at = 2 * (MORE_METRICS.index(name) if kept_apart else _place(name))
        limbs = rows["more_sums" if kept_apart else "sums"][:, at : at + 2]
        by_class = [wide(low, high) for low, high in limbs.tolist()]
        sums[name] = [sum(by_class), *by_class]
    return sums


#: Counts of a result that are a field of ClassCounts each, of the same name.
COUNTS = tuple(name for name, field in ClassCounts.FIELDS.items() if field.kind == "int")


def _counts(params: Params, state: State) -> dict[str, np.ndarray]:
    n_class = int(params.n_class)
    sent_on = state.rows("limit", n_class)["sent_on"] if params.has_attempts else None
    return counts_of(state.rows("counts", n_class), sent_on)


def counts_of(rows: np.ndarray, sent_on: np.ndarray | None) -> dict[str, np.ndarray]:
    """Name → (…, 1 + class) of the records of one run, (class,), or of many, (run, class). `sent_on`, likewise, says of
    how many blocked answers another model was asked for instead; None where every request has one attempt.
    """
    columns = {name: rows[name] for name in COUNTS}
    for i, outcome in enumerate((*OUTCOMES[1:], "cancelled")):
        columns[f"attempts_{outcome}"] = rows["ended"][..., i]
    for i, reason in enumerate(REASONS):
        if reason:
            columns[f"reason_{reason}"] = rows["by_reason"][..., i]
    counts = dict(zip(columns, _with_whole(np.stack(list(columns.values()))), strict=True))
    if sent_on is None:
        _count_single(counts)
        counts["blocked"] = np.zeros_like(counts["offered"])
    else:
        counts["blocked"] = counts["reason_blocked"] + _with_whole(sent_on)
    gone = counts["completed"] + counts["rejected"] + counts["timed_out"] + counts["failed"]
    counts["inside"] = counts["offered"] - gone
    return counts


def _with_whole(by_class: np.ndarray) -> np.ndarray:
    """(…, class) with the sum over the classes before them."""
    return np.concatenate([by_class.sum(axis=-1, keepdims=True), by_class], axis=-1)


def _count_single(counts: dict[str, np.ndarray]) -> None:
    """Where every request has one attempt, the attempts are the requests."""
    counts["attempts"] = counts["offered"]
    for outcome in OUTCOMES[1:]:
        counts[f"attempts_{outcome}"] = counts[outcome]


WIDE_MARKS = ("billed_ps", "ready_ps", "serving_ps", "busy_ps", "slot_ps", "prefill_ps", "decode_ps")
#: Key of a result's pool → field of the mark.
PLAIN_MARKS = {
    "steps": "steps",
    "prefill_tokens": "prefill_tokens",
    "prefill_squares": "prefill_squares",
    "decode_tokens": "decode_tokens",
    "kv_read_tokens": "kv_read",
    "completions": "completed",
    "preemptions": "preempted",
    "replicas_started": "started",
    "asked_tokens": "asked_tokens",
    "cached_tokens": "cached_tokens",
    "prefix_runs_dropped": "ranges_dropped",
}


#: Fields of a pool's state that its result has too.
POOL_STATE = ("peak_ready", "scaled_up", "scaled_down", "crashed")
PLAIN_OF = {field: name for name, field in PLAIN_MARKS.items()}


def _pools(params: Params, state: State) -> list[dict[str, int]]:
    """What each pool did inside the measured window (keys with `run_` : over the whole run)."""
    n_pool = int(params.n_pool)
    marks = state.rows("mark", N_MARK * n_pool).reshape(N_MARK, n_pool)
    return [_pool(marks[:, i], params.pool[i], state.pool[i]) for i in range(n_pool)]


def _pool(marks: np.ndarray, pool: PoolParams, seen: PoolState) -> dict[str, int]:
    warm, window, run = marks[MARK_WARM], marks[MARK_WINDOW], marks[MARK_RUN]
    row: dict[str, int] = {}
    for name in WIDE_MARKS:
        row[name] = wide(*window[name]) - wide(*warm[name])
        row["run_" + name] = wide(*run[name])
    for name, field in PLAIN_MARKS.items():
        row[name] = int(window[field]) - int(warm[field])
        row["run_" + name] = int(run[field])
    row["step_parts"] = int(window["step_parts"]) - int(warm["step_parts"])
    row["prefill_attended_tokens"] = row["prefill_squares"] // 2
    row["gpus_per_replica"] = int(pool.gpus)
    row["gpu_ps"] = row["billed_ps"] * row["gpus_per_replica"]
    row["run_gpu_ps"] = row["run_billed_ps"] * row["gpus_per_replica"]
    row["max_num_seqs"], row["places"] = int(pool.max_num_seqs), int(pool.n_replica)
    return row | {name: int(getattr(seen, name)) for name in POOL_STATE}
