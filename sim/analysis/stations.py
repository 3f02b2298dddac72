"""CPU stations over the whole run: how busy they were, and how long was waited for them."""

from __future__ import annotations

from typing import Any

from sim.analysis.facts import station_facts
from sim.measures.listed import STATION
from sim.measures.measure import values


def station_measures(scenario: Any, result: Any) -> dict[str, dict[str, Any]]:
    """Station → its workers and what they did from 0 until the run's end; seconds, and the share of their time."""
    names = list(scenario.gateway.stations) if result.stations else []
    return {
        name: values(STATION, station_facts(counters, int(result.end_ps)))
        for name, counters in zip(names, result.stations, strict=True)
    }
