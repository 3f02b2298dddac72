"""Kept runs that have what outlets tell: cold starts, decisions, retries, preemptions, losses, several pools."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import sim
from sim.records.run_dir import RunFiles, read_run

EVERY_S = {"sessions": 30}  # few samples: a point each of hundreds of series
SPIKE = "traffic.spikes=[{at_s: 100, height: 8, ramp_s: 10, length_s: 60}]"
STORIES = {
    "scaling": (
        "spiky_hour",
        ["autoscaler=hpa", "coldstart=snapshot", "duration_s=300", "warmup_s=0", SPIKE],
    ),
    "retries": ("retry_storm", ["duration_s=90", "traffic.spikes=[{at_s: 20, height: 3, length_s: 30}]"]),
    "losses": ("replicas_lost", ["duration_s=60", "faults=[{at_s: 30, replicas: 2}]", "coldstart=snapshot"]),
    "preemptions": ("noisy_tenant", ["duration_s=300"]),
    "pools": ("two_models", ["duration_s=300", "coldstart=snapshot"]),
    "sessions": ("agents_at_nine", []),
}


@cache
def kept(name: str) -> RunFiles:
    """One of the runs, read from its folder."""
    story, overrides = STORIES[name]
    run = sim.run(story, [f"output.sample_interval_s={EVERY_S.get(name, 3)}", *overrides])
    return read_run(run.write(Path(mkdtemp(prefix="outlets-")) / name))
