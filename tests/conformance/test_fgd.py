"""FGD: the vectors of its own simulator; it and the scores that it is compared with against plain Python."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import shared_data

from conformance.controllers import DATA, new
from sim.model.tables.placement import FreeNode, PodKind

FILE = "fgd.json"
RECORDED = json.loads((DATA / FILE).read_text())
ALL = RECORDED["vectors"]
UNIT = 10**6  # a frequency of 1 as a weight

Vector = dict[str, Any]
Law = SimpleNamespace


def cases(kind: str) -> pytest.MarkDecorator:
    found = [pytest.param(v, id=v["name"]) for v in ALL if v["kind"] == kind]
    assert found
    return pytest.mark.parametrize("vector", found)


def bit_of(gpu: str) -> int:
    """A number for a GPU's name: `P100` … `1080`."""
    names = ["P100", "T4", "2080", "1080", "V100M16"]
    return names.index(gpu)


def pod_row(about: Vector) -> Any:
    return new(
        PodKind,
        cpu_milli=about["cpu_milli"],
        gpu_milli=about["gpu_milli"],
        n_gpu=about["gpus"],
        gpu_kinds=1 << bit_of(about["gpu_type"]) if about["gpu_type"] else 0,
        weight=round(about.get("freq", 0) * UNIT),
    )


def typical(name: str) -> tuple[Any, int]:
    """(the first of a vector's kinds of workload, how many there are)."""
    rows = [pod_row(about) for about in RECORDED["typicalPodSets"][name]]
    return PodKind(np.concatenate([row.m for row in rows]), 0), len(rows)


def node_row(gpus: list[int], cpu: int = 0, kind: int = 0, **more: int) -> Any:
    row = new(FreeNode, cpu_milli=cpu, gpu_kind=kind, n_gpu=len(gpus), **more)
    for i, free in enumerate(gpus):
        row.gpu_milli[i] = free
    return row


def test_the_vectors_are_the_recorded_ones() -> None:
    assert json.loads(shared_data(f"autoscalers/{FILE}").read_text()) == RECORDED
    assert len(ALL) == 7
    assert {vector["kind"] for vector in ALL} == {"node_fragmentation", "frag_milli_for_pod", "fgd_score"}


@cases("node_fragmentation")
def test_fragmentation_of_a_node(law: Law, vector: Vector) -> None:
    about = vector["node"]
    node = node_row(about["gpu_left"], about["cpu_left"], bit_of(about["gpu_type"]))
    found = law.node_fragments(*typical(vector["typicalPods"]), node) / UNIT
    assert found == pytest.approx(vector["expected_frag_milli"], abs=vector["tolerance"])


@cases("frag_milli_for_pod")
def test_scraps(law: Law, vector: Vector) -> None:
    assert law.scraps(node_row(vector["gpu_left"]), vector["pod_gpu_milli"]) == vector["expected"]


@cases("fgd_score")
def test_score_of_a_node(law: Law, vector: Vector) -> None:
    about = vector["node"]
    node = node_row(about["gpu_left"], about["cpu_left"], bit_of(about["gpu_type"]))
    before = node.m.copy()
    choice = law.fgd_choice(pod_row(vector["pod"]), node, *typical(vector["typicalPods"]), UNIT)
    assert law.choice_score(choice) == vector["expected"]["score"]
    assert vector["expected"]["gpu_index"] is None
    idle = [i for i, free in enumerate(about["gpu_left"]) if free == 1000]
    assert law.choice_gpus(choice) == sum(1 << i for i in idle[: vector["pod"]["gpus"]])
    assert np.array_equal(node.m, before), "the node is left as it was"


# ---- beside the vectors: models of their own, in exact or double arithmetic ----------------------------------------
def some_node(rng: np.random.Generator) -> Any:
    gpus = [int(rng.choice([0, 1000, 1000, rng.integers(0, 1001)])) for _ in range(int(rng.integers(0, 9)))]
    return node_row(
        gpus,
        int(rng.integers(0, 128_001)),
        int(rng.integers(3)),
        memory_mib=int(rng.integers(0, 1000)),
        lives=int(rng.integers(0, 8)),
    )


def some_pod(rng: np.random.Generator) -> Any:
    n_gpu = int(rng.choice([0, 1, 1, 1, 2, 4]))
    milli = 1000 if n_gpu != 1 or rng.random() < 0.4 else int(rng.integers(1, 1000))
    return new(
        PodKind,
        cpu_milli=int(rng.integers(0, 40_001)),
        memory_mib=int(rng.integers(0, 500)),
        gpu_milli=milli * (n_gpu > 0),
        n_gpu=n_gpu,
        gpu_kinds=int(rng.choice([0, 0, 1, 5])),
        weight=int(rng.integers(1, 50)),
    )


class Plain:
    """A node or a kind as Python has it."""

    def __init__(self, row: Any) -> None:
        for name in type(row).FIELDS:
            value = getattr(row, name)
            setattr(self, name, value if np.ndim(value) else int(value))
        if isinstance(row, FreeNode):
            self.gpu_milli = [int(row.gpu_milli[i]) for i in range(row.n_gpu)]

    def fits(self, node: Plain) -> bool:
        enough = sum(free >= self.gpu_milli for free in node.gpu_milli) >= self.n_gpu
        right = self.gpu_kinds == 0 or node.gpu_kind in [k for k in range(8) if self.gpu_kinds & 2**k]
        room = self.cpu_milli <= node.cpu_milli and self.memory_mib <= node.memory_mib
        return room and (self.n_gpu == 0 or (enough and right))

    def fragments(self, node: Plain) -> int:
        everywhere = node.memory_mib
        node.memory_mib = 10**9
        is_hosted = self.gpu_milli > 0 and self.fits(node)
        node.memory_mib = everywhere
        return sum(free for free in node.gpu_milli if not is_hosted or free < self.gpu_milli)


@pytest.mark.parametrize("seed", range(80))
def test_fragments_and_choices_against_plain_python(law: Law, seed: int) -> None:
    rng = np.random.default_rng([seed, 7])
    rows = [some_pod(rng) for _ in range(int(rng.integers(1, 6)))]
    first = PodKind(np.concatenate([row.m for row in rows]), 0)
    node, pod = some_node(rng), some_pod(rng)
    kinds, bare = [Plain(row) for row in rows], Plain(node)
    total = sum(kind.weight for kind in kinds)

    def amount(of: Plain) -> int:
        return sum(kind.weight * kind.fragments(of) for kind in kinds)

    assert law.node_fragments(first, len(rows), node) == amount(bare)
    assert law.pod_fits(pod, node) == Plain(pod).fits(bare)
    if not Plain(pod).fits(bare):
        return
    choice = law.fgd_choice(pod, node, first, len(rows), total)
    wanted = Plain(pod)
    ways = []
    if wanted.n_gpu == 1 and wanted.gpu_milli < 1000:
        ways = [[i] for i, free in enumerate(bare.gpu_milli) if free >= wanted.gpu_milli]
    else:
        ways = [[i for i, free in enumerate(bare.gpu_milli) if free >= 1000][: wanted.n_gpu]]
    scores = []
    for way in ways:
        after = Plain(node)
        after.cpu_milli -= wanted.cpu_milli
        for i in way:
            after.gpu_milli[i] -= wanted.gpu_milli
        change = (amount(bare) - amount(after)) / (1000 * total)
        scores.append(int(100 / (1 + math.exp(-change))))
    assert law.choice_score(choice) == max(scores)
    assert law.choice_gpus(choice) == sum(1 << i for i in ways[scores.index(max(scores))])


@pytest.mark.parametrize("seed", range(60))
def test_other_scores_against_exact_arithmetic(law: Law, seed: int) -> None:
    rng = np.random.default_rng([seed, 8])
    node, pod = some_node(rng), some_pod(rng)
    bare, wanted = Plain(node), Plain(pod)
    if not wanted.fits(bare):
        return
    cpu, gpu = Fraction(128_000), Fraction(8_000)
    free, asked = sum(bare.gpu_milli), wanted.n_gpu * wanted.gpu_milli
    left = (bare.cpu_milli - wanted.cpu_milli) / cpu + (free - asked) / gpu
    assert law.best_fit_score(pod, node, 128_000, 8_000) == math.floor(100 * (1 - left / 2))
    dot = bare.cpu_milli / cpu * (wanted.cpu_milli / cpu) + free / gpu * (asked / gpu)
    assert law.dot_product_score(pod, node, 128_000, 8_000) == math.floor(100 * (1 - dot / 2))
    kind = 0 if wanted.gpu_milli < 1000 else wanted.n_gpu
    there = {k for k in range(8) if bare.lives & 2**k}
    band = 3 if there == {kind} else 2 if kind in there else 1 if not there else 0
    expected = 25 * (8000 - free) // 8000 + 25 * band if wanted.n_gpu else 0
    assert law.clustering_score(pod, node, 8_000) == expected


@pytest.mark.parametrize(
    ("gpus", "wanted", "expected"),
    [
        ([1000] * 8, (1, 500), 25),  # an idle node: fewer GPUs are better …
        ([1000] * 2, (1, 500), 31),
        ([1000] * 16, (1, 500), 17),
        ([400, 1000], (1, 500), 49),  # an idle GPU of a node in use
        ([400, 1000, 1000, 1000], (2, 1000), 48),
        ([600, 1000], (1, 500), 94),  # a shared one
        ([0, 500], (1, 500), 95),
        ([0, 500], (0, 0), 0),
    ],
)
def test_packing_has_three_bands(law: Law, gpus: list[int], wanted: tuple[int, int], expected: int) -> None:
    pod = new(PodKind, n_gpu=wanted[0], gpu_milli=wanted[1])
    assert law.packing_score(pod, node_row(gpus)) == expected


@pytest.mark.parametrize("weight_sum", [1, 37, 8152])
def test_the_score_is_the_logistic_function_of_the_change(law: Law, weight_sum: int) -> None:
    """From nine whole GPUs less fragmentation to nine more, and between every two of its values."""
    edges = [math.log(s / (100 - s)) for s in range(1, 100)]
    changes = [x / 10 for x in range(-90, 91)] + [edge + d for edge in edges for d in (-1e-3, 1e-3)]
    for change in changes:
        before, after = 10**8, 10**8 - round(change * 1000 * weight_sum)
        exact = 100 / (1 + math.exp(-(before - after) / (1000 * weight_sum)))
        if abs(exact - round(exact)) > 1e-6 or before == after:
            assert law.fgd_score(before, after, weight_sum) == math.floor(exact)
