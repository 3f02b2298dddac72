"""What became of deployments, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim.report.text import number, seconds

BECAUSE = {"progress_deadline": "its progress deadline"}


def deployment_lines(summary: Mapping[str, Any]) -> list[str]:
    """A line for each deployment: how far it came, how many replicas there were, what the new version answered."""
    return [
        f"deployment {name} ({found['strategy']}): {_course(found)}"
        for name, found in summary.get("deployments", {}).items()
    ]


def _course(found: Mapping[str, Any]) -> str:
    if found["started_s"] is None:
        return "did not begin"
    began = f"began at {seconds(found['started_s'])}"
    late = "" if found["timed_out_s"] is None else f", no progress noted at {seconds(found['timed_out_s'])}"
    return (
        f"{began}, {_end(found)}{late} · {number(found['replicas'])} replicas wanted, up to"
        f" {number(found['replicas_max'])} there, at least {number(found['available_min'])} available"
        f"{_answers(found)}"
    )


def _end(found: Mapping[str, Any]) -> str:
    why = f"for {BECAUSE.get(found['because'], found['because'])}"
    if found["paused_s"] is not None:
        return f"waits since {seconds(found['paused_s'])} {why}: its analysis was inconclusive"
    back = "" if found["aborted_s"] is None else f"went back at {seconds(found['aborted_s'])} {why}, "
    if found["ended_s"] is None:
        return f"{back}was not over at the end of the run"
    return f"{back}took {seconds(found['took_s'])}"


def _answers(found: Mapping[str, Any]) -> str:
    if found["new_answered"] is None:
        return ""
    return f" · the new version answered {number(found['new_answered'])}, {number(found['new_bad'])} of them badly"
