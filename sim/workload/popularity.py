"""What each request asks for, where the same is asked more than once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.scenario.popularity import Popularity
from sim.workload.streams import generator

Ints = NDArray[np.int64]
OWN = -1  # asks something that nobody else asks


def make_contents(popularity: Popularity, n: int, seed: int, name: str) -> Ints:
    """What the first `n` requests of a class ask for, numbered in the order in which it is first asked, or OWN.

    Request i's draws do not depend on `n`, and a more popular catalogue leaves alone who asks something of its own.
    """
    weights = np.arange(1, popularity.catalogue + 1, dtype=np.float64) ** -popularity.exponent
    bounds = np.cumsum(weights)
    u = generator(seed, "content", name).random(n) * bounds[-1]
    rank = np.minimum(np.searchsorted(bounds, u, side="right"), popularity.catalogue - 1)
    shared = generator(seed, "cacheable", name).random(n) < popularity.cacheable
    contents = np.full(n, OWN, dtype=np.int64)
    contents[shared] = by_first(rank[shared])
    return contents


def by_first(values: NDArray[np.intp]) -> Ints:
    """The values renumbered 0, 1, … in the order in which they first come."""
    _, first, place = np.unique(values, return_index=True, return_inverse=True)
    number = np.empty(len(first), dtype=np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    return number[place]


def first_asked(contents: Ints) -> NDArray[np.intp]:
    """For each request the place of the first that asked the same: its own where nobody did before."""
    found = np.arange(len(contents))
    shared = np.flatnonzero(contents != OWN)
    _, first, place = np.unique(contents[shared], return_index=True, return_inverse=True)
    found[shared] = shared[first][place]
    return found
