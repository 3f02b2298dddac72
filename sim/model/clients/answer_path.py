"""The path of an answer: CPU stations after the GPU, the guardrail's verdict, the response cache, the client."""

from __future__ import annotations

from sim.compile.jit import jit_call
from sim.model.admission.cpu_stations import enter_station, n_after, n_before
from sim.model.clients.attempt_flow import (
    arm_next_timer,
    dispatch_attempt,
    end_attempt,
    next_attempt,
    take_attempt,
)
from sim.model.request.attempt import (
    cancel_hedge_peer,
    count_waste,
    end_answered_attempt,
    end_of_attempt,
    is_counted,
)
from sim.model.request.in_flight import complete_request
from sim.model.request.session_turns import schedule_next_turn
from sim.model.router.fitting import n_fitting_pools
from sim.model.tables.codes import BLOCKED, COMPLETED, REJECTED, SEQ_AFTER
from sim.rng import STREAM_GUARD, draw_below


@jit_call
def on_station_done(params, state, s, t):
    """A request leaves a station at t, or comes from its replica or the response cache: send it to the next station, to
    dispatch, or to its client.
    """
    slot = state.slot[s]
    k = slot.traffic_class
    after = slot.state == SEQ_AFTER
    number = slot.visit + 1
    if slot.from_cache == 1:
        slot.first_ps = t
        slot.last_ps = t
        slot.gap_max = 0
        cancel_hedge_peer(params, state, s, t)
        deliver_answer(params, state, s, t)
    elif number < n_before(params, k) + (n_after(params, k) if after else 0):
        enter_station(params, state, s, number, t)
        arm_next_timer(params, state, s, t)
    elif after:
        deliver_answer(params, state, s, t)
    else:
        slot.cpu_before_ps = t - slot.taken_ps
        dispatch_attempt(params, state, s, n_fitting_pools(params, slot.served_model, slot.request), t)


@jit_call
def deliver_answer(params, state, s, t):
    """Deliver an answer that is complete at t, unless the guardrail blocks it."""
    slot = state.slot[s]
    klass = params.klass[slot.traffic_class]
    fallback = klass.fallback
    judged = slot.from_cache == 0 and slot.served_model != fallback
    verdict = draw_below(params.seed, STREAM_GUARD, slot.request, slot.attempt, 1 << 20)
    if judged and verdict < klass.blocked_q20:
        count_waste(params, state, s, slot.computed)
        if fallback >= 0:
            end_of_attempt(params, state, s, REJECTED)
            slot.served_model = fallback
            next_attempt(params, state, s)
            if is_counted(params, state, s):
                state.limit[slot.traffic_class].sent_on += 1
            take_attempt(params, state, s, t)
        else:
            end_attempt(params, state, s, slot.replica, REJECTED, BLOCKED, t)
        return
    last = slot.last_ps
    slot.cpu_after_ps = t - last
    end_answered_attempt(params, state, s, t)
    if klass.is_withheld == 1:
        slot.withheld_ps = last - slot.first_ps
        slot.first_ps = t
        last = t
    r = slot.replica
    complete_request(params, state, s, r, last, t, True)
    schedule_next_turn(params, state, s, r, COMPLETED, t)
