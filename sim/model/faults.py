"""Replicas that are lost at a scripted time: what they held fails, and the pool replaces them."""

from __future__ import annotations

from sim.jit import jit_call
from sim.model.blame import group_closes
from sim.model.layout import (
    F_NEXT,
    F_SIZE,
    L_BLOCK,
    L_FIRST,
    L_GROUP,
    L_N,
    L_SIZE,
    P_ATTEMPTS,
    P_FAULTS,
    P_N_CLASS,
    P_N_FAULT,
    P_TREE,
    Q_SIZE,
    Q_WANTED,
    R_BATCH_LEFT,
    R_BUSY_PS,
    R_DECODE_PS,
    R_GHOST,
    R_JUMP_DECODE_PS,
    R_JUMP_K,
    R_JUMP_PS,
    R_KV,
    R_N_CHUNK,
    R_N_DECODE,
    R_N_RUN,
    R_N_WAIT,
    R_POOL,
    R_PREFILL_PS,
    R_RESIDUE,
    R_RUN_HEAD,
    R_RUN_TAIL,
    R_SIZE,
    R_SLOT_LO,
    R_STACK_N,
    R_STAGE,
    R_WAIT_HEAD,
    R_WAIT_TAIL,
    REPLICA_LOST,
    S_FAULT,
    S_NEXT_FAULT,
    STAGE_DRAINING,
    STAGE_READY,
    Y_POOL,
    Y_REPLICAS,
    Y_SIZE,
    Y_TIME_PS,
)
from sim.model.lifecycle import drop_ready, scale_to, vanish
from sim.model.metrics import add_wide
from sim.model.patience import lose_attempt
from sim.model.replica import settle
from sim.model.request import fail
from sim.model.tree import tree_set
from sim.units import NEVER


@jit_call
def set_next_fault(p, st):
    """When the next scripted fault strikes."""
    f = st.m[S_FAULT]
    st.m[S_NEXT_FAULT] = p.m[p.m[P_FAULTS] + f * Y_SIZE + Y_TIME_PS] if f < p.m[P_N_FAULT] else NEVER


@jit_call
def on_fault(p, st, t):
    """Some replicas of a pool are lost at t, ready ones before draining ones; new ones are started in their place."""
    fo = p.m[P_FAULTS] + st.m[S_FAULT] * Y_SIZE
    st.m[S_FAULT] += 1
    set_next_fault(p, st)
    pool = p.m[fo + Y_POOL]
    for _ in range(p.m[fo + Y_REPLICAS]):
        r = choose_lost(p, st, pool)
        if r < 0:
            break
        lose(p, st, r, t)
    scale_to(p, st, pool, st.m[st.pool + pool * Q_SIZE + Q_WANTED], t)


@jit_call
def choose_lost(p, st, pool):
    """The lowest ready replica of a pool, or the lowest draining one, or −1."""
    first = p.m[p.pool + pool * L_SIZE + L_FIRST]
    draining = -1
    for r in range(first, first + p.m[p.pool + pool * L_SIZE + L_N]):
        stage = st.m[st.rep + r * R_SIZE + R_STAGE]
        if stage == STAGE_READY:
            return r
        if stage == STAGE_DRAINING and draining < 0:
            draining = r
    return draining


@jit_call
def lose(p, st, r, t):
    """A replica is gone at t, in the middle of whatever it did: all that it held fails."""
    ro = st.rep + r * R_SIZE
    settle(p, st, r, t)
    if st.m[ro + R_JUMP_K] > 0:
        span = t - st.m[ro + R_JUMP_PS]
        decode_ps = min(span, st.m[ro + R_JUMP_DECODE_PS]) if st.m[ro + R_N_CHUNK] > 0 else span
        st.m[ro + R_BUSY_PS] += span
        st.m[ro + R_DECODE_PS] += decode_ps
        st.m[ro + R_PREFILL_PS] += span - decode_ps
        add_wide(st.m, ro + R_SLOT_LO, span * st.m[ro + R_N_RUN])
    if st.m[ro + R_STAGE] == STAGE_READY:
        g = p.m[p.pool + st.m[ro + R_POOL] * L_SIZE + L_GROUP]
        drop_ready(p, st, g, r)
        group_closes(st, g, t)
    fail_list(p, st, r, st.m[ro + R_WAIT_HEAD], t)
    fail_list(p, st, r, st.m[ro + R_RUN_HEAD], t)
    clear_engine(p, st, r)
    vanish(p, st, r, t)


@jit_call
def fail_list(p, st, r, s, t):
    """Every attempt of a list of slots fails with its replica."""
    while s >= 0:
        after = st.m[st.slot + s * F_SIZE + F_NEXT]
        if p.m[P_ATTEMPTS] == 1:
            lose_attempt(p, st, s, r, REPLICA_LOST, t)
        else:
            fail(p, st, s, r, REPLICA_LOST)
        s = after


@jit_call
def clear_engine(p, st, r):
    """An engine without requests, its step count and its totals kept."""
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    for field in (
        R_JUMP_K,
        R_N_RUN,
        R_N_WAIT,
        R_N_DECODE,
        R_KV,
        R_N_CHUNK,
        R_BATCH_LEFT,
        R_STACK_N,
        R_GHOST,
    ):
        st.m[ro + field] = 0
    for field in (R_RUN_HEAD, R_RUN_TAIL, R_WAIT_HEAD, R_WAIT_TAIL):
        st.m[ro + field] = -1
    for j in range(p.m[lo + L_BLOCK]):
        st.m[st.m[ro + R_RESIDUE] + j] = 0
    for c in range(p.m[P_N_CLASS]):
        st.m[st.mix + r * p.m[P_N_CLASS] + c] = 0
    tree_set(st.m, st.tree, p.m[P_TREE], r, NEVER)
