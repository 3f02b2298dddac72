"""A pool: replicas that serve one model with one runtime on one kind of GPU; the unit that scales."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from pydantic import Field, Strict
from pydantic.dataclasses import dataclass

from sim.scenario.autoscaler import Autoscaler
from sim.scenario.coldstart import ColdStart
from sim.scenario.disruption import DisruptionBudget
from sim.scenario.hardware import Gpu, KvPrecision, Law, Model, Precision, StepTime
from sim.scenario.metrics import Metrics
from sim.scenario.mig import MigKind, MigProfile
from sim.scenario.price import Price
from sim.scenario.runtime import Runtime
from sim.scenario.sharing import Percentage, is_shared, places_in
from sim.scenario.site import Site
from sim.scenario.slices import kind_for, parts_of, profile_named
from sim.scenario.types import CONFIG, Int, Key, MigWord, Name, PriorityClass, Probability, Tags, Text, Tier

REPLICAS_MAX = 10_000
Replicas = Annotated[Int, Field(ge=1, le=REPLICAS_MAX)]
ReplicasOrZero = Annotated[Int, Field(ge=0, le=REPLICAS_MAX)]
Preference = Annotated[Int, Field(ge=-1000, le=1000)]
Factor = Annotated[float, Strict(), Field(ge=0.01, le=100)]
Parallel = Annotated[Int, Field(ge=1, le=128)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Pool:
    """`tp`·`pp`·`dp` GPUs a replica; `initial_replicas` are ready at t = 0 (None: `min_replicas`).

    With `ep` = `tp`·`dp` each GPU holds whole routed experts (vLLM's --enable-expert-parallel), with 1 a slice of
    each. With `dp` > 1 each group of `tp` GPUs attends to its own share of the sequences (--data-parallel-size).

    With `slice` a replica has one MIG instance of that profile, or of the smallest that holds the model, instead of whole
    GPUs; with `slice: shared` it has a place of a GPU that others share. Where GPUs are short, replicas of a higher
    `priority_class` find theirs first; with a `queue` of the cluster they find some within its quotas; `node_groups`
    names those that a pool may run on (none: all that have its GPU).

    What takes replicas away on purpose, a drain or a preemption that can be avoided, keeps to the `disruption_budget`.

    A pool may be one `version` of what it serves, which a deployment replaces by another. Versions may differ in anything:
    also in `bad_answer_share`, and in `step_time_factor`, by which all step times are longer.

    Classes that ask for a tier, for tags of `compliance` or for users nearby find the pool by them; a lower
    `preference` comes before any price.
    """

    name: Key
    version: Name | None = None
    bad_answer_share: Probability = 0.0
    step_time_factor: Factor = 1.0
    gpu: Gpu
    model: Model
    runtime: Runtime
    coldstart: ColdStart
    autoscaler: Autoscaler
    metrics: Metrics = field(default_factory=Metrics)
    price: Price = field(default_factory=Price)
    site: Site = field(default_factory=Site)
    tp: Parallel = 1
    pp: Parallel = 1
    ep: Parallel = 1
    dp: Parallel = 1
    slice: MigWord | None = None
    active_thread_percentage: Percentage | None = None  # of an MPS client; None: its node group's
    precision: Precision = "bf16"
    kv_precision: KvPrecision = "bf16"
    min_replicas: ReplicasOrZero = 1
    max_replicas: Replicas = 16
    initial_replicas: ReplicasOrZero | None = None
    tier: Tier = 0
    compliance: Tags = ()
    region: Key | None = None
    preference: Preference = 0
    priority_class: PriorityClass = 0
    queue: Key | None = None
    disruption_budget: DisruptionBudget | None = None
    node_groups: Tags = ()
    steptime: StepTime = field(default_factory=Law)
    source: Text = ""

    @property
    def gpus_per_replica(self) -> int:
        """Slices in one replica's gang."""
        return self.tp * self.pp * self.dp

    @property
    def member_gpus(self) -> int:
        """GPUs that a replica needs of one node: a pipeline stage's, which talk over NVLink."""
        return self.tp * self.dp

    @property
    def n_members(self) -> int:
        """Pipeline stages of a replica, each of which may lie on a node of its own."""
        return self.pp

    @property
    def device(self) -> str:
        """What a replica has, of which it may have several: a GPU, or an instance of one."""
        return self.gpu.name if self.slice is None else f"{self.gpu.name} ({self.slice})"

    @property
    def gpu_share(self) -> float:
        """The part of a GPU that a replica pays for each of its devices: 1, its instance's part of the memory slices, or
        its place among those who share it.
        """
        cut = self._cut
        if is_shared(self.slice):
            return 1 / (places_in(self.slice) or 1)
        return 1.0 if cut is None else parts_of(*cut).memory

    @property
    def watt_share(self) -> float:
        """The part of a GPU's watts that each device draws while it is held: 1, its instance's part of the compute slices,
        or its place among those who share it.
        """
        cut = self._cut
        if is_shared(self.slice):
            return self.gpu_share
        return 1.0 if cut is None else cut[1].compute_slices / cut[0].compute_slices

    @property
    def step_watt_share(self) -> float:
        """The part of what a GPU's steps draw beside: who shares it has it for itself while a step's own time lasts."""
        return 1.0 if is_shared(self.slice) else self.watt_share

    @property
    def _cut(self) -> tuple[MigKind, MigProfile] | None:
        """How its GPU is cut, and what a replica has of it; None of whole GPUs."""
        kind = None if self.slice is None else kind_for(self.gpu)
        profile = None if kind is None else profile_named(kind, str(self.slice))
        return None if kind is None or profile is None else (kind, profile)

    @property
    def usd_per_gpu_hour(self) -> float:
        """The price of one device for one hour: by the pool's own price of a GPU, or else by the GPU's."""
        own = self.price.usd_per_gpu_hour
        return self.gpu_share * (self.gpu.usd_per_hour if own is None else own)

    @property
    def replicas_at_start(self) -> int:
        """Replicas ready at t = 0."""
        return self.min_replicas if self.initial_replicas is None else self.initial_replicas
