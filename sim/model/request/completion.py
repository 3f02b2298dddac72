"""The last token of an answer: the request is complete, or there is more to do."""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.admission.cpu_stations import n_before
from sim.model.request.attempt import (
    end_answered_attempt,
    end_if_lost_hedge,
    gives_up_at,
    has_more_to_do,
    is_withheld,
)
from sim.model.request.in_flight import complete_request
from sim.model.request.session_turns import schedule_next_turn
from sim.model.tables.codes import COMPLETED, SEQ_AFTER
from sim.model.timers.kinds import TIMER_DEADLINE, TIMER_STATION
from sim.model.timers.timer_heap import arm


@jit
def on_answer_computed(params, state, s, r, t):
    """Replica r has emitted the last token of an answer at t."""
    if params.has_attempts == 1:
        complete_attempt(params, state, s, r, t)
    else:
        complete_request(params, state, s, r, t, t, False)


@jit_call
def complete_attempt(params, state, s, r, t):
    """`on_answer_computed` where attempts are kept apart: this one lost to its hedge peer, more is to be done, or its
    request is complete.
    """
    if end_if_lost_hedge(params, state, s):
        return
    if has_more_to_do(params, state, s):
        state.slot[s].last_ps = t
        state.slot[s].state = SEQ_AFTER
        state.slot[s].visit = n_before(params, state.slot[s].traffic_class) - 1
        arm(state, s, TIMER_DEADLINE if gives_up_at(params, state, s, t + 1) else TIMER_STATION, t + 1)
        return
    end_answered_attempt(params, state, s, t)
    if is_withheld(params, state, s):
        state.slot[s].withheld_ps = t - state.slot[s].first_ps
        state.slot[s].first_ps = t
    complete_request(params, state, s, r, t, t, True)
    schedule_next_turn(params, state, s, r, COMPLETED, t)
