"""The host's side of `scripts/gpu`: the same scenarios on all cores of the machine, a process a core.

Each process has its own interpreter, as those of a sweep do. Needs numpy and numba, nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

CHUNK = 64  # scenarios that a process takes at a time


class Sweep(NamedTuple):
    """Scenarios of one shape."""

    replicas: int
    requests: int  # a scenario
    n_trace: int  # different ones


class Part(NamedTuple):
    """Some scenarios that a process has run."""

    requests: int
    begun: float  # of the machine's clock, s
    packed: float  # when they were packed, and the first of them started
    ended: float
    digests: list[str]


def run_part(sweep: Sweep, first: int, end: int, with_digests: bool) -> Part:
    """Scenarios first … end − 1 in this process; digests are made after the clock has stopped."""
    from gpu_cases import completed, digest_of
    from gpu_cases import sweep as scenarios

    from sim.engine.host import run_plan

    begun = time.monotonic()
    runs = list(scenarios(first, end, *sweep))
    packed = time.monotonic()
    finals = [run_plan(p) for p in runs]
    ended = time.monotonic()
    requests = sum(map(completed, finals))
    return Part(requests, begun, packed, ended, [digest_of(st) for st in finals] if with_digests else [])


def end_with(parent: int) -> None:
    """End this process soon after the one that started it, however that one ends."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


class Host:
    """Processes that wait for scenarios."""

    def __init__(self, n_process: int) -> None:
        self.n_process = n_process
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(n_process, context, end_with, (os.getpid(),))

    def warm_up(self, sweep: Sweep) -> None:
        """Have every process read its machine code and make its traces."""
        jobs = [
            self.pool.submit(run_part, sweep, 0, min(4, sweep.n_trace), False)
            for _ in range(2 * self.n_process)
        ]
        for job in jobs:
            job.result()

    def digests(self, sweep: Sweep, n: int) -> list[str]:
        """What the first n scenarios end as."""
        return [digest for part in self._parts(sweep, n, True) for digest in part.digests]

    def speed(self, sweep: Sweep, n: int, least_s: float) -> dict[str, Any]:
        """How fast the first n scenarios go, over and over until so many seconds have passed."""
        parts: list[Part] = []
        clock, passes = time.monotonic(), 0
        while not parts or time.monotonic() - clock < least_s:
            parts += self._parts(sweep, n, False)
            passes += 1
        requests = sum(part.requests for part in parts)
        at_once = min(self.n_process, len(parts) // passes)
        running_s = sum(part.ended - part.packed for part in parts) / at_once
        wall_s = max(part.ended for part in parts) - min(part.begun for part in parts)
        return {
            "processes": self.n_process,
            "scenarios": n * passes,
            "requests": requests,
            "requests_per_s": requests / running_s,
            "requests_per_s_with_packing": requests / wall_s,
        }

    def _parts(self, sweep: Sweep, n: int, with_digests: bool) -> list[Part]:
        jobs = [
            self.pool.submit(run_part, sweep, first, min(first + CHUNK, n), with_digests)
            for first in range(0, n, CHUNK)
        ]
        return [job.result() for job in jobs]

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        running: Sequence[Any] = list((getattr(self.pool, "_processes", None) or {}).values())
        self.pool.shutdown(wait=False, cancel_futures=True)
        for process in running:
            process.terminate()
