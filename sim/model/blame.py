"""Whom a request's time is blamed on, from clocks that make every part O(1) a request.

Four clocks run while something costs time: a group's while it has no ready replica, a pool's while replicas of it are
starting, a replica's while it computes prompt chunks (R_PREFILL_PS), and the world's. A request reads a clock where a
part of its life begins and again where it ends. What is written down are the parts that nothing else tells; the rest
follows from a request's instants (`sim.engine.blame`). Where no records are kept nobody would read it, and a request
does not look at any clock.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.layout import (
    B_SIZE,
    F_BLAME,
    F_CLOCK_PS,
    F_COLD_HELD_PS,
    F_COLD_QUEUE_PS,
    F_COMPUTED,
    F_GENERATED,
    F_INTERFERED_PS,
    F_LOST,
    F_PREEMPTED_FIRST_PS,
    F_PREEMPTED_PS,
    F_PREFILL_PS,
    F_SINCE_PS,
    F_SIZE,
    H_CLOSED_PS,
    H_CLOSED_SINCE_PS,
    H_N_READY,
    H_SIZE,
    L_SIZE,
    P_N_REQUEST,
    P_RECORDS,
    Q_AREA_PS,
    Q_N_STARTING,
    Q_SIZE,
    Q_STARTING_PS,
    R_JUMP_DECODE_PS,
    R_JUMP_PS,
    R_POOL,
    R_PREFILL_PS,
)
from sim.model.steps import prompt_step_ps


# ---- before it is scheduled ----------------------------------------------------------------------
@jit_call
def group_opens(st, g, t):
    """A replica of a group becomes ready at t."""
    ho = st.group + g * H_SIZE
    if st.m[ho + H_N_READY] == 0:
        st.m[ho + H_CLOSED_PS] += t - st.m[ho + H_CLOSED_SINCE_PS]


@jit_call
def group_closes(st, g, t):
    """A replica of a group has left its ready list at t."""
    ho = st.group + g * H_SIZE
    if st.m[ho + H_N_READY] == 0:
        st.m[ho + H_CLOSED_SINCE_PS] = t


@jit_call
def closed_ps(st, g, t):
    """How long a group had no ready replica, up to t."""
    ho = st.group + g * H_SIZE
    if st.m[ho + H_N_READY] > 0:
        return st.m[ho + H_CLOSED_PS]
    return st.m[ho + H_CLOSED_PS] + t - st.m[ho + H_CLOSED_SINCE_PS]


@jit
def starting_ps(st, pool, t):
    """How long some replica of a pool was starting, up to t."""
    qo = st.pool + pool * Q_SIZE
    if st.m[qo + Q_N_STARTING] == 0:
        return st.m[qo + Q_STARTING_PS]
    return st.m[qo + Q_STARTING_PS] + t - st.m[qo + Q_AREA_PS]


@jit
def blame_nobody(p, st, so):
    """A request takes its slot: nothing has cost it time yet."""
    if p.m[P_RECORDS] == 1:
        st.m[so + F_LOST] = 0
        for part in range(B_SIZE):
            st.m[so + F_BLAME + part] = 0


@jit_call
def held_from(st, g, s, t):
    """The gateway begins to hold a request at t."""
    st.m[st.slot + s * F_SIZE + F_CLOCK_PS] = closed_ps(st, g, t)


@jit_call
def held_until(st, g, s, t):
    """The gateway releases a request at t."""
    so = st.slot + s * F_SIZE
    st.m[so + F_COLD_HELD_PS] = closed_ps(st, g, t) - st.m[so + F_CLOCK_PS]


@jit
def queued_from(p, st, pool, so, t):
    """A request joins the queue of a replica of a pool at t."""
    if p.m[P_RECORDS] == 1:
        st.m[so + F_CLOCK_PS] = starting_ps(st, pool, t)


@jit
def queued_until(p, st, pool, so, t):
    """A request takes part in a step for the first time at t."""
    if p.m[P_RECORDS] == 1:
        st.m[so + F_COLD_QUEUE_PS] = starting_ps(st, pool, t) - st.m[so + F_CLOCK_PS]


# ---- in the batch ----------------------------------------------------------------------
@jit
def decodes_from(p, st, ro, so):
    """A sequence joins the decode set."""
    if p.m[P_RECORDS] == 1:
        st.m[so + F_CLOCK_PS] = st.m[ro + R_PREFILL_PS]


@jit
def decodes_until(p, st, ro, so):
    """A sequence leaves the decode set: prompt chunks in its steps were interference."""
    if p.m[P_RECORDS] == 1:
        st.m[so + F_INTERFERED_PS] += st.m[ro + R_PREFILL_PS] - st.m[so + F_CLOCK_PS]


@jit
def blame_chunk(p, st, ro, so, computed, chunk, t):
    """A step that computed a chunk of a sequence, on top of `computed` tokens, ends at t."""
    if st.m[so + F_LOST] > 0:
        catch_up(st, so, computed + chunk, t)
    elif st.m[so + F_GENERATED] > 0:
        # it was passed over since its last token, or had just caught up
        st.m[so + F_INTERFERED_PS] += t - st.m[so + F_SINCE_PS] - st.m[ro + R_JUMP_DECODE_PS]
    else:
        lo = p.pool + st.m[ro + R_POOL] * L_SIZE
        alone = prompt_step_ps(p, lo, 0, 0, chunk, chunk * (2 * computed + chunk))
        span = t - st.m[ro + R_JUMP_PS]
        st.m[so + F_PREFILL_PS] += alone if alone < span else span


@jit_call
def lose_tokens(st, so, t):
    """A sequence is preempted at t; its computed tokens have not been taken away yet."""
    if st.m[so + F_LOST] > 0:
        return  # it had not caught up since the last time
    if st.m[so + F_GENERATED] > 0:
        st.m[so + F_INTERFERED_PS] += t - st.m[so + F_SINCE_PS]  # passed over until now
    st.m[so + F_LOST] = max(1, st.m[so + F_COMPUTED])
    st.m[so + F_SINCE_PS] = t


@jit_call
def catch_up(st, so, computed, t):
    """A preempted sequence has `computed` tokens again at t: has it all that it had?"""
    if computed < st.m[so + F_LOST]:
        return
    part = F_PREEMPTED_PS if st.m[so + F_GENERATED] > 0 else F_PREEMPTED_FIRST_PS
    st.m[so + part] += t - st.m[so + F_SINCE_PS]
    st.m[so + F_LOST] = 0
    st.m[so + F_SINCE_PS] = t


# ---- the end ----------------------------------------------------------------------
@jit
def write_blame(p, st, i, so):
    """Keep the parts of request i; the caller has made sure that there are records."""
    for part in range(B_SIZE):
        spent_ps = st.m[so + F_BLAME + part]
        if spent_ps != 0:
            st.m[st.blame + part * p.m[P_N_REQUEST] + i] = spent_ps
