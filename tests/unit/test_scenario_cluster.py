"""Clusters of the catalogue, of a file and of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.completion import candidates
from sim.errors import InputError
from sim.scenario.build import from_dict
from sim.scenario.cluster import Cluster
from sim.scenario.compose import load_scenario
from sim.scenario.resolved import resolved

FILE = """
question: Does it fit?
cluster:
  placement: first_fit
  node_groups:
    - {name: mine, gpu: h100, gpus: 4, min_nodes: 1, max_nodes: 3}
    - name: own
      gpu: {name: A GPU of mine, memory_gb: 48, memory_bw_gb_s: 900, dense_bf16_tflops: 200, usd_per_hour: 0.5}
      gpus: 2
"""


@pytest.fixture
def story(tmp_path: Path) -> str:
    """A file with a cluster of its own."""
    path = tmp_path / "story.yaml"
    path.write_text(FILE)
    return str(path)


def test_nothing_is_short_unless_somebody_says_so() -> None:
    assert load_scenario("first_run").cluster == Cluster(source="an assumption: GPUs are never short")
    assert not load_scenario("first_run").cluster.is_limited


def test_a_group_names_its_gpu_or_describes_it(story: str) -> None:
    mine, own = load_scenario(story).cluster.node_groups
    assert mine.gpu == load_scenario("first_run", ["gpu=h100"]).pools[0].gpu
    assert own.gpu.name == "A GPU of mine"
    assert (mine.nodes_at_start, own.nodes_at_start) == (1, 0)
    assert (mine.usd_per_hour, own.usd_per_hour) == (4 * mine.gpu.usd_per_hour, 1.0)


def test_overrides_reach_into_a_group(story: str) -> None:
    words = [
        "cluster.node_groups.0.max_nodes=2",
        "cluster.node_groups.1.gpu=l4",
        "cluster.node_groups.0.gpu.tdp_w=600",
    ]
    mine, other = load_scenario(story, words).cluster.node_groups
    assert (mine.max_nodes, mine.gpu.tdp_w, other.gpu.name) == (2, 600, "L4 24 GB")


def test_a_cluster_that_is_chosen_stands_in_the_place_of_the_files(story: str) -> None:
    assert not load_scenario(story, ["cluster=unlimited"]).cluster.is_limited
    chosen = load_scenario(story, ["cluster=one_dgx_h100"]).cluster
    assert [group.name for group in chosen.node_groups] == ["dgx"]
    assert chosen.placement == "best_fit"


def test_what_was_resolved_reads_back(story: str) -> None:
    scenario = load_scenario(story, ["cluster.node_groups.0.mig=whole"])
    assert from_dict(resolved(scenario)) == scenario


def test_stages_of_a_node_may_be_anything_that_is_drawn(story: str) -> None:
    words = [
        "cluster.node_groups.0.provision={provisioning: 60, booting: {kind: exponential, mean: 30}, driver: 0}"
    ]
    stages = load_scenario(story, words).cluster.node_groups[0].provision
    assert (stages.provisioning.kind, stages.booting.kind, stages.driver.value) == (
        "constant",
        "exponential",
        0,
    )


def test_keys_are_completed() -> None:
    assert {"cluster=one_dgx_h100", "cluster=unlimited"} <= set(candidates(["run", "first_run", "cluster="]))
    assert candidates(["run", "first_run", "cluster.nod"]) == ["cluster.node_groups="]
    assert candidates(["run", "first_run", "cluster.node_groups.0.max"]) == [
        "cluster.node_groups.0.max_nodes="
    ]
    assert "cluster.node_groups.1.market=spot" in candidates(
        ["run", "first_run", "cluster.node_groups.1.market="]
    )
    assert candidates(["run", "first_run", "cluster.placement=first"]) == ["cluster.placement=first_fit"]
    assert candidates(["run", "first_run", "pool.sli"]) == ["pool.slice="]


def test_the_same_mistake_is_told_once_with_the_pools_own_key() -> None:
    with pytest.raises(InputError) as refused:
        load_scenario("two_models", ["cluster=one_dgx_h100", "pool.slice=1g.10gb"])
    assert len(refused.value.problems) == len(set(refused.value.problems))
    assert all(line.startswith(("pool.slice", "pools.", "gpu")) for line in refused.value.problems)


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        ("{}", "one of min_available and max_unavailable"),
        ("{min_available: 1, max_unavailable: 1}", "one of min_available and max_unavailable"),
        ("{min_available: 101%}", "a percentage as 25%"),
        ("{max_unavailable: -1}", "a count as 1"),
        ("{max_missing: 1}", "max_unavailable"),
    ],
)
def test_each_mistake_in_a_disruption_budget_is_one_line(budget: str, says: str) -> None:
    with pytest.raises(InputError) as raised:
        load_scenario("spiky_hour", ["cluster=one_dgx_h100", f"pool.disruption_budget={budget}"])
    assert all(
        line.startswith("pool") and says in line.replace("allowed: min_available, ", "")
        for line in raised.value.problems
    )


def test_a_drain_has_no_outage() -> None:
    words = "faults=[{at_s: 60, node_group: dgx, drains: true, outage_s: 5}]"
    with pytest.raises(InputError) as raised:
        load_scenario("spiky_hour", ["cluster=one_dgx_h100", words])
    assert raised.value.problems[0].startswith("faults.0.outage_s: 5")
