"""The door between gateway and replicas: which one a request goes to, and what happens when it gets there."""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.batch import insert_waiting, push_waiting
from sim.model.blame import queued_from
from sim.model.layout import (
    F_REPLICA,
    F_ROUTED_PS,
    F_SIZE,
    F_STATE,
    G_N_POOL,
    G_SIZE,
    H_N_READY,
    H_SIZE,
    L_SCHEDULING,
    L_SIZE,
    PRIORITY,
    Q_ROUTED,
    Q_SIZE,
    R_POOL,
    R_SIZE,
    SEQ_WAITING,
)
from sim.model.replica import on_enqueued
from sim.model.router import choose_fitting, choose_replica, is_choosy, refresh_load
from sim.units import NEVER


@jit
def enqueue(p, st, g, r, s, t):
    """Hand a request to replica r."""
    ro = st.rep + r * R_SIZE
    pool = st.m[ro + R_POOL]
    so = st.slot + s * F_SIZE
    st.m[so + F_ROUTED_PS] = t
    st.m[so + F_REPLICA] = r
    st.m[so + F_STATE] = SEQ_WAITING
    queued_from(p, st, pool, so, t)
    st.m[st.pool + pool * Q_SIZE + Q_ROUTED] += 1
    if p.m[p.pool + pool * L_SIZE + L_SCHEDULING] == PRIORITY:
        insert_waiting(p, st, ro, s)
    else:
        push_waiting(st, ro, s)
    on_enqueued(p, st, r, s, t)
    refresh_load(p, st, g, r)


@jit_call
def hand_over(p, st, g, r, s, t):
    """As enqueue, for those who do it rarely."""
    enqueue(p, st, g, r, s, t)


@jit
def find_replica(p, st, g, i, attempt, fitting, t):
    """A replica for an attempt at request i, counted from 0, that fits `fitting` pools of its group, or −1."""
    if st.m[st.group + g * H_SIZE + H_N_READY] == 0:
        return -1
    if fitting == p.m[p.group + g * G_SIZE + G_N_POOL] and not is_choosy(p, g, i):
        return choose_replica(p, st, g, i, attempt, t)
    return choose_fitting(p, st, g, i, attempt, NEVER, t)
