"""Clients that give up when a stream stalls: no new token for `stall_s`.

Tokens of a jump are not events. So a client sets a timer for `stall_s` after the last token that it knows of; when it
fires, the client looks up the last token there is. No gap between two looks can have been longer.
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
    """When the client of slot s gives up unless it sees a token before, or looks again while there is none; NEVER = not at
    all. An answer does not stall once it is complete, or while nothing of it is shown.
    """
    slot = state.slot[s]
    klass = params.klass[slot.traffic_class]
    gap = klass.stall_ps
    if gap == NEVER or klass.is_withheld == 1 or slot.state == SEQ_AFTER:
        return NEVER
    if slot.first_ps < 0:
        return t + gap
    return last_token_ps(params, state, s, t) + gap
