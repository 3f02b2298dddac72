"""What a study will take, told from a few of its runs."""

from __future__ import annotations

import resource
import time
from typing import NamedTuple

from sim.engine.cpu import compiled_loop
from sim.records.study_tables import bytes_of
from sim.studies.planning import Plan, Shard
from sim.studies.running import KEPT_MAX, Kept, ShardTables, folders_of, run_shard
from sim.sweeps.workers import n_threads

TRIAL_SEEDS, TRIAL_RUNS_S = 64, 0.3  # of a point, at most
COLD_S = 1.0  # a first run that takes no longer is made again, for what it loads may be most of it
TRIAL_S = 5.0  # no further point is tried after
FILES_S = 0.02  # assumed: writing a file and having it on the disk


class Estimate(NamedTuple):
    """What a study will take, told from a few of its runs."""

    n_run: int
    n_trial: int
    run_s: float  # one run, on one core
    pack_s: float  # composing and packing a point
    wall_s: float  # all of it, on so many processes
    memory_bytes: int
    disk_bytes: int
    processes: int


def estimate(plan: Plan, processes: int | None = None, quick: bool = False) -> Estimate:
    """Run a few of a study's runs, on one core, and tell from them; `quick` does it with one point. Raises InputError."""
    compiled_loop()
    n = n_threads(processes)
    kept, run_s, pack_s, n_trial, table = Kept(plan), [], [], 0, None
    begun = time.perf_counter()
    for point in dict.fromkeys((0, plan.points.n // 2, plan.points.n - 1)):
        at = time.perf_counter()
        kept(point)
        pack_s.append(time.perf_counter() - at)
        took_s, table, tried = trial(plan, point, kept)
        run_s.append(took_s)
        n_trial += tried
        if quick or time.perf_counter() - begun > TRIAL_S:
            break
    each_s, packing_s = sum(run_s) / len(run_s), min(pack_s)
    heights = -(-plan.n_shard * plan.shard(0).n_point // plan.points.n)  # shards that have the same points
    packs = plan.points.n * (heights if plan.points.n > KEPT_MAX else min(n, heights))
    assert table is not None
    per_run, per_shard = bytes_of(table.runs, table.histograms)
    folders = min(plan.shard(0).n_point, folders_of(plan))
    return Estimate(
        n_run=plan.n_run,
        n_trial=n_trial,
        run_s=each_s,
        pack_s=packing_s,
        wall_s=(each_s * plan.n_run + packing_s * packs + FILES_S * plan.n_shard * (2 + folders)) / n,
        memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 * n,
        disk_bytes=int(per_run * plan.n_run + per_shard * plan.n_shard * folders),
        processes=n,
    )


def trial(plan: Plan, point: int, kept: Kept) -> tuple[float, ShardTables, int]:
    """(how long a run of a point takes, what the last runs left, how many were made).

    The first run also pays for what those behind it find there, so short ones are told from more seeds together, as a
    study has them; a long one is told from itself.
    """
    n_trial, took_s, n = 0, 0.0, 1
    while True:
        at = time.perf_counter()
        table = run_shard(plan, Shard(0, point, 1, 0, n), kept, "cpu")
        took_s, n_trial, before = (time.perf_counter() - at) / n, n_trial + n, n
        n = min(len(plan.seeds), TRIAL_SEEDS, int(TRIAL_RUNS_S / took_s))
        if n < 2 * before and (n_trial > 1 or took_s > COLD_S):
            return took_s, table, n_trial
        n = max(1, n)
