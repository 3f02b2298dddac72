"""Where requests come in: they are routed at once, held while no replica is ready, or turned away."""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.batch import insert_waiting, push_waiting
from sim.model.layout import (
    F_NEXT,
    F_REQUEST,
    F_ROUTED_PS,
    F_SIZE,
    G_HOLD_MAX,
    G_N_POOL,
    G_SIZE,
    GATEWAY_FULL,
    H_ARRIVALS,
    H_HEAD,
    H_HELD,
    H_N_READY,
    H_SIZE,
    H_TAIL,
    K_GROUP,
    K_SIZE,
    L_SCHEDULING,
    L_SIZE,
    NEED_SLOTS,
    P_N_GROUP,
    P_N_REQUEST,
    PRIORITY,
    Q_ROUTED,
    Q_SIZE,
    R_POOL,
    R_SIZE,
    S_CURSOR,
    S_FREE,
    S_NEXT_IN,
    S_RELEASE,
    S_STATUS,
    TOO_LONG,
)
from sim.model.replica import on_enqueued
from sim.model.request import class_of, offer, reject, take_slot
from sim.model.router import choose_fitting, choose_replica, n_fitting_pools, refresh_load
from sim.units import NEVER


@jit
def enqueue(p, st, g, r, s, t):
    """Hand a request to replica r."""
    ro = st.rep + r * R_SIZE
    pool = st.m[ro + R_POOL]
    st.m[st.slot + s * F_SIZE + F_ROUTED_PS] = t
    st.m[st.pool + pool * Q_SIZE + Q_ROUTED] += 1
    if p.m[p.pool + pool * L_SIZE + L_SCHEDULING] == PRIORITY:
        insert_waiting(p, st, ro, s)
    else:
        push_waiting(st, ro, s)
    on_enqueued(p, st, r, s, t)
    refresh_load(p, st, g, r)


@jit_call
def hold(st, g, s):
    """Keep a request at the gateway until a replica is ready."""
    ho = st.group + g * H_SIZE
    st.m[st.slot + s * F_SIZE + F_NEXT] = -1
    if st.m[ho + H_HELD] > 0:
        st.m[st.slot + st.m[ho + H_TAIL] * F_SIZE + F_NEXT] = s
    else:
        st.m[ho + H_HEAD] = s
    st.m[ho + H_TAIL] = s
    st.m[ho + H_HELD] += 1


@jit
def find_replica(p, st, g, i, fitting, t):
    """A replica for request i that fits `fitting` pools of its group, or −1."""
    if st.m[st.group + g * H_SIZE + H_N_READY] == 0:
        return -1
    if fitting == p.m[p.group + g * G_SIZE + G_N_POOL]:
        return choose_replica(p, st, g, i, t)
    return choose_fitting(p, st, g, i, t)


@jit
def set_next_in(p, st):
    """When the gateway acts next of its own accord: the next arrival."""
    cursor = st.m[S_CURSOR]
    st.m[S_NEXT_IN] = p.trace[cursor] if cursor < p.m[P_N_REQUEST] else NEVER


@jit
def on_arrival(p, st, t):
    """The next request of the table arrives at t."""
    i = st.m[S_CURSOR]
    g = p.m[p.klass + class_of(p, i) * K_SIZE + K_GROUP]
    if st.m[S_FREE] < 0:
        st.m[S_STATUS] = NEED_SLOTS  # nothing has been changed: the host makes room and the loop goes on
        return
    st.m[S_CURSOR] = i + 1
    set_next_in(p, st)
    offer(p, st, i, t)
    st.m[st.group + g * H_SIZE + H_ARRIVALS] += 1
    fitting = n_fitting_pools(p, g, i)
    if fitting == 0:
        reject(p, st, i, t, TOO_LONG)
        return
    r = find_replica(p, st, g, i, fitting, t)
    if r >= 0:
        enqueue(p, st, g, r, take_slot(p, st, i, t), t)
    elif st.m[st.group + g * H_SIZE + H_HELD] < p.m[p.group + g * G_SIZE + G_HOLD_MAX]:
        hold(st, g, take_slot(p, st, i, t))
    else:
        reject(p, st, i, t, GATEWAY_FULL)


@jit_call
def release(p, st, t):
    """Replicas have become ready: route what is held, in order; what still fits none of them stays held."""
    st.m[S_RELEASE] = 0
    set_next_in(p, st)
    for g in range(p.m[P_N_GROUP]):
        ho = st.group + g * H_SIZE
        s = st.m[ho + H_HEAD]
        n = st.m[ho + H_HELD]
        st.m[ho + H_HELD] = 0
        for _ in range(n):
            after = st.m[st.slot + s * F_SIZE + F_NEXT]
            i = st.m[st.slot + s * F_SIZE + F_REQUEST]
            r = find_replica(p, st, g, i, n_fitting_pools(p, g, i), t)
            if r >= 0:
                enqueue(p, st, g, r, s, t)
            else:
                hold(st, g, s)
            s = after


@jit
def on_input(p, st, t):
    """The gateway acts at t: it releases what it holds, or the next request arrives."""
    if st.m[S_RELEASE] == 1:
        release(p, st, t)
    else:
        on_arrival(p, st, t)
