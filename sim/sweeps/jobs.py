"""What a sweep consists of: every variant of a story with every seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sim.errors import InputError
from sim.pack import Plan, plan
from sim.scenario.scenario import Scenario
from sim.workload.requests import Requests, make_requests

RUNS_MAX = 10_000_000


class Job(NamedTuple):
    """One run of a sweep."""

    variant: str
    seed: int
    scenario: Scenario


def make_jobs(variants: Mapping[str, Scenario], seeds: Sequence[int]) -> list[Job]:
    """Every variant with every seed, all variants of a seed together; records off, for a sweep keeps summaries."""
    if len(variants) * len(seeds) > RUNS_MAX:
        raise InputError(
            f"seed: {len(seeds)} seeds × {len(variants)} variants; allowed: at most {RUNS_MAX} runs"
        )
    if len(set(seeds)) < len(seeds):
        raise InputError("seed: a seed is named twice")
    quiet = {
        name: dataclasses.replace(story, output=dataclasses.replace(story.output, records=False))
        for name, story in variants.items()
    }
    return [
        Job(name, seed, dataclasses.replace(story, seed=seed))
        for seed in seeds
        for name, story in quiet.items()
    ]


class Packer:
    """Packs jobs; variants that see the same requests share them (common random numbers, and half the work)."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] | None = None
        self._requests: Requests | None = None

    def __call__(self, job: Job) -> Plan:
        """The job as arrays."""
        asks_prefixes = any(pool.runtime.prefix_caching for pool in job.scenario.pools)
        key = (job.scenario.classes, job.scenario.duration_s, job.seed, asks_prefixes)
        if self._requests is None or key != self._key:
            self._requests, self._key = make_requests(job.scenario, job.seed), key
        return plan(job.scenario, job.seed, self._requests)
