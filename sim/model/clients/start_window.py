"""The window of the day in which deferrable requests start."""

from __future__ import annotations

from sim.compile.jit import jit

DAY_PS = 86_400 * 10**12


@jit
def deferral_ps(params, k, t):
    """How long a request of class k that arrives at t waits for the window in which it may start; 0 = it starts now."""
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
