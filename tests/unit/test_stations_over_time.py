"""CPU stations over time: the table, its picture, and what a comparison says of the response cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sim
from sim.analysis.blame import blame_of_run
from sim.analysis.compare import compare
from sim.records.run_dir import read_run
from sim.records.schema import STATIONS, units
from sim.report.plot import run_chart
from sim.report.series import MAX_POINTS, station_samples
from sim.runner import Run

SHORT = ["duration_s=40", "drain_s=300"]
TWO = ["station@gateway.stations.check=guardrail_check", "traffic.after=[check]"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return sim.run("slow_tokeniser", [*SHORT, *TWO], out=tmp_path_factory.mktemp("runs"))


def of(table: Any, station: str) -> dict[str, np.ndarray]:
    """The rows of one station as columns."""
    rows = np.array(table.column("station").to_pylist()) == station
    return {name: table.column(name).to_numpy(zero_copy_only=False)[rows] for name in table.column_names}


def test_a_row_for_each_sample_and_station_with_units(kept: Run) -> None:
    table = kept.stations
    assert table.column_names == [column.name for column in STATIONS]
    assert units(table.schema)["in_line"] == "visits"
    assert table.column("station").to_pylist()[:2] == ["tokeniser", "check"]
    times = np.unique(table.column("time_ps").to_numpy())
    assert len(times) * 2 == table.num_rows
    assert set(times) <= set(kept.result.samples["time_ps"])


def test_the_line_is_what_the_requests_say(kept: Run) -> None:
    """Taken and not yet routed: at work at the tokeniser, or in its line."""
    requests = kept.result.requests
    seen = of(kept.stations, "tokeniser")
    for time_ps, busy, line in zip(seen["time_ps"], seen["busy_workers"], seen["in_line"], strict=True):
        there = (requests["taken_ps"] < time_ps) & (requests["routed_ps"] > time_ps)
        assert busy + line == there.sum()
    assert seen["in_line"].max() > 10


def test_what_intervals_add_up_to_is_the_summary(kept: Run) -> None:
    for name, found in kept.summary["stations"].items():
        seen = of(kept.stations, name)
        assert seen["visits"].sum() == found["run_visits"]
        assert seen["busy_s"].sum() == pytest.approx(found["run_busy_s"])
        assert np.nanmax(seen["use"]) <= 1 + 1e-12
        assert np.isnan(seen["use"][0])
    assert np.nanmedian(of(kept.stations, "tokeniser")["use"]) == pytest.approx(1)


def test_work_of_clients_who_left_is_in_the_line_too() -> None:
    run = sim.run("slow_tokeniser", [*SHORT, "traffic.patience.first_token_s=0.5"])
    seen = of(run.stations, "tokeniser")
    longest = int(np.argmax(seen["wait_s"]))
    taken_s = run.result.requests["taken_ps"] / 1e12
    patient = (taken_s < seen["time_s"][longest]) & (taken_s >= seen["time_s"][longest] - 0.5)
    assert seen["wait_s"][longest] > 0.5
    assert seen["in_line"][longest] > patient.sum()


def test_both_engines_leave_the_same_table() -> None:
    one, other = (sim.run("slow_tokeniser", [*SHORT, *TWO, f"engine={name}"]) for name in ("cpu", "simpy"))
    assert one.digest == other.digest
    assert one.stations.equals(other.stations)


def test_no_stations_no_file_no_panel(tmp_path: Path) -> None:
    run = sim.run("first_run", ["duration_s=20"], out=tmp_path)
    assert run.path is not None
    assert not (run.path / "stations.parquet").exists()
    assert read_run(run.path).tables.stations.num_rows == 0
    assert "CPU stations" not in run_chart(read_run(run.path)).to_json()
    unsampled = sim.run("slow_tokeniser", [*SHORT, "output.sample_interval_s=7"])
    assert set(np.diff(of(unsampled.stations, "tokeniser")["time_s"])) == {7.0}


def test_the_picture_has_a_panel_for_use_and_one_for_lines(kept: Run) -> None:
    assert kept.path is not None
    run = read_run(kept.path)
    spec = run_chart(run).to_dict()
    titles = [panel["title"] for panel in spec["vconcat"]]
    assert titles[2:4] == ["CPU stations: workers busy", "CPU stations: requests in line"]
    seen = station_samples(run.tables.stations)
    assert seen is not None
    assert list(seen.in_line) == ["tokeniser", "check"]
    assert len(seen.time_s) <= MAX_POINTS


def test_many_samples_are_thinned(kept: Run) -> None:
    long = sim.run("slow_tokeniser", [*SHORT, "output.sample_interval_s=0.05"]).stations
    seen = station_samples(long)
    assert seen is not None
    assert len(seen.time_s) <= MAX_POINTS < long.num_rows
    assert seen.in_line["tokeniser"].max() == of(long, "tokeniser")["in_line"].max()
    assert np.nanmax(seen.use["tokeniser"]) == pytest.approx(1)


def test_a_comparison_tells_what_the_response_cache_answered() -> None:
    asked = ["duration_s=60", "traffic.popularity={catalogue: 50, cacheable: 0.5}"]
    runs = {
        f"{n}": sim.run("first_run", [*asked, f"gateway.response_cache={{entries: {n}}}"]) for n in (0, 50)
    }
    found = compare({name: run.summary for name, run in runs.items()})
    at = [measure.label for measure in found.measures].index("from cache")
    none, some = (row.values[at] for row in found.rows)
    assert none == 0
    summary = runs["50"].summary
    assert some == summary["from_cache"] / summary["completed"] > 0.2
    assert found.rows[1].best[at]
    plain = compare({"a": sim.run("first_run", ["duration_s=20"]).summary})
    assert "from cache" not in [measure.label for measure in plain.measures]


def test_the_share_from_the_cache_can_be_a_limit() -> None:
    overrides = ["duration_s=60", "traffic.popularity={catalogue: 50, cacheable: 0.5}"]
    more = ["gateway.response_cache={entries: 50}", 'slo=["from_cache_fraction > 20 %"]']
    assert sim.run("first_run", [*overrides, *more]).ok


def test_stations_behind_the_gpu_are_no_part_of_tpot(tmp_path: Path) -> None:
    """Rows, summary and `why` mean the same: half a second of checks after the last token is nobody's token."""
    overrides = [
        "duration_s=30",
        "gateway.stations.check={workers: 40, base_ms: 500}",
        "traffic.after=[check]",
    ]
    run = sim.run("first_run", overrides, out=tmp_path)
    tpot = run.requests.column("tpot_s").drop_null().to_numpy()
    assert tpot.mean() == pytest.approx(run.summary["tpot"]["mean_s"])
    assert tpot.max() < 0.05
    assert run.path is not None
    found = blame_of_run(read_run(run.path), None, "e2e")
    assert found.n_missed == run.summary["offered"] - run.summary["goodput"] == 0
    e2e = run.requests.column("e2e_s").to_numpy() - run.requests.column("ttft_s").to_numpy()
    assert e2e.min() >= 0.5
