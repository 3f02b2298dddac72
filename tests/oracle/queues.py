"""Textbook queues on the product's own event loop.

One server: a replica without batching serves requests that produce nothing, so that a request's prompt tokens are its
service time, exactly (`TOKEN_PS` each). Several servers and one queue: a replica with c seats whose step takes
`STEP_PS` whatever its batch; a request's output tokens are its service time in steps. There a step under way holds an
arrival back. Seen from outside that is the same queue with arrivals (which start on a grid of steps) put off by less
than a step; waits of a first-come queue only grow when arrivals are put off, and by no more than they are, so that

    wait in the queue ≤ wait of the product < wait in the queue + STEP_PS

for every single request. With a mean service of 100,000 steps that is 1/100,000 of a service time.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np

from sim.engine.host import run_plan
from sim.engine.result import Result, make_result
from sim.fill.params import ClassRow, PoolRow, RunRow, ServedModelRow, Traffic, make_params
from sim.model.tables.codes import FCFS, PRIORITY
from sim.model.tables.traffic import TOKENS_MAX

TOKEN_PS = 10**6
STEP_PS = 10**6
MEAN_TOKENS = 100_000  # a service takes 0.1 s
MEAN_S = MEAN_TOKENS * TOKEN_PS / 1e12
PLENTY = TOKENS_MAX


class Served(NamedTuple):
    """What a queue did with each request, in order of arrival; times in seconds unless named _ps."""

    arrival_ps: np.ndarray
    service_ps: np.ndarray
    wait_ps: np.ndarray
    result: Result

    @property
    def wait_s(self) -> np.ndarray:
        """Wait before service."""
        return np.asarray(self.wait_ps / 1e12)


def poisson_ps(rng: np.random.Generator, rate_per_s: float, n: int) -> np.ndarray:
    """Arrival times of a Poisson process, ps."""
    return np.cumsum(np.rint(rng.exponential(1e12 / rate_per_s, n)).astype(np.int64))


def exponential_tokens(rng: np.random.Generator, n: int) -> np.ndarray:
    """Service times in tokens: exponential, rounded."""
    return np.maximum(1, np.rint(rng.exponential(MEAN_TOKENS, n))).astype(np.int64)


def geometric_tokens(rng: np.random.Generator, n: int) -> np.ndarray:
    """Service times in steps: geometric with the mean of MEAN_TOKENS; squared variation 1 − 1/MEAN_TOKENS."""
    return rng.geometric(1 / MEAN_TOKENS, n)


def two_phase_tokens(rng: np.random.Generator, n: int) -> np.ndarray:
    """Hyperexponential service: nine in ten take a third of the mean, the rest seven times it; see TWO_PHASE_SCV."""
    mean = np.where(rng.random(n) < 0.9, MEAN_TOKENS / 3, 7 * MEAN_TOKENS)
    return np.maximum(1, np.rint(rng.exponential(mean))).astype(np.int64)


TWO_PHASE_SCV = 2 * (0.9 / 9 + 0.1 * 49) - 1


def serve_one_by_one(
    arrival_ps: np.ndarray, tokens: np.ndarray, class_id: np.ndarray | None = None, n_class: int = 1
) -> Served:
    """One server, first come first served; class numbers are priorities where there are several classes."""
    pool = PoolRow(
        base_ps=np.zeros(2, dtype=np.int64),
        slope_ps=np.zeros(2, dtype=np.int64),
        prefill_ps=TOKEN_PS,
        attention_q16=0,
        n_blocks=PLENTY,
        max_num_seqs=1,
        max_num_batched_tokens=PLENTY,
        max_model_len=PLENTY,
        scheduling=PRIORITY if n_class > 1 else FCFS,
    )
    return _serve(arrival_ps, tokens, np.zeros_like(tokens), class_id, n_class, pool, tokens * TOKEN_PS)


def serve_at_seats(arrival_ps: np.ndarray, tokens: np.ndarray, seats: int) -> Served:
    """Several servers and one queue, first come first served."""
    pool = PoolRow(
        base_ps=np.full(seats + 1, STEP_PS),
        slope_ps=np.zeros(seats + 1, dtype=np.int64),
        prefill_ps=0,
        attention_q16=0,
        n_blocks=PLENTY * seats,
        max_num_seqs=seats,
        max_num_batched_tokens=PLENTY,
        max_model_len=2 * PLENTY,
    )
    return _serve(arrival_ps, np.ones_like(tokens), tokens, None, 1, pool, tokens * STEP_PS)


def _serve(
    arrival_ps: np.ndarray,
    prompt: np.ndarray,
    output: np.ndarray,
    class_id: np.ndarray | None,
    n_class: int,
    pool: PoolRow,
    service_ps: np.ndarray,
) -> Served:
    last_ps = int(arrival_ps[-1])
    class_id = np.zeros_like(prompt) if class_id is None else class_id
    params = make_params(
        RunRow(
            seed=1,
            duration_ps=last_ps + 1,
            warmup_ps=0,
            end_ps=2 * last_ps + int(service_ps.sum()),
            sample_ps=0,
        ),
        Traffic(arrival_ps, prompt, output, class_id),
        [ClassRow(priority=k) for k in range(n_class)],
        [ServedModelRow()],
        [pool],
    )
    result = make_result(params, run_plan(params))
    assert result.counts["completed"][0] == len(arrival_ps)
    return Served(arrival_ps, service_ps, result.requests["scheduled_ps"] - arrival_ps, result)


def waits_one_by_one(arrival_ps: np.ndarray, service_ps: np.ndarray) -> np.ndarray:
    """Lindley's recursion: the wait of every customer of a first-come single server, ps."""
    done = np.cumsum(service_ps)
    idle_before = np.maximum.accumulate(arrival_ps - (done - service_ps))
    return np.asarray(idle_before + done - service_ps - arrival_ps)


def waits_at_seats(arrival_ps: np.ndarray, service_ps: np.ndarray, seats: int) -> np.ndarray:
    """Kiefer and Wolfowitz: the wait of every customer of a first-come queue with several servers, ps."""
    free_ps = [0] * seats
    waits = []
    for at_ps, takes_ps in zip(arrival_ps.tolist(), service_ps.tolist(), strict=True):
        start_ps = max(at_ps, free_ps[0])
        heapq.heapreplace(free_ps, start_ps + takes_ps)
        waits.append(start_ps - at_ps)
    return np.array(waits)
