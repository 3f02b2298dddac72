"""The scenarios that `scripts/gpu` runs, what it reads of their final states, and how many words a request touches.

Needs numpy and what the engines need, nothing else. All that it knows of the simulator's tables is in this file.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sim.model.tables.codes import FIXED, HPA, N_START_STAGE
from sim.model.tables.pool import N_QUANTILE
from sim.model.tables.run import Params, State

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sim.fill.params import ClassRow, PoolRow, RunRow, ServedModelRow, Traffic, make_params
from sim.fill.state import new_state, slot_start
from sim.model.autoscaler.hpa_rows import (
    POLICY_PERCENT,
    POLICY_PODS,
    HpaRule,
    HpaSettings,
    hpa_policy,
    hpa_settings,
    hpa_target,
)
from sim.model.loop.control import SCALER_PAR
from sim.units import PS_PER_S

N_TRACE = 256  # distinct traces that the scenarios of a sweep share
MS = PS_PER_S // 1000


# ---- the timed sweep -----------------------------------------------------------------------------------------------
def sweep_pool(replicas: int, scaled: bool) -> PoolRow:
    """Replicas that serve about 24 requests/s of 512 + 128 tokens each; scaled by an HPA, they start from half."""
    least = max(1, replicas // 2) if scaled else replicas
    words = np.zeros(SCALER_PAR, dtype=np.int64)
    settings = HpaSettings(words, 0)
    hpa_settings(settings, min_replicas=least, max_replicas=replicas)
    hpa_target(settings, 24_000)
    up, down = HpaRule(settings.up, 0), HpaRule(settings.down, 0)
    down.window_ps = 60 * PS_PER_S
    hpa_policy(up, POLICY_PODS, 4, 15 * PS_PER_S)
    hpa_policy(down, POLICY_PERCENT, 100, 15 * PS_PER_S)
    return PoolRow(
        base_ps=np.array([5 * MS, *((6 * MS + n * MS // 50) for n in range(64))]),
        slope_ps=np.array([0] + [40_000] * 64),
        prefill_ps=20_000_000,
        attention_q16=40_000_000,
        n_blocks=6000,
        max_num_seqs=64,
        max_num_batched_tokens=2048,
        max_model_len=100_000,
        min_replicas=least,
        max_replicas=replicas,
        initial_replicas=least,
        target_milli=replicas,
        autoscaler=HPA if scaled else FIXED,
        tick_ps=15 * PS_PER_S if scaled else 10**18,
        autoscaler_settings=words,
        stage_ps=np.tile(np.linspace(0, 8 * PS_PER_S, N_QUANTILE).astype(np.int64), (N_START_STAGE, 1)),
    )


def sweep_traffic(replicas: int, requests: int, seed: int) -> Traffic:
    """Poisson arrivals at 24 requests/s a replica; exponential lengths, 512 and 128 tokens on average."""
    rng = np.random.default_rng([seed, 512])
    gaps_s = rng.exponential(1 / (24 * replicas), requests)
    return Traffic(
        np.sort((gaps_s.cumsum() * PS_PER_S).astype(np.int64)),
        np.maximum(1, rng.exponential(512, requests).astype(np.int64)),
        np.maximum(1, rng.exponential(128, requests).astype(np.int64)),
        np.zeros(requests, dtype=np.int64),
    )


@functools.lru_cache(maxsize=4)
def bases(replicas: int, requests: int, n_trace: int) -> tuple[Params, ...]:
    """The scenarios whose traces the others share: every second one scaled, all of one shape."""
    made: list[Params] = []
    for seed in range(n_trace):
        traffic = sweep_traffic(replicas, requests, seed)
        duration_ps = int(traffic.arrival_ps[-1]) + PS_PER_S
        run = RunRow(
            seed, duration_ps, warmup_ps=0, end_ps=duration_ps + 600 * PS_PER_S, sample_ps=0, records=0
        )
        pool = sweep_pool(replicas, scaled=seed % 2 == 1)
        made.append(make_params(run, traffic, [ClassRow()], [ServedModelRow()], [pool]))
    return tuple(made)


def sweep(first: int, end: int, replicas: int, requests: int, n_trace: int = N_TRACE) -> Iterator[Params]:
    """Scenarios first … end − 1 of one shape: seeds all different, traces shared by every n_trace-th."""
    made = bases(replicas, requests, n_trace)
    for seed in range(first, end):
        base = made[seed % len(made)]
        params = Params(base.m.copy(), base.trace)
        params.seed = seed
        yield params


# ---- what became of a scenario -------------------------------------------------------------------------------------
def completed(state: State) -> int:
    """Requests that a finished scenario of one class completed."""
    return int(state.counts[0].all_completed)


def digest_of(state: State) -> str:
    """A hash of every byte of a final state but for its slots, which the device does not hand back, and their number."""
    kept = State(state.m[: slot_start(state)].copy())
    kept.n_slot = kept.timer_at = 0
    return hashlib.sha256(kept.m.data).hexdigest()


# ---- what a request touches ----------------------------------------------------------------------------------------
class Counted:
    """An array of words that counts its reads and writes."""

    def __init__(self, words: np.ndarray) -> None:
        self.words, self.reads, self.writes = words, 0, 0

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return _Part(self, at.start)
        self.reads += 1
        return int(self.words[at])

    def __setitem__(self, at: int, value: int) -> None:
        self.writes += 1
        self.words[at] = value


class _Part:
    """A slice of counted words."""

    def __init__(self, whole: Counted, start: int) -> None:
        self.whole, self.start = whole, start

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return _Part(self.whole, self.start + (at.start or 0))
        return self.whole[self.start + at]

    def __setitem__(self, at: int, value: int) -> None:
        self.whole[self.start + at] = value


def touched(replicas: int, requests: int) -> dict[str, float]:
    """Words read and written per request, counted while plain Python runs two scenarios of the sweep."""
    from sim.engine.loop import run_until_host

    total = dict.fromkeys(("state_reads", "state_writes", "params_reads", "trace_reads"), 0)
    n = 0
    for p in sweep(0, 2, replicas, requests, 2):
        st = new_state(p, requests)
        words, params, trace = Counted(st.m), Counted(p.m), Counted(p.trace)
        run_until_host(Params(params, trace), State(words))  # type: ignore[arg-type]
        n += requests
        total["state_reads"] += words.reads
        total["state_writes"] += words.writes
        total["params_reads"] += params.reads
        total["trace_reads"] += trace.reads
    return {name: count / n for name, count in total.items()}
