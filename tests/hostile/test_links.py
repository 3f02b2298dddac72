"""Links that make no sense are refused in one line that names the key."""

from __future__ import annotations

import pytest

from sim.errors import InputError
from sim.scenario.compose import load_scenario


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
