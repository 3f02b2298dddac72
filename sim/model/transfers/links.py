"""Transfers that share links: each is as fast as its own limit and the links it goes over allow, max-min fair.

A transfer that is alone, over links without a limit, takes the time that was drawn for its step: that is its own limit, its
cap. Links give every transfer the same, but none more than its cap, and what a transfer cannot use goes to the others
(progressive filling; Bertsekas and Gallager, Data Networks, 6.5.2). Rates are whole bytes in 2⁴⁰ ps; they change when a
transfer begins or ends, and are shared out once for all changes of an instant, 1 ps later and as of that instant.

A transfer's ways are the links that its step names and the ends of nodes that it passes: the network card or the disk of
the node that it comes to, the network card of one that serves it. Of the ends only those in use are looked at.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.histogram import add_wide
from sim.model.base.linked_list import link, unlink
from sim.model.tables.start import MOVED
from sim.model.transfers.clock import cap_of, progress_ps
from sim.model.transfers.ways import leave_end, use_end, way
from sim.units import NEVER


@jit_call
def settle_transfers(params, state, t):
    """Bring the clocks of all transfers in progress, and the links' sums, up to t."""
    span_ps = t - state.shared_ps
    if span_ps == 0:
        return
    state.shared_ps = t
    u = state.first_moving
    while u >= 0:
        transfer = state.transfer[u]
        transfer.left_ps -= min(transfer.left_ps, progress_ps(span_ps, transfer.speed_q30))
        if transfer.bound > 0:
            state.bound_ps[u * params.n_way + transfer.bound - 1] += span_ps
        u = transfer.next
    for i in range(params.n_link):
        settle_link(state, i, span_ps)
    i = state.first_end - 1
    while i >= 0:
        settle_link(state, i, span_ps)
        i = state.link[i].next - 1


@jit_call
def settle_link(state, i, span_ps):
    """Add a span to the sums of a link, or of an end."""
    carrier = state.link[i]
    if carrier.n > 0:
        add_wide(carrier.busy_ps, span_ps)
    if carrier.is_full == 1:
        add_wide(carrier.full_ps, span_ps)


@jit
def wake_for_transfers(state, at_ps):
    """The cluster acts no later than at_ps."""
    state.next_cluster_ps = min(state.next_cluster_ps, at_ps)


@jit_call
def begin_transfer(params, state, number, own_ps, t):
    """The first byte of a transfer moves at t; alone it would take own_ps."""
    begin_moving(params, state, number, cap_of(state.transfer[number].moved_bytes, own_ps), own_ps, t)


@jit_call
def begin_moving(params, state, number, cap_q40, left_ps, t):
    """A transfer moves from t on, at a rate of at most cap_q40; alone it would take left_ps."""
    settle_transfers(params, state, t)
    transfer = state.transfer[number]
    transfer.is_moving = 1
    transfer.bound = 0
    transfer.how = MOVED
    transfer.cap_q40 = cap_q40
    transfer.rate_q40 = 0
    transfer.speed_q30 = 0
    transfer.left_ps = left_ps
    transfer.due_ps = NEVER
    put_in_order(state, number)
    for j in range(params.n_way):
        i = way(params, transfer, j)
        if i >= 0:
            state.link[i].n += 1
            state.link[i].n_max = max(state.link[i].n_max, state.link[i].n)
            if j >= params.n_link and state.link[i].n == 1:
                use_end(state, i)
    state.rates_ps = t
    wake_for_transfers(state, t + 1)


@jit_call
def clear_bound(params, state, number):
    """Nothing has held a transfer back."""
    for j in range(params.n_way):
        state.bound_ps[number * params.n_way + j] = 0


@jit_call
def binding_way(params, state, number):
    """Which of its ways has held a transfer back longest, the first of equals; −1 where none has."""
    best = -1
    most_ps = 0
    for j in range(params.n_way):
        if state.bound_ps[number * params.n_way + j] > most_ps:
            best = j
            most_ps = state.bound_ps[number * params.n_way + j]
    return best


@jit_call
def put_in_order(state, number):
    """Put a transfer among those in progress, which are in order of their caps, then of their numbers."""
    cap = state.transfer[number].cap_q40
    before = -1
    after = state.first_moving
    while after >= 0 and (
        state.transfer[after].cap_q40 < cap or (state.transfer[after].cap_q40 == cap and after < number)
    ):
        before = after
        after = state.transfer[after].next
    link(state.transfer, before, number, after)
    if before < 0:
        state.first_moving = number


@jit_call
def stop_transfer(params, state, number, t):
    """A transfer in progress moves no more bytes from t on: it has ended, or its replica is not wanted any longer."""
    settle_transfers(params, state, t)
    transfer = state.transfer[number]
    transfer.is_moving = 0
    unlink(state.transfer, number)
    if transfer.prev < 0:
        state.first_moving = transfer.next
    for j in range(params.n_way):
        i = way(params, transfer, j)
        if i >= 0:
            state.link[i].n -= 1
            if j >= params.n_link and state.link[i].n == 0:
                leave_end(state, i)
    state.rates_ps = t
    wake_for_transfers(state, t + 1)


@jit_call
def count_moved(params, state, number, n_bytes):
    """So many bytes of a transfer have come over its ways."""
    for j in range(params.n_way):
        i = way(params, state.transfer[number], j)
        if i >= 0:
            add_wide(state.link[i].moved_bytes, n_bytes)
