"""Sessions in closed loop for the fleets made to hurt: turns that follow one another, pauses of no time at all."""

from __future__ import annotations

import numpy as np

from sim.rows import Traffic, Turns
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
    chains = traffic.chains
    if chains is not None:
        chains = chains._replace(leaf=chains.leaf[order], shared_tokens=chains.shared_tokens[order])
    columns = {
        name: column[order]
        for name in ("prompt_tokens", "output_tokens", "class_id", "session_id", "content_id")
        if (column := getattr(traffic, name)) is not None
    }
    return traffic._replace(arrival_ps=arrival[order], chains=chains, turns=turns, **columns)
