"""Deployments: at a scripted time the replicas of one pool, the old version, give way to those of another."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from sim.scenario.amounts import amount_of
from sim.scenario.types import CONFIG, INT_MAX, Int, Key, PeriodS, Seconds, SomeSeconds, Text


def _amount(value: Any) -> Any:
    allowed = f"{value!r} is not valid; allowed: a count of replicas as 1, or a percentage as 25%"
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(allowed)
    try:
        amount = amount_of(value)
    except ValueError:
        raise ValueError(allowed) from None
    if not 0 <= amount.value <= (100 if amount.is_percent else INT_MAX):
        raise ValueError(allowed)
    return value


CountOrPercent = Annotated[Any, AfterValidator(_amount)]
Weight = Annotated[Int, Field(ge=0, le=100)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Step:
    """A canary's step: `weight` percent of the replicas are of the new version, for `pause_s` once they are there."""

    weight: Weight
    pause_s: Seconds = 0.0


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Deployment:
    """From `at_s` on the replicas of `pool` give way to those of `to`, which serves the same model and has none before.

    The defaults are those of Kubernetes' Deployments. A replica is available when it has been ready for `min_ready_s`; the
    controller looks every `sync_s`.
    """

    at_s: SomeSeconds
    pool: Key
    to: Key
    strategy: Literal["rolling", "recreate", "canary"] = "rolling"
    max_surge: CountOrPercent = "25%"
    max_unavailable: CountOrPercent = "25%"
    steps: Annotated[tuple[Step, ...], Field(max_length=100)] = ()
    min_ready_s: Seconds = 0.0
    progress_deadline_s: SomeSeconds = 600.0
    sync_s: PeriodS = 1.0
    source: Text = ""


Deployments = Annotated[tuple[Deployment, ...], Field(max_length=100)]
