"""When clients send a second attempt beside their first.

Nearly every hedge turns out needless: a first token comes before its time. So hedges are not kept in the heap of timers.
Attempts whose clients wait equally long form a list; a new attempt goes to its end, and only the first hedge of all
lists is looked at.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.timers.kinds import TIMER_HEDGE
from sim.model.timers.timer_heap import timer_key
from sim.units import NEVER

NOT_LISTED = -1


@jit
def hedge_ps(params, state, s):
    """When the client of slot s sends a second attempt, if there is no token by then; NEVER = not at all."""
    slot = state.slot[s]
    after = params.klass[slot.traffic_class].hedge_ps
    return slot.taken_ps + after if after != NEVER else NEVER


@jit
def hedge_key(state, s):
    """What orders hedges of one instant, among themselves and with timers."""
    slot = state.slot[s]
    return timer_key(TIMER_HEDGE, slot.request, slot.attempt)


@jit
def hedges_before(params, state, s, other):
    """Whether the hedge of slot s comes before that of another."""
    mine, its = hedge_ps(params, state, s), hedge_ps(params, state, other)
    return mine < its or (mine == its and hedge_key(state, s) < hedge_key(state, other))


@jit
def is_listed(state, s):
    """Whether the client of slot s may send a second attempt."""
    return state.slot[s].hedge_prev != NOT_LISTED


@jit
def has_first_token(state, s):
    """Whether there is a first token already."""
    return state.slot[s].first_ps >= 0


@jit
def find_first(params, state):
    """The head of a list has changed: find the first hedge of all."""
    best = -1
    for j in range(params.n_hedge_list):
        s = state.hedge_list[j].head - 1
        if s >= 0 and (best < 0 or hedges_before(params, state, s, best)):
            best = s
    state.hedge_slot = best
    state.hedge_ps = hedge_ps(params, state, best) if best >= 0 else NEVER


@jit
def list_of(params, state, s):
    """The hedge list of a slot's class."""
    return state.hedge_list[params.klass[state.slot[s].traffic_class].hedge_list]


@jit
def set_next_hedge(state, hedges, before, s):
    """Link s behind the hedge `before`, or first in its list where that is 0; both are 1 + a slot."""
    if before > 0:
        state.slot[before - 1].hedge_next = s
    else:
        hedges.head = s


@jit
def set_prev_hedge(state, hedges, after, s):
    """Link s before the hedge `after`, or last in its list where that is 0; both are 1 + a slot."""
    if after > 0:
        state.slot[after - 1].hedge_prev = s
    else:
        hedges.tail = s


@jit
def list_hedge(params, state, s):
    """List an attempt whose client may send a second one: at the end of its list, in order among those of one instant."""
    slot = state.slot[s]
    hedges = list_of(params, state, s)
    before = hedges.tail
    while before > 0 and hedges_before(params, state, s, before - 1):
        before = state.slot[before - 1].hedge_prev
    after = state.slot[before - 1].hedge_next if before > 0 else hedges.head
    set_next_hedge(state, hedges, before, s + 1)
    slot.hedge_prev = before
    slot.hedge_next = after
    set_prev_hedge(state, hedges, after, s + 1)
    if before == 0:
        find_first(params, state)
        if state.hedge_ps < state.next_input_ps:
            state.next_input_ps = state.hedge_ps


@jit_call
def unlist_hedge(params, state, s):
    """The client of slot s, which is listed, sends no second attempt any more."""
    slot = state.slot[s]
    hedges = list_of(params, state, s)
    before, after = slot.hedge_prev, slot.hedge_next
    slot.hedge_prev = NOT_LISTED
    set_next_hedge(state, hedges, before, after)
    set_prev_hedge(state, hedges, after, before)
    if before == 0:
        find_first(params, state)
