"""MIG: NVIDIA's counts, upstream's lists of instances and derived cases; every policy against a naive GPU of its own."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import shared_data
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance.controllers import DATA, vectors
from sim.model.tables.placement import SliceProfile
from sim.scenario.mig import MigProfile, mig_kind, mig_profiles

FILE = "mig_placement.json"
GPUS = {
    "A100-40": "a100_40",
    "A100-80": "a100_80",
    "A30-24": "a30",
    "B200-180": "b200",
    "H100-80": "h100",
    "H100-NVL-94": "h100_nvl",
    "H200-141": "h200",
}
LISTS = ("upstream_list_rechecked", "derived")

Vector = dict[str, Any]
Law = SimpleNamespace
Profiles = tuple[MigProfile, ...]


def cases(*kinds: str) -> pytest.MarkDecorator:
    found = [pytest.param(v, id=v["name"]) for v in vectors(FILE, *kinds)]
    assert found
    return pytest.mark.parametrize("vector", found)


def rows_of(profiles: Profiles, weights: tuple[int, ...] = ()) -> Any:
    """The first of the profiles' rows, which lie side by side."""
    words = np.concatenate([SliceProfile.blank() for _ in profiles])
    for i, profile in enumerate(profiles):
        row = SliceProfile(words, i * SliceProfile.SIZE)
        row.memory_slices, row.compute_slices = profile.memory_slices, profile.compute_slices
        row.starts = sum(1 << start for start in profile.start_indices)
        row.media, row.weight = int(profile.is_media), weights[i] if weights else 0
    return SliceProfile(words, 0)


def packed(law: Law, gpu: str, names: list[str], busy: int = 0) -> list[tuple[str, int]] | None:
    """Where the instances start when they all fit, by the rule."""
    profiles = mig_profiles(GPUS[gpu])
    numbers = sorted([profile.profile for profile in profiles].index(name) for name in names)
    starts = np.full(len(numbers), -1, np.int64)
    if not law.pack_instances(
        busy, 0, 0, rows_of(profiles), np.array(numbers, np.int64), len(numbers), starts
    ):
        return None
    return [(profiles[i].profile, int(start)) for i, start in zip(numbers, starts, strict=True)]


# ---- the recorded vectors ----------------------------------------------------------------------
def test_the_vectors_are_the_recorded_ones() -> None:
    recorded = json.loads(shared_data(f"autoscalers/{FILE}").read_text())["vectors"]
    assert json.loads((DATA / FILE).read_text())["vectors"] == recorded


def test_every_vector_is_tried() -> None:
    kinds = (*LISTS, "nvidia_docs_count_rechecked")
    assert len(list(vectors(FILE, *kinds))) == len(json.loads((DATA / FILE).read_text())["vectors"]) == 73


def test_the_catalogue_has_the_recorded_profiles() -> None:
    recorded = json.loads(shared_data("hardware/mig_profiles.json").read_text())["gpus"]
    assert sorted(recorded) == sorted(GPUS)
    for gpu, option in GPUS.items():
        kind, listed = mig_kind(option), recorded[gpu]
        assert (kind.compute_slices, kind.memory_slices) == (
            listed["compute_slices_total"],
            listed["memory_slices_total"],
        )
        assert len(kind.profiles) == len(listed["profiles"])
        for profile, about in zip(kind.profiles, listed["profiles"], strict=True):
            assert profile.is_media == profile.profile.endswith("+me")
            for key in ("profile", "compute_slices", "memory_slices", "max_instances", "copy_engines"):
                assert getattr(profile, key) == about[key]
            assert list(profile.start_indices) == about["start_indices"]
            assert profile.nominal_memory_gb == about["nominal_memory_gb"]
            assert profile.sm_count == about["sm_count"]
            if about.get("usable_memory_gib") is None:
                assert profile.memory_confidence == "assumed"
            else:
                assert profile.usable_memory_gib == about["usable_memory_gib"]


@cases("upstream_list_rechecked")
def test_lists_that_fit_one_gpu(law: Law, vector: Vector) -> None:
    holds(law, vector)


@cases("derived")
def test_derived_cases(law: Law, vector: Vector) -> None:
    if "kinds" in vector["inputs"]:
        assert counted(law, vector["inputs"]) == tuple(
            vector["expected"][key] for key in ("maximal_placed", "maximal_multisets")
        )
    else:
        holds(law, vector)


def holds(law: Law, vector: Vector) -> None:
    """Whether the instances fit, and where they then start, is legal by the naive GPU too."""
    i, expected = vector["inputs"], vector["expected"]
    taken = i.get("occupied_memory_slots", [])
    found = packed(law, i["gpu"], i["profiles"], sum(1 << slot for slot in taken))
    assert (found is not None) == expected["feasible"]
    for placement in filter(None, (found, expected["example_placement"])):
        assert sorted(name for name, _ in placement) == sorted(i["profiles"])
        gpu = Naive(mig_profiles(GPUS[i["gpu"]]), taken)
        for name, start in placement:
            assert start in gpu.starts(name)
            gpu.create(name, start)


@cases("nvidia_docs_count_rechecked")
def test_most_instances_of_a_profile(law: Law, vector: Vector) -> None:
    gpu, name = vector["inputs"]["gpu"], vector["inputs"]["profile"]
    most = vector["expected"]["max_instances"]
    assert packed(law, gpu, [name] * most) is not None
    assert packed(law, gpu, [name] * (most + 1)) is None


def counted(law: Law, inputs: Vector) -> tuple[int, int]:
    """(sets of instances with their starts to which none can be added, the same without their starts)."""
    by_kind = {"1g2": [], "1g+me": []}  # no kinds of the vector
    profiles = mig_profiles(GPUS[inputs["gpu"]])
    for i, profile in enumerate(profiles):
        kind = profile.profile.partition(".")[0]
        by_kind.setdefault(
            "1g+me" if profile.is_media else "1g2" if kind == "1g" and profile.memory_slices == 2 else kind,
            [],
        ).append(i)
    numbers = [by_kind[kind][0] for kind in inputs["kinds"]]
    first, seen, full = rows_of(profiles), set(), set()
    waiting: list[frozenset[tuple[int, int]]] = [frozenset()]
    while waiting:
        placed = waiting.pop()
        if placed in seen:
            continue
        seen.add(placed)
        busy = sum(((1 << profiles[n].memory_slices) - 1) << start for n, start in placed)
        compute = sum(profiles[n].compute_slices for n, _ in placed)
        more = [
            placed | {(n, start)}
            for n in numbers
            for start in range(8)
            if law.mig_fits(busy, compute, 0, SliceProfile(first.words, n * SliceProfile.SIZE), start)
        ]
        waiting += more
        if not more:
            full.add(placed)
    return len(full), len({tuple(sorted(n for n, _ in placed)) for placed in full})


# ---- against a naive GPU ----------------------------------------------------------------------
class Naive:
    """One GPU as sets: what is taken, who lives there."""

    def __init__(self, profiles: Profiles, taken: list[int] | None = None) -> None:
        self.profiles = {profile.profile: profile for profile in profiles}
        self.held = set(taken or [])  # by others
        self.living: list[tuple[str, int]] = []

    def copy(self) -> Naive:
        made = Naive(tuple(self.profiles.values()))
        made.held, made.living = set(self.held), list(self.living)
        return made

    def span(self, name: str, start: int) -> set[int]:
        return set(range(start, start + self.profiles[name].memory_slices))

    def taken(self) -> set[int]:
        return self.held.union(*(self.span(name, start) for name, start in self.living))

    def starts(self, name: str) -> list[int]:
        """Where an instance may start now."""
        profile = self.profiles[name]
        compute = sum(self.profiles[other].compute_slices for other, _ in self.living)
        if compute + profile.compute_slices > 7:
            return []
        if profile.is_media and any(self.profiles[other].is_media for other, _ in self.living):
            return []
        return [start for start in profile.start_indices if not self.span(name, start) & self.taken()]

    def create(self, name: str, start: int) -> None:
        self.living.append((name, start))

    def after(self, name: str, start: int) -> Naive:
        made = self.copy()
        made.create(name, start)
        return made

    def useless(self, name: str) -> int:
        """Free slices that no start of the profile could use."""
        useful = set().union(*(self.span(name, start) for start in self.starts(name)))
        return len(set(range(8)) - self.taken() - useful)

    def choose(self, policy: str, name: str, weights: tuple[int, ...]) -> int:
        """Where the instance starts by a policy, −1 = nowhere."""
        starts = self.starts(name)
        if not starts:
            return -1
        if policy in ("first_fit", "last_fit"):
            return min(starts) if policy == "first_fit" else max(starts)

        def loss(start: int) -> tuple[int, ...]:
            after = self.after(name, start)
            left = [len(after.starts(other)) for other in self.profiles]
            if policy == "best_fit":
                return -sum(1 for n in left if n), -sum(left), start
            useless = [after.useless(other) for other in self.profiles]
            return sum(w * n for w, n in zip(weights, useless, strict=True)), start

        return min(starts, key=loss)

    def all_fit(self, names: list[str]) -> bool:
        """Whether instances all fit, in any order, at any starts."""
        if not names:
            return True
        return any(self.after(names[0], start).all_fit(names[1:]) for start in self.starts(names[0]))

    def bits(self) -> tuple[int, int, int]:
        """(busy, compute, media) as the rules take them."""
        alive = [self.profiles[name] for name, _ in self.living]
        return (
            sum(1 << slot for slot in self.taken()),
            sum(profile.compute_slices for profile in alive),
            sum(profile.is_media for profile in alive),
        )


STEPS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 99), st.booleans()), max_size=24)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    gpu=st.sampled_from(sorted(GPUS.values())),
    steps=STEPS,
    weights=st.lists(st.integers(0, 5), min_size=7, max_size=7),
)
def test_any_sequence_keeps_to_the_gpu(law: Law, gpu: str, steps: list[Any], weights: list[int]) -> None:
    """Creations by any policy and destructions: the rules choose as the naive GPU does; no two instances
    overlap, compute slices stay within 7, one instance has the media extensions.
    """
    profiles = mig_profiles(gpu)
    naive, first = Naive(profiles), rows_of(profiles, tuple(weights[: len(profiles)]))
    for which, chance, is_end in steps:
        if is_end and naive.living:
            naive.living.pop(chance % len(naive.living))
            continue
        number, policy = which % len(profiles), law.START_CHOICES[chance % 4]
        asked = (chance % 4, *naive.bits(), first, len(profiles), number)
        found = law.choose_start(*asked)
        assert found == naive.choose(policy, profiles[number].profile, tuple(weights[: len(profiles)]))
        if found >= 0:
            naive.create(profiles[number].profile, found)
        row = SliceProfile(first.words, number * SliceProfile.SIZE)
        left = naive.starts(profiles[number].profile)
        assert law.starts_left(*naive.bits(), row) == sum(1 << start for start in left)
        spans = [naive.span(name, start) for name, start in naive.living]
        assert all(not a & b for a, b in itertools.combinations(spans, 2))
        assert max((max(span) for span in spans), default=0) < 8
        assert naive.bits()[1] <= 7
        assert naive.bits()[2] <= 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    gpu=st.sampled_from(sorted(GPUS)),
    taken=st.sets(st.integers(0, 7), max_size=4),
    which=st.lists(st.integers(0, 6), max_size=6),
)
def test_the_search_for_a_packing_is_exact(law: Law, gpu: str, taken: set[int], which: list[int]) -> None:
    profiles = mig_profiles(GPUS[gpu])
    names = [profiles[i % len(profiles)].profile for i in which]
    found = packed(law, gpu, names, sum(1 << slot for slot in taken))
    assert (found is not None) == Naive(profiles, sorted(taken)).all_fit(names)
