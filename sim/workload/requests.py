"""The one table of requests that a run is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError, problem
from sim.fill.trace import Chains, Turns
from sim.model.tables.traffic import TOKENS_MAX
from sim.scenario.arrivals import Concurrency
from sim.scenario.limits import Caps
from sim.scenario.scenario import Scenario
from sim.scenario.trace import Trace
from sim.scenario.traffic import TrafficClass
from sim.units import PS_PER_S, s_to_ps
from sim.workload.arrivals import arrival_times_s
from sim.workload.formats import TraceRows
from sim.workload.lengths import lengths_of_seeds, make_lengths
from sim.workload.loops import Line, in_lines, line_number, loop_calls
from sim.workload.popularity import first_asked, make_contents
from sim.workload.prefix import cut, joined, picked, recorded_chains, same_beginning
from sim.workload.readers import read_trace
from sim.workload.recorded import replay_copies
from sim.workload.recorded_sessions import begins_by_itself, needs_sessions, play, recorded_starts
from sim.workload.sessions import SessionTable, joined_turns, make_sessions
from sim.workload.streams import generator

SHARED = "shared arrivals"  # no class can be called so
NO_TIMES = "it has no arrival times, arrivals come from `arrivals`"


Lengths = tuple[NDArray[np.int32], NDArray[np.int32]]  # of prompts and answers


class Requests(NamedTuple):
    """Sorted by (arrival_ps, class_id, order within the class); the row number is the request's id."""

    arrival_ps: NDArray[
        np.int64
    ]  # (request,) in [0, duration), or NEVER where one follows another in a session
    prompt_tokens: NDArray[np.int32]  # (request,) ≥ 1
    output_tokens: NDArray[np.int32]  # (request,) ≥ 0; 0 is an embedding
    class_id: NDArray[np.int32]  # (request,) index into scenario.classes
    session_id: NDArray[np.int64] | None = None  # (request,) −1 = none; None: no request belongs to one
    chains: Chains | None = None  # what prompts begin with, where a prefix cache asks
    content_id: NDArray[np.int64] | None = (
        None  # (request,) what it asks for, −1 = its own; None: each its own
    )
    turns: Turns | None = None  # which request follows which in sessions, where there are any
    traces: dict[str, dict[str, Any]] | None = None  # class → how its recording was read


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


def make_requests(scenario: Scenario, seed: int, in_list: Mapping[str, int] | None = None) -> Requests:
    """All requests of a run: the same for the same (scenario, seed), and one class never changes another's.

    `in_list` says of closed loops that go on until the end how many requests to have ready, by the name of the (first)
    class. Raise InputError when a trace cannot be used or when there would be too many requests.
    """
    return requests_of_seeds(scenario, [seed], in_list)[0]


def requests_of_seeds(
    scenario: Scenario, seeds: Sequence[int], in_list: Mapping[str, int] | None = None
) -> list[Requests]:
    """The requests of a run with each of some seeds."""
    is_cached = any(pool.runtime.prefix_caching for pool in scenario.pools)
    calls = [_all_calls(scenario, seed, is_cached, in_list) for seed in seeds]
    lengths = [
        _lengths_of(traffic, [of_seed[i] for of_seed in calls], seeds)
        for i, traffic in enumerate(scenario.classes)
    ]
    return [
        _put_together(scenario, seed, found, of_seed, is_cached)
        for seed, found, of_seed in zip(seeds, calls, zip(*lengths, strict=True), strict=True)
    ]


def _all_calls(
    scenario: Scenario, seed: int, is_cached: bool, in_list: Mapping[str, int] | None
) -> list[Calls]:
    """The calls of each class."""
    shared = shared_arrivals(scenario, seed, is_cached, in_list)
    return [
        shared.get(i)
        or make_calls(traffic, scenario.duration_s, seed, is_cached, is_written(scenario, traffic), in_list)
        for i, traffic in enumerate(scenario.classes)
    ]


def _lengths_of(traffic: TrafficClass, calls: Sequence[Calls], seeds: Sequence[int]) -> list[Lengths | None]:
    """How long the requests of a class are with each seed; None where calls, or sessions, say it themselves."""
    asked = [i for i, found in enumerate(calls) if needs_lengths(traffic, found)]
    made = lengths_of_seeds(traffic, [len(calls[i].arrival_ps) for i in asked], [seeds[i] for i in asked])
    by_place = dict(zip(asked, made, strict=True))
    return [by_place.get(i) for i in range(len(calls))]


def needs_lengths(traffic: TrafficClass, calls: Calls) -> bool:
    """Whether the lengths of a class's requests are drawn one by one from its distributions."""
    return calls.table is None and traffic.sessions is None and calls.lengths is None


def _put_together(
    scenario: Scenario, seed: int, calls: list[Calls], lengths: Sequence[Lengths | None], is_cached: bool
) -> Requests:
    classes = scenario.classes
    parts = []
    for i, (traffic, found, drawn) in enumerate(zip(classes, calls, lengths, strict=True)):
        known = found if drawn is None else found._replace(lengths=drawn)
        part = capped(class_requests(traffic, i, scenario.duration_s, seed, known, is_cached), traffic.caps)
        parts.append(
            part if found.line is None else part._replace(turns=found.line.turns(line_number(classes, i)))
        )
    if len(parts) == 1:
        return parts[0]
    numbers = [len(part.arrival_ps) for part in parts]
    return merge(parts, in_lines(classes, [found.line for found in calls], numbers))


def class_requests(
    traffic: TrafficClass,
    class_id: int,
    duration_s: float,
    seed: int,
    calls: Calls | None = None,
    with_prefixes: bool = False,
    writes: bool = False,
) -> Requests:
    """The requests of one class alone; `calls` are those that it has from a process shared with others.

    What prompts begin with is found out only where it is asked for. With `writes`, answers have a token.
    """
    calls = calls or make_calls(traffic, duration_s, seed, with_prefixes, writes)
    traces = calls.told and {traffic.name: calls.told}
    if calls.table is not None:
        classes = np.full(len(calls.table.arrival_ps), class_id, dtype=np.int32)
        return Requests(class_id=classes, traces=traces, **calls.table._asdict())
    if traffic.sessions is not None:
        made = make_sessions(traffic, calls.arrival_ps, s_to_ps(duration_s), seed, with_prefixes)
        classes = np.full(len(made.arrival_ps), class_id, dtype=np.int32)
        return Requests(class_id=classes, **made._asdict())
    n = len(calls.arrival_ps)
    prompt, output = calls.lengths or make_lengths(traffic, n, seed)
    classes = np.full(n, class_id, dtype=np.int32)
    contents = None
    if traffic.popularity is not None:
        contents = make_contents(traffic.popularity, n, seed, traffic.name)
        first = first_asked(contents)
        prompt, output = prompt[first], output[first]
    chains = calls.chains
    if traffic.system_prompt_tokens:
        prompt = np.minimum(prompt.astype(np.int64) + traffic.system_prompt_tokens, TOKENS_MAX).astype(
            np.int32
        )
        chains = same_beginning(n, traffic.system_prompt_tokens) if with_prefixes else None
    return Requests(
        calls.arrival_ps,
        prompt,
        output,
        classes,
        calls.session_id,
        chains,
        content_id=contents,
        traces=traces,
    )


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


def capped(requests: Requests, caps: Caps) -> Requests:
    """Prompts truncated and answers clamped to the most that a class allows; what is refused stays as it is."""
    prompt, output = requests.prompt_tokens, requests.output_tokens
    if caps.input_tokens is not None and caps.long_input == "truncate":
        prompt = np.minimum(prompt, caps.input_tokens).astype(np.int32)
    if caps.output_tokens is not None and caps.long_output == "clamp":
        output = np.minimum(output, caps.output_tokens).astype(np.int32)
    chains = requests.chains and cut(requests.chains, prompt, output)
    return requests._replace(prompt_tokens=prompt, output_tokens=output, chains=chains)


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


def merge(parts: list[Requests], in_line: NDArray[np.int64] | None = None) -> Requests:
    """Several classes' requests as one table; at equal times the earlier part comes first, and classes that share the
    list of a closed loop come in its order: `in_line`, (request, 2), is of each part's requests the first class of those
    and the place in the list.
    """
    arrival, prompt, output, klass = (
        np.concatenate(column) for column in zip(*(part[:4] for part in parts), strict=True)
    )
    order = np.argsort(arrival, kind="stable") if in_line is None else np.lexsort((*in_line.T[::-1], arrival))
    chains = joined([part.chains for part in parts], [len(part.arrival_ps) for part in parts])
    chains = chains and picked(chains, order)
    lengths = [len(part.arrival_ps) for part in parts]
    sessions, contents = (
        numbered_through([getattr(part, name) for part in parts], lengths)
        for name in ("session_id", "content_id")
    )
    return Requests(
        arrival[order],
        prompt[order],
        output[order],
        klass[order],
        None if sessions is None else sessions[order],
        chains,
        None if contents is None else contents[order],
        joined_turns([part.turns for part in parts], lengths, order),
        {name: told for part in parts for name, told in (part.traces or {}).items()} or None,
    )


def numbered_through(parts: list[NDArray[np.int64] | None], lengths: list[int]) -> NDArray[np.int64] | None:
    """Numbers that each class gives from 0 on, different from class to class; −1, and who gives none, is none."""
    if all(part is None for part in parts):
        return None
    columns, first = [], 0
    for part, n in zip(parts, lengths, strict=True):
        if part is None:
            columns.append(np.full(n, -1, dtype=np.int64))
            continue
        columns.append(np.where(part >= 0, part + first, -1))
        first += int(part.max(initial=-1)) + 1
    return np.concatenate(columns)


def to_ps(times_s: NDArray[np.float64], end_s: float) -> NDArray[np.int64]:
    """Rising seconds as rising whole picoseconds in [0, end_s)."""
    times_ps = np.rint(times_s * PS_PER_S).astype(np.int64)
    times_ps = np.maximum.accumulate(times_ps)  # rounding must not turn two neighbours round
    return times_ps[: np.searchsorted(times_ps, s_to_ps(end_s), side="left")]
