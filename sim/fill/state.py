"""A run's state: how many rows its tables have, a fresh one, and room for more requests in flight."""

from __future__ import annotations

import numpy as np

from sim.fill.gateway_tables import starts_of
from sim.fill.kinds import memory_starts, n_of
from sim.fill.rows import prefix_words
from sim.model.base.histogram import N_BUCKET
from sim.model.loop.control import SCALER_STATE
from sim.model.router.choose import KINDS
from sim.model.tables.codes import N_METRIC, N_MORE, OK
from sim.model.tables.record import AttemptRecord, RequestRecord
from sim.model.tables.run import Params, State
from sim.model.tables.sample import N_MARK
from sim.model.tables.slot import N_SPENT, TIMERS_TO_SPARE, Slot, SlotNeighbour, Timer

LINE = 8  # words of a cache line
#: Words behind the slots, so that the four timers below the first begin a line.
TIMERS_AFTER = 2 * LINE - Timer.SIZE
SLOTS_AT_FIRST = 1024
#: Words of a row of each table of a state that has rows.
ROW_SIZES = {name: table.row.SIZE for name, table in State.TABLES.items() if table.row is not None}


def table_rows(params: Params) -> dict[str, int]:
    """How many rows each table of a state has, or int64s where it has no rows: in order, without the slots, which grow.

    Most tables declare it. Four tables that replicas hold lie between the others: heap, residue, gaps and, behind all,
    prefix. It is worked out once for a run's header.
    """
    header = params.m[: Params.SIZE].tobytes()
    known = params.views.get("table_rows")
    if known is None or known[0] != header:
        params.views["table_rows"] = known = (header, _all_rows(params))
    return known[1]


def _all_rows(params: Params) -> dict[str, int]:
    others = _worked_out(params)
    rows: dict[str, int] = {}
    for name in State.fixed():
        if name == "slot":
            continue
        table = State.TABLES[name]
        rows[name] = table.n_rows(params) if table.rows else others[name]
        if name == "replica":
            rows |= {held: others[held] for held in ("heap", "residue", "gaps")}
    return rows | {"prefix": others["prefix"]}


def _worked_out(params: Params) -> dict[str, int]:
    """The same of the tables that do not declare it: what it depends on is more than a product."""
    pools, models = pool_rows(params), model_rows(params)
    n_pool, n_class, n_replica = int(params.n_pool), int(params.n_class), int(params.n_replica)
    places = pools["n_replica"]
    seqs = int((places * pools["max_num_seqs"]).sum())
    prefix = int(prefix_words(pools).sum())
    records = int(params.n_request) if params.keeps_records else 0
    has_attempts = bool(params.has_attempts)
    return {
        "heap": seqs,
        "residue": int((places * pools["block_size"]).sum()),
        "gaps": 2 * (seqs + 2 * n_replica),
        "boundary_tree": 2 * int(params.leaves),
        "stage_tree": 2 * int(params.leaves),
        "job_tree": 2 * int(params.job_leaves),
        "node_tree": 2 * int(params.node_leaves),
        "load": int(2 * models["leaves"].sum()),
        "autoscaler": n_pool * SCALER_STATE,
        "router_memory": memory_starts(KINDS, models["router"], n_of(params))[1],
        "start_hist": int(((pools["n_transfer"] > 0) * (1 + pools["n_step"])).sum()) * N_BUCKET,
        "worker": int(params.rows("station", int(params.n_station))["n_worker"].sum()),
        "limit": n_class + int(params.n_tenant),
        "hist": n_class * N_METRIC * N_BUCKET,
        "more": n_class * N_MORE * N_BUCKET if has_attempts else 0,
        "mark": N_MARK * n_pool,
        "record": records,
        "attempt": records if has_attempts or prefix > 0 else 0,
        "spent": N_SPENT * records,
        "arrived": records if params.turn_at else 0,
        "prefix": prefix,
    }


def table_words(params: Params) -> dict[str, int]:
    """Words that each of these tables takes, behind those of the header."""
    rows = table_rows(params)
    return {"run": State.SIZE} | {name: n * ROW_SIZES.get(name, 1) for name, n in rows.items()}


def pool_rows(params: Params) -> np.ndarray:
    """The pools' parameters as records, (pool,)."""
    return params.rows("pool", int(params.n_pool))


def model_rows(params: Params) -> np.ndarray:
    """The served models' parameters as records, (served model,)."""
    return params.rows("served_model", int(params.n_served_model))


def table(params: Params, state: State, name: str) -> np.ndarray:
    """A table of a state as records, or as int64s where it has no rows, whole."""
    return state.rows(name, table_rows(params)[name])


def new_state(params: Params, n_slot: int = SLOTS_AT_FIRST) -> State:
    """A fresh state: rows as they begin, the places of the replicas' tables, the list of free slots."""
    words = table_words(params)
    starts = dict(zip([*words, "slot"], starts_of([*words.values(), 0]), strict=True))
    starts["prefix"] = whole_lines(starts["prefix"])
    starts["slot"] = whole_lines(starts["prefix"] + words["prefix"])
    n_slot = max(1, min(n_slot, int(params.n_request)))
    state = State(line_of_zeros(starts["slot"] + slot_words(params, n_slot)))
    for name in State.fixed():
        state.m[State.TABLES[name].start] = starts[name]
    place_slot_tables(params, state, starts["slot"], n_slot)
    place_replica_tables(params, state, starts)
    for name, row in (("record", RequestRecord), ("attempt", AttemptRecord)):
        if words[name]:  # in one pass: there may be millions of rows
            state.m[starts[name] : starts[name] + words[name]].reshape(-1, row.SIZE)[:] = row.blank()
    link_free(slot_rows(state), 0, -1)
    timer_rows(state)["time_ps"] = Timer.FIELDS["time_ps"].begin
    return state


def place_replica_tables(params: Params, state: State, starts: dict[str, int]) -> None:
    """Say in each replica where its heap, residue counts, stack of gaps and prefix cache start."""
    pools = pool_rows(params)
    of = np.repeat(np.arange(len(pools)), pools["n_replica"])
    seqs, block = pools["max_num_seqs"][of], pools["block_size"][of]
    replicas = state.rows("replica", int(params.n_replica))
    replicas["heap_at"] = starts["heap"] + np.cumsum(seqs) - seqs
    replicas["residue_at"] = starts["residue"] + np.cumsum(block) - block
    replicas["gaps_at"] = starts["gaps"] + np.cumsum(2 * (seqs + 2)) - 2 * (seqs + 2)
    words = prefix_words(pools)
    replicas["prefix_at"] = (starts["prefix"] + np.cumsum(words) - words) * (words > 0)


def whole_lines(words: int) -> int:
    """So many words, rounded up to whole cache lines."""
    return -(-words // LINE) * LINE


def line_of_zeros(words: int) -> np.ndarray:
    """Zeros that begin where a cache line does, so that a row of whole lines lies in no more lines than it has to."""
    room = np.zeros(words + LINE, dtype=np.int64)
    before = -(room.ctypes.data // room.itemsize) % LINE
    return room[before : before + words]


def slot_words(params: Params, n_slot: int) -> int:
    """Words that so many slots take, with their rows of the heap of timers."""
    neighbours = n_slot * SlotNeighbour.SIZE if params.n_gpu_share else 0
    return n_slot * Slot.SIZE + TIMERS_AFTER + timer_words(params, n_slot) + neighbours


def timer_words(params: Params, n_slot: int) -> int:
    """Words that the heap of timers of so many slots takes, nothing where attempts are not kept apart."""
    return (n_slot + TIMERS_TO_SPARE) * Timer.SIZE if params.has_attempts else 0


def place_slot_tables(params: Params, state: State, start: int, n_slot: int) -> None:
    """Say how many slots there are from `start` on, and where the tables begin that grow with them."""
    state.n_slot, state.timer_at = n_slot, start + n_slot * Slot.SIZE + TIMERS_AFTER
    state.neighbour_at = int(state.timer_at) + timer_words(params, n_slot)


def slot_start(state: State) -> int:
    """Where the slots start: all before it is of a size that does not change."""
    return State.TABLES["slot"].start_of(state)


def slot_rows(state: State) -> np.ndarray:
    """The slots as records, (slot,)."""
    return state.rows("slot", int(state.n_slot))


def timer_rows(state: State) -> np.ndarray:
    """The heap of timers as records, (slot + 3,), or no rows where attempts are not kept apart."""
    return Timer.rows(state.m[int(state.timer_at) : int(state.neighbour_at)])


def neighbour_rows(state: State) -> np.ndarray:
    """What neighbours took from the slots' requests as records, (slot,), or no rows where no GPU is shared."""
    return SlotNeighbour.rows(state.m[int(state.neighbour_at) :])


def link_free(slots: np.ndarray, first: int, after: int) -> None:
    """Chain slots first … end into the free list, the last one pointing to `after`."""
    slots["next"][first:] = np.arange(first + 1, len(slots) + 1)
    slots["next"][-1] = after


def grow_slots(params: Params, state: State) -> State:
    """The same run with twice as many slots for requests in flight."""
    n_slot, start = int(state.n_slot), slot_start(state)
    timers, neighbours = timer_rows(state), neighbour_rows(state)
    room = 2 * n_slot
    if params.has_attempts == 0:  # else a request can have more slots than one: abandoned attempts and hedges
        room = min(room, int(params.n_request))
    grown = State(line_of_zeros(start + slot_words(params, room)))
    n_word = start + n_slot * Slot.SIZE
    grown.m[:n_word] = state.m[:n_word]
    place_slot_tables(params, grown, start, room)
    neighbour_rows(grown)[: len(neighbours)] = neighbours
    timer_rows(grown)[: len(timers)] = timers
    timer_rows(grown)["time_ps"][len(timers) :] = Timer.FIELDS["time_ps"].begin
    link_free(slot_rows(grown), n_slot, int(state.free_slot))
    grown.free_slot, grown.status = n_slot, OK
    return grown
