"""How much ready replicas hold, and which of them the least.

A router looks at `n` entries of the list of ready replicas from `at` on: all of a group's, or some of them. It begins
with one that is drawn for the attempt, goes on to the end and round to the others, and of equally good ones takes the
first it comes to.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.layout import P_SEED, R_N_RUN, R_N_WAIT, R_SIZE
from sim.rng import STREAM_TIE, draw_below


@jit
def outstanding_of(st, r):
    """Requests waiting or running at a replica."""
    return st.m[st.rep + r * R_SIZE + R_N_WAIT] + st.m[st.rep + r * R_SIZE + R_N_RUN]


@jit
def first_looked_at(p, i, attempt, n):
    """The place in a list of n ready replicas at which the router begins to look for an attempt at request i."""
    return draw_below(p.m[P_SEED], STREAM_TIE, i, attempt, n) if n > 1 else 0


@jit
def next_looked_at(j, at, n):
    """The entry of a list behind entry j; the first behind the last."""
    return j + 1 if j + 1 < at + n else at


@jit_call
def total_outstanding(st, at, n):
    """Requests waiting or running at all the replicas of a list."""
    total = 0
    for j in range(at, at + n):
        total += outstanding_of(st, st.m[j])
    return total


@jit_call
def least_outstanding(p, st, i, attempt, at, n):
    """The replica of a list that holds the fewest requests."""
    j = at + first_looked_at(p, i, attempt, n)
    best = st.m[j]
    for _ in range(n - 1):
        j = next_looked_at(j, at, n)
        if outstanding_of(st, st.m[j]) < outstanding_of(st, best):
            best = st.m[j]
    return best


@jit_call
def place_above(st, at, n, after):
    """The place in a list of the first replica above `after`, or n."""
    low = 0
    high = n
    while low < high:
        middle = (low + high) >> 1
        if st.m[at + middle] > after:
            high = middle
        else:
            low = middle + 1
    return low


@jit
def is_listed(st, at, n, r):
    """Whether replica r is in a list."""
    j = place_above(st, at, n, r - 1)
    return j < n and st.m[at + j] == r
