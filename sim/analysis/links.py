"""Links that starts share, over the whole run: what they carried, and how long they held transfers back."""

from __future__ import annotations

from typing import Any

from sim.measures.listed import LINK
from sim.measures.measure import values


def link_measures(scenario: Any, result: Any) -> dict[str, dict[str, Any]]:
    """Link → what it carried from 0 until the run's end."""
    links = scenario.links if result.links else ()
    return {
        link.name: values(LINK, {**counters, "bandwidth_gb_s": link.bandwidth_gb_s})
        for link, counters in zip(links, result.links, strict=True)
    }
