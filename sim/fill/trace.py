"""The requests of a run, and what they have in common: columns that become the trace."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim.errors import InputError
from sim.model.tables.served_model import SESSIONS_MAX
from sim.model.tables.traffic import NOBODY_FOLLOWS, Line
from sim.units import NEVER


class Chains(NamedTuple):
    """What prompts begin with: a tree of segments, and the path of each request through it.

    Tokens [0, shared) of a request lie on the path from the root to its leaf segment; those behind are its own. A
    segment begins where its parent ends; siblings begin at the same token and differ in it. A leaf may reach beyond
    what a request has of it.
    """

    leaf: np.ndarray  # (request,) −1 = none
    shared_tokens: np.ndarray  # (request,) of prompt and answer
    parent: np.ndarray  # (segment,) −1 = it begins prompts
    start: np.ndarray  # (segment,) the token at which it begins


class Turns(NamedTuple):
    """Which request follows which: in a session, once its user has read and thought or its agent has run a tool; or which
    line a client that is free takes the next request of.
    """

    after: np.ndarray  # (request,) the one that follows it, −1 = none, −2 − line = the first in that line
    pause_ps: np.ndarray  # (request,) between its end and the arrival of that one, ≥ 1
    tokens: np.ndarray  # (request,) of its session, up to and with this request


class Traffic(NamedTuple):
    """Requests sorted by arrival; the row number is a request's identity. Those that follow another one in a session in
    closed loop arrive NEVER by themselves.
    """

    arrival_ps: np.ndarray
    prompt_tokens: np.ndarray
    output_tokens: np.ndarray
    class_id: np.ndarray
    session_id: np.ndarray | None = None  # −1 = none; None = no request belongs to a session
    chains: Chains | None = None  # what prompts have in common, where it matters
    content_id: np.ndarray | None = None  # what each request asks for, −1 = nothing that is ever asked again
    turns: Turns | None = None  # None: every request arrives by itself


def words_of(chains: Chains | None) -> list[np.ndarray]:
    """The words that requests and segments take behind the trace: none where no prompt shares anything."""
    if chains is None:
        return []
    leaf, shared, parent, start = (np.asarray(column, dtype=np.int64) for column in chains)
    return [leaf, shared, np.stack([parent, start], axis=1).reshape(-1)]


def places_of(chains: Chains | None, at: int) -> list[int]:
    """Where the leaves, the shared tokens and the segments begin behind `at`, and how many segments there are."""
    if chains is None:
        return [0, 0, 0, 0]
    n = len(chains.leaf)
    return [at, at + n, at + 2 * n, len(chains.parent)]


def checked_sessions(session_id: np.ndarray) -> np.ndarray:
    """The session of each request; InputError where a number is out of range."""
    for wrong in session_id[(session_id < -1) | (session_id > SESSIONS_MAX)][:1]:
        raise InputError(f"traffic: a session number of {wrong}; allowed: -1 (none) to {SESSIONS_MAX}")
    return np.asarray(session_id, dtype=np.int64)


def checked_turns(turns: Turns, arrival_ps: np.ndarray) -> np.ndarray:
    """The turns as words, (request · Turn.SIZE,); InputError where one follows that arrives by itself, or two."""
    after, pause_ps, tokens = (np.asarray(column, dtype=np.int64) for column in turns)
    follows = np.bincount(after[after >= 0], minlength=len(arrival_ps))
    waits = (after < NOBODY_FOLLOWS) & (arrival_ps == NEVER)
    for i in np.flatnonzero(((follows > 0) | waits) != (arrival_ps == NEVER))[:1]:
        raise InputError(f"traffic: request {i} arrives by itself and follows another one, or does neither")
    for i in np.flatnonzero(follows > 1)[:1]:
        raise InputError(f"traffic: request {i} follows two others")
    return np.stack([after, np.maximum(pause_ps, 1), tokens], axis=1).reshape(-1)


def lines_of(turns: Turns, arrival_ps: np.ndarray) -> np.ndarray:
    """The lines of closed loops as records, (line,); InputError where the requests of one are not side by side."""
    after = np.asarray(turns.after, dtype=np.int64)
    lines = Line.rows(np.zeros((-min(int(np.min(after, initial=0)), -1) - 1) * Line.SIZE, dtype=np.int64))
    for number, row in enumerate(lines):
        waiting = np.flatnonzero((after == -2 - number) & (arrival_ps == NEVER))
        if len(waiting):
            row["first"], row["n"] = waiting[0], len(waiting)
        if len(waiting) and waiting[-1] - waiting[0] != len(waiting) - 1:
            raise InputError(f"traffic: the requests of line {number} do not stand side by side")
    return lines
