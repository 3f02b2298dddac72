"""The front of the fleet: which replica a request goes to, and what happens while none is ready."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from sim.scenario.types import CONFIG, CountOrZero, Text

RouterKind = Literal["round_robin", "random", "least_outstanding", "power_of_two", "least_kv"]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Router:
    """How one ready replica is chosen for each request."""

    kind: RouterKind = "least_outstanding"
    source: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Gateway:
    """Requests held, per model, while none of its replicas is ready; more than that are rejected."""

    queue_capacity: CountOrZero = 100_000
    source: Text = ""
