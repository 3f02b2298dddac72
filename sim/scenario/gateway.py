"""The front of the fleet: who waits while no replica is ready, CPU stations, the response cache."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.scenario.station import Station
from sim.scenario.types import CONFIG, Count, CountOrZero, Key, NonNegative, SomeSeconds, Text

Stations = Annotated[dict[Key, Station], Field(max_length=100)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class ResponseCache:
    """Answers that are kept by what was asked, as far as a class says so (`popularity`): the least recently used goes
    first, and none is served that is `lifetime_s` old (None: they do not age). An answer from it takes `latency_s`.

    With 0 `entries` nothing is kept: the same traffic without a cache.
    """

    entries: CountOrZero
    lifetime_s: SomeSeconds | None = None
    latency_s: Annotated[NonNegative, Field(le=60)] = 0.0
    source: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Gateway:
    """Requests held, per model, while none of its replicas may take one; more than that are rejected.

    With `max_outstanding_per_replica` a replica is handed no more than so many, and the gateway holds the rest: in the
    order of arrival (`fifo`), by priority, or in fair shares between tenants by the tokens they were served (`fair`).
    `latency_s` is what the gateway itself adds to every answer from a replica.
    """

    queue_capacity: CountOrZero = 100_000
    max_outstanding_per_replica: Count | None = None
    hold_order: Literal["fifo", "priority", "fair"] = "fifo"
    latency_s: Annotated[NonNegative, Field(le=60)] = 0.0
    stations: Stations = field(default_factory=dict)
    response_cache: ResponseCache | None = None
    source: Text = ""
