"""Who runs the jobs of a sweep: threads, each with a process beside it where that pays, or a GPU in batches."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from sim.runner import choose_engine
from sim.sweeps.chunks import Done, run_chunk
from sim.sweeps.helper import Helper
from sim.sweeps.jobs import Jobs, Outlines

AHEAD = 4  # jobs that wait in line for each thread: enough to keep it busy, few enough to hold little memory
CHUNK_MAX = 32
HELPER_PAYS_S = 3.0  # left to each thread: a process takes about a second to start
GPU_CHUNK = 65_536  # runs that are packed before the device is given them
Tick = Callable[..., None]


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
    crew = Crew(jobs, engine, threads)
    pool = ThreadPoolExecutor(threads)
    todo = iter(range(0, len(jobs), chunk))
    waiting: set[Future[list[Done]]] = set()
    try:
        while True:
            while len(waiting) < threads * AHEAD and (first := next(todo, None)) is not None:
                waiting.add(pool.submit(crew.run, first, first + chunk))
            if not waiting:
                return
            finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in finished:
                yield from future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        crew.close()


class Crew:
    """What the threads of a sweep share, and the helper of each: a process of its own, once what is left to do is worth
    starting one."""

    def __init__(self, jobs: Jobs, engine: str, threads: int) -> None:
        self._jobs, self._engine, self._threads = jobs, engine, threads
        self._outlines = Outlines()
        self._helpers: dict[int, Helper] = {}  # of each thread
        self._is_closed = False
        self._lock = threading.Lock()

    def run(self, first: int, end: int) -> list[Done]:
        """Jobs first … end − 1, here or in the helper of the thread that calls."""
        helper = self._helpers.get(threading.get_ident())
        if helper is not None:
            return helper.run(first, end)
        begun = time.perf_counter()
        done = run_chunk(self._jobs, first, end, self._engine, self._outlines)
        left_s = (time.perf_counter() - begun) / len(done) * (len(self._jobs) - end) / self._threads
        if self._threads > 1 and left_s > HELPER_PAYS_S:
            self._start_helper()
        return done

    def _start_helper(self) -> None:
        with self._lock:
            if not self._is_closed:
                with contextlib.suppress(OSError, ValueError):  # no processes here: threads do it alone
                    self._helpers[threading.get_ident()] = Helper(self._jobs, self._engine)

    def close(self) -> None:
        """End all helpers."""
        with self._lock:
            self._is_closed = True
            for helper in self._helpers.values():
                helper.close()


def chunk_size(jobs: Jobs, threads: int) -> int:
    """Jobs that a thread takes at once; whole seeds where it can be, for their variants share requests."""
    size = max(1, min(CHUNK_MAX, len(jobs) // (threads * AHEAD)))
    return size - size % jobs.n_variants if size > jobs.n_variants else size


def run_on_gpu(jobs: Jobs) -> Iterator[Done]:
    """Batches on the device; each batch's runs come out together."""
    outlines = Outlines()
    for first in range(0, len(jobs), GPU_CHUNK):
        yield from run_chunk(jobs, first, first + GPU_CHUNK, "cuda", outlines)
