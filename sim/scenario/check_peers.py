"""Rules of stages whose bytes other nodes may serve: some nodes keep them, and something says how fast they come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sim.errors import problem
from sim.scenario.cluster import NodeGroup
from sim.scenario.coldstart import BANDWIDTH_MAX_GB_S, BANDWIDTH_MIN_GB_S, Transfer
from sim.scenario.pool import Pool
from sim.scenario.said import Said


def peer_problems(pool: Pool, groups: Sequence[NodeGroup], said: Said) -> Iterator[str]:
    """Every broken rule as one line; `groups` are those on which the pool's replicas may find room."""
    for place, stage in enumerate(pool.coldstart.stages):
        if not isinstance(stage, Transfer) or stage.peers is None:
            continue
        key = said.key(pool.name, "coldstart", "stages", place, "peers")
        gb_s = stage.peers.gb_s
        keeping = [group for group in groups if group.cache_gb > 0]
        unlimited = [group.name for group in keeping if group.nic_gb_s is None]
        if not stage.cached:
            yield f"{key}: nodes do not keep what this stage brings; needed: cached: true beside it"
        elif not keeping:
            there = ", ".join(group.name for group in groups) or "node groups, as in cluster=h100_hall"
            yield f"{key}: no node keeps what this stage brings; needed: cache_gb above 0 of {there}"
        elif pool.n_members > 1:
            yield f"{key}: {pool.name} has pp {pool.pp}, and gangs on several nodes use no cache; allowed: null, or pp 1"
        elif gb_s is None and unlimited:
            yield f"{key}.gb_s: is missing; needed, in GB/s, or nic_gb_s of {', '.join(unlimited)}"
        elif gb_s is not None and not BANDWIDTH_MIN_GB_S <= gb_s <= BANDWIDTH_MAX_GB_S:
            bounds = f"{BANDWIDTH_MIN_GB_S:g} to {BANDWIDTH_MAX_GB_S:g}"
            yield problem(f"{key}.gb_s", gb_s, f"{bounds}, in GB/s: no machine is slower or faster")
