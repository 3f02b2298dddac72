"""The last token of an answer: the request is complete, or there is more to do."""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.admission.cpu_stations import n_before
from sim.model.request.attempt import answered, gives_up_at, goes_on, is_beaten, is_withheld
from sim.model.request.in_flight import conclude
from sim.model.request.session_turns import next_turn
from sim.model.tables.codes import COMPLETED, PHASE_DEADLINE, PHASE_STATION, SEQ_AFTER
from sim.model.timers.timer_heap import arm


@jit
def complete(params, state, s, r, t):
    """Replica r has emitted the last token of an answer at t."""
    if params.has_attempts == 1:
        last_token(params, state, s, r, t)
    else:
        conclude(params, state, s, r, t, t, False)


@jit_call
def last_token(params, state, s, r, t):
    """As complete, where there may be more to do: another attempt was first, stations follow, or it is an end."""
    if is_beaten(params, state, s):
        return
    if goes_on(params, state, s):
        state.slot[s].last_ps = t
        state.slot[s].state = SEQ_AFTER
        state.slot[s].visit = n_before(params, state.slot[s].traffic_class) - 1
        arm(state, s, PHASE_DEADLINE if gives_up_at(params, state, s, t + 1) else PHASE_STATION, t + 1)
        return
    answered(params, state, s, t)
    if is_withheld(params, state, s):
        state.slot[s].withheld_ps = t - state.slot[s].first_ps
        state.slot[s].first_ps = t
    conclude(params, state, s, r, t, t, True)
    next_turn(params, state, s, r, COMPLETED, t)
