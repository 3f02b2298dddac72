"""The last token of an answer: the request is complete, or there is more to do."""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.attempts import answered, gives_up_at, goes_on, is_beaten, is_withheld
from sim.model.layout import (
    COMPLETED,
    F_CLASS,
    F_FIRST_PS,
    F_LAST_PS,
    F_SIZE,
    F_STATE,
    F_STEP,
    F_WITHHELD_PS,
    P_ATTEMPTS,
    PHASE_DEADLINE,
    PHASE_STATION,
    SEQ_AFTER,
)
from sim.model.request import conclude
from sim.model.stations import n_before
from sim.model.timers import arm
from sim.model.turns import next_turn


@jit
def complete(p, st, s, r, t):
    """Replica r has emitted the last token of an answer at t."""
    if p.m[P_ATTEMPTS] == 1:
        last_token(p, st, s, r, t)
    else:
        conclude(p, st, s, r, t, t, False)


@jit_call
def last_token(p, st, s, r, t):
    """As complete, where there may be more to do: another attempt was first, stations follow, or it is an end."""
    if is_beaten(p, st, s):
        return
    if goes_on(p, st, s):
        st.m[st.slot + s * F_SIZE + F_LAST_PS] = t
        st.m[st.slot + s * F_SIZE + F_STATE] = SEQ_AFTER
        st.m[st.slot + s * F_SIZE + F_STEP] = n_before(p, st.m[st.slot + s * F_SIZE + F_CLASS]) - 1
        arm(st, s, PHASE_DEADLINE if gives_up_at(p, st, s, t + 1) else PHASE_STATION, t + 1)
        return
    answered(p, st, s, t)
    if is_withheld(p, st, s):
        st.m[st.slot + s * F_SIZE + F_WITHHELD_PS] = t - st.m[st.slot + s * F_SIZE + F_FIRST_PS]
        st.m[st.slot + s * F_SIZE + F_FIRST_PS] = t
    conclude(p, st, s, r, t, t, True)
    next_turn(p, st, s, r, COMPLETED, t)
