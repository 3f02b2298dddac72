"""What a run never changes, filled by field name from rows of plain numbers (`sim.fill.rows`).

`sim.pack.scenario` makes these rows of a scenario; tests write them by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.errors import InputError
from sim.fill.cluster import place_cluster
from sim.fill.episodes import place_episodes
from sim.fill.gateway_tables import gateway_tables, make_classes, starts_of
from sim.fill.kinds import memory_starts, n_of, settings_words
from sim.fill.knots import prompt_table
from sim.fill.prefix_ranges import size_caches
from sim.fill.rows import (
    ClassRow,
    FaultRow,
    FrontRow,
    PoolRow,
    RunRow,
    ServedModelRow,
    StepRow,
    TenantRow,
    copy_fields,
    n_steps,
    n_transfers,
    pool_table,
    power_of_two,
)
from sim.fill.signals import signal_table
from sim.fill.trace import Traffic, Turns, checked_sessions, checked_turns, lines_of, places_of, words_of
from sim.model.loop.control import SCALER_PAR
from sim.model.router.choose import KINDS, LEAST_OUTSTANDING
from sim.model.router.hash_ring import make_rings
from sim.model.tables.fault import LOSING
from sim.model.tables.link import N_END
from sim.model.tables.pool import StartStep
from sim.model.tables.run import Params
from sim.model.tables.served_model import ServedModelParams
from sim.model.tables.traffic import CLASS_BITS, CLASSES_MAX, TOKEN_BITS, TOKENS_MAX, TrafficClass
from sim.schema import Row
from sim.units import NEVER

REPLICAS_MAX = 100_000
STEPS_KEPT = 1 << 16  # 6 MB
#: Table of Params → its rows, each field → value.
Things = Mapping[str, Sequence[Mapping[str, Any]]]


class World(NamedTuple):
    """A run but for its seed and its requests: what many runs of a sweep have in common."""

    m: np.ndarray  # Params.m without rings
    n_class: int


def make_params(
    run: RunRow,
    traffic: Traffic,
    classes: list[ClassRow],
    models: list[ServedModelRow],
    pools: list[PoolRow],
    faults: list[FaultRow] | None = None,
    tenants: list[TenantRow] | None = None,
    front: FrontRow | None = None,
    things: Things | None = None,
) -> Params:
    """Lay out what a run never changes. Pools must come sorted by served model."""
    world = make_world(run, classes, models, pools, faults, tenants, front, things)
    return with_traffic(world, run.seed, traffic)


def make_world(
    run: RunRow,
    classes: list[ClassRow],
    models: list[ServedModelRow],
    pools: list[PoolRow],
    faults: list[FaultRow] | None = None,
    tenants: list[TenantRow] | None = None,
    front: FrontRow | None = None,
    things: Things | None = None,
) -> World:
    """Lay out what all runs have in common that differ by seed. Pools must come sorted by served model.

    `things` has the rows of tables that declare a key; `faults` are those of one of them.
    """
    n_replica = sum(pool.max_replicas for pool in pools)
    if n_replica > REPLICAS_MAX:
        raise InputError(
            f"pools: {n_replica} replica places are more than the {REPLICAS_MAX} a fleet can have"
        )
    params = Params(np.zeros(Params.SIZE, dtype=np.int64), np.zeros(0, dtype=np.int64))
    params.n_class, params.n_served_model, params.n_pool = len(classes), len(models), len(pools)
    params.n_replica, params.leaves = n_replica, power_of_two(n_replica)
    params.n_transfer = sum(pool.max_replicas * n_transfers(pool) for pool in pools)
    copy_fields(run, params, ("duration_ps", "warmup_ps", "end_ps", "sample_ps"))
    params.keeps_records, params.ends_with_last_answer = run.records, run.closes
    params.n_signal = sum(len(pool.signals) for pool in pools)
    params.n_signal_sample = sum(signal.n_sample for pool in pools for signal in pool.signals)
    params.n_sample = run.end_ps // run.sample_ps + 2 if run.sample_ps > 0 else 0
    tenants = tenants or [TenantRow()] * (1 + max((c.tenant for c in classes), default=0))
    tables = {
        "klass": np.zeros(len(classes) * TrafficClass.SIZE, dtype=np.int64),
        "served_model": _models(models, pools),
        "pool": pool_table(pools),
        "base": np.concatenate([*(pool.base_ps for pool in pools), *map(_with_prompts, pools)]),
        "slope": np.concatenate([pool.slope_ps for pool in pools]),
        "start_step": np.concatenate([_steps(pool) for pool in pools]),
        "autoscaler": np.concatenate([_autoscaler(pool) for pool in pools]),
        "signal": signal_table([pool.signals for pool in pools]),
    }
    starts = starts_of([Params.SIZE, *(len(table) for table in tables.values()), 0])[1:]
    for name, start in zip(Params.fixed(), starts, strict=False):
        params.m[Params.TABLES[name].start] = start
    lists = {"fault": [row._asdict() for row in faults or []], **(things or {})}
    if lists.get("cluster"):
        lists |= place_cluster(params, pools, lists)
    if lists.get("episode"):
        lists["episode"] = place_episodes(params, lists["episode"])
    of_things = lay_things(params, lists, starts[-1])
    params.n_link_sample = params.n_sample * params.n_link
    has_ends = any(group.get("nic_q40") or group.get("disk_q40") for group in lists.get("node_group", ()))
    params.n_carrier = params.n_link + has_ends * N_END * params.n_node
    params.n_way = params.n_link + has_ends * 2
    params.n_bound = params.n_transfer * params.n_way
    params.n_taken = has_steps_kept(params) * (STEPS_KEPT * params.keeps_records + 1)
    at = starts[-1] + len(of_things)
    behind = gateway_tables(classes, models, tenants, front or FrontRow(), has_losses(lists), params, at)
    tables["klass"], of_clients = make_classes(classes, at + sum(len(table) for table in behind))
    settings = [settings_words(KINDS[model.router], model.settings) for model in models]
    at += sum(len(table) for table in (*behind, of_clients))
    rows = ServedModelParams.rows(tables["served_model"])
    rows["settings_at"] = at + np.array(starts_of([len(words) for words in settings]))
    parts = [params.m, *tables.values(), of_things, *behind, of_clients, *settings]
    return World(m=np.concatenate(parts).astype(np.int64), n_class=len(classes))


def has_losses(things: Things) -> bool:
    """Whether replicas may be lost with what they hold, at a scripted time or by an episode."""
    return bool(things["fault"]) or any(row.get("kind") in LOSING for row in things.get("episode", ()))


def has_steps_kept(params: Params) -> bool:
    """Whether a run keeps the steps of its starts: where they depend on what else happens, on nodes or on links."""
    return int(params.n_cluster) > 0 or int(params.n_transfer) > 0


def lay_things(params: Params, things: Things, at: int) -> np.ndarray:
    """The tables of things, to lie from `at` on; how many rows each has and where it starts is written into params."""
    tables = [np.zeros(0, dtype=np.int64)]
    for key, rows in things.items():
        table = Params.TABLES[key]
        in_order = sorted(rows, key=lambda row: [row[table.by], *row.values()]) if table.by else rows
        words = words_of_rows(table.row, in_order) if table.row else np.array(rows, dtype=np.int64)
        setattr(params, table.rows[0], len(rows))
        setattr(params, table.at, at)
        tables.append(words)
        at += len(words)
    return np.concatenate(tables)


def words_of_rows(kind: type[Row], rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Rows of a table, one behind the other."""
    words = np.tile(kind.blank(), len(rows))
    for i, row in enumerate(rows):
        for name, value in row.items():
            field = kind.FIELDS[name]
            at_word = i * kind.SIZE + field.offset
            words[at_word : at_word + field.n_words] = value
    return words


def with_traffic(world: World, seed: int, traffic: Traffic) -> Params:
    """One run of a world."""
    params = Params(world.m.copy(), np.zeros(0, dtype=np.int64))
    params.seed, params.n_request = seed, len(traffic.arrival_ps)
    if traffic.session_id is not None:
        params.n_session = int(np.max(traffic.session_id, initial=-1)) + 1
    if traffic.turns is not None:
        params.has_attempts = 1  # what follows depends on how a turn ends
    rings = make_rings(params)
    models = params.rows("served_model", int(params.n_served_model))
    models["memory_at"], _ = memory_starts(KINDS, models["router"], n_of(params))
    trace = _trace(traffic, world.n_class, params)
    pools = params.rows("pool", int(params.n_pool))
    size_caches(pools, traffic)
    params.all_fit = _all_fit(traffic, pools)
    params.leaf_at, params.shared_at, params.segment_at, params.n_segment = places_of(
        traffic.chains, sum(map(len, trace))
    )
    m = np.concatenate([params.m, *rings]) if rings else params.m
    return Params(m, np.concatenate([*trace, *words_of(traffic.chains)]))


def _all_fit(traffic: Traffic, pools: np.ndarray) -> bool:
    """Whether every request fits every pool: its context and its KV blocks (`fits` of the router asks of one)."""
    room = np.minimum(pools["max_model_len"], pools["n_blocks"] * pools["block_size"])
    return fits(traffic.prompt_tokens, traffic.output_tokens, int(room.min()))


def fits(prompt: np.ndarray, output: np.ndarray, room: int) -> bool:
    """Whether the context of each request fits a room of so many tokens."""
    return int(np.max(prompt + np.maximum(output, 1), initial=0)) <= room


def _trace(traffic: Traffic, n_class: int, params: Params) -> list[np.ndarray]:
    """The requests in two words each; InputError where one is too long or there are too many classes."""
    longest = max((int(np.max(tokens, initial=0)) for tokens in traffic[1:3]), default=0)
    if longest > TOKENS_MAX:
        raise InputError(f"traffic: a request of {longest} tokens; allowed: at most {TOKENS_MAX}")
    if n_class > CLASSES_MAX:
        raise InputError(f"classes: {n_class} of them; allowed: at most {CLASSES_MAX}")
    prompt, output, klass = (np.asarray(column, dtype=np.int64) for column in traffic[1:4])
    packed = (prompt << (TOKEN_BITS + CLASS_BITS)) | (output << CLASS_BITS) | klass
    words = [np.asarray(traffic.arrival_ps, dtype=np.int64), packed]
    if traffic.session_id is not None and np.max(traffic.session_id, initial=-1) >= 0:
        words.append(checked_sessions(traffic.session_id))
    if traffic.content_id is not None:
        params.n_content = int(np.max(traffic.content_id, initial=-1)) + 1
        params.content_at = sum(len(column) for column in words)
        words.append(np.asarray(traffic.content_id, dtype=np.int64))
    if traffic.turns is not None:
        params.turn_at = sum(len(column) for column in words)
        words.append(checked_turns(traffic.turns, words[0]))
        lines = lines_of(traffic.turns, words[0])
        params.line_at, params.n_line = sum(len(column) for column in words), len(lines)
        words.append(lines.view(np.int64))
    return words


def traffic_of(params: Params) -> Traffic:
    """The requests of a run, as columns."""
    n = int(params.n_request)
    packed = params.trace[n : 2 * n]
    return Traffic(
        params.trace[:n],
        packed >> (TOKEN_BITS + CLASS_BITS),
        (packed >> CLASS_BITS) & TOKENS_MAX,
        packed & CLASSES_MAX,
        params.trace[2 * n : 3 * n] if params.n_session > 0 else None,
        turns=turns_of(params),
    )


def n_own(params: Params) -> int:
    """Requests that arrive by themselves: the first of every session, and all that belong to none."""
    return int(np.searchsorted(params.trace[: int(params.n_request)], NEVER))


def turns_of(params: Params) -> Turns | None:
    """The turns of a run's sessions; None where every request arrives by itself."""
    if params.turn_at == 0:
        return None
    rows = params.rows("turn", int(params.n_request))
    return Turns(rows["next"], rows["pause_ps"], rows["tokens"])


def _steps(pool: PoolRow) -> np.ndarray:
    """The steps of a pool's starts, (step · StartStep.SIZE,)."""
    n = n_steps(pool)
    words = np.zeros(n * StartStep.SIZE, dtype=np.int64)
    if pool.stage_ps is not None:
        rows = StartStep.rows(words)
        in_sequence = tuple(StepRow(i + 1, i + 1, (1 << i) >> 1) for i in range(n))
        steps = np.array(pool.steps or in_sequence, dtype=np.int64).reshape(n, len(StepRow._fields)).T
        for name, column in zip(STEP_FIELDS, steps, strict=True):
            rows[name] = column
        moves = (rows["links"] > 0) | (rows["artifact"] > 0) | (rows["through"] > 0)
        rows["transfer"] = np.cumsum(moves) * moves
        rows["quantile_ps"] = pool.stage_ps
    return words


#: Fields of a step, in the order of StepRow's.
STEP_FIELDS = (
    *("stage", "stream", "waits_for", "links", "moved_bytes", "setup_ps", "artifact", "hit_ps"),
    *("through", "peers", "peer_q40", "uploads_max", "seeds_max"),
)


def _autoscaler(pool: PoolRow) -> np.ndarray:
    if pool.autoscaler_settings is None:
        return np.zeros(SCALER_PAR, dtype=np.int64)
    return pool.autoscaler_settings


#: Fields of a served model that are the same in its row.
OF_MODEL = (
    *(
        "router",
        "hold_max",
        "spill_milli",
    ),
    *("outstanding_max", "hold_order"),
)


def _models(models: list[ServedModelRow], pools: list[PoolRow]) -> np.ndarray:
    words = np.zeros(len(models) * ServedModelParams.SIZE, dtype=np.int64)
    first = load = 0
    for g, model in enumerate(models):
        members = [i for i, pool in enumerate(pools) if pool.served_model == g]
        row = ServedModelParams(words, g * ServedModelParams.SIZE)
        copy_fields(model, row, OF_MODEL)
        row.first_replica, row.n_replica = first, sum(pools[i].max_replicas for i in members)
        row.load_at, row.leaves = load, power_of_two(int(row.n_replica))
        row.first_pool, row.n_pool = members[0] if members else 0, len(members)
        row.has_load_tree = model.router == LEAST_OUTSTANDING or model.outstanding_max != NEVER
        first += int(row.n_replica)
        load += 2 * int(row.leaves)
    return words


def _with_prompts(pool: PoolRow) -> np.ndarray:
    return prompt_table(pool.base_ps, pool.work_ps, pool.prefill_ps, pool.mixed_ps)
