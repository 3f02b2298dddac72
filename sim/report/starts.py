"""Cold starts in words."""

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
