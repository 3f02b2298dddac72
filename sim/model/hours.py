"""The hours of a day in which requests may start."""

from __future__ import annotations

from sim.jit import jit
from sim.model.layout import K_DEFER_MAX_PS, K_SIZE, K_WINDOW_FROM_PS, K_WINDOW_TO_PS

DAY_PS = 86_400 * 10**12


@jit
def deferral_ps(p, k, t):
    """How long requests of a class that arrive at t wait for the hours in which they may start, if they can."""
    ko = p.klass + k * K_SIZE
    most = p.m[ko + K_DEFER_MAX_PS]
    if most == 0:
        return 0
    start = p.m[ko + K_WINDOW_FROM_PS]
    end = p.m[ko + K_WINDOW_TO_PS]
    of_day = t % DAY_PS
    inside = start <= of_day < end if start <= end else of_day >= start or of_day < end
    if inside:
        return 0
    return min(most, (start - of_day) % DAY_PS)
