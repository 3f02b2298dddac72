"""The one switch: what happens next, and who handles it.

Events are totally ordered by (time, phase, entity): stage changes, control instants (scrapes, samples, ticks), gateway
releases and arrivals, replica boundaries; replicas in index order.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.gateway import on_input, set_next_in
from sim.model.layout import (
    F_GAP_MAX,
    F_NEXT,
    F_SIZE,
    F_START,
    F_STATE,
    G_LEAVES,
    G_LOAD,
    G_SIZE,
    H_CURSOR,
    H_HEAD,
    H_HELD,
    H_SIZE,
    HORIZON,
    L_FIRST,
    L_GROUP,
    L_INITIAL,
    L_N,
    L_SIZE,
    L_TICK_PS,
    MARK_RUN,
    OK,
    P_N_GROUP,
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
    S_NEXT_IN,
    S_NEXT_MARK,
    S_NEXT_SAMPLE,
    S_NOW,
    S_STATUS,
    S_STOP,
    SEQ_DECODE,
    STAGE_DRAINING,
)
from sim.model.batch import gap_longest
from sim.model.control import next_stop_ps, stages_now
from sim.model.lifecycle import become_ready, on_stage
from sim.model.observe import set_mark
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
    ro = r * R_SIZE
    refresh_load(p, st, p.pool[st.rep[ro + R_POOL] * L_SIZE + L_GROUP], r)
    if st.rep[ro + R_STAGE] == STAGE_DRAINING and st.rep[ro + R_N_RUN] + st.rep[ro + R_N_WAIT] == 0:
        tree_set(st.due, 0, p.run[P_TREE], r, t + 1)


@jit
def advance(p, st, stop_ps):
    """Run every event before the control instant stop_ps, and the stage changes at it."""
    m = p.run[P_TREE]
    while st.run[S_STATUS] == OK:
        stage_ps = tree_first_key(st.due, 0, m)
        input_ps = st.run[S_NEXT_IN]
        boundary_ps = tree_first_key(st.tree, 0, m)
        if stage_ps <= input_ps and stage_ps <= boundary_ps:
            if stage_ps > stop_ps:
                break
            on_stage(p, st, tree_first(st.due, 0), stage_ps)
        elif input_ps <= boundary_ps:
            if input_ps >= stop_ps:
                break
            on_input(p, st, input_ps)
        else:
            if boundary_ps >= stop_ps:
                break
            on_replica(p, st, tree_first(st.tree, 0), boundary_ps)


@jit_call
def begin(p, st):
    """The world at time 0: empty engines, the initial replicas ready, every clock set.

    The arrays are zero but for what packing laid out (offsets, free slots).
    """
    for r in range(p.run[P_TREE]):
        st.tree[p.run[P_TREE] + r] = NEVER
        st.due[p.run[P_TREE] + r] = NEVER
    tree_build(st.tree, 0, p.run[P_TREE])
    tree_build(st.due, 0, p.run[P_TREE])
    for j in range(st.load.shape[0]):
        st.load[j] = NEVER
    for g in range(p.run[P_N_GROUP]):
        go = g * G_SIZE
        tree_build(st.load, p.group[go + G_LOAD], p.group[go + G_LEAVES])
        st.group[g * H_SIZE + H_CURSOR] = -1
    for r in range(p.run[P_N_REPLICA]):
        for field in (R_RUN_HEAD, R_RUN_TAIL, R_WAIT_HEAD, R_WAIT_TAIL):
            st.rep[r * R_SIZE + field] = -1
    for pool in range(p.run[P_N_POOL]):
        begin_pool(p, st, pool)
    st.run[S_NOW] = 0
    st.run[S_STATUS] = OK
    st.run[S_NEXT_SAMPLE] = 0 if p.run[P_SAMPLE_PS] > 0 else NEVER
    st.run[S_NEXT_MARK] = p.run[P_WARMUP_PS]
    set_next_in(p, st)
    st.run[S_STOP] = next_stop_ps(p, st)


@jit_call
def begin_pool(p, st, pool):
    """A pool at time 0: its initial replicas are ready, its controller first looks after one period."""
    lo = pool * L_SIZE
    qo = pool * Q_SIZE
    st.pool[qo + Q_NEXT_SCRAPE] = 0
    st.pool[qo + Q_NEXT_TICK] = p.pool[lo + L_TICK_PS]
    first = p.pool[lo + L_FIRST]
    for r in range(first, first + p.pool[lo + L_N]):
        st.rep[r * R_SIZE + R_POOL] = pool
    for r in range(first, first + p.pool[lo + L_INITIAL]):
        st.rep[r * R_SIZE + R_INDEX] = -1  # not a cold start
        become_ready(p, st, r, 0)
    st.pool[qo + Q_WANTED] = p.pool[lo + L_INITIAL]
    st.pool[qo + Q_STARTED] = 0


@jit_call
def finish(p, st):
    """The run is over: settle every engine, set the last mark, write down the requests that are still inside."""
    t = st.run[S_NOW]
    for r in range(p.run[P_N_REPLICA]):
        settle(p, st, r, t)
    set_mark(p, st, MARK_RUN, t)
    for g in range(p.run[P_N_GROUP]):
        s = st.group[g * H_SIZE + H_HEAD]
        for _ in range(st.group[g * H_SIZE + H_HELD]):
            after = st.slot[s * F_SIZE + F_NEXT]
            leave_inside(p, st, s, -1, HORIZON)
            s = after
    for r in range(p.run[P_N_REPLICA]):
        leave_list(p, st, r, st.rep[r * R_SIZE + R_WAIT_HEAD])
        leave_list(p, st, r, st.rep[r * R_SIZE + R_RUN_HEAD])


@jit_call
def leave_list(p, st, r, s):
    """Write down a list of slots of replica r as still inside."""
    while s >= 0:
        so = s * F_SIZE
        after = st.slot[so + F_NEXT]
        if st.slot[so + F_STATE] == SEQ_DECODE:
            longest = gap_longest(st, r * R_SIZE, st.slot[so + F_START])
            if longest > 0 and longest > st.slot[so + F_GAP_MAX]:
                st.slot[so + F_GAP_MAX] = longest
        leave_inside(p, st, s, r, HORIZON)
        s = after
