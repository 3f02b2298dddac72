"""How much ready replicas hold, and which of them the least.

A router looks at `n` entries of the list of ready replicas from `at` on: all of a group's, or some of them.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.layout import R_N_RUN, R_N_WAIT, R_SIZE


@jit
def outstanding_of(st, r):
    """Requests waiting or running at a replica."""
    return st.m[st.rep + r * R_SIZE + R_N_WAIT] + st.m[st.rep + r * R_SIZE + R_N_RUN]


@jit_call
def total_outstanding(st, at, n):
    """Requests waiting or running at all the replicas of a list."""
    total = 0
    for j in range(at, at + n):
        total += outstanding_of(st, st.m[j])
    return total


@jit_call
def least_outstanding(st, at, n):
    """The replica of a list that holds the fewest requests; ties to the first."""
    best = st.m[at]
    for j in range(at + 1, at + n):
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
