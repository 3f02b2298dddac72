"""The one table of requests that a run is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.fill.trace import Chains, Turns
from sim.model.tables.traffic import TOKENS_MAX
from sim.scenario.limits import Caps
from sim.scenario.scenario import Scenario
from sim.scenario.traffic import TrafficClass
from sim.units import s_to_ps
from sim.workload.calls import Calls, is_written, make_calls, shared_arrivals
from sim.workload.lengths import lengths_of_seeds, make_lengths
from sim.workload.loops import in_lines, line_number
from sim.workload.popularity import first_asked, make_contents
from sim.workload.prefix import cut, joined, picked, same_beginning
from sim.workload.sessions import joined_turns, make_sessions

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


def capped(requests: Requests, caps: Caps) -> Requests:
    """Prompts truncated and answers clamped to the most that a class allows; what is refused stays as it is."""
    prompt, output = requests.prompt_tokens, requests.output_tokens
    if caps.input_tokens is not None and caps.long_input == "truncate":
        prompt = np.minimum(prompt, caps.input_tokens).astype(np.int32)
    if caps.output_tokens is not None and caps.long_output == "clamp":
        output = np.minimum(output, caps.output_tokens).astype(np.int32)
    chains = requests.chains and cut(requests.chains, prompt, output)
    return requests._replace(prompt_tokens=prompt, output_tokens=output, chains=chains)


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
