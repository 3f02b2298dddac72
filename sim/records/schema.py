"""What each column of the records is: its name, Arrow type, unit and meaning, in the order it is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import pyarrow as pa

from sim.model.tables.codes import BLAME_STREAM, BLAME_TTFT, STAGE_NAMES
from sim.model.tables.record import AttemptRecord, RequestRecord
from sim.records.version import SCHEMA_VERSION

NAME = pa.dictionary(pa.int32(), pa.string())  # few different texts, many rows


class Column(NamedTuple):
    """One column: `unit` is "1" for a pure number and "name" for a text."""

    name: str
    type: pa.DataType
    unit: str
    means: str


def moment(event: str, means: str) -> list[Column]:
    """The two columns of an instant: seconds for people, picoseconds for exact arithmetic."""
    return [
        Column(f"{event}_s", pa.float64(), "s", means),
        Column(f"{event}_ps", pa.int64(), "ps", f"{means}, exact"),
    ]


def duration(name: str, means: str) -> Column:
    """The column of a duration in seconds."""
    return Column(f"{name}_s", pa.float64(), "s", means)


#: What the model writes down of a request: name → field, with its unit and meaning.
RECORDED = {**RequestRecord.FIELDS, **AttemptRecord.FIELDS}
#: Fields that are written under another name, or only in what is worked out from them.
WORKED_OUT = ("first_ps", "last_ps", "gap_max_ps", "replica", "outcome", "reason")


def _recorded(name: str, kind: pa.DataType) -> Column:
    """The column of a field that the model writes down."""
    return Column(name, kind, RECORDED[name].unit or "1", RECORDED[name].about)


def _instant(event: str, name: str) -> list[Column]:
    """The columns of an instant that the model writes down."""
    return moment(event, RECORDED[name].about)


BLAME = {  # what each part of a request's time was spent on
    "retry": "arrival until the answering attempt was taken: earlier attempts and the waits between them",
    "gateway": "held at the gateway although replicas of its model were ready",
    "cpu": "in the gateway's CPU stages",
    "network": "on the way to the router and back, and the server's time beside its steps",
    "cold_start": "held while no replica of its model was ready, or queued while replicas of its pool started",
    "queue": "queued at its replica behind others, the cold start's part left out",
    "prefill": "its prompt's chunks, as long as each would have taken alone in a step",
    "interference": "the rest of the time it was being computed: others' prompts and tokens in its steps",
    "neighbour": "what steps took longer because others used the same GPU, by time-slicing or MPS",
    "preemption": "from being preempted until all it had lost was computed again",
    "withheld": "an answer that came and was not shown before it was complete and checked",
    "decode": "the rest: the steps that computed its tokens",
}


def _blame() -> list[Column]:
    """The parts of ttft, then the parts of what follows the first token."""
    until = [(f"blame_{cause}_ps", f"of ttft: {BLAME[cause]}") for cause in BLAME_TTFT]
    after = [(f"blame_stream_{cause}_ps", f"after the first token: {BLAME[cause]}") for cause in BLAME_STREAM]
    return [Column(name, pa.int64(), "ps", means) for name, means in (*until, *after)]


REQUESTS: list[Column] = [
    Column("request_id", pa.int64(), "id", "row number in the table of requests"),
    Column(
        "session",
        pa.int64(),
        "id",
        "the session that it is a turn of, in the order of their arrival; null when of none",
    ),
    Column("class", NAME, "name", "traffic class"),
    Column("tenant", NAME, "name", "tenant of the class; null when it names none"),
    Column("model", NAME, "name", "model asked for"),
    Column("runtime", NAME, "name", "inference server of the pool; null when never routed"),
    Column("runtime_version", NAME, "name", "version of that server; null when never routed"),
    Column("gpu", NAME, "name", "kind of GPU of the pool; null when never routed"),
    Column("pool", NAME, "name", "pool that took the last attempt; null when never routed"),
    Column("version", NAME, "name", "version that the pool says it is; null when never routed or not said"),
    Column("replica", pa.int32(), "id", "replica inside the pool; null when never routed"),
    Column("bad_answer", pa.bool_(), "bool", "its answer is bad; null where no replica answered"),
    Column("priority", pa.int32(), "1", "priority of the class, lower first"),
    Column("measured", pa.bool_(), "bool", "arrived inside the measured window"),
    Column("prompt_tokens", pa.int32(), "tokens", "tokens of the prompt"),
    Column("output_tokens", pa.int32(), "tokens", "tokens the answer has when complete; 0 for an embedding"),
    _recorded("cached_tokens", pa.int32()),
    Column(
        "from_cache", pa.bool_(), "bool", "answered by the gateway's response cache, which no replica saw"
    ),
    *moment("arrival", "when the first attempt reached the gateway"),
    *_instant("taken", "taken_ps"),
    *_instant("routed", "routed_ps"),
    *_instant("scheduled", "scheduled_ps"),
    *_instant("first_token", "first_ps"),
    *_instant("last_token", "last_ps"),
    _recorded("attempts", pa.int32()),
    _recorded("wasted_tokens", pa.int64()),
    _recorded("preemptions", pa.int32()),
    Column("outcome", NAME, "name", "completed, rejected, timed_out, failed, or inside at the drain limit"),
    Column("reason", NAME, "name", "why it was not completed; null when it was"),
    duration("queue_wait", "first scheduled - when the gateway took that attempt"),
    duration("ttft", "first token of the answering attempt - arrival of the first attempt, and the network"),
    duration("attempt_ttft", "first token - when the gateway took that attempt"),
    duration(
        "tpot",
        "(last token of the replica - first token) / (tokens - 1), in whole picoseconds, time at stations behind the GPU "
        "left out; null below two tokens",
    ),
    duration("itl_max", f"{RECORDED['gap_max_ps'].about}; null below two tokens"),
    Column("itl_max_ps", pa.int64(), "ps", f"{RECORDED['gap_max_ps'].about}; null below two tokens, exact"),
    duration(
        "network",
        "to the pool that took it and back, the gateway's own time, and the server's beside its steps; 0 when never routed",
    ),
    duration("e2e", "last token - arrival, and the network"),
    *_blame(),
]
#: Further fields that the model writes down: each is a column of its name, an instant two, behind all others.
FURTHER = {
    name: field
    for name, field in RECORDED.items()
    if name not in WORKED_OUT and name not in {column.name for column in REQUESTS}
}
for _name, _field in FURTHER.items():
    _is_instant = _field.begin < 0 and _name.endswith("_ps")
    REQUESTS += _instant(_name.removesuffix("_ps"), _name) if _is_instant else [_recorded(_name, pa.int64())]

STAGES = STAGE_NAMES[1:]  # of a replica's life, in order; gone ones are not counted

TIMESERIES: list[Column] = [
    Column("time_s", pa.float64(), "s", "when the sample was taken: the end of its interval"),
    Column("time_ps", pa.int64(), "ps", "when the sample was taken, exact"),
    Column("interval_s", pa.float64(), "s", "time since the sample before; 0 for a first sample at time 0"),
    Column("pool", NAME, "name", "pool"),
    Column("model", NAME, "name", "model the pool serves"),
    Column("gpu", NAME, "name", "kind of GPU of the pool"),
    Column("wanted", pa.int32(), "replicas", "replicas the autoscaler asks for"),
    *(
        Column(stage, pa.int32(), "replicas", f"replicas in stage {stage}; a replica is in exactly one")
        for stage in STAGES
    ),
    Column(
        "held",
        pa.int64(),
        "requests",
        "held at the gateway for the pool's model; pools of one model share it, so do not add them up",
    ),
    Column("waiting", pa.int64(), "requests", "in the replicas' waiting queues"),
    Column("running", pa.int64(), "requests", "in the replicas' running batches"),
    Column("kv_blocks_used", pa.int64(), "blocks", "KV blocks in use on ready and draining replicas"),
    Column("kv_blocks_total", pa.int64(), "blocks", "KV blocks that ready and draining replicas have"),
    Column("kv_use", pa.float64(), "1", "share of KV blocks in use; null where there are none"),
    Column("kv_blocks_cached", pa.int64(), "blocks", "of those not in use, how many hold cached prefixes"),
    Column(
        "arrivals",
        pa.int64(),
        "requests",
        "that arrived in the interval for its model, each once (shared by its pools)",
    ),
    Column(
        "retries",
        pa.int64(),
        "1",
        "attempts in the interval after the first at a request: tried again, hedged, sent on (shared like arrivals)",
    ),
    Column("routed", pa.int64(), "requests", "sent to the pool in the interval"),
    Column("completions", pa.int64(), "requests", "completed by the pool in the interval"),
    Column("preemptions", pa.int64(), "1", "preemptions in the interval"),
    Column("restarts", pa.int64(), "1", "processes that crashed in the interval and start again in place"),
    Column(
        "asked_tokens",
        pa.int64(),
        "tokens",
        "of prompts first scheduled in the interval in pools with a prefix cache",
    ),
    Column("cached_tokens", pa.int64(), "tokens", "of these, found"),
    Column(
        "prefix_hit_ratio",
        pa.float64(),
        "1",
        "cached_tokens / asked_tokens; null where nothing was looked up",
    ),
    Column("gpu_s", pa.float64(), "s", "GPU seconds billed in the interval"),
    Column("usd", pa.float64(), "usd", "cost of the interval"),
    Column(
        "watts",
        pa.float64(),
        "W",
        "mean of the interval, with machines and the data centre's overhead, modelled; null where it is not known",
    ),
]

STATIONS: list[Column] = [
    Column("time_s", pa.float64(), "s", "when the sample was taken: the end of its interval"),
    Column("time_ps", pa.int64(), "ps", "when the sample was taken, exact"),
    Column("interval_s", pa.float64(), "s", "time since the sample before; 0 for the first"),
    Column("station", NAME, "name", "CPU station"),
    Column("workers", pa.int32(), "workers", "workers that it has"),
    Column("busy_workers", pa.int32(), "workers", "workers at work"),
    Column("in_line", pa.int64(), "visits", "in line; work whose client has gone is still done, and counts"),
    Column("wait_s", pa.float64(), "s", "how long a visit that joins the line now waits"),
    Column("visits", pa.int64(), "visits", "that joined the line in the interval"),
    Column("busy_s", pa.float64(), "s", "work done in the interval, of all workers together"),
    Column("use", pa.float64(), "1", "busy_s / (workers x interval_s); null for the first sample"),
]


def schema(columns: Iterable[Column], footer: Mapping[str, str] | None = None) -> pa.Schema:
    """The Arrow schema: unit and meaning in each field's metadata, the footer in the schema's."""
    about = {"fleetsim_schema_version": str(SCHEMA_VERSION), **(footer or {})}
    return pa.schema([field(column) for column in columns], metadata=about)


def field(column: Column) -> pa.Field:
    """One Arrow field that carries its unit and meaning."""
    return pa.field(column.name, column.type, metadata={"unit": column.unit, "means": column.means})


def units(of: pa.Schema) -> dict[str, str]:
    """Column name → unit, as a file says it."""
    return {f.name: (f.metadata or {}).get(b"unit", b"").decode() for f in of}
