"""kube-scheduler's scores of nodes against the tables of its own tests."""

from __future__ import annotations

import json
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import shared_data

from conformance.controllers import DATA

FILE = "kube_scheduler_scoring.json"
STRATEGY = {
    "LeastAllocated": "SCORE_LEAST",
    "MostAllocated": "SCORE_MOST",
    "RequestedToCapacityRatio": "SCORE_RATIO",
}
TIMES = 10  # the scores of a shape go from 0 to 10 where a person writes them

Vector = dict[str, Any]
Law = SimpleNamespace


def cases(kind: str) -> pytest.MarkDecorator:
    found = [pytest.param(v, id=v["name"]) for v in ALL if v["kind"] == kind]
    assert found
    return pytest.mark.parametrize("vector", found)


ALL = json.loads((DATA / FILE).read_text())["vectors"]


def words(*values: int) -> np.ndarray:
    return np.array(values or (0,), np.int64)


def test_the_vectors_are_the_recorded_ones() -> None:
    assert json.loads(shared_data(f"autoscalers/{FILE}").read_text())["vectors"] == ALL
    assert len(ALL) == 14
    assert {vector["kind"] for vector in ALL} == {"node_score", "broken_linear"}


@cases("node_score")
def test_score_of_a_node(law: Law, vector: Vector) -> None:
    """A resource that the pod does not ask for, and that is not CPU or memory, is left out."""
    weights = vector["resourceWeights"]
    points = [x for p in vector.get("shape", ()) for x in (p["utilization"], p["score"] * TIMES)]
    for node in vector["nodes"]:
        has, asked = node["allocatable"], node["requested_incl_pod"]
        found = law.node_score(
            getattr(law, STRATEGY[vector["strategy"]]),
            words(*(asked.get(name, 0) for name in weights)),
            words(*(has.get(name, 0) if name in asked else 0 for name in weights)),
            words(*weights.values()),
            len(weights),
            words(*points),
            len(points) // 2,
        )
        assert found == node["expectedScore"]


@cases("broken_linear")
def test_broken_linear_function(law: Law, vector: Vector) -> None:
    shape = words(*(x for point in vector["inputs"]["shape"] for x in point))
    n = len(vector["inputs"]["shape"])
    assert [law.broken_linear(p, shape, n) for p in vector["inputs"]["points"]] == vector["expected"]


# ---- beside the vectors ----------------------------------------------------------------------
def scored(law: Law, strategy: int, asked: list[int], has: list[int], weights: list[int]) -> int:
    shape = words(0, 0, 40, 80, 100, 20)
    return law.node_score(strategy, words(*asked), words(*has), words(*weights), len(has), shape, 3)


def in_python(strategy: int, asked: list[int], has: list[int], weights: list[int]) -> int:
    """The documentation's formulas in exact arithmetic."""
    total, weight = Fraction(0), 0
    for a, h, w in zip(asked, has, weights, strict=True):
        if h == 0:
            continue
        taken = min(Fraction(a, h), Fraction(1))
        if strategy == 2:
            share = int(taken * 100)
            score = Fraction(2 * share) if share <= 40 else 80 - Fraction(share - 40)
            if score == 0:
                continue
        else:
            score = Fraction(int(100 * (taken if strategy == 1 else 1 - taken)))
        total, weight = total + score * w, weight + w
    if weight == 0:
        return 0
    return int(total / weight + (Fraction(1, 2) if strategy == 2 else 0))


@pytest.mark.parametrize("seed", range(60))
def test_scores_against_exact_arithmetic(law: Law, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 5))
    has = [int(x) for x in rng.integers(0, 3, size=n) * rng.integers(1, 2**40, size=n)]
    asked = [int(x * rng.integers(0, 130) / 100) if x else int(rng.integers(0, 9)) for x in has]
    weights = [int(x) for x in rng.integers(1, 9, size=n)]
    for strategy in range(3):
        assert scored(law, strategy, asked, has, weights) == in_python(strategy, asked, has, weights)


@pytest.mark.parametrize(
    ("count", "least", "most", "expected"),
    [(0, 0, 0, 100), (0, 0, 4, 100), (4, 0, 4, 0), (3, 2, 4, 75), (4, 4, 4, 100)],
)
def test_fewer_of_a_kind_score_more(law: Law, count: int, least: int, most: int, expected: int) -> None:
    assert law.spread_score(count, least, most) == expected


def test_a_skew_is_kept(law: Law) -> None:
    assert law.spread_allows(1, 1, 1)
    assert not law.spread_allows(2, 1, 1)
    assert law.spread_allows(2, 1, 2)


@pytest.mark.parametrize(
    ("score", "highest", "reverse", "expected"),
    [(0, 0, 0, 0), (0, 0, 1, 100), (5, 10, 0, 50), (1, 3, 0, 33), (1, 3, 1, 67), (3, 3, 1, 0)],
)
def test_scores_are_brought_to_a_hundred(
    law: Law, score: int, highest: int, reverse: int, expected: int
) -> None:
    assert law.normalised(score, highest, reverse) == expected
