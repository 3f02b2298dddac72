"""The page of a run: whole, safe to open whatever stands in its files, its numbers those of the records."""

from __future__ import annotations

import json
import re
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_result import spiky_run, two_pools, without_requests
from pages import HOSTILE, charts, numbers, numbers_in, safe
from rich.console import Console

import sim
from sim import cli
from sim.analysis.summary import summarize
from sim.analysis.verdicts import verdicts, with_verdicts
from sim.records.run_dir import read_run, run_tables, write_run
from sim.report.assumed import assumptions, kind_of
from sim.report.heads import command_of, head_of_run
from sim.report.page import hash_of, vega
from sim.report.page_run import run_page
from sim.report.plot import run_chart
from sim.report.style import MAX_LOOKS, POLICIES, looks
from sim.report.terminal import print_run

DAY = date(2026, 2, 3)
SPIKE = "traffic.spikes=[{at_s: 100, height: 8, length_s: 60, ramp_s: 10}]"
WORDS = ["duration_s=400", SPIKE, "autoscaler=hpa", "coldstart=snapshot", "seed=3", "pool.min_replicas=1"]
COMMAND = (
    "fleetsim run spiky_hour duration_s=400 'traffic.spikes=[{at_s: 100, height: 8, length_s: 60, ramp_s: 10}]'"
    " autoscaler=hpa coldstart=snapshot seed=3 pool.min_replicas=1"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    done = sim.run("spiky_hour", WORDS, out=tmp_path_factory.mktemp("results"))
    assert done.path is not None
    return done.path


@pytest.fixture(scope="module")
def hostile(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which every name and text was written by somebody who means harm."""
    place = tmp_path_factory.mktemp("hostile") / "run"
    place.mkdir()
    for path in folder.iterdir():
        if path.suffix == ".json":
            data = json.loads(path.read_text(encoding="utf-8"))
            (place / path.name).write_text(json.dumps(poisoned(data)), encoding="utf-8")
        elif path.suffix == ".parquet":
            table = pq.read_table(path)
            for name in ("pool", "class", "model", "gpu"):
                if name in table.column_names:
                    text = pa.array(
                        [f"{value}{HOSTILE}" for value in table[name].to_pylist()]
                    ).dictionary_encode()
                    table = table.set_column(table.column_names.index(name), name, text)
            pq.write_table(table, place / path.name)
    return place


NAMED = ("classes", "pools", "tenants", "stages", "reasons", "versions")
TEXTS = {
    "scenario",
    "question",
    "look_at",
    "name",
    "pool",
    "gpu",
    "text",
    "source",
    "confidence",
    "price_source",
    "note",
}
TEXTS |= {"said", "price_confidence", "over", "of", "law", "config_hash", "digest", "engine", "model"}


def poisoned(value: Any, key: str = "") -> Any:
    """The data with hostile names and texts, those left alone that decide how it is read."""
    if isinstance(value, dict):
        is_named = key in NAMED
        return {
            f"{name}{HOSTILE}" if is_named else name: poisoned(item, name) for name, item in value.items()
        }
    if isinstance(value, list):
        return [poisoned(item, "" if isinstance(item, dict) else key) for item in value]
    return f"{value}{HOSTILE}" if isinstance(value, str) and key in TEXTS else value


def test_it_has_every_part_and_nothing_that_loads(folder: Path) -> None:
    page = safe(run_page(read_run(folder), DAY))
    titles = [found.text for found in page.all("h2")]
    assert titles == [
        *("What came out", "Over time", "Latencies", "Cold starts", "Why requests missed", "Fleet", "Cost"),
        *("What it rests on", "To repeat it"),
    ]
    assert page.one("h1").text.startswith("Two spikes to eight times")
    facts = dict(zip([d.text for d in page.one("dl", **{"class": "facts"}).all("dt")],
                     [d.text for d in page.one("dl", **{"class": "facts"}).all("dd")], strict=True))  # fmt: skip
    assert facts == {
        "scenario": "spiky_hour",
        "differs": f"duration_s=400 {SPIKE} autoscaler=hpa coldstart=snapshot pool.min_replicas=1",
        "seed": "3",
        "GPU": "H100 SXM 80 GB",
        "policy": "hpa",
        "drawn": "3 Feb 2026",
    }
    assert page.one("pre").text == COMMAND
    assert read_run(folder).summary["digest"] in page.one("section", id="repeat").text


def test_its_policy_allows_its_own_scripts_and_no_request(folder: Path) -> None:
    page = safe(run_page(read_run(folder), DAY))
    (policy,) = [m.attributes["content"] for m in page.all("meta") if "http-equiv" in m.attributes]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    allowed = re.findall(r"'sha256-([^']+)'", policy)
    assert allowed == [hash_of(script.text) for script in page.all("script") if not script.attributes]
    assert "unsafe-eval" not in policy


def test_every_chart_has_its_values_beside_it(folder: Path) -> None:
    page = safe(run_page(read_run(folder), DAY))
    figures = page.all("figure")
    assert {figure.attributes["id"] for figure in figures} == set(charts(page))
    for figure in figures:
        table = figure.one("details").one("table")
        assert len(table.all("tr")) > 1, figure.attributes["id"]
    assert len(figures) >= 8


def test_a_table_over_time_holds_what_its_chart_draws(folder: Path) -> None:
    page = safe(run_page(read_run(folder), DAY))
    shown = charts(page)
    checked = 0
    for figure in page.all("figure", data_axis="time"):
        head = [th.text for th in figure.one("table").one("thead").all("th")]
        drawn = {
            (row["t"], row["series"]): row["y"]
            for row in rows_of(shown[figure.attributes["id"]])
            if {"t", "series"} <= set(row) and row["y"] is not None
        }
        told = {}
        for row in figure.one("table").one("tbody").all("tr"):
            first, *rest = [cell for cell in row.inside if not isinstance(cell, str)]
            for name, cell in zip(head[1:], rest, strict=True):
                if "data-value" in cell.attributes:
                    told[float(first.attributes["data-value"]), name] = float(cell.attributes["data-value"])
        assert told == drawn
        checked += len(told)
    assert checked > 200


def test_no_word_lies_over_a_line(folder: Path) -> None:
    """What a limit is stands in the legend: charts over time draw no text at all."""
    page = safe(run_page(read_run(folder), DAY))
    ttft = page.one("figure", id="ttft-0")
    assert "ttft.p99 < 1 s" in ttft.one("ul", **{"class": "legend"}).text
    for figure in page.all("figure", data_axis="time"):
        assert '"text"' not in json.dumps(charts(page)[figure.attributes["id"]]["layer"])


def rows_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """All rows of data that a chart draws."""
    return [row for rows in spec["datasets"].values() for row in rows]


def test_its_numbers_are_those_of_the_summary(folder: Path) -> None:
    """To the last bit: what stands behind a text of these sections is a number of summary.json."""
    run = read_run(folder)
    page = safe(run_page(run, DAY))
    known = numbers_in(json.loads((folder / "summary.json").read_text()))
    for name in ("came-out", "latencies", "fleet", "cost"):
        section = page.one("section", id=name)
        told = numbers(section)
        assert len(told) >= 4, name
        assert set(told) <= known, name
    flat = pq.read_table(folder / "summary.parquet").to_pylist()[0]
    p99 = [
        cell for cell in page.one("section", id="latencies").all("td") if cell.attributes.get("data-value")
    ]
    assert repr(flat["ttft_p99_s"]) in {cell.attributes["data-value"] for cell in p99}


def test_its_texts_are_those_of_the_terminal(folder: Path) -> None:
    run = read_run(folder)
    page = safe(run_page(run, DAY))
    out = StringIO()
    print_run(run, Console(file=out, width=400))
    terminal = out.getvalue()
    cells = [cell.text for cell in page.one("section", id="latencies").all("td")]
    assert cells
    assert [text for text in cells if text not in terminal] == []
    for line in page.one("section", id="fleet").one("ul").all("li"):
        assert line.text in terminal
    for limit in page.one("ul", **{"class": "limits"}).all("li"):
        assert limit.one("span", **{"class": "was"}).text in terminal


def test_nothing_from_a_file_becomes_markup_or_script(hostile: Path) -> None:
    text = run_page(read_run(hostile), DAY)
    page = safe(text)
    assert page.one("h1").text.endswith("{{1}}"), "the text is there, as text"
    assert "\u2028" not in text
    assert "\u202e" not in text, "nothing turns a line round"
    assert text.count("<img") == vega().count("<img")
    embedded = page.one("script", id="charts").text
    assert "<" not in embedded
    assert "hacked" in embedded, "the charts have hostile names too"


def test_the_same_run_gives_the_same_page(folder: Path) -> None:
    first, second = run_page(read_run(folder), DAY), run_page(read_run(folder), DAY)
    assert first == second
    other = run_page(read_run(folder), date(2026, 2, 4))
    assert other != first
    assert other.replace("4 Feb 2026", "3 Feb 2026") == first


def test_runs_of_other_shapes(tmp_path: Path) -> None:
    """Two pools, requests that were lost, and no records of requests."""
    scenario, result = spiky_run(n=3000, lost=0.01)
    for name, (story, made) in {
        "two": two_pools(scenario, result),
        "bare": (scenario, without_requests(result)),
    }.items():
        summary = summarize(story, made)
        summary = with_verdicts(summary, verdicts(story, summary))
        kept = write_run(tmp_path / name, story, run_tables(story, made, summary), summary)
        page = safe(run_page(read_run(kept), DAY))
        assert "differs" not in page.one("dl", **{"class": "facts"}).text, "nobody kept the words"
        assert ("pool-ready" in charts(page)) == (name == "two")
        assert ("kept no record of its requests" in page.one("section", id="why").text) == (name == "bare")


def test_the_command_line_writes_it_whole(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent.parent)
    target = tmp_path / "page.html"
    assert cli.main(["report", str(folder), "-o", str(target)]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    safe(target.read_text(encoding="utf-8"))
    assert cli.main(["report", str(folder)]) == 0
    assert (folder / "report.html").is_file()
    (folder / "report.html").unlink()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "report: needs a result first"),
        (["nowhere"], "result: 'nowhere' is not valid; allowed: the folder of a run, a sweep or a study"),
        (["latest", "--png"], "report: '--png' is no option of it"),
        (["latest", "-o"], "report: -o needs a value"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    words: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["report", *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["report", "plot"])
def test_a_run_that_is_named_twice_is_refused(
    verb: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent.parent)
    before = sorted(Path().rglob("*"))
    assert cli.main([verb, str(folder), str(folder.resolve())]) == 2
    assert (
        capsys.readouterr().err
        == f"fleetsim: {verb}: {folder.resolve()} is named twice; allowed: each run once\n"
    )
    assert sorted(Path().rglob("*")) == before


def test_the_words_of_a_run_are_kept_and_make_it_again(folder: Path) -> None:
    run = read_run(folder)
    assert run.config["about"]["said"] == ["spiky_hour", *WORDS]
    assert command_of(run.config) == COMMAND
    said = {"about": {"said": ["a b.yaml", "traffic.spikes=[{at_s: 1}]", "output.dir=/tmp/x"]}}
    assert command_of(said) == "fleetsim run 'a b.yaml' 'traffic.spikes=[{at_s: 1}]'"
    assert command_of({"about": {}}) is None


def test_the_head_of_a_picture_says_what_it_is_of(folder: Path) -> None:
    run = read_run(folder)
    line = head_of_run(run.config, run.summary, DAY).line
    for part in (
        "spiky_hour",
        "autoscaler=hpa",
        "coldstart=snapshot",
        "seed 3",
        "H100 SXM 80 GB",
        "hpa",
        "3 Feb 2026",
    ):
        assert part in line
    above = run_chart(run, DAY).to_dict()["title"]["subtitle"]
    assert "  ·  ".join(above[:2]) == line, "where it is too long for one line it stands on two"


def test_assumptions_say_how_sure_they_are(folder: Path) -> None:
    run = read_run(folder)
    found = {one.what: one for one in assumptions(run.config, run.summary)}
    assert found["step times of main"].value == run.summary["pools"]["main"]["step_time"]["text"]
    assert found["price of H100 SXM 80 GB"].value == "3.99 usd/h"
    assert "cold start snapshot: weights" in found
    assert kind_of("assumption", "x") == "assumed"
    assert kind_of("MISSING", "x") == "assumed"
    assert kind_of("vendor measured; ranks assumed", "x") == "measured"
    assert kind_of("sourced, blog quality", "x") == "sourced"
    assert kind_of("", "") == "given"


def test_a_name_looks_the_same_wherever_it_stands() -> None:
    alone = {name: looks([name])[name] for name in POLICIES}
    assert looks(list(POLICIES)) == alone
    assert looks(["mine", "hpa"])["hpa"] == looks(["hpa", "queue"])["hpa"]
    many = looks([f"variant {i}" for i in range(MAX_LOOKS)])
    assert len({(look.colour, tuple(look.dash)) for look in many.values()}) == MAX_LOOKS
    eight = [looks(list(POLICIES))[name] for name in POLICIES]
    assert len({look.colour for look in eight}) == 8
