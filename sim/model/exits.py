"""An answer's way out: CPU stations behind the GPU, the guardrail's verdict, the cache, the client."""

from __future__ import annotations

from sim.jit import jit_call
from sim.model.attempts import answered, counts_for, end_of_attempt, waste, win
from sim.model.layout import (
    BLOCKED,
    COMPLETED,
    F_ATTEMPT,
    F_CLASS,
    F_COMPUTED,
    F_CPU_AFTER_PS,
    F_CPU_BEFORE_PS,
    F_FIRST_PS,
    F_FROM_CACHE,
    F_GAP_MAX,
    F_GROUP,
    F_LAST_PS,
    F_REPLICA,
    F_REQUEST,
    F_SIZE,
    F_STATE,
    F_STEP,
    F_TAKEN_PS,
    F_WITHHELD_PS,
    J_SENT_ON,
    J_SIZE,
    K_BLOCKED_Q20,
    K_FALLBACK,
    K_SIZE,
    K_WITHHELD,
    P_SEED,
    REJECTED,
    SEQ_AFTER,
)
from sim.model.request import conclude
from sim.model.router import n_fitting_pools
from sim.model.stations import enter_station, n_after, n_before
from sim.model.tries import end_attempt, let_in, next_attempt, take_attempt, watch
from sim.model.turns import next_turn
from sim.rng import STREAM_GUARD, draw_below


@jit_call
def on_station(p, st, s, t):
    """A request is done with a station at t, or comes from its replica or the cache: to the next station, in, or out."""
    so = st.slot + s * F_SIZE
    k = st.m[so + F_CLASS]
    after = st.m[so + F_STATE] == SEQ_AFTER
    step = st.m[so + F_STEP] + 1
    if st.m[so + F_FROM_CACHE] == 1:
        st.m[so + F_FIRST_PS] = t
        st.m[so + F_LAST_PS] = t
        st.m[so + F_GAP_MAX] = 0
        win(p, st, s, t)
        go_out(p, st, s, t)
    elif step < n_before(p, k) + (n_after(p, k) if after else 0):
        enter_station(p, st, s, step, t)
        watch(p, st, s, t)
    elif after:
        go_out(p, st, s, t)
    else:
        st.m[so + F_CPU_BEFORE_PS] = t - st.m[so + F_TAKEN_PS]
        let_in(p, st, s, n_fitting_pools(p, st.m[so + F_GROUP], st.m[so + F_REQUEST]), t)


@jit_call
def go_out(p, st, s, t):
    """An answer is complete at t, or the guardrail's verdict is against it."""
    so = st.slot + s * F_SIZE
    ko = p.klass + st.m[so + F_CLASS] * K_SIZE
    fallback = p.m[ko + K_FALLBACK]
    judged = st.m[so + F_FROM_CACHE] == 0 and st.m[so + F_GROUP] != fallback
    verdict = draw_below(p.m[P_SEED], STREAM_GUARD, st.m[so + F_REQUEST], st.m[so + F_ATTEMPT], 1 << 20)
    if judged and verdict < p.m[ko + K_BLOCKED_Q20]:
        waste(p, st, s, st.m[so + F_COMPUTED])
        if fallback >= 0:
            end_of_attempt(p, st, s, REJECTED)
            st.m[so + F_GROUP] = fallback
            next_attempt(p, st, s)
            if counts_for(p, st, s):
                st.m[st.limit + st.m[so + F_CLASS] * J_SIZE + J_SENT_ON] += 1
            take_attempt(p, st, s, t)
        else:
            end_attempt(p, st, s, st.m[so + F_REPLICA], REJECTED, BLOCKED, t)
        return
    last = st.m[so + F_LAST_PS]
    st.m[so + F_CPU_AFTER_PS] = t - last
    answered(p, st, s, t)
    if p.m[ko + K_WITHHELD] == 1:
        st.m[so + F_WITHHELD_PS] = last - st.m[so + F_FIRST_PS]
        st.m[so + F_FIRST_PS] = t
        last = t
    r = st.m[so + F_REPLICA]
    conclude(p, st, s, r, last, t, True)
    next_turn(p, st, s, r, COMPLETED, t)
