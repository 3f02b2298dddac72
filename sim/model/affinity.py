"""Routers that keep what belongs together in one place: a session's replica, and a ring of hashes.

Both let nobody have more than ⌈factor · mean⌉ requests, the mean of the replicas they choose among with the request to
be routed counted in: Mirrokni, Thorup and Zadimoghaddam, "Consistent hashing with bounded loads", SODA 2018.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.layout import (
    G_FACTOR_MILLI,
    G_FIRST,
    G_LOAD_MIN,
    G_N_RING,
    G_RING,
    G_SIZE,
    P_SEED,
    PLACE_BITS,
    PLACES_MAX,
    R_INDEX,
    R_SIZE,
    SESSION_SIZE,
)
from sim.model.load import is_listed, least_outstanding, outstanding_of, total_outstanding
from sim.model.request import session_of
from sim.rng import STREAM_KEY, draw


@jit
def most_of(p, st, g, at, n):
    """How many requests a replica of a list may hold once the next one has been routed."""
    factor = p.m[p.group + g * G_SIZE + G_FACTOR_MILLI]
    return (factor * (total_outstanding(st, at, n) + 1) + 1000 * n - 1) // (1000 * n)


# ---- sessions ----------------------------------------------------------------------
@jit_call
def session_affinity(p, st, g, i, attempt, at, n):
    """The replica that had the session's last request, if it is still there and not overloaded; else the least loaded."""
    session = session_of(p, i)
    if session < 0:
        return least_outstanding(p, st, i, attempt, at, n)
    so = st.session + session * SESSION_SIZE
    r = st.m[so] - 1
    if r < 0 or not is_home(p, st, g, r, st.m[so + 1], at, n):
        r = least_outstanding(p, st, i, attempt, at, n)
    st.m[so] = r + 1
    st.m[so + 1] = st.m[st.rep + r * R_SIZE + R_INDEX]
    return r


@jit
def is_home(p, st, g, r, index, at, n):
    """Whether replica r, ready, in the list and since its index-th start the same one, has room for one more."""
    if not is_listed(st, at, n, r) or st.m[st.rep + r * R_SIZE + R_INDEX] != index:
        return False
    held = outstanding_of(st, r)
    return held < p.m[p.group + g * G_SIZE + G_LOAD_MIN] or held < most_of(p, st, g, at, n)


# ---- the ring ----------------------------------------------------------------------
@jit
def key_word(p, i):
    """Where request i stands on the ring: by its session, or alone."""
    session = session_of(p, i)
    if session < 0:
        h = draw(p.m[P_SEED], STREAM_KEY, 1, i)
    else:
        h = draw(p.m[P_SEED], STREAM_KEY, 0, session)
    return (h >> PLACE_BITS) << PLACE_BITS


@jit
def ring_place(p, ring, n, word):
    """The first of a ring's n virtual nodes at or after a word, clockwise."""
    low = 0
    high = n
    while low < high:
        middle = (low + high) >> 1
        if p.m[ring + middle] >= word:
            high = middle
        else:
            low = middle + 1
    return low if low < n else 0


@jit_call
def consistent_hash(p, st, g, i, at, n):
    """Clockwise from the request's key: the first replica of the list with room for one more."""
    go = p.group + g * G_SIZE
    ring = p.m[go + G_RING]
    nodes = p.m[go + G_N_RING]
    most = most_of(p, st, g, at, n)
    j = ring_place(p, ring, nodes, key_word(p, i))
    for _ in range(nodes):
        r = p.m[go + G_FIRST] + (p.m[ring + j] & PLACES_MAX)
        if outstanding_of(st, r) < most and is_listed(st, at, n, r):
            return r
        j = j + 1 if j + 1 < nodes else 0
    return st.m[at]  # never: somebody holds no more than the mean
