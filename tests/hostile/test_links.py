"""Links that make no sense are refused in one line that names the key."""

from __future__ import annotations

import pytest

from sim.errors import InputError
from sim.scenario.compose import load_scenario

PEERS, HALL = "coldstart.stages.1.peers={seeds: 1}", "cluster=h100_hall"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["links=[{name: S4, bandwidth_gb_s: 5}]"], "links.0.name: 'S4'"),
        (["links=[{name: S3, bandwidth_gb_s: 0}]"], "links[0].bandwidth_gb_s: 0"),
        (["links=[{name: S3, bandwidth_gb_s: -1}]"], "links[0].bandwidth_gb_s: -1"),
        (["links=[{name: S3, bandwidth_gb_s: 1e9}]"], "links[0].bandwidth_gb_s"),
        (["links=[{name: S3, bandwidth_gb_s: 5}, {name: S3, bandwidth_gb_s: 5}]"], "links.1.name: 'S3'"),
        (["links=[{name: S3}]"], "links[0].bandwidth_gb_s: is missing"),
        (["links=[{name: S3, bandwith_gb_s: 5}]"], "did you mean 'bandwidth_gb_s'?"),
        (["links=[{name: pcie, bandwidth_gb_s: 5}]"], "links.0.name: 'pcie'"),
        (["links=5"], "links: 5"),
        (["coldstart.stages.1.also_over=[uplink]"], "also_over: 'uplink' is not valid; allowed: links: S3"),
        (["coldstart.stages.1.also_over=[S3]"], "each link once"),
        ([PEERS], "peers: no node keeps what this stage brings; needed: cache_gb above 0 of node groups"),
        ([PEERS, HALL, "cluster.node_groups.0.cache_gb=0"], "needed: cache_gb above 0 of hall"),
        ([PEERS, HALL, "coldstart.stages.1.cached=false"], "needed: cached: true beside it"),
        (
            [PEERS, HALL, "cluster.node_groups.0.nic_gb_s=null"],
            "peers.gb_s: is missing; needed, in GB/s, or nic_gb_s",
        ),
        ([PEERS, HALL, "pool.pp=2"], "gangs on several nodes use no cache"),
        ([PEERS, HALL, "coldstart.stages.1.peers.gb_s=5000"], "in GB/s: no machine is slower or faster"),
        (["coldstart.stages.1.peers={seds: 1}"], "did you mean 'seeds'?"),
        (["coldstart.stages.1.peers={uploads_max: 0}"], "peers.uploads_max: 0"),
        ([HALL, "cluster.node_groups.0.nic_gb_s=0"], "nic_gb_s: 0 is not valid; allowed: a number ≥ 0.001"),
        ([HALL, "coldstart.stages.1.through=nick"], "through: 'nick'"),
        (["coldstart=local_nvme"], "links.0.name: 'S3' is not valid; allowed: what a transfer"),
    ],
)
def test_a_link_that_makes_no_sense_is_refused(words: list[str], told: str) -> None:
    with pytest.raises(InputError) as refused:
        load_scenario("weights_from_one_store", words)
    lines = str(refused.value).splitlines()
    assert any(told in line for line in lines), lines


def test_more_than_a_link_can_be_asked_for_is_refused() -> None:
    from sim.pack.scenario import plan

    scenario = load_scenario("weights_from_one_store", ["coldstart.stages.1.plus_gb=90000"])
    with pytest.raises(InputError, match="over a link"):
        plan(scenario)
