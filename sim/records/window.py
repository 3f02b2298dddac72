"""The span of arrivals that a run's summary is about."""

from __future__ import annotations

from typing import Any

from sim.units import s_to_ps


def measured_window_ps(scenario: Any) -> tuple[int, int]:
    """First and one-past-last picosecond of arrival that is measured: after warm-up, before the end."""
    return s_to_ps(scenario.warmup_s), s_to_ps(scenario.duration_s)
