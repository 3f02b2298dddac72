"""The README's opening comparison: what it shows is what comes out, and its ticks hold over seeds."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import sim

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
ENOUGH = 0.95  # of the seeds


def opening() -> tuple[list[str], list[str], list[bool]]:
    """(overrides, autoscalers, whether the README ticks each) of the first comparison."""
    match = re.search(r"^ +\$ fleetsim compare spiky_hour (.*)$", README, re.MULTILINE)
    assert match
    words = shlex.split(match[1])
    listed = next(word for word in words if word.startswith("autoscaler="))
    ticks = re.search(r"^ +limits +(.*)$", README, re.MULTILINE)
    assert ticks
    names = listed.partition("=")[2].split(",")
    marks = ticks[1].split()
    assert len(marks) == len(names)
    return [word for word in words if word != listed], names, [mark == "✓" for mark in marks]


def test_the_opening_comparison_has_the_ticks_and_bills_that_it_shows() -> None:
    overrides, names, ticked = opening()
    bills = re.search(r"^ +cost, usd/h +(.*)$", README, re.MULTILINE)
    assert bills
    for name, tick, bill in zip(names, ticked, bills[1].split(), strict=True):
        run = sim.run("spiky_hour", [*overrides, f"autoscaler={name}"])
        assert run.ok == tick, name
        assert f"{run.summary['usd_per_hour']:.2f}" == bill.strip("*"), name


@pytest.mark.parametrize("seeds", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_a_tick_is_true_over_seeds(seeds: int) -> None:
    overrides, names, ticked = opening()
    variants = {n: [*overrides, f"autoscaler={n}"] for n, tick in zip(names, ticked, strict=True) if tick}
    assert len(variants) >= 2
    rows = sim.sweep("spiky_hour", range(1, seeds + 1), variants).statistics().rows
    assert all(row.slo_share >= ENOUGH for row in rows)
