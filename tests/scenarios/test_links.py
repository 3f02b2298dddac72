"""Replicas that wake off one store: what sharing it costs them, and when it costs nothing."""

from __future__ import annotations

from typing import Any

import pytest

from sim.api import run

NAME = "weights_from_one_store"


def summary(*overrides: str, seed: int = 1) -> dict[str, Any]:
    """The summary of the scenario."""
    return run(NAME, [f"seed={seed}", "output.records=false", *overrides]).summary


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_faster_store_is_what_the_morning_needs(seed: int) -> None:
    slow, fast = (summary(f"links.0.bandwidth_gb_s={gb_s}", seed=seed) for gb_s in (25, 100))
    assert slow["ttft"]["p50_s"] > 60
    assert fast["ttft"]["p50_s"] < 10
    starts = [found["pools"]["main"]["cold_start"]["stages"]["weights"] for found in (slow, fast)]
    assert starts[0] > 4 * starts[1]
    link = slow["links"]["S3"]
    replicas = slow["pools"]["main"]["cold_starts"]
    assert link["run_moved_gb"] == pytest.approx(replicas * 141.1, rel=0.001)
    assert link["run_full_s"] * 25 <= link["run_moved_gb"] * 1.001, (
        "a full link carries what it can, not more"
    )
    assert link["run_busy_s"] >= link["run_moved_gb"] / 25
    assert 0.9 * link["run_busy_s"] < link["run_full_s"] <= link["run_busy_s"]


def test_nodes_that_serve_each_other_end_the_queue() -> None:
    short, hall = ("duration_s=240", "drain_s=60"), "cluster=h100_hall"
    alone, peers = summary(*short, hall), summary(*short, hall, "coldstart.stages.1.peers={seeds: 1}")
    starts = [found["pools"]["main"]["cold_start"]["stages"]["weights"] for found in (alone, peers)]
    assert starts[1] < starts[0] / 2
    served = peers["node_groups"]["hall"]["run_served_gb"]
    assert served == pytest.approx(30 * 141.1, rel=0.001), (
        "two nodes read from the store, one beside the first peer"
    )
    assert peers["links"]["S3"]["run_full_s"] == 0


def test_a_store_without_a_limit_is_as_no_link_at_all() -> None:
    digests = {summary(words)["digest"] for words in ("links.0.bandwidth_gb_s=100000", "links=[]")}
    assert len(digests) == 1


def test_one_replica_alone_does_not_feel_the_store() -> None:
    one = ("pool.max_replicas=1", "traffic.arrivals.rate_per_s=2", "duration_s=300")
    alone, shared = summary(*one, "links=[]"), summary(*one)
    assert shared["digest"] == alone["digest"]
    found = shared["pools"]["main"]["cold_start"]
    for name, seconds in alone["pools"]["main"]["cold_start"]["stages"].items():
        assert found["stages"][name] == pytest.approx(seconds, rel=0.01), name
    assert shared["links"]["S3"]["run_full_s"] == 0


def test_an_uplink_on_the_way_holds_back_too() -> None:
    wide = "links=[{name: S3, bandwidth_gb_s: 1000}, {name: uplink, bandwidth_gb_s: 25}]"
    found = summary(wide, "coldstart.stages.1.also_over=[uplink]")
    assert found["links"]["S3"]["run_full_s"] == 0
    assert found["links"]["uplink"]["run_full_s"] > 100
    assert found["digest"] == summary("links.0.bandwidth_gb_s=25")["digest"]
