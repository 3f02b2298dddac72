"""Some neighbouring jobs of a sweep: what a thread or a process takes at once."""

from __future__ import annotations

from typing import Any, NamedTuple

from sim.sweeps.batch import Prepared, run_part
from sim.sweeps.jobs import Jobs, Outlines

Row = dict[str, Any]


class Done(NamedTuple):
    """A finished job; `place` is where it stands in the sweep. Its row is its flat summary, behind variant and seed."""

    place: int
    row: Row


def run_chunk(jobs: Jobs, first: int, end: int, engine: str, outlines: Outlines) -> list[Done]:
    """Jobs first … end − 1, as far as there are so many, in their order. Raises InputError."""
    of_variant: dict[str, dict[int, int]] = {}  # variant → seed → place
    asked: dict[str, Prepared] = {}
    for place in range(first, min(end, len(jobs))):
        job = jobs[place]
        of_variant.setdefault(job.variant, {})[job.seed] = place
        asked.setdefault(job.variant, outlines(job))
    done = []
    parts = [(prepared, list(of_variant[variant])) for variant, prepared in asked.items()]
    for variant, found in zip(asked, run_part(parts, engine), strict=True):
        for summed in found:
            for seed, values in zip(summed.seeds, summed.rows, strict=True):
                row = dict(zip(summed.names, values, strict=True))
                row = {"variant": variant, "seed": seed, "digest": row["digest"], **row}
                done.append(Done(of_variant[variant][seed], row))
    return sorted(done, key=lambda one: one.place)
