"""The life of a replica: wanted → slice → node → image → weights → engine → ready → draining → gone.

A start is made of steps, each shown as one of the stages before ready. A step begins when all that it waits for have
ended; steps that wait for different things overlap. How long it takes is drawn from its quantile table; the n-th start
of a pool draws the same durations under every policy. The cluster that a step waits for will stand behind STAGE_SLICE
and STAGE_PROVISION.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.blame import group_closes, group_opens
from sim.model.layout import (
    G_FIRST,
    G_LEAVES,
    G_LOAD,
    G_SIZE,
    H_HELD,
    H_N_READY,
    H_SIZE,
    L_BLOCKS,
    L_FIRST,
    L_GROUP,
    L_MAX,
    L_MIN,
    L_N,
    L_N_STEP,
    L_SIZE,
    L_STEP,
    N_QUANTILE_BITS,
    P_SEED,
    P_TREE,
    Q_AREA_PS,
    Q_BILLED_LO,
    Q_N_BILLED,
    Q_N_READY,
    Q_N_SERVING,
    Q_N_STARTING,
    Q_PEAK_READY,
    Q_READY_LO,
    Q_SCALED_DOWN,
    Q_SCALED_UP,
    Q_SERVING_LO,
    Q_SIZE,
    Q_STARTED,
    Q_STARTING_PS,
    Q_WANTED,
    R_BATCH_LEFT,
    R_DRAIN_PS,
    R_FREE_BLOCKS,
    R_INDEX,
    R_N_RUN,
    R_N_WAIT,
    R_POOL,
    R_READY_PS,
    R_SIZE,
    R_STAGE,
    R_STARTED_PS,
    S_ENDS,
    S_NEXT_IN,
    S_RELEASE,
    STAGE_DRAINING,
    STAGE_ENGINE,
    STAGE_GONE,
    STAGE_READY,
    STAGE_SLICE,
    STEP_AFTER,
    STEP_DRAW,
    STEP_PS,
    STEP_SIZE,
    STEP_STAGE,
)
from sim.model.metrics import add_wide
from sim.model.replica import on_enqueued
from sim.model.router import refresh_load
from sim.model.runs import clear_prefix
from sim.model.tree import tree_set
from sim.rng import STREAM_STAGE, draw
from sim.units import NEVER


# ---- areas under the replica counts ----------------------------------------------------------------------
@jit_call
def settle_areas(st, pool, t):
    """Bring replica·seconds billed, ready and serving of a pool up to t; before every change of their counts."""
    qo = st.pool + pool * Q_SIZE
    dt = t - st.m[qo + Q_AREA_PS]
    add_wide(st.m, qo + Q_BILLED_LO, st.m[qo + Q_N_BILLED] * dt)
    add_wide(st.m, qo + Q_READY_LO, st.m[qo + Q_N_READY] * dt)
    add_wide(st.m, qo + Q_SERVING_LO, st.m[qo + Q_N_SERVING] * dt)
    if st.m[qo + Q_N_STARTING] > 0:
        st.m[qo + Q_STARTING_PS] += dt
    st.m[qo + Q_AREA_PS] = t


@jit
def is_billed(stage):
    """Whether a replica in this stage costs money: from the node's start until it is gone."""
    return stage > STAGE_SLICE


@jit_call
def enter(p, st, r, stage, t):
    """Move a replica to a stage and keep the counts of its pool."""
    ro = st.rep + r * R_SIZE
    pool = st.m[ro + R_POOL]
    qo = st.pool + pool * Q_SIZE
    was = st.m[ro + R_STAGE]
    settle_areas(st, pool, t)
    st.m[qo + Q_N_BILLED] += is_billed(stage) * 1 - is_billed(was) * 1
    st.m[qo + Q_N_READY] += (stage == STAGE_READY) * 1 - (was == STAGE_READY) * 1
    st.m[qo + Q_N_SERVING] += (stage >= STAGE_READY) * 1 - (was >= STAGE_READY) * 1
    st.m[qo + Q_N_STARTING] += is_starting(stage) * 1 - is_starting(was) * 1
    if st.m[qo + Q_N_READY] > st.m[qo + Q_PEAK_READY]:
        st.m[qo + Q_PEAK_READY] = st.m[qo + Q_N_READY]
    st.m[ro + R_STAGE] = stage


@jit
def is_starting(stage):
    """Whether a replica is on its way to ready."""
    return STAGE_SLICE <= stage <= STAGE_ENGINE


# ---- steps of a start ----------------------------------------------------------------------
@jit_call
def step_ps(p, row, pool, index):
    """How long the index-th start of a pool spends in the step whose row begins at `row`."""
    word = draw(p.m[P_SEED], STREAM_STAGE + p.m[row + STEP_DRAW], pool, index)
    return p.m[row + STEP_PS + (word >> (63 - N_QUANTILE_BITS))]


@jit_call
def go_on_starting(p, st, r, t):
    """Show a starting replica as the first stage that is in progress at t, until the next of its steps ends; when all
    have ended it is ready. A step that takes no time is never in progress.

    Nothing of a start but when it began and its number is kept: the ends of its steps are worked out anew.
    """
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    row = p.step + p.m[lo + L_STEP] * STEP_SIZE
    stage = STAGE_READY
    until_ps = NEVER
    for i in range(p.m[lo + L_N_STEP]):
        begin_ps = st.m[ro + R_STARTED_PS]
        for j in range(i):
            if (p.m[row + STEP_AFTER] >> j) & 1 == 1:
                begin_ps = max(begin_ps, st.m[S_ENDS + j])
        end_ps = begin_ps + step_ps(p, row, st.m[ro + R_POOL], st.m[ro + R_INDEX])
        st.m[S_ENDS + i] = end_ps
        if begin_ps <= t and t < end_ps:
            stage = min(stage, p.m[row + STEP_STAGE])
            until_ps = min(until_ps, end_ps)
        row += STEP_SIZE
    if stage == STAGE_READY:
        become_ready(p, st, r, t)
    else:
        enter(p, st, r, stage, t)
        tree_set(st.m, st.due, p.m[P_TREE], r, until_ps)


@jit_call
def begin_start(p, st, r, t):
    """A replica is wanted: its cold start begins."""
    ro = st.rep + r * R_SIZE
    qo = st.pool + st.m[ro + R_POOL] * Q_SIZE
    st.m[ro + R_STARTED_PS] = t
    st.m[ro + R_INDEX] = st.m[qo + Q_STARTED]
    st.m[qo + Q_STARTED] += 1
    go_on_starting(p, st, r, t)


@jit_call
def become_ready(p, st, r, t):
    """A replica takes requests from now on; what the gateway holds is released at t."""
    ro = st.rep + r * R_SIZE
    lo = p.pool + st.m[ro + R_POOL] * L_SIZE
    g = p.m[lo + L_GROUP]
    enter(p, st, r, STAGE_READY, t)
    tree_set(st.m, st.due, p.m[P_TREE], r, NEVER)
    st.m[ro + R_READY_PS] = t
    st.m[ro + R_FREE_BLOCKS] = p.m[lo + L_BLOCKS]
    st.m[ro + R_BATCH_LEFT] = 0
    clear_prefix(p, st, r)
    group_opens(st, g, t)
    insert_ready(p, st, g, r)
    refresh_load(p, st, g, r)
    if st.m[st.group + g * H_SIZE + H_HELD] > 0:
        st.m[S_RELEASE] = t
        st.m[S_NEXT_IN] = t


@jit_call
def insert_ready(p, st, g, r):
    """Put a replica into its group's ready list, which is sorted by index."""
    first = p.m[p.group + g * G_SIZE + G_FIRST]
    j = st.m[st.group + g * H_SIZE + H_N_READY]
    while j > 0 and st.m[st.ready + first + j - 1] > r:
        st.m[st.ready + first + j] = st.m[st.ready + first + j - 1]
        j -= 1
    st.m[st.ready + first + j] = r
    st.m[st.group + g * H_SIZE + H_N_READY] += 1


@jit_call
def drop_ready(p, st, g, r):
    """Take a replica out of its group's ready list and load tree."""
    go = p.group + g * G_SIZE
    first = p.m[go + G_FIRST]
    n = st.m[st.group + g * H_SIZE + H_N_READY] - 1
    j = 0
    while st.m[st.ready + first + j] != r:
        j += 1
    while j < n:
        st.m[st.ready + first + j] = st.m[st.ready + first + j + 1]
        j += 1
    st.m[st.group + g * H_SIZE + H_N_READY] = n
    tree_set(st.m, st.load + p.m[go + G_LOAD], p.m[go + G_LEAVES], r - first, NEVER)


@jit_call
def begin_drain(p, st, r, t):
    """A ready replica takes nothing new; it finishes what it holds and is gone."""
    ro = st.rep + r * R_SIZE
    g = p.m[p.pool + st.m[ro + R_POOL] * L_SIZE + L_GROUP]
    drop_ready(p, st, g, r)
    group_closes(st, g, t)
    enter(p, st, r, STAGE_DRAINING, t)
    st.m[ro + R_DRAIN_PS] = t
    if st.m[ro + R_N_WAIT] + st.m[ro + R_N_RUN] == 0:
        tree_set(st.m, st.due, p.m[P_TREE], r, t + 1)
    elif st.m[ro + R_N_RUN] == 0:
        on_enqueued(p, st, r, -1, t)  # a batch that waits to fill up starts with what it has


@jit_call
def vanish(p, st, r, t):
    """A replica is gone: its place is free for a later start."""
    enter(p, st, r, STAGE_GONE, t)
    tree_set(st.m, st.due, p.m[P_TREE], r, NEVER)


@jit_call
def on_stage(p, st, r, t):
    """A step of replica r's start ends at t, or its draining."""
    if st.m[st.rep + r * R_SIZE + R_STAGE] == STAGE_DRAINING:
        vanish(p, st, r, t)
    else:
        go_on_starting(p, st, r, t)


# ---- scaling ----------------------------------------------------------------------
@jit_call
def choose_place(p, st, pool):
    """The lowest free place of a pool, or −1."""
    first = p.m[p.pool + pool * L_SIZE + L_FIRST]
    for r in range(first, first + p.m[p.pool + pool * L_SIZE + L_N]):
        if st.m[st.rep + r * R_SIZE + R_STAGE] == STAGE_GONE:
            return r
    return -1


@jit_call
def choose_leaver(p, st, pool):
    """Who goes first when a pool shrinks, as a ReplicaSet chooses: not ready before ready, then the youngest."""
    first = p.m[p.pool + pool * L_SIZE + L_FIRST]
    best = -1
    best_ready = 1
    best_since = -1
    for r in range(first, first + p.m[p.pool + pool * L_SIZE + L_N]):
        stage = st.m[st.rep + r * R_SIZE + R_STAGE]
        if stage == STAGE_GONE or stage == STAGE_DRAINING:
            continue
        is_ready = 1 if stage == STAGE_READY else 0
        since = (
            st.m[st.rep + r * R_SIZE + R_READY_PS]
            if is_ready == 1
            else st.m[st.rep + r * R_SIZE + R_STARTED_PS]
        )
        if best < 0 or is_ready < best_ready or (is_ready == best_ready and since >= best_since):
            best = r
            best_ready = is_ready
            best_since = since
    return best


@jit_call
def scale_to(p, st, pool, wanted, t):
    """Start or stop replicas until a pool has `wanted` of them, starting ones included, draining ones not."""
    lo = p.pool + pool * L_SIZE
    qo = st.pool + pool * Q_SIZE
    wanted = min(max(wanted, p.m[lo + L_MIN]), p.m[lo + L_MAX])
    if wanted > st.m[qo + Q_WANTED]:
        st.m[qo + Q_SCALED_UP] += 1
    elif wanted < st.m[qo + Q_WANTED]:
        st.m[qo + Q_SCALED_DOWN] += 1
    st.m[qo + Q_WANTED] = wanted
    active = st.m[qo + Q_N_READY] + st.m[qo + Q_N_STARTING]
    while active < wanted:
        r = choose_place(p, st, pool)
        if r < 0:
            break  # places are still draining: tried again at the next tick
        begin_start(p, st, r, t)
        active += 1
    while active > wanted:
        r = choose_leaver(p, st, pool)
        if st.m[st.rep + r * R_SIZE + R_STAGE] == STAGE_READY:
            begin_drain(p, st, r, t)
        else:
            vanish(p, st, r, t)
        active -= 1
