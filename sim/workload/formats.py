"""The trace formats that are known by name: where each keeps its times, lengths, sessions and hashes.

A format is one `Layout`: named columns, units, and what its publisher means by a row that has no tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError, nearest, problem
from sim.scenario.trace import Trace

NS_PER_UNIT = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
N_FAULT_MAX = 20  # broken rows named in one error
SHOWN = 300  # characters of what stands in a file


class Layout(NamedTuple):
    """The columns that matter, and what they count. Those that may be None are read where a file has them."""

    arrival: str | None  # None: the file holds lengths only
    prompt_tokens: str
    output_tokens: str
    time_unit: str  # a key of NS_PER_UNIT, or "timestamp"
    origin: str  # "first_row" or "zero": which recorded time is t = 0
    name: str = "columns"  # what people call the format
    signs: tuple[str, ...] = ()  # columns that tell it from a format whose other columns have the same names
    kinds: tuple[str, ...] = ("csv", "parquet", "jsonl")  # how files of this format are written
    session: str | None = None  # which conversation a row belongs to
    group: str | None = None  # sessions that have one clock, such as an agent and those that it sends
    parent: str | None = (
        None  # the session's name of the row that this one follows: rows that follow are one session
    )
    tenant: str | None = None
    think: str | None = None  # time between the answer before it in its session and the row, in seconds
    took: str | None = None  # time until its answer was complete, in seconds
    end: str | None = None  # when its answer was complete, in the units of `arrival`
    hashes: str | None = None  # a list of the hashes of a prompt's blocks
    hash_tokens: int | None = None  # tokens that a hash names; None: found out from the prompts' lengths
    empty: str = "refuse"  # rows without a token in their prompt or answer: "refuse", "drop" or "keep"
    in_order: bool = True  # False: rows may stand before earlier ones, and are sorted
    whole_units: bool = False  # its times are whole numbers
    text_times: bool = False  # JSON: its times are numbers written as strings
    texts: bool = (
        False  # JSON: prompts and answers are texts, whose tokens are estimated from their characters
    )
    times: str = "trace"  # "session": each session has a clock of its own, which begins at its first row
    closed: bool = False  # its sessions are replayed in closed loop unless asked otherwise


class TraceRows(NamedTuple):
    """A trace as read, sorted by arrival; nanoseconds, so that a trace of many months fits."""

    arrival_ns: NDArray[np.int64] | None  # (row,) since the trace's origin, or since its session's first row
    prompt_tokens: NDArray[np.int32]  # (row,) ≥ 1; a recorded 0 that is kept becomes 1
    output_tokens: NDArray[np.int32]  # (row,) ≥ 0
    row: NDArray[np.int64]  # (row,) position in the file, from 0, dropped rows counted
    hash_ids: NDArray[np.int64] | None = None  # block ids, row after row: equal ids are equal beginnings
    hash_start: NDArray[np.int64] | None = None  # (row + 1,) where each row's begin in hash_ids
    hash_tokens: NDArray[np.int64] | None = None  # tokens that each of hash_ids names
    session: NDArray[np.int64] | None = None  # (row,) numbered from 0 by first appearance, −1 = none
    group: NDArray[np.int64] | None = None  # (row,) numbered from 0: the sessions that begin together
    tenant: NDArray[np.int64] | None = None  # (row,) index into `tenants`
    tenants: tuple[str, ...] = ()
    pause_ns: NDArray[np.int64] | None = (
        None  # (row,) between the answer before it in its session and the row
    )
    layout: Layout | None = None  # how it was read
    told: dict[str, Any] | None = None  # what a summary says of it


# Azure/AzurePublicDataset, AzureLLMInferenceDataset2023.md and …2024.md
AZURE = Layout("TIMESTAMP", "ContextTokens", "GeneratedTokens", "timestamp", "first_row", "azure")
# HPMLL/BurstGPT README: seconds from 0:00 of the first day; newer files add Session ID and Elapsed time (seconds)
BURSTGPT = Layout(
    "Timestamp", "Request tokens", "Response tokens", "s", "first_row", "burstgpt", session="Session ID",
    took="Elapsed time", empty="drop",
)  # fmt: skip
# kvcache-ai/Mooncake FAST25-release: milliseconds from the start, hash_ids of 512-token blocks
MOONCAKE = Layout(
    "timestamp", "input_length", "output_length", "ms", "zero", "mooncake", kinds=("jsonl",), hashes="hash_ids",
    hash_tokens=512, whole_units=True,
)  # fmt: skip
# alibaba-edu/qwen-bailian-usagetraces-anon README: seconds from the start, hash_ids of 16-token blocks
QWEN_BAILIAN = MOONCAKE._replace(
    name="qwen_bailian", time_unit="s", signs=("chat_id", "parent_chat_id"), session="chat_id", parent="parent_chat_id",
    hash_tokens=16, whole_units=False,
)  # fmt: skip
# flashserve/RAGPulse data/0_trace.jsonl: seconds as strings, some rows late, the pieces of a prompt by kind
RAGPULSE = MOONCAKE._replace(
    name="ragpulse", time_unit="s", signs=("hash_ids.sys_prompt", "session_id"), session="session_id", in_order=False,
    whole_units=False, hash_tokens=None, text_times=True, origin="first_row",
)  # fmt: skip
# callanjfox/kv-cache-tester docs/trace_replay_tester.md: a file a session, seconds from its beginning
WEKA = Layout(
    "t", "in", "out", "s", "first_row", "weka", ("requests",), ("weka",), session="session", think="think_time",
    took="api_time", hashes="hash_ids", empty="drop", in_order=False, times="session", closed=True, group="group",
)  # fmt: skip
# microsoft/vidur data/processed_traces: seconds from the start
VIDUR = Layout("arrived_at", "num_prefill_tokens", "num_decode_tokens", "s", "zero", "vidur")
VIDUR_LENGTHS = VIDUR._replace(arrival=None)
# Mutinifni/splitwise-sim traces: seconds from the start
SPLITWISE = Layout("arrival_timestamp", "prompt_size", "token_size", "s", "zero", "splitwise")
# BerriAI/litellm schema.prisma, LiteLLM_SpendLogs: as CSV of the table or as JSON of /spend/logs, by time or not
LITELLM = Layout(
    "startTime", "prompt_tokens", "completion_tokens", "timestamp", "first_row", "litellm", end="endTime", empty="drop",
    in_order=False, session="session_id",
)  # fmt: skip
# ShareGPT-like JSON: conversations as texts; lengths only, of `chars_per_token` characters a token
SHAREGPT = Layout(
    None,
    "prompt",
    "answer",
    "s",
    "zero",
    "sharegpt",
    ("conversations",),
    ("sharegpt",),
    empty="drop",
    texts=True,
)
# LMCache/lmcache-agent-trace: texts of agents' calls; microseconds since 1970, some rows late
LMCACHE = Layout(
    "timestamp", "input", "output", "us", "first_row", "lmcache", ("session_id",), ("jsonl",), session="session_id",
    empty="drop", in_order=False, texts=True,
)  # fmt: skip
PLAIN = Layout("arrival_s", "prompt_tokens", "output_tokens", "s", "zero", session="session_id")

NAMED = {
    layout.name: layout
    for layout in (
        AZURE, BURSTGPT, QWEN_BAILIAN, RAGPULSE, MOONCAKE, LMCACHE, VIDUR, SPLITWISE, LITELLM, WEKA, SHAREGPT,
    )
}  # fmt: skip
BY_HEADER = {**NAMED, "vidur lengths": VIDUR_LENGTHS, "plain": PLAIN}
OPTIONAL = ("session", "group", "parent", "tenant", "think", "took", "end", "hashes")


class Block(NamedTuple):
    """Some rows of a file, one after the other."""

    line: NDArray[np.int64]  # (row,) line of a text file, row from 1 of a Parquet file
    columns: dict[str, Any]  # column name → cells.Cells
    hash_ids: list[NDArray[np.int64]] | None = None
    labels: Mapping[str, list[str]] = MappingProxyType({})  # column name → what stands in it, "" = nothing


class Faults:
    """Broken rows, gathered so that one error names them all (up to N_FAULT_MAX)."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: list[tuple[int, str]] = []

    def add(self, line: int, column: str, value: object, allowed: str) -> None:
        self.lines.append((int(line), problem(f"{self.file}: line {line}: {column}", value, allowed)))

    @property
    def room(self) -> int:
        """How many more faults are worth gathering."""
        return max(0, N_FAULT_MAX - len(self.lines))

    def raise_if_any(self) -> None:
        """Raise InputError with one line for each broken row."""
        if self.lines:
            raise InputError([text for _, text in sorted(self.lines)[:N_FAULT_MAX]])


def required(layout: Layout) -> tuple[str, ...]:
    """The names of the columns a layout needs."""
    names = (layout.arrival, layout.prompt_tokens, layout.output_tokens)
    return tuple(name for name in names if name is not None)


def choose_layout(trace: Trace, header: list[str], kind: str = "csv") -> Layout:
    """The layout of a file with these column names, with what the trace's own keys change of it; InputError when a
    column is missing or stands twice.
    """
    _check_once(trace.file, header)
    layout = _stated_layout(trace, header, kind)
    wanted = (*required(layout), *((getattr(layout, name) for name in OPTIONAL) if trace.columns else ()))
    missing = [name for name in wanted if name is not None and name not in header]
    if missing:
        allowed = "one of the file's columns: " + shortened(", ".join(header))
        raise InputError(
            [problem(f"{trace.file}: column", name, allowed, nearest(name, header)) for name in missing]
        )
    absent: dict[str, Any] = {name: None for name in OPTIONAL if getattr(layout, name) not in header}
    return _as_asked(trace, layout._replace(**absent))


def _check_once(file: str, header: list[str]) -> None:
    """InputError where a column stands twice: nobody knows which is meant."""
    times = Counter(header)
    lines = []
    for name in [name for name, n in times.items() if name and n > 1][:N_FAULT_MAX]:
        at = [str(i + 1) for i, other in enumerate(header) if other == name]
        places = " and ".join(at) if len(at) < 4 else f"{at[0]}, {at[1]} … {at[-1]}"
        lines.append(f"{file}: column {shortened(name)!r} stands twice (columns {places}); allowed: once")
    if lines:
        raise InputError(lines)


def shortened(text: str) -> str:
    """A text that comes from a file, at most so long that it fits into a message."""
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def _as_asked(trace: Trace, layout: Layout) -> Layout:
    """A layout with what the trace's own keys say instead."""
    changed: dict[str, Any] = {
        "origin": None if trace.origin == "auto" else trace.origin,
        "time_unit": trace.time_unit,
        "hash_tokens": trace.hash_block_tokens,
        "empty": None if trace.failed_rows == "auto" else trace.failed_rows,
        "in_order": False if trace.sort else None,
        "times": None if trace.session_times == "auto" else trace.session_times,
        "closed": None if trace.sessions == "auto" else trace.sessions == "closed",
        "whole_units": False if trace.time_unit else None,
    }
    return layout._replace(**{name: value for name, value in changed.items() if value is not None})


def _stated_layout(trace: Trace, header: list[str], kind: str) -> Layout:
    if trace.columns is not None:
        unit = trace.time_unit or "s"
        return Layout(
            time_unit=unit, origin="first_row" if unit == "timestamp" else "zero", **vars(trace.columns)
        )
    if trace.format == "vidur" and VIDUR.arrival not in header:
        return VIDUR_LENGTHS
    if trace.format in NAMED:
        return NAMED[trace.format]
    for layout in BY_HEADER.values():
        if kind in layout.kinds and {*required(layout), *layout.signs} <= set(header):
            return layout._replace(hashes=_hashes(layout, header))
    known = [(name, layout) for name, layout in BY_HEADER.items() if kind in layout.kinds]
    needs = "; ".join(f"{name}: {', '.join((*required(layout), *layout.signs))}" for name, layout in known)
    allowed = f"a known format ({needs}) or a `columns` mapping"
    raise InputError(problem(f"{trace.file}: columns", shortened(", ".join(header)), allowed))


def _hashes(layout: Layout, header: list[str]) -> str | None:
    """Where a file keeps its hashes: in the format's own column, or in one that is called as some are."""
    return layout.hashes or next((name for name in ("hash_ids", "prefix_hash_ids") if name in header), None)
