"""What hydra composed is kept, and is the same when it is read again."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from sim import cache
from sim.scenario import catalogue, chosen
from sim.scenario.compose import compose, default_choices, read_orders
from sim.scenario.hydra_words import composed
from sim.scenario.options import own_nodes
from sim.scenario.story import read_story

STORIES = sorted(catalogue.yaml_files(catalogue.packaged_root() / "scenarios"))
WORDS = ["gpu=l4", "autoscaler=queue_to_zero", "slo=none"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, and nothing in memory."""
    monkeypatch.setenv("FLEETSIM_CACHE_DIR", str(tmp_path / "kept"))
    monkeypatch.setattr(chosen, "COMPOSED", {})
    return tmp_path / "kept" / "composed"


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("words", [[], WORDS])
def test_what_is_kept_is_what_hydra_composes(
    name: str, words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story, orders = read_story(name), read_orders(words)
    by_hydra = composed(story.choices, orders.choices, own_nodes(story.choices | orders.choices))
    for _ in range(2):
        chosen.COMPOSED.clear()
        assert repr(chosen.chosen(story.choices, orders.choices)) == repr(by_hydra)
        monkeypatch.setitem(sys.modules, "sim.scenario.hydra_words", None)  # the second time it is read
    assert len(list(folder.iterdir())) == 1


def test_every_option_that_the_root_chooses_is_in_the_hash(tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    for group, option in [(c.group, o) for c, o in default_choices().items()]:
        (conf / group).mkdir(parents=True, exist_ok=True)
        shutil.copy(catalogue.conf_dir() / group / f"{option}.yaml", conf / group)
    shutil.copy(catalogue.conf_dir() / "config.yaml", conf)
    hashes = {chosen.catalogue_hash(str(conf))}
    for path in sorted(conf.rglob("*.yaml")):
        chosen.catalogue_hash.cache_clear()
        path.write_text(path.read_text() + "\n# one more line\n")
        hashes.add(chosen.catalogue_hash(str(conf)))
    chosen.catalogue_hash.cache_clear()
    assert len(hashes) == 2 + len(default_choices())


def test_an_option_of_the_users_is_composed_as_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "gpu").mkdir(parents=True)
    own = tmp_path / "conf" / "gpu" / "mine.yaml"
    text = (catalogue.conf_dir() / "gpu" / "l4.yaml").read_text()
    seen = []
    for memory in (24, 25, 24):
        own.write_text(text.replace("memory_gb: 24", f"memory_gb: {memory}"))
        seen.append(compose("first_run", ["gpu=mine"])["gpu"]["memory_gb"])
    assert seen == [24, 25, 24]


def test_who_changes_what_was_composed_changes_nothing_else() -> None:
    first = compose("first_run")
    first["gpu"]["memory_gb"] = -1
    assert compose("first_run")["gpu"]["memory_gb"] > 0


def test_a_damaged_file_is_composed_again(folder: Path) -> None:
    right = compose("first_run")
    (path,) = folder.iterdir()
    for text in (b"", b"x" * 100, path.read_bytes()[:-1]):
        path.write_bytes(text)
        chosen.COMPOSED.clear()
        assert compose("first_run") == right
        assert cache.read(path) is not None


def test_a_folder_that_cannot_be_written_costs_time_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FLEETSIM_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert compose("first_run")["seed"] == 1


def test_few_files_are_kept(tmp_path: Path) -> None:
    for i in range(5):
        cache.keep(tmp_path / f"{i}", b"x")
    cache.keep_at_most(tmp_path, 3)
    assert len(list(tmp_path.iterdir())) == 3
    assert cache.read(tmp_path / "4") == b"x"
