"""Who runs the jobs of a sweep: threads whose compiled code is free of the GIL, or a GPU in batches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import NamedTuple

from sim.engine.host import Policies, run_plan
from sim.runner import choose_engine, laws_of
from sim.sweeps.jobs import Job, Jobs, Outlines, Packer
from sim.sweeps.rows import Row, make_row

AHEAD = 4  # jobs that wait in line for each thread: enough to keep it busy, few enough to hold little memory
CHUNK_MAX = 16
GPU_CHUNK = 65_536  # runs that are packed before the device is given them
Tick = Callable[..., None]


class Done(NamedTuple):
    """A finished job; `place` is where it stands in the sweep."""

    place: int
    row: Row


def n_threads(asked: int | None) -> int:
    """Threads to use: as asked for, or one per core that this process may use."""
    return (
        asked or len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else asked or os.cpu_count() or 1
    )


def run_jobs(jobs: Jobs, engine: str, threads: int | None) -> Iterator[Done]:
    """Finished jobs as they come, in any order; the caller may stop at any time."""
    if not jobs:
        return
    if choose_engine(engine, len(jobs)) == "cuda":
        yield from run_on_gpu(jobs)
    else:
        yield from run_on_threads(jobs, choose_engine(engine, len(jobs)), n_threads(threads))


def run_on_threads(jobs: Jobs, engine: str, threads: int) -> Iterator[Done]:
    """A pool of threads; each packs, runs and sums up its own jobs, neighbours in the sweep together."""
    from sim.engine.cpu import compiled_loop

    compiled_loop()
    chunk = chunk_size(jobs, threads)
    outlines = Outlines()
    pool = ThreadPoolExecutor(threads)
    todo = iter(range(0, len(jobs), chunk))
    waiting: set[Future[list[Done]]] = set()
    try:
        while True:
            while len(waiting) < threads * AHEAD and (first := next(todo, None)) is not None:
                waiting.add(pool.submit(_run_chunk, jobs, first, first + chunk, engine, outlines))
            if not waiting:
                return
            finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in finished:
                yield from future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def chunk_size(jobs: Jobs, threads: int) -> int:
    """Jobs that a thread takes at once; whole seeds where it can be, for their variants share requests."""
    size = max(1, min(CHUNK_MAX, len(jobs) // (threads * AHEAD)))
    return size - size % jobs.n_variants if size > jobs.n_variants else size


def _run_chunk(jobs: Jobs, first: int, end: int, engine: str, outlines: Outlines) -> list[Done]:
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


def run_on_gpu(jobs: Jobs) -> Iterator[Done]:
    """Batches on the device; each batch's runs come out together."""
    from sim.engine import cuda

    packer = Packer(Outlines())
    for first in range(0, len(jobs), GPU_CHUNK):
        part = [jobs[i] for i in range(first, min(first + GPU_CHUNK, len(jobs)))]
        packed = [packer(job) for job in part]
        for i, state in cuda.run_each([p.params for p in packed], [Policies(laws_of(p)) for p in packed]):
            yield Done(first + i, make_row(part[i], packed[i], state, "cuda"))
