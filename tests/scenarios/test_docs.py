"""The documentation's examples are run as they stand: Python blocks page by page, and the scenario of the CI recipe."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import sim
from tests.hostile.drive import fleetsim

REPO = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(python|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"\A# (\S+\.(?:py|yaml))\n")
OPTIONAL = ("pandas", "polars", "duckdb")
SLOW = pytest.mark.slow  # thousands of runs


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a page in a language, in order."""
    text = (REPO / page).read_text(encoding="utf-8")
    return [body for kind, body in BLOCK.findall(text) if kind == language]


def lacks(body: str) -> list[str]:
    """The optional packages that a block imports and that are not here."""
    from importlib.util import find_spec

    return [
        name
        for name in OPTIONAL
        if re.search(rf"^import .*\b{name}\b", body, re.MULTILINE) and not find_spec(name)
    ]


@pytest.mark.parametrize(
    "page",
    [
        "docs/python.md",
        "docs/autoscalers.md",
        "docs/cluster.md",
        "docs/placement.md",
        pytest.param("docs/deployments.md", marks=SLOW),
        pytest.param("README.md", marks=SLOW),
        pytest.param("docs/studies.md", marks=SLOW),
        pytest.param("docs/answers.md", marks=SLOW),
    ],
)
def test_python_blocks_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a page share their names; one that begins with a file's name is that file, and is used as a policy."""
    monkeypatch.chdir(tmp_path)
    found = blocks(page, "python")
    assert found
    if page == "docs/studies.md":
        sim.study("spiky_policies")
    names: dict[str, Any] = {}
    for number, body in enumerate(found, 1):
        if named := NAMED.match(body):
            (tmp_path / named[1]).write_text(body)
            if "def place" in body:
                words = ["cluster=one_dgx_h100", f"cluster.law={named[1]}:place"]
            else:
                words = [f"autoscaler.law={named[1]}:{'make' if 'def make' in body else 'desired'}"]
            run = sim.run("first_run", ["duration_s=60", *words])
            assert run.summary["completed"] > 0
        elif not lacks(body):
            exec(compile(body, f"{page} block {number}", "exec"), names)


def test_tables_of_a_page_show_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for body in blocks("docs/python.md", "python"):
        if "fleet" not in body:
            exec(compile(body, "docs/python.md", "exec"), names)
    for name in ("run", "both", "results"):
        assert names[name]._repr_html_().startswith("<div>")


def test_the_scenario_of_the_recipe_keeps_its_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    body = next(body for body in blocks("docs/ci.md", "yaml") if NAMED.match(body))
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "chat.yaml").write_text(body)
    answer = fleetsim(
        "check", "scenarios/chat.yaml", "seed=1..3", "--junit", "junit.xml", "--markdown", "comment.md"
    )
    assert answer.code == 0, answer.out + answer.err
    assert (tmp_path / "junit.xml").is_file()


def test_recipes_are_yaml_and_call_what_there_is() -> None:
    recipes = [yaml.safe_load(body) for body in blocks("docs/ci.md", "yaml")]
    assert len(recipes) == 3
    text = (REPO / "docs" / "ci.md").read_text(encoding="utf-8")
    options = set(re.findall(r"--[a-z]+", " ".join(re.findall(r"fleetsim check .*", text))))
    assert options == {"--junit", "--json", "--markdown"}
