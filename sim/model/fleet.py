"""The one switch: what happens next, and who handles it.

Events are totally ordered by (time, phase, entity): faults, stage changes, control instants (scrapes, samples,
ticks), gateway releases and arrivals, replica boundaries; replicas in index order.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.attempts import drop_slot
from sim.model.control import next_stop_ps
from sim.model.faults import on_fault, set_next_fault
from sim.model.holding import note_room
from sim.model.inputs import on_input, set_next_in
from sim.model.layout import (
    DONE,
    F_DUE_PS,
    F_NEXT,
    F_REPLICA,
    F_SIZE,
    F_STATE,
    G_LEAVES,
    G_LOAD,
    G_SIZE,
    H_CURSOR,
    H_SIZE,
    HORIZON,
    L_FIRST,
    L_GROUP,
    L_INITIAL,
    L_N,
    L_SIZE,
    L_TICK_PS,
    MARK_RUN,
    N_HEAD,
    N_HELD,
    N_SIZE,
    OK,
    P_ATTEMPTS,
    P_CAPPED,
    P_N_GROUP,
    P_N_LANE,
    P_N_POOL,
    P_N_REPLICA,
    P_SAMPLE_PS,
    P_TREE,
    P_WARMUP_PS,
    Q_NEXT_SCRAPE,
    Q_NEXT_TICK,
    Q_SIZE,
    Q_STARTED,
    Q_WANTED,
    R_INDEX,
    R_N_RUN,
    R_N_WAIT,
    R_POOL,
    R_RUN_HEAD,
    R_RUN_TAIL,
    R_SIZE,
    R_STAGE,
    R_WAIT_HEAD,
    R_WAIT_TAIL,
    S_HEDGE_PS,
    S_N_TIMER,
    S_NEXT_FAULT,
    S_NEXT_IN,
    S_NEXT_MARK,
    S_NEXT_SAMPLE,
    S_NOW,
    S_RELEASE,
    S_STATUS,
    S_STOP,
    S_TIMERS,
    SEQ_AWAY,
    SEQ_THINKING,
    STAGE_DRAINING,
    TIMER_SIZE,
    TIMER_SLOT,
)
from sim.model.lifecycle import become_ready, on_stage
from sim.model.limits import fill_limits
from sim.model.marks import set_mark
from sim.model.replica import on_boundary, settle
from sim.model.request import leave_inside
from sim.model.router import refresh_load
from sim.model.tree import tree_build, tree_first, tree_first_key, tree_set
from sim.units import NEVER

EVENT_STAGE, EVENT_INPUT, EVENT_BOUNDARY = range(3)


@jit
def on_replica(p, st, r, t):
    """A boundary of replica r, and what it means outside it: its load, and its end when it has drained."""
    on_boundary(p, st, r, t)
    ro = st.rep + r * R_SIZE
    g = p.m[p.pool + st.m[ro + R_POOL] * L_SIZE + L_GROUP]
    refresh_load(p, st, g, r)
    if p.m[P_CAPPED] == 1:
        note_room(p, st, g, t + 1)
    if st.m[ro + R_STAGE] == STAGE_DRAINING and st.m[ro + R_N_RUN] + st.m[ro + R_N_WAIT] == 0:
        tree_set(st.m, st.due, p.m[P_TREE], r, t + 1)


@jit
def advance(p, st, stop_ps):
    """Run every event before the control instant stop_ps, and the stage changes at it."""
    while st.m[S_STATUS] == OK:
        stage_ps = tree_first_key(st.m, st.due)
        input_ps = st.m[S_NEXT_IN]
        boundary_ps = tree_first_key(st.m, st.tree)
        t = input_ps if input_ps <= boundary_ps else boundary_ps
        if t < stage_ps and t < st.m[S_NEXT_FAULT] and t < stop_ps:
            if input_ps <= boundary_ps:
                on_input(p, st, t)
            else:
                on_replica(p, st, tree_first(st.m, st.tree, p.m[P_TREE]), t)
        elif st.m[S_NEXT_FAULT] <= min(stage_ps, min(t, stop_ps)):
            on_fault(p, st, st.m[S_NEXT_FAULT])
        elif stage_ps <= min(t, stop_ps):
            on_stage(p, st, tree_first(st.m, st.due, p.m[P_TREE]), stage_ps)
        else:
            break


@jit_call
def begin(p, st):
    """The world at time 0: empty engines, the initial replicas ready, every clock set.

    The arrays are zero but for what packing laid out (offsets, free slots).
    """
    for r in range(p.m[P_TREE]):
        st.m[st.tree + p.m[P_TREE] + r] = NEVER
        st.m[st.due + p.m[P_TREE] + r] = NEVER
    tree_build(st.m, st.tree, p.m[P_TREE])
    tree_build(st.m, st.due, p.m[P_TREE])
    for g in range(p.m[P_N_GROUP]):
        go = p.group + g * G_SIZE
        load = st.load + p.m[go + G_LOAD]
        for leaf in range(p.m[go + G_LEAVES]):
            st.m[load + p.m[go + G_LEAVES] + leaf] = NEVER
        tree_build(st.m, load, p.m[go + G_LEAVES])
        st.m[st.group + g * H_SIZE + H_CURSOR] = -1
    for r in range(p.m[P_N_REPLICA]):
        for field in (R_RUN_HEAD, R_RUN_TAIL, R_WAIT_HEAD, R_WAIT_TAIL):
            st.m[st.rep + r * R_SIZE + field] = -1
    for pool in range(p.m[P_N_POOL]):
        begin_pool(p, st, pool)
    st.m[S_NOW] = 0
    st.m[S_STATUS] = OK
    st.m[S_NEXT_SAMPLE] = 0 if p.m[P_SAMPLE_PS] > 0 else NEVER
    st.m[S_NEXT_MARK] = p.m[P_WARMUP_PS]
    st.m[S_RELEASE] = NEVER
    st.m[S_HEDGE_PS] = NEVER
    if p.m[P_ATTEMPTS] == 1:
        fill_limits(p, st)
    set_next_in(p, st)
    set_next_fault(p, st)
    st.m[S_STOP] = next_stop_ps(p, st)


@jit_call
def begin_pool(p, st, pool):
    """A pool at time 0: its initial replicas are ready, its controller first looks after one period."""
    lo = p.pool + pool * L_SIZE
    qo = st.pool + pool * Q_SIZE
    st.m[qo + Q_NEXT_SCRAPE] = 0
    st.m[qo + Q_NEXT_TICK] = p.m[lo + L_TICK_PS]
    first = p.m[lo + L_FIRST]
    for r in range(first, first + p.m[lo + L_N]):
        st.m[st.rep + r * R_SIZE + R_POOL] = pool
    for r in range(first, first + p.m[lo + L_INITIAL]):
        st.m[st.rep + r * R_SIZE + R_INDEX] = -1  # not a cold start
        become_ready(p, st, r, 0)
    st.m[qo + Q_WANTED] = p.m[lo + L_INITIAL]
    st.m[qo + Q_STARTED] = 0


@jit_call
def finish(p, st):
    """The run is over: settle every engine, set the last mark, write down the requests that are still inside."""
    st.m[S_STATUS] = DONE
    t = st.m[S_NOW]
    for r in range(p.m[P_N_REPLICA]):
        settle(p, st, r, t)
    set_mark(p, st, MARK_RUN, t)
    for lane in range(p.m[P_N_GROUP] * p.m[P_N_LANE]):
        no = st.lane + lane * N_SIZE
        if st.m[no + N_HELD] > 0:
            leave_list(p, st, -1, st.m[no + N_HEAD])
    leave_away(p, st)
    for r in range(p.m[P_N_REPLICA]):
        leave_list(p, st, r, st.m[st.rep + r * R_SIZE + R_WAIT_HEAD])
        leave_list(p, st, r, st.m[st.rep + r * R_SIZE + R_RUN_HEAD])


@jit_call
def leave_away(p, st):
    """Write down the requests that wait for their next attempt, or are at a station, as still inside; nobody has seen
    a turn that did not come.
    """
    for j in range(st.m[S_N_TIMER]):
        s = st.m[st.m[S_TIMERS] + j * TIMER_SIZE + TIMER_SLOT]
        if st.m[st.slot + s * F_SIZE + F_DUE_PS] == NEVER:
            continue
        if st.m[st.slot + s * F_SIZE + F_STATE] == SEQ_THINKING:
            drop_slot(st, s)
        elif st.m[st.slot + s * F_SIZE + F_STATE] >= SEQ_AWAY:
            leave_inside(p, st, s, st.m[st.slot + s * F_SIZE + F_REPLICA], HORIZON)


@jit_call
def leave_list(p, st, r, s):
    """Write down a list of slots of replica r, or of the gateway (−1), as still inside."""
    while s >= 0:
        after = st.m[st.slot + s * F_SIZE + F_NEXT]
        leave_inside(p, st, s, r, HORIZON)
        s = after
