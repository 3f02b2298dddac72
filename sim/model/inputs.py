"""What reaches the fleet from outside: timers of clients, releases of held requests, new requests."""

from __future__ import annotations

from sim.jit import jit
from sim.model.blame import held_from
from sim.model.gateway import enqueue, find_replica
from sim.model.holding import hold, release
from sim.model.layout import (
    G_HOLD_MAX,
    G_SIZE,
    GATEWAY_FULL,
    H_ARRIVALS,
    H_HELD,
    H_SIZE,
    K_GROUP,
    K_SIZE,
    NEED_SLOTS,
    P_ATTEMPTS,
    P_N_REQUEST,
    S_CURSOR,
    S_FREE,
    S_NEXT_IN,
    S_RELEASE,
    S_STATUS,
    TOO_LONG,
)
from sim.model.patience import on_timer
from sim.model.request import class_of, offer, reject, take_slot
from sim.model.router import n_fitting_pools
from sim.model.timers import next_timer_ps
from sim.model.tries import take_request
from sim.units import NEVER


@jit
def next_arrival_ps(p, st):
    """When the next request of the table arrives, or NEVER."""
    cursor = st.m[S_CURSOR]
    return p.trace[cursor] if cursor < p.m[P_N_REQUEST] else NEVER


@jit
def set_next_in(p, st):
    """When the gateway acts next of its own accord: a timer, a release, an arrival."""
    st.m[S_NEXT_IN] = min(next_arrival_ps(p, st), min(st.m[S_RELEASE], next_timer_ps(st)))


@jit
def route_arrival(p, st, i, t):
    """Request i, which has a single attempt that nobody gives up, is routed, held or rejected at t."""
    g = p.m[p.klass + class_of(p, i) * K_SIZE + K_GROUP]
    st.m[st.group + g * H_SIZE + H_ARRIVALS] += 1
    fitting = n_fitting_pools(p, g, i)
    if fitting == 0:
        reject(p, st, i, t, TOO_LONG)
        return
    r = find_replica(p, st, g, i, 0, fitting, t)
    if r >= 0:
        enqueue(p, st, g, r, take_slot(p, st, i, t), t)
    elif st.m[st.group + g * H_SIZE + H_HELD] < p.m[p.group + g * G_SIZE + G_HOLD_MAX]:
        s = take_slot(p, st, i, t)
        held_from(st, g, s, t)
        hold(p, st, g, s)
    else:
        reject(p, st, i, t, GATEWAY_FULL)


@jit
def on_arrival(p, st, t):
    """The next request of the table arrives at t."""
    i = st.m[S_CURSOR]
    if st.m[S_FREE] < 0:
        st.m[S_STATUS] = NEED_SLOTS  # nothing has been changed: the host makes room and the loop goes on
        return
    st.m[S_CURSOR] = i + 1
    offer(p, st, i, t)
    if p.m[P_ATTEMPTS] == 1:
        take_request(p, st, i, t)
    else:
        route_arrival(p, st, i, t)


@jit
def on_input(p, st, t):
    """The gateway acts at t: the first timer goes off, held requests are released, or the next request arrives."""
    if next_timer_ps(st) <= t:
        on_timer(p, st, t)
    elif st.m[S_RELEASE] <= t:
        release(p, st, t)
    elif next_arrival_ps(p, st) <= t:
        on_arrival(p, st, t)
    set_next_in(p, st)
