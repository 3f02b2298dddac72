"""Pages of studies, sweeps and several runs: the same numbers as the records, safe, drawn along what was varied."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from pages import HOSTILE, charts, numbers, safe

import sim
from sim import cli
from sim.analysis.replicate import replicate
from sim.analysis.varied import Varied, baselines, is_traffic, varied_of_configs
from sim.errors import InputError
from sim.records.config import to_json
from sim.records.run_dir import read_run
from sim.report.page_runs import named, runs_page
from sim.report.page_study import study_page
from sim.report.plot_study import plot_study
from sim.report.study_charts import layout_of
from sim.report.study_found import Found, shown_points, study_found
from sim.report_verbs import found_of
from sim.scenario.compose import load_scenario
from sim.scenario.resolved import resolved, traffic_key

DAY = date(2026, 2, 3)
SHORT = ["duration_s=200", "traffic.spikes=[{at_s: 60, height: 6, length_s: 40}]", "coldstart=snapshot"]
AXES = ["autoscaler=fixed,hpa{target: 4,16}", "traffic.arrivals.rate_per_s=4,9", "seed=1..4"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return sim.study("spiky_hour", [*SHORT, *AXES], out=tmp_path_factory.mktemp("studies"))


@pytest.fixture(scope="module")
def found(results: Any) -> Found:
    return study_found(results, None, DAY)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    place = tmp_path_factory.mktemp("runs")
    done = sim.compare("spiky_hour", [*SHORT, "autoscaler=fixed,hpa,queue"], out=place)
    return [run.path for run in done.runs.values() if run.path is not None]


# ---- a study ----------------------------------------------------------------------
def test_a_study_has_every_part(results: Any, found: Found) -> None:
    page = safe(study_page(found))
    titles = [title.text for title in page.all("h2")]
    assert titles == ["The answer", "What was varied", "The comparison", "Every point", "To repeat it"]
    assert "fleetsim sweep spiky_hour duration_s=200" in page.one("pre").text
    assert all(word.partition("=")[0] in page.one("pre").text for word in [*SHORT, *AXES])
    assert page.one("section", id="varied").text.count("fixed, hpa") == 1
    assert {figure.attributes["id"] for figure in page.all("figure")} == set(charts(page))
    facts = page.one("dl", **{"class": "facts"}).text
    assert "seed1..4" in facts
    assert "policyfixed, hpa" in facts


def test_the_means_of_a_page_are_those_of_the_rows(results: Any, found: Found) -> None:
    """Each figure in the tables of points is the mean over the rows of that point, to the last bit."""
    page = safe(study_page(found))
    told = set(numbers(page.one("section", id="points")))
    rows = results.runs.to_pylist()
    names = list(dict.fromkeys(row["variant"] for row in rows))
    again = replicate(rows, names, traffic={name: name.split("rate_per_s=")[1] for name in names})
    means = {value.mean for row in again.rows for value in row.values if value.mean is not None}
    assert means <= told
    usd = [r["usd_per_hour"] for r in rows if r["variant"] == names[0]]
    assert any(abs(sum(usd) / len(usd) - mean) < 1e-12 for mean in told)


def test_what_a_chart_of_a_study_draws_stands_in_its_table(found: Found) -> None:
    page = safe(study_page(found))
    shown = charts(page)
    checked = 0
    for figure in page.all("figure"):
        drawn = {
            row["y"]
            for rows in shown[figure.attributes["id"]]["datasets"].values()
            for row in rows
            if row["y"] is not None
        }
        assert drawn <= set(numbers(figure.one("table")))
        checked += len(drawn)
    assert checked > 20


def test_verdicts_are_within_the_same_traffic(found: Found) -> None:
    by_name = {row.name: row for row in found.found.rows}
    for name, row in by_name.items():
        if row.baseline is not None:
            assert name.split("rate_per_s=")[1] == row.baseline.split("rate_per_s=")[1]
            assert row.baseline.startswith("autoscaler=fixed")
    assert sum(row.baseline is None for row in by_name.values()) == 2


def test_a_study_of_hostile_names_is_safe(found: Found) -> None:
    names = [f"{name}{HOSTILE}" for name in found.varied.names]
    values = {
        key: [f"{v}{HOSTILE}" if isinstance(v, str) else v for v in vs]
        for key, vs in found.varied.values.items()
    }
    values = {f"{key}{HOSTILE}" if "." not in key else key: vs for key, vs in values.items()}
    rows = [
        row._replace(name=name, baseline=None if row.baseline is None else f"{row.baseline}{HOSTILE}")
        for row, name in zip(found.found.rows, [f"{r.name}{HOSTILE}" for r in found.found.rows], strict=True)
    ]
    worse = found._replace(
        name=HOSTILE,
        question=HOSTILE,
        varied=Varied(names, values),
        axes=values,
        found=found.found._replace(rows=rows),
        facts=[(HOSTILE, HOSTILE)],
        command=HOSTILE,
        head=found.head._replace(scenario=HOSTILE, differs=[HOSTILE], policy=HOSTILE),
    )
    page = safe(study_page(worse))
    assert page.one("h1").text.endswith("{{1}}")


def test_of_many_points_the_best_are_shown(results: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.report.study_found.SHOWN_POINTS", 3)
    chosen = shown_points(results.runs, ["same"] * 6, [0] * 6)
    assert len(chosen) <= 3
    assert chosen[0] == 0, "the first is there to compare with"
    ok = results.runs.group_by("point").aggregate([("slo_ok", "sum"), ("usd_per_hour", "mean")]).to_pylist()
    best = min(ok, key=lambda row: (-row["slo_ok_sum"], row["usd_per_hour_mean"]))
    assert best["point"] in chosen
    page = safe(study_page(study_found(results, None, DAY)))
    assert f"{len(chosen)} of 6 points are shown" in page.one("section", id="varied").text


def test_the_verbs_take_a_study_and_a_sweep(
    results: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["report", str(results.path), "-o", "study.html"]) == 0
    page = safe((tmp_path / "study.html").read_text(encoding="utf-8"))
    assert "kernels measured on" in page.one("section", id="assumptions").text
    assert cli.main(["compare", "spiky_hour", *SHORT, "autoscaler=fixed,queue", "seed=1..3"]) in (0, 3)
    capsys.readouterr()
    assert cli.main(["report", "latest"]) == 0
    path = Path(capsys.readouterr().out.strip())
    page = safe(path.read_text(encoding="utf-8"))
    assert page.one("pre").text.startswith("fleetsim compare spiky_hour duration_s=200")
    assert "autoscalerfixed, queue" in page.one("section", id="varied").text
    assert cli.main(["plot", "latest"]) == 0
    assert {p.suffix for p in path.parent.glob("plot.*")} == {".html", ".png"}


def test_a_picture_of_a_study_has_a_chart_for_each_measure(found: Found, tmp_path: Path) -> None:
    (path,) = plot_study(found, tmp_path, formats=("svg",))
    text = path.read_text(encoding="utf-8")
    for said in ("every limit", "ttft p99", "cost", "seed 1..4", "3 Feb 2026", "traffic.arrivals.rate_per_s"):
        assert said in text


# ---- several runs ----------------------------------------------------------------------
def test_runs_stand_side_by_side(runs: list[Path]) -> None:
    read = [read_run(path) for path in runs]
    page = safe(runs_page(read, DAY))
    assert [
        row.all("th")[0].text for row in page.one("section", id="comparison").all("tbody")[0].all("tr")
    ] == [
        "fixedbaseline",
        "hpa",
        "queue",
    ]
    summaries = [json.loads((path / "summary.json").read_text()) for path in runs]
    told = set(numbers(page.one("section", id="comparison")))
    for summary in summaries:
        assert {summary["usd_per_hour"], summary["ttft"]["p99_s"], summary["slo_attainment"]} <= told
    assert page.one("pre").text.count("fleetsim run spiky_hour") == 3
    assert {"ready", "waiting", "kv", "cost", "trade", "ttft-0"} <= set(charts(page))


def test_runs_are_called_by_what_tells_them_apart(runs: list[Path]) -> None:
    names, varied = named([read_run(path) for path in runs])
    assert list(names) == ["fixed", "hpa", "queue"]
    assert varied.values["autoscaler"] == ["fixed", "hpa", "queue"]
    twice, _ = named([read_run(runs[0]), read_run(runs[0])])
    assert len(twice) == 2, "even where nothing differs"


def test_a_study_among_runs_is_one_line(
    results: Any, runs: list[Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(["report", str(runs[0]), str(results.path), "-o", str(tmp_path / "x.html")]) == 2
    assert "side by side where all are runs" in capsys.readouterr().err
    assert not (tmp_path / "x.html").exists()
    with pytest.raises(InputError, match="at most"):
        runs_page([read_run(runs[0])] * 41)


# ---- what was varied ----------------------------------------------------------------------
@pytest.mark.parametrize(
    "words",
    [
        ["traffic.arrivals.rate_per_s=3"],
        ["traffic.prompt_tokens=100"],
        ["traffic.objectives.ttft_s=2"],
        ["traffic.patience.total_s=30"],
        ["retry=budgeted"],
        ["traffic.max_queue_s=3"],
        ["duration_s=3000"],
        ["pool.max_replicas=3"],
        ["gpu=h200"],
        ["autoscaler.target=5"],
        ["coldstart=snapshot"],
        ["router=random"],
    ],
    ids=lambda words: words[0],
)
def test_a_key_is_traffic_where_runs_see_other_requests(words: list[str]) -> None:
    """The rule by keys says the same as the key of whole scenarios, which sweeps and comparisons use."""
    base, other = (
        load_scenario("spiky_hour", more) for more in (["autoscaler=hpa"], ["autoscaler=hpa", *words])
    )
    key = words[0].partition("=")[0]
    assert is_traffic(key) == (traffic_key(base) != traffic_key(other))


def test_what_differs_is_told_by_the_keys_of_a_user() -> None:
    words = {
        "a": ["autoscaler=hpa", "autoscaler.target=4"],
        "b": ["autoscaler=hpa", "autoscaler.target=8", "gpu=h200"],
        "c": ["autoscaler=queue"],
    }
    configs = {name: resolved(load_scenario("spiky_hour", said)) for name, said in words.items()}
    varied = varied_of_configs(configs)
    assert varied.values["autoscaler"] == ["hpa", "hpa", "queue"]
    assert varied.values["autoscaler.target"][:2] == [4, 8]
    assert varied.values["gpu"][0] != varied.values["gpu"][1]
    assert not [key for key in varied.keys if key.startswith("gpu.")], "an option says it all"
    assert varied_of_configs({"a": configs["a"], "b": configs["a"]}).keys == []


def test_baselines_are_the_nearest_that_see_the_same_traffic() -> None:
    varied = Varied(
        ["fixed 1", "fixed 2", "hpa 1", "hpa 2", "odd"],
        {
            "autoscaler": ["fixed", "fixed", "hpa", "hpa", "hpa"],
            "traffic.arrivals.rate_per_s": [1, 2, 1, 2, 3],
        },
    )
    assert baselines(varied, {"autoscaler": "fixed"}) == [0, 1, 0, 1, None]
    assert baselines(varied, {})[3] == 1
    assert baselines(varied, {"autoscaler": "fixed"}, ["a"] * 5) == [0, 1, 0, 1, 0], (
        "the traffic as it is told"
    )
    mixed = Varied(list("abc"), {"x": [True, 1, to_json([1, 2], indent=None)], "y": [1, 1, 1]})
    assert baselines(mixed, {"x": 1}) == [1, 1, 1], "a truth is no number"
    assert baselines(mixed, {"x": True}) == [0, 0, 0]
    assert baselines(mixed, {"x": [1, 2]}) == [2, 2, 2], "as results keep a list"


def test_charts_lie_along_the_numeric_key_and_apart_by_option() -> None:
    n = 16
    varied = Varied(
        [str(i) for i in range(n)],
        {
            "autoscaler": ["hpa" if i < 8 else "queue" for i in range(n)],
            "pool.max_replicas": [4 + i % 4 for i in range(n)],
            "traffic.arrivals.rate_per_s": [1 + i // 4 % 2 for i in range(n)],
        },
    )
    layout = layout_of(varied)
    assert layout.x == "traffic.arrivals.rate_per_s"
    assert set(layout.charts) == {"hpa", "queue"}
    assert set(layout.series) == {f"max_replicas={i}" for i in range(4, 8)}
    only = layout_of(Varied(["a", "b"], {"autoscaler": ["a", "b"]}))
    assert only.x is None


def test_rows_of_an_arrow_table_are_counted_once(results: Any) -> None:
    assert found_of("study", results.path).n_run == pc.count(results.runs["seed"]).as_py() == 24


def test_a_damaged_result_is_one_line(
    results: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is missing of a folder's files: exit code 2 and a line, and no page."""
    monkeypatch.chdir(tmp_path)
    sim.sweep("spiky_hour", [1, 2], {"a": SHORT}, out=tmp_path / "results")
    (sweep,) = (tmp_path / "results").iterdir()
    plan = json.loads((sweep / "plan.json").read_text())
    for broken in (
        {"variants": {"a": {"config": 3}}, "seeds": [1]},
        {**plan, "seeds": None},
        [],
        {"variants": {}},
    ):
        (sweep / "plan.json").write_text(json.dumps(broken))
        assert cli.main(["report", str(sweep)]) == 2
    (sweep / "plan.json").write_text(json.dumps(plan))
    assert cli.main(["report", str(sweep)]) == 0
    (sweep / "report.html").unlink()
    (sweep / "sweep.parquet").write_bytes(b"PAR1")
    assert cli.main(["report", str(sweep)]) == 2
    (sweep / "sweep.parquet").unlink()
    assert cli.main(["report", str(sweep)]) == 2
    assert not (sweep / "report.html").exists()
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 6
    assert all("is not valid; allowed: " in line for line in told)
