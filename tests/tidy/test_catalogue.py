"""The catalogue says where its numbers are from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tree import REPO

SOURCED = ("gpu", "model", "runtime", "coldstart", "autoscaler", "price", "traffic")
OPTIONS = sorted(path for group in SOURCED for path in (REPO / "conf" / group).glob("*.yaml"))
EVERY = sorted((REPO / "conf").glob("*/*.yaml"))
STORIES = sorted((REPO / "scenarios").glob("*.yaml"))


def name_of(path: Path) -> str:
    """`gpu/h100`."""
    return f"{path.parent.name}/{path.stem}"


def has_numbers(value: Any) -> bool:
    """Whether there is a number anywhere in it."""
    if isinstance(value, dict):
        return any(has_numbers(part) for part in value.values())
    if isinstance(value, list):
        return any(has_numbers(part) for part in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


@pytest.mark.parametrize("path", OPTIONS, ids=name_of)
def test_numbers_have_a_source(path: Path) -> None:
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    if has_numbers(data):
        assert len(str(data.get("source") or "")) >= 10, f"{name_of(path)}: no `source` beside its numbers"


@pytest.mark.parametrize("path", OPTIONS, ids=name_of)
def test_every_stage_and_price_has_a_source_of_its_own(path: Path) -> None:
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert all(stage.get("source") for stage in data.get("stages", []))
    if path.parent.name == "gpu":
        assert data["price_source"]


@pytest.mark.parametrize("path", [*EVERY, *STORIES], ids=name_of)
def test_an_option_says_in_one_line_what_it_is(path: Path) -> None:
    lines = [
        line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("# @package")
    ]
    assert lines[0].startswith("# ")
    assert len(lines[0]) > 12


@pytest.mark.parametrize("path", STORIES, ids=name_of)
def test_a_story_asks_and_points(path: Path) -> None:
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert data["question"].endswith("?")
    assert data["look_at"]
