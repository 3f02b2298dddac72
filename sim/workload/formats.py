"""The trace formats that are known by name: where each keeps its arrival time and its lengths."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError, nearest, problem
from sim.scenario.trace import Trace

NS_PER_UNIT = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
N_FAULT_MAX = 20  # broken rows named in one error


class Layout(NamedTuple):
    """The three columns that matter and what the first one counts."""

    arrival: str | None  # None: the file holds lengths only
    prompt_tokens: str
    output_tokens: str
    time_unit: str  # a key of NS_PER_UNIT, or "timestamp"
    origin: str  # "first_row" or "zero": which recorded time is t = 0


class TraceRows(NamedTuple):
    """A trace as read, sorted by arrival; nanoseconds, so that a trace of many months fits."""

    arrival_ns: NDArray[np.int64] | None  # (row,) since the trace's origin
    prompt_tokens: NDArray[np.int32]  # (row,) ≥ 1; a recorded 0 becomes 1
    output_tokens: NDArray[np.int32]  # (row,) ≥ 0
    row: NDArray[np.int64]  # (row,) position in the file, from 0, dropped rows counted
    hash_ids: NDArray[np.int64] | None = None  # Mooncake's prefix-chained block ids, row after row
    hash_start: NDArray[np.int64] | None = None  # (row + 1,) where each row's begin in hash_ids


# Azure/AzurePublicDataset, AzureLLMInferenceDataset2023.md and …2024.md
AZURE = Layout("TIMESTAMP", "ContextTokens", "GeneratedTokens", "timestamp", "first_row")
# HPMLL/BurstGPT README: seconds from 0:00 of the first day; newer files add Session ID and Elapsed time
BURSTGPT = Layout("Timestamp", "Request tokens", "Response tokens", "s", "first_row")
# kvcache-ai/Mooncake FAST25-release: milliseconds from the start, hash_ids of 512-token blocks
MOONCAKE = Layout("timestamp", "input_length", "output_length", "ms", "zero")
# microsoft/vidur data/processed_traces: seconds from the start
VIDUR = Layout("arrived_at", "num_prefill_tokens", "num_decode_tokens", "s", "zero")
VIDUR_LENGTHS = VIDUR._replace(arrival=None)
# Mutinifni/splitwise-sim traces: seconds from the start
SPLITWISE = Layout("arrival_timestamp", "prompt_size", "token_size", "s", "zero")
PLAIN = Layout("arrival_s", "prompt_tokens", "output_tokens", "s", "zero")

NAMED = {"azure": AZURE, "burstgpt": BURSTGPT, "mooncake": MOONCAKE, "vidur": VIDUR, "splitwise": SPLITWISE}
BY_HEADER = {**NAMED, "vidur lengths": VIDUR_LENGTHS, "plain": PLAIN}


class Block(NamedTuple):
    """Some rows of a file, one after the other."""

    line: NDArray[np.int64]  # (row,) line of a text file, row from 1 of a Parquet file
    columns: dict[str, Any]  # column name → cells.Cells
    hash_ids: list[list[int]] | None = None


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


def choose_layout(trace: Trace, header: list[str]) -> Layout:
    """The layout of a file with these column names; raise InputError when a column is missing."""
    layout = _stated_layout(trace, header)
    missing = [name for name in required(layout) if name not in header]
    if missing:
        allowed = "one of the file's columns: " + ", ".join(header)
        raise InputError(
            [problem(f"{trace.file}: column", name, allowed, nearest(name, header)) for name in missing]
        )
    return layout._replace(origin=layout.origin if trace.origin == "auto" else trace.origin)


def _stated_layout(trace: Trace, header: list[str]) -> Layout:
    if trace.columns is not None:
        origin = "first_row" if trace.time_unit == "timestamp" else "zero"
        c = trace.columns
        return Layout(c.arrival, c.prompt_tokens, c.output_tokens, trace.time_unit, origin)
    if trace.format == "vidur" and VIDUR.arrival not in header:
        return VIDUR_LENGTHS
    if trace.format in NAMED:
        return NAMED[trace.format]
    for layout in BY_HEADER.values():
        if set(required(layout)) <= set(header):
            return layout
    needs = "; ".join(f"{name}: {', '.join(required(layout))}" for name, layout in BY_HEADER.items())
    raise InputError(
        problem(
            f"{trace.file}: columns", ", ".join(header), f"a known format ({needs}) or a `columns` mapping"
        )
    )
