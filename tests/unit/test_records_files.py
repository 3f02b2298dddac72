"""A run's folder appears whole or not at all, and bad disks and folders give one clear line."""

from __future__ import annotations

import errno
import json
import math
import os
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fake_result import FakeOutput, FakeScenario, spiky_run, without_requests

from sim.analysis.summary import summarize
from sim.errors import InputError
from sim.records import files
from sim.records.config import from_json, plain, to_json
from sim.records.files import whole_file
from sim.records.run_dir import find_run, read_run, run_path, run_tables, write_run
from sim.scenario.resolved import config_hash

ALL_FILES = {"requests.parquet", "timeseries.parquet", "summary.parquet", "summary.json", "config.json"}


def write(path: Path, scenario: Any = None, records: bool = True) -> Path:
    """A small run written to `path`."""
    made, result = spiky_run(n=200, lost=0.1)
    scenario = scenario or made
    result = result if records else without_requests(result)
    summary = summarize(scenario, result, engine="cpu")
    return write_run(path, scenario, run_tables(scenario, result, summary), summary, {"engine": "cpu"})


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_folder_holds_everything_and_reads_back(tmp_path: Path) -> None:
    path = write(tmp_path / "run")
    assert left_in(tmp_path) == {"run"}
    assert left_in(path) == ALL_FILES
    run = read_run(path)
    scenario, result = spiky_run(n=200, lost=0.1)
    assert run.summary == summarize(scenario, result, engine="cpu")
    assert run.tables.requests.num_rows == 200
    assert run.config["seed"] == 1
    assert run.config["config"]["pools"][0]["gpu"]["name"] == "h100"
    assert {"python", "fleetsim", "numpy", "numba", "pyarrow"} <= set(run.config["versions"])


def test_footers_say_what_made_the_file(tmp_path: Path) -> None:
    run = read_run(write(tmp_path / "run"))
    for table in (table for table in run.tables if table.num_rows):
        about = table.schema.metadata
        assert about[b"fleetsim_config_hash"].decode() == run.config["config_hash"]
        assert about[b"fleetsim_digest"].decode() == run.summary["digest"]
        assert about[b"fleetsim_schema_version"] == b"2"


def test_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a"), write(tmp_path / "b")
    for name in ALL_FILES:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_summary_json_is_plain_json_with_infinity_as_text(tmp_path: Path) -> None:
    text = (write(tmp_path / "run") / "summary.json").read_text()
    summary = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert summary["ttft"]["p99_s"] == "inf"


def test_taken_name_gets_a_number(tmp_path: Path) -> None:
    paths = [write(tmp_path / "run") for _ in range(3)]
    assert [path.name for path in paths] == ["run", "run-2", "run-3"]
    assert all(left_in(path) == ALL_FILES for path in paths)


def test_records_off_writes_no_requests_and_reads_as_none(tmp_path: Path) -> None:
    scenario = replace(FakeScenario(), output=FakeOutput(records=False))
    path = write(tmp_path / "run", scenario, records=False)
    assert left_in(path) == ALL_FILES - {"requests.parquet"}
    assert read_run(path).tables.requests.num_rows == 0


@pytest.mark.parametrize(("where", "name"), [(os, "rename"), (os, "fsync"), (files.tempfile, "mkdtemp")])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_failing_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, code: int
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(where, name, fails)
    with pytest.raises(InputError) as caught:
        write(tmp_path / "run")
    monkeypatch.undo()
    assert left_in(tmp_path) == set()
    assert len(caught.value.problems) == 1
    assert "\n" not in caught.value.problems[0]
    assert os.strerror(code) in caught.value.problems[0]


def test_disk_full_in_the_middle_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("sim.records.run_dir.to_json", fails)  # after the Parquet files
    with pytest.raises(InputError, match="No space left"):
        write(tmp_path / "run")
    assert left_in(tmp_path) == set()


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(InputError, match=r"output\.dir"):
        write(tmp_path / "results" / "run")


def test_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "run")
    assert left_in(tmp_path) == set()


def test_whole_file_keeps_the_old_one_when_the_new_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "plot.html"
    path.write_text("old")

    def fails(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(InputError), whole_file(path) as tmp:
        tmp.write_text("new")
    assert path.read_text() == "old"
    assert left_in(tmp_path) == {"plot.html"}


def test_run_path_names_scenario_time_and_configuration() -> None:
    scenario = replace(FakeScenario(), name="a b/../c")
    path = run_path("results", scenario, datetime(2026, 3, 4, 5, 6, 7))
    assert path.parent == Path("results")
    assert re.fullmatch(r"a_b_\.\._c-20260304-050607-[0-9a-f]{6}", path.name)


def test_hash_is_of_what_changes_results() -> None:
    scenario = FakeScenario()
    assert config_hash(scenario) == config_hash(replace(scenario, output=FakeOutput(dir="elsewhere")))
    assert config_hash(scenario) != config_hash(replace(scenario, seed=2))


def test_json_keeps_infinity_and_loses_nan() -> None:
    value = {"a": math.inf, "b": [-math.inf, 1.5], "c": math.nan, "d": "text", "e": None, "f": 2**62}
    back = from_json(to_json(value))
    assert back == {**value, "c": None}
    assert plain((1, 2)) == [1, 2]


def test_runs_are_found_by_path_name_scenario_and_latest(tmp_path: Path) -> None:
    old = write(tmp_path / "chat_spiky_hour-20260101-000000-abcdef")
    new = write(tmp_path / "chat_spiky_hour-20260102-000000-abcdef")
    os.utime(old / "summary.json", (1, 1))
    assert find_run(str(old), tmp_path) == old
    assert find_run(old.name, tmp_path) == old
    assert find_run("chat_spiky_hour", tmp_path) == new
    assert find_run("latest", tmp_path) == new
    with pytest.raises(InputError, match="did you mean 'chat_spiky_hour'"):
        find_run("chat_spikey_hour", tmp_path)


def test_other_schema_versions_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "run")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "schema_version": 99}))
    with pytest.raises(InputError, match="99"):
        read_run(path)
    with pytest.raises(InputError, match=r"summary\.json"):
        read_run(tmp_path)


@pytest.mark.parametrize("name", ["summary.json", "config.json", "timeseries.parquet", "requests.parquet"])
def test_a_broken_file_is_one_clear_line(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "run")
    (path / name).write_bytes((path / name).read_bytes()[:100])
    with pytest.raises(InputError, match="files are whole") as caught:
        read_run(path)
    assert "\n" not in str(caught.value)
