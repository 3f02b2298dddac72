"""Rates: every transfer in progress gets its own, max-min fair over links and the ends of nodes."""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.step_time import slowed
from sim.model.tables.link import DISK, N_END
from sim.model.transfers.clock import speed_of, time_left
from sim.model.transfers.ways import goes_over, way, way_number
from sim.units import NEVER


@jit_call
def share_out(params, state):
    """Give every transfer in progress its rate, as of the last change.

    What is left for each of those without a rate only rises while rates are given, so the tightest link is looked for again
    only when a transfer would take more than the last one had for each.
    """
    for i in range(params.n_link):
        open_link(params, state, i)
    i = state.first_end - 1
    while i >= 0:
        open_link(params, state, i)
        i = state.link[i].next - 1
    u = state.first_moving
    while u >= 0:
        state.transfer[u].rate_q40 = -1
        state.transfer[u].bound = 0
        u = state.transfer[u].next
    u = state.first_moving
    share = 0  # what the tightest link had for each, when it was last looked for
    while u >= 0:
        transfer = state.transfer[u]
        if transfer.rate_q40 >= 0:
            u = transfer.next
            continue
        is_free = transfer.links == 0 and transfer.in_end == 0 and transfer.out_end == 0
        if is_free or transfer.cap_q40 <= share:
            give_rate(params, state, u, transfer.cap_q40)
            continue
        tight = tightest_link(params, state)
        share = share_of(state, tight)
        if transfer.cap_q40 > share:
            fill_link(params, state, u, tight)
    state.rates_ps = NEVER


@jit_call
def open_link(params, state, i):
    """Nothing is given out yet of what a link, or an end, carries."""
    carrier = state.link[i]
    carrier.left_q40 = capacity_of(params, state, i)
    carrier.waiting = carrier.n
    carrier.rate_q40 = 0
    carrier.is_full = 0


@jit
def is_down(state, i):
    """Whether the i-th link carries nothing."""
    return state.link[i].is_slow == 1 and state.link[i].factor_q20 == 0


@jit
def capacity_of(params, state, i):
    """What the i-th link carries now: a fault may leave a part of it, or nothing."""
    if i >= params.n_link:
        return end_q40(params, state, i - params.n_link)
    whole = params.link[i].bandwidth_q40
    return slowed(whole, state.link[i].factor_q20) if state.link[i].is_slow == 1 else whole


@jit_call
def end_q40(params, state, number):
    """What an end of a node carries, counted behind all links."""
    group = params.node_group[state.node[number // N_END].group]
    return group.disk_q40 if number % N_END == DISK else group.nic_q40


@jit
def share_of(state, i):
    """What each transfer without a rate would get of what the i-th link has left; of one that is down nothing."""
    return 0 if is_down(state, i) else max(1, state.link[i].left_q40 // state.link[i].waiting)


@jit_call
def tightest_link(params, state):
    """The link that has least for each transfer over it that has no rate yet; the first of equals."""
    tight = -1
    for i in range(params.n_link):
        if state.link[i].waiting > 0 and (tight < 0 or share_of(state, i) < share_of(state, tight)):
            tight = i
    i = state.first_end - 1
    while i >= 0:
        if state.link[i].waiting > 0:
            own = share_of(state, i)
            least = share_of(state, tight) if tight >= 0 else own + 1
            if own < least or (own == least and i < tight):
                tight = i
        i = state.link[i].next - 1
    return tight


@jit_call
def fill_link(params, state, u, tight):
    """A link is full: the transfers over it that have no rate yet, from u on in their order, share what it has left."""
    share = share_of(state, tight)
    state.link[tight].is_full = 1
    while u >= 0 and state.link[tight].waiting > 0:
        transfer = state.transfer[u]
        if transfer.rate_q40 < 0 and goes_over(params, transfer, tight):
            transfer.bound = 1 + way_number(params, transfer, tight)
            give_rate(params, state, u, share)
        u = transfer.next


@jit_call
def give_rate(params, state, u, rate):
    """A transfer moves at a rate from the last change on."""
    transfer = state.transfer[u]
    transfer.rate_q40 = rate
    transfer.speed_q30 = speed_of(rate, transfer.cap_q40)
    left_ps = time_left(transfer.left_ps, transfer.speed_q30)
    transfer.due_ps = state.rates_ps + left_ps if left_ps < NEVER else NEVER
    for j in range(params.n_way):
        i = way(params, transfer, j)
        if i >= 0:
            carrier = state.link[i]
            carrier.left_q40 -= rate
            carrier.waiting -= 1
            carrier.rate_q40 += rate
