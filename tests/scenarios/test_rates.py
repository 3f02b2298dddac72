"""Rates divide what happened in a window by that window, and shares are shares, on made fleets of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sim
from sim.pack.scenario import plan
from sim.units import PS_PER_S, s_to_ps

USES = ("step_busy", "slot_use", "kv_use", "mfu", "bandwidth_use")
SHARES = (*USES, "served_fraction", "slo_attainment", "prefix_hit_ratio", "from_cache_fraction")


def most_tokens_per_s(run: Any) -> float:
    """What one replica of the only pool can emit: the best batch of its table of step times, without any context."""
    p = plan(run.scenario).params
    pool = p.pool[0]
    n = np.arange(1, int(pool.max_num_seqs) + 1)
    return float((n / p.base[int(pool.table_at) :][n]).max() * PS_PER_S)


def check_summary(run: Any) -> None:
    """What holds of every summary."""
    summary, window_s = run.summary, run.summary["window_s"]
    for section in (summary, *summary["classes"].values(), *summary["pools"].values()):
        known = {name: section[name] for name in SHARES if section.get(name) is not None}
        assert {name: x for name, x in known.items() if not 0 <= x <= 1} == {}
    paid = [
        (section, section[tokens_in], section[tokens_out])
        for sections, tokens_in, tokens_out in (
            ([summary], "input_tokens", "output_tokens"),
            (summary["pools"].values(), "prefill_tokens", "decode_tokens"),
        )
        for section in sections
    ]
    for section, n_in, n_out in paid:
        if n_in + n_out > 0:
            prices = (section[f"usd_per_million_{kind}_tokens"] or 0 for kind in ("input", "output"))
            usd = sum(n * price / 1e6 for n, price in zip((n_in, n_out), prices, strict=True))
            assert usd == pytest.approx(section["usd"])
        if n_out:
            assert section["usd_per_million_output_tokens_all_in"] * n_out / 1e6 == pytest.approx(
                section["usd"]
            )
    assert summary["output_tokens_per_s"] * window_s == pytest.approx(summary["output_tokens"])
    for name in ("input_tokens", "output_tokens", "offered", "completed"):
        assert sum(section[name] for section in summary["classes"].values()) == summary[name]
    bills = sum(section["usd"] for section in summary["classes"].values())
    assert bills + summary["usd_idle"] == pytest.approx(summary["usd"])
    rows, scenario = run.result.requests, run.scenario
    ended = rows["last_token_ps"]
    within = (ended >= s_to_ps(scenario.warmup_s)) & (ended < s_to_ps(scenario.duration_s))
    assert summary["completed_per_s"] * window_s == pytest.approx(within.sum())


def test_an_overloaded_fleet_makes_what_it_can_whatever_it_finishes_later() -> None:
    overload = ["traffic.arrivals.rate_per_s=400", "duration_s=60", "drain_s=36000", "pool.min_replicas=1"]
    one = [
        *overload,
        "pool.max_replicas=1",
        "autoscaler=fixed",
        "slo=[]",
        "traffic.prompt_tokens={kind: constant, value: 16}",
        "traffic.output_tokens={kind: constant, value: 512}",
    ]
    run = sim.run("first_run", one)
    check_summary(run)
    summary = run.summary
    assert summary["served_fraction"] == 1
    assert summary["completed"] > 1.5 * summary["completed_per_s"] * 60
    most = most_tokens_per_s(run)
    assert 0.3 * most < summary["output_tokens_per_s"] <= most
    assert summary["output_tokens"] < run.result.requests["output_tokens"].sum() / 1.5
    price = summary["usd_per_hour"] / 3600 / summary["output_tokens_per_s"] * 1e6
    assert summary["usd_per_million_output_tokens_all_in"] == pytest.approx(price)


@pytest.mark.parametrize("drain_s", [0, 7200])
def test_the_drain_changes_no_rate(drain_s: int) -> None:
    load = ["traffic.arrivals.rate_per_s=60", "duration_s=120", "warmup_s=20", "slo=[]"]
    names = (*USES, "usd", "input_tokens", "output_tokens", "completed_per_s", "replicas_mean")
    long, other = (sim.run("first_run", [*load, f"drain_s={s}"]) for s in (600, drain_s))
    told = [{name: run.summary[name] for name in names} for run in (long, other)]
    check_summary(other)
    if drain_s > 600:
        assert told[0] == told[1]
    else:  # what was still inside is told of as far as it came
        assert told[0] == pytest.approx(told[1], rel=1e-9)


@pytest.mark.parametrize("seed", range(24))
def test_generated_fleets_have_shares_and_pay_their_bill(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def pick(*values: Any) -> Any:
        return values[rng.integers(len(values))]

    story = pick(
        "first_run",
        "spiky_hour",
        "batch_and_chat",
        "noisy_tenant",
        "retry_storm",
        "two_models",
        "replicas_lost",
    )
    duration_s = pick(30, 200, 700)
    overrides = [
        f"seed={seed}",
        f"duration_s={duration_s}",
        f"warmup_s={pick(0, 1, duration_s // 3, duration_s * 0.9)}",
        f"drain_s={pick(0, 20, 4000)}",
        "slo=[]",
        f"autoscaler={pick('fixed', 'hpa_fast', 'queue')}",
        f"coldstart={pick('none', 'cloud_disk')}",
    ]
    if story in ("spiky_hour", "first_run"):
        overrides += ["traffic.spikes=[]", f"traffic.arrivals.rate_per_s={pick(0.5, 8, 60)}"]
    if story == "replicas_lost":
        overrides += ["faults=[]"]
    if story == "retry_storm":
        overrides += ["traffic.spikes=[]"]
    check_summary(sim.run(story, overrides))
