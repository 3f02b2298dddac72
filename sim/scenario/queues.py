"""Queues with quotas of a cluster, as Kueue has them: what each may use of which GPUs, lends, borrows and takes back."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, Strict
from pydantic.dataclasses import dataclass

from sim.scenario.catalogue import option_files
from sim.scenario.types import CONFIG, Key, PriorityClass, Text
from sim.scenario.yaml_file import read_yaml

if TYPE_CHECKING:
    from sim.scenario.cluster import NodeGroup

QUEUES_MAX = 100
MEMORY_SLICES = 8

GpusOfQuota = Annotated[
    float, Strict(), Field(ge=0, le=160_000)
]  # GPUs: as many as the largest cluster can have
Weight = Annotated[float, Strict(), Field(ge=0, le=1000)]
Within = Literal["never", "lower_priority", "lower_or_newer_equal_priority"]
Reclaim = Literal["never", "lower_priority", "any"]
FairSharing = Literal["final_then_initial", "final", "initial"]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class FlavorQuota:
    """GPUs of a `flavor` that a queue or cohort has (`nominal`), may use of others' beyond that (`borrowing_limit`) and
    lets others use while it does not (`lending_limit`; None: as many as there are). An eighth of a GPU is a memory slice.

    A flavor is a node group, or a kind of GPU: all node groups with it that no other quota names.
    """

    flavor: Key
    nominal: GpusOfQuota
    borrowing_limit: GpusOfQuota | None = None
    lending_limit: GpusOfQuota | None = None


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class BorrowWithin:
    """While it borrows, a queue may preempt lower priorities of other queues, up to `max_priority` (None: any lower)."""

    max_priority: PriorityClass | None = None


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Preemption:
    """Whose quota a workload of a queue may take: of its own queue (`within_cluster_queue`); of others of its cohort that
    use more than they have, to get back what its queue has (`reclaim_within_cohort`), or beyond it
    (`borrow_within_cohort`).
    """

    within_cluster_queue: Within = "never"
    reclaim_within_cohort: Reclaim = "never"
    borrow_within_cohort: BorrowWithin | None = None


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class ClusterQueue:
    """A queue. Pools and jobs that name it get GPUs within its `quotas`, which are tried in their order.

    What one of a `cohort` does not use the others may borrow. `queueing` says whether those behind one that finds no quota
    may go before it. `when_can_borrow` and `when_can_preempt` say whether the next flavor is tried before one in which it
    would have to borrow, or preempt. `weight` counts in fair sharing. The words are Kueue's.
    """

    name: Key
    cohort: Key | None = None
    quotas: Annotated[tuple[FlavorQuota, ...], Field(max_length=60)]
    preemption: Preemption = field(default_factory=Preemption)
    queueing: Literal["best_effort_fifo", "strict_fifo"] = "best_effort_fifo"
    when_can_borrow: Literal["borrow", "try_next_flavor"] = "borrow"
    when_can_preempt: Literal["preempt", "try_next_flavor"] = "try_next_flavor"
    weight: Weight = 1.0
    source: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Cohort:
    """A cohort with quotas of its own, a weight, or a cohort above it (`parent`); others need not be listed."""

    name: Key
    parent: Key | None = None
    quotas: Annotated[tuple[FlavorQuota, ...], Field(max_length=60)] = ()
    weight: Weight = 1.0
    source: Text = ""


Queues = Annotated[tuple[ClusterQueue, ...], Field(max_length=QUEUES_MAX)]
Cohorts = Annotated[tuple[Cohort, ...], Field(max_length=QUEUES_MAX)]


def all_cohorts(queues: Sequence[ClusterQueue], cohorts: Sequence[Cohort]) -> list[Cohort]:
    """The cohorts that are listed, then those that queues name beside them."""
    listed = [one.name for one in cohorts]
    named = dict.fromkeys(one.cohort for one in queues if one.cohort is not None)
    return [*cohorts, *(Cohort(name=name) for name in named if name not in listed)]


def flavors_of(queues: Sequence[ClusterQueue], cohorts: Sequence[Cohort]) -> list[str]:
    """The flavors that quotas name, in the order in which they do: a flavor's place is its number."""
    nodes: list[ClusterQueue | Cohort] = [*queues, *cohorts]
    return list(dict.fromkeys(quota.flavor for node in nodes for quota in node.quotas))


def flavor_of(group: NodeGroup, flavors: Sequence[str]) -> str | None:
    """The flavor that a node group belongs to: the one that has its name, or else its GPU's; None where there is none."""
    if group.name in flavors or not flavors:
        return group.name if flavors else None
    word = gpu_word(group.gpu.name)
    return word if word in flavors else None


@functools.cache
def gpu_word(name: str) -> str:
    """What a GPU is called in conf/gpu, as `h100`; of one that is not there its name as a word."""
    for key, path in option_files("gpu").items():
        if read_yaml(path).get("name") == name:
            return key
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def places_of(group: NodeGroup) -> int:
    """Into how many places a GPU of a group is divided at most: memory slices, or those of replicas that share it."""
    return MEMORY_SLICES if group.sharing is None else group.places


def units_of(groups: Sequence[NodeGroup]) -> int:
    """So many units of quota are a GPU: every place of a GPU of each group is a whole number of them."""
    return math.lcm(*(places_of(group) for group in groups))
