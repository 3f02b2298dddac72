"""Closed loops: who comes when a client is free, and the end of a run in which nobody is left to come."""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.attempts import begin_request, drop_slot
from sim.model.layout import (
    CLOSED,
    F_REQUEST,
    F_SIZE,
    LINE_FIRST,
    LINE_SIZE,
    MARK_RUN,
    NOBODY_FOLLOWS,
    P_CLOSES,
    P_LINES,
    P_N_REQUEST,
    P_SAMPLE_PS,
    P_TURNS,
    S_LOOPED,
    S_MARKS,
    S_NEXT_SAMPLE,
    S_NOW,
    S_STATUS,
    TURN_NEXT,
    TURN_SIZE,
)
from sim.model.marks import pass_mark
from sim.model.observe import sample
from sim.model.request import offer, take_slot
from sim.model.row import note_arrival
from sim.model.turns import left_in_line


@jit
def first_in_line(p, st, line):
    """The request that is first in a line, which it leaves; −1 where nobody is left."""
    if left_in_line(p, st, line) == 0:
        return -1
    sent = st.m[st.line + line]
    st.m[st.line + line] = sent + 1
    return p.trace[p.m[P_LINES] + line * LINE_SIZE + LINE_FIRST] + sent


@jit_call
def come(p, st, s, t):
    """What slept in slot s arrives at t; False where there is nobody left."""
    j = p.trace[p.m[P_TURNS] + st.m[st.slot + s * F_SIZE + F_REQUEST] * TURN_SIZE + TURN_NEXT]
    drop_slot(st, s)
    if j < NOBODY_FOLLOWS:
        j = first_in_line(p, st, -2 - j)
        if j < 0:
            close(p, st, t)
            return False
    take_slot(p, st, j, t)
    begin_request(p, st, s)
    offer(p, st, j, t)
    note_arrival(p, st, j, t)
    return True


@jit_call
def close(p, st, t):
    """The run ends here, before its time, if all its requests are over: the measured window ends with it."""
    if p.m[P_CLOSES] == 0 or st.m[S_LOOPED] < p.m[P_N_REQUEST]:
        return
    while st.m[S_MARKS] < MARK_RUN:
        pass_mark(p, st, t)
    if p.m[P_SAMPLE_PS] > 0 and st.m[S_NEXT_SAMPLE] != t + p.m[P_SAMPLE_PS]:
        sample(p, st, t)  # the time series ends where the run does
    st.m[S_NOW] = t
    st.m[S_STATUS] = CLOSED
