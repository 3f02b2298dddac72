"""A run's state: how many words its tables take, a fresh one, and room for more requests in flight."""

from __future__ import annotations

import numpy as np

from sim.arrays import group_rows, pool_rows
from sim.doors import starts_of
from sim.model import layout as a
from sim.model.control import SCALER_STATE
from sim.model.metrics import N_BUCKET
from sim.rows import prefix_words
from sim.units import NEVER

LINE = 8  # words of a cache line
#: Words behind the slots, so that the four timers below the first begin a line.
TIMERS_AFTER = 2 * LINE - a.TIMER_SIZE
SLOTS_AT_FIRST = 1024


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
        "hedge": run[a.P_N_HEDGE] * a.HEDGE_SIZE,
        "line": run[a.P_N_LINE],
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
