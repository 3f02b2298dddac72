"""What the stories of overload show, and what their variants change: ratios with a margin, on fixed seeds."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import sim

PS = 10**12


@cache
def story(name: str, *overrides: str) -> Any:
    """A run of a packaged scenario."""
    return sim.run(name, list(overrides))


def served(run: Any, start_s: float, end_s: float) -> float:
    """The share of the requests that arrived then that were answered."""
    rows = run.result.requests
    arrived = (rows["arrival_ps"] >= start_s * PS) & (rows["arrival_ps"] < end_s * PS)
    return float(np.mean(rows["outcome"][arrived] == 1))


def section(run: Any, name: str) -> Any:
    """The summary of one class."""
    return run.summary["classes"][name]


# ---- a retry storm ---------------------------------------------------------------------------------------------------
STORM = ("duration_s=1200",)  # the spike is over at 360 s
LATE = (600, 1100)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_retry_storm_outlives_its_spike(seed: int) -> None:
    run = story("retry_storm", *STORM, f"seed={seed}")
    assert served(run, 0, 240) > 0.95
    assert served(run, *LATE) < 0.2
    assert run.summary["retries"] > 2 * run.summary["offered"]


def test_without_a_spike_there_is_no_storm() -> None:
    run = story("retry_storm", *STORM, "traffic.spikes=[]")
    assert served(run, 0, 1200) > 0.97


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("cure", ["retry=none", "retry=budgeted", "traffic.shed_above=40"])
def test_a_budget_or_shedding_ends_the_storm(cure: str, seed: int) -> None:
    ill, cured = (story("retry_storm", *STORM, f"seed={seed}", *more) for more in ((), (cure,)))
    assert served(cured, *LATE) > 0.95
    assert cured.summary["wasted_tokens"] < ill.summary["wasted_tokens"] / 5
    assert cured.result.counts["all_offered"][0] == ill.result.counts["all_offered"][0]


# ---- black friday ----------------------------------------------------------------------------------------------------
def test_on_black_friday_replicas_come_too_late_for_the_first_minutes() -> None:
    scaled, ready = (story("black_friday", f"autoscaler={name}") for name in ("hpa", "fixed_max"))
    assert served(scaled, 0, 600) > 0.99
    assert served(scaled, 600, 720) < 0.9
    assert served(scaled, 1000, 1800) > 0.98
    assert served(ready, 600, 720) > 0.98
    assert ready.summary["usd"] > 1.2 * scaled.summary["usd"]


def test_on_black_friday_shedding_lets_nobody_wait_for_nothing() -> None:
    queued, shed = (story("black_friday", *more) for more in ((), ("traffic.shed_above=60",)))
    assert queued.summary["timed_out"] > 20 * max(1, shed.summary["timed_out"])
    assert shed.summary["ttft"]["p99_served_s"] < queued.summary["ttft"]["p99_served_s"] / 3
    assert shed.summary["goodput"] > 0.95 * queued.summary["goodput"]


# ---- tenants ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ("tenants.noisy.limits={requests_per_s: 5, burst: 20}", "rate_limited"),
        ("tenants.noisy.limits.max_concurrent=60", "concurrency"),
        ("classes.loud.shed_above=30", "shed"),
    ],
)
def test_a_limit_on_the_noisy_tenant_spares_the_quiet_one(limit: str, reason: str) -> None:
    free, limited = story("noisy_tenant"), story("noisy_tenant", limit)
    assert section(free, "steady")["slo_attainment"] < 0.7
    assert section(limited, "steady")["slo_attainment"] > 0.98
    assert section(limited, "steady")["reasons"] == {}
    assert set(section(limited, "loud")["reasons"]) == {reason}
    tenants = limited.summary["tenants"]
    assert tenants["quiet"]["usd"] > tenants["noisy"]["usd"]
    assert tenants["quiet"]["offered"] == section(limited, "steady")["offered"]


# ---- sharing ---------------------------------------------------------------------------------------------------------
def test_batch_and_chat_trade_waiting_for_idle_gpus() -> None:
    shared, unordered, apart = (
        story("batch_and_chat", *more)
        for more in (
            (),
            ("runtime.scheduling=fcfs",),
            ("classes.chat.route_to=[online]", "classes.batch.route_to=[offline]"),
        )
    )
    chat, batch = ([section(run, name) for run in (shared, unordered, apart)] for name in ("chat", "batch"))
    assert chat[0]["ttft"]["p99_s"] < chat[1]["ttft"]["p99_s"] / 10  # priorities spare chat the queue
    assert chat[2]["slo_attainment"] > 0.99 > 0.95 > chat[0]["slo_attainment"]  # but not the full batch
    assert batch[2]["ttft"]["p50_s"] > 1.2 * batch[0]["ttft"]["p50_s"]  # whose pool then takes longer
    assert apart.summary["step_busy"] < 0.9 * shared.summary["step_busy"]


def test_a_few_long_prompts_poison_the_chat() -> None:
    poisoned, refused, apart = (
        story("long_prompt_poison", *more)
        for more in (
            (),
            ("traffic.caps.input_tokens=32000",),
            ("classes.chat.route_to=[main]", "classes.long.route_to=[spare]", "gpu@pools.spare.gpu=h100"),
        )
    )
    assert section(poisoned, "long")["offered"] < 0.005 * poisoned.summary["offered"]
    for better in (refused, apart):
        assert section(better, "chat")["ttft"]["p99_s"] < section(poisoned, "chat")["ttft"]["p99_s"] / 5
    assert set(section(refused, "long")["reasons"]) == {"over_limit"}
    assert section(apart, "long")["slo_attainment"] > 0.9


LONGER = "traffic.output_tokens={kind: lognormal, median: 300, p99: 1200}"


def test_longer_answers_topple_a_fleet_that_had_room() -> None:
    usual, longer = (story("longer_answers", *more) for more in ((), (LONGER,)))
    assert usual.summary["served_fraction"] > 0.97
    assert longer.summary["served_fraction"] < 0.4
    assert longer.summary["retries"] > 2 * longer.summary["offered"]
    assert longer.summary["wasted_tokens"] > 5 * usual.summary["wasted_tokens"]


def test_longer_answers_that_are_clamped_are_served() -> None:
    run = story("longer_answers", LONGER, "traffic.caps.output_tokens=400")
    assert run.summary["served_fraction"] > 0.97


def test_two_generations_of_gpus_need_a_router_that_looks() -> None:
    blind, by_number, by_memory = (
        story("fast_and_slow_pool", f"router={name}")
        for name in ("round_robin", "least_outstanding", "least_kv")
    )
    attainment = [run.summary["slo_attainment"] for run in (blind, by_number, by_memory)]
    assert attainment[0] < 0.7 < 0.85 < attainment[1] < attainment[2]
    fast, slow = (by_memory.summary["pools"][name]["completions"] for name in ("fast", "slow"))
    assert fast > 1.5 * slow


# ---- in front of the GPUs --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_slow_tokeniser_looks_like_too_few_gpus_until_one_looks_at_it(seed: int) -> None:
    slow, more_gpus, more_threads = (
        story("slow_tokeniser", f"seed={seed}", *more)
        for more in ((), ("pool.max_replicas=8",), ("gateway.stations.tokeniser.workers=2",))
    )
    ttft = [run.summary["ttft"]["p50_s"] for run in (slow, more_gpus, more_threads)]
    assert ttft[0] > 10
    assert ttft[1] > 0.95 * ttft[0]  # twice the GPUs are no help
    assert ttft[2] < ttft[0] / 50
    assert more_threads.summary["slo_attainment"] > 0.98 > 0.05 > slow.summary["slo_attainment"]
    assert more_gpus.summary["usd"] == pytest.approx(2 * slow.summary["usd"])
    assert slow.summary["step_busy"] > 0.99  # what a dashboard shows
    assert slow.summary["slot_use"] < 0.05
    station = slow.summary["stations"]["tokeniser"]
    assert station["run_use"] > 0.97
    assert station["run_wait_mean_s"] > 0.95 * slow.summary["ttft"]["mean_s"]
    assert np.mean(slow.result.samples["waiting"]) < 1  # at all four replicas together
    assert more_threads.summary["stations"]["tokeniser"]["run_use"] < 0.6


# ---- agents at nine ----------------------------------------------------------------------------------------------------
BLIND, KNOWING = "router=round_robin", ("router=session_affinity", "router=prefix_aware")


@pytest.mark.parametrize("router", KNOWING)
def test_agents_want_to_go_where_their_context_is(router: str) -> None:
    blind, knowing = (story("agents_at_nine", choice).summary for choice in (BLIND, router))
    assert blind["prefix_hit_ratio"] < 0.7
    assert knowing["prefix_hit_ratio"] > 0.85
    assert knowing["ttft"]["p50_s"] < blind["ttft"]["p50_s"] / 3
    assert knowing["slo_attainment"] > blind["slo_attainment"] + 0.1
    assert knowing["usd"] == pytest.approx(blind["usd"])


def test_agents_without_a_prefix_cache_compute_everything_again() -> None:
    cached = story("agents_at_nine", KNOWING[0]).summary
    never = story("agents_at_nine", KNOWING[0], "runtime.prefix_caching=false").summary
    assert never["slo_attainment"] < 0.65 < cached["slo_attainment"]
    assert never["ttft"]["p50_s"] > 10 * cached["ttft"]["p50_s"]


def test_a_slow_fleet_is_asked_less_and_hides_it() -> None:
    """Closed loop: no agent has two requests at once, all are answered in the end, and an hour holds fewer of them."""
    many = story("agents_at_nine")
    few = story("agents_at_nine", "pool.min_replicas=1", "pool.max_replicas=1")
    assert few.summary["served_fraction"] == many.summary["served_fraction"] == 1
    assert few.summary["offered"] < 0.8 * many.summary["offered"]
    assert few.summary["slo_attainment"] < 0.5
    assert set(few.result.requests["request_id"]) != set(many.result.requests["request_id"])
