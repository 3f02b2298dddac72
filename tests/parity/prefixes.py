"""Prompts that begin alike, for the fleets made to hurt: trees of segments, sessions that grow, caches of few runs."""

from __future__ import annotations

import numpy as np

from sim.fill.rows import AUTO_RUNS, PoolRow
from sim.fill.trace import Chains, Traffic


def with_prefixes(seed: int, traffic: Traffic, pools: list[PoolRow]) -> tuple[Traffic, list[PoolRow]]:
    """The same traffic through a tree of segments, and pools of which most have a prefix cache, some a tiny one."""
    rng = np.random.default_rng([seed, 5])
    chains = make_chains(rng, traffic)
    runs = [int(rng.choice([0, 1, 3, 8, 200, AUTO_RUNS, AUTO_RUNS])) for _ in pools]
    cached = [pool._replace(prefix_runs=n) for pool, n in zip(pools, runs, strict=True)]
    return traffic._replace(chains=chains if rng.integers(8) else None), cached


def make_chains(rng: np.random.Generator, traffic: Traffic) -> Chains:
    """A tree of segments, and a way through it for each request."""
    parent, start, end = [], [], []
    for segment in range(int(rng.integers(1, 8))):
        above = int(rng.integers(-1, segment)) if segment else -1
        parent.append(above)
        start.append(end[above] if above >= 0 else 0)
        end.append(start[-1] + int(rng.integers(1, 9)))
    n = len(traffic.arrival_ps)
    leaf = rng.integers(-1, len(parent), n)
    most = traffic.prompt_tokens + traffic.output_tokens * rng.integers(0, 2, n)
    part = (most * rng.random(n)).astype(np.int64)
    shared = np.where(leaf < 0, 0, np.where(rng.integers(0, 4, n) > 0, most, part))
    return Chains(leaf, shared, np.array(parent), np.array(start))
