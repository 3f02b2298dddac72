"""Pictures of a cluster hold what its records do, and what a cold start's wait was for sums to the whole of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_result import spiky_run
from pages import HOSTILE, charts, safe
from rich.console import Console
from test_report_page import poisoned

import sim
from sim.analysis.blame import blame_of_run
from sim.analysis.cold import UNTOLD, UNWANTED, ColdStarts, Part, cold_starts_of, waited_for
from sim.analysis.start_parts import Start
from sim.analysis.summary import summarize
from sim.outlets.cluster_metrics import cluster_series
from sim.outlets.series import Grid
from sim.records.occupancy import Occupancy, occupancy
from sim.records.run_dir import RunFiles, read_run, run_tables, write_run
from sim.report.cluster import gantt as gantts
from sim.report.cluster.gantt import gantt
from sim.report.cluster.parts import charts_below, gpus_over_time
from sim.report.cluster.rows import MARK_LOOKS, MARK_NAMES, gpu_rows
from sim.report.cluster.waterfall import all_starts, chosen
from sim.report.page_run import run_page
from sim.report.panels import time_axis
from sim.report.plot import run_chart
from sim.report.text import seconds
from sim.report.why_cold import cold_wait, link_lines, rows_of, wait_table
from sim.report.why_request import print_request, stage_rows
from sim.units import s_to_ps

DAY = date(2026, 2, 3)
#: A fleet that gets nodes, cuts GPUs, loses a node after a notice, drains one and rolls out a version, in few requests.
CUT = (
    "cluster.node_groups=[{name: cut, gpu: a100_80, gpus: 2, min_nodes: 1, max_nodes: 3, mig: dynamic,"
    " usd_per_node_hour: 10, provision: {provisioning: 20, booting: 10, driver: 5}, cache_gb: 4}]"
)
WORDS = [
    *(
        "duration_s=500",
        "warmup_s=20",
        "drain_s=200",
        "traffic.arrivals.rate_per_s=1",
        "model=llama_3_2_1b",
        "gpu=a100_80",
    ),
    *("cluster=mig_a100_pool", CUT, "coldstart=snapshot", "autoscaler=queue_to_zero", "slo=none"),
    *("pool={slice: 1g.10gb, min_replicas: 0, max_replicas: 9}", "runtime.max_model_len=4096"),
    "links=[{name: NFS, bandwidth_gb_s: 1}]",
    "faults=[{at_s: 260, node_group: cut, nodes: 1, outage_s: 30}, {at_s: 400, node_group: cut, nodes: 1, drains: true}]",
    "traffic.spikes=[{at_s: 90, height: 10, length_s: 60, ramp_s: 5}]",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    done = sim.run("spiky_hour", WORDS, out=tmp_path_factory.mktemp("cut"))
    assert done.path is not None
    return done.path


@pytest.fixture(scope="module")
def run(folder: Path) -> RunFiles:
    return read_run(folder)


@pytest.fixture(scope="module")
def told(run: RunFiles) -> Occupancy:
    return occupancy(run.tables.events, s_to_ps(float(run.summary["end_s"])))


# ---- who holds what ----------------------------------------------------------------------
def test_what_is_held_is_what_samples_saw(run: RunFiles, told: Occupancy) -> None:
    """A sample comes after all that happens at its instant but for what a controller's tick then does."""
    samples = run.tables.nodes.to_pylist()
    for row in samples:
        t = row["time_ps"]
        found = [
            sum(
                h.place.slices
                for h in told.held
                if h.begin_ps <= at < h.end_ps and h.place.node[0] == row["node_group"]
            )
            for at in (t - 1, t)
        ]
        assert min(found) <= row["used_slices"] <= max(found), row
    assert max(row["used_slices"] for row in samples) > 0


def test_slices_that_are_held_never_overlap(told: Occupancy) -> None:
    held = sorted(told.held, key=lambda one: (one.place.node, one.place.gpu, one.begin_ps))
    assert len(held) > 20
    for i, one in enumerate(held):
        for other in held[i + 1 :]:
            if (other.place.node, other.place.gpu) != (one.place.node, one.place.gpu):
                break
            if other.begin_ps < one.end_ps:
                last = one.place.first + one.place.slices
                assert other.place.first >= last or other.place.first + other.place.slices <= one.place.first


def test_every_kind_of_mark_has_a_look() -> None:
    assert set(MARK_NAMES.values()) == set(MARK_LOOKS)


def test_the_chart_draws_every_bar_and_its_table_names_it(run: RunFiles, told: Occupancy) -> None:
    rows = gpu_rows(run.config, told)
    found = gantt(run, time_axis(float(run.summary["end_s"])), told, rows, 700)
    nodes, held = (next(iter(layer.to_dict()["datasets"].values())) for layer in found.panel.layers[:2])
    assert len(nodes) == len(told.nodes)
    assert len(held) == len(told.held)
    assert all(0 <= bar["t"] <= bar["t2"] and 0 <= bar["y"] < bar["y2"] <= rows.n for bar in held)
    assert {"node lost", "cordoned or drained", "fault"} <= {row[3] for row in found.values.rows}
    assert sum(row[3] == "ready" for row in found.values.rows) == sum(
        one.stage == "ready" for one in told.held
    )


def test_too_many_gpus_are_stacked(run: RunFiles, told: Occupancy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gantts, "GPUS_MAX", 1)
    rows, end_s = gpu_rows(run.config, told), float(run.summary["end_s"])
    found = gantt(run, time_axis(end_s), told, rows, 700)
    head, body = found.values.head, found.values.rows
    at = list(head).index("ready")
    drawn = sum(row[at].value for row in body) / len(body) * end_s  # type: ignore[union-attr, misc]
    ready = sum((h.end_ps - h.begin_ps) * h.place.slices / 8 for h in told.held if h.stage == "ready") / 1e12
    assert sum(row[-1].count("node lost") for row in body) == 1
    assert drawn == pytest.approx(ready, rel=1e-6)
    assert "too many to draw one by one" in found.note


def test_samples_of_gpus_and_links_are_those_of_the_run(run: RunFiles, told: Occupancy) -> None:
    for row in run.tables.nodes.to_pylist():
        t, ready = row["time_ps"], row["nodes_ready"] * 2
        assert 0 <= row["empty_gpus"] + row["part_gpus"] <= ready
        assert row["free_slices"] >= 8 * row["empty_gpus"] + row["part_gpus"]
        held = [
            {
                h.place[:2]
                for h in told.held
                if h.begin_ps <= at < h.end_ps and is_ready(told, h.place.node, at)
            }
            for at in (t - 1, t)
        ]
        assert min(map(len, held)) <= ready - row["empty_gpus"] <= max(map(len, held))
    links, found = run.tables.links.to_pylist(), run.summary["links"]["NFS"]
    assert sum(row["moved_bytes"] for row in links) == pytest.approx(found["run_moved_gb"] * 1e9)
    assert sum(row["busy_s"] for row in links) == pytest.approx(found["run_busy_s"])
    assert sum(row["full_s"] for row in links) == pytest.approx(found["run_full_s"])
    assert all(row["rate"] <= row["capacity"] for row in links)
    assert max(row["transfers"] for row in links) <= found["run_transfers_max"]


def is_ready(told: Occupancy, node: tuple[str, int], t: int) -> bool:
    """Whether a node is ready at an instant."""
    return any(s.node == node and s.stage == "ready" and s.begin_ps <= t < s.end_ps for s in told.nodes)


def test_metrics_tell_what_samples_saw(run: RunFiles) -> None:
    grid = Grid(np.unique(run.tables.nodes.column("time_ps").to_numpy()))
    found = {
        (one.family.name, one.labels): one.values
        for one in cluster_series(SimpleNamespace(run=run, grid=grid))
    }  # type: ignore[arg-type]
    rows = run.tables.nodes.to_pylist()
    assert found["fleetsim_nodes", ("cut", "ready")].tolist() == [row["nodes_ready"] for row in rows]
    states = [
        found["fleetsim_gpu_slices", ("cut", state)] for state in ("replicas", "jobs", "free", "useless")
    ]
    assert sum(states).tolist() == [row["used_slices"] + row["free_slices"] for row in rows]  # type: ignore[union-attr]
    assert found["fleetsim_link_transfers", ("NFS",)].max() > 1
    assert len(found["fleetsim_link_bytes_per_second", ("NFS",)]) == len(grid.time_ps)


# ---- cold starts ----------------------------------------------------------------------
def test_the_starts_that_are_drawn_are_those_of_the_records(run: RunFiles) -> None:
    starts = all_starts(run.tables.starts)
    ends = np.array(run.tables.starts.column("end_ps").to_pylist())
    assert sum(len(start.steps) for start in starts) == len(ends)
    found = dict(chosen(starts))
    lengths = sorted(start.total_s for start in starts)
    assert found["slowest"].total_s == lengths[-1]
    assert found["fastest"].total_s == lengths[0]
    assert found["median"].total_s == lengths[-(-len(lengths) // 2) - 1]
    assert "held back by NFS" in " ".join(step.text for step in found["slowest"].steps)
    assert chosen([]) == []


def test_a_cold_starts_wait_is_told_whole_request_by_request(run: RunFiles) -> None:
    assert_told_whole(run)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ("mig_packing", []),
        ("noisy_neighbour", []),
        ("scale_to_zero_fleet", []),
        ("spot_wave", []),
        ("zone_loss", ["cluster=three_zones", "gpu=h100"]),
        ("rolling_upgrade_under_load", []),
        ("gpu_drought", []),
        ("weights_from_one_store", ["links.0.bandwidth_gb_s=6", "pool.max_replicas=16", "duration_s=400"]),
    ],
)
def test_it_is_told_whole_in_every_story(scenario: str, words: list[str], tmp_path: Path) -> None:
    done = sim.run(scenario, words, out=tmp_path)
    assert done.path is not None
    assert_told_whole(read_run(done.path))


def assert_told_whole(run: RunFiles) -> None:
    """What a request waited for sums to its recorded wait, to the picosecond, and nothing is left untold."""
    found = cold_starts_of(run)
    assert found is not None
    n = run.tables.requests.num_rows
    told = np.asarray(run.tables.requests.column("blame_cold_start_ps").fill_null(0).to_numpy())
    whole = found.split(np.arange(n))
    assert sum(whole.parts_ps.values()) == whole.total_ps == int(told.sum()) > 0
    assert Part(UNTOLD) not in whole.parts_ps
    for row in np.flatnonzero(told)[:: max(1, n // 50)].tolist():
        one = found.split(np.array([row]))
        assert sum(one.parts_ps.values()) == one.total_ps == told[row]
    for part, held_ps in whole.held_back_ps.items():
        assert 0 < held_ps <= whole.parts_ps[part] * (1 + 1e-9)


def test_a_wait_is_for_the_start_that_is_ready_first() -> None:
    def start(begin: int, end: int, is_ready: bool = True) -> Start:
        return Start(begin, end, is_ready, [begin], [Part("engine_start")], [0.0])

    late, early, given_up = start(0, 50), start(10, 30), start(5, 40, False)
    found = list(waited_for([late, early, given_up], [0, 5, 10, 29, 30, 45, 50]))
    assert found == [late, late, early, early, late, late, None]
    assert list(waited_for([given_up, start(6, 20, False)], [6, 39])) == [given_up, given_up]


def test_a_wait_before_anybody_asked_is_told_as_such(run: RunFiles) -> None:
    parts = ColdStarts(run).split(np.arange(run.tables.requests.num_rows)).parts_ps
    assert parts[Part(UNWANTED)] > 0
    assert Part("weight_load", "NFS") in parts


def test_why_says_it(run: RunFiles) -> None:
    blame = blame_of_run(run)
    wait = cold_wait(run, blame)
    assert wait is not None
    assert wait.both.total_ps == blame.missed.parts_ps["cold_start"] + blame.met.parts_ps["cold_start"]
    out = StringIO()
    Console(width=80, file=out).print(wait_table(wait, blame))
    assert max(map(len, out.getvalue().splitlines())) <= 80
    assert [label for label, _ in rows_of(wait)][:2] == ["nobody asked yet", "waiting for a slice"]
    assert link_lines(wait)[0].startswith("weight load: ")
    assert "held back by NFS" in link_lines(wait)[0]


def test_why_says_it_of_one_request(run: RunFiles) -> None:
    rows = run.tables.requests.to_pylist()
    row = max(rows, key=lambda r: r["blame_cold_start_ps"] or 0)
    out = StringIO()
    print_request(run, str(row["request_id"]), Console(width=100, file=out))
    found = cold_starts_of(run)
    assert found is not None
    stages = stage_rows(found.split(np.array([row["request_id"]])))
    assert sum(ps for _, ps in stages) == row["blame_cold_start_ps"] > 0
    for text, ps in stages:
        assert f"{text} " in out.getvalue()
        assert seconds(ps / 1e12) in out.getvalue()


# ---- whole pictures ----------------------------------------------------------------------
def test_a_picture_and_a_page_have_them(run: RunFiles) -> None:
    page = safe(run_page(run, DAY))
    ids = set(charts(page))
    assert {"gpus", "start-0", "bill-chart"} <= ids
    assert {f"cluster-{name}" for name in ("nodes", "slices", "links", "transfers", "power")} <= ids
    bill = page.one("figure", id="bill-chart").one("table").all("tr")
    assert bill[-1].all("td")[-1].attributes["data-value"] == repr(
        float(sum(x["usd"] for x in run.summary["usd_lines"]))
    )
    texts = json.dumps(run_chart(run, DAY).to_dict())
    assert "GPUs over time" in texts
    assert "The bill by line" in texts


def test_a_run_without_a_cluster_has_none(tmp_path: Path) -> None:
    story, made = spiky_run(n=1000)
    kept = write_run(
        tmp_path / "plain", story, run_tables(story, made, summarize(story, made)), summarize(story, made)
    )
    run = read_run(kept)
    assert gpus_over_time(run, time_axis(100.0)) is None
    assert charts_below(run) == []


def test_names_of_somebody_who_means_harm_are_text(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "run"
    place.mkdir()
    for path in folder.iterdir():
        if path.suffix == ".json":
            data = json.loads(path.read_text(encoding="utf-8"))
            (place / path.name).write_text(json.dumps(poisoned(data)), encoding="utf-8")
        elif path.suffix == ".parquet":
            pq.write_table(
                renamed(pq.read_table(path), ("pool", "class", "model", "gpu", "node_group", "link", "step")),
                place / path.name,
            )
    run = read_run(place)
    text = run_page(run, DAY)
    embedded = safe(text).one("script", id="charts").text
    assert "gpu_names" in embedded
    assert "<" not in embedded


def renamed(table: pa.Table, names: Sequence[str]) -> Any:
    """The table with hostile names."""
    for name in names:
        if name in table.column_names:
            values = [None if value is None else f"{value}{HOSTILE}" for value in table[name].to_pylist()]
            column = pa.array(values, type=pa.string()).dictionary_encode()
            table = table.set_column(table.column_names.index(name), name, column)
    return table
