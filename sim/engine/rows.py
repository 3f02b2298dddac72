"""Many runs as matrices: scenarios whose tables have the same sizes lie side by side, a row each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sim.arrays import new_state, state_sizes
from sim.jit import jit
from sim.model.layout import P_N_CLASS, P_N_POOL, Params, State

SLOTS_PER_RUN = 4096  # requests in flight that a run in a batch has room for before the host takes it over


class Batch(NamedTuple):
    """Runs of one shape. `index` says which of the caller's runs each row is."""

    index: list[int]
    params: np.ndarray  # (run, words)
    trace: np.ndarray  # every distinct trace once
    trace_at: np.ndarray  # (run, 2) where each run's trace begins and ends
    states: np.ndarray  # (run, words)
    p_at: tuple[int, ...]  # where the tables of Params start
    st_at: tuple[int, ...]  # where the tables of State start


@jit
def params_row(m, trace, at):
    """One run's parameters."""
    return Params(m, trace, at[0], at[1], at[2], at[3], at[4], at[5], at[6])


@jit
def state_row(m, at):
    """One run's state."""
    return State(
        m,
        at[0],
        at[1],
        at[2],
        at[3],
        at[4],
        at[5],
        at[6],
        at[7],
        at[8],
        at[9],
        at[10],
        at[11],
        at[12],
        at[13],
        at[14],
        at[15],
    )


def shape_of(p: Params) -> tuple[int, ...]:
    """Runs with the same shape can lie in one batch."""
    return (len(p.m), *p[2:], *state_sizes(p).values())


def policy_kinds(p: Params) -> tuple[int, ...]:
    """What neighbours in a batch should share, so that a warp takes the same branches."""
    from sim.arrays import group_rows, pool_rows
    from sim.model.layout import G_ROUTER, L_BATCHING, L_SCALER, L_SCHEDULING

    pools = pool_rows(p)[:, [L_SCALER, L_BATCHING, L_SCHEDULING]]
    return (*pools.reshape(-1), *group_rows(p)[:, G_ROUTER], int(p.m[P_N_CLASS]), int(p.m[P_N_POOL]))


def batches(runs: Sequence[Params], bytes_free: int) -> list[Batch]:
    """Put runs into batches that fit the memory, runs of one policy kind side by side."""
    order = sorted(range(len(runs)), key=lambda i: (shape_of(runs[i]), policy_kinds(runs[i]), i))
    made: list[Batch] = []
    members: list[int] = []
    for i in order:
        if members and (shape_of(runs[i]) != shape_of(runs[members[0]]) or _is_full(runs, members, bytes_free)):
            made.append(make_batch(runs, members))
            members = []
        members.append(i)
    if members:
        made.append(make_batch(runs, members))
    return made


def _is_full(runs: Sequence[Params], members: list[int], bytes_free: int) -> bool:
    p = runs[members[0]]
    words = len(p.m) + len(new_state(p, SLOTS_PER_RUN).m)
    traces = {id(runs[i].trace): len(runs[i].trace) for i in members}
    return 8 * (words * (len(members) + 1) + sum(traces.values()) + len(p.trace)) > bytes_free


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
    spans = [(start[id(runs[i].trace)], start[id(runs[i].trace)] + len(runs[i].trace)) for i in members]
    most = max(len(new_state(runs[i], SLOTS_PER_RUN).m) for i in members)
    states = np.zeros((len(members), most), dtype=np.int64)
    for row, i in enumerate(members):
        fresh = new_state(runs[i], SLOTS_PER_RUN).m
        states[row, : len(fresh)] = fresh
    return Batch(
        index=members,
        params=np.stack([runs[i].m for i in members]),
        trace=np.concatenate(traces),
        trace_at=np.array(spans, dtype=np.int64),
        states=states,
        p_at=tuple(int(x) for x in runs[members[0]][2:]),
        st_at=tuple(int(x) for x in new_state(runs[members[0]], 1)[1:]),
    )
