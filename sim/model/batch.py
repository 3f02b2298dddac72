"""Who is in a replica's engine: waiting queue, running batch, completion heap, longest gaps.

The waiting queue and the running batch are doubly linked lists of slots. The heap of a replica is keyed by the step at
which a sequence of its decode set will emit its last token: all of them advance together, so that key never changes.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.layout import (
    F_CLASS,
    F_NEXT,
    F_PREV,
    F_REQUEST,
    F_SIZE,
    F_START,
    F_TAKEN_PS,
    K_PRIORITY,
    K_SIZE,
    R_HEAP,
    R_N_DECODE,
    R_N_RUN,
    R_N_WAIT,
    R_RUN_HEAD,
    R_RUN_TAIL,
    R_STACK,
    R_STACK_N,
    R_WAIT_HEAD,
    R_WAIT_TAIL,
)

SLOT_BITS = 24
SLOT_MASK = (1 << SLOT_BITS) - 1


# ---- lists ----------------------------------------------------------------------
@jit
def push_running(st, ro, s):
    """Append to the running batch."""
    so = st.slot + s * F_SIZE
    tail = st.m[ro + R_RUN_TAIL]
    st.m[so + F_PREV] = tail
    st.m[so + F_NEXT] = -1
    if tail >= 0:
        st.m[st.slot + tail * F_SIZE + F_NEXT] = s
    else:
        st.m[ro + R_RUN_HEAD] = s
    st.m[ro + R_RUN_TAIL] = s
    st.m[ro + R_N_RUN] += 1


@jit
def drop_running(st, ro, s):
    """Take out of the running batch; the others keep their order."""
    so = st.slot + s * F_SIZE
    before = st.m[so + F_PREV]
    after = st.m[so + F_NEXT]
    if before >= 0:
        st.m[st.slot + before * F_SIZE + F_NEXT] = after
    else:
        st.m[ro + R_RUN_HEAD] = after
    if after >= 0:
        st.m[st.slot + after * F_SIZE + F_PREV] = before
    else:
        st.m[ro + R_RUN_TAIL] = before
    st.m[ro + R_N_RUN] -= 1


@jit
def push_waiting(st, ro, s):
    """Append to the waiting queue."""
    so = st.slot + s * F_SIZE
    tail = st.m[ro + R_WAIT_TAIL]
    st.m[so + F_PREV] = tail
    st.m[so + F_NEXT] = -1
    if tail >= 0:
        st.m[st.slot + tail * F_SIZE + F_NEXT] = s
    else:
        st.m[ro + R_WAIT_HEAD] = s
    st.m[ro + R_WAIT_TAIL] = s
    st.m[ro + R_N_WAIT] += 1


@jit
def push_waiting_front(st, ro, s):
    """Put at the head of the waiting queue: a preempted sequence goes first."""
    so = st.slot + s * F_SIZE
    head = st.m[ro + R_WAIT_HEAD]
    st.m[so + F_PREV] = -1
    st.m[so + F_NEXT] = head
    if head >= 0:
        st.m[st.slot + head * F_SIZE + F_PREV] = s
    else:
        st.m[ro + R_WAIT_TAIL] = s
    st.m[ro + R_WAIT_HEAD] = s
    st.m[ro + R_N_WAIT] += 1


@jit
def pop_waiting(st, ro):
    """Take the head of the waiting queue."""
    s = st.m[ro + R_WAIT_HEAD]
    after = st.m[st.slot + s * F_SIZE + F_NEXT]
    st.m[ro + R_WAIT_HEAD] = after
    if after >= 0:
        st.m[st.slot + after * F_SIZE + F_PREV] = -1
    else:
        st.m[ro + R_WAIT_TAIL] = -1
    st.m[ro + R_N_WAIT] -= 1
    return s


@jit_call
def drop_waiting(st, ro, s):
    """Take out of the waiting queue; the others keep their order."""
    before = st.m[st.slot + s * F_SIZE + F_PREV]
    after = st.m[st.slot + s * F_SIZE + F_NEXT]
    if before >= 0:
        st.m[st.slot + before * F_SIZE + F_NEXT] = after
    else:
        st.m[ro + R_WAIT_HEAD] = after
    if after >= 0:
        st.m[st.slot + after * F_SIZE + F_PREV] = before
    else:
        st.m[ro + R_WAIT_TAIL] = before
    st.m[ro + R_N_WAIT] -= 1


@jit
def comes_before(p, st, a, b):
    """Whether slot a is served before slot b under the priority policy: (priority, when taken, request)."""
    ao = st.slot + a * F_SIZE
    bo = st.slot + b * F_SIZE
    pa = p.m[p.klass + st.m[ao + F_CLASS] * K_SIZE + K_PRIORITY]
    pb = p.m[p.klass + st.m[bo + F_CLASS] * K_SIZE + K_PRIORITY]
    if pa != pb:
        return pa < pb
    if st.m[ao + F_TAKEN_PS] != st.m[bo + F_TAKEN_PS]:
        return st.m[ao + F_TAKEN_PS] < st.m[bo + F_TAKEN_PS]
    return st.m[ao + F_REQUEST] < st.m[bo + F_REQUEST]


@jit_call
def insert_waiting(p, st, ro, s):
    """Put into a waiting queue that is sorted by (priority, when taken, request)."""
    behind = st.m[ro + R_WAIT_TAIL]
    while behind >= 0 and comes_before(p, st, s, behind):
        behind = st.m[st.slot + behind * F_SIZE + F_PREV]
    if behind < 0:
        push_waiting_front(st, ro, s)
        return
    after = st.m[st.slot + behind * F_SIZE + F_NEXT]
    if after < 0:
        push_waiting(st, ro, s)
        return
    st.m[st.slot + s * F_SIZE + F_PREV] = behind
    st.m[st.slot + s * F_SIZE + F_NEXT] = after
    st.m[st.slot + behind * F_SIZE + F_NEXT] = s
    st.m[st.slot + after * F_SIZE + F_PREV] = s
    st.m[ro + R_N_WAIT] += 1


# ---- completion heap ----------------------------------------------------------------------
@jit
def heap_push(st, ro, finish_step, s):
    """Add a sequence to the decode set's heap."""
    o = st.m[ro + R_HEAP]
    i = st.m[ro + R_N_DECODE]
    st.m[ro + R_N_DECODE] = i + 1
    key = (finish_step << SLOT_BITS) | s
    while i > 0:
        up = (i - 1) >> 1
        if st.m[o + up] <= key:
            break
        st.m[o + i] = st.m[o + up]
        i = up
    st.m[o + i] = key


@jit
def heap_sift(heap, o, n, i, key):
    """Settle `key` from place i downwards in a heap of n: the hole sinks to a leaf, then the key rises from there.

    The last key of a heap belongs near its leaves, so this compares half as often as stopping on the way down.
    """
    top = i
    child = 2 * i + 1
    while child + 1 < n:
        child += 1 if heap[o + child + 1] < heap[o + child] else 0
        heap[o + i] = heap[o + child]
        i = child
        child = 2 * i + 1
    if child < n:
        heap[o + i] = heap[o + child]
        i = child
    while i > top:
        up = (i - 1) >> 1
        if heap[o + up] <= key:
            break
        heap[o + i] = heap[o + up]
        i = up
    heap[o + i] = key


@jit
def heap_pop(st, ro):
    """Drop the first of the heap."""
    o = st.m[ro + R_HEAP]
    n = st.m[ro + R_N_DECODE] - 1
    st.m[ro + R_N_DECODE] = n
    if n > 0:
        heap_sift(st.m, o, n, 0, st.m[o + n])


@jit_call
def heap_remove(st, ro, s):
    """Drop sequence s wherever it is and return its finish step: for preemption, which is rare."""
    o = st.m[ro + R_HEAP]
    n = st.m[ro + R_N_DECODE] - 1
    i = 0
    while st.m[o + i] & SLOT_MASK != s:
        i += 1
    finish_step = st.m[o + i] >> SLOT_BITS
    st.m[ro + R_N_DECODE] = n
    if i == n:
        return finish_step
    key = st.m[o + n]
    while i > 0 and st.m[o + ((i - 1) >> 1)] > key:
        up = (i - 1) >> 1
        st.m[o + i] = st.m[o + up]
        i = up
    heap_sift(st.m, o, n, i, key)
    return finish_step


# ---- longest gaps ----------------------------------------------------------------------
# A stack of (start step, longest gap since), gaps strictly falling. Sequences that joined at or after an entry's start
# and before the next entry's have seen no gap longer than the entry's.
@jit
def gap_start(st, ro, capacity, step):
    """Open an entry for sequences that join the decode set at `step`."""
    o = st.m[ro + R_STACK]
    n = st.m[ro + R_STACK_N]
    if n > 0 and st.m[o + 2 * n - 1] == 0:
        return
    if n == capacity:
        n = gap_compact(st, ro, n)
    st.m[o + 2 * n] = step
    st.m[o + 2 * n + 1] = 0
    st.m[ro + R_STACK_N] = n + 1


@jit
def gap_seen(st, ro, gap_ps):
    """Every sequence of the decode set has seen a gap."""
    o = st.m[ro + R_STACK]
    n = st.m[ro + R_STACK_N]
    while n > 1 and st.m[o + 2 * n - 3] <= gap_ps:
        n -= 1
    if n > 0:
        last = st.m[o + 2 * n - 1]
        st.m[o + 2 * n - 1] = last if last > gap_ps else gap_ps
    st.m[ro + R_STACK_N] = n


@jit
def gap_longest(st, ro, start):
    """The longest gap seen by a sequence that joined at step `start`."""
    o = st.m[ro + R_STACK]
    n = st.m[ro + R_STACK_N]
    at = 0
    stride = 8
    while 2 * stride < n:
        stride *= 2
    while stride > 8:
        at = gap_after(st, o, n, start, at, stride)
        stride >>= 1
    # nearly always all there is to do: nobody can guess how it goes, and outside a loop the compiler needs no branch
    at = gap_after(st, o, n, start, at, 8)
    at = gap_after(st, o, n, start, at, 4)
    at = gap_after(st, o, n, start, at, 2)
    at = gap_after(st, o, n, start, at, 1)
    return st.m[o + 2 * at + 1]


@jit
def gap_after(st, o, n, start, at, stride):
    """One stride of the search for the last entry that starts at `start` or before; it is not before entry `at`."""
    far = at + stride
    last = far if far < n else n - 1
    return far if (far < n) & (st.m[o + 2 * last] <= start) else at


@jit_call
def gap_compact(st, ro, n):
    """Keep only the entries that some sequence of the decode set still needs; returns how many."""
    o = st.m[ro + R_STACK]
    h = st.m[ro + R_HEAP]
    kept = 0
    for i in range(n):
        start = st.m[o + 2 * i]
        needed = False
        for j in range(st.m[ro + R_N_DECODE]):
            joined = st.m[st.slot + (st.m[h + j] & SLOT_MASK) * F_SIZE + F_START]
            if joined >= start and (i + 1 == n or joined < st.m[o + 2 * i + 2]):
                needed = True
        if needed:
            st.m[o + 2 * kept] = start
            st.m[o + 2 * kept + 1] = st.m[o + 2 * i + 1]
            kept += 1
    return kept
