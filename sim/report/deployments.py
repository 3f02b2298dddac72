"""What became of deployments, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim.report.text import number, seconds


def deployment_lines(summary: Mapping[str, Any]) -> list[str]:
    """A line for each deployment: how far it came, and how many replicas there were meanwhile."""
    return [
        f"deployment {name} ({found['strategy']}): {_course(found)}"
        for name, found in summary.get("deployments", {}).items()
    ]


def _course(found: Mapping[str, Any]) -> str:
    if found["started_s"] is None:
        return "did not begin"
    began = f"began at {seconds(found['started_s'])}"
    if found["ended_s"] is None:
        end = "was not over at the end of the run"
    else:
        end = f"took {seconds(found['ended_s'] - found['started_s'])}"
    late = "" if found["timed_out_s"] is None else f", no progress noted at {seconds(found['timed_out_s'])}"
    return (
        f"{began}, {end}{late} · {number(found['replicas'])} replicas wanted, up to"
        f" {number(found['replicas_max'])} there, at least {number(found['available_min'])} available"
    )
