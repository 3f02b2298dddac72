"""Autoscalers: fixed, Kubernetes' HPA, a queue scaler as KEDA's, or a user's own law."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from pydantic.dataclasses import dataclass

from sim.scenario.metrics import MetricSource
from sim.scenario.types import CONFIG, Count, CountOrZero, Name, NonNegative, Positive, Text

Law = Annotated[str, StringConstraints(pattern=r"^.+\.py:[A-Za-z_][A-Za-z0-9_]*$")]
SelectPolicy = Literal["max", "min", "disabled"]
PeriodS = Annotated[Positive, Field(le=1800)]  # Kubernetes' own limit
WindowS = Annotated[NonNegative, Field(le=3600)]  # Kubernetes' own limit


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class RatePolicy:
    """At most `value` pods, or percent of the replicas, per `period_s`."""

    type: Literal["pods", "percent"]
    value: Count
    period_s: PeriodS


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
class Hpa:
    """Kubernetes' horizontal pod autoscaler on one metric per replica; `target` in the metric's own unit."""

    kind: Literal["hpa"] = "hpa"
    name: Name = "hpa"
    metric: MetricSource = "outstanding"
    target: Positive
    tolerance: NonNegative = 0.1
    sync_period_s: Positive = 15.0
    scale_up: ScalingRules = HPA_SCALE_UP
    scale_down: ScalingRules = HPA_SCALE_DOWN
    source: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Queue:
    """Replicas by backlog; zero when the pool's `min_replicas` is 0 and nothing came for `cooldown_s`."""

    kind: Literal["queue"] = "queue"
    name: Name = "queue"
    metric: MetricSource = "backlog"
    target_backlog_per_replica: Positive
    activation: NonNegative = 0.0
    polling_interval_s: Positive = 30.0
    cooldown_s: NonNegative = 300.0
    source: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class User:
    """A Python function of the user's, `law: file.py:function`, asked every `period_s`."""

    kind: Literal["user"] = "user"
    name: Name = "user"
    law: Law
    period_s: Positive = 15.0
    source: Text = ""


Autoscaler = Annotated[Fixed | Hpa | Queue | User, Field(discriminator="kind")]
