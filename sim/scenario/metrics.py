"""The pipeline between the world and an autoscaler: what it sees, how often, how late."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.scenario.types import CONFIG, Name, PeriodS, Seconds

SIGNALS_MAX = 8  # of a pool: the controllers have room for so many metrics

Aggregation = Literal["mean", "max", "last"]
MetricSource = Literal["outstanding", "waiting", "running", "kv_use", "arrival_rate", "backlog"]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Pipeline:
    """Scraped every `scrape_period_s`, seen `lag_s` later as the mean, the largest or the last of the samples of
    `window_s` (0: the last sample).

    `source` None follows the autoscaler's own `metric`.
    """

    source: MetricSource | None = None
    scrape_period_s: PeriodS = 15.0
    window_s: Seconds = 0.0
    aggregation: Aggregation = "mean"
    lag_s: Seconds = 0.0


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Metrics(Pipeline):
    """A pool's first pipeline, and `more` of them: an autoscaler's n-th metric is seen through the n-th."""

    name: Name = "default"
    more: Annotated[tuple[Pipeline, ...], Field(max_length=SIGNALS_MAX - 1)] = ()
