"""When clients send a second attempt beside their first.

Nearly every hedge turns out needless before its time comes: there is a first token. So they do not stand in the heap of
timers. Clients that wait equally long form a list, a new attempt goes to its end, and only the first of all lists is
looked at.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.layout import (
    F_ATTEMPT,
    F_CLASS,
    F_FIRST_PS,
    F_HEDGE_NEXT,
    F_HEDGE_PREV,
    F_REQUEST,
    F_SIZE,
    F_TAKEN_PS,
    HEDGE_HEAD,
    HEDGE_SIZE,
    HEDGE_TAIL,
    K_HEDGE_LIST,
    K_HEDGE_PS,
    K_SIZE,
    P_N_HEDGE,
    PHASE_TURN,
    S_HEDGE,
    S_HEDGE_PS,
    S_NEXT_IN,
)
from sim.model.timers import timer_key
from sim.units import NEVER

NOT_LISTED = -1


@jit
def hedge_ps(p, st, s):
    """When the client of slot s sends a second attempt, if there is no token by then; NEVER = not at all."""
    so = st.slot + s * F_SIZE
    after = p.m[p.klass + st.m[so + F_CLASS] * K_SIZE + K_HEDGE_PS]
    return st.m[so + F_TAKEN_PS] + after if after != NEVER else NEVER


@jit
def hedge_key(st, s):
    """What orders hedges of one instant, among themselves and with timers."""
    so = st.slot + s * F_SIZE
    return timer_key(PHASE_TURN, st.m[so + F_REQUEST], st.m[so + F_ATTEMPT])


@jit
def goes_before(p, st, s, other):
    """Whether the hedge of slot s comes before that of another."""
    mine, its = hedge_ps(p, st, s), hedge_ps(p, st, other)
    return mine < its or (mine == its and hedge_key(st, s) < hedge_key(st, other))


@jit
def is_listed(st, s):
    """Whether the client of slot s may send a second attempt."""
    return st.m[st.slot + s * F_SIZE + F_HEDGE_PREV] != NOT_LISTED


@jit
def is_needless(st, s):
    """Whether there is a first token already."""
    return st.m[st.slot + s * F_SIZE + F_FIRST_PS] >= 0


@jit
def find_first(p, st):
    """Some list begins otherwise: which hedge is the first of all."""
    best = -1
    for j in range(p.m[P_N_HEDGE]):
        s = st.m[st.hedge + j * HEDGE_SIZE + HEDGE_HEAD] - 1
        if s >= 0 and (best < 0 or goes_before(p, st, s, best)):
            best = s
    st.m[S_HEDGE] = best
    st.m[S_HEDGE_PS] = hedge_ps(p, st, best) if best >= 0 else NEVER


@jit
def list_of(p, st, s):
    """Where the list of a slot's class is."""
    return st.hedge + p.m[p.klass + st.m[st.slot + s * F_SIZE + F_CLASS] * K_SIZE + K_HEDGE_LIST] * HEDGE_SIZE


@jit
def list_hedge(p, st, s):
    """An attempt has begun whose client may send a second one: the last of its list, or of one instant in order."""
    so = st.slot + s * F_SIZE
    o = list_of(p, st, s)
    before = st.m[o + HEDGE_TAIL]
    while before > 0 and goes_before(p, st, s, before - 1):
        before = st.m[st.slot + (before - 1) * F_SIZE + F_HEDGE_PREV]
    at = st.slot + (before - 1) * F_SIZE + F_HEDGE_NEXT if before > 0 else o + HEDGE_HEAD
    after = st.m[at]
    st.m[at] = s + 1
    st.m[so + F_HEDGE_PREV] = before
    st.m[so + F_HEDGE_NEXT] = after
    if after > 0:
        st.m[st.slot + (after - 1) * F_SIZE + F_HEDGE_PREV] = s + 1
    else:
        st.m[o + HEDGE_TAIL] = s + 1
    if before == 0:
        find_first(p, st)
        if st.m[S_HEDGE_PS] < st.m[S_NEXT_IN]:
            st.m[S_NEXT_IN] = st.m[S_HEDGE_PS]


@jit_call
def unlist_hedge(p, st, s):
    """The client of slot s, which is listed, sends no second attempt any more."""
    so = st.slot + s * F_SIZE
    o = list_of(p, st, s)
    before, after = st.m[so + F_HEDGE_PREV], st.m[so + F_HEDGE_NEXT]
    st.m[so + F_HEDGE_PREV] = NOT_LISTED
    st.m[st.slot + (before - 1) * F_SIZE + F_HEDGE_NEXT if before > 0 else o + HEDGE_HEAD] = after
    if after > 0:
        st.m[st.slot + (after - 1) * F_SIZE + F_HEDGE_PREV] = before
    else:
        st.m[o + HEDGE_TAIL] = before
    if before == 0:
        find_first(p, st)
