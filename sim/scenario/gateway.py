"""The front of the fleet: what happens while no replica is ready."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.scenario.types import CONFIG, Count, CountOrZero, NonNegative, Text


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Gateway:
    """Requests held, per model, while none of its replicas may take one; more than that are rejected.

    With `max_outstanding_per_replica` a replica is handed no more than so many, and the gateway holds the rest: in the
    order of arrival (`fifo`), by priority, or in fair shares between tenants by the tokens they were served (`fair`).
    `latency_s` is what the gateway itself adds to every answer.
    """

    queue_capacity: CountOrZero = 100_000
    max_outstanding_per_replica: Count | None = None
    hold_order: Literal["fifo", "priority", "fair"] = "fifo"
    latency_s: Annotated[NonNegative, Field(le=60)] = 0.0
    source: Text = ""
