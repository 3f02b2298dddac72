"""The span of arrivals that a run's summary is about."""

from __future__ import annotations

from typing import Any

from sim.units import s_to_ps


def measured_window_ps(scenario: Any, result: Any = None) -> tuple[int, int]:
    """First and one-past-last picosecond of arrival that is measured: after warm-up, before the end.

    A run whose load generators have no request left ends with the last answer, before its `duration_s`; its result says
    when.
    """
    return window_ps(scenario, getattr(result, "window_end_ps", None))


def window_ps(scenario: Any, found_end_ps: int | None) -> tuple[int, int]:
    """The same of a run whose window ended at `found_end_ps`."""
    start_ps, end_ps = s_to_ps(scenario.warmup_s), s_to_ps(scenario.duration_s)
    return (start_ps, end_ps) if found_end_ps is None else (min(start_ps, found_end_ps), found_end_ps)
