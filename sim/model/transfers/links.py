"""Transfers that share links: each is as fast as its own limit and the links it goes over allow, max-min fair.

A transfer that is alone, over links without a limit, takes the time that was drawn for its step: that is its own limit, its
cap. Links give every transfer the same, but none more than its cap, and what a transfer cannot use goes to the others
(progressive filling; Bertsekas and Gallager, Data Networks, 6.5.2). Rates are whole bytes in 2⁴⁰ ps; they change when a
transfer begins or ends, and are shared out once for all changes of an instant, 1 ps later and as of that instant.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.histogram import add_wide
from sim.model.base.linked_list import link, unlink
from sim.model.base.step_time import slowed
from sim.model.tables.start import MOVED
from sim.units import NEVER

SPEED_BITS = 30
FULL_SPEED = 1 << SPEED_BITS  # a clock that runs as fast as time
CAP_BITS = 42  # caps stay below 2⁴² bytes in 2⁴⁰ ps, 4 TB/s
TIME_MAX = 1 << 32  # ps / 2³⁰: what takes longer never ends
Q40_BITS = 40  # rates are bytes in 2⁴⁰ ps
BRIEF_BITS = 24
BRIEF_PS = 1 << BRIEF_BITS  # a transfer of less than 17 µs shares nothing


# ---- time and rate of one transfer ----------------------------------------------------------------------
@jit
def cap_of(moved_bytes, own_ps):
    """The rate, in bytes in 2⁴⁰ ps, at which bytes move in a time of at least BRIEF_PS."""
    cap = (moved_bytes << (Q40_BITS - BRIEF_BITS)) // (own_ps >> BRIEF_BITS)
    return min(max(cap, 1), (1 << CAP_BITS) - 1)


@jit
def progress_ps(span_ps, speed):
    """How far a clock of that speed gets in a span, rounded down."""
    if speed == FULL_SPEED:
        return span_ps
    return (span_ps >> SPEED_BITS) * speed + (((span_ps & (FULL_SPEED - 1)) * speed) >> SPEED_BITS)


@jit
def time_left(left_ps, speed):
    """How long a clock of that speed needs for what it has left, rounded up; NEVER where that is more than 53 days."""
    if speed == FULL_SPEED:
        return left_ps
    if speed == 0:
        return NEVER if left_ps > 0 else 0
    whole = left_ps // speed
    if whole >= TIME_MAX:
        return NEVER
    rest = left_ps - whole * speed
    return (whole << SPEED_BITS) + ((rest << SPEED_BITS) + speed - 1) // speed


@jit
def speed_of(rate, cap):
    """How fast the clock of a transfer runs that moves at a rate up to its cap; it stands still where none moves."""
    if rate == 0:
        return 0
    coarse = (rate << 20) // cap
    fine = (((rate << 20) - coarse * cap) << (SPEED_BITS - 20)) // cap
    return max(1, (coarse << (SPEED_BITS - 20)) + fine)


@jit
def goes_over(transfer, i):
    """Whether a transfer's bytes go over the i-th link."""
    return (transfer.links >> i) & 1 == 1


# ---- transfers begin and end ----------------------------------------------------------------------
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
            state.bound_ps[u * params.n_link + transfer.bound - 1] += span_ps
        u = transfer.next
    for i in range(params.n_link):
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
    for i in range(params.n_link):
        if goes_over(transfer, i):
            state.link[i].n += 1
            state.link[i].n_max = max(state.link[i].n_max, state.link[i].n)
    state.rates_ps = t
    wake_for_transfers(state, t + 1)


@jit_call
def clear_bound(params, state, number):
    """No link has held a transfer back."""
    for i in range(params.n_link):
        state.bound_ps[number * params.n_link + i] = 0


@jit_call
def binding_link(params, state, number):
    """The link that has held a transfer back longest, the first of equals; −1 where none has."""
    best = -1
    most_ps = 0
    for i in range(params.n_link):
        if state.bound_ps[number * params.n_link + i] > most_ps:
            best = i
            most_ps = state.bound_ps[number * params.n_link + i]
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
    for i in range(params.n_link):
        if goes_over(transfer, i):
            state.link[i].n -= 1
    state.rates_ps = t
    wake_for_transfers(state, t + 1)


# ---- rates ----------------------------------------------------------------------
@jit_call
def share_out(params, state):
    """Give every transfer in progress its rate, as of the last change."""
    for i in range(params.n_link):
        carrier = state.link[i]
        carrier.left_q40 = capacity_of(params, state, i)
        carrier.waiting = carrier.n
        carrier.rate_q40 = 0
        carrier.is_full = 0
    u = state.first_moving
    while u >= 0:
        state.transfer[u].rate_q40 = -1
        state.transfer[u].bound = 0
        u = state.transfer[u].next
    u = state.first_moving
    while u >= 0:
        transfer = state.transfer[u]
        if transfer.rate_q40 >= 0:
            u = transfer.next
            continue
        tight = tightest_link(params, state)
        if transfer.links == 0 or transfer.cap_q40 <= share_of(state, tight):
            give_rate(params, state, u, transfer.cap_q40)
        else:
            fill_link(params, state, u, tight)
    state.rates_ps = NEVER


@jit
def is_down(state, i):
    """Whether the i-th link carries nothing."""
    return state.link[i].is_slow == 1 and state.link[i].factor_q20 == 0


@jit
def capacity_of(params, state, i):
    """What the i-th link carries now: a fault may leave a part of it, or nothing."""
    whole = params.link[i].bandwidth_q40
    return slowed(whole, state.link[i].factor_q20) if state.link[i].is_slow == 1 else whole


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
    return tight


@jit_call
def fill_link(params, state, u, tight):
    """A link is full: the transfers over it that have no rate yet, from u on in their order, share what it has left."""
    share = share_of(state, tight)
    state.link[tight].is_full = 1
    while u >= 0:
        transfer = state.transfer[u]
        if transfer.rate_q40 < 0 and goes_over(transfer, tight):
            transfer.bound = 1 + tight
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
    for i in range(params.n_link):
        if goes_over(transfer, i):
            carrier = state.link[i]
            carrier.left_q40 -= rate
            carrier.waiting -= 1
            carrier.rate_q40 += rate
