"""Routers that keep the requests of a session on one replica: one remembers it, one finds it on a ring of hashes.

Both give no replica more than ⌈factor · mean⌉ requests, the mean of the replicas they choose among with the request to
be routed counted in: Mirrokni, Thorup and Zadimoghaddam, "Consistent hashing with bounded loads", SODA 2018.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.request.in_flight import session_of
from sim.model.router.load import is_listed, least_outstanding, outstanding_of, total_outstanding
from sim.model.tables.served_model import PLACE_BITS, PLACES_MAX
from sim.rng import STREAM_KEY, draw
from sim.schema import Field, Row


class SessionAffinitySettings(Row):
    """Settings of session_affinity."""

    overload_factor_milli = Field("the most a replica may hold, times the mean", begin=1250)
    load_min = Field("a replica with fewer requests is never overloaded")


class SessionHome(Row):
    """Memory of session_affinity: where a session was last."""

    replica = Field("number of the replica + 1, 0 = nowhere yet")
    start = Field("which start of its pool that replica was")


class ConsistentHashSettings(Row):
    """Settings of consistent_hash."""

    load_factor_milli = Field("the most a replica may hold, times the mean", begin=1250)
    virtual_nodes = Field("virtual nodes of a replica place", begin=100)
    ring_at = Field(
        "where the ring starts in Params.m: hash of a virtual node, its last PLACE_BITS the replica's place"
    )
    n_ring = Field("virtual nodes on the ring, sorted")


SESSION_HOME_SIZE = SessionHome.SIZE


@jit
def most_of(state, factor, ready, n):
    """How many requests a replica of a list may hold once the next one has been routed: `factor` / 1000 · the mean."""
    return (factor * (total_outstanding(state, ready, n) + 1) + 1000 * n - 1) // (1000 * n)


# ---- sessions ----------------------------------------------------------------------
@jit_call
def session_affinity(params, state, route):
    """The replica that had the session's last request, if it is still there and not overloaded; else the least loaded."""
    session = session_of(params, route.request)
    if session < 0:
        return least_outstanding(params, state, route)
    model = params.served_model[route.served_model]
    home = SessionHome(state.router_memory, model.memory_at + session * SESSION_HOME_SIZE)
    r = home.replica - 1
    if r < 0 or not is_home(params, state, route, r, home.start):
        r = least_outstanding(params, state, route)
    home.replica = r + 1
    home.start = state.replica[r].start
    return r


@jit
def is_home(params, state, route, r, index):
    """Whether replica r is in the list, still that of its index-th start, and has room for one more request."""
    ready = state.ready[route.first :]
    if not is_listed(ready, route.n, r) or state.replica[r].start != index:
        return False
    settings = SessionAffinitySettings(params, params.served_model[route.served_model].settings_at)
    held = outstanding_of(state, r)
    return held < settings.load_min or held < most_of(state, settings.overload_factor_milli, ready, route.n)


# ---- the ring ----------------------------------------------------------------------
@jit
def key_word(params, i):
    """Where request i stands on the ring: by its session, or alone."""
    session = session_of(params, i)
    if session < 0:
        h = draw(params.seed, STREAM_KEY, 1, i)
    else:
        h = draw(params.seed, STREAM_KEY, 0, session)
    return (h >> PLACE_BITS) << PLACE_BITS


@jit
def ring_place(ring, n, word):
    """The first of a ring's n virtual nodes at or after a word, clockwise."""
    low = 0
    high = n
    while low < high:
        middle = (low + high) >> 1
        if ring[middle] >= word:
            high = middle
        else:
            low = middle + 1
    return low if low < n else 0


@jit_call
def consistent_hash(params, state, route):
    """Clockwise from the request's key: the first replica of the list with room for one more."""
    model = params.served_model[route.served_model]
    ready = state.ready[route.first :]
    settings = ConsistentHashSettings(params, model.settings_at)
    ring = params.m[settings.ring_at :]
    nodes = settings.n_ring
    most = most_of(state, settings.load_factor_milli, ready, route.n)
    j = ring_place(ring, nodes, key_word(params, route.request))
    for _ in range(nodes):
        r = model.first_replica + (ring[j] & PLACES_MAX)
        if outstanding_of(state, r) < most and is_listed(ready, route.n, r):
            return r
        j = j + 1 if j + 1 < nodes else 0
    return ready[0]  # never reached: some replica holds no more than the mean
