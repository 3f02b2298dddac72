"""The pipeline between the world and an autoscaler: what it sees, how often, how late."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from sim.scenario.types import CONFIG, Name, PeriodS, Seconds

MetricSource = Literal["outstanding", "waiting", "running", "kv_use", "arrival_rate", "backlog"]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Metrics:
    """Scraped every `scrape_period_s`, averaged over `window_s` (0: the last sample), seen `lag_s` later.

    `source` None follows the autoscaler's own `metric`.
    """

    name: Name = "default"
    source: MetricSource | None = None
    scrape_period_s: PeriodS = 15.0
    window_s: Seconds = 0.0
    lag_s: Seconds = 0.0
