"""Clients that go when a stream stalls: no new token for so long.

Tokens of a jump are not events, so a client looks at its watch: when as much time has passed since the last token that
it knew of, it looks up the last one there is. Between two looks no gap can have been longer than that.
"""

from __future__ import annotations

from sim.compile.jit import jit_call
from sim.model.replica.jump import settle
from sim.model.tables.codes import SEQ_AFTER, SEQ_DECODE
from sim.units import NEVER


@jit_call
def last_token_ps(params, state, s, t):
    """When the stream of slot s, which has begun, had its last token before t."""
    slot = state.slot[s]
    if slot.state == SEQ_DECODE:
        r = slot.replica
        settle(params, state, r, t)
        return state.replica[r].jump_ps
    return slot.last_ps


@jit_call
def stall_ps(params, state, s, t):
    """When the client of slot s goes unless it sees a token before, or looks again while there is none; NEVER = not at
    all. Nothing stalls once the answer is complete, or while nothing of it is shown.
    """
    slot = state.slot[s]
    klass = params.klass[slot.traffic_class]
    gap = klass.stall_ps
    if gap == NEVER or klass.is_withheld == 1 or slot.state == SEQ_AFTER:
        return NEVER
    if slot.first_ps < 0:
        return t + gap
    return last_token_ps(params, state, s, t) + gap
