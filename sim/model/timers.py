"""What requests wait for outside the replicas: deadlines, retries, hedges, think times.

A slot has at most one timer, F_DUE_PS. Most are put off or forgotten long before they go off, so the heap that finds the
first of them is not told: its entry for a slot is a lower bound of the slot's timer by (time, phase, request, attempt),
raised or dropped when it comes to the top. An entry outlives the request that it was made for: the next one in the slot
takes it over. So there are never more entries than slots.

Every entry has four below it: half as many levels as with two, and the four lie side by side.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.layout import (
    F_ATTEMPT,
    F_DUE_KEY,
    F_DUE_PS,
    F_REQUEST,
    F_SIZE,
    S_HEDGE_PS,
    S_N_TIMER,
    S_NEXT_IN,
    S_TIMERS,
    TIMER_KEY,
    TIMER_PLACE,
    TIMER_PS,
    TIMER_SIZE,
    TIMER_SLOT,
)
from sim.units import NEVER

ATTEMPT_BITS = 8
REQUEST_BITS = 44


@jit
def timer_key(phase, request, attempt):
    """What orders timers of one instant."""
    return (((phase << REQUEST_BITS) | request) << ATTEMPT_BITS) | attempt


@jit
def first_timer_ps(st):
    """When the heap is looked at next: no timer goes off before; NEVER = there is none."""
    return st.m[st.m[S_TIMERS] + TIMER_PS] if st.m[S_N_TIMER] > 0 else NEVER


@jit
def next_timer_ps(st):
    """When a timer or a hedge goes off next, or not before; NEVER = there is none."""
    timer_ps = first_timer_ps(st)
    return timer_ps if timer_ps < st.m[S_HEDGE_PS] else st.m[S_HEDGE_PS]


@jit
def goes_off_before(st, time, key):
    """Whether the first entry of the heap comes before (time, key)."""
    return st.m[S_N_TIMER] > 0 and not is_before(st, time, key, st.m[S_TIMERS])


@jit
def phase_of(st, s):
    """The phase of the timer of slot s."""
    return st.m[st.slot + s * F_SIZE + F_DUE_KEY] >> (REQUEST_BITS + ATTEMPT_BITS)


@jit
def is_before(st, time, key, at):
    """Whether (time, key) comes before the entry in the row at `at`."""
    other = st.m[at + TIMER_PS]
    if time == other:
        return key < st.m[at + TIMER_KEY]
    return time < other


@jit
def first_of(st, at, other):
    """Where the earlier of two entries lies."""
    time, than = st.m[other + TIMER_PS], st.m[at + TIMER_PS]
    if time == than and st.m[other + TIMER_KEY] < st.m[at + TIMER_KEY]:
        return other
    return other if time < than else at


@jit_call
def first_of_four(st, at):
    """Where the earliest of four neighbours lies. Nobody can guess which it is, and only outside a loop does the compiler
    choose without a branch.
    """
    left = first_of(st, at, at + TIMER_SIZE)
    right = first_of(st, at + 2 * TIMER_SIZE, at + 3 * TIMER_SIZE)
    return first_of(st, left, right)


@jit
def put(st, first, at, time, key, s):
    """Write the entry in the row at `at`; the rows begin at `first`."""
    st.m[at + TIMER_PS] = time
    st.m[at + TIMER_KEY] = key
    st.m[at + TIMER_SLOT] = s
    st.m[first + s * TIMER_SIZE + TIMER_PLACE] = at - first + 1


@jit
def move(st, first, to, at):
    """Copy an entry to the row at `to`."""
    put(st, first, to, st.m[at + TIMER_PS], st.m[at + TIMER_KEY], st.m[at + TIMER_SLOT])


@jit_call
def rise(st, at, time, key, s):
    """Find the place of an entry in the row at `at`, which is free, or above it."""
    first = st.m[S_TIMERS]
    while at > first:
        above = first + ((at - first - TIMER_SIZE) >> 2) // TIMER_SIZE * TIMER_SIZE
        if not is_before(st, time, key, above):
            break
        move(st, first, at, above)
        at = above
    put(st, first, at, time, key, s)


@jit
def sink(st, time, key, s):
    """Find the place of an entry, the first being free."""
    first = st.m[S_TIMERS]
    end = first + st.m[S_N_TIMER] * TIMER_SIZE
    at = first
    child = first + TIMER_SIZE
    while child < end:
        child = first_of_four(st, child)
        if is_before(st, time, key, child):
            break
        move(st, first, at, child)
        at = child
        child = first + 4 * (at - first) + TIMER_SIZE
    put(st, first, at, time, key, s)


@jit
def disarm(st, s):
    """Forget the timer of a slot, if it has one."""
    st.m[st.slot + s * F_SIZE + F_DUE_PS] = NEVER


@jit
def arm(st, s, phase, time):
    """Set the timer of a slot, in place of the one it had."""
    so = st.slot + s * F_SIZE
    key = timer_key(phase, st.m[so + F_REQUEST], st.m[so + F_ATTEMPT])
    st.m[so + F_DUE_PS] = time
    st.m[so + F_DUE_KEY] = key
    first = st.m[S_TIMERS]
    place = st.m[first + s * TIMER_SIZE + TIMER_PLACE]
    if place == 0:
        n = st.m[S_N_TIMER]
        st.m[S_N_TIMER] = n + 1
        rise(st, first + n * TIMER_SIZE, time, key, s)
    elif is_before(st, time, key, first + place - 1):
        rise(st, first + place - 1, time, key, s)
    if time < st.m[S_NEXT_IN]:
        st.m[S_NEXT_IN] = time


@jit
def first_timer(st):
    """The slot of the first entry."""
    return st.m[st.m[S_TIMERS] + TIMER_SLOT]


@jit
def is_true(st, s):
    """Whether the first entry, that of slot s, is its slot's timer."""
    so = st.slot + s * F_SIZE
    return (
        st.m[so + F_DUE_PS] == st.m[st.m[S_TIMERS] + TIMER_PS]
        and st.m[so + F_DUE_KEY] == st.m[st.m[S_TIMERS] + TIMER_KEY]
    )


@jit_call
def put_right(st, s):
    """The first entry, that of slot s, was too early: raise it, or drop it where the slot has no timer."""
    so = st.slot + s * F_SIZE
    if st.m[so + F_DUE_PS] != NEVER:
        sink(st, st.m[so + F_DUE_PS], st.m[so + F_DUE_KEY], s)
        return
    first = st.m[S_TIMERS]
    st.m[first + s * TIMER_SIZE + TIMER_PLACE] = 0
    n = st.m[S_N_TIMER] - 1
    st.m[S_N_TIMER] = n
    last = first + n * TIMER_SIZE
    time = st.m[last + TIMER_PS]
    st.m[last + TIMER_PS] = NEVER
    if n > 0:
        sink(st, time, st.m[last + TIMER_KEY], st.m[last + TIMER_SLOT])
