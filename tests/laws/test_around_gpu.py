"""What stands around the GPU keeps to laws: caches replayed by hand, queueing theory, verdicts drawn again, clocks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracle.closed_forms import md1_wait, mmc_wait, replication_interval
from oracle.philox import draw_below

import sim
from sim.model.tables.codes import BLOCKED
from sim.pack.scenario import plan
from sim.rng import STREAM_GUARD

PS = 10**12
QUICK = [  # questions of a few tokens to replicas that answer with none: whatever takes time stands around them
    "model=embedding_300m",
    "slo=none",
    "traffic.objectives={ttft_s: null, tpot_s: null}",
    "traffic.output_tokens=0",
    "traffic.curves.active=false",
]


# ---- the response cache --------------------------------------------------------------------------------------------
def replayed(run: Any, entries: int, life_ps: float) -> list[bool]:
    """Which requests a cache would have answered, from when each was asked and answered: a dict, oldest use first."""
    rows = run.result.requests
    p = plan(run.scenario).params
    contents = p.trace[p.content_at :][: len(rows["taken_ps"])]
    asked = [(t, 1, i) for i, t in enumerate(rows["taken_ps"].tolist())]
    answered = [(t, 0, i) for i, t in enumerate(rows["last_token_ps"].tolist()) if t >= 0]
    kept: OrderedDict[int, int] = OrderedDict()
    found = [False] * len(asked)
    for t, is_question, i in sorted(asked + answered):
        content = int(contents[i])
        if content < 0 or (not is_question and found[i]):
            continue
        if not is_question:
            kept.pop(content, None)
            kept[content] = t
            if len(kept) > entries:
                kept.popitem(last=False)
        elif content in kept:
            filled = kept.pop(content)
            if t - filled < life_ps:
                kept[content] = filled
                found[i] = True
    return found


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("entries", "life_s", "exponent"), [(20, 30, 1.0), (300, 5, 0.7), (5, 1000, 1.5)])
def test_a_response_cache_answers_what_a_dict_would(
    entries: int, life_s: float, exponent: float, seed: int
) -> None:
    popularity = f"traffic.popularity={{catalogue: 400, exponent: {exponent}, cacheable: 0.8}}"
    cache = f"gateway.response_cache={{entries: {entries}, lifetime_s: {life_s}, latency_s: 0.003}}"
    run = sim.run("first_run", [popularity, cache, "traffic.arrivals.rate_per_s=12", f"seed={seed}"])
    cached = np.array(run.requests.to_pydict()["from_cache"])
    assert cached.tolist() == replayed(run, entries, life_s * PS)
    assert 0.05 < run.summary["from_cache"] / run.summary["offered"] < 0.8


def che_hit_ratio(weights: np.ndarray, entries: int) -> float:
    """The hit ratio of a least-recently-used cache under independent requests (Che's approximation)."""
    share = weights / weights.sum()
    low, high = 0.0, 1e9  # the time, in requests, after which something that is not asked again is gone
    for _ in range(100):
        middle = (low + high) / 2
        if np.sum(-np.expm1(-share * middle)) < entries:
            low = middle
        else:
            high = middle
    return float(np.sum(share * -np.expm1(-share * low)))


@pytest.mark.parametrize(("exponent", "entries"), [(0.8, 100), (1.1, 50)])
def test_hits_under_zipfs_law_are_as_many_as_theory_says(exponent: float, entries: int) -> None:
    overrides = [
        *QUICK,
        "duration_s=1200",
        "traffic.arrivals={kind: poisson, rate_per_s: 50}",
        "traffic.prompt_tokens=10",
        f"traffic.popularity={{catalogue: 2000, exponent: {exponent}}}",
        f"gateway.response_cache={{entries: {entries}}}",
        "warmup_s=200",
    ]
    summary = sim.run("first_run", overrides).summary
    hits = summary["from_cache"] / summary["offered"]
    assert hits == pytest.approx(che_hit_ratio(np.arange(1, 2001) ** -exponent, entries), abs=0.01)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_request_whose_hedge_the_cache_answers_is_answered_once(seed: int) -> None:
    overrides = [
        "traffic.popularity={catalogue: 50, exponent: 0.5}",
        "gateway.response_cache={entries: 50, lifetime_s: 2, latency_s: 0.001}",
        "traffic.arrivals.rate_per_s=20",
        "traffic.retry={attempts: 2, on: [failed], hedge_after_s: 0.01}",
        f"seed={seed}",
    ]
    run = sim.run("first_run", overrides)
    table, counts = run.requests.to_pydict(), run.result.counts
    both = zip(table["from_cache"], table["attempts"], strict=True)
    assert sum(cached and attempts == 2 for cached, attempts in both) > 5
    ends = sum(counts[name] for name in ("completed", "rejected", "timed_out", "failed"))
    assert np.array_equal(ends, counts["offered"])
    assert counts["completed"][0] == table["outcome"].count("completed")


# ---- stations ------------------------------------------------------------------------------------------------------
STATIONS: dict[str, tuple[str, str, int, Callable[[float, float], float]]] = {
    "M/D/1": ("base_ms: 7", "10", 1, md1_wait),
    "M/M/1": ("per_prompt_token_us: 140", "{kind: exponential, mean: 50}", 1, lambda r, s: mmc_wait(r, s, 1)),
    "M/M/3": ("per_prompt_token_us: 420", "{kind: exponential, mean: 50}", 3, lambda r, s: mmc_wait(r, s, 3)),
}


@pytest.mark.parametrize("queue", STATIONS)
def test_waits_for_a_station_are_those_of_queueing_theory(queue: str) -> None:
    times, prompts, workers, wait_s = STATIONS[queue]
    overrides = [
        *QUICK,
        "traffic.arrivals={kind: poisson, rate_per_s: 100}",
        f"traffic.prompt_tokens={prompts}",
        f"gateway.stations.line={{workers: {workers}, {times}}}",
        "traffic.before=[line]",
        "output.records=false",
    ]
    found = [
        sim.run("first_run", [*overrides, f"seed={seed}"]).summary["stations"]["line"] for seed in range(1, 9)
    ]
    interval = replication_interval([line["run_wait_mean_s"] for line in found], confidence=0.999)
    assert interval.holds(wait_s(100, 0.007 * workers)), (interval, wait_s(100, 0.007 * workers))
    assert np.mean([line["run_use"] for line in found]) == pytest.approx(0.7, rel=0.02)


# ---- the guardrail -------------------------------------------------------------------------------------------------
def test_verdicts_are_those_that_the_seed_draws() -> None:
    run = sim.run("first_run", ["traffic.guardrail.blocked=0.1", "seed=7"])
    rows = run.result.requests
    blocked = [
        draw_below(7, STREAM_GUARD, int(i), 1, 1 << 20) < round(0.1 * (1 << 20)) for i in rows["request_id"]
    ]
    assert (rows["reason"] == BLOCKED).tolist() == blocked
    assert sum(blocked) == run.summary["blocked"]


# ---- cheap hours ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("start_hour", [0.0, 9.5, 23.0])
@pytest.mark.parametrize(("hours", "defer_s"), [(("22:00", "06:00"), None), (("01:30", "04:00"), 7200)])
def test_who_may_wait_starts_in_cheap_hours(
    hours: tuple[str, str], defer_s: int | None, start_hour: float
) -> None:
    overrides = [
        *QUICK,
        "duration_s=86400",
        "drain_s=86400",
        "traffic.prompt_tokens=10",
        "traffic.arrivals={kind: poisson, rate_per_s: 0.02}",
        f"traffic.curves.start_hour={start_hour}",
        f"traffic.cheap_hours=[{','.join(hours)}]",
        f"traffic.defer_max_s={defer_s or 'null'}",
    ]
    rows = sim.run("first_run", overrides).result.requests
    begin, end = ((int(h) * 60 + int(m)) * 60 * PS for h, m in (text.split(":") for text in hours))
    day = 86_400 * PS
    for arrival, taken in zip(rows["arrival_ps"].tolist(), rows["taken_ps"].tolist(), strict=True):
        of_day = (arrival + int(start_hour * 3600) * PS) % day
        is_cheap = of_day in range(begin, end) if begin < end else not end <= of_day < begin
        wait = 0 if is_cheap else min((begin - of_day) % day, (defer_s or 86_400) * PS)
        assert taken == arrival + wait
