"""Everything in conf/ and scenarios/ composes and is valid."""

from __future__ import annotations

import pytest

from sim.errors import InputError
from sim.scenario.build import from_dict
from sim.scenario.catalogue import GROUPS, catalogue, conf_dir, scenario_files, yaml_files
from sim.scenario.compose import load_scenario
from sim.scenario.resolved import resolved
from sim.scenario.slo import parse_slo
from sim.scenario.yaml_file import read_yaml

OPTIONS = [(group, name) for group in GROUPS for name in yaml_files(conf_dir() / group)]
NEEDS = {
    ("autoscaler", "user"): ["autoscaler.law=policy.py:desired"],
    ("model", "embedding_300m"): ["traffic=embedding"],
    ("traffic", "embedding"): ["model=embedding_300m"],
    ("cluster", "edge_l4"): ["gpu=l4"],
    ("cluster", "mig_a100_pool"): ["gpu=a100_80", "pool.slice=3g.40gb"],
    ("router", "prefix_aware"): ["runtime=vllm_prefix_cache"],
}
PLACES = {"station": ("station@gateway.stations.some", ["traffic.after=[some]"])}


def test_every_group_of_conf_is_known_and_has_options() -> None:
    folders = {path.name for path in conf_dir().iterdir() if path.is_dir()}
    assert folders == {*GROUPS, "kernels", "mig", "billing"}  # tables of GPUs and providers, no options
    assert all(yaml_files(conf_dir() / group) for group in GROUPS)


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_option_composes(group: str, option: str) -> None:
    key, more = PLACES.get(group, (group, []))
    scenario = load_scenario("first_run", [f"{key}={option}", *more, *NEEDS.get((group, option), [])])
    assert from_dict(resolved(scenario)) == scenario


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_packaged_option_is_data_like_a_users(group: str, option: str) -> None:
    path = conf_dir() / group / f"{option}.yaml"
    assert read_yaml(path)
    assert catalogue(group)[group][option], "its first comment line says what it is"


@pytest.mark.parametrize("name", list(scenario_files()))
def test_scenario_loads_and_says_what_it_asks(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    assert scenario.question.endswith("?")
    assert scenario.look_at
    classes = [entry.name for entry in scenario.classes]
    assert all(parse_slo(text, classes) for text in scenario.slo)


@pytest.mark.parametrize("name", list(scenario_files()))
def test_resolved_form_reads_back_as_the_same_scenario(name: str) -> None:
    scenario = load_scenario(name)
    assert from_dict(resolved(scenario)) == scenario


@pytest.mark.parametrize(
    "group", ["gpu", "model", "coldstart", "autoscaler", "runtime", "price", "station", "cluster"]
)
def test_numbers_have_their_source_beside_them(group: str) -> None:
    for name, path in yaml_files(conf_dir() / group).items():
        assert read_yaml(path).get("source"), f"{group}/{name} names no source"


def test_cold_start_stages_each_have_a_source() -> None:
    for path in yaml_files(conf_dir() / "coldstart").values():
        assert all(stage.get("source") for stage in read_yaml(path)["stages"])


def test_unknown_group_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"autoscalr: no such group.*did you mean 'autoscaler'"):
        catalogue("autoscalr")
