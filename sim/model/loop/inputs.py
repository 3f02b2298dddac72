"""What reaches the fleet from outside: timers of clients, releases of held requests, new requests."""

from __future__ import annotations

from sim.compile.jit import jit
from sim.model.clients.attempt_flow import take_request
from sim.model.clients.give_up import on_timer
from sim.model.gateway.dispatch import enqueue, find_replica
from sim.model.gateway.hold_queue import hold, release
from sim.model.record.latency_attribution import held_from
from sim.model.request.in_flight import class_of, count_arrival, reject_on_arrival, take_slot
from sim.model.router.choose import ask
from sim.model.router.fitting import n_fitting_pools
from sim.model.tables.codes import GATEWAY_FULL, NEED_SLOTS, TOO_LONG
from sim.model.timers.timer_heap import next_timer_ps
from sim.units import NEVER


@jit
def next_arrival_ps(params, state):
    """When the next request of the table arrives, or NEVER."""
    cursor = state.cursor
    return params.trace[cursor] if cursor < params.n_request else NEVER


@jit
def set_next_in(params, state):
    """Set when the gateway acts next: a timer, a release or an arrival."""
    state.next_input_ps = min(next_arrival_ps(params, state), min(state.release_ps, next_timer_ps(state)))


@jit
def route_arrival(params, state, i, t):
    """Route, hold or reject request i at t, where a request has a single attempt that nobody gives up."""
    g = params.klass[class_of(params, i)].served_model
    state.served_model[g].arrivals += 1
    fitting = n_fitting_pools(params, g, i)
    if fitting == 0:
        reject_on_arrival(params, state, i, t, TOO_LONG)
        return
    r = find_replica(params, state, ask(state, g, i, 0, t), fitting)
    if r >= 0:
        enqueue(params, state, g, r, take_slot(params, state, i, t), t)
    elif state.served_model[g].held < params.served_model[g].hold_max:
        s = take_slot(params, state, i, t)
        held_from(state, g, s, t)
        hold(params, state, g, s)
    else:
        reject_on_arrival(params, state, i, t, GATEWAY_FULL)


@jit
def on_arrival(params, state, t):
    """The next request of the table arrives at t."""
    i = state.cursor
    if state.free_slot < 0:
        state.status = NEED_SLOTS  # nothing has been changed: the host makes room and the loop goes on
        return
    state.cursor = i + 1
    count_arrival(params, state, i, t)
    if params.has_attempts == 1:
        take_request(params, state, i, t)
    else:
        route_arrival(params, state, i, t)


@jit
def on_input(params, state, t):
    """The gateway acts at t: the first timer fires, held requests are released, or the next request arrives."""
    if next_timer_ps(state) <= t:
        on_timer(params, state, t)
    elif state.release_ps <= t:
        release(params, state, t)
    elif next_arrival_ps(params, state) <= t:
        on_arrival(params, state, t)
    set_next_in(params, state)
