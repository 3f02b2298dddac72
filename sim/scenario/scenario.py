"""The whole story, resolved: every pool and every traffic class complete."""

from __future__ import annotations

import copy
from dataclasses import field
from typing import Annotated

from pydantic import Field, StringConstraints
from pydantic.dataclasses import dataclass

from sim.scenario.cluster import Cluster
from sim.scenario.deployments import Deployments
from sim.scenario.faults import Fault, Faults
from sim.scenario.gateway import Gateway
from sim.scenario.links import Links
from sim.scenario.output import Engine, Output
from sim.scenario.pool import Pool
from sim.scenario.pool_choice import PoolChoice
from sim.scenario.router import AnyRouter, Router
from sim.scenario.tenant import Tenant
from sim.scenario.traffic import TrafficClass
from sim.scenario.types import CONFIG, SEED_MAX, Int, Key, Seconds, SomeSeconds, Text

Seed = Annotated[Int, Field(ge=0, le=SEED_MAX)]
Limit = Annotated[str, StringConstraints(min_length=1, max_length=300)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Scenario:
    """What is simulated, from t = 0: requests arrive for `duration_s`, then at most `drain_s` to finish them.

    Requests that arrive before `warmup_s` are served but not measured. `slo` holds limits such as
    `ttft.p99 < 0.5 s` (`sim.scenario.slo` reads them).
    """

    name: Key
    question: Text = ""
    look_at: tuple[Text, ...] = ()
    seed: Seed = 1
    duration_s: SomeSeconds = 3600.0
    warmup_s: Seconds = 0.0
    drain_s: Seconds = 600.0
    classes: Annotated[tuple[TrafficClass, ...], Field(max_length=100)]
    tenants: Annotated[tuple[Tenant, ...], Field(max_length=1000)] = ()
    pools: Annotated[tuple[Pool, ...], Field(max_length=100)]
    router: AnyRouter = field(default_factory=Router)
    pool_choice: PoolChoice = field(default_factory=PoolChoice)
    gateway: Gateway = field(default_factory=Gateway)
    cluster: Cluster = field(default_factory=Cluster)
    links: Links = ()
    faults: Faults = ()
    deployments: Deployments = ()
    slo: tuple[Limit, ...] = ()
    engine: Engine = field(default_factory=Engine)
    output: Output = field(default_factory=Output)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models served, in the order of the pools."""
        return tuple(dict.fromkeys(pool.model.name for pool in self.pools))

    @property
    def losses(self) -> tuple[Fault, ...]:
        """The faults that take replicas or nodes away at a scripted time."""
        return tuple(fault for fault in self.faults if isinstance(fault, Fault))

    def with_seed(self, seed: int) -> Scenario:
        """The same story with another seed, which has been checked: a sweep asks for millions."""
        other = copy.copy(self)
        object.__setattr__(other, "seed", seed)
        return other
