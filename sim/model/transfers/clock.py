"""The clock of one transfer: whole numbers, rounded so that nothing ends before its last byte is there."""

from __future__ import annotations

from sim.compile.jit import jit
from sim.units import NEVER

SPEED_BITS = 30
FULL_SPEED = 1 << SPEED_BITS  # a clock that runs as fast as time
CAP_BITS = 42  # caps stay below 2⁴² bytes in 2⁴⁰ ps, 4 TB/s
TIME_MAX = 1 << 32  # ps / 2³⁰: what takes longer never ends
Q40_BITS = 40  # rates are bytes in 2⁴⁰ ps
BRIEF_BITS = 24
BRIEF_PS = 1 << BRIEF_BITS  # a transfer of less than 17 µs shares nothing


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
def ps_of(n_bytes, rate):
    """How long fewer than 2⁴⁷ bytes take at a rate below 2⁴², rounded up; at most 53 days."""
    whole = n_bytes // rate
    if whole >= 1 << (62 - Q40_BITS):
        return 1 << 62
    rest = (n_bytes - whole * rate) << 20
    coarse = rest // rate
    fine = (((rest - coarse * rate) << 20) + rate - 1) // rate
    return (whole << Q40_BITS) + (coarse << 20) + fine


@jit
def bytes_in(span_ps, rate):
    """How many bytes move in a time at a rate below 2⁴², rounded up; there are fewer than 2⁴⁷ of them."""
    middle = ((span_ps >> 20) & ((1 << 20) - 1)) * rate
    last = (span_ps & ((1 << 20) - 1)) * rate
    rest = ((middle & ((1 << 20) - 1)) << 20) + last + (1 << Q40_BITS) - 1
    return (span_ps >> Q40_BITS) * rate + (middle >> 20) + (rest >> Q40_BITS)
