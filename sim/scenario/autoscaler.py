"""Autoscalers: fixed, Kubernetes' HPA, a queue scaler as KEDA's, or a user's own law."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.scenario.metrics import SIGNALS_MAX, MetricSource
from sim.scenario.types import (
    CONFIG,
    Count,
    CountOrZero,
    Law,
    Name,
    NonNegative,
    PeriodS,
    Positive,
    Seconds,
    Text,
)

Tolerance = Annotated[NonNegative, Field(lt=1)]  # at 1 nothing that falls to zero would be seen
Activation = Annotated[NonNegative, Field(le=1e9)]
SelectPolicy = Literal["max", "min", "disabled"]
PolicyS = Annotated[PeriodS, Field(le=1800)]  # Kubernetes' own limit
WindowS = Annotated[Seconds, Field(le=3600)]  # Kubernetes' own limit
Target = Annotated[Positive, Field(ge=0.001, le=1e9)]  # Kubernetes counts in thousandths


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class RatePolicy:
    """At most `value` pods, or percent of the replicas, per `period_s`."""

    type: Literal["pods", "percent"]
    value: Count
    period_s: PolicyS


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class ScalingRules:
    """One direction of an HPA's `behavior`; no policies means no rate limit."""

    stabilization_window_s: WindowS = 0.0
    select_policy: SelectPolicy = "max"
    policies: tuple[RatePolicy, ...] = ()


# kubernetes/kubernetes pkg/apis/autoscaling/v2/defaults.go
HPA_SCALE_UP = ScalingRules(
    policies=(
        RatePolicy(type="pods", value=4, period_s=15.0),
        RatePolicy(type="percent", value=100, period_s=15.0),
    )
)
HPA_SCALE_DOWN = ScalingRules(
    stabilization_window_s=300.0, policies=(RatePolicy(type="percent", value=100, period_s=15.0),)
)


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Fixed:
    """Always `replicas`; read from a scenario, None or `min` or `max` become the pool's own number."""

    kind: Literal["fixed"] = "fixed"
    name: Name = "fixed"
    replicas: CountOrZero
    source: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class HpaMetric:
    """One more metric of an HPA and what one replica should carry of it, in the metric's own unit."""

    metric: MetricSource
    target: Target


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Trigger:
    """One more trigger of a queue scaler."""

    metric: MetricSource
    target_backlog_per_replica: Target
    activation: Activation = 0.0


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Hpa:
    """Kubernetes' horizontal pod autoscaler on one metric per replica; `target` in the metric's own unit.

    With `more_metrics` the largest proposal counts.
    """

    kind: Literal["hpa"] = "hpa"
    name: Name = "hpa"
    metric: MetricSource = "outstanding"
    target: Target
    more_metrics: Annotated[tuple[HpaMetric, ...], Field(max_length=SIGNALS_MAX - 1)] = ()
    tolerance: Tolerance = 0.1
    sync_period_s: PeriodS = 15.0
    scale_up: ScalingRules = HPA_SCALE_UP
    scale_down: ScalingRules = HPA_SCALE_DOWN
    source: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Queue:
    """Replicas by backlog; zero when the pool's `min_replicas` is 0 and nothing came for `cooldown_s`.

    With `more_triggers` the largest proposal counts, and the pool is active while any of them is.
    """

    kind: Literal["queue"] = "queue"
    name: Name = "queue"
    metric: MetricSource = "backlog"
    target_backlog_per_replica: Target
    activation: Activation = 0.0
    more_triggers: Annotated[tuple[Trigger, ...], Field(max_length=SIGNALS_MAX - 1)] = ()
    polling_interval_s: PeriodS = 30.0
    cooldown_s: Seconds = 300.0
    source: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class User:
    """A Python function of the user's, `law: file.py:function`, asked every `period_s`."""

    kind: Literal["user"] = "user"
    name: Name = "user"
    law: Law
    period_s: PeriodS = 15.0
    source: Text = ""


Autoscaler = Annotated[Fixed | Hpa | Queue | User, Field(discriminator="kind")]


def targets_of(scaler: Autoscaler) -> list[tuple[tuple[str | int, ...], Hpa | HpaMetric | Queue | Trigger]]:
    """What a scaler holds against targets: the place of each below the autoscaler, and what says metric and target."""
    if isinstance(scaler, Hpa):
        return [((), scaler), *((("more_metrics", i), more) for i, more in enumerate(scaler.more_metrics))]
    if isinstance(scaler, Queue):
        return [((), scaler), *((("more_triggers", i), more) for i, more in enumerate(scaler.more_triggers))]
    return []
