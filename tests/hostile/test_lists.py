"""Where a list of things belongs, a text is not one: an empty text is no empty list, nor are its letters the things."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sim.scenario.catalogue import scenario_files
from sim.scenario.compose import load_scenario
from sim.scenario.resolved import resolved

from .drive import faults, fleetsim, told

NAMES = [name for name in scenario_files() if not name.startswith("azure")]  # those need a recording
WORDS = ("''", "x", "{a: 1}")  # the short run takes one of them for a key, in turn


def lists(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The keys whose values are lists."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from lists(item, (*path, key))
    elif isinstance(value, list | tuple):
        yield path
        for place, item in enumerate(value):
            yield from lists(item, (*path, str(place)))


def keys() -> dict[str, str]:
    """Key → a scenario that has it; of the same key in several things of a list, the first."""
    found: dict[tuple[str, ...], tuple[str, str]] = {}
    for name in NAMES:
        for path in lists(resolved(load_scenario(name))):
            anywhere = tuple("0" if part.isdigit() else part for part in path)
            found.setdefault(anywhere, (".".join(path), name))
    return dict(found.values())


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_no_text_passes_for_a_list(every: bool) -> None:
    found = keys()
    assert any(key.endswith("coldstart.stages") for key in found)
    wrong = []
    for i, (key, name) in enumerate(found.items()):
        for word in WORDS if every else [WORDS[i % len(WORDS)]]:
            answer = fleetsim("show", name, f"{key}={word}")
            wrong += faults(answer, codes=(2,))
            if key.split(".")[-1] not in answer.err and "limits of your own" not in answer.err:
                wrong.append(f"{key}={word}: the line names another key: {answer.err[:200]}")
    assert not wrong, told(wrong)


def test_a_text_is_told_that_a_list_is_allowed() -> None:
    for word in ("''", "fixed"):
        answer = fleetsim("run", "first_run", f"coldstart.stages={word}")
        assert answer.code == 2
        assert answer.err.endswith("is not valid; allowed: a list\n")
