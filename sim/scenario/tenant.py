"""A tenant: who pays for some of the traffic classes, and what all of them together may use."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.scenario.limits import Limits
from sim.scenario.types import CONFIG, Int, Key, Text

Weight = Annotated[Int, Field(ge=1, le=1_000_000)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Tenant:
    """Its `weight` is its share where tenants compete; its limits hold over all its classes."""

    name: Key
    weight: Weight = 1
    limits: Limits = field(default_factory=Limits)
    note: Text = ""
