"""What breaks, when: replicas that are lost at a scripted time."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.scenario.types import CONFIG, Count, Key, SomeSeconds, Text


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Fault:
    """At `at_s` so many replicas of a pool are lost; the requests they held fail, and the pool replaces them.

    `pool` None means the only pool.
    """

    at_s: SomeSeconds
    pool: Key | None = None
    replicas: Count = 1
    source: Text = ""


Faults = Annotated[tuple[Fault, ...], Field(max_length=1000)]
