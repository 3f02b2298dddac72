"""Recorded sessions replayed: after the answer and the recorded pause, or at times counted from their beginning."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError
from sim.fill.trace import Chains
from sim.scenario.trace import Trace
from sim.scenario.traffic import TrafficClass
from sim.units import NEVER, s_to_ps
from sim.workload.arrivals import REQUESTS_MAX
from sim.workload.formats import TraceRows
from sim.workload.prefix import picked, recorded_chains
from sim.workload.recorded import replay_copies
from sim.workload.sessions import Calls, SessionTable, session_table, where

Ints = NDArray[np.int64]
PS_PER_NS = 1000


class Played(NamedTuple):
    """The rows of everything that begins in a run, one beginning after the other, sessions together, by time."""

    row: Ints  # (call,) index into the trace
    begun: Ints  # (call,) which beginning it belongs to
    is_first: NDArray[np.bool_]  # (call,) of its session
    session: Ints  # (call,) numbered from 0


def needs_sessions(rows: TraceRows) -> bool:
    """Whether a trace's rows come by session, not each at a time of its own."""
    return rows.layout is not None and (rows.layout.closed or rows.layout.times == "session")


def begins_by_itself(rows: TraceRows) -> bool:
    """Whether a trace says when its sessions begin, not only what happens in them."""
    return rows.layout is not None and rows.layout.times == "trace"


def recorded_starts(
    trace: Trace, rows: TraceRows, duration_s: float, seed: int, name: str
) -> tuple[Ints, Ints]:
    """(beginning of each session in the run, ps; which one: copy · sessions + session) as the trace recorded them."""
    assert rows.session is not None
    assert rows.arrival_ns is not None
    _, first = np.unique(rows.session, return_index=True)
    first = np.sort(first)  # by time
    firsts = TraceRows(
        rows.arrival_ns[first], rows.prompt_tokens[first], rows.output_tokens[first], rows.row[first]
    )
    arrival_ps, place = replay_copies(trace, firsts, duration_s, seed, name)
    copy, index = np.divmod(place, len(first))
    return arrival_ps, copy * (int(rows.session.max()) + 1) + rows.session[first[index]]


def play(
    traffic: TrafficClass,
    rows: TraceRows,
    starts_ps: Ints,
    which: Ints,
    duration_s: float,
    with_prefixes: bool,
) -> SessionTable:
    """The requests of sessions (or groups of them) that begin at `starts_ps`; InputError where there are too many.

    `which` counts on through copies: copy · units + unit, where a unit is what begins together.
    """
    assert rows.session is not None
    assert rows.layout is not None
    unit = rows.session if rows.group is None else rows.group
    copy, chosen = np.divmod(which, int(unit.max()) + 1)
    played = expanded(traffic, rows, unit, chosen)
    offset_ps = np.zeros(len(rows.row), dtype=np.int64)
    if rows.group is not None and rows.arrival_ns is not None:
        offset_ps = np.minimum(rows.arrival_ns, NEVER // PS_PER_NS // 4) * PS_PER_NS
    at_ps = starts_ps[played.begun] + offset_ps[played.row]
    chains = recorded_chains(rows) if with_prefixes else None

    def chains_of(kept: Calls) -> Chains | None:
        return chains and picked(chains, played.row[kept.place], copy[played.begun[kept.place]])

    pause_ns = np.zeros(len(rows.row), dtype=np.int64) if rows.pause_ns is None else rows.pause_ns
    pause_ps = np.minimum(pause_ns, NEVER // PS_PER_NS // 4) * PS_PER_NS
    calls = Calls(
        played.session,
        played.is_first,
        np.where(played.is_first, 0, pause_ps[played.row]),
        rows.prompt_tokens[played.row].astype(np.int64),
        rows.output_tokens[played.row].astype(np.int64),
        np.arange(len(played.row)),
    )
    if rows.layout.closed:
        return session_table(calls, at_ps[played.is_first], s_to_ps(duration_s), chains_of)
    return at_their_times(calls, at_ps, s_to_ps(duration_s), chains_of)


def expanded(traffic: TrafficClass, rows: TraceRows, unit: Ints, chosen: Ints) -> Played:
    """The rows of each chosen unit."""
    assert rows.session is not None
    order = np.lexsort((np.arange(len(unit)), rows.session, unit))
    n_unit = int(unit.max()) + 1
    count = np.bincount(unit, minlength=n_unit)
    n = count[chosen]
    total = int(n.sum())
    if total > REQUESTS_MAX:
        raise InputError(
            f"traffic {traffic.name!r}: its recorded sessions would make {total:.3g} requests; allowed: at most"
            f" {REQUESTS_MAX:,}"
        )
    begun = np.repeat(np.arange(len(chosen)), n)
    first = (np.cumsum(count) - count)[chosen]
    row = order[np.arange(total) - np.repeat(np.cumsum(n) - n, n) + first[begun]] if total else order[:0]
    is_first = np.ones(total, dtype=bool)
    is_first[1:] = (begun[1:] != begun[:-1]) | (rows.session[row[1:]] != rows.session[row[:-1]])
    return Played(row, begun, is_first, np.cumsum(is_first) - 1)


def at_their_times(
    calls: Calls, at_ps: Ints, duration_ps: int, chains_of: Callable[[Calls], Chains | None]
) -> SessionTable:
    """The calls at times of their own, whatever the answers: sessions are names, nobody waits."""
    inside = np.flatnonzero(at_ps < duration_ps)
    order = inside[np.argsort(at_ps[inside], kind="stable")]
    kept = where(calls, order)
    return SessionTable(
        at_ps[order],
        kept.prompt.astype(np.int32),
        kept.output.astype(np.int32),
        kept.session,
        chains_of(kept),
        None,
    )
