"""How a provider charges for a node's time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.scenario.types import CONFIG, Name, Seconds, SomeSeconds, Text

UNIT_MAX_S = 31 * 86_400.0  # a month

Unit = Annotated[SomeSeconds, Field(le=UNIT_MAX_S)]
Minimum = Annotated[Seconds, Field(le=UNIT_MAX_S)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Billing:
    """A node is paid from `starts` (its request, or when the provider has it running) until it is gone: in whole units of
    `unit_s` (None: exactly), and at least `minimum_s`. What is rounded up is paid when it is gone. Reserved and owned nodes
    are paid all the time, by none of these.
    """

    name: Name = "exact"
    starts: Literal["requested", "running"] = "requested"
    unit_s: Unit | None = None
    minimum_s: Minimum = 0.0
    source: Text = ""
    confidence: Text = "assumed: to the second and from the request on"
