"""What a cluster does to a story: nothing where there is room, waits where there is none."""

from __future__ import annotations

from typing import Any

import pytest

from sim.api import run

ROOM = "cluster.node_groups=[{name: big, gpu: h100, gpus: 8, min_nodes: 40, max_nodes: 40}]"
SPIKE = ("spiky_hour", "output.records=false", "coldstart=local_nvme")


def summary(name: str, *overrides: str) -> dict[str, Any]:
    """The summary of a scenario."""
    return run(name, list(overrides)).summary


def stages(found: dict[str, Any]) -> dict[str, Any]:
    """The mean seconds of each stage of the main pool's cold starts."""
    return found["pools"]["main"]["cold_start"]["stages"]


@pytest.mark.parametrize("placement", ["first_fit", "best_fit", "least_allocated", "most_allocated"])
def test_where_there_is_room_for_all_a_cluster_changes_nothing(placement: str) -> None:
    without = summary(*SPIKE)
    within = summary(*SPIKE, ROOM, f"cluster.placement={placement}")
    assert without["pools"]["main"]["cold_starts"] > 0
    for name in ("ttft", "e2e", "completed", "slo_attainment"):
        assert within[name] == without[name], name
    assert stages(within) == stages(without)


def test_a_replica_that_finds_no_gpu_waits_and_so_do_its_requests() -> None:
    few = "cluster.node_groups=[{name: few, gpu: h100, gpus: 3, min_nodes: 1, max_nodes: 1}]"
    scarce, plenty = summary(*SPIKE, few), summary(*SPIKE, ROOM)
    assert scarce["ttft"]["p99_s"] > 2 * plenty["ttft"]["p99_s"]


def test_a_nodes_stages_stand_in_the_place_of_a_starts_provision() -> None:
    words = ("spiky_hour", "output.records=false", "coldstart=object_store")
    alone = summary(*words)
    assert stages(alone)["provision"] > 60
    assert stages(summary(*words, ROOM))["provision"] == 0


def test_seven_small_models_share_one_gpu() -> None:
    one = "cluster.node_groups=[{name: one, gpu: a100_80, gpus: 1, min_nodes: 1, max_nodes: 1, mig: all-1g.10gb}]"
    words = ["gpu=a100_80", "pool.slice=1g.10gb", "pool.initial_replicas=7", "pool.max_replicas=7", one]
    found = summary("embedding_service", *words, "autoscaler=fixed", "duration_s=60")
    pool = found["pools"]["main"]
    assert pool["gpu"] == "A100 SXM 80 GB (1g.10gb)"
    (line,) = found["usd_lines"]
    assert line["unit_usd_per_hour"] == pytest.approx(2.25 / 8)
    assert line["quantity_h"] == pytest.approx(7 * 60 / 3600)
