"""What a sweep consists of: every variant of a story with every seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sim.errors import InputError
from sim.pack.scenario import outline
from sim.scenario.scenario import Scenario
from sim.scenario.types import SEED_MAX
from sim.sweeps.batch import Prepared
from sim.workload.tenants import with_recorded_tenants

RUNS_MAX = 10_000_000
OUTLINES_KEPT = 1000  # of some 50 kB each


class Job(NamedTuple):
    """One run of a sweep."""

    variant: str
    seed: int
    scenario: Scenario  # of the variant: the seed in it is none of the sweep's


class Jobs:
    """All runs of a sweep by number, all variants of a seed together; none is made before it is asked for."""

    def __init__(self, variants: Mapping[str, Scenario], seeds: Sequence[int]) -> None:
        self._variants = list(variants.items())
        self._seeds = seeds

    @property
    def n_variants(self) -> int:
        """How many runs of the same seed lie side by side."""
        return len(self._variants)

    def __len__(self) -> int:
        return len(self._variants) * len(self._seeds)

    def __getitem__(self, place: int) -> Job:
        seed, variant = divmod(place, len(self._variants))
        name, story = self._variants[variant]
        return Job(name, self._seeds[seed], story)


def make_jobs(variants: Mapping[str, Scenario], seeds: Sequence[int]) -> Jobs:
    """Every variant with every seed; records off, for a sweep keeps summaries."""
    if len(variants) * len(seeds) > RUNS_MAX:
        raise InputError(
            f"seed: {len(seeds)} seeds × {len(variants)} variants; allowed: at most {RUNS_MAX} runs"
        )
    if len(set(seeds)) < len(seeds):
        raise InputError("seed: a seed is named twice")
    quiet = {
        name: dataclasses.replace(story, output=dataclasses.replace(story.output, records=False))
        for name, story in ((name, with_recorded_tenants(story)) for name, story in variants.items())
    }
    return Jobs(quiet, [_checked(seed, next(iter(quiet.values()))) for seed in seeds])


def _checked(seed: int, story: Scenario) -> int:
    if type(seed) is int and 0 <= seed <= SEED_MAX:
        return seed
    return dataclasses.replace(story, seed=seed).seed  # says what is wrong with it


class Outlines:
    """What the seeds of each variant have in common, packed once; threads share it."""

    def __init__(self) -> None:
        self._kept: dict[str, Prepared] = {}

    def __call__(self, job: Job) -> Prepared:
        """The job but for its seed."""
        found = self._kept.get(job.variant)
        if found is None:
            found = Prepared(outline(job.scenario))
            if len(self._kept) < OUTLINES_KEPT:
                self._kept[job.variant] = found
        return found
