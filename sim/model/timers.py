"""What requests wait for outside the replicas: deadlines, retries, hedges, think times.

A slot has at most one timer. The timers form a binary heap by (time, phase, request, attempt); its j-th entry lies in
the row of slot j, so that it has room for every slot and grows with them, and every slot knows its entry's place.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.layout import (
    F_ATTEMPT,
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
    """When the first timer goes off, or NEVER."""
    return st.m[st.slot + F_HEAP_PS] if st.m[S_N_TIMER] > 0 else NEVER


@jit
def first_timer(st):
    """The slot of the first timer."""
    return st.m[st.slot + F_HEAP_SLOT]


@jit
def first_phase(st):
    """The phase of the first timer."""
    return st.m[st.slot + F_HEAP_KEY] >> (REQUEST_BITS + ATTEMPT_BITS)


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
    st.m[st.slot + s * F_SIZE + F_TIMER] = j


@jit
def move(st, to, j):
    """Copy the j-th entry to place `to`."""
    jo = st.slot + j * F_SIZE
    put(st, to, st.m[jo + F_HEAP_PS], st.m[jo + F_HEAP_KEY], st.m[jo + F_HEAP_SLOT])


@jit
def settle_entry(st, j, time, key, s):
    """Find the place of an entry for which place j is free: upwards, else downwards."""
    n = st.m[S_N_TIMER]
    while j > 0 and is_before(st, time, key, (j - 1) >> 1):
        move(st, j, (j - 1) >> 1)
        j = (j - 1) >> 1
    child = 2 * j + 1
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


@jit_call
def disarm(st, s):
    """Forget the timer of a slot, if it has one. When the gateway acts next may now be too early: it looks then."""
    j = st.m[st.slot + s * F_SIZE + F_TIMER]
    if j < 0:
        return
    st.m[st.slot + s * F_SIZE + F_TIMER] = -1
    last = st.m[S_N_TIMER] - 1
    st.m[S_N_TIMER] = last
    if j < last:
        lo = st.slot + last * F_SIZE
        settle_entry(st, j, st.m[lo + F_HEAP_PS], st.m[lo + F_HEAP_KEY], st.m[lo + F_HEAP_SLOT])


@jit_call
def arm(st, s, phase, time):
    """Set the timer of a slot, in place of the one it had."""
    if st.m[st.slot + s * F_SIZE + F_TIMER] >= 0:
        disarm(st, s)
    n = st.m[S_N_TIMER]
    st.m[S_N_TIMER] = n + 1
    so = st.slot + s * F_SIZE
    settle_entry(st, n, time, timer_key(phase, st.m[so + F_REQUEST], st.m[so + F_ATTEMPT]), s)
    if time < st.m[S_NEXT_IN]:
        st.m[S_NEXT_IN] = time
