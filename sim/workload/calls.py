"""When the clients of each class call, and what their calls bring with them where a recording says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError, problem
from sim.fill.trace import Chains
from sim.scenario.arrivals import Concurrency
from sim.scenario.scenario import Scenario
from sim.scenario.trace import Trace
from sim.scenario.traffic import TrafficClass
from sim.units import PS_PER_S, s_to_ps
from sim.workload.arrivals import arrival_times_s
from sim.workload.formats import TraceRows
from sim.workload.loops import Line, loop_calls
from sim.workload.prefix import picked, recorded_chains
from sim.workload.readers import read_trace
from sim.workload.recorded import replay_copies
from sim.workload.recorded_sessions import begins_by_itself, needs_sessions, play, recorded_starts
from sim.workload.sessions import SessionTable
from sim.workload.streams import generator

SHARED = "shared arrivals"  # no class can be called so
NO_TIMES = "it has no arrival times, arrivals come from `arrivals`"


class Calls(NamedTuple):
    """When somebody calls, and how long the calls are where a trace says so."""

    arrival_ps: NDArray[np.int64]
    lengths: tuple[NDArray[np.int32], NDArray[np.int32]] | None
    chains: Chains | None = None  # what the prompts begin with, where the trace says so and somebody asks
    session_id: NDArray[np.int64] | None = None  # where the trace names sessions
    table: SessionTable | None = (
        None  # the requests themselves, where the trace has sessions with clocks of their own
    )
    told: dict[str, Any] | None = None  # how the trace was read
    line: Line | None = (
        None  # where they come in closed loop: their places in the list, and the pauses behind them
    )

    def where(self, chosen: NDArray[np.bool_]) -> Calls:
        """The calls that are chosen."""
        lengths = self.lengths and (self.lengths[0][chosen], self.lengths[1][chosen])
        chains = self.chains and picked(self.chains, np.flatnonzero(chosen))
        session_id = None if self.session_id is None else self.session_id[chosen]
        line = self.line and self.line.where(chosen)
        return Calls(self.arrival_ps[chosen], lengths, chains, session_id, told=self.told, line=line)


def is_written(scenario: Scenario, traffic: TrafficClass) -> bool:
    """Whether the models that serve a class write its answers."""
    models = [pool.model for pool in scenario.pools]
    return any(model.kind != "embedding" for model in models if traffic.model in (None, model.name))


def make_calls(
    traffic: TrafficClass,
    duration_s: float,
    seed: int,
    with_prefixes: bool = False,
    writes: bool = False,
    in_list: Mapping[str, int] | None = None,
) -> Calls:
    """When somebody calls; and from a trace how long the calls are, in file order where it holds lengths only, or where
    clients send its requests in closed loop.
    """
    trace, loop, line = traffic.trace, traffic.arrivals, None
    if trace is None and isinstance(loop, Concurrency):
        n = loop.requests or (in_list or {})[traffic.name]
        sent_ps, line = loop_calls(loop, n, seed, traffic.name)
        return Calls(sent_ps, None, line=line)
    if trace is None:
        return Calls(to_ps(arrival_times_s(traffic, duration_s, seed), duration_s), None)
    rows = read_trace(trace, with_prefixes, writes)
    if isinstance(loop, Concurrency):
        _check_lengths_only(trace, "its requests are sent one after the other, whenever a client is free")
        if needs_sessions(rows):
            raise InputError(
                f"{traffic.name}.trace: the sessions of {trace.file} cannot go with arrivals of kind concurrency, whose"
                " requests are independent; set traffic.trace.sessions=open"
            )
        arrival_ps, line = loop_calls(loop, loop.requests or len(rows.row), seed, traffic.name)
        place = np.arange(len(arrival_ps))
    elif needs_sessions(rows):
        return _recorded_sessions(traffic, trace, rows, duration_s, seed, with_prefixes)
    elif rows.arrival_ns is None:
        _check_lengths_only(trace, NO_TIMES)
        arrival_ps = to_ps(arrival_times_s(traffic, duration_s, seed), duration_s)
        place = np.arange(len(arrival_ps))
    else:
        _check_timed(traffic, trace)
        arrival_ps, place = replay_copies(trace, rows, duration_s, seed, traffic.name)
    copy, index = np.divmod(place, len(rows.row))
    chains = recorded_chains(rows) if with_prefixes else None
    session_id = None
    if rows.session is not None:
        session_id = np.where(
            rows.session[index] < 0, -1, rows.session[index] + copy * (rows.session.max() + 1)
        )
    return Calls(
        arrival_ps,
        (rows.prompt_tokens[index], rows.output_tokens[index]),
        chains and picked(chains, index, copy),
        session_id,
        told=rows.told,
        line=line,
    )


def _recorded_sessions(
    traffic: TrafficClass, trace: Trace, rows: TraceRows, duration_s: float, seed: int, with_prefixes: bool
) -> Calls:
    """The sessions of a trace, at their recorded beginnings or where the class says when they begin."""
    if begins_by_itself(rows):
        _check_timed(traffic, trace)
        starts_ps, which = recorded_starts(trace, rows, duration_s, seed, traffic.name)
    else:
        _check_lengths_only(trace, NO_TIMES)
        starts_ps = to_ps(arrival_times_s(traffic, duration_s, seed), duration_s)
        which = np.arange(len(starts_ps))
    table = play(traffic, rows, starts_ps, which, duration_s, with_prefixes)
    return Calls(starts_ps, None, table=table, told=rows.told)


def shared_arrivals(
    scenario: Scenario, seed: int, with_prefixes: bool = False, in_list: Mapping[str, int] | None = None
) -> dict[int, Calls]:
    """Class → its calls, for the classes with a share of one process: each call goes to one of them by chance."""
    sharing = [i for i, traffic in enumerate(scenario.classes) if traffic.share is not None]
    if not sharing:
        return {}
    first = scenario.classes[sharing[0]]
    shared, writes = replace(first, name=SHARED), is_written(scenario, first)
    in_list = in_list and {SHARED: in_list.get(first.name, 0)}
    whole = make_calls(shared, scenario.duration_s, seed, with_prefixes, writes, in_list)
    if whole.table is not None:
        raise InputError(
            f"{scenario.classes[sharing[0]].name}.trace: the sessions of {whole.told and whole.told['file']} cannot be"
            " split by share; give a class of its own the trace, or traffic.trace.sessions=open"
        )
    bounds = np.cumsum([scenario.classes[i].share for i in sharing])
    u = generator(seed, "share", SHARED).random(len(whole.arrival_ps)) * bounds[-1]
    chosen = np.minimum(np.searchsorted(bounds, u, side="right"), len(sharing) - 1)
    return {i: whole.where(chosen == place) for place, i in enumerate(sharing)}


def _check_timed(traffic: TrafficClass, trace: Trace) -> None:
    if traffic.spikes:
        allowed = f"no spikes: {trace.file} has its own arrival times"
        raise InputError(problem(f"{traffic.name}.spikes", len(traffic.spikes), allowed))


def _check_lengths_only(trace: Trace, why: str) -> None:
    """Raise InputError for every option that needs arrival times, which are not used."""
    plain = Trace(file=trace.file)
    names = ("start_s", "end_s", "speed_up", "scale", "repeat", "sort")
    changed = [name for name in names if getattr(trace, name) != getattr(plain, name)]
    if changed:
        allowed = f"nothing with {trace.file}: {why}"
        raise InputError([problem(f"trace.{name}", getattr(trace, name), allowed) for name in changed])


def to_ps(times_s: NDArray[np.float64], end_s: float) -> NDArray[np.int64]:
    """Rising seconds as rising whole picoseconds in [0, end_s)."""
    times_ps = np.rint(times_s * PS_PER_S).astype(np.int64)
    times_ps = np.maximum.accumulate(times_ps)  # rounding must not turn two neighbours round
    return times_ps[: np.searchsorted(times_ps, s_to_ps(end_s), side="left")]
