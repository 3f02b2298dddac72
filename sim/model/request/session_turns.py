"""Closed loops: which request follows when an answer has been seen: the next turn of its session, or the next of a line.

Turns are requests of the table, numbered beforehand; a turn that follows another one has no arrival time of its own.
While its user thinks, or its agent waits for a tool, the turn waits in a slot. The clients of a load generator share a
line of requests: a client that is free sends the first of them.
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
    """The request of slot s, which is given back, is over at t at replica r: schedule what follows it in a closed loop."""
    if params.turn_at > 0:
        send_next_turn(params, state, s, r, outcome, t)


@jit_call
def send_next_turn(params, state, s, r, outcome, t):
    """Schedule the request that follows.

    A user who was not answered ends the session, unless the class is persistent; a client of a line goes on. No turn
    comes at `duration_s` or later. The turn waits in the slot of the one before it, whose fields stay as they are: a
    prefix cache may still have to read them.
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
