"""What faults that last for a while do to a story."""

from __future__ import annotations

from typing import Any

import pytest

from sim.api import run


def summary(name: str, *overrides: str) -> dict[str, Any]:
    """The summary of a scenario."""
    return run(name, ["output.records=false", *overrides]).summary


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_router_that_looks_at_load_outlasts_a_brown_out(seed: int) -> None:
    kept = summary("brown_out", f"seed={seed}")
    missed = summary("brown_out", f"seed={seed}", "router=round_robin")
    assert kept["slo_attainment"] > 0.999
    assert missed["slo_attainment"] < 0.91
    assert missed["e2e"]["p99_s"] > 2 * kept["e2e"]["p99_s"]
    assert kept["pools"]["main"]["cold_starts"] == 0, "slow replicas look healthy"


def test_starts_wait_for_a_store_that_is_down() -> None:
    words = ("spiky_hour", "coldstart=object_store", "links=[{name: S3, bandwidth_gb_s: 100}]")
    assert summary(*words)["pools"]["main"]["cold_start"]["median_s"] > 0
    down = summary(*words, "faults=[{kind: slow_link, link: S3, factor: 0, at_s: 1, lasts: 7200}]")
    assert down["pools"]["main"]["cold_starts"] > 0
    assert down["pools"]["main"]["cold_start"] is None, "none ended"


def test_nvlink_strikes_only_replicas_on_several_gpus() -> None:
    fault = "faults=[{kind: nvlink, factor: 3, at_s: 1, lasts: 100}]"
    words = ("first_run", "duration_s=100")
    assert (
        summary(*words, "pool.tp=2", fault)["tpot"]["p50_s"]
        > 2 * summary(*words, "pool.tp=2")["tpot"]["p50_s"]
    )


def test_a_hang_costs_more_than_a_crash_and_neither_a_cold_start() -> None:
    words = ("first_run", "duration_s=120", "coldstart=object_store")
    crashed, hung = (summary(*words, f"faults=[{{kind: {kind}, at_s: 30}}]") for kind in ("crash", "hang"))
    assert hung["failed"] > crashed["failed"] > 0, "more is sent there until its health check finds it"
    assert crashed["pools"]["main"]["cold_starts"] == hung["pools"]["main"]["cold_starts"] == 0
