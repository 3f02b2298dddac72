"""Closed loops: what comes when an answer has been seen, the next turn of its session or the next request of a line.

Turns are requests of the table like any other, numbered beforehand; those that follow another one arrive by
themselves never. While its user thinks, or its agent waits for a tool, a turn sleeps in a slot. Clients that keep so many
requests in flight share a line: who of them is free sends whoever is first in it.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.attempts import take_free
from sim.model.layout import (
    COMPLETED,
    F_CLASS,
    F_REQUEST,
    F_SIZE,
    F_STATE,
    K_PERSISTENT,
    K_SIZE,
    LINE_N,
    LINE_SIZE,
    NOBODY_FOLLOWS,
    P_DURATION_PS,
    P_LINES,
    P_TURNS,
    PHASE_TURN,
    S_LOOPED,
    SEQ_THINKING,
    TURN_NEXT,
    TURN_PAUSE_PS,
    TURN_SIZE,
)
from sim.model.request import network_of
from sim.model.timers import arm


@jit
def next_turn(p, st, s, r, outcome, t):
    """The request whose slot s was is over at t, its answer from replica r: what follows it where loops are closed."""
    if p.m[P_TURNS] > 0:
        send_turn(p, st, s, r, outcome, t)


@jit_call
def send_turn(p, st, s, r, outcome, t):
    """What follows is on its way.

    In a session who was not answered goes away, unless the class is persistent; a client of a line goes on. After the
    end of the run nobody comes. What comes sleeps in the slot of the one before it, which is left as it is: a prefix
    cache may still have to look at it.
    """
    so = st.slot + s * F_SIZE
    to = p.m[P_TURNS] + st.m[so + F_REQUEST] * TURN_SIZE
    k = st.m[so + F_CLASS]
    follows = p.trace[to + TURN_NEXT]
    pause = p.trace[to + TURN_PAUSE_PS]
    if follows < NOBODY_FOLLOWS:
        st.m[S_LOOPED] += 1
        if left_in_line(p, st, -2 - follows) == 0:
            pause = 1
    elif follows == NOBODY_FOLLOWS or (
        outcome != COMPLETED and p.m[p.klass + k * K_SIZE + K_PERSISTENT] == 0
    ):
        return
    seen = t + (network_of(p, st, k, r) if outcome == COMPLETED else 0)
    comes = seen + pause
    if comes < p.m[P_DURATION_PS]:
        st.m[st.slot + take_free(st) * F_SIZE + F_STATE] = (
            SEQ_THINKING  # it is the last one that was given back: s
        )
        arm(st, s, PHASE_TURN, comes)


@jit
def left_in_line(p, st, line):
    """How many requests of a line have not been sent."""
    return p.trace[p.m[P_LINES] + line * LINE_SIZE + LINE_N] - st.m[st.line + line]
