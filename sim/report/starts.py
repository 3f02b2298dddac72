"""Cold starts, and what step times rest on, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim.report.text import seconds


def start_lines(summary: Mapping[str, Any]) -> list[str]:
    """A line for each pool that had cold starts: how long they took, and their stages, the longest first."""
    return [
        f"cold start of {name}: median {seconds(found['median_s'])}, longest {seconds(found['max_s'])} · "
        + ", ".join(
            f"{stage} {seconds(s)}" for stage, s in sorted(found["stages"].items(), key=lambda x: -x[1])
        )
        for name, pool in summary["pools"].items()
        if (found := pool.get("cold_start"))
    ]


def step_time_lines(summary: Mapping[str, Any]) -> list[str]:
    """What the step times rest on: one line for pools that say the same."""
    texts: dict[str, list[str]] = {}
    for name, pool in summary["pools"].items():
        if pool.get("step_time"):
            texts.setdefault(pool["step_time"]["text"], []).append(name)
    return [f"step times of {', '.join(names)}: {text}" for text, names in texts.items()]
