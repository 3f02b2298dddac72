"""What docs/scenarios.md, docs/traffic.md, the cluster's pages and the stories show works as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from sim.cli import seeds_and_rest
from sim.scenario.compose import load_scenario, variants
from sim.scenario.slo import parse_slo

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
TEXT = (DOCS / "scenarios.md").read_text()
TRAFFIC = (DOCS / "traffic.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = re.findall(r"^    fleetsim (?:run|compare) (.+)$", TEXT, re.MULTILINE)
TRAFFIC_BLOCKS = re.findall(r"```yaml\n(.*?)```", TRAFFIC, re.DOTALL)
TRAFFIC_COMMANDS = re.findall(r"^    fleetsim (?:run|compare) (.+)$", TRAFFIC, re.MULTILINE)
CLUSTER_COMMANDS = [
    command
    for page in ("cluster", "cold-starts", "deployments")
    for command in re.findall(
        r"^    fleetsim (?:run|compare) (.+)$", (DOCS / f"{page}.md").read_text(), re.MULTILINE
    )
]
STORY_COMMANDS = [  # what a story suggests to try; two blanks end a command
    command
    for path in sorted((ROOT / "scenarios").glob("*.yaml"))
    for command in re.findall(r"^# fleetsim (?:run|compare) (.+?)(?:  .*)?$", path.read_text(), re.MULTILINE)
]
LIMITS = re.findall(r"^    ([a-z.0-9_]+ (?:<|>=) [0-9.]+ ?[a-z%]*)", TEXT, re.MULTILINE)


@pytest.mark.parametrize("block", BLOCKS)
def test_example_file(block: str, tmp_path: Path) -> None:
    path = tmp_path / "example.yaml"
    path.write_text(block)
    if "model@pools" in block:
        pools = {pool.name: pool for pool in load_scenario(str(path), ["traffic.model=llama_3_1_8b"]).pools}
        assert (pools["chat"].max_replicas, pools["code"].tp) == (8, 2)
    else:
        assert load_scenario(str(path)).question == "Do four L40S carry Monday morning?"


@pytest.mark.parametrize("block", TRAFFIC_BLOCKS)
def test_example_of_what_stands_around_the_gpu(block: str, tmp_path: Path) -> None:
    path = tmp_path / "example.yaml"
    path.write_text(block)
    scenario = load_scenario(str(path))
    stations = {name: station.workers for name, station in scenario.gateway.stations.items()}
    assert stations == {"tokeniser": 4, "check": 16, "lookup": 2}
    assert [visit.station for visit in scenario.classes[0].before] == ["tokeniser", "lookup"]


@pytest.mark.parametrize("command", [*COMMANDS, *TRAFFIC_COMMANDS, *CLUSTER_COMMANDS])
def test_example_command(command: str) -> None:
    name, *words = shlex.split(command)
    seeds, overrides = seeds_and_rest(words)
    assert (seeds is None) == ("seed=1.." not in command)
    for single in variants(overrides).values():
        assert load_scenario(name, single)


@pytest.mark.parametrize("command", STORY_COMMANDS)
def test_command_in_a_story(command: str) -> None:
    name, *words = shlex.split(command)
    for single in variants(words).values():
        assert load_scenario(name, single)


@pytest.mark.parametrize("text", LIMITS)
def test_example_limit(text: str) -> None:
    assert parse_slo(text.strip(), ["chat"])


def test_there_are_examples() -> None:
    assert (len(BLOCKS), len(COMMANDS), len(LIMITS)) == (2, 8, 6)
    assert (len(TRAFFIC_BLOCKS), len(TRAFFIC_COMMANDS)) == (1, 18)
    assert len(CLUSTER_COMMANDS) >= 4
