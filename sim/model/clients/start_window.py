"""The hours of a day in which requests may start."""

from __future__ import annotations

from sim.compile.jit import jit

DAY_PS = 86_400 * 10**12


@jit
def deferral_ps(params, k, t):
    """How long requests of a class that arrive at t wait for the hours in which they may start, if they can."""
    klass = params.klass[k]
    most = klass.defer_max_ps
    if most == 0:
        return 0
    start = klass.window_from_ps
    end = klass.window_to_ps
    of_day = t % DAY_PS
    inside = start <= of_day < end if start <= end else of_day >= start or of_day < end
    if inside:
        return 0
    return min(most, (start - of_day) % DAY_PS)
