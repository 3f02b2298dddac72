"""What the cluster does next: a scripted fault strikes, links are shared out anew, a transfer ends."""

from __future__ import annotations

from sim.compile.jit import jit_call
from sim.model.base.histogram import add_wide
from sim.model.cluster.faults import on_fault
from sim.model.cluster.links import goes_over, share_out, stop_transfer
from sim.model.cluster.replica_lifecycle import continue_cold_start
from sim.units import NEVER


@jit_call
def set_next_cluster(params, state):
    """Set when the cluster acts next."""
    at_ps = state.next_fault_ps
    if state.rates_ps < NEVER:
        at_ps = min(at_ps, state.rates_ps + 1)
    u = state.first_moving
    while u >= 0:
        at_ps = min(at_ps, state.transfer[u].due_ps)
        u = state.transfer[u].next
    state.next_cluster_ps = at_ps


@jit_call
def on_cluster(params, state, t):
    """The first of what is due at t: a fault, then new rates, then the end of the transfer with the lowest number."""
    if state.next_fault_ps <= t:
        on_fault(params, state, t)
    elif state.rates_ps < t:
        share_out(params, state)
    else:
        number = first_due(state, t)
        if number >= 0:
            end_transfer(params, state, number, t)
    set_next_cluster(params, state)


@jit_call
def first_due(state, t):
    """The transfer with the lowest number of those that end at t; −1 where the one that was to end has been stopped at t,
    by a process of a user's.
    """
    first = -1
    u = state.first_moving
    while u >= 0:
        if state.transfer[u].due_ps <= t and (first < 0 or u < first):
            first = u
        u = state.transfer[u].next
    return first


@jit_call
def end_transfer(params, state, number, t):
    """The last byte of a transfer comes at t: its replica's start goes on."""
    stop_transfer(params, state, number, t)
    transfer = state.transfer[number]
    transfer.end_ps = t
    for i in range(params.n_link):
        if goes_over(transfer, i):
            add_wide(state.link[i].moved_bytes, transfer.moved_bytes)
    continue_cold_start(params, state, transfer.replica, t)
