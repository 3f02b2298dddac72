"""A few neighbouring jobs of a sweep, run one after the other: what a thread or a process takes at once."""

from __future__ import annotations

from typing import NamedTuple

from sim.engine.host import Policies, run_plan
from sim.runner import laws_of
from sim.sweeps.jobs import Job, Jobs, Outlines, Packer
from sim.sweeps.rows import Row, make_row


class Done(NamedTuple):
    """A finished job; `place` is where it stands in the sweep."""

    place: int
    row: Row


def run_chunk(jobs: Jobs, first: int, end: int, engine: str, outlines: Outlines) -> list[Done]:
    """Jobs first … end − 1, as far as there are so many."""
    packer = Packer(outlines)
    return [Done(i, _run_one(jobs[i], packer, engine)) for i in range(first, min(end, len(jobs)))]


def _run_one(job: Job, packer: Packer, engine: str) -> Row:
    packed = packer(job)
    policies = Policies(laws_of(packed))
    if engine == "simpy":
        from sim.engine.simpy import Fleet

        state = Fleet(packed.params, policies).run()
    else:
        state = run_plan(packed.params, policies)
    return make_row(job, packed, state, engine)
