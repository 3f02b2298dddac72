"""CPU stations over the whole run: how busy they were, and how long was waited for them."""

from __future__ import annotations

from typing import Any

from sim.units import PS_PER_S


def station_measures(scenario: Any, result: Any) -> dict[str, dict[str, Any]]:
    """Station → its workers and what they did from 0 until the run's end; seconds, and the share of their time."""
    names = list(scenario.gateway.stations) if result.stations else []
    return {
        name: _measures(counters, int(result.end_ps))
        for name, counters in zip(names, result.stations, strict=True)
    }


def _measures(counters: dict[str, int], end_ps: int) -> dict[str, Any]:
    workers, visits, busy_ps = counters["workers"], counters["visits"], counters["busy_ps"]
    return {
        "workers": workers,
        "run_visits": visits,
        "run_busy_s": busy_ps / PS_PER_S,
        "run_use": busy_ps / (workers * end_ps) if end_ps else None,
        "run_wait_mean_s": counters["wait_ps"] / visits / PS_PER_S if visits else None,
    }
