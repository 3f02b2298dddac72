"""Which of the ready replicas gets a request."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from sim.scenario.types import CONFIG, CountOrZero, Flag, Int, NonNegative, Share, Text
from sim.units import HORIZON_MAX_S

Weight = Annotated[NonNegative, Field(le=1000)]
LoadFactor = Annotated[float, Field(strict=True, ge=1, le=1000)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Router:
    """One ready replica for each request, chosen without settings."""

    kind: Literal["round_robin", "random", "least_outstanding", "power_of_two", "least_kv"] = (
        "least_outstanding"
    )
    source: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class SessionAffinity:
    """The replica that had the session's last request; the least loaded for a new session, and when that one is gone,
    not ready or overloaded: it would hold more than `overload_factor` times the mean, and more than `load_min`.
    """

    kind: Literal["session_affinity"] = "session_affinity"
    overload_factor: LoadFactor = 2.0
    load_min: CountOrZero = 4
    source: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class ConsistentHash:
    """A ring of hashed `virtual_nodes`: clockwise from the session's hash, the first replica that will hold no more
    than `load_factor` times the mean. A request without a session has a key of its own.
    """

    kind: Literal["consistent_hash"] = "consistent_hash"
    load_factor: LoadFactor = 1.25
    virtual_nodes: Annotated[Int, Field(ge=1, le=10_000)] = 100
    source: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Weights:
    """What a request at a replica counts, what one that waits counts more, and what all its KV blocks in use would."""

    outstanding: Weight = 1.0
    waiting: Weight = 0.0
    kv_use: Weight = 0.0

    @model_validator(mode="after")
    def _check_sum(self) -> Self:
        if self.outstanding + self.waiting + self.kv_use <= 0:
            raise ValueError(
                "outstanding, waiting and kv_use are all 0: no replica would be better than another"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class WeightedScore:
    """The lowest weighted sum of what a snapshot says of each replica. A snapshot lasts until the next multiple of
    `snapshot_s`; with `count_own` the router adds the requests it has sent to a replica since.
    """

    kind: Literal["weighted_score"] = "weighted_score"
    weights: Weights = field(default_factory=Weights)
    snapshot_s: Annotated[NonNegative, Field(le=HORIZON_MAX_S)] = 0.0
    count_own: Flag = True
    source: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class PrefixAware:
    """The replica that has the longest prefix of the prompt in its cache, if that is more than `match_min` of the
    prompt; else the least loaded, as when the fullest replica has more than `imbalance_min` requests over the emptiest
    and more than `imbalance_factor` times as many. Pools need `runtime.prefix_caching`.
    """

    kind: Literal["prefix_aware"] = "prefix_aware"
    match_min: Share = 0.3
    imbalance_min: CountOrZero = 64
    imbalance_factor: LoadFactor = 1.5
    source: Text = ""


AnyRouter = Annotated[
    Router | SessionAffinity | ConsistentHash | WeightedScore | PrefixAware, Field(discriminator="kind")
]
