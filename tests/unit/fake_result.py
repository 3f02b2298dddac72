"""A made-up run: a spiky hour on a fleet that scales late, shaped like what an engine leaves behind.

Not a model of anything: times come from a coarse fluid queue, good enough to test records, summaries and
pictures against numbers that can be computed again from the requests.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from sim.engine.blame import blame_columns
from sim.engine.result import RESULT_METRICS, Result
from sim.model.base.histogram import N_BUCKET, bucket_edges_ps
from sim.model.tables.codes import REASONS, STAGE_NAMES
from sim.model.tables.slot import N_SPENT, SPENT_PREFILL
from sim.scenario.pool_choice import PoolChoice

PS = 10**12
STEP_S = 10
BLOCKS = 20_000  # KV blocks of one replica


@dataclass(frozen=True)
class FakeGpu:
    name: str = "h100"


@dataclass(frozen=True)
class FakeModel:
    name: str = "llama-3.1-8b"


@dataclass(frozen=True)
class FakeRuntime:
    name: str = "vllm"
    version: str = "0.11.0"


@dataclass(frozen=True)
class FakePrice:
    usd_fixed_per_hour: float = 0.0


@dataclass(frozen=True)
class FakeObjectives:
    ttft_s: float | None = 1.0
    itl_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None


@dataclass(frozen=True)
class FakePool:
    name: str = "main"
    gpu: FakeGpu = FakeGpu()
    device: str = FakeGpu().name
    model: FakeModel = FakeModel()
    runtime: FakeRuntime = FakeRuntime()
    price: FakePrice = FakePrice()
    usd_per_gpu_hour: float = 3.6
    tp: int = 1
    pp: int = 1
    tier: int = 0
    compliance: tuple[str, ...] = ()
    region: str | None = None


@dataclass(frozen=True)
class FakeClass:
    name: str = "chat"
    model: str | None = None
    priority: int = 0
    objectives: FakeObjectives = FakeObjectives()
    tenant: str | None = None
    route_to: tuple[str, ...] = ()
    min_tier: int = 0
    needs: tuple[str, ...] = ()
    location: str | None = None
    max_rtt_s: float | None = None


@dataclass(frozen=True)
class FakeTenant:
    name: str = "acme"


@dataclass(frozen=True)
class FakeGateway:
    stations: dict[str, object] = field(default_factory=dict)
    response_cache: object = None


@dataclass(frozen=True)
class FakeOutput:
    dir: str = "results"
    records: bool = True
    sample_interval_s: float | None = None


@dataclass(frozen=True)
class FakeScenario:
    name: str = "chat_spiky_hour"
    question: str = "Which autoscaler keeps chat answering through a spiky hour, and at what cost?"
    look_at: tuple[str, ...] = ("ttft p99 while replicas start",)
    seed: int = 1
    duration_s: float = 3600.0
    warmup_s: float = 0.0
    drain_s: float = 600.0
    classes: tuple[FakeClass, ...] = (FakeClass(),)
    pools: tuple[FakePool, ...] = (FakePool(),)
    slo: tuple[str, ...] = ("ttft.p99 < 1 s", "slo_attainment >= 0.9", "usd_per_hour < 40")
    tenants: tuple[FakeTenant, ...] = ()
    pool_choice: PoolChoice = field(default_factory=PoolChoice)
    gateway: FakeGateway = field(default_factory=FakeGateway)
    output: FakeOutput = field(default_factory=FakeOutput)

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(pool.model.name for pool in self.pools))


def spiky_run(
    n: int = 20_000, seed: int = 1, start_delay_s: float = 180.0, headroom: float = 1.3, lost: float = 0.0
) -> tuple[FakeScenario, Result]:
    """A scenario and its result: `n` requests, replicas `start_delay_s` late, a share `lost` rejected."""
    scenario = FakeScenario()
    draw = np.random.default_rng(seed)
    arrival_s = _arrivals(draw, n, scenario.duration_s)
    time_s = np.arange(0, scenario.duration_s + scenario.drain_s + 1, STEP_S)
    fleet = _fleet(arrival_s, time_s, start_delay_s, headroom)
    rows = _requests(draw, arrival_s, time_s, fleet, lost)
    end_ps = int(time_s[-1]) * PS
    samples = _samples(rows, time_s, fleet)
    pool = _pool_counters(rows, samples, end_ps)
    hist, sums, counts = measured(rows, n_class=1)
    return scenario, Result(rows, samples, hist, sums, counts, [pool], end_ps, 0x1234_5678_9ABC_DEF0)


def without_requests(result: Result) -> Result:
    """The same run with records off."""
    return result._replace(requests={})


def two_pools(scenario: FakeScenario, result: Result) -> tuple[FakeScenario, Result]:
    """The run with a second pool beside it that does the same, at another price."""
    second = FakePool(name="spare", gpu=FakeGpu("a100_80"), device="a100_80", usd_per_gpu_hour=1.8, tp=2)
    samples = {k: np.concatenate([v, v]) for k, v in result.samples.items()}
    samples["pool_id"] = np.repeat([0, 1], len(result.samples["pool_id"]))
    pools = [result.pools[0], {**result.pools[0]}]
    for name in ("gpu_ps", "run_gpu_ps"):
        pools[1][name] *= 2
    changed = replace(scenario, pools=(*scenario.pools, second))
    return changed, result._replace(samples=samples, pools=pools)


def measured(
    rows: dict[str, np.ndarray], n_class: int
) -> tuple[np.ndarray, dict[str, list[int]], dict[str, np.ndarray]]:
    """Histograms and counters of completed requests as an engine fills them; all gaps are the tpot."""
    edges = bucket_edges_ps()
    hist = np.zeros((1 + n_class, len(RESULT_METRICS), N_BUCKET), dtype=np.int64)
    sums: dict[str, list[int]] = {name: [0] * (1 + n_class) for name in RESULT_METRICS}
    for scope in range(1 + n_class):
        done = rows["outcome"] == 1
        if scope:
            done &= rows["class_id"] == scope - 1
        for at, name in enumerate(RESULT_METRICS):
            values = durations_ps(rows, name)[done & (durations_ps(rows, name) >= 0)]
            bucket = np.searchsorted(edges, values, side="right") - 1
            hist[scope, at] = np.bincount(bucket, minlength=N_BUCKET)
            sums[name][scope] = int(values.sum())
    counts = {}
    for name, fate in {"completed": 1, "rejected": 2, "timed_out": 3, "failed": 4, "inside": 0}.items():
        counts[name] = _per_scope(rows, rows["outcome"] == fate, n_class)
    counts["inside_missed"] = counts["inside"].copy()  # the fake run ends long after every objective
    counts["offered"] = _per_scope(rows, rows["outcome"] >= 0, n_class)
    counts["attempts"] = counts["offered"].copy()
    cache = ("asked_tokens", "cached_tokens")
    for name in (
        *cache,
        "retries",
        "hedges",
        "wasted_tokens",
        "from_cache",
        "blocked",
        *(f"reason_{reason}" for reason in REASONS if reason),
    ):
        counts[name] = np.zeros_like(counts["offered"])
    ttft_ps = durations_ps(rows, "ttft")
    counts["met"] = _per_scope(rows, (ttft_ps >= 0) & (ttft_ps <= PS), n_class)
    counts["done"], counts["done_met"] = counts["completed"].copy(), counts["met"].copy()
    for name, column in {"tokens_in": "prompt_tokens", "tokens_out": "output_tokens"}.items():
        counts[name] = _per_scope(rows, np.where(rows["outcome"] == 1, rows[column], 0), n_class)
    return hist, sums, counts


def durations_ps(rows: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Exact durations of one measure, -1 where there is none; `itl` is one gap a request."""
    start, end = {
        "ttft": ("arrival_ps", "first_token_ps"),
        "attempt_ttft": ("arrival_ps", "first_token_ps"),
        "e2e": ("arrival_ps", "last_token_ps"),
        "queue_wait": ("arrival_ps", "scheduled_ps"),
        "tpot": ("first_token_ps", "last_token_ps"),
        "itl": ("first_token_ps", "last_token_ps"),
        "itl_max": ("first_token_ps", "last_token_ps"),
    }[name]
    taken = rows[end] - rows[start]
    if name in ("tpot", "itl", "itl_max"):
        taken = np.where(rows["output_tokens"] > 1, taken // np.maximum(rows["output_tokens"] - 1, 1), -1)
    return np.where((rows[start] < 0) | (rows[end] < 0), -1, taken)


def _per_scope(rows: dict[str, np.ndarray], chosen: np.ndarray, n_class: int) -> np.ndarray:
    each = [int((chosen * (rows["class_id"] == k)).sum()) for k in range(n_class)]
    return np.array([sum(each), *each], dtype=np.int64)


def _arrivals(draw: np.random.Generator, n: int, duration_s: float) -> np.ndarray:
    """Times with a slow wave and two spikes."""
    t = np.linspace(0, duration_s, 2001)
    rate = 1 + 0.15 * np.sin(t / 400)
    for at, height, length in ((900, 2.6, 420), (2300, 3.4, 240)):
        rate += height * np.clip((t - at) / 30, 0, 1) * np.clip((at + length - t) / 60, 0, 1)
    share = np.concatenate([[0], np.cumsum((rate[1:] + rate[:-1]) / 2)])
    return np.sort(np.interp(draw.random(n), share / share[-1], t))


class Fleet(NamedTuple):
    """The fluid queue: per sample time, replicas by stage and requests waiting."""

    rate: np.ndarray
    wanted: np.ndarray
    starting: np.ndarray
    ready: np.ndarray
    queue: np.ndarray


def _fleet(arrival_s: np.ndarray, time_s: np.ndarray, delay_s: float, headroom: float) -> Fleet:
    """Wanted follows the last minute's rate; ready follows wanted after the delay; the rest waits."""
    rate = np.histogram(arrival_s, np.append(time_s, time_s[-1] + STEP_S))[0] / STEP_S
    per_replica = len(arrival_s) / 3600 / 3
    seen = np.convolve(rate, np.ones(6) / 6)[: len(rate)]
    wanted = np.clip(np.ceil(headroom * seen / per_replica), 2, 16).astype(np.int64)
    wanted[:6] = wanted[6]
    for i in range(1, len(wanted)):
        wanted[i] = max(wanted[i], wanted[i - 1] - (i % 6 == 0))
    lag = int(delay_s / STEP_S)
    late = np.concatenate([np.full(lag, wanted[0]), wanted])[: len(wanted)]
    ready = np.minimum(wanted, late)
    queue = np.zeros(len(rate))
    for i in range(1, len(rate)):
        queue[i] = max(0.0, queue[i - 1] + (rate[i - 1] - ready[i - 1] * per_replica) * STEP_S)
    return Fleet(rate, wanted, wanted - ready, ready, queue)


def _requests(
    draw: np.random.Generator, arrival_s: np.ndarray, time_s: np.ndarray, fleet: Fleet, lost: float
) -> dict[str, np.ndarray]:
    """Rows whose waits follow the fluid queue with noise."""
    n = len(arrival_s)
    rate_out = np.maximum(fleet.ready, 1) * n / 3600 / 3
    wait_s = np.interp(arrival_s, time_s, fleet.queue / rate_out) * draw.gamma(20, 1 / 20, n)
    wait_s += draw.exponential(0.02, n)
    prompt = np.maximum(1, draw.lognormal(6.5, 0.9, n)).astype(np.int32)
    output = np.maximum(1, draw.lognormal(5.0, 0.7, n)).astype(np.int32)
    arrival = (arrival_s * PS).astype(np.int64)
    scheduled = arrival + (wait_s * PS).astype(np.int64)
    first = scheduled + (PS * (0.03 + prompt * 4e-5)).astype(np.int64)
    gap = (PS * draw.gamma(30, 0.018 / 30, n)).astype(np.int64)
    last = first + gap * (output - 1)
    outcome = np.where(draw.random(n) < lost, 2, 1).astype(np.int64)
    gone = outcome == 2
    for column in (scheduled, first, last):
        column[gone] = -1
    rows = {
        "request_id": np.arange(n, dtype=np.int64),
        "class_id": np.zeros(n, dtype=np.int32),
        "arrival_ps": arrival,
        "routed_ps": np.where(gone, -1, arrival),
        "scheduled_ps": scheduled,
        "first_token_ps": first,
        "last_token_ps": last,
        "prompt_tokens": prompt,
        "output_tokens": output,
        "pool_id": np.where(gone, -1, 0),
        "replica_id": np.where(gone, -1, draw.integers(0, 4, n)),
        "attempts": np.ones(n, dtype=np.int32),
        "taken_ps": arrival,
        "wasted_tokens": np.zeros(n, dtype=np.int64),
        "network_ps": np.zeros(n, dtype=np.int64),
        "preemptions": np.zeros(n, dtype=np.int32),
        "itl_max_ps": np.where(gone | (output < 2), -1, gap),
        "outcome": outcome,
        "reason": np.where(gone, 2, 0),
        "session_id": np.full(n, -1, dtype=np.int64),
        "cached_tokens": np.zeros(n, dtype=np.int64),
    }
    parts = np.zeros((N_SPENT, n), dtype=np.int64)
    parts[SPENT_PREFILL] = first - scheduled
    return rows | blame_columns(rows, parts)


def _samples(rows: dict[str, np.ndarray], time_s: np.ndarray, fleet: Fleet) -> dict[str, np.ndarray]:
    """One pool's samples, cumulative where an engine's are."""
    time_ps = time_s.astype(np.int64) * PS
    done = np.sort(rows["last_token_ps"][rows["last_token_ps"] >= 0])
    taken = np.sort(rows["scheduled_ps"][rows["scheduled_ps"] >= 0])
    arrived = np.searchsorted(rows["arrival_ps"], time_ps)
    completed, scheduled = np.searchsorted(done, time_ps), np.searchsorted(taken, time_ps)
    entered = np.searchsorted(rows["arrival_ps"][rows["routed_ps"] >= 0], time_ps)
    held_gpu = (fleet.wanted * STEP_S).astype(np.int64)
    nothing = np.zeros(len(time_ps), dtype=np.int64)
    stages = dict.fromkeys(STAGE_NAMES[1:], nothing)
    running = scheduled - completed
    return {
        "time_ps": time_ps,
        "pool_id": nothing,
        "wanted": fleet.wanted,
        **stages,
        "provisioning": fleet.starting // 2,
        "weight_load": fleet.starting - fleet.starting // 2,
        "ready": fleet.ready,
        "held": nothing,
        "waiting": entered - scheduled,
        "running": running,
        "kv_blocks_used": np.minimum(running * 60, fleet.ready * BLOCKS),
        "kv_blocks_total": fleet.ready * BLOCKS,
        "attempts": arrived,
        "retries": nothing,
        "routed": entered,
        "completions": completed,
        "preemptions": nothing,
        "restarts": nothing,
        "kv_blocks_cached": nothing,
        "asked_tokens": nothing,
        "cached_tokens": nothing,
        "gpu_ps": np.concatenate([[0], np.cumsum(held_gpu)[:-1]]) * PS,
    }


def _pool_counters(
    rows: dict[str, np.ndarray], samples: dict[str, np.ndarray], end_ps: int
) -> dict[str, int]:
    """A pool's totals in the window (here the first hour) and, `run_`, over the whole run."""
    done = rows["outcome"] == 1
    prompt, output = (
        rows["prompt_tokens"][done].astype(np.int64),
        rows["output_tokens"][done].astype(np.int64),
    )
    hour = int(np.searchsorted(samples["time_ps"], 3600 * PS))
    ready_ps = int((samples["ready"][:hour] * STEP_S).sum()) * PS
    changes = np.diff(samples["wanted"])
    started = int(np.maximum(changes, 0).sum())
    counters = {
        "billed_ps": int(samples["gpu_ps"][hour]),
        "gpu_ps": int(samples["gpu_ps"][hour]),
        "ready_ps": ready_ps,
        "serving_ps": ready_ps,
        "busy_ps": ready_ps * 7 // 10,
        "slot_ps": ready_ps * 64,
        "prefill_ps": ready_ps * 3 // 10,
        "decode_ps": ready_ps * 4 // 10,
        "steps": end_ps // (18 * 10**9),
        "step_parts": 0,
        "prefill_tokens": int(prompt.sum()),
        "decode_tokens": int(output.sum()),
        "kv_read_tokens": int((prompt * output).sum()),
        "preemptions": 0,
        "completions": int(done.sum()),
        "crashed": 0,
        "replicas_started": started,
        "asked_tokens": 0,
        "cached_tokens": 0,
        "prefix_runs_dropped": 0,
    }
    run = {f"run_{name}": value for name, value in counters.items()}
    run["run_gpu_ps"] = run["run_billed_ps"] = int(samples["gpu_ps"][-1])
    rest = {
        "max_num_seqs": 256,
        "gpus_per_replica": 1,
        "scaled_up": int((changes > 0).sum()),
        "scaled_down": int((changes < 0).sum()),
    }
    return {**counters, **run, **rest}
