"""Many runs as matrices: scenarios whose tables have the same sizes lie side by side, a row each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sim.fill.state import LINE, model_rows, new_state, pool_rows, slot_start, slot_words, table_words
from sim.model.tables.run import Params

SLOTS_PER_RUN = 4096  # requests in flight that a row has room for at most before the host takes its run over
SLOTS_TO_SPARE = 256  # beyond twice the sequences that a fleet can run at once
WORD = 8  # bytes


class Batch(NamedTuple):
    """Runs of one shape. `which` says which of the caller's runs each row is."""

    which: list[int]
    params: np.ndarray  # (run, words)
    trace: np.ndarray  # every distinct trace once
    trace_at: np.ndarray  # (run,) where each run's trace begins
    fresh: np.ndarray  # (words,) the state that every run begins with
    p_at: tuple[int, ...]  # where the tables of Params start
    st_at: tuple[int, ...]  # where the tables of State start
    n_kept: int  # words of a state before its slots


def n_slots(p: Params) -> int:
    """Requests in flight that a run's row has room for."""
    pools = pool_rows(p)
    seats = int((pools["n_replica"] * pools["max_num_seqs"]).sum())
    return min(SLOTS_PER_RUN, 2 * seats + SLOTS_TO_SPARE, max(1, int(p.n_request)))


def row_words(p: Params) -> int:
    """Words of device memory that a run takes for itself: parameters, state, and where it stands."""
    return len(p.m) + sum(table_words(p).values()) + slot_words(p, n_slots(p)) + 2 * LINE + 4


def shape_of(p: Params) -> tuple[int, ...]:
    """Runs with the same shape begin with the same state and can lie in one batch."""
    pools = pool_rows(p)
    places = (pools[name].tolist() for name in ("n_replica", "max_num_seqs", "block_size", "prefix_runs"))
    starts = (start for _, start in p.starts())
    return (len(p.m), *starts, *table_words(p).values(), *(x for column in places for x in column))


def policy_kinds(p: Params) -> tuple[int, ...]:
    """The kinds of policies of a run: neighbours in a batch should share them, so that a warp takes the same branches."""
    pools, routers = pool_rows(p), model_rows(p)["router"]
    kinds = zip(*(pools[name].tolist() for name in ("autoscaler", "batching", "scheduling")), strict=True)
    return (*(x for row in kinds for x in row), *routers.tolist())


def batches(runs: Sequence[Params], bytes_free: int) -> Iterator[Batch]:
    """Put runs into batches that fit the memory, runs of one policy kind side by side; made one at a time."""
    shapes = [shape_of(p) for p in runs]
    order = sorted(range(len(runs)), key=lambda i: (shapes[i], policy_kinds(runs[i]), i))
    members: list[int] = []
    traces: set[int] = set()
    taken = 0
    for i in order:
        words = row_words(runs[i])
        more = words + (0 if id(runs[i].trace) in traces else len(runs[i].trace))
        if members and (shapes[i] != shapes[members[0]] or WORD * (taken + more) > bytes_free):
            yield make_batch(runs, members)
            members, traces, taken, more = [], set(), 0, words + len(runs[i].trace)
        members.append(i)
        traces.add(id(runs[i].trace))
        taken += more
    if members:
        yield make_batch(runs, members)


def make_batch(runs: Sequence[Params], members: list[int]) -> Batch:
    """The matrices of some runs of one shape; a trace that several of them share is kept once."""
    start: dict[int, int] = {}
    traces: list[np.ndarray] = []
    at = 0
    for i in members:
        trace = runs[i].trace
        if id(trace) not in start:
            start[id(trace)] = at
            traces.append(trace)
            at += len(trace)
    largest = max((runs[i] for i in members), key=n_slots)
    fresh = new_state(largest, n_slots(largest))
    return Batch(
        which=members,
        params=np.stack([runs[i].m for i in members]),
        trace=np.concatenate(traces),
        trace_at=np.array([start[id(runs[i].trace)] for i in members], dtype=np.int64),
        fresh=fresh.m,
        p_at=tuple(start for _, start in runs[members[0]].starts()),
        st_at=tuple(start for _, start in fresh.starts()),
        n_kept=slot_start(fresh),
    )
