"""The statistics of a latency: its mean and its percentiles, over everybody and over the served alone."""

from __future__ import annotations

PERMILLES = {"p50": 500, "p90": 900, "p95": 950, "p99": 990, "p99.9": 999}
LEVELS = ("mean", *PERMILLES)
STATISTICS = (*LEVELS, *(f"{level}_served" for level in LEVELS))  # as a limit names them


def key_of(statistic: str) -> str:
    """The key of a statistic in a summary: `p99.9_served` → `p99_9_served_s`."""
    return f"{statistic.replace('.', '_')}_s"
