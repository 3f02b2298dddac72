"""Sessions made before a run starts: all their calls with their lengths, their pauses, and what their prompts share.

When a call comes depends on the answer before it, so only the first of a session has an arrival time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError
from sim.fill.trace import Chains, Turns
from sim.model.tables.traffic import TOKENS_MAX
from sim.scenario.dist import Dist
from sim.scenario.sessions import Sessions
from sim.scenario.traffic import TrafficClass
from sim.units import NEVER, PS_PER_S
from sim.workload.dists import sample
from sim.workload.loops import jitter_ps
from sim.workload.streams import generator

Ints = NDArray[np.int64]
CALLS_MAX = 50_000_000  # of a class, those that come too late for the run included


class Calls(NamedTuple):
    """The calls of all sessions, one session after the other."""

    session: Ints  # (call,)
    is_first: NDArray[np.bool_]  # of its session
    pause_ps: Ints  # between the answer before it and the call, 0 for a first one
    prompt: Ints  # tokens, with all that was said before
    output: Ints
    place: Ints  # what tells the call from all others: its row in a recording


class SessionTable(NamedTuple):
    """The calls as requests: the first of every session by arrival, then the others."""

    arrival_ps: Ints  # NEVER for those that follow another one
    prompt_tokens: NDArray[np.int32]
    output_tokens: NDArray[np.int32]
    session_id: Ints
    chains: Chains | None
    turns: Turns | None  # None: nobody waits for an answer


def make_sessions(
    traffic: TrafficClass, starts_ps: Ints, duration_ps: int, seed: int, with_prefixes: bool
) -> SessionTable:
    """The requests of the sessions that begin at `starts_ps`; InputError where there would be too many."""
    assert traffic.sessions is not None
    calls = make_calls(traffic, traffic.sessions, len(starts_ps), seed)

    def chains(kept: Calls) -> Chains | None:
        return make_chains(traffic.system_prompt_tokens, kept, len(starts_ps)) if with_prefixes else None

    return session_table(calls, starts_ps, duration_ps, chains)


def session_table(
    calls: Calls, starts_ps: Ints, duration_ps: int, chains_of: Callable[[Calls], Chains | None]
) -> SessionTable:
    """The calls of sessions that begin at `starts_ps` as requests, but for those that come too late for the run.

    `chains_of` says what the prompts of the calls that are left have in common.
    """
    calls = where(calls, can_come(calls, starts_ps, duration_ps))
    arrival = np.where(calls.is_first, starts_ps[calls.session], NEVER)
    order = np.argsort(arrival, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    goes_on = np.append(~calls.is_first[1:], False)[: len(order)]
    after = np.where(goes_on, np.append(place[1:], -1)[: len(order)], -1)
    pause = np.where(goes_on, np.append(calls.pause_ps[1:], 0)[: len(order)], 0)
    spent = running_total(calls.prompt + calls.output, calls.is_first)
    chains = chains_of(calls)
    if chains is not None:
        chains = chains._replace(leaf=chains.leaf[order], shared_tokens=chains.shared_tokens[order])
    return SessionTable(
        arrival[order],
        calls.prompt[order].astype(np.int32),
        calls.output[order].astype(np.int32),
        calls.session[order],
        chains,
        Turns(after[order], pause[order], spent[order]),
    )


def make_calls(traffic: TrafficClass, sessions: Sessions, n: int, seed: int) -> Calls:
    """All calls of `n` sessions, as far as their contexts have room."""
    turns = drawn(sessions.turns, n, seed, "session_turns", traffic.name, 1)
    n_turn = checked_calls(traffic.name, int(turns.sum()))
    calls = drawn(sessions.calls_per_turn, n_turn, seed, "calls_per_turn", traffic.name, 1)
    n_call = checked_calls(traffic.name, int(calls.sum()))
    is_turn = np.zeros(n_call, dtype=bool)
    is_turn[np.cumsum(calls) - calls] = True
    session = np.repeat(np.arange(n), turns)  # of a turn
    first_turn = np.append(True, np.diff(session) > 0) if len(session) else np.zeros(0, dtype=bool)
    is_first = np.zeros(n_call, dtype=bool)
    is_first[is_turn] = first_turn
    answers = np.append(is_turn[1:], True)[:n_call]  # the last call of a turn
    session = np.repeat(session, calls)

    def of(dist: Dist, what: str, least: int) -> Ints:
        return drawn(dist, n_call, seed, what, traffic.name, least)

    new = np.where(
        is_turn, of(traffic.prompt_tokens, "prompt_tokens", 1), of(sessions.tool_tokens, "tool_tokens", 0)
    )
    output = of(traffic.output_tokens, "output_tokens", 0)
    if sessions.call_tokens is not None:
        output = np.where(answers, output, of(sessions.call_tokens, "call_tokens", 1))
    if traffic.caps.output_tokens is not None and traffic.caps.long_output == "clamp":
        output = np.minimum(output, traffic.caps.output_tokens)
    pause_s = np.where(
        is_turn,
        sample(sessions.think_s, uniforms(n_call, seed, "think", traffic.name)),
        sample(sessions.tool_s, uniforms(n_call, seed, "tool", traffic.name)),
    )
    late_ps = jitter_ps(sessions.jitter_s, n_call, seed, traffic.name)
    pause = np.where(is_first, 0, np.rint(np.clip(pause_s, 0, NEVER / PS_PER_S / 4) * PS_PER_S) + late_ps)
    said = running_total(new + output, is_first)
    made = Calls(
        session,
        is_first,
        pause.astype(np.int64),
        traffic.system_prompt_tokens + said - output,
        output,
        np.arange(n_call),
    )
    most = min(sessions.context_tokens or TOKENS_MAX, TOKENS_MAX)
    return where(made, is_first | ~reached(made.prompt + output > most, is_first))


def checked_calls(name: str, n_call: int) -> int:
    """The number again; InputError where the sessions of a class would have more calls than memory has room for."""
    if n_call > CALLS_MAX:
        raise InputError(
            f"traffic {name!r}: sessions would have about {n_call:.3g} requests; allowed: at most {CALLS_MAX:,} (fewer"
            " sessions, turns or calls_per_turn)"
        )
    return n_call


def drawn(dist: Dist, n: int, seed: int, what: str, name: str, least: int) -> Ints:
    """Whole draws of at least `least`."""
    values = np.rint(sample(dist, uniforms(n, seed, what, name)))
    return np.clip(values, least, TOKENS_MAX).astype(np.int64)


def uniforms(n: int, seed: int, what: str, name: str) -> NDArray[np.float64]:
    """Numbers in [0, 1) for one purpose of one class."""
    return generator(seed, what, name).random(n)


def where(calls: Calls, chosen: NDArray[Any]) -> Calls:
    """The calls that are chosen: a mask, or their places in order."""
    if chosen.dtype == bool and chosen.all():
        return calls
    session, is_first, *lengths = calls
    return Calls(session[chosen], is_first[chosen], *(column[chosen] for column in lengths))


def running_total(values: Ints, is_first: NDArray[np.bool_]) -> Ints:
    """Sums from the first call of each session up to and with each call."""
    total = np.cumsum(values)
    start = np.flatnonzero(is_first)
    before = np.where(start > 0, total[start - 1], 0)
    return np.asarray(total - np.repeat(before, np.diff(np.append(start, len(values)))))


def reached(marks: NDArray[np.bool_], is_first: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """True from the first mark of each session on."""
    return running_total(marks.astype(np.int64), is_first) > 0


def can_come(calls: Calls, starts_ps: Ints, duration_ps: int) -> NDArray[np.bool_]:
    """Whether a call comes before the end if every answer takes no time: if not, it never does."""
    soonest = starts_ps[calls.session] + np.minimum(
        running_total(np.minimum(calls.pause_ps, duration_ps), calls.is_first), NEVER // 2
    )
    return np.asarray(calls.is_first | ~reached(soonest >= duration_ps, calls.is_first))


def make_chains(system_tokens: int, calls: Calls, n: int) -> Chains:
    """What prompts share: the system prompt with all, everything said before with their own session."""
    has_system = int(system_tokens > 0)
    parent = np.full(has_system + n, 0 if has_system else -1, dtype=np.int64)
    start = np.full(has_system + n, system_tokens, dtype=np.int64)
    if has_system:
        parent[0], start[0] = -1, 0
    return Chains(has_system + calls.session, calls.prompt + calls.output, parent, start)


def joined_turns(parts: list[Turns | None], lengths: list[int], order: Ints) -> Turns | None:
    """Several classes' turns, their requests put in this order; None where no class has sessions."""
    if all(part is None for part in parts):
        return None
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    firsts = np.cumsum([0, *lengths])
    columns = []
    for part, n, first in zip(parts, lengths, firsts, strict=False):
        after, pause, tokens = part or (np.full(n, -1), np.zeros(n, np.int64), np.zeros(n, np.int64))
        columns.append((np.where(after >= 0, place[np.maximum(after, 0) + first], after), pause, tokens))
    return Turns(*(np.concatenate(column)[order] for column in zip(*columns, strict=True)))
