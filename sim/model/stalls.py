"""Clients that go when a stream stalls: no new token for so long.

Tokens of a jump are not events, so a client looks at its watch: when as much time has passed since the last token that
it knew of, it looks up the last one there is. Between two looks no gap can have been longer than that.
"""

from __future__ import annotations

from sim.jit import jit_call
from sim.model.layout import (
    F_CLASS,
    F_FIRST_PS,
    F_LAST_PS,
    F_REPLICA,
    F_SIZE,
    F_STATE,
    K_GAP_PS,
    K_SIZE,
    K_WITHHELD,
    R_JUMP_PS,
    R_SIZE,
    SEQ_AFTER,
    SEQ_DECODE,
)
from sim.model.replica import settle
from sim.units import NEVER


@jit_call
def last_token_ps(p, st, s, t):
    """When the stream of slot s, which has begun, had its last token before t."""
    so = st.slot + s * F_SIZE
    if st.m[so + F_STATE] == SEQ_DECODE:
        r = st.m[so + F_REPLICA]
        settle(p, st, r, t)
        return st.m[st.rep + r * R_SIZE + R_JUMP_PS]
    return st.m[so + F_LAST_PS]


@jit_call
def stall_ps(p, st, s, t):
    """When the client of slot s goes unless it sees a token before, or looks again while there is none; NEVER = not at
    all. Nothing stalls once the answer is complete, or while nothing of it is shown.
    """
    so = st.slot + s * F_SIZE
    ko = p.klass + st.m[so + F_CLASS] * K_SIZE
    gap = p.m[ko + K_GAP_PS]
    if gap == NEVER or p.m[ko + K_WITHHELD] == 1 or st.m[so + F_STATE] == SEQ_AFTER:
        return NEVER
    if st.m[so + F_FIRST_PS] < 0:
        return t + gap
    return last_token_ps(p, st, s, t) + gap
