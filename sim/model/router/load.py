"""How many requests ready replicas hold, and which of them holds the fewest.

A router looks at a list of ready replicas: all of a served model's, or some of them (`Route`). It begins with a replica
that is drawn for the attempt, continues to the end of the list and from its start, and takes the first of the best.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.rng import STREAM_TIE, draw_below


@jit
def outstanding_of(state, r):
    """Requests waiting or running at a replica."""
    return state.replica[r].n_wait + state.replica[r].n_run


@jit
def first_looked_at(params, i, attempt, n):
    """The place in a list of n ready replicas at which the router begins to look for an attempt at request i."""
    return draw_below(params.seed, STREAM_TIE, i, attempt, n) if n > 1 else 0


@jit
def next_looked_at(j, n):
    """The place in a list of n behind place j; the first behind the last."""
    return j + 1 if j + 1 < n else 0


@jit_call
def total_outstanding(state, ready, n):
    """Requests waiting or running at the first n replicas of a list."""
    total = 0
    for j in range(n):
        total += outstanding_of(state, ready[j])
    return total


@jit_call
def least_outstanding(params, state, route):
    """The replica of the list that holds the fewest requests."""
    ready = state.ready[route.first :]
    j = first_looked_at(params, route.request, route.attempt, route.n)
    best = ready[j]
    for _ in range(route.n - 1):
        j = next_looked_at(j, route.n)
        if outstanding_of(state, ready[j]) < outstanding_of(state, best):
            best = ready[j]
    return best


@jit_call
def place_above(ready, n, after):
    """The place in a list of n of the first replica above `after`, or n."""
    low = 0
    high = n
    while low < high:
        middle = (low + high) >> 1
        if ready[middle] > after:
            high = middle
        else:
            low = middle + 1
    return low


@jit
def is_listed(ready, n, r):
    """Whether replica r is in a list of n."""
    j = place_above(ready, n, r - 1)
    return j < n and ready[j] == r
