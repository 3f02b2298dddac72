"""The machines under the pools: groups of nodes, how their GPUs are cut, and who adds and removes nodes."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field, Strict
from pydantic.dataclasses import dataclass

from sim.scenario.amounts import CountOrPercent
from sim.scenario.billing import Billing
from sim.scenario.dist import Constant, Dist, Lognormal
from sim.scenario.hardware import Gpu
from sim.scenario.jobs import Job
from sim.scenario.power import WattsOrNone, host_w
from sim.scenario.queues import Cohorts, FairSharing, Queues
from sim.scenario.sharing import Sharing
from sim.scenario.site import Site
from sim.scenario.types import (
    CONFIG,
    Flag,
    Int,
    Key,
    Law,
    MigWord,
    NonNegative,
    PeriodS,
    Probability,
    Seconds,
    Share,
    SomeSeconds,
    Text,
    UsdPerHour,
)

NODES_MAX = 10_000  # of all groups together
GPUS_MAX = 16  # of a node: the largest machines sold have 8, switched racks of baseboards 16
WHOLE, DYNAMIC = "whole", "dynamic"

EndGbS = Annotated[float, Strict(), Field(ge=0.001, le=10_000)]  # GB/s, decimal: above 32 cards of 800 Gbit/s
CacheGb = Annotated[NonNegative, Field(le=1_000_000)]  # eight disks of 125 TB
Nodes = Annotated[Int, Field(ge=0, le=NODES_MAX)]
NodePriority = Annotated[Int, Field(ge=-1000, le=1000)]
Market = Literal["on_demand", "reserved", "spot", "owned"]
Placement = Literal[
    "first_fit",
    "best_fit",
    "least_allocated",
    "most_allocated",
    "requested_to_capacity",
    "fgd",
    "topology_spread",
    "weighted",
]
ScoreWeight = Annotated[Int, Field(ge=0, le=100)]
Percent = Annotated[Int, Field(ge=0, le=100)]
ShapeScore = Annotated[Int, Field(ge=0, le=10)]
MigPlacement = Literal["first_fit", "last_fit", "best_fit", "fgd"]
Expander = Literal["least_waste", "priority", "cheapest", "random"]
MigModeNeeds = Literal["gpu", "node"]
ConsolidationPolicy = Literal["when_empty", "when_empty_or_underutilized"]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Provision:
    """What a node goes through after it was asked for, one stage after the other: each a distribution of seconds."""

    provisioning: Dist = Lognormal(median=50, p99=200, min=15)  # until the provider has the machine running
    booting: Dist = Lognormal(median=40, p99=90, min=20)  # until it has joined the cluster
    driver: Dist = Lognormal(median=50, p99=240, min=5)  # until driver and device plugin show its GPUs
    source: Text = (
        "the sum: a GPU node after its request, 60 to 480 s in four reports, median 140 s as in conf/coldstart; booting:"
        " kubelet starts 37 s after the kernel, the node is ready after 100 s (aws/karpenter-provider-aws issues/3102);"
        " driver: built on the node it takes 2 to 3 minutes more than a precompiled one (redhat.com, precompiled GPU"
        " drivers), in the worst case 15 minutes (comment in the cluster autoscaler's utils/gpu)"
    )
    confidence: Text = "the sum is reported; how it is divided between the stages is assumed"


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Window:
    """From `from_s` up to `to_s` of the run."""

    from_s: Seconds
    to_s: SomeSeconds


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class NoCapacity:
    """When the provider has no node: by chance at each request, and always within a window. Its group is then left alone
    for `retry_s`, and the expander may choose another.
    """

    probability: Probability = 0.0
    retry_s: PeriodS = 300.0
    windows: Annotated[tuple[Window, ...], Field(max_length=100)] = ()
    source: Text = "retry_s: the cluster autoscaler's --initial-node-group-backoff-duration 5m"


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class NodeGroup:
    """Machines of one kind in one zone, between `min_nodes` and `max_nodes` of them; `initial_nodes` are ready at t = 0
    (None: `min_nodes`).

    `gpu` is the name of an option of conf/gpu, or all that one says; the group serves pools whose GPU has the same name.
    `site` is an option of conf/site or all that one says; what is not said stands where the scenario's `site` is.
    `mig`: `whole`, `dynamic` (instances are made when a replica needs one), or what every GPU of the group is cut into:
    a list of profiles, or a name of mig-parted's, `all-balanced` or `all-1g.10gb`. Where it is `dynamic` an instance takes
    `mig_create_s` to make, before its replica starts; with `mig_repartition` replicas are evicted, within their pools'
    budgets, where an instance that is waited for would fit without them and they fit elsewhere; with `mig_whole` whole
    GPUs are handed out too, and the MIG mode of an idle one (`mig_mode_needs: node`: on an idle node) is switched in
    `mig_mode_s`. With `sharing` each whole GPU has several places, one for a replica of a pool with slice: shared. Of what
    starts bring to a node and mark as `cached`, it keeps `cache_gb`, what was used last; what the starts of the
    `preloaded` pools bring is there as soon as a node is ready. All that starts on a node move shares what its network
    card carries, `nic_gb_s` in each direction, or its disk, `disk_gb_s`: which of them a stage says (`through`).
    """

    name: Key
    gpu: Gpu
    gpus: Annotated[Int, Field(ge=1, le=GPUS_MAX)] = 8  # of a node
    zone: Key = "zone_a"
    market: Market = "on_demand"
    min_nodes: Nodes = 0
    max_nodes: Nodes = 1
    initial_nodes: Nodes | None = None
    priority: NodePriority = 0  # for expander priority: the highest that can help goes first
    usd_per_node_hour: UsdPerHour | None = None  # None: its GPUs at usd_per_hour each
    base_w: WattsOrNone | None = None  # a node beside its GPUs; None: the gpu's host_w for each of them
    site: Site = field(default_factory=Site)
    billing: Billing = field(default_factory=Billing)  # or an option of conf/billing
    mig: MigWord | Annotated[tuple[MigWord, ...], Field(min_length=1, max_length=8)] = WHOLE
    mig_create_s: Seconds = (
        6.0  # a device handle's look-up takes 4 to 10 s: dra-driver-nvidia-gpu, comments in nvlib.go
    )
    mig_repartition: Flag = False
    mig_whole: Flag = False
    mig_mode_s: Seconds | None = None  # None: what conf/mig says of its GPU
    mig_mode_needs: MigModeNeeds = "gpu"
    sharing: Sharing | None = None  # several replicas on each of its GPUs
    cache_gb: CacheGb = 0.0  # decimal; 0: nodes keep nothing
    nic_gb_s: EndGbS | None = None  # GB/s of a node, each direction; null: no limit beside the stages' own
    disk_gb_s: EndGbS | None = None  # GB/s that a node's disks read together; null: likewise
    preloaded: Annotated[tuple[Key, ...], Field(max_length=100)] = ()  # names of pools
    provision: Provision = field(default_factory=Provision)
    no_capacity: NoCapacity = field(default_factory=NoCapacity)
    source: Text = ""
    price_source: Text = ""
    price_confidence: Text = ""
    note: Text = ""

    @property
    def gives_whole(self) -> bool:
        """Whether whole GPUs are handed out, without MIG and shared with nobody."""
        return self.mig == WHOLE or self.mig_whole

    @property
    def is_prepaid(self) -> bool:
        """Whether its nodes cost the same whether they are asked for or not."""
        return self.market in ("reserved", "owned")

    @property
    def nodes_at_start(self) -> int:
        """Nodes ready at t = 0."""
        return self.min_nodes if self.initial_nodes is None else self.initial_nodes

    @property
    def places(self) -> int:
        """Replicas that share one of its GPUs; 1 where they do not."""
        return 1 if self.sharing is None else self.sharing.replicas

    @property
    def usd_per_hour(self) -> float:
        """The price of one node for one hour."""
        own = self.usd_per_node_hour
        return self.gpus * self.gpu.usd_per_hour if own is None else own

    @property
    def host_w(self) -> float:
        """What a node draws beside its GPUs, for each of them, W."""
        own = self.base_w
        return host_w(self.gpu.power, self.gpu.tdp_w) if own is None else own / self.gpus


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class NodeAutoscaler:
    """Every `scan_period_s` it asks for nodes where replicas wait for GPUs, of the group that `expander` chooses, and
    lets go of nodes that were empty for `unneeded_s`: at most `bulk_delete_max` at a time, and none within
    `delay_after_add_s` of asking for one. With `scale_down_utilization_threshold` nodes go too of which a smaller share of
    the GPUs, or of their slices, has been in use for so long while all that they hold would have fitted on other nodes: at
    most `max_drain_parallelism` are drained at a time. What drains has grace_s, and at most `max_graceful_termination_s`.
    A node that has been without one of its GPUs for `replace_after_s` is drained, and a new one asked for in its place
    (None: it stays). The other words are the Kubernetes cluster autoscaler's.
    """

    scan_period_s: PeriodS = 10.0
    unneeded_s: Seconds = 600.0
    delay_after_add_s: Seconds = 600.0
    bulk_delete_max: Annotated[Int, Field(ge=1, le=NODES_MAX)] = 10
    expander: Expander = "least_waste"
    scale_down_utilization_threshold: Share | None = None  # upstream's default is 0.5
    max_drain_parallelism: Annotated[Int, Field(ge=1, le=NODES_MAX)] = 1
    max_graceful_termination_s: Seconds = 600.0
    replace_after_s: Seconds | None = None
    source: Text = (
        "Kubernetes cluster autoscaler: --scan-interval 10s, --scale-down-unneeded-time 10m, --scale-down-delay-after-add"
        " 10m, --max-empty-bulk-delete 10, --expander, --scale-down-gpu-utilization-threshold 0.5, --max-drain-parallelism"
        " 1, --max-graceful-termination-sec 600"
    )


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Consolidation:
    """Which nodes the autoscaler gives back, in Karpenter's words and in the place of `unneeded_s` and what goes with it:
    empty ones (`when_empty`), or also those whose workloads fit on others, or on others and one cheaper node, which comes
    first. What a node holds has been the same for `consolidate_after_s`; `budget` says how many nodes may be going at a
    time, as a count or a share of all, rounded up.
    """

    policy: ConsolidationPolicy = "when_empty_or_underutilized"
    consolidate_after_s: Seconds = 0.0
    budget: CountOrPercent = "10%"
    source: Text = (
        "Karpenter, concepts/disruption: consolidationPolicy WhenEmptyOrUnderutilized, consolidateAfter 0s, budgets"
        " nodes 10%"
    )


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class RandomFault:
    """Nodes that are lost again and again: spot capacity that is reclaimed, machines, racks and zones that fail.

    From the end of one outage to the next passes `gap`; then `nodes` of the group and zone (None: all of them), drawn at
    random, are lost, `notice_s` after they were told: they take nothing new, and their replicas drain. For `outage` their
    groups get no new nodes.
    """

    node_group: Key | None = None
    zone: Key | None = None
    nodes: Annotated[Int, Field(ge=1, le=NODES_MAX)] | None = 1
    gap: Dist
    outage: Dist = Constant(value=0)
    notice_s: Seconds = 0.0
    source: Text = ""
    confidence: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class NodeScores:
    """What each score of a node counts where `placement: weighted`: the node with the highest sum takes the replica."""

    least_allocated: ScoreWeight = 0
    most_allocated: ScoreWeight = 0
    requested_to_capacity: ScoreWeight = 0
    fgd: ScoreWeight = 0
    topology_spread: ScoreWeight = 0


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class ShapePoint:
    """A point of kube-scheduler's `requestedToCapacityRatio.shape`: the score of a node with so much of it in use."""

    utilization: Percent
    score: ShapeScore


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Cluster:
    """Where replicas find their GPUs. Without node groups every replica finds them, at once.

    `placement` chooses among nodes: `scores` are read where it is `weighted`, `capacity_shape` where
    `requested_to_capacity` counts. `mig_placement` among the places of a GPU where an instance can begin. With
    `preemption` a replica that finds no GPUs takes those of replicas of a lower priority_class, which have `grace_s`
    to finish what they hold. `jobs` are batch jobs that want GPUs too. Pools and jobs that name one of the `queues`
    get GPUs within its quotas; with `fair_sharing` (its strategies) queues share by weight what they borrow. Without
    an `autoscaler` (null) there are the nodes of the start, and no others.
    """

    placement: Placement = "best_fit"
    law: Law | None = None  # a Python function of the user's in its place, file.py:function
    scores: NodeScores = field(default_factory=NodeScores)
    capacity_shape: Annotated[tuple[ShapePoint, ...], Field(max_length=10)] = ()  # none: 0 at 0, 10 at 100
    mig_placement: MigPlacement = "first_fit"
    preemption: Flag = True
    grace_s: Seconds = 30.0  # Kubernetes' terminationGracePeriodSeconds
    autoscaler: NodeAutoscaler | None = field(default_factory=NodeAutoscaler)
    consolidation: Consolidation | None = None
    node_groups: Annotated[tuple[NodeGroup, ...], Field(max_length=60)] = ()
    random_faults: Annotated[tuple[RandomFault, ...], Field(max_length=100)] = ()
    jobs: Annotated[tuple[Job, ...], Field(max_length=1000)] = ()
    queues: Queues = ()
    cohorts: Cohorts = ()
    fair_sharing: FairSharing | None = None
    source: Text = ""

    @property
    def is_limited(self) -> bool:
        """Whether there are nodes, which replicas have to find room on."""
        return bool(self.node_groups)
