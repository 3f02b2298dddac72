"""The summary against sums done by hand: fates, money, utilisation, replicas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_result import (
    PS,
    FakeClass,
    FakePool,
    FakePrice,
    FakeScenario,
    measured,
    spiky_run,
    two_pools,
    without_requests,
)

from sim.analysis.cost import TokenCost, bill_lines, split_usd, token_cost
from sim.analysis.summary import summarize
from sim.analysis.use import at_each_time, kv_use, used_parts
from sim.engine.result import RESULT_METRICS
from sim.measures.shown import measure
from sim.steptime.table import simple_table

HOUR_PS = 3600 * PS
COUNTERS = {"prefill_ps": 1 * HOUR_PS, "decode_ps": 3 * HOUR_PS}


def test_bill_is_gpu_hours_times_price_and_the_fixed_line() -> None:
    pool = FakePool(usd_per_gpu_hour=2.5, price=FakePrice(usd_fixed_per_hour=0.5))
    gpu, fixed = bill_lines(pool, gpu_ps=8 * HOUR_PS, elapsed_ps=2 * HOUR_PS)
    assert (gpu["quantity_h"], gpu["unit_usd_per_hour"], gpu["usd"]) == (8.0, 2.5, 20.0)
    assert (fixed["quantity_h"], fixed["unit_usd_per_hour"], fixed["usd"]) == (2.0, 0.5, 1.0)


def test_token_prices_split_the_cost_by_step_time() -> None:
    cost = token_cost(40.0, COUNTERS)
    assert (cost.prompt_usd, cost.output_usd) == (10.0, 30.0)
    assert prices(split_usd(80.0, [cost, cost], 4_000_000, 1_000_000), 80.0, 4_000_000, 1_000_000) == {
        "usd_per_million_input_tokens": 5.0,
        "usd_per_million_output_tokens": 60.0,
        "usd_per_million_output_tokens_all_in": 80.0,
    }
    only = prices(split_usd(40.0, [cost], 1_000_000, 0), 40.0, 1_000_000, 0)
    assert list(only.values()) == [40.0, None, None]
    idle = split_usd(120.0, [cost, cost, TokenCost(0.0, 0.0)], n_prompt=4_000_000, n_output=1_000_000)
    assert idle.prompt_usd + idle.output_usd == 120.0


def prices(part: TokenCost, usd: float, n_prompt: int, n_output: int) -> dict[str, Any]:
    """The three prices of a million tokens."""
    facts = {"usd": usd, **part._asdict(), "tokens_in": n_prompt, "tokens_out": n_output}
    names = [
        f"usd_per_million_{tokens}" for tokens in ("input_tokens", "output_tokens", "output_tokens_all_in")
    ]
    return {name: measure(name).value(facts) for name in names}


def test_lines_sum_to_usd_and_pools_to_the_fleet() -> None:
    scenario, result = two_pools(*spiky_run(n=1000))
    summary = summarize(scenario, result)
    assert sum(line["usd"] for line in summary["usd_lines"]) == pytest.approx(summary["usd"])
    for name in ("usd", "run_usd", "gpu_seconds", "cold_starts", "replicas_mean"):
        assert sum(pool[name] for pool in summary["pools"].values()) == pytest.approx(summary[name]), name
    gpu_hours = result.pools[0]["gpu_ps"] / HOUR_PS
    assert summary["usd"] == pytest.approx(gpu_hours * 3.6 + 2 * gpu_hours * 1.8)
    assert summary["usd_per_hour"] == pytest.approx(summary["usd"])  # the window is one hour


def test_usd_per_hour_is_of_the_measured_window() -> None:
    scenario, result = spiky_run(n=1000)
    half = summarize(replace(scenario, warmup_s=1800.0), result)
    assert half["usd_per_hour"] == pytest.approx(2 * half["usd"])
    assert half["offered_per_s"] == half["offered"] / 1800


def test_every_request_has_one_fate_in_the_fleet_and_in_each_class() -> None:
    scenario, result = spiky_run(n=2000, lost=0.1)
    rows = {**result.requests, "class_id": np.arange(2000, dtype=np.int32) % 2}
    hist, sums, counts = measured(rows, n_class=2)
    scenario = replace(scenario, classes=(FakeClass("chat"), FakeClass("code")))
    summary = summarize(scenario, result._replace(hist=hist, sums=sums, counts=counts))
    fates = ("completed", "rejected", "timed_out", "failed", "inside")
    for section in (summary, *summary["classes"].values()):
        assert section["offered"] == sum(section[fate] for fate in fates)
        assert section["served_fraction"] == section["completed"] / section["offered"]
    for name in ("offered", "goodput", *fates):
        assert summary[name] == sum(section[name] for section in summary["classes"].values())
    assert summary["classes"]["chat"]["ttft"] != summary["classes"]["code"]["ttft"]


@pytest.mark.parametrize(("n_missed", "attainment"), [(10, 90 / 110), (4, 90 / 104), (0, 90 / 100)])
def test_still_inside_is_a_miss_only_where_an_objective_is_out_of_reach(
    n_missed: int, attainment: float
) -> None:
    scenario, result = spiky_run(n=110)
    fates = {"offered": 110, "completed": 100, "inside": 10, "inside_missed": n_missed, "met": 90}
    result.counts.update({name: np.array([n, n]) for name, n in fates.items()})
    assert summarize(scenario, result)["slo_attainment"] == pytest.approx(attainment)


def test_summary_does_not_need_the_requests() -> None:
    scenario, result = spiky_run(n=500, lost=0.1)
    assert summarize(scenario, without_requests(result)) == summarize(scenario, result)


def test_a_run_without_a_single_request_has_nothing_to_say() -> None:
    scenario, result = spiky_run(n=10)
    nothing = result._replace(
        hist=result.hist * 0,
        sums={name: [0, 0] for name in RESULT_METRICS},
        counts={name: column * 0 for name, column in result.counts.items()},
    )
    summary = summarize(scenario, nothing)
    assert summary["ttft"]["p99_s"] is None
    assert summary["served_fraction"] is None
    assert summary["slo_attainment"] is None
    assert summary["usd"] > 0


def test_utilisations_by_hand() -> None:
    counters = {
        "serving_ps": 100 * PS,
        "busy_ps": 50 * PS,
        "slot_ps": 800 * PS,
        "max_num_seqs": 16,
        "prefill_tokens": 1000,
        "decode_tokens": 500,
        "kv_read_tokens": 10_000,
        "steps": 600,
    }
    table = simple_table(16, 1000, 1, 10, 100)._replace(
        flops_per_token=2e9,
        flops_per_attended_token=1e5,
        weight_bytes=1e9,
        kv_bytes_per_token=1e5,
        peak_flops=1e12,
        peak_bytes_per_s=1e11,
    )
    found = used_parts([counters], [table])
    assert measure("step_busy").value(found) == 0.5
    assert measure("slot_use").value(found) == 800 / (100 * 16)
    assert measure("mfu").value(found) == pytest.approx((1500 * 2e9 + 10_000 * 1e5) / (1e12 * 100))
    assert measure("bandwidth_use").value(found) == pytest.approx((600 * 1e9 + 10_000 * 1e5) / (1e11 * 100))
    assert measure("step_busy").value(used_parts([{**counters, "serving_ps": 0}], [table])) is None
    assert measure("mfu").value(used_parts([counters], [None])) is None
    assert measure("mfu").value({**found, "flops": 2 * found["peak_flops"]}) is None  # faster than can be


def test_kv_use_is_the_mean_over_samples_with_a_ready_replica_in_the_window() -> None:
    samples: dict[str, Any] = {
        "time_ps": np.array([0, 0, 1, 1, 2, 2, 3, 3]),
        "pool_id": np.array([0, 1] * 4),
        "kv_blocks_used": np.array([9, 9, 1, 1, 0, 0, 3, 0]),
        "kv_blocks_total": np.array([10, 10, 2, 6, 0, 0, 4, 0]),
    }
    both, second = (
        at_each_time(samples, pools, ("kv_blocks_used", "kv_blocks_total")) for pools in ([0, 1], [1])
    )
    assert kv_use(both, (1, 9)) == pytest.approx((2 / 8 + 3 / 4) / 2)
    assert kv_use(second, (1, 9)) == pytest.approx(1 / 6)
    assert kv_use(second, (2, 9)) is None


def test_samples_in_any_order_are_summed_by_time() -> None:
    samples = {
        "time_ps": np.array([0, 1, 2, 0, 1, 2]),
        "pool_id": np.array([0, 0, 0, 1, 1, 1]),
        "ready": np.array([1, 2, 3, 10, 20, 30]),
    }
    found = at_each_time(samples, [0, 1], ("ready",))
    assert [column.tolist() for column in found.values()] == [[0, 1, 2], [11, 22, 33]]
    assert at_each_time(samples, [1], ("ready",))["ready"].tolist() == [10, 20, 30]
    assert at_each_time(samples, [7], ("ready",))["ready"].tolist() == []


def test_replicas_are_means_over_the_window_and_largest_sums() -> None:
    scenario, result = two_pools(*spiky_run(n=1000))
    summary = summarize(scenario, result)
    alone = summary["pools"]["main"]
    assert alone["replicas_mean"] == pytest.approx(result.pools[0]["billed_ps"] / HOUR_PS)
    assert alone["replicas_ready_max"] == result.samples["ready"].max()
    assert summary["replicas_wanted_max"] == 2 * alone["replicas_wanted_max"]


def test_heading_says_what_was_run() -> None:
    scenario, result = spiky_run(n=10)
    summary = summarize(scenario, result._replace(digest=10), engine="cpu")
    assert summary["digest"] == "000000000000000a"
    assert summary["engine"] == "cpu"
    assert summary["scenario"] == FakeScenario().name
