"""The span of arrivals that a run's summary is about."""

from __future__ import annotations

from typing import Any

from sim.units import s_to_ps


def measured_window_ps(scenario: Any, result: Any = None) -> tuple[int, int]:
    """First and one-past-last picosecond of arrival that is measured: after warm-up, before the end.

    A run whose load generators have no request left ends with the last answer, before its `duration_s`; its result says
    when.
    """
    start_ps, end_ps = s_to_ps(scenario.warmup_s), s_to_ps(scenario.duration_s)
    found = getattr(result, "window_end_ps", None)
    return (start_ps, end_ps) if found is None else (min(start_ps, found), found)
