"""conf/mig: what a kind of GPU can be cut into, and what is said of what it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.errors import InputError
from sim.scenario.catalogue import conf_dir, yaml_files
from sim.scenario.mig import mig_kind, mig_profile, mig_profiles, smallest_that_fits

OPTIONS = sorted(yaml_files(conf_dir() / "mig"))


@pytest.mark.parametrize("gpu", OPTIONS)
def test_a_kind_says_where_its_figures_are_from(gpu: str) -> None:
    kind = mig_kind(gpu)
    assert kind.source
    assert kind.memory_source
    assert kind.sm_source
    assert {"a100_40", "a100_80", "h100", "h200", "b200"} <= set(OPTIONS)


@pytest.mark.parametrize("gpu", OPTIONS)
def test_the_whole_gpu_is_a_profile_and_none_has_more(gpu: str) -> None:
    profiles, kind = mig_profiles(gpu), mig_kind(gpu)
    whole = profiles[-1]
    assert (whole.memory_slices, whole.compute_slices) == (kind.memory_slices, kind.compute_slices)
    assert all(one.usable_memory_gib <= whole.usable_memory_gib for one in profiles)
    for one in profiles:
        assert one.usable_memory_gib <= whole.usable_memory_gib * one.memory_slices / kind.memory_slices


def test_an_unknown_gpu_or_profile_is_one_line() -> None:
    with pytest.raises(
        InputError, match=r"gpu: 'h10' is not valid; allowed: with MIG: .*; did you mean 'h100'\?"
    ):
        mig_profiles("h10")
    with pytest.raises(InputError, match=r"slice: '1g.11gb' is not valid; allowed: .* on h100; did you mean"):
        mig_profile("h100", "1g.11gb")


@pytest.mark.parametrize(
    ("needed_gib", "expected"),
    [(0.5, "1g.10gb"), (9.75, "1g.10gb"), (9.76, "1g.20gb"), (20, "3g.40gb"), (60, "7g.80gb"), (79.26, None)],
)
def test_the_smallest_profile_that_holds_a_model(needed_gib: float, expected: str | None) -> None:
    found = smallest_that_fits(mig_profiles("h100"), needed_gib)
    assert (found and found.profile) == expected


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("start_indices: [0, 4]", "start_indices: [0, 5]"), "pass the GPU's 8"),
        (("start_indices: [0, 4]", "start_indices: [4, 0]"), "must increase"),
        (('"3g.40gb"', '"2g.20gb"'), "2g.20gb is there twice"),
        (
            ("compute_slices: 3", "compute_slices: 9"),
            r"own.yaml.profiles\[4\].compute_slices: 9 is not valid",
        ),
        (("copy_engines: 3", "copyengines: 3"), "did you mean 'copy_engines'"),
    ],
)
def test_a_table_that_is_wrong_is_refused(
    change: tuple[str, str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "conf" / "mig"
    folder.mkdir(parents=True)
    text = (conf_dir() / "mig" / "h100.yaml").read_text()
    assert change[0] in text
    (folder / "own.yaml").write_text(text.replace(*change, 1))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=line):
        mig_profiles("own")
