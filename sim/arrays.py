"""From plain numbers to the arrays of a run: the last place where anything has a name.

`sim.pack` fills these rows from a scenario; tests fill them by hand.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim.errors import InputError
from sim.model import layout as a
from sim.model.control import SCALER_PAR, SCALER_STATE
from sim.model.metrics import N_BUCKET
from sim.units import NEVER

SLOTS_AT_FIRST = 1024
REPLICAS_MAX = 100_000


class ClassRow(NamedTuple):
    """A traffic class: its model's group, its priority (lower goes first) and its objectives."""

    group: int = 0
    priority: int = 0
    ttft_ps: int = NEVER
    itl_ps: int = NEVER
    tpot_ps: int = NEVER
    e2e_ps: int = NEVER


class GroupRow(NamedTuple):
    """A model that is served: its router and how many requests the gateway holds for it."""

    router: int = a.LEAST_OUTSTANDING
    hold_max: int = 100_000


class PoolRow(NamedTuple):
    """A pool in numbers; times in ps, see `sim.model.layout` for the codes."""

    base_ps: np.ndarray  # (max_num_seqs + 1,)
    slope_ps: np.ndarray  # (max_num_seqs + 1,)
    prefill_ps: int
    attention_q16: int
    n_blocks: int
    max_num_seqs: int
    budget: int
    max_len: int
    group: int = 0
    block: int = 16
    batching: int = a.CONTINUOUS
    scheduling: int = a.FCFS
    threshold: int = 0
    chunked: int = 1
    delay_ps: int = 0
    gpus: int = 1
    n_min: int = 1
    n_max: int = 1
    initial: int = 1
    scaler: int = a.FIXED
    tick_ps: int = NEVER
    target: int = 1
    source: int = a.SRC_OUTSTANDING
    scrape_ps: int = 15 * 10**12
    window_ps: int = 0
    lag_ps: int = 0
    scaler_par: np.ndarray | None = None  # (SCALER_PAR,)
    stage_ps: np.ndarray | None = None  # (N_START_STAGE, N_QUANTILE)


class FaultRow(NamedTuple):
    """Some replicas of a pool are lost."""

    time_ps: int
    pool: int
    replicas: int = 1


class RunRow(NamedTuple):
    """The run as a whole."""

    seed: int
    duration_ps: int
    warmup_ps: int
    end_ps: int
    sample_ps: int
    records: int = 1


class Traffic(NamedTuple):
    """Requests sorted by arrival; the row number is a request's identity."""

    arrival_ps: np.ndarray
    prompt_tokens: np.ndarray
    output_tokens: np.ndarray
    class_id: np.ndarray


def power_of_two(n: int) -> int:
    """The smallest power of two that is at least n and at least 2."""
    return max(2, 1 << (n - 1).bit_length())


def make_params(
    run: RunRow,
    traffic: Traffic,
    classes: list[ClassRow],
    groups: list[GroupRow],
    pools: list[PoolRow],
    faults: list[FaultRow] | None = None,
) -> a.Params:
    """Lay out what a run never changes. Pools must come sorted by group."""
    n_replica = sum(pool.n_max for pool in pools)
    if n_replica > REPLICAS_MAX:
        raise InputError(
            f"pools: {n_replica} replica places are more than the {REPLICAS_MAX} a fleet can have"
        )
    p_run = np.zeros(a.P_SIZE, dtype=np.int64)
    p_run[a.P_SEED] = run.seed
    p_run[a.P_N_REQUEST] = len(traffic.arrival_ps)
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
    p_run[a.P_RING] = max((pool.window_ps + pool.lag_ps) // pool.scrape_ps + 2 for pool in pools)
    p_run[a.P_N_SAMPLE] = run.end_ps // run.sample_ps + 2 if run.sample_ps > 0 else 0
    tables = {
        "klass": np.array([row for c in classes for row in c], dtype=np.int64),
        "group": _groups(groups, pools),
        "pool": _pools(pools),
        "base": np.concatenate([pool.base_ps for pool in pools]),
        "slope": np.concatenate([pool.slope_ps for pool in pools]),
        "stage_ps": np.concatenate([_stages(pool) for pool in pools]),
        "scaler": np.concatenate([_scaler(pool) for pool in pools]),
    }
    starts = _starts([len(p_run), *(len(table) for table in tables.values()), 0])[1:]
    scripted = np.array([row for fault in sorted(faults or []) for row in fault], dtype=np.int64)
    p_run[a.P_N_FAULT], p_run[a.P_FAULTS] = len(faults or []), starts[-1]
    return a.Params(
        m=np.concatenate([p_run, *tables.values(), scripted]).astype(np.int64),
        trace=_trace(traffic, len(classes)),
        **dict(zip(tables, starts[:-1], strict=True)),
    )


def _trace(traffic: Traffic, n_class: int) -> np.ndarray:
    """The requests in two words each; InputError where one is too long or there are too many classes."""
    longest = max((int(np.max(tokens, initial=0)) for tokens in traffic[1:3]), default=0)
    if longest > a.TOKENS_MAX:
        raise InputError(f"traffic: a request of {longest} tokens; allowed: at most {a.TOKENS_MAX}")
    if n_class > a.CLASSES_MAX:
        raise InputError(f"classes: {n_class} of them; allowed: at most {a.CLASSES_MAX}")
    prompt, output, klass = (np.asarray(column, dtype=np.int64) for column in traffic[1:])
    packed = (prompt << (a.TOKEN_BITS + a.CLASS_BITS)) | (output << a.CLASS_BITS) | klass
    return np.concatenate([np.asarray(traffic.arrival_ps, dtype=np.int64), packed])


def traffic_of(p: a.Params) -> Traffic:
    """The requests of a run, as columns."""
    n = int(p.m[a.P_N_REQUEST])
    packed = p.trace[n:]
    return Traffic(
        p.trace[:n],
        packed >> (a.TOKEN_BITS + a.CLASS_BITS),
        (packed >> a.CLASS_BITS) & a.TOKENS_MAX,
        packed & a.CLASSES_MAX,
    )


def _stages(pool: PoolRow) -> np.ndarray:
    if pool.stage_ps is None:
        return np.zeros(a.N_START_STAGE * a.N_QUANTILE, dtype=np.int64)
    return np.asarray(pool.stage_ps, dtype=np.int64).reshape(-1)


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
        first += n
        load += 2 * leaves
    return rows.reshape(-1)


def _pools(pools: list[PoolRow]) -> np.ndarray:
    rows = np.zeros((len(pools), a.L_SIZE), dtype=np.int64)
    first = table = 0
    for i, pool in enumerate(pools):
        row = rows[i]
        row[a.L_FIRST], row[a.L_N], row[a.L_GROUP] = first, pool.n_max, pool.group
        row[a.L_MAX_SEQS], row[a.L_BUDGET] = pool.max_num_seqs, pool.budget
        row[a.L_BLOCK], row[a.L_BLOCKS] = pool.block, pool.n_blocks
        row[a.L_BATCHING], row[a.L_SCHEDULING] = pool.batching, pool.scheduling
        row[a.L_THRESHOLD], row[a.L_CHUNKED], row[a.L_DELAY_PS] = pool.threshold, pool.chunked, pool.delay_ps
        row[a.L_MAX_LEN], row[a.L_PREFILL_PS] = pool.max_len, pool.prefill_ps
        row[a.L_ATTENTION_Q16], row[a.L_TABLE], row[a.L_GPUS] = pool.attention_q16, table, pool.gpus
        row[a.L_MIN], row[a.L_MAX], row[a.L_INITIAL] = pool.n_min, pool.n_max, pool.initial
        row[a.L_SCALER], row[a.L_TICK_PS], row[a.L_TARGET] = pool.scaler, pool.tick_ps, pool.target
        row[a.L_SOURCE], row[a.L_SCRAPE_PS] = pool.source, pool.scrape_ps
        row[a.L_WINDOW_PS], row[a.L_LAG_PS] = pool.window_ps, pool.lag_ps
        first += pool.n_max
        table += len(pool.base_ps)
    return rows.reshape(-1)


def pool_rows(p: a.Params) -> np.ndarray:
    """The pools' parameters, (pool, L_SIZE)."""
    return p.m[p.pool : p.base].reshape(-1, a.L_SIZE)


def group_rows(p: a.Params) -> np.ndarray:
    """The groups' parameters, (group, G_SIZE)."""
    return p.m[p.group : p.pool].reshape(-1, a.G_SIZE)


def state_sizes(p: a.Params) -> dict[str, int]:
    """Words that each table of a state takes, in order, the slots (which grow) left out."""
    n_request, n_class, n_pool = (int(p.m[i]) for i in (a.P_N_REQUEST, a.P_N_CLASS, a.P_N_POOL))
    n_replica, leaves = int(p.m[a.P_N_REPLICA]), int(p.m[a.P_TREE])
    groups = group_rows(p)
    seqs, block = _per_replica(p)
    return {
        "run": a.S_SIZE,
        "pool": n_pool * a.Q_SIZE,
        "group": len(groups) * a.H_SIZE,
        "rep": n_replica * a.R_SIZE,
        "heap": int(seqs.sum()),
        "residue": int(block.sum()),
        "stack": int((2 * (seqs + 2)).sum()),
        "mix": n_replica * n_class,
        "tree": 2 * leaves,
        "due": 2 * leaves,
        "load": int(2 * groups[:, a.G_LEAVES].sum()),
        "ready": n_replica,
        "ring": n_pool * int(p.m[a.P_RING]) * 2,
        "scaler": n_pool * SCALER_STATE,
        "counts": n_class * a.C_SIZE,
        "hist": n_class * a.N_METRIC * N_BUCKET,
        "mark": a.N_MARK * n_pool * a.M_SIZE,
        "record": n_request * a.X_SIZE if p.m[a.P_RECORDS] else 0,
        "sample": int(p.m[a.P_N_SAMPLE]) * n_pool * a.T_SIZE,
    }


def _per_replica(p: a.Params) -> tuple[np.ndarray, np.ndarray]:
    """(max_num_seqs, block_size) of each replica place."""
    pools = pool_rows(p)
    of = np.repeat(np.arange(len(pools)), pools[:, a.L_N])
    return pools[of, a.L_MAX_SEQS], pools[of, a.L_BLOCK]


def new_state(p: a.Params, n_slot: int = SLOTS_AT_FIRST) -> a.State:
    """What a run changes, zero but for the places of the replicas' tables and the list of free slots."""
    sizes = state_sizes(p)
    starts = dict(zip([*sizes, "slot"], _starts([*sizes.values(), 0]), strict=True))
    n_slot = max(1, min(n_slot, int(p.m[a.P_N_REQUEST])))
    m = np.zeros(starts["slot"] + n_slot * a.F_SIZE, dtype=np.int64)
    st = a.State(m, **{name: starts[name] for name in a.State._fields[1:]})
    seqs, block = _per_replica(p)
    rep = table(st, "rep", sizes, a.R_SIZE)
    rep[:, a.R_HEAP] = starts["heap"] + np.cumsum(seqs) - seqs
    rep[:, a.R_RESIDUE] = starts["residue"] + np.cumsum(block) - block
    rep[:, a.R_STACK] = starts["stack"] + np.cumsum(2 * (seqs + 2)) - 2 * (seqs + 2)
    record = table(st, "record", sizes, a.X_SIZE)
    record[:] = -1
    record[:, [a.X_OUTCOME, a.X_REASON, a.X_PREEMPTIONS]] = 0
    link_free(m[st.slot :].reshape(-1, a.F_SIZE), 0, -1)
    return st


def table(st: a.State, name: str, sizes: dict[str, int], width: int) -> np.ndarray:
    """A table of a state as a view, (rows, width)."""
    start = getattr(st, name)
    return st.m[start : start + sizes[name]].reshape(-1, width)


def _starts(sizes: list[int]) -> list[int]:
    return [0, *(int(end) for end in np.cumsum(sizes)[:-1])]


def link_free(slots: np.ndarray, first: int, after: int) -> None:
    """Chain slots first … end into the free list, the last one pointing to `after`."""
    slots[first:, a.F_NEXT] = np.arange(first + 1, len(slots) + 1)
    slots[-1, a.F_NEXT] = after


def grow_slots(p: a.Params, st: a.State) -> a.State:
    """The same run with twice as many slots for requests in flight."""
    n_slot = (len(st.m) - st.slot) // a.F_SIZE
    room = min(2 * n_slot, int(p.m[a.P_N_REQUEST]))
    m = np.zeros(st.slot + room * a.F_SIZE, dtype=np.int64)
    m[: len(st.m)] = st.m
    link_free(m[st.slot :].reshape(-1, a.F_SIZE), n_slot, int(m[a.S_FREE]))
    m[a.S_FREE] = n_slot
    m[a.S_STATUS] = a.OK
    return st._replace(m=m)
