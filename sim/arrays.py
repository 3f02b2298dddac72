"""From plain numbers to the arrays of a run: the last place where anything has a name.

`sim.pack` fills these rows from a scenario; tests fill them by hand.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim.doors import make_classes, make_doors, starts_of
from sim.errors import InputError
from sim.model import layout as a
from sim.model.control import SCALER_PAR, SCALER_STATE
from sim.model.metrics import N_BUCKET
from sim.model.ring import make_rings
from sim.rows import (
    ClassRow,
    FaultRow,
    FrontRow,
    GroupRow,
    PoolRow,
    RunRow,
    TenantRow,
    Traffic,
    Turns,
    checked_sessions,
    checked_turns,
    places_of,
    pool_table,
    power_of_two,
    prefix_words,
    words_of,
)
from sim.units import NEVER

LINE = 8  # words of a cache line
TIMERS_AFTER = (
    2 * LINE - a.TIMER_SIZE
)  # words behind the slots, so that the four timers below the first begin a line
SLOTS_AT_FIRST = 1024
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
    p_run[a.P_RING] = max((pool.window_ps + pool.lag_ps) // pool.scrape_ps + 2 for pool in pools)
    p_run[a.P_N_SAMPLE] = run.end_ps // run.sample_ps + 2 if run.sample_ps > 0 else 0
    tenants = tenants or [TenantRow()] * (1 + max((c.tenant for c in classes), default=0))
    tables = {
        "klass": np.zeros(len(classes) * a.K_SIZE, dtype=np.int64),
        "group": _groups(groups, pools),
        "pool": pool_table(pools),
        "base": np.concatenate([pool.base_ps for pool in pools]),
        "slope": np.concatenate([pool.slope_ps for pool in pools]),
        "stage_ps": np.concatenate([_stages(pool) for pool in pools]),
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
    m[[a.P_LEAF, a.P_SHARED, a.P_SEGMENT, a.P_N_SEGMENT]] = places_of(traffic.chains, sum(map(len, trace)))
    return a.Params(
        m=np.concatenate([m, *rings]) if rings else m,
        trace=np.concatenate([*trace, *words_of(traffic.chains)]),
        **world.starts,
    )


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


def state_sizes(p: a.Params) -> dict[str, int]:
    """Words that each table of a state takes, in order, the slots (which grow) left out."""
    run, pools, groups = p.m[: a.P_SIZE].tolist(), pool_rows(p).tolist(), group_rows(p).tolist()
    n_request, n_class, n_pool = run[a.P_N_REQUEST], run[a.P_N_CLASS], run[a.P_N_POOL]
    n_replica, leaves = run[a.P_N_REPLICA], run[a.P_TREE]
    seqs = sum(row[a.L_N] * row[a.L_MAX_SEQS] for row in pools)
    prefix = int(prefix_words(pool_rows(p)).sum()) if any(row[a.L_PREFIX_RUNS] for row in pools) else 0
    routers = {row[a.G_ROUTER] for row in groups}
    n_station = run[a.P_N_STATION]
    workers = p.m[run[a.P_STATIONS] :][: n_station * a.WORK_SIZE].reshape(-1, a.WORK_SIZE)[:, a.WORK_N]
    return {
        "run": a.S_SIZE,
        "pool": n_pool * a.Q_SIZE,
        "group": len(groups) * a.H_SIZE,
        "rep": n_replica * a.R_SIZE,
        "heap": seqs,
        "residue": sum(row[a.L_N] * row[a.L_BLOCK] for row in pools),
        "stack": 2 * (seqs + 2 * n_replica),
        "mix": n_replica * n_class,
        "tree": 2 * leaves,
        "due": 2 * leaves,
        "load": sum(2 * row[a.G_LEAVES] for row in groups),
        "ready": n_replica,
        "ring": n_pool * run[a.P_RING] * 2,
        "scaler": n_pool * SCALER_STATE,
        "session": run[a.P_N_SESSION] * a.SESSION_SIZE if a.SESSION_AFFINITY in routers else 0,
        "snapshot": n_replica * a.W_SIZE if a.WEIGHTED_SCORE in routers else 0,
        "lane": len(groups) * run[a.P_N_LANE] * a.N_SIZE,
        "worker": int(workers.sum()),
        "station": n_station * a.D_SIZE,
        "content": run[a.P_N_CONTENT] * a.E_SIZE,
        "limit": (n_class + run[a.P_N_TENANT]) * a.J_SIZE,
        "counts": n_class * a.C_SIZE,
        "hist": n_class * a.N_METRIC * N_BUCKET,
        "more": n_class * a.N_MORE * N_BUCKET * run[a.P_ATTEMPTS],
        "mark": a.N_MARK * n_pool * a.M_SIZE,
        "record": n_request * a.X_SIZE if run[a.P_RECORDS] else 0,
        "tried": n_request * a.A_SIZE if run[a.P_RECORDS] and (run[a.P_ATTEMPTS] or prefix > 0) else 0,
        "blame": n_request * a.B_SIZE if run[a.P_RECORDS] else 0,
        "arrived": n_request if run[a.P_RECORDS] and run[a.P_TURNS] else 0,
        "sample": run[a.P_N_SAMPLE] * n_pool * a.T_SIZE,
        "station_sample": run[a.P_N_SAMPLE] * n_station * a.TS_SIZE,
        "prefix": prefix,
    }


def _per_replica(p: a.Params) -> tuple[np.ndarray, np.ndarray]:
    """(max_num_seqs, block_size) of each replica place."""
    pools = pool_rows(p)
    of = np.repeat(np.arange(len(pools)), pools[:, a.L_N])
    return pools[of, a.L_MAX_SEQS], pools[of, a.L_BLOCK]


def new_state(p: a.Params, n_slot: int = SLOTS_AT_FIRST) -> a.State:
    """What a run changes, zero but for the places of the replicas' tables and the list of free slots."""
    sizes = state_sizes(p)
    starts = dict(zip([*sizes, "slot"], starts_of([*sizes.values(), 0]), strict=True))
    starts["prefix"] = whole_lines(starts["prefix"])
    starts["slot"] = whole_lines(starts["prefix"] + sizes["prefix"])
    n_slot = max(1, min(n_slot, int(p.m[a.P_N_REQUEST])))
    m = line_of_zeros(starts["slot"] + slot_words(p, n_slot))
    m[a.S_TIMERS] = starts["slot"] + n_slot * a.F_SIZE + TIMERS_AFTER
    st = a.State(m, **{name: starts[name] for name in a.State._fields[1:]})
    m[a.S_STARTS : a.S_SIZE] = st[1:]
    seqs, block = _per_replica(p)
    rep = table(st, "rep", sizes, a.R_SIZE)
    rep[:, a.R_HEAP] = starts["heap"] + np.cumsum(seqs) - seqs
    rep[:, a.R_RESIDUE] = starts["residue"] + np.cumsum(block) - block
    rep[:, a.R_STACK] = starts["stack"] + np.cumsum(2 * (seqs + 2)) - 2 * (seqs + 2)
    if sizes["prefix"]:
        words = prefix_words(pool_rows(p))
        rep[:, a.R_PREFIX] = (starts["prefix"] + np.cumsum(words) - words) * (words > 0)
    for name, width, zero in (
        ("record", a.X_SIZE, [a.X_OUTCOME, a.X_REASON, a.X_PREEMPTIONS]),
        ("tried", a.A_SIZE, [a.A_WASTED, a.A_CACHED]),
    ):
        if sizes[name]:
            blank = np.full(width, -1, dtype=np.int64)
            blank[zero] = 0
            table(st, name, sizes, width)[:] = blank  # in one pass: there may be millions of rows
    link_free(slot_rows(st), 0, -1)
    timer_rows(st)[:, a.TIMER_PS] = NEVER
    return st


def whole_lines(words: int) -> int:
    """So many words, rounded up to whole cache lines."""
    return -(-words // LINE) * LINE


def line_of_zeros(words: int) -> np.ndarray:
    """Zeros that begin where a cache line does, so that a row of whole lines lies in no more lines than it has to."""
    room = np.zeros(words + LINE, dtype=np.int64)
    before = -(room.ctypes.data // room.itemsize) % LINE
    return room[before : before + words]


def slot_words(p: a.Params, n_slot: int) -> int:
    """Words that so many slots take, with their rows of the heap of timers."""
    n_timer = n_slot + a.TIMERS_TO_SPARE if p.m[a.P_ATTEMPTS] else 0
    return n_slot * a.F_SIZE + TIMERS_AFTER + n_timer * a.TIMER_SIZE


def slot_rows(st: a.State) -> np.ndarray:
    """The slots as a view, (slot, F_SIZE)."""
    return st.m[st.slot : st.m[a.S_TIMERS] - TIMERS_AFTER].reshape(-1, a.F_SIZE)


def timer_rows(st: a.State) -> np.ndarray:
    """The heap of timers as a view, (slot + 3, TIMER_SIZE), or no rows where nobody needs it."""
    return st.m[st.m[a.S_TIMERS] :].reshape(-1, a.TIMER_SIZE)


def table(st: a.State, name: str, sizes: dict[str, int], width: int) -> np.ndarray:
    """A table of a state as a view, (rows, width)."""
    start = getattr(st, name)
    return st.m[start : start + sizes[name]].reshape(-1, width)


def link_free(slots: np.ndarray, first: int, after: int) -> None:
    """Chain slots first … end into the free list, the last one pointing to `after`."""
    slots[first:, a.F_NEXT] = np.arange(first + 1, len(slots) + 1)
    slots[-1, a.F_NEXT] = after


def grow_slots(p: a.Params, st: a.State) -> a.State:
    """The same run with twice as many slots for requests in flight."""
    n_slot, timers = len(slot_rows(st)), timer_rows(st)
    room = 2 * n_slot
    if p.m[a.P_ATTEMPTS] == 0:  # else a request can have more slots than one: ghosts and twins
        room = min(room, int(p.m[a.P_N_REQUEST]))
    m = line_of_zeros(st.slot + slot_words(p, room))
    n_word = st.slot + n_slot * a.F_SIZE
    m[:n_word] = st.m[:n_word]
    m[a.S_TIMERS] = st.slot + room * a.F_SIZE + TIMERS_AFTER
    grown = st._replace(m=m)
    timer_rows(grown)[: len(timers)] = timers
    timer_rows(grown)[len(timers) :, a.TIMER_PS] = NEVER
    link_free(slot_rows(grown), n_slot, int(m[a.S_FREE]))
    m[a.S_FREE] = n_slot
    m[a.S_STATUS] = a.OK
    return grown
