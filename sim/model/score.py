"""The router that adds up what it was told about each replica: a weighted score from a snapshot that grows old.

Time is cut into intervals of the snapshot's age; the first request routed in an interval takes the snapshot, of all the
group's ready replicas as they are then, and the others of that interval see it.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.layout import (
    G_COUNT_OWN,
    G_FIRST,
    G_N,
    G_SIZE,
    G_SNAPSHOT_PS,
    G_W_KV,
    G_W_OUTSTANDING,
    G_W_WAITING,
    H_SIZE,
    H_SNAPSHOT,
    KV_PARTS,
    L_BLOCKS,
    L_SIZE,
    R_INDEX,
    R_N_WAIT,
    R_POOL,
    R_SIZE,
    R_STAGE,
    STAGE_READY,
    W_KV,
    W_OUTSTANDING,
    W_SENT,
    W_SIZE,
    W_START,
    W_WAITING,
)
from sim.model.load import first_looked_at, next_looked_at, outstanding_of
from sim.model.replica import blocks_used


@jit_call
def take_snapshot(p, st, g, t):
    """What every ready replica of a group holds at t."""
    go = p.group + g * G_SIZE
    for r in range(p.m[go + G_FIRST], p.m[go + G_FIRST] + p.m[go + G_N]):
        forget(st, r)
        if st.m[st.rep + r * R_SIZE + R_STAGE] == STAGE_READY:
            blocks = p.m[p.pool + st.m[st.rep + r * R_SIZE + R_POOL] * L_SIZE + L_BLOCKS]
            wo = st.snapshot + r * W_SIZE
            st.m[wo + W_OUTSTANDING] = outstanding_of(st, r)
            st.m[wo + W_WAITING] = st.m[st.rep + r * R_SIZE + R_N_WAIT]
            st.m[wo + W_KV] = blocks_used(p, st, r, blocks, t) * KV_PARTS // blocks


@jit
def forget(st, r):
    """Nothing is known of replica r but that it is there: it counts as empty."""
    wo = st.snapshot + r * W_SIZE
    st.m[wo + W_START] = st.m[st.rep + r * R_SIZE + R_INDEX]
    st.m[wo + W_OUTSTANDING] = 0
    st.m[wo + W_WAITING] = 0
    st.m[wo + W_KV] = 0
    st.m[wo + W_SENT] = 0


@jit
def score_of(p, st, g, r):
    """What the router makes of replica r; one that has become ready since the snapshot counts as empty."""
    go = p.group + g * G_SIZE
    wo = st.snapshot + r * W_SIZE
    if st.m[wo + W_START] != st.m[st.rep + r * R_SIZE + R_INDEX]:
        forget(st, r)
    held = st.m[wo + W_OUTSTANDING]
    if p.m[go + G_COUNT_OWN] == 1:
        held += st.m[wo + W_SENT]
    counts = p.m[go + G_W_OUTSTANDING] * held + p.m[go + G_W_WAITING] * st.m[wo + W_WAITING]
    return counts * KV_PARTS + p.m[go + G_W_KV] * st.m[wo + W_KV]


@jit_call
def weighted_score(p, st, g, i, attempt, at, n, t):
    """The replica of a list with the lowest score."""
    age = p.m[p.group + g * G_SIZE + G_SNAPSHOT_PS]
    interval = t // age + 1 if age > 0 else 0
    if age == 0 or interval != st.m[st.group + g * H_SIZE + H_SNAPSHOT]:
        st.m[st.group + g * H_SIZE + H_SNAPSHOT] = interval
        take_snapshot(p, st, g, t)
    j = at + first_looked_at(p, i, attempt, n)
    best = st.m[j]
    lowest = score_of(p, st, g, best)
    for _ in range(n - 1):
        j = next_looked_at(j, at, n)
        score = score_of(p, st, g, st.m[j])
        if score < lowest:
            best = st.m[j]
            lowest = score
    st.m[st.snapshot + best * W_SIZE + W_SENT] += 1
    return best
