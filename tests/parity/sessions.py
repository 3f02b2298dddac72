"""Closed loops for the fleets made to hurt: turns that follow one another, clients that work off lines of requests."""

from __future__ import annotations

import numpy as np

from sim.fill.rows import RunRow
from sim.fill.trace import Traffic, Turns
from sim.units import NEVER


def in_turns(seed: int, traffic: Traffic, grid_ps: int) -> Traffic:
    """The same requests, of which some now follow another one, and come last in the table."""
    rng = np.random.default_rng([seed, 7])
    n = len(traffic.arrival_ps)
    session = rng.integers(0, max(1, n // int(rng.integers(2, 8))), n)
    alone = rng.random(n) < rng.choice([0.0, 0.3, 0.8])
    after, tokens = np.full(n, -1), np.zeros(n, dtype=np.int64)
    last: dict[int, int] = {}
    for i in np.flatnonzero(~alone):
        before = last.get(int(session[i]))
        tokens[i] = traffic.prompt_tokens[i] + traffic.output_tokens[i]
        if before is not None:
            after[before] = i
            tokens[i] += tokens[before]
        last[int(session[i])] = int(i)
    arrival = np.array(traffic.arrival_ps)
    arrival[after[after >= 0]] = NEVER
    order = np.argsort(arrival, kind="stable")
    place = np.empty(n, dtype=np.int64)
    place[order] = np.arange(n)
    pause = rng.integers(0, 9, n) * grid_ps * rng.integers(0, 2, n)
    turns = Turns(np.where(after >= 0, place[after], -1)[order], pause[order], tokens[order])
    return reordered(traffic, arrival, order, turns)


def reordered(traffic: Traffic, arrival: np.ndarray, order: np.ndarray, turns: Turns) -> Traffic:
    """The requests in another order, with other arrivals, and these turns, which are in that order."""
    chains = traffic.chains
    if chains is not None:
        chains = chains._replace(leaf=chains.leaf[order], shared_tokens=chains.shared_tokens[order])
    columns = {
        name: column[order]
        for name in ("prompt_tokens", "output_tokens", "class_id", "session_id", "content_id")
        if (column := getattr(traffic, name)) is not None
    }
    return traffic._replace(arrival_ps=arrival[order], chains=chains, turns=turns, **columns)


def has_lines(seed: int) -> bool:
    """Whether the fleet of a seed has load generators: drawn apart, so that those without are as they were."""
    return bool(np.random.default_rng([seed, 9]).integers(0, 3) == 0)


def in_lines(seed: int, traffic: Traffic, run: RunRow, grid_ps: int) -> tuple[Traffic, RunRow]:
    """The same requests, of which some or all now stand in lines that clients work off; where all do, the run may be over
    with the last of them.
    """
    rng = np.random.default_rng([seed, 8])
    n, n_line = len(traffic.arrival_ps), int(rng.integers(1, 4))
    all_of_them = bool(rng.integers(0, 2))
    line = np.where(all_of_them | (rng.random(n) < 0.7), rng.integers(0, n_line, n), -1)
    clients = rng.integers(1, 9, n_line)
    place = np.array([np.count_nonzero(line[:i] == line[i]) for i in range(n)])
    waits = (line >= 0) & (place >= clients[np.maximum(line, 0)])
    arrival = np.where(waits, NEVER, traffic.arrival_ps)
    order = np.lexsort((np.arange(n), np.where(waits, line, 0), arrival))
    pause = rng.integers(0, 5, n) * grid_ps * rng.integers(0, 2, n)
    turns = Turns(np.where(line >= 0, -2 - line, -1)[order], pause[order], np.zeros(n, dtype=np.int64))
    longer_ps = grid_ps * int(rng.integers(0, 600))
    run = run._replace(
        duration_ps=run.duration_ps + longer_ps,
        end_ps=run.end_ps + longer_ps,
        closes=int(all_of_them and rng.integers(0, 4) > 0),
    )
    return reordered(traffic, arrival, order, turns), run
