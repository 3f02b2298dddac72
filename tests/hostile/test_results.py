"""Results that are half deleted, damaged or no results, and questions that are none: one clear line, exit code 2."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

import sim

from .drive import faults, fleetsim, told


@cache
def study() -> Path:
    """A finished study."""
    return sim.study("first_run", ["duration_s=30", "pool.max_replicas=2,3", "seed=1..2"], out=mkdtemp()).path


@cache
def run() -> Path:
    """A run that was kept."""
    kept = sim.run("first_run", ["duration_s=30"], out=mkdtemp()).path
    assert kept is not None
    return kept


def shards(folder: Path, kind: str) -> list[Path]:
    return sorted((folder / kind).rglob("*.parquet")) or sorted((folder / kind).glob("*"))


def remark(folder: Path, text: str) -> None:
    for mark in shards(folder, "done"):
        mark.write_text(text)


HARMED_STUDIES: dict[str, Callable[[Path], object]] = {
    "a shard is gone": lambda f: shards(f, "runs")[0].unlink(),
    "a shard is empty": lambda f: shards(f, "runs")[0].write_bytes(b""),
    "a shard is cut": lambda f: shards(f, "runs")[0].write_bytes(shards(f, "runs")[0].read_bytes()[:300]),
    "all runs are gone": lambda f: shutil.rmtree(f / "runs"),
    "marks say nothing": lambda f: remark(f, "[]"),
    "marks are no JSON": lambda f: remark(f, "x"),
    "marks name what is elsewhere": lambda f: remark(f, '{"files": ["../../../etc/passwd"]}'),
    "the plan is cut": lambda f: (f / "study.json").write_text("{"),
    "the plan is empty": lambda f: (f / "study.json").write_text("{}"),
    "the plan has no keys": lambda f: (f / "study.json").write_text('{"shards": ["a"]}'),
    "the plan has other things": lambda f: (f / "study.json").write_text(
        '{"shards": [1], "keys": 3, "partition": null}'
    ),
    "the plan's keys are texts": lambda f: (f / "study.json").write_text(
        '{"shards": [], "keys": ["a"], "partition": []}'
    ),
    "the plan is gone": lambda f: (f / "study.json").unlink(),
}


@pytest.mark.parametrize("harm", HARMED_STUDIES)
def test_a_harmed_study_is_one_line(harm: str, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(study(), folder)
    HARMED_STUDIES[harm](folder)
    with pytest.raises(sim.InputError, match="result: "):
        _ = sim.open(folder).runs
    wrong = [
        fault for verb in ("report", "plot") for fault in faults(fleetsim(verb, str(folder)), codes=(2,))
    ]
    assert not wrong, told(wrong)


def other_table(folder: Path, name: str) -> None:
    shutil.copy(folder / "summary.parquet", folder / name)


def changed(folder: Path, change: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
    record = json.loads((folder / "config.json").read_text())
    change(record)
    (folder / "config.json").write_text(json.dumps(record))


HARMED_RUNS: dict[str, Callable[[Path], object]] = {
    "no requests though they were kept": lambda f: (f / "requests.parquet").unlink(),
    "no time series": lambda f: (f / "timeseries.parquet").unlink(),
    "no configuration": lambda f: (f / "config.json").unlink(),
    "requests that are cut": lambda f: (f / "requests.parquet").write_bytes(
        (f / "requests.parquet").read_bytes()[:500]
    ),
    "another table as requests": lambda f: other_table(f, "requests.parquet"),
    "another table as time series": lambda f: other_table(f, "timeseries.parquet"),
    "another duration": lambda f: changed(f, lambda r: r["config"].update(duration_s=31.0)),
    "a scenario without pools": lambda f: changed(f, lambda r: r["config"].pop("pools")),
    "pools that are texts": lambda f: changed(f, lambda r: r["config"].update(pools=["a"])),
    "classes without names": lambda f: changed(f, lambda r: r["config"]["classes"][0].pop("name")),
    "a key that there is not": lambda f: changed(f, lambda r: r["config"].update(nonsense=1)),
}


@pytest.mark.parametrize("harm", HARMED_RUNS)
@pytest.mark.parametrize("verb", ["trace", "metrics"])
def test_a_harmed_run_is_one_line_and_leaves_nothing(harm: str, verb: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run(), folder)
    HARMED_RUNS[harm](folder)
    out = tmp_path / "out"
    wrong = faults(fleetsim(verb, str(folder), "-o", str(out)), codes=(2,))
    assert not wrong, told(wrong)
    assert not out.exists()


def test_a_run_without_records_is_told_without_requests(tmp_path: Path) -> None:
    kept = sim.run("first_run", ["duration_s=30", "output.records=false"], out=tmp_path).path
    out = tmp_path / "out"
    for verb in ("trace", "metrics"):
        assert fleetsim(verb, str(kept), "-o", str(out)).code == 0
        assert out.stat().st_size > 1000


@pytest.mark.parametrize(
    "words",
    [
        ["trace"],
        ["trace", "no-such"],
        ["trace", "RUN", "--from", "soon"],
        ["trace", "RUN", "--from", "-5"],
        ["trace", "RUN", "--from", "1e30"],
        ["trace", "RUN", "--from", "1e999"],
        ["trace", "RUN", "--from", "nan"],
        ["trace", "RUN", "--from", "10", "--to", "5"],
        ["trace", "RUN", "--from", "5", "--from", "6"],
        ["trace", "RUN", "--too", "5"],
        ["trace", "RUN", "-o"],
        ["trace", "RUN", "-o", "."],
        ["trace", "RUN", "-o", "FILE/out.json"],
        ["trace", "RUN", "RUN"],
        ["metrics", "RUN", "--at", "1e999"],
        ["metrics", "RUN", "--start", "2025-13-01"],
        ["metrics", "RUN", "--start", "9999999"],
        ["metrics", "RUN", "--rules", "."],
        ["metrics", "RUN", "--rules", "FILE"],
        ["check", "first_run", "duration_s=30", "--junit", "FILE/out.xml"],
        ["check", "first_run", "duration_s=30", "--share", "nan"],
        ["check", "first_run", "duration_s=-1"],
        ["check", "first_run", "gpu=nothing,h100"],
        ["check", "first_run", "seed=5..1"],
    ],
    ids=" ".join,
)
def test_words_that_cannot_be_are_one_line(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("a file\n")
    answer = fleetsim(*(str(run()) if word == "RUN" else word for word in words))
    wrong = faults(answer, codes=(2,))
    assert not wrong, told(wrong)
    assert [path.name for path in tmp_path.iterdir()] == ["FILE"]


@pytest.mark.parametrize(
    "query",
    ["", " ", ";", "selec 1", "select nope from runs", "select * from nope", "select", "drop table runs"],
)
def test_a_query_that_is_none_is_one_line(query: str) -> None:
    pytest.importorskip("duckdb", reason="DuckDB is not installed")
    wrong = faults(fleetsim("sql", query, str(study())), codes=(2,))
    assert not wrong, told(wrong)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["plan", "first_run", "pool.max_replicas=2..1"], "a range whose first number is at most its last"),
        (["plan", "first_run", "pool.max_replicas=2,2"], "names 2 twice"),
        (["plan", "first_run", "pool.min_replicas=3,4", "pool.max_replicas=2"], "max_replicas"),
        (["plan", "first_run", "autoscaler=hpa{target: 4,8"], "{ and } do not pair"),
        (["plan", "first_run", "pool.max_replicas="], "pool.max_replicas: '' is not valid"),
        (["sweep", "first_run", "--shard", "3/2"], "--shard: '3/2' is not valid"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_axes_that_contradict_are_one_line(
    words: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = fleetsim(*words)
    wrong = faults(answer, codes=(2,))
    assert not wrong, told(wrong)
    assert line in answer.err
    assert "as it stands" not in answer.err


def test_what_is_no_file_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    """A device or a pipe stays one, a link leads where it led."""
    null = os.stat("/dev/null")
    words = [str(run()), "-o"]
    assert fleetsim("metrics", *words, "/dev/null").code == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert os.stat("/dev/null").st_rdev == null.st_rdev
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "file").write_text("old")
    assert fleetsim("metrics", *words, str(tmp_path / "link")).code == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text().endswith("# EOF\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("verb", ["trace", "metrics"])
def test_a_full_device_is_one_line(verb: str) -> None:
    wrong = faults(fleetsim(verb, str(run()), "-o", "/dev/full"), codes=(2,))
    assert not wrong, told(wrong)
