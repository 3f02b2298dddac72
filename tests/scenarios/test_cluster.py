"""What a cluster does to a story: nothing where there is room, waits where there is none."""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc
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


@pytest.mark.parametrize("placement", ["first_fit", "best_fit", "least_allocated", "fgd"])
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


def test_lines_sum_to_the_nodes_bill_where_groups_cost_differently() -> None:
    found = summary(
        "spiky_hour", "output.records=false", "cluster=spot_and_on_demand", "coldstart=object_store"
    )
    bill = sum(group["usd"] for group in found["node_groups"].values())
    assert found["usd"] == pytest.approx(bill)
    assert sum(line["usd"] for line in found["usd_lines"]) == pytest.approx(bill)


def test_starts_are_shorter_where_their_node_has_the_image_and_the_weights() -> None:
    words = ("spiky_hour", "output.records=false", "cluster=one_dgx_h100", "coldstart=object_store")
    found = {gb: stages(summary(*words, f"cluster.node_groups.0.cache_gb={gb}")) for gb in (0, 30_720)}
    assert found[0]["unpack"] > 200
    assert found[30_720]["image"] == found[30_720]["unpack"] == 0
    assert found[30_720]["weights"] == pytest.approx(16.06 / 1.8, rel=0.02)  # read from the node's disks
    assert found[0]["weights"] > 25


def test_seven_small_models_share_one_gpu() -> None:
    one = "cluster.node_groups=[{name: one, gpu: a100_80, gpus: 1, min_nodes: 1, max_nodes: 1, mig: all-1g.10gb}]"
    words = ["gpu=a100_80", "pool.slice=1g.10gb", "pool.initial_replicas=7", "pool.max_replicas=7", one]
    found = summary("embedding_service", *words, "autoscaler=fixed", "duration_s=60")
    pool = found["pools"]["main"]
    assert pool["gpu"] == "A100 SXM 80 GB (1g.10gb)"
    line, free = found["usd_lines"]
    assert line["unit_usd_per_hour"] == pytest.approx(2.25 / 8)
    assert line["quantity_h"] == pytest.approx(7 * 60 / 3600)
    assert free["usd"] + line["usd"] == pytest.approx(2.25 / 60) == found["usd"]
    assert free["line"] == "fragmented", "no instance fits into what is left of the memory"


SCARCE = (
    "cluster.node_groups=[{name: few, gpu: h100, gpus: 4, min_nodes: 1, max_nodes: 3, usd_per_node_hour: 20}]"
)


def test_every_second_of_every_node_is_in_one_line_of_the_bill() -> None:
    found = run("spiky_hour", ["coldstart=local_nvme", SCARCE])
    group = found.summary["node_groups"]["few"]
    parts = [group[f"usd_{name}"] for name in ("used", "free", "fragmented", "not_ready", "unused")]
    assert all(part >= 0 for part in parts)
    assert sum(parts) == pytest.approx(group["usd"])
    assert group["usd"] == pytest.approx(20 * group["nodes_mean"])
    held, *idle = found.summary["usd_lines"]
    assert {line["line"] for line in idle} == {"free", "not_ready"}
    assert found.summary["usd"] == pytest.approx(group["usd"])
    assert sum(line["usd"] for line in found.summary["usd_lines"]) == pytest.approx(found.summary["usd"])
    classes = sum(one["usd"] for one in found.summary["classes"].values())
    assert found.summary["usd_idle"] == pytest.approx(found.summary["usd"] - classes)
    assert group["usd_used"] == pytest.approx(20 / 4 * held["quantity_h"], rel=1e-6)
    assert found.nodes["usd"].to_numpy().sum() == pytest.approx(group["usd"], rel=0.01)


def test_events_say_who_waited_and_what_came_of_it() -> None:
    found = run("spiky_hour", ["coldstart=local_nvme", SCARCE])
    events = found.events.to_pylist()
    assert [row["time_ps"] for row in events] == sorted(row["time_ps"] for row in events)
    placed = [row["waited_s"] for row in events if row["event"] == "replica_placed"]
    waits = found.summary["slice_waits"]["main"]
    assert sum(placed) == pytest.approx(waits["run_wait_s"])
    assert max(placed) == pytest.approx(waits["run_wait_max_s"])
    assert waits["run_wait_max_s"] > 60, "as long as a node takes"
    asked = [row for row in events if row["event"] == "node_requested"]
    assert len(asked) == found.summary["node_groups"]["few"]["run_requested"] > 0
    assert {row["node_group"] for row in asked} == {"few"}


def test_why_tells_waits_for_gpus_from_the_stages_of_a_start() -> None:
    from sim.report.why import start_waits

    window = "no_capacity: {retry_s: 60, windows: [{from_s: 0, to_s: 2400}]}"
    dry = SCARCE.replace("max_nodes: 3,", f"max_nodes: 3, {window},")
    (line,) = start_waits(summary(*SPIKE, dry))
    assert line.startswith("cold starts of main waited for GPUs ")
    assert "the provider had no node" in line
    assert "weights" in line
    assert start_waits(summary(*SPIKE, ROOM)) == []
    assert start_waits(summary(*SPIKE)) == []


def test_a_drought_is_refused_and_waited_out() -> None:
    window = "no_capacity: {retry_s: 60, windows: [{from_s: 0, to_s: 2400}]}"
    words = ["coldstart=local_nvme", SCARCE.replace("max_nodes: 3,", f"max_nodes: 3, {window},")]
    dry, wet = run("spiky_hour", words).summary, run("spiky_hour", ["coldstart=local_nvme", SCARCE]).summary
    assert dry["node_groups"]["few"]["run_refused"] > 5
    assert wet["node_groups"]["few"]["run_refused"] == 0
    assert dry["slice_waits"]["main"]["run_wait_max_s"] > 600
    assert dry["ttft"]["p99_s"] > wet["ttft"]["p99_s"]


def test_a_zone_that_is_lost_takes_its_nodes_and_replicas() -> None:
    words = [
        "coldstart=local_nvme",
        "cluster=three_zones",
        "faults=[{at_s: 1200, zone: zone_a, outage_s: 600}]",
    ]
    found = run("spiky_hour", words)
    assert found.summary["node_groups"]["h100_a"]["run_lost"] == 1
    lost = [row for row in found.events.to_pylist() if row["event"] == "node_lost"]
    assert [(row["node_group"], row["time_s"]) for row in lost] == [("h100_a", 1200.0)]


def test_spot_nodes_that_are_told_hand_over_what_they_can() -> None:
    """Losses strike at the same instants with and without a notice; with one, ready replicas finish what they hold."""
    every = "cluster.random_faults=[{node_group: big, nodes: 2, gap: 400, outage: 0, notice_s: NOTICE}]"
    big = "cluster.node_groups=[{name: big, gpu: h100, gpus: 1, min_nodes: 12, max_nodes: 16, market: spot}]"
    found = {
        notice: run("spiky_hour", ["coldstart=local_nvme", big, every.replace("NOTICE", str(notice))])
        for notice in (0, 60)
    }
    for one in found.values():
        assert one.summary["node_groups"]["big"]["run_lost"] > 4
    failed = {notice: one.summary["failed"] for notice, one in found.items()}
    assert failed[60] < failed[0]


def test_seven_models_on_one_gpu_cost_a_seventh_and_slices_that_stay_empty_cost_more() -> None:
    def found(*words: str) -> tuple[dict[str, Any], float]:
        one = summary("mig_packing", "output.records=false", *words)
        assert one["usd"] == pytest.approx(sum(group["usd"] for group in one["node_groups"].values()))
        return one, one["usd"]

    cut, cut_usd = found()
    whole, whole_usd = found("pool.slice=null")
    eight = ("cluster.node_groups.0.gpus=8", "cluster.node_groups.0.usd_per_node_hour=40.56")
    _, empty_usd = found(*eight)
    assert whole_usd == pytest.approx(7 * cut_usd, rel=0.01)
    assert empty_usd > 1.1 * whole_usd
    assert all(verdict["ok"] for one in (cut, whole) for verdict in one["verdicts"])
    assert 4 < cut["tpot"]["p50_s"] / whole["tpot"]["p50_s"] < 8, (
        "an eighth of the bandwidth, and overheads that stay"
    )
    assert cut["e2e"]["p99_s"] > 4 * whole["e2e"]["p99_s"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_models_that_sleep_on_their_node_share_few_gpus_and_those_that_are_loaded_anew_do_not(
    seed: int,
) -> None:
    def median_s(*words: str) -> float:
        return float(summary("scale_to_zero_fleet", f"seed={seed}", *words)["ttft"]["p50_s"])

    asleep = median_s()
    assert asleep < 4
    assert 3 * asleep < median_s("coldstart=snapshot") < 20
    assert 20 * asleep < median_s("coldstart=local_nvme")
    assert 10 * asleep < median_s("cluster.node_groups.0.cache_gb=200"), (
        "their weights are read from disk again"
    )


APART = ("pools.chat.slice=4g.40gb", "pools.summaries.slice=3g.40gb")
ALL_OF_IT = tuple(f"pools.{name}.runtime.gpu_memory_utilization=0.9" for name in ("chat", "summaries"))


def test_a_noisy_neighbour_costs_the_tail_and_saves_a_gpu_and_mig_costs_every_token() -> None:
    found = {
        name: summary("noisy_neighbour", "output.records=false", *words)
        for name, words in {
            "turns": (),
            "mps": ("cluster.node_groups.0.sharing={time_slicing: null, mps: {replicas: 2}}",),
            "mig": (*APART, *ALL_OF_IT),
            "whole": ("pool.slice=null",),
        }.items()
    }
    tpot = {name: one["classes"]["chat"]["tpot"] for name, one in found.items()}
    for name in ("turns", "mps", "mig"):
        assert found[name]["usd"] == pytest.approx(found["whole"]["usd"] / 2, rel=0.02)
    assert tpot["turns"]["p50_s"] < 1.1 * tpot["whole"]["p50_s"]
    assert 2 < tpot["turns"]["p99_s"] / tpot["whole"]["p99_s"] < 3
    assert tpot["whole"]["p99_s"] < tpot["mps"]["p99_s"] < tpot["turns"]["p99_s"]
    assert 2 < tpot["mig"]["p50_s"] / tpot["whole"]["p50_s"] < 2.4
    waits = {name: one["classes"]["documents"]["e2e"]["p50_s"] for name, one in found.items()}
    assert 1.9 < waits["turns"] / waits["whole"] < 2.2


def test_why_names_the_neighbour() -> None:
    one = run("noisy_neighbour", ["duration_s=1500"])
    rows = one.requests.filter(pc.equal(one.requests["class"].cast("string"), "chat"))
    lost = pc.sum(rows["blame_stream_neighbour_ps"]).as_py()
    assert lost > 0.05 * pc.sum(rows["blame_stream_decode_ps"]).as_py()
    alone = run("noisy_neighbour", ["duration_s=1500", "pool.slice=null"]).requests
    assert pc.max(alone["blame_neighbour_ps"]).as_py() == 0
    assert pc.max(alone["blame_stream_neighbour_ps"]).as_py() == 0
