"""Sessions in closed loop: the next turn of a session comes when the one before it has been answered and thought over.

Turns are requests of the table like any other, numbered beforehand; those that follow another one arrive by
themselves never. While its user thinks, or its agent waits for a tool, a turn sleeps in a slot.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.attempts import begin_request, drop_slot, take_free
from sim.model.layout import (
    COMPLETED,
    F_CLASS,
    F_REQUEST,
    F_SIZE,
    F_STATE,
    K_PERSISTENT,
    K_SIZE,
    P_DURATION_PS,
    P_TURNS,
    PHASE_TURN,
    SEQ_THINKING,
    TURN_NEXT,
    TURN_PAUSE_PS,
    TURN_SIZE,
)
from sim.model.request import network_of, offer, take_slot
from sim.model.row import note_arrival
from sim.model.timers import arm


@jit
def next_turn(p, st, s, r, outcome, t):
    """The request whose slot s was is over at t, its answer from replica r: what follows it where sessions go on."""
    if p.m[P_TURNS] > 0:
        send_turn(p, st, s, r, outcome, t)


@jit_call
def send_turn(p, st, s, r, outcome, t):
    """The session's next turn is on its way.

    Who was not answered goes away, unless the class is persistent; after the end of the run nobody comes. The turn
    sleeps in the slot of the one before it, which is left as it is: a prefix cache may still have to look at it.
    """
    so = st.slot + s * F_SIZE
    to = p.m[P_TURNS] + st.m[so + F_REQUEST] * TURN_SIZE
    k = st.m[so + F_CLASS]
    if p.trace[to + TURN_NEXT] < 0 or (
        outcome != COMPLETED and p.m[p.klass + k * K_SIZE + K_PERSISTENT] == 0
    ):
        return
    seen = t + (network_of(p, st, k, r) if outcome == COMPLETED else 0)
    comes = seen + p.trace[to + TURN_PAUSE_PS]
    if comes < p.m[P_DURATION_PS]:
        st.m[st.slot + take_free(st) * F_SIZE + F_STATE] = (
            SEQ_THINKING  # it is the last one that was given back: s
        )
        arm(st, s, PHASE_TURN, comes)


@jit_call
def come(p, st, s, t):
    """The turn that slept in slot s arrives at t."""
    j = p.trace[p.m[P_TURNS] + st.m[st.slot + s * F_SIZE + F_REQUEST] * TURN_SIZE + TURN_NEXT]
    drop_slot(st, s)
    take_slot(p, st, j, t)
    begin_request(p, st, s)
    offer(p, st, j, t)
    note_arrival(p, st, j, t)
