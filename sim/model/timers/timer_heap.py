"""What requests wait for outside the replicas: deadlines, retries, hedges, think times.

A slot has at most one timer, Slot.due_ps. Most timers are moved or disarmed long before they fire, and the heap that
finds the first is not updated then: its entry for a slot is a lower bound of the slot's timer by (time, phase, request,
attempt), and is raised or dropped when it comes to the top. An entry outlives the request that it was made for: the next
request in the slot takes it over. So there are never more entries than slots.

Every entry has four below it: half as many levels as with two, and the four lie side by side.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.timers.kinds import KIND_BITS
from sim.units import NEVER

ATTEMPT_BITS = 8
REQUEST_BITS = 44
KIND_MASK = (1 << KIND_BITS) - 1


@jit
def timer_key(kind, request, attempt):
    """What orders timers of one instant: phase, request, attempt; and, last, which kind of its phase the timer is."""
    order = ((((kind >> KIND_BITS) << REQUEST_BITS) | request) << ATTEMPT_BITS) | attempt
    return (order << KIND_BITS) | (kind & KIND_MASK)


@jit
def first_timer_ps(state):
    """When the heap is looked at next: no timer fires before; NEVER = there is none."""
    return state.timer[0].time_ps if state.n_timer > 0 else NEVER


@jit
def next_timer_ps(state):
    """A time before which no timer and no hedge fires; NEVER = there is none."""
    timer_ps = first_timer_ps(state)
    return timer_ps if timer_ps < state.hedge_ps else state.hedge_ps


@jit
def fires_before(state, time, key):
    """Whether the first entry of the heap comes before (time, key)."""
    return state.n_timer > 0 and not is_before(state, time, key, 0)


@jit
def kind_of(state, s):
    """The kind of the timer of slot s."""
    key = state.slot[s].due_key
    return ((key >> (REQUEST_BITS + ATTEMPT_BITS + KIND_BITS)) << KIND_BITS) | (key & KIND_MASK)


@jit
def is_before(state, time, key, j):
    """Whether (time, key) comes before the j-th entry."""
    other = state.timer[j]
    if time == other.time_ps:
        return key < other.key
    return time < other.time_ps


@jit
def first_of(state, j, other):
    """The earlier of two entries."""
    mine, its = state.timer[j], state.timer[other]
    if its.time_ps == mine.time_ps and its.key < mine.key:
        return other
    return other if its.time_ps < mine.time_ps else j


@jit_call
def first_of_four(state, j):
    """The earliest of four neighbours, the first of which is j. Which it is cannot be predicted, and only outside a
    loop does the compiler choose without a branch.
    """
    left = first_of(state, j, j + 1)
    right = first_of(state, j + 2, j + 3)
    return first_of(state, left, right)


@jit
def put(state, j, time, key, s):
    """Write the j-th entry."""
    entry = state.timer[j]
    entry.time_ps = time
    entry.key = key
    entry.slot = s
    state.timer[s].place = j + 1


@jit
def move(state, to, j):
    """Copy the j-th entry to another place."""
    entry = state.timer[j]
    put(state, to, entry.time_ps, entry.key, entry.slot)


@jit_call
def rise(state, j, time, key, s):
    """Find the place of an entry: j, which is free, or above it."""
    while j > 0:
        above = (j - 1) >> 2
        if not is_before(state, time, key, above):
            break
        move(state, j, above)
        j = above
    put(state, j, time, key, s)


@jit
def sink(state, time, key, s):
    """Find the place of an entry, the first being free."""
    j = 0
    child = 1
    while child < state.n_timer:
        child = first_of_four(state, child)
        if is_before(state, time, key, child):
            break
        move(state, j, child)
        j = child
        child = 4 * j + 1
    put(state, j, time, key, s)


@jit
def disarm(state, s):
    """Clear the timer of a slot, if it has one."""
    state.slot[s].due_ps = NEVER


@jit
def arm(state, s, kind, time):
    """Set the timer of a slot, in place of the one it had."""
    slot = state.slot[s]
    key = timer_key(kind, slot.request, slot.attempt)
    slot.due_ps = time
    slot.due_key = key
    place = state.timer[s].place
    if place == 0:
        n = state.n_timer
        state.n_timer = n + 1
        rise(state, n, time, key, s)
    elif is_before(state, time, key, place - 1):
        rise(state, place - 1, time, key, s)
    if time < state.next_input_ps:
        state.next_input_ps = time


@jit
def first_timer(state):
    """The slot of the first entry."""
    return state.timer[0].slot


@jit
def is_first_current(state, s):
    """Whether the first entry, that of slot s, is its slot's timer."""
    slot = state.slot[s]
    first = state.timer[0]
    return slot.due_ps == first.time_ps and slot.due_key == first.key


@jit_call
def refresh_first(state, s):
    """The first entry, that of slot s, was too early: raise it, or drop it where the slot has no timer."""
    slot = state.slot[s]
    if slot.due_ps != NEVER:
        sink(state, slot.due_ps, slot.due_key, s)
        return
    state.timer[s].place = 0
    n = state.n_timer - 1
    state.n_timer = n
    last = state.timer[n]
    time = last.time_ps
    last.time_ps = NEVER
    if n > 0:
        sink(state, time, last.key, last.slot)
