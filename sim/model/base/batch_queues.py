"""The sequences of a replica's engine: waiting queue, running batch, completion heap, longest gaps.

The waiting queue and the running batch are doubly linked lists of slots. The heap of a replica is keyed by the step at
which a sequence of its decode set will emit its last token: all of them advance together, so that key never changes.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.linked_list import link, unlink

SLOT_BITS = 24
SLOT_MASK = (1 << SLOT_BITS) - 1


# ---- lists ----------------------------------------------------------------------
@jit
def push_running(state, replica, s):
    """Append to the running batch."""
    tail = replica.run_tail
    link(state.slot, tail, s, -1)
    if tail < 0:
        replica.run_head = s
    replica.run_tail = s
    replica.n_run += 1


@jit
def drop_running(state, replica, s):
    """Take out of the running batch; the others keep their order."""
    slot = state.slot[s]
    unlink(state.slot, s)
    if slot.prev < 0:
        replica.run_head = slot.next
    if slot.next < 0:
        replica.run_tail = slot.prev
    replica.n_run -= 1


@jit
def push_waiting(state, replica, s):
    """Append to the waiting queue."""
    add_waiting(state, replica, replica.wait_tail, s, -1)


@jit
def add_waiting(state, replica, before, s, after):
    """Put into the waiting queue between two neighbours."""
    link(state.slot, before, s, after)
    if before < 0:
        replica.wait_head = s
    if after < 0:
        replica.wait_tail = s
    replica.n_wait += 1


@jit
def push_waiting_front(state, replica, s):
    """Put at the head of the waiting queue: a preempted sequence goes first."""
    add_waiting(state, replica, -1, s, replica.wait_head)


@jit
def pop_waiting(state, replica):
    """Take the head of the waiting queue."""
    s = replica.wait_head
    after = state.slot[s].next
    replica.wait_head = after
    if after >= 0:
        state.slot[after].prev = -1
    else:
        replica.wait_tail = -1
    replica.n_wait -= 1
    return s


@jit_call
def drop_waiting(state, replica, s):
    """Take out of the waiting queue; the others keep their order."""
    slot = state.slot[s]
    unlink(state.slot, s)
    if slot.prev < 0:
        replica.wait_head = slot.next
    if slot.next < 0:
        replica.wait_tail = slot.prev
    replica.n_wait -= 1


@jit
def comes_before(params, state, a, b):
    """Whether slot a is served before slot b under the priority policy: (priority, when taken, request)."""
    slot_a = state.slot[a]
    slot_b = state.slot[b]
    pa = params.klass[slot_a.traffic_class].priority
    pb = params.klass[slot_b.traffic_class].priority
    if pa != pb:
        return pa < pb
    if slot_a.taken_ps != slot_b.taken_ps:
        return slot_a.taken_ps < slot_b.taken_ps
    return slot_a.request < slot_b.request


@jit_call
def insert_waiting(params, state, replica, s):
    """Put into a waiting queue that is sorted by (priority, when taken, request)."""
    before = replica.wait_tail
    while before >= 0 and comes_before(params, state, s, before):
        before = state.slot[before].prev
    add_waiting(state, replica, before, s, state.slot[before].next if before >= 0 else replica.wait_head)


# ---- completion heap ----------------------------------------------------------------------
@jit
def heap_push(state, replica, finish_step, s):
    """Add a sequence to the decode set's heap."""
    heap = state.m[replica.heap_at :]
    i = replica.n_decode
    replica.n_decode = i + 1
    key = (finish_step << SLOT_BITS) | s
    while i > 0:
        up = (i - 1) >> 1
        if heap[up] <= key:
            break
        heap[i] = heap[up]
        i = up
    heap[i] = key


@jit
def heap_sift(heap, n, i, key):
    """Put `key` into a heap of n from place i downwards: smaller children move up to a leaf, then the key rises from there.

    The last key of a heap belongs near its leaves, so this compares half as often as stopping on the way down.
    """
    top = i
    child = 2 * i + 1
    while child + 1 < n:
        child += 1 if heap[child + 1] < heap[child] else 0
        heap[i] = heap[child]
        i = child
        child = 2 * i + 1
    if child < n:
        heap[i] = heap[child]
        i = child
    while i > top:
        up = (i - 1) >> 1
        if heap[up] <= key:
            break
        heap[i] = heap[up]
        i = up
    heap[i] = key


@jit
def heap_pop(state, replica):
    """Drop the first of the heap."""
    heap = state.m[replica.heap_at :]
    n = replica.n_decode - 1
    replica.n_decode = n
    if n > 0:
        heap_sift(heap, n, 0, heap[n])


@jit_call
def heap_remove(state, replica, s):
    """Drop sequence s wherever it is and return its finish step: for preemption, which is rare."""
    heap = state.m[replica.heap_at :]
    n = replica.n_decode - 1
    i = 0
    while heap[i] & SLOT_MASK != s:
        i += 1
    finish_step = heap[i] >> SLOT_BITS
    replica.n_decode = n
    if i == n:
        return finish_step
    key = heap[n]
    while i > 0 and heap[(i - 1) >> 1] > key:
        up = (i - 1) >> 1
        heap[i] = heap[up]
        i = up
    heap_sift(heap, n, i, key)
    return finish_step


# ---- longest gaps ----------------------------------------------------------------------
# A stack of (start step, longest gap since), gaps strictly falling. Sequences that joined at or after an entry's start
# and before the next entry's have seen no gap longer than the entry's.
@jit
def gap_start(state, replica, capacity, step):
    """Open an entry for sequences that join the decode set at `step`."""
    gaps = state.m[replica.gaps_at :]
    n = replica.n_gap
    if n > 0 and gaps[2 * n - 1] == 0:
        return
    if n == capacity:
        n = gap_compact(state, replica, n)
    gaps[2 * n] = step
    gaps[2 * n + 1] = 0
    replica.n_gap = n + 1


@jit
def gap_seen(state, replica, gap_ps):
    """Every sequence of the decode set has seen a gap."""
    gaps = state.m[replica.gaps_at :]
    n = replica.n_gap
    while n > 1 and gaps[2 * n - 3] <= gap_ps:
        n -= 1
    if n > 0:
        last = gaps[2 * n - 1]
        gaps[2 * n - 1] = last if last > gap_ps else gap_ps
    replica.n_gap = n


@jit
def gap_longest(state, replica, start):
    """The longest gap seen by a sequence that joined at step `start`."""
    gaps = state.m[replica.gaps_at :]
    n = replica.n_gap
    at = 0
    stride = 8
    while 2 * stride < n:
        stride *= 2
    while stride > 8:
        at = gap_after(gaps, n, start, at, stride)
        stride >>= 1
    # nearly always enough: which way it goes cannot be predicted, and outside a loop the compiler needs no branch
    at = gap_after(gaps, n, start, at, 8)
    at = gap_after(gaps, n, start, at, 4)
    at = gap_after(gaps, n, start, at, 2)
    at = gap_after(gaps, n, start, at, 1)
    return gaps[2 * at + 1]


@jit
def gap_after(gaps, n, start, at, stride):
    """One stride of the search for the last entry that starts at `start` or earlier, which is `at` or behind it."""
    far = at + stride
    last = far if far < n else n - 1
    return far if (far < n) & (gaps[2 * last] <= start) else at


@jit_call
def gap_compact(state, replica, n):
    """Keep only the entries that some sequence of the decode set still needs; returns how many."""
    gaps = state.m[replica.gaps_at :]
    heap = state.m[replica.heap_at :]
    kept = 0
    for i in range(n):
        start = gaps[2 * i]
        needed = False
        for j in range(replica.n_decode):
            joined = state.slot[heap[j] & SLOT_MASK].joined_step
            if joined >= start and (i + 1 == n or joined < gaps[2 * i + 2]):
                needed = True
        if needed:
            gaps[2 * kept] = start
            gaps[2 * kept + 1] = gaps[2 * i + 1]
            kept += 1
    return kept
