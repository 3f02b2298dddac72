"""The row that a request leaves: folded into the digest, kept where records are on."""

from __future__ import annotations

import numpy as np

from sim.jit import jit, jit_call
from sim.model.blame import write_blame
from sim.model.layout import (
    A_ATTEMPTS,
    A_CACHED,
    A_SIZE,
    A_TAKEN_PS,
    A_WASTED,
    F_ATTEMPTS,
    F_CACHED,
    F_REQUEST,
    F_SIZE,
    F_TAKEN_PS,
    F_WASTED,
    P_RECORDS,
    S_DIGEST,
    X_FIRST_PS,
    X_GAP_MAX_PS,
    X_LAST_PS,
    X_OUTCOME,
    X_PREEMPTIONS,
    X_REASON,
    X_REPLICA,
    X_ROUTED_PS,
    X_SCHEDULED_PS,
    X_SIZE,
)
from sim.model.metrics import finished, mixed

SEED = np.uint64(0x5851F42D4C957F2D)


@jit
def write_row(
    p, st, i, routed, scheduled, first, last, replica, preemptions, gap_max, outcome, reason, s, tried
):
    """Fold a request's row into the digest and keep it where records are on; s is its slot, or −1.

    `tried` says whether clients may try again (P_ATTEMPTS). Who knows it says True or False: the compiler then leaves
    the rest out of that copy of the rule.
    """
    h = mixed(mixed(mixed(mixed(SEED, i), routed), scheduled), first)
    h = mixed(mixed(mixed(mixed(h, last), replica), preemptions), gap_max)
    h = mixed(h, outcome * 256 + reason)
    if tried:
        h = write_attempts(p, st, i, s, h)
    st.m[S_DIGEST] += finished(h)
    if p.m[P_RECORDS] == 1:
        o = i * X_SIZE
        st.m[st.record + o + X_ROUTED_PS] = routed
        st.m[st.record + o + X_SCHEDULED_PS] = scheduled
        st.m[st.record + o + X_FIRST_PS] = first
        st.m[st.record + o + X_LAST_PS] = last
        st.m[st.record + o + X_REPLICA] = replica
        st.m[st.record + o + X_PREEMPTIONS] = preemptions
        st.m[st.record + o + X_GAP_MAX_PS] = gap_max
        st.m[st.record + o + X_OUTCOME] = outcome
        st.m[st.record + o + X_REASON] = reason
        if s >= 0:
            write_blame(p, st, i, st.slot + s * F_SIZE)


@jit_call
def write_waste(p, st, i, tokens):
    """Add what was computed for an attempt that was beaten to the row of its request, which may be written already."""
    st.m[S_DIGEST] += finished(mixed(mixed(SEED, i), tokens))
    if p.m[P_RECORDS] == 1:
        st.m[st.tried + i * A_SIZE + A_WASTED] += tokens


@jit_call
def write_attempts(p, st, i, s, h):
    """What a request's row says of its attempts; returns the row's hash with it."""
    so = st.slot + s * F_SIZE
    if p.m[P_RECORDS] == 1:
        o = st.tried + i * A_SIZE
        st.m[o + A_ATTEMPTS] = st.m[so + F_ATTEMPTS]
        st.m[o + A_TAKEN_PS] = st.m[so + F_TAKEN_PS]
        st.m[o + A_WASTED] += st.m[so + F_WASTED]
    return mixed(mixed(mixed(h, st.m[so + F_ATTEMPTS]), st.m[so + F_TAKEN_PS]), st.m[so + F_WASTED])


@jit_call
def note_arrival(p, st, i, t):
    """A request that does not come at a time of the table arrives at t."""
    st.m[S_DIGEST] += finished(mixed(mixed(SEED, i), t))
    if p.m[P_RECORDS] == 1:
        st.m[st.arrived + i] = t


@jit_call
def note_cached(p, st, so):
    """A request that is about to be written down had found part of its prompt in a prefix cache."""
    i = st.m[so + F_REQUEST]
    st.m[S_DIGEST] += finished(mixed(mixed(SEED, -1 - i), st.m[so + F_CACHED]))
    if p.m[P_RECORDS] == 1:
        st.m[st.tried + i * A_SIZE + A_CACHED] = st.m[so + F_CACHED]
