"""Closed loops of independent requests: a list of them, and how many clients work it off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.fill.trace import Turns
from sim.scenario.arrivals import Concurrency
from sim.scenario.dist import Exponential
from sim.scenario.traffic import TrafficClass
from sim.units import NEVER, PS_PER_S, s_to_ps
from sim.workload.dists import sample
from sim.workload.streams import generator

Ints = NDArray[np.int64]


class Line(NamedTuple):
    """Requests of one list, and how long after the end of each its client sends whoever is next."""

    place: Ints  # (request,) in the list
    pause_ps: Ints  # (request,) ≥ 0

    def where(self, chosen: NDArray[np.bool_]) -> Line:
        """Those of its requests that are chosen."""
        return Line(self.place[chosen], self.pause_ps[chosen])

    def turns(self, number: int) -> Turns:
        """What follows each of the requests: whoever is first in the line of this number."""
        n = len(self.place)
        return Turns(np.full(n, -2 - number), self.pause_ps, np.zeros(n, dtype=np.int64))


def loop_calls(loop: Concurrency, n: int, seed: int, name: str) -> tuple[Ints, Line]:
    """When each of `n` requests is sent, (request,) ps: the first by the clock, NEVER for those that wait; and the list."""
    place = np.arange(n, dtype=np.int64)
    ramp_ps = s_to_ps(loop.ramp_s)
    first = place < loop.max
    sent = np.where(first, np.where(first, place, 0) * (ramp_ps // loop.max), NEVER)
    return sent, Line(place, jitter_ps(loop.jitter_s, n, seed, name))


def jitter_ps(mean_s: float, n: int, seed: int, name: str) -> Ints:
    """What passes between an answer and what its client sends next, drawn for each request, (request,) ps."""
    if mean_s == 0:
        return np.zeros(n, dtype=np.int64)
    u = generator(seed, "client_jitter", name).random(n)
    return np.rint(sample(Exponential(mean=mean_s), u) * PS_PER_S).astype(np.int64)


def leader(classes: Sequence[TrafficClass], i: int) -> int:
    """The first of the classes that share the arrivals of class i."""
    if classes[i].share is None:
        return i
    return next(j for j, other in enumerate(classes) if other.share is not None)


def line_number(classes: Sequence[TrafficClass], i: int) -> int:
    """Which of the closed loops class i belongs to, counted through the classes."""
    loops = {leader(classes, j) for j, other in enumerate(classes) if isinstance(other.arrivals, Concurrency)}
    return sorted(loops).index(leader(classes, i))


def in_lines(
    classes: Sequence[TrafficClass], calls: Sequence[Line | None], lengths: Sequence[int]
) -> Ints | None:
    """The order of requests that are sent at one time, (request, 2): their class, or the first that they share a list
    with, and their place; None where no class has a list.
    """
    if all(line is None for line in calls):
        return None
    rows = [
        (np.full(n, leader(classes, i) if line else i), line.place if line else np.arange(n))
        for i, (line, n) in enumerate(zip(calls, lengths, strict=True))
    ]
    return np.concatenate([np.stack(row, axis=1) for row in rows])
