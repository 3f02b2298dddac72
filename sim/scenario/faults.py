"""What breaks, when: replicas or nodes that are lost at a scripted time."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.scenario.types import CONFIG, Count, Key, Seconds, SomeSeconds, Text


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Fault:
    """At `at_s` so many replicas of a pool are lost; the requests they held fail, and the pool replaces them.

    `pool` None means the only pool. With `node_group`, `zone` or both, `nodes` of these (None: all) are lost with every
    replica on them, and for `outage_s` those groups get no new ones.
    """

    at_s: SomeSeconds
    pool: Key | None = None
    replicas: Count = 1
    node_group: Key | None = None
    zone: Key | None = None
    nodes: Count | None = None
    outage_s: Seconds = 0.0
    source: Text = ""

    @property
    def is_of_nodes(self) -> bool:
        """Whether nodes are lost, and not some replicas of a pool."""
        return self.node_group is not None or self.zone is not None


Faults = Annotated[tuple[Fault, ...], Field(max_length=1000)]
