"""What the benchmarks share: clocks, figures, and the scenarios they run."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from sim.engine.host import run_plan
from sim.engine.result import make_result
from sim.fill.params import make_params
from sim.fill.rows import ClassRow, LimitRow, PoolRow, RunRow, ServedModelRow, TenantRow
from sim.fill.trace import Chains, Traffic
from sim.model.tables.codes import FULL_JITTER, HOLD_FAIR, RETRY_FAILED, RETRY_REJECTED, RETRY_TIMED_OUT
from sim.model.tables.pool import N_QUANTILE
from sim.model.tables.run import Params, State
from sim.steptime.table import simple_table
from sim.units import PS_PER_S

RATE_PER_S = 30.0  # requests/s for each replica of the reference fleet: 85 % of the 35.3 it can complete
SYSTEM_PROMPTS, SYSTEM_TOKENS = 16, 256  # where prompts share what they begin with
#: How fast the reference runs without features, over the loop of commit fcbb767, before there were any. Both were built
#: side by side and run in turn at commit 9d6cf36: medians 1.26 and 1.27. Today's loop, in turn with that commit, takes
#: 258 ns for its 219 to 232. Measure it again where the loop's own speed changes.
OFF_OVER_SPINE = 1.1
OCCUPANCY = 24.0  # sequences in a batch, on average, where output lengths are compared
Clock = Callable[[], float]
Work = Callable[[], Any]


class Scale(NamedTuple):
    """How much to measure: requests are multiplied by `size`, everything is repeated `repeats` times."""

    size: float = 1.0
    repeats: int = 7
    slow: bool = True  # also what takes a minute: a compile from nothing

    def n(self, requests: int) -> int:
        """So many requests, scaled."""
        return max(20, int(requests * self.size))


class Figure(NamedTuple):
    """One measured quantity: every repetition's value, and what was aimed at."""

    what: str
    unit: str
    values: list[float]
    goal: float | None = None
    at_least: bool = True  # else the goal is an upper limit
    note: str = ""

    @property
    def median(self) -> float:
        """The middle one of the repetitions."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the goal; None where there is none."""
        if self.goal is None:
            return None
        return self.median >= self.goal if self.at_least else self.median <= self.goal


# ---- measuring ---------------------------------------------------------------------------------------------
def interleaved(
    works: Mapping[Any, Work], repeats: int, clock: Clock = time.process_time
) -> dict[Any, list[float]]:
    """Seconds of every work, all of them in turn and that `repeats` times; one unmeasured turn goes first."""
    seconds: dict[Any, list[float]] = {key: [] for key in works}
    for turn in range(repeats + 1):
        for key, work in works.items():
            begun = clock()
            work()
            if turn > 0:
                seconds[key].append(clock() - begun)
    return seconds


def per_second(n: float, seconds: list[float]) -> list[float]:
    """Rates from durations; a duration too short to be measured counts as a microsecond."""
    return [n / max(s, 1e-6) for s in seconds]


def ratios(numerators: list[float], denominators: list[float]) -> list[float]:
    """Turn by turn, so that what slows a whole turn down cancels."""
    return [x / max(y, 1e-12) for x, y in zip(numerators, denominators, strict=True)]


# ---- scenarios ---------------------------------------------------------------------------------------------
def fleet(
    n: int,
    replicas: int = 16,
    rate_per_s: float = RATE_PER_S,
    output: float = 128.0,
    records: int = 0,
    blocks: int = 6000,
    sample_s: int = 10,
    seed: int = 0,
    features: bool = False,
) -> Params:
    """The reference fleet: batch ≤ 64, exponential lengths of 512 prompt tokens on average, Poisson arrivals,
    chunked prefill of 2,048 tokens a step, KV blocks of 16 tokens, least-outstanding routing.

    `features` adds clients who give up, try again and hedge, rate limits, a retry budget, tenants that share what the
    gateway holds, and prefix caches with a few system prompts.
    """
    rng = np.random.default_rng(seed)
    prompts = np.maximum(1, rng.exponential(512, n).astype(np.int64))
    outputs = np.maximum(1, rng.exponential(output, n).astype(np.int64))
    arrivals_ps = (rng.exponential(1 / (rate_per_s * replicas), n).cumsum() * PS_PER_S).astype(np.int64)
    table = simple_table(64, base_us=6000, slope_ns=40, prefill_us_per_token=20, n_kv_blocks=blocks)
    pool = PoolRow(
        base_ps=table.base_ps + 20_000_000 * np.arange(65),
        slope_ps=table.slope_ps,
        prefill_ps=0,
        work_ps=table.work_ps,
        mixed_ps=table.mixed_ps,
        attention_q16=40_000_000,
        n_blocks=table.n_kv_blocks,
        max_num_seqs=64,
        max_num_batched_tokens=2048,
        max_model_len=100_000,
        min_replicas=replicas,
        max_replicas=replicas,
        initial_replicas=replicas,
        target_milli=replicas,
        prefix_runs=4096 if features else 0,
    )
    end_ps = int(arrivals_ps[-1]) + 1
    run = RunRow(1, end_ps, end_ps // 5, end_ps + 600 * PS_PER_S, sample_s * PS_PER_S, records)
    if not features:
        traffic = Traffic(arrivals_ps, prompts, outputs, np.zeros(n, dtype=np.int64))
        return make_params(run, traffic, [ClassRow()], [ServedModelRow()], [pool])
    shared = np.minimum(prompts, SYSTEM_TOKENS)
    starts = np.zeros(SYSTEM_PROMPTS, dtype=np.int64)
    chains = Chains(rng.integers(0, SYSTEM_PROMPTS, n), shared, starts - 1, starts)
    traffic = Traffic(arrivals_ps, prompts, outputs, rng.integers(0, 2, n), chains=chains)
    waits_ps = (-np.log1p(-(np.arange(N_QUANTILE) + 0.5) / N_QUANTILE) * PS_PER_S).astype(np.int64)
    client = ClassRow(
        first_patience_ps=5 * waits_ps,
        total_patience_ps=60 * waits_ps,
        attempts_max=3,
        retry_on=RETRY_REJECTED | RETRY_TIMED_OUT | RETRY_FAILED,
        backoff_ps=(PS_PER_S, 2 * PS_PER_S),
        jitter=FULL_JITTER,
        budget_ratio_milli=200,
        budget_burst_milli=10_000,
        hedge_ps=PS_PER_S // 10,
        limit=LimitRow(int(PS_PER_S / (rate_per_s * replicas)), 100 * replicas),
    )
    return make_params(
        run,
        traffic,
        [client, client._replace(tenant=1)],
        [ServedModelRow(outstanding_max=48, hold_order=HOLD_FAIR)],
        [pool],
        tenants=[TenantRow(2), TenantRow(1)],
    )


def occupancy(p: Params, st: State) -> float:
    """Sequences in a replica's batch, on average over the measured window."""
    pool = make_result(p, st).pools[0]
    return pool["slot_ps"] / max(1, pool["ready_ps"])


def rate_for(output: float, n: int, turns: int = 8) -> float:
    """The arrival rate at which the fleet runs at OCCUPANCY with outputs of such a length, by trial."""
    rate_per_s = OCCUPANCY / (0.01 + 0.0085 * output)
    for _ in range(turns):
        p = fleet(n, output=output, rate_per_s=rate_per_s, blocks=10**6)
        rate_per_s *= (OCCUPANCY / max(0.1, occupancy(p, run_plan(p)))) ** 0.7
    return rate_per_s


# ---- a plain queue -----------------------------------------------------------------------------------------
SERVERS, LOAD, SERVICE_STEPS = 8, 0.8, 1000


def queue_params(n: int, seed: int = 0) -> Params:
    """M/M/c as a replica of c seats: every step lasts 1 ms, an output takes 1,000 steps on average."""
    rng = np.random.default_rng(seed)
    outputs = np.maximum(1, np.rint(rng.exponential(SERVICE_STEPS, n)).astype(np.int64))
    gap_ps = SERVICE_STEPS * PS_PER_S / 1000 / (SERVERS * LOAD)
    arrivals_ps = (rng.exponential(gap_ps, n).cumsum()).astype(np.int64)
    table = simple_table(SERVERS, base_us=1000, slope_ns=0, prefill_us_per_token=0, n_kv_blocks=10**6)
    pool = PoolRow(table.base_ps, table.slope_ps, 0, 0, table.n_kv_blocks, SERVERS, 2048, 10**6)
    end_ps = int(arrivals_ps[-1]) + 1
    run = RunRow(1, end_ps, 0, end_ps + 600 * PS_PER_S, 0, 0)
    traffic = Traffic(arrivals_ps, np.ones(n, dtype=np.int64), outputs, np.zeros(n, dtype=np.int64))
    return make_params(run, traffic, [ClassRow()], [ServedModelRow()], [pool])


def simpy_queue(n: int, seed: int = 0) -> float:
    """M/M/c as SimPy's own documentation would write it; returns the mean wait in mean services."""
    import simpy

    rng = np.random.default_rng(seed)
    gaps = rng.exponential(1 / (SERVERS * LOAD), n).tolist()
    services = rng.exponential(1.0, n).tolist()
    env = simpy.Environment()
    servers = simpy.Resource(env, capacity=SERVERS)
    waits: list[float] = []

    def customer(service: float) -> Any:
        arrived = env.now
        with servers.request() as turn:
            yield turn
            waits.append(env.now - arrived)
            yield env.timeout(service)

    def source() -> Any:
        for gap, service in zip(gaps, services, strict=True):
            yield env.timeout(gap)
            env.process(customer(service))

    env.process(source())
    env.run()
    return sum(waits) / n


def erlang_wait(servers: int, load: float) -> float:
    """Mean wait in M/M/c in mean services (Erlang C)."""
    offered = servers * load
    full = offered**servers / math.factorial(servers) / (1 - load)
    return (
        full / (sum(offered**i / math.factorial(i) for i in range(servers)) + full) / (servers * (1 - load))
    )
