"""A run in plain numbers, one row a thing: what `sim.fill.params` lays out.

`sim.pack.scenario` makes these rows of a scenario; tests write them by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from sim.fill.signals import SignalRow
from sim.model.base.histogram import N_BUCKET
from sim.model.router.choose import LEAST_OUTSTANDING
from sim.model.tables.codes import (
    CONTINUOUS,
    FCFS,
    FIXED,
    HOLD_FIFO,
    NO_JITTER,
)
from sim.model.tables.pool import N_WORK, PoolParams
from sim.model.tables.replica import BlockRange, PrefixCache
from sim.model.tables.traffic import AttemptField, TrafficClass
from sim.schema import Row, World
from sim.units import NEVER

#: Where a prefix cache is full of short runs. Few are, and a small hash table stays in the processor's cache.
RUNS_A_BUCKET = 4
AUTO_RUNS = -1  # runs of a prefix cache: as many as its traffic may need


class LimitRow(NamedTuple):
    """What a class or a tenant may use: a period of 0 is no limit, a burst is a bucket's size in requests or tokens."""

    request_ps: int = 0  # of simulated time earn one request
    request_burst: int = 0
    token_ps: int = 0  # … one token, of prompt or answer
    token_burst: int = 0
    concurrent_max: int = NEVER


class TenantRow(NamedTuple):
    """A tenant: its share where tenants compete, and its limits."""

    weight: int = 1
    limit: LimitRow | None = None


class VisitRow(NamedTuple):
    """A visit to a CPU station, and how long it takes."""

    station: int
    base_ps: int = 0
    prompt_ps: int = 0  # a prompt token
    output_ps: int = 0  # a token of the answer


class FrontRow(NamedTuple):
    """What all of the gateway shares: workers of its CPU stations, and its response cache."""

    workers: tuple[int, ...] = ()  # a station
    cache_entries: int = 0
    cache_life_ps: int = NEVER
    cache_ps: int = 0  # how long an answer from the cache takes


#: fields of a class whose requests may be refused, given up or tried again once they are set
MAKES_ATTEMPTS = (
    "before",
    "after",
    *(name for name, field in TrafficClass.FIELDS.items() if isinstance(field, AttemptField)),
)


class ClassRow(NamedTuple):
    """A traffic class: its served model, its priority (lower goes first), its objectives, how its clients behave, and
    the pools of the served model that may serve it (none named: all), in order of preference if `ordered`.
    """

    served_model: int = 0
    priority: int = 0
    ttft_ps: int = NEVER
    itl_ps: int = NEVER
    tpot_ps: int = NEVER
    e2e_ps: int = NEVER
    tenant: int = 0
    shed_milli: int = NEVER  # attempts are shed from so many thousandths of a request per ready replica on
    max_queue_ps: int = NEVER  # attempts are refused that would queue longer
    first_patience_ps: np.ndarray | None = None  # (N_QUANTILE,) how long clients wait for a first token
    total_patience_ps: np.ndarray | None = None  # (N_QUANTILE,) … for the last one
    attempts_max: int = 1
    retry_on: int = 0  # RETRY_… bits
    backoff_ps: tuple[int, ...] = ()  # (attempts_max − 1,) the wait before attempt 2, 3, …
    jitter: int = NO_JITTER
    budget_ratio_milli: int = 0
    budget_burst_milli: int = NEVER  # NEVER = no budget
    hedge_ps: int = NEVER
    limit: LimitRow | None = None
    prompt_max: int = NEVER  # tokens; attempts are refused that have more
    output_max: int = NEVER
    pools: tuple[int, ...] = ()
    ordered: int = 0
    network_ps: tuple[int, ...] = ()  # (pool,) of the whole fleet: what users see added to an answer; none: 0
    is_away: bool = True  # some of that is not the servers' own: users and servers measure different times
    before: tuple[VisitRow, ...] = ()  # stations before the GPU
    after: tuple[VisitRow, ...] = ()  # … and after it
    is_withheld: int = 0  # 1 = nothing is shown before the answer is complete and checked
    blocked_q20: int = 0  # share of answers that the guardrail blocks, of 2²⁰
    fallback: int = -1  # the group that those are sent to
    deadline_ps: int = NEVER  # counted from arrival
    window_ps: tuple[int, int] = (0, 0)  # of a day: requests start between these two …
    defer_max_ps: int = 0  # … unless they had to wait longer
    is_persistent: int = 0  # 1 = a session goes on after a turn that was not answered
    session_max: int = NEVER  # tokens; turns are refused that would bring their session above it
    stall_ps: int = NEVER  # clients go that have seen no new token for so long
    ttft_max_ps: int = NEVER  # attempts are refused whose first token is expected later
    more: Mapping[str, int] = MappingProxyType({})  # of `TrafficClass`, by field; others are as they begin

    @property
    def has_attempts(self) -> bool:
        """Whether its requests may be refused, given up or tried again, or are measured in two places."""
        given = (self.first_patience_ps, self.total_patience_ps, self.limit)
        begun = {**{name: field.begin for name, field in TrafficClass.FIELDS.items()}, **self._field_defaults}
        found = self._asdict() | dict(self.more)
        changed = (found.get(name, begun[name]) != begun[name] for name in MAKES_ATTEMPTS)
        return any(changed) or any(x is not None for x in given) or (self.is_away and self.network_ps != ())


class ServedModelRow(NamedTuple):
    """A model that is served: its router with its settings, and how many requests the gateway holds for it."""

    router: int = LEAST_OUTSTANDING
    hold_max: int = 100_000
    settings: Mapping[str, int] = MappingProxyType({})  # of its router, by field; others are as they begin
    spill_milli: int = NEVER
    outstanding_max: int = NEVER  # of a replica: the gateway holds more
    hold_order: int = HOLD_FIFO


class StepRow(NamedTuple):
    """A step of a start in numbers."""

    stage: int  # that it is shown as
    draw: int  # its stream, 1 … N_STEP_MAX
    after: int  # bit i: it waits for the i-th step
    links: int = 0  # bit i: its bytes go over the i-th link
    moved_bytes: int = 0
    setup_ps: int = 0  # before the first byte
    artifact: int = 0  # 1 + what it brings to its node
    hit_ps: int = 0  # where the node has it
    through: int = 0  # what of its node the bytes go through: THROUGH_…
    peers: int = 0  # 1 = other nodes that have it may serve it …
    peer_q40: int = 0  # … at most at this rate
    uploads_max: int = 1  # … so many at once
    seeds_max: int = NEVER  # … to those that find so many fetching it from elsewhere


class PoolRow(NamedTuple):
    """A pool in numbers; times in ps, see `sim.model.tables.codes`."""

    base_ps: np.ndarray  # (max_num_seqs + 1,)
    slope_ps: np.ndarray  # (max_num_seqs + 1,)
    prefill_ps: int
    attention_q16: int
    n_blocks: int
    max_num_seqs: int
    max_num_batched_tokens: int
    max_model_len: int
    served_model: int = 0
    block_size: int = 16
    batching: int = CONTINUOUS
    scheduling: int = FCFS
    long_prefill_threshold: int = 0
    chunked_prefill: int = 1
    prefill_interval: int = 1  # a busy engine admits in every so many-th step
    batch_delay_ps: int = 0
    gpus: int = 1
    tp: int = 1  # of these, how many compute each layer together
    min_replicas: int = 1
    max_replicas: int = 1
    initial_replicas: int = 1
    autoscaler: int = FIXED
    tick_ps: int = NEVER
    target_milli: int = 1
    signals: tuple[SignalRow, ...] = (SignalRow(),)  # at most TARGET_CAP
    autoscaler_settings: np.ndarray | None = None  # (SCALER_PAR,)
    stage_ps: np.ndarray | None = None  # (step, N_QUANTILE) of a start
    steps: tuple[StepRow, ...] | None = None  # what each row is; None: the stages 1, 2, … in sequence
    prefix_runs: int = 0  # of its prefix cache, 0 = it has none, AUTO_RUNS = as many as its traffic may need
    work_ps: np.ndarray | None = None  # (N_WORK,) of a step's tokens by number; None: prefill_ps each
    mixed_ps: int = 0  # that prompts add to a step in which sequences decode
    request_overhead_ps: int = 0  # that a request waits at the server beside its steps


class FaultRow(NamedTuple):
    """Some replicas of a pool are lost; or nodes, of a group (1 + its number), of a zone (1 + its number), or of both."""

    at_ps: int
    pool: int
    replicas: int = 1
    node_group: int = 0
    zone: int = 0
    nodes: int = NEVER
    outage_ps: int = 0
    drains: int = 0


class RunRow(NamedTuple):
    """The run as a whole; with `closes` it is over with its last answer, `duration_ps` being the most it may take."""

    seed: int
    duration_ps: int
    warmup_ps: int
    end_ps: int
    sample_ps: int
    records: int = 1
    closes: int = 0


def prefix_words(pools: np.ndarray) -> np.ndarray:
    """Words that the prefix cache of each replica place takes, from the pools' parameters."""
    rows = np.repeat(pools, pools["n_replica"])
    ranges = rows["prefix_runs"]
    return np.asarray((ranges > 0) * (PrefixCache.SIZE + rows["prefix_buckets"] + ranges * BlockRange.SIZE))


def power_of_two(n: int) -> int:
    """The smallest power of two that is at least n and at least 2."""
    return max(2, 1 << (n - 1).bit_length())


def buckets_of(runs: int) -> int:
    """Buckets of a prefix cache's hash table; none where there is no cache, or its size is not known yet."""
    return power_of_two(max(8, runs // RUNS_A_BUCKET)) if runs > 0 else 0


def n_steps(pool: PoolRow) -> int:
    """How many steps a start of a pool has."""
    return 0 if pool.stage_ps is None else len(pool.stage_ps)


def n_transfers(pool: PoolRow) -> int:
    """How many steps of a start of a pool move bytes over links, through an end of a node, or to one that may keep them."""
    return sum(step.links > 0 or step.artifact > 0 or step.through > 0 for step in pool.steps or ())


#: Fields of a pool that are the same in its row.
OF_POOL = (
    *(
        "served_model",
        "max_num_seqs",
        "max_num_batched_tokens",
        "block_size",
        "n_blocks",
        "batching",
        "scheduling",
    ),
    *(
        "long_prefill_threshold",
        "chunked_prefill",
        "prefill_interval",
        "batch_delay_ps",
        "max_model_len",
        "attention_q16",
        "gpus",
        "tp",
    ),
    *("min_replicas", "max_replicas", "initial_replicas", "autoscaler", "tick_ps", "target_milli"),
    *("request_overhead_ps", "prefix_runs"),
)


def pool_table(pools: list[PoolRow]) -> np.ndarray:
    """The pools' parameters, in words."""
    words = np.zeros(len(pools) * PoolParams.SIZE, dtype=np.int64)
    first, table, step, transfer, starts, signal = 0, 0, 0, 0, 0, 0
    work = sum(len(pool.base_ps) for pool in pools)
    for i, pool in enumerate(pools):
        row = PoolParams(words, i * PoolParams.SIZE)
        copy_fields(pool, row, OF_POOL)
        row.first_replica, row.n_replica = first, pool.max_replicas
        row.block_shift = (
            pool.block_size.bit_length() - 1 if pool.block_size == power_of_two(pool.block_size) else -1
        )
        row.table_at, row.work_at = table, work
        row.prefix_buckets = buckets_of(pool.prefix_runs)
        row.first_step, row.n_step = step, n_steps(pool)
        row.first_transfer, row.n_transfer = transfer, n_transfers(pool)
        row.starts_at = starts * N_BUCKET
        transfer += pool.max_replicas * n_transfers(pool)
        starts += (1 + n_steps(pool)) * (n_transfers(pool) > 0)
        row.first_signal, row.n_signal = signal, len(pool.signals)
        signal += len(pool.signals)
        first, table, step = first + pool.max_replicas, table + len(pool.base_ps), step + n_steps(pool)
        work += N_WORK + len(pool.base_ps)
    return words


def copy_fields(source: object, row: Row | World, names: Iterable[str]) -> None:
    """Set fields of a row to the attributes of the same names."""
    for name in names:
        setattr(row, name, getattr(source, name))
