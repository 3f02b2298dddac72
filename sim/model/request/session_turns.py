"""Closed loops: what comes when an answer has been seen, the next turn of its session or the next request of a line.

Turns are requests of the table like any other, numbered beforehand; those that follow another one arrive by
themselves never. While its user thinks, or its agent waits for a tool, a turn sleeps in a slot. Clients that keep so many
requests in flight share a line: who of them is free sends whoever is first in it.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.request.attempt import take_free
from sim.model.request.in_flight import network_of
from sim.model.tables.codes import COMPLETED, SEQ_THINKING
from sim.model.tables.traffic import NOBODY_FOLLOWS
from sim.model.timers.kinds import TIMER_TURN
from sim.model.timers.timer_heap import arm


@jit
def schedule_next_turn(params, state, s, r, outcome, t):
    """The request whose slot s was is over at t, its answer from replica r: what follows it where loops are closed."""
    if params.turn_at > 0:
        send_next_turn(params, state, s, r, outcome, t)


@jit_call
def send_next_turn(params, state, s, r, outcome, t):
    """What follows is on its way.

    In a session who was not answered goes away, unless the class is persistent; a client of a line goes on. After the
    end of the run nobody comes. What comes sleeps in the slot of the one before it, which is left as it is: a prefix
    cache may still have to look at it.
    """
    slot = state.slot[s]
    turn = params.turn[slot.request]
    k = slot.traffic_class
    follows = turn.next
    pause = turn.pause_ps
    if follows < NOBODY_FOLLOWS:
        state.n_looped += 1
        if left_in_line(params, state, -2 - follows) == 0:
            pause = 1
    elif follows == NOBODY_FOLLOWS or (outcome != COMPLETED and params.klass[k].is_persistent == 0):
        return
    seen = t + (network_of(params, state, k, r) if outcome == COMPLETED else 0)
    comes = seen + pause
    if comes < params.duration_ps:
        state.slot[take_free(state)].state = SEQ_THINKING  # it is the last one that was given back: s
        arm(state, s, TIMER_TURN, comes)


@jit
def left_in_line(params, state, line):
    """How many requests of a line have not been sent."""
    return params.line[line].n - state.line[line]
