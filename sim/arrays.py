"""From plain numbers to the arrays of a run: the last place where anything has a name.

`sim.pack` fills these rows from a scenario; tests fill them by hand.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim.doors import make_classes, make_doors, starts_of
from sim.errors import InputError
from sim.knots import prompt_table
from sim.model import layout as a
from sim.model.control import SCALER_PAR
from sim.model.ring import make_rings
from sim.prefix_runs import size_caches
from sim.rows import (
    ClassRow,
    FaultRow,
    FrontRow,
    GroupRow,
    PoolRow,
    RunRow,
    StepRow,
    TenantRow,
    Traffic,
    Turns,
    checked_sessions,
    checked_turns,
    lines_of,
    n_steps,
    places_of,
    pool_table,
    power_of_two,
    words_of,
)
from sim.units import NEVER

REPLICAS_MAX = 100_000


class World(NamedTuple):
    """A run but for its seed and its requests: what many runs of a sweep have in common."""

    m: np.ndarray  # Params.m without rings
    starts: dict[str, int]  # where its tables start
    n_class: int
    virtual_nodes: list[int]  # of each group, on its ring; of none where no group hashes


def make_params(
    run: RunRow,
    traffic: Traffic,
    classes: list[ClassRow],
    groups: list[GroupRow],
    pools: list[PoolRow],
    faults: list[FaultRow] | None = None,
    tenants: list[TenantRow] | None = None,
    front: FrontRow | None = None,
) -> a.Params:
    """Lay out what a run never changes. Pools must come sorted by group."""
    return with_traffic(make_world(run, classes, groups, pools, faults, tenants, front), run.seed, traffic)


def make_world(
    run: RunRow,
    classes: list[ClassRow],
    groups: list[GroupRow],
    pools: list[PoolRow],
    faults: list[FaultRow] | None = None,
    tenants: list[TenantRow] | None = None,
    front: FrontRow | None = None,
) -> World:
    """Lay out what all runs have in common that differ by seed. Pools must come sorted by group."""
    n_replica = sum(pool.n_max for pool in pools)
    if n_replica > REPLICAS_MAX:
        raise InputError(
            f"pools: {n_replica} replica places are more than the {REPLICAS_MAX} a fleet can have"
        )
    p_run = np.zeros(a.P_SIZE, dtype=np.int64)
    p_run[a.P_N_CLASS] = len(classes)
    p_run[a.P_N_GROUP] = len(groups)
    p_run[a.P_N_POOL] = len(pools)
    p_run[a.P_N_REPLICA] = n_replica
    p_run[a.P_TREE] = power_of_two(n_replica)
    p_run[a.P_DURATION_PS] = run.duration_ps
    p_run[a.P_WARMUP_PS] = run.warmup_ps
    p_run[a.P_END_PS] = run.end_ps
    p_run[a.P_SAMPLE_PS] = run.sample_ps
    p_run[a.P_RECORDS] = run.records
    p_run[a.P_CLOSES] = run.closes
    p_run[a.P_RING] = max((pool.window_ps + pool.lag_ps) // pool.scrape_ps + 2 for pool in pools)
    p_run[a.P_N_SAMPLE] = run.end_ps // run.sample_ps + 2 if run.sample_ps > 0 else 0
    tenants = tenants or [TenantRow()] * (1 + max((c.tenant for c in classes), default=0))
    tables = {
        "klass": np.zeros(len(classes) * a.K_SIZE, dtype=np.int64),
        "group": _groups(groups, pools),
        "pool": pool_table(pools),
        "base": np.concatenate([*(pool.base_ps for pool in pools), *map(_with_prompts, pools)]),
        "slope": np.concatenate([pool.slope_ps for pool in pools]),
        "step": np.concatenate([_steps(pool) for pool in pools]),
        "scaler": np.concatenate([_scaler(pool) for pool in pools]),
    }
    starts = starts_of([len(p_run), *(len(table) for table in tables.values()), 0])[1:]
    scripted = np.array([row for fault in sorted(faults or []) for row in fault], dtype=np.int64)
    p_run[a.P_N_FAULT], p_run[a.P_FAULTS] = len(faults or []), starts[-1]
    p_run[a.P_STARTS : a.P_SIZE] = starts[:-1]
    at = starts[-1] + len(scripted)
    doors = make_doors(classes, groups, tenants, front or FrontRow(), bool(faults), p_run, at)
    tables["klass"], ways = make_classes(classes, at + sum(len(table) for table in doors))
    return World(
        m=np.concatenate([p_run, *tables.values(), scripted, *doors, ways]).astype(np.int64),
        starts=dict(zip(tables, starts[:-1], strict=True)),
        n_class=len(classes),
        virtual_nodes=[group.virtual_nodes for group in groups]
        if any(group.router == a.CONSISTENT_HASH for group in groups)
        else [],
    )


def with_traffic(world: World, seed: int, traffic: Traffic) -> a.Params:
    """One run of a world."""
    m = world.m.copy()
    m[a.P_SEED], m[a.P_N_REQUEST] = seed, len(traffic.arrival_ps)
    if traffic.session_id is not None:
        m[a.P_N_SESSION] = int(np.max(traffic.session_id, initial=-1)) + 1
    if traffic.turns is not None:
        m[a.P_ATTEMPTS] = 1  # what follows depends on how a turn ends
    rings = []
    if world.virtual_nodes:
        groups = m[world.starts["group"] : world.starts["pool"]].reshape(-1, a.G_SIZE)
        rings = make_rings(groups, world.virtual_nodes, seed, len(m))
    trace = _trace(traffic, world.n_class, m)
    pools = m[world.starts["pool"] : world.starts["base"]].reshape(-1, a.L_SIZE)
    size_caches(pools, traffic)
    m[a.P_ALL_FIT] = _all_fit(traffic, pools)
    m[[a.P_LEAF, a.P_SHARED, a.P_SEGMENT, a.P_N_SEGMENT]] = places_of(traffic.chains, sum(map(len, trace)))
    return a.Params(
        m=np.concatenate([m, *rings]) if rings else m,
        trace=np.concatenate([*trace, *words_of(traffic.chains)]),
        **world.starts,
    )


def _all_fit(traffic: Traffic, pools: np.ndarray) -> bool:
    """Whether every request fits every pool: its context and its KV blocks (`sim.model.router.fits` asks of one)."""
    tokens = int(np.max(traffic.prompt_tokens + np.maximum(traffic.output_tokens, 1), initial=0))
    room = np.minimum(pools[:, a.L_MAX_LEN], pools[:, a.L_BLOCKS] * pools[:, a.L_BLOCK])
    return bool(tokens <= room.min())


def _trace(traffic: Traffic, n_class: int, p_run: np.ndarray) -> list[np.ndarray]:
    """The requests in two words each; InputError where one is too long or there are too many classes."""
    longest = max((int(np.max(tokens, initial=0)) for tokens in traffic[1:3]), default=0)
    if longest > a.TOKENS_MAX:
        raise InputError(f"traffic: a request of {longest} tokens; allowed: at most {a.TOKENS_MAX}")
    if n_class > a.CLASSES_MAX:
        raise InputError(f"classes: {n_class} of them; allowed: at most {a.CLASSES_MAX}")
    prompt, output, klass = (np.asarray(column, dtype=np.int64) for column in traffic[1:4])
    packed = (prompt << (a.TOKEN_BITS + a.CLASS_BITS)) | (output << a.CLASS_BITS) | klass
    words = [np.asarray(traffic.arrival_ps, dtype=np.int64), packed]
    if traffic.session_id is not None and np.max(traffic.session_id, initial=-1) >= 0:
        words.append(checked_sessions(traffic.session_id))
    if traffic.content_id is not None:
        p_run[a.P_N_CONTENT] = int(np.max(traffic.content_id, initial=-1)) + 1
        p_run[a.P_CONTENTS] = sum(len(column) for column in words)
        words.append(np.asarray(traffic.content_id, dtype=np.int64))
    if traffic.turns is not None:
        p_run[a.P_TURNS] = sum(len(column) for column in words)
        words.append(checked_turns(traffic.turns, words[0]))
        lines = lines_of(traffic.turns, words[0])
        p_run[[a.P_LINES, a.P_N_LINE]] = sum(len(column) for column in words), len(lines)
        words.append(lines.reshape(-1))
    return words


def traffic_of(p: a.Params) -> Traffic:
    """The requests of a run, as columns."""
    n = int(p.m[a.P_N_REQUEST])
    packed = p.trace[n : 2 * n]
    return Traffic(
        p.trace[:n],
        packed >> (a.TOKEN_BITS + a.CLASS_BITS),
        (packed >> a.CLASS_BITS) & a.TOKENS_MAX,
        packed & a.CLASSES_MAX,
        p.trace[2 * n : 3 * n] if p.m[a.P_N_SESSION] > 0 else None,
        turns=turns_of(p),
    )


def n_own(p: a.Params) -> int:
    """Requests that arrive by themselves: the first of every session, and all that belong to none."""
    return int(np.searchsorted(p.trace[: int(p.m[a.P_N_REQUEST])], NEVER))


def turns_of(p: a.Params) -> Turns | None:
    """The turns of a run's sessions; None where every request arrives by itself."""
    start = int(p.m[a.P_TURNS])
    if start == 0:
        return None
    rows = p.trace[start : start + int(p.m[a.P_N_REQUEST]) * a.TURN_SIZE].reshape(-1, a.TURN_SIZE)
    return Turns(*rows.T)


def _steps(pool: PoolRow) -> np.ndarray:
    """The steps of a pool's starts, (step · STEP_SIZE,)."""
    n = n_steps(pool)
    rows = np.zeros((n, a.STEP_SIZE), dtype=np.int64)
    if pool.stage_ps is not None:
        in_sequence = tuple(StepRow(i + 1, i + 1, (1 << i) >> 1) for i in range(n))
        rows[:, : a.STEP_PS] = np.array(pool.steps or in_sequence, dtype=np.int64).reshape(n, a.STEP_PS)
        rows[:, a.STEP_PS :] = pool.stage_ps
    return rows.reshape(-1)


def _scaler(pool: PoolRow) -> np.ndarray:
    if pool.scaler_par is None:
        return np.zeros(SCALER_PAR, dtype=np.int64)
    return pool.scaler_par


def _groups(groups: list[GroupRow], pools: list[PoolRow]) -> np.ndarray:
    rows = np.zeros((len(groups), a.G_SIZE), dtype=np.int64)
    first = load = 0
    for g, group in enumerate(groups):
        members = [i for i, pool in enumerate(pools) if pool.group == g]
        n = sum(pools[i].n_max for i in members)
        leaves = power_of_two(n)
        rows[g, [a.G_ROUTER, a.G_HOLD_MAX]] = group.router, group.hold_max
        rows[g, [a.G_FIRST, a.G_N, a.G_LOAD, a.G_LEAVES]] = first, n, load, leaves
        rows[g, [a.G_FIRST_POOL, a.G_N_POOL]] = members[0] if members else 0, len(members)
        rows[g, [a.G_FACTOR_MILLI, a.G_LOAD_MIN]] = group.factor_milli, group.load_min
        rows[g, [a.G_W_OUTSTANDING, a.G_W_WAITING, a.G_W_KV]] = group.weights_milli
        rows[g, [a.G_SNAPSHOT_PS, a.G_COUNT_OWN]] = group.snapshot_ps, group.count_own
        rows[g, [a.G_SPILL_MILLI, a.G_MATCH_MILLI]] = group.spill_milli, group.match_milli
        rows[g, [a.G_OUTSTANDING_MAX, a.G_HOLD_ORDER]] = group.outstanding_max, group.hold_order
        rows[g, a.G_TREE] = group.router == a.LEAST_OUTSTANDING or group.outstanding_max != NEVER
        first += n
        load += 2 * leaves
    return rows.reshape(-1)


def pool_rows(p: a.Params) -> np.ndarray:
    """The pools' parameters, (pool, L_SIZE)."""
    return p.m[p.pool : p.base].reshape(-1, a.L_SIZE)


def group_rows(p: a.Params) -> np.ndarray:
    """The groups' parameters, (group, G_SIZE)."""
    return p.m[p.group : p.pool].reshape(-1, a.G_SIZE)


def _with_prompts(pool: PoolRow) -> np.ndarray:
    return prompt_table(pool.base_ps, pool.work_ps, pool.prefill_ps, pool.mixed_ps)
