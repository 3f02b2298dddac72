"""Closed loops: which request a free client sends, and the end of a run whose requests are all over."""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.record.request_record import note_arrival
from sim.model.request.attempt import begin_first_attempt, drop_slot
from sim.model.request.in_flight import count_arrival, take_slot
from sim.model.request.session_turns import left_in_line
from sim.model.tables.codes import CLOSED
from sim.model.tables.sample import MARK_RUN
from sim.model.tables.traffic import NOBODY_FOLLOWS
from sim.model.telemetry.marks import pass_mark
from sim.model.telemetry.samples import sample


@jit
def take_from_line(params, state, line):
    """Take the first request out of a line; −1 where none is left."""
    if left_in_line(params, state, line) == 0:
        return -1
    sent = state.line[line]
    state.line[line] = sent + 1
    return params.line[line].first + sent


@jit_call
def begin_next_turn(params, state, s, t):
    """The turn that waited in slot s, or the next request of its line, arrives at t; False where the line is empty."""
    j = params.turn[state.slot[s].request].next
    drop_slot(state, s)
    if j < NOBODY_FOLLOWS:
        j = take_from_line(params, state, -2 - j)
        if j < 0:
            end_run_if_all_answered(params, state, t)
            return False
    take_slot(params, state, j, t)
    begin_first_attempt(params, state, s)
    count_arrival(params, state, j, t)
    note_arrival(params, state, j, t)
    return True


@jit_call
def end_run_if_all_answered(params, state, t):
    """End the run at t, before its time, if all its requests are over; the measured window ends with it."""
    if params.ends_with_last_answer == 0 or state.n_looped < params.n_request:
        return
    while state.n_mark < MARK_RUN:
        pass_mark(params, state, t)
    if params.sample_ps > 0 and state.next_sample_ps != t + params.sample_ps:
        sample(params, state, t)  # the time series ends where the run does
    state.now_ps = t
    state.status = CLOSED
