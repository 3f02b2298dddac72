"""A sweep from its variants to its table, kept shard by shard while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sim.scenario.resolved import traffic_key
from sim.scenario.scenario import Scenario
from sim.sweeps.jobs import make_jobs
from sim.sweeps.workers import run_jobs

SHARD_S = 2.0  # a shard is written when this much time has passed since the last one
Tick = Callable[..., None]


@dataclass
class Sweep:
    """The summaries of many runs: for each, its variant, seed, digest and every measure."""

    scenario: Scenario
    variants: list[str]
    seeds: list[int]
    rows: list[dict[str, Any]] = field(default_factory=list)
    path: Path | None = None
    wall_s: float = 0.0
    traffic: dict[str, str] = field(
        default_factory=dict
    )  # variant → what those that see the same requests share

    def table(self) -> Any:
        """One row per run, as an Arrow table, sorted by variant and seed."""
        from sim.records.sweep_dir import sweep_table

        return sweep_table(self.rows)

    def statistics(self) -> Any:
        """Means over the seeds with 95 % intervals, and paired differences against the first variant with the same
        traffic.
        """
        from sim.analysis.replicate import replicate

        return replicate(self.rows, self.variants, traffic=self.traffic or None)


def sweep(
    variants: Mapping[str, Scenario],
    seeds: Sequence[int],
    engine: str = "auto",
    threads: int | None = None,
    out: Path | None = None,
    progress: Tick | None = None,
    said: Sequence[str] = (),
) -> Sweep:
    """Run every variant with every seed. With `out`, finished runs are kept in that folder as the sweep goes on, and
    `said`, the words that asked for it.
    """
    import time

    jobs = make_jobs(variants, seeds)
    found = Sweep(next(iter(variants.values())), list(variants), list(seeds))
    found.traffic = {name: traffic_key(story, with_seed=False) for name, story in variants.items()}
    keeper = _keeper(out, variants, seeds, said)
    begun = time.perf_counter()
    fresh: list[dict[str, Any]] = []
    kept_s = begun
    try:
        for done in run_jobs(jobs, engine, threads):
            fresh.append(done.row)
            now_s = time.perf_counter()
            if keeper is not None and now_s - kept_s > SHARD_S:
                keeper.keep(fresh)
                found.rows += fresh
                fresh, kept_s = [], now_s
            if progress is not None:
                n = len(found.rows) + len(fresh)
                progress(n / len(jobs), 1.0, f"simulating, {n / (now_s - begun):,.0f} runs/s")
    finally:
        found.rows = sorted(
            found.rows + fresh, key=lambda row: (found.variants.index(row["variant"]), row["seed"])
        )
        found.wall_s = time.perf_counter() - begun
        if keeper is not None:
            keeper.keep(fresh)
    if keeper is not None:
        found.path = keeper.close(found.rows)
    return found


def _keeper(
    out: Path | None, variants: Mapping[str, Scenario], seeds: Sequence[int], said: Sequence[str]
) -> Any:
    if out is None:
        return None
    from sim.records.sweep_dir import SweepDir

    return SweepDir(out, variants, seeds, said)
