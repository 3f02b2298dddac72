"""Deployments: at a scripted time the replicas of one pool, the old version, give way to those of another."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from sim.scenario.amounts import CountOrPercent
from sim.scenario.types import (
    CONFIG,
    Count,
    CountOrZero,
    Flag,
    Int,
    Key,
    NonNegative,
    PeriodS,
    Probability,
    Seconds,
    SomeSeconds,
    Text,
)

Weight = Annotated[Int, Field(ge=0, le=100)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Step:
    """A canary's step: `weight` percent of the replicas, or of the requests, are the new version's, for `pause_s` once its
    replicas are there.
    """

    weight: Weight
    pause_s: Seconds = 0.0


LATENCIES = ("ttft", "tpot", "e2e", "queue_wait", "itl_max")
SHARES = ("errors", "bad_answers")
SAMPLES_MAX = 10_000  # answers that one evaluation looks at
_PERCENTILE = re.compile(r"([a-z0-9_]+)\.p([0-9]{1,2}(?:\.[0-9]{1,3})?)")
MEASURES_ALLOWED = f"{', '.join(SHARES)}, or a percentile of {', '.join(LATENCIES)}, as ttft.p99"


def measure_parts(measure: str) -> tuple[str, float]:
    """What a gate measures, and which percentile of it, 0 of a share. Raises ValueError where it is neither."""
    found = _PERCENTILE.fullmatch(measure)
    if measure in SHARES:
        return measure, 0.0
    if found is None or found[1] not in LATENCIES or float(found[2]) == 0:
        raise ValueError(f"{measure!r} is not valid; allowed: {MEASURES_ALLOWED}")
    return found[1], float(found[2])


def _measure(value: str) -> str:
    measure_parts(value)
    return value


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Gate:
    """A metric of an analysis of Argo Rollouts: what is measured of the new version again and again, and what is allowed.

    A measurement is successful up to `at_most` (seconds, or a share), and has failed above `fail_above`, or without one as
    soon as it is not successful; between the two it is inconclusive. It looks at the requests of the new version that ended
    in the last `window_s`, of which there have to be `samples`; or at `samples` of its answers, each of which is judged
    to be good although it is bad with the probability `missed`, the other way with `false_alarms`.

    With a `count` it is measured so often within each step of a canary, behind its pause; without, all the time.
    """

    measure: Annotated[Text, AfterValidator(_measure)]
    at_most: NonNegative
    fail_above: NonNegative | None = None
    window_s: SomeSeconds = 60.0
    interval_s: PeriodS = 30.0
    initial_delay_s: Seconds = 0.0
    samples: Annotated[Count, Field(le=10_000_000)] = 20
    missed: Probability = 0.0
    false_alarms: Probability = 0.0
    count: Annotated[Count, Field(le=10_000)] | None = None
    failure_limit: CountOrZero = 0
    inconclusive_limit: CountOrZero = 0
    consecutive_error_limit: CountOrZero = 4


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Deployment:
    """From `at_s` on the replicas of `pool` give way to those of `to`, which serves the same model and has none before.

    The defaults are those of Kubernetes' Deployments. A replica is available when it has been ready for `min_ready_s`;
    the controller looks every `sync_s`. With `traffic: router` the router gives a canary its weight of the requests,
    and the old version stays whole. Blue-green's new version comes whole, or with `preview_replicas`, before all
    requests go to it: at once, after `auto_promotion_s`, or without `auto_promotion` never. The old one stays for
    `scale_down_delay_s` more, and of a deployment that goes back the new one for `abort_scale_down_delay_s`.

    A deployment goes back when a gate fails, and with `progress_deadline_abort` when it
    has stood still for `progress_deadline_s`.
    """

    at_s: SomeSeconds
    pool: Key
    to: Key
    strategy: Literal["rolling", "recreate", "canary", "blue_green"] = "rolling"
    max_surge: CountOrPercent = "25%"
    max_unavailable: CountOrPercent = "25%"
    steps: Annotated[tuple[Step, ...], Field(max_length=100)] = ()
    traffic: Literal["replicas", "router"] = "replicas"
    preview_replicas: Annotated[Count, Field(le=10_000)] | None = None
    auto_promotion: Flag = True
    auto_promotion_s: Seconds = 0.0
    scale_down_delay_s: Seconds = 30.0
    abort_scale_down_delay_s: SomeSeconds = 30.0
    min_ready_s: Seconds = 0.0
    gates: Annotated[tuple[Gate, ...], Field(max_length=20)] = ()
    progress_deadline_s: SomeSeconds = 600.0
    progress_deadline_abort: Flag = False
    sync_s: PeriodS = 1.0
    source: Text = ""


Deployments = Annotated[tuple[Deployment, ...], Field(max_length=100)]
