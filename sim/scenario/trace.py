"""Recorded traffic: which file, how to read it, and what to do to its times."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator
from pydantic.dataclasses import dataclass

from sim.scenario.types import CONFIG, Flag, NonNegative, Positive, PowerOfTwo, Seconds

Format = Literal[
    "auto", "azure", "burstgpt", "mooncake", "qwen_bailian", "ragpulse", "lmcache", "vidur", "splitwise", "litellm",
    "weka", "sharegpt", "csv", "parquet",
]  # fmt: skip
TimeUnit = Literal["s", "ms", "us", "ns", "timestamp"]
RecordedS = Annotated[NonNegative, Field(le=4e9)]  # traces run for months, and count from 1970
BlockTokens = Annotated[PowerOfTwo, Field(le=65_536)]
Column = Annotated[str, StringConstraints(min_length=1, max_length=200)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Columns:
    """Names of the columns in the user's file; without `arrival` the file gives lengths only.

    `session` says which conversation a row belongs to, `tenant` whose it is, `hashes` lists the hashes of a prompt's
    blocks (Parquet and JSON lines). How long people thought comes from `think` (seconds since the answer before), or
    from `took` (seconds until the answer was complete) or `end` (when it was, in the units of `arrival`).
    """

    arrival: Column | None = None
    prompt_tokens: Column
    output_tokens: Column
    session: Column | None = None
    tenant: Column | None = None
    think: Column | None = None
    took: Column | None = None
    end: Column | None = None
    hashes: Column | None = None


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Trace:
    """A recorded trace. Steps are taken in this order: read, sort, window, speed-up, scale, repeat.

    `start_s` and `end_s` cut the recorded time [start_s, end_s), which then starts at t = 0. `speed_up` 2
    makes an hour last half an hour. `scale` below one keeps that share of the requests, above one lays
    time-shifted copies over each other (`copy_shift_s_max` limits the shift). `repeat` plays it again until
    the run ends. Block hashes that a trace has name `hash_block_tokens` tokens each (None: what the format says, or what
    fits the prompts' lengths); copies and rounds are other people's prompts.

    `failed_rows` are those without a token in their prompt or answer: `refuse` them, `drop` or `keep` them; `auto` is
    what the format means by them. `sessions` come back `open`, at their recorded times, or `closed`, after the answer
    and the recorded pause; `session_times` is `session` where every session has a clock of its own: sessions then begin
    as `arrivals` says. `tenant` takes the rows of one tenant. Texts have a token for each `chars_per_token` characters.
    """

    file: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    format: Format = "auto"
    columns: Columns | None = None
    time_unit: TimeUnit | None = None  # None: the format's own, or s
    origin: Literal["auto", "first_row", "zero"] = "auto"  # which recorded time is t = 0
    sort: Flag = False
    failed_rows: Literal["auto", "refuse", "drop", "keep"] = "auto"
    sessions: Literal["auto", "open", "closed"] = "auto"
    session_times: Literal["auto", "trace", "session"] = "auto"
    tenant: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    chars_per_token: Annotated[Positive, Field(le=100)] | None = None
    start_s: RecordedS = 0.0
    end_s: Annotated[RecordedS, Field(gt=0)] | None = None
    speed_up: Positive = 1.0
    scale: Annotated[Positive, Field(le=10_000)] = 1.0
    copy_shift_s_max: Seconds | None = None
    repeat: Flag = False
    hash_block_tokens: BlockTokens | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.end_s is not None and self.end_s <= self.start_s:
            raise ValueError(f"end_s {self.end_s:g} must be after start_s {self.start_s:g}")
        if self.columns is not None and self.format not in ("auto", "csv", "parquet"):
            raise ValueError(f"columns are for csv and parquet files; format {self.format} has its own")
        return self
