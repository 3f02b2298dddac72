"""What is shown where: columns of a comparison and of a sweep, and lines on a terminal."""

from __future__ import annotations

from typing import NamedTuple

from sim.measures.levels import key_of
from sim.measures.listed import WHOLE
from sim.measures.measure import Measure

#: side by side, in this order; of a latency one statistic
COMPARED = (
    "served_fraction",
    "slo_attainment",
    "ttft.p50",
    "ttft.p99",
    "itl.p99",
    "e2e.p99",
    "prefix_hit_ratio",
    "from_cache_fraction",
    "replicas_mean",
    "usd_per_hour",
    "usd_per_million_output_tokens",
)
#: on a terminal: the fates of what was not served, rows of the table of latencies, utilisations
UNSERVED = ("rejected", "timed_out", "failed", "inside")
TABLE_OF_LATENCIES = ("ttft", "itl", "tpot", "e2e", "queue_wait")
UTILISATIONS = ("step_busy", "slot_use", "kv_use", "mfu", "bandwidth_use", "prefix_hit_ratio")


class Compared(NamedTuple):
    """One column of a comparison."""

    key: str  # in the flat summary
    label: str
    unit: str
    better: str  # "low" or "high"


def measure(name: str) -> Measure:
    """A measure of the whole fleet by its name."""
    return next(found for found in WHOLE if found.name == name)


def compared(name: str) -> Compared:
    """The column of a measure, or of a latency's statistic: `usd_per_hour`, `ttft.p99`."""
    metric, _, statistic = name.partition(".")
    found = measure(metric)
    if statistic:
        return Compared(
            f"{metric}_{key_of(statistic)}", f"{found.shown} {statistic}", found.unit, found.better
        )
    unit = found.unit if found.column_unit is None else found.column_unit
    return Compared(name, found.shown, unit, found.better)
