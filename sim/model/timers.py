"""What requests wait for outside the replicas: deadlines, retries, hedges, think times.

A slot has at most one timer, F_DUE_PS. Most are put off or forgotten long before they go off, so the heap that finds the
first of them is not told: its entry for a slot is a lower bound of the slot's timer by (time, phase, request, attempt),
raised or dropped when it comes to the top. An entry outlives the request that it was made for: the next one in the slot
takes it over. The j-th entry lies in the row of slot j, so that there is room for every slot and it grows with them.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.layout import (
    F_ATTEMPT,
    F_DUE_KEY,
    F_DUE_PS,
    F_HEAP_KEY,
    F_HEAP_PS,
    F_HEAP_SLOT,
    F_REQUEST,
    F_SIZE,
    F_TIMER,
    S_N_TIMER,
    S_NEXT_IN,
)
from sim.units import NEVER

ATTEMPT_BITS = 8
REQUEST_BITS = 44


@jit
def timer_key(phase, request, attempt):
    """What orders timers of one instant."""
    return (((phase << REQUEST_BITS) | request) << ATTEMPT_BITS) | attempt


@jit
def next_timer_ps(st):
    """When the heap is looked at next: no timer goes off before; NEVER = there is none."""
    return st.m[st.slot + F_HEAP_PS] if st.m[S_N_TIMER] > 0 else NEVER


@jit
def phase_of(st, s):
    """The phase of the timer of slot s."""
    return st.m[st.slot + s * F_SIZE + F_DUE_KEY] >> (REQUEST_BITS + ATTEMPT_BITS)


@jit
def is_before(st, time, key, j):
    """Whether (time, key) comes before the j-th entry."""
    jo = st.slot + j * F_SIZE
    return time < st.m[jo + F_HEAP_PS] or (time == st.m[jo + F_HEAP_PS] and key < st.m[jo + F_HEAP_KEY])


@jit
def put(st, j, time, key, s):
    """Write the j-th entry."""
    jo = st.slot + j * F_SIZE
    st.m[jo + F_HEAP_PS] = time
    st.m[jo + F_HEAP_KEY] = key
    st.m[jo + F_HEAP_SLOT] = s
    st.m[st.slot + s * F_SIZE + F_TIMER] = j + 1


@jit
def move(st, to, j):
    """Copy the j-th entry to place `to`."""
    jo = st.slot + j * F_SIZE
    put(st, to, st.m[jo + F_HEAP_PS], st.m[jo + F_HEAP_KEY], st.m[jo + F_HEAP_SLOT])


@jit_call
def rise(st, j, time, key, s):
    """Find the place of an entry at j, which is free, or above it."""
    while j > 0 and is_before(st, time, key, (j - 1) >> 1):
        move(st, j, (j - 1) >> 1)
        j = (j - 1) >> 1
    put(st, j, time, key, s)


@jit
def sink(st, time, key, s):
    """Find the place of an entry, the first being free."""
    n = st.m[S_N_TIMER]
    j = 0
    child = 1
    while child < n:
        if child + 1 < n:
            co = st.slot + (child + 1) * F_SIZE
            if is_before(st, st.m[co + F_HEAP_PS], st.m[co + F_HEAP_KEY], child):
                child += 1
        if is_before(st, time, key, child):
            break
        move(st, j, child)
        j = child
        child = 2 * j + 1
    put(st, j, time, key, s)


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
    j = st.m[so + F_TIMER] - 1
    if j < 0:
        j = st.m[S_N_TIMER]
        st.m[S_N_TIMER] = j + 1
        rise(st, j, time, key, s)
    elif is_before(st, time, key, j):
        rise(st, j, time, key, s)
    if time < st.m[S_NEXT_IN]:
        st.m[S_NEXT_IN] = time


@jit
def first_timer(st):
    """The slot of the first entry."""
    return st.m[st.slot + F_HEAP_SLOT]


@jit
def is_true(st, s):
    """Whether the first entry, that of slot s, is its slot's timer."""
    so = st.slot + s * F_SIZE
    return (
        st.m[so + F_DUE_PS] == st.m[st.slot + F_HEAP_PS]
        and st.m[so + F_DUE_KEY] == st.m[st.slot + F_HEAP_KEY]
    )


@jit_call
def put_right(st, s):
    """The first entry, that of slot s, was too early: raise it, or drop it where the slot has no timer."""
    so = st.slot + s * F_SIZE
    if st.m[so + F_DUE_PS] != NEVER:
        sink(st, st.m[so + F_DUE_PS], st.m[so + F_DUE_KEY], s)
        return
    st.m[so + F_TIMER] = 0
    last = st.m[S_N_TIMER] - 1
    st.m[S_N_TIMER] = last
    lo = st.slot + last * F_SIZE
    if last > 0:
        sink(st, st.m[lo + F_HEAP_PS], st.m[lo + F_HEAP_KEY], st.m[lo + F_HEAP_SLOT])
