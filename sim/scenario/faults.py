"""What breaks, when: replicas or nodes that are lost, GPUs and links that are slow for a while."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.scenario.dist import Dist
from sim.scenario.types import CONFIG, Count, Flag, Int, Key, PeriodS, Seconds, SomeSeconds, Text

SLOW_MAX = 1000.0

SlowFactor = Annotated[float, Field(strict=True, ge=1, le=SLOW_MAX)]  # of the time of a step
LinkFactor = Annotated[float, Field(strict=True, ge=0, lt=1)]  # of what a link carries
LinkName = Annotated[str, Field(min_length=1, max_length=100)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Fault:
    """At `at_s` so many replicas of a pool are lost; the requests they held fail, and the pool replaces them.

    `pool` None means the only pool. With `node_group`, `zone` or both, `nodes` of these (None: all) are lost with every
    replica on them, and for `outage_s` those groups get no new ones. With `drains` they are not lost but drained, as for
    maintenance, within the pools' disruption budgets, and given back when they hold nothing.
    """

    kind: Literal["lost"] = "lost"
    at_s: SomeSeconds
    pool: Key | None = None
    replicas: Count = 1
    node_group: Key | None = None
    zone: Key | None = None
    nodes: Count | None = None
    outage_s: Seconds = 0.0
    drains: Flag = False
    source: Text = ""

    @property
    def is_of_nodes(self) -> bool:
        """Whether nodes are lost, and not some replicas of a pool."""
        return self.node_group is not None or self.zone is not None


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Timed:
    """When: once at `at_s`, or again and again, `gap` after it was over. It `lasts` for some seconds each time."""

    at_s: SomeSeconds | None = None
    gap: Dist | None = None
    lasts: Dist
    source: Text = ""
    confidence: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Slow(Timed):
    """Steps take `factor` times as long: a brown-out, throttled GPUs. What `pool`, `node_group` and `zone` name is struck;
    of it only so many `nodes`, or `replicas`, drawn at random each time (None: all). With kind `nvlink` only replicas are
    slow that compute each layer on several GPUs: those of pools with tp above 1.
    """

    kind: Literal["slow", "nvlink"]
    factor: SlowFactor
    pool: Key | None = None
    replicas: Count | None = None
    node_group: Key | None = None
    zone: Key | None = None
    nodes: Count | None = None

    @property
    def is_of_nodes(self) -> bool:
        """Whether nodes are struck, with the replicas on them."""
        return any(value is not None for value in (self.node_group, self.zone, self.nodes))


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class SlowLink(Timed):
    """A link carries `factor` of its bandwidth; with 0 it is down, and what goes over it stands still."""

    kind: Literal["slow_link"]
    link: LinkName
    factor: LinkFactor


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Crash:
    """The process of so many replicas of a pool (None: of any), drawn at random, is gone with all that it held, once at
    `at_s` or again and again, `gap` after it was over. It starts again in place, with the kubelet's waits.
    """

    kind: Literal["crash", "out_of_memory"]
    at_s: SomeSeconds | None = None
    gap: Dist | None = None
    pool: Key | None = None
    replicas: Count = 1
    source: Text = ""
    confidence: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Hang:
    """So many replicas stand still and look ready, until a health check every `period_s` has failed `failures` times; then
    they are killed and start again in place.
    """

    kind: Literal["hang"]
    at_s: SomeSeconds | None = None
    gap: Dist | None = None
    pool: Key | None = None
    replicas: Count = 1
    period_s: PeriodS = 10.0  # Kubernetes: periodSeconds
    failures: Annotated[Int, Field(ge=1, le=1000)] = 3  # … failureThreshold
    source: Text = ""
    confidence: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class GpuLost(Timed):
    """So many GPUs of a node group, a zone or any are lost with the replicas on them (an Xid error), drawn at random; their
    nodes keep them and place nothing there until they are repaired: that `lasts` so long.
    """

    kind: Literal["gpu_lost"]
    gpus: Count = 1
    node_group: Key | None = None
    zone: Key | None = None


def with_kinds(faults: Any) -> Any:
    """A list of faults as it was written; those without a kind are losses."""
    if not isinstance(faults, list | tuple):
        return faults
    return [{"kind": "lost", **fault} if isinstance(fault, dict) else fault for fault in faults]


AnyFault = Annotated[Fault | Slow | SlowLink | Crash | Hang | GpuLost, Field(discriminator="kind")]
Faults = Annotated[tuple[AnyFault, ...], Field(max_length=1000)]
