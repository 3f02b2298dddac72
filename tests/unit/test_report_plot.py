"""Pictures: they open without a network, have the expected size and show what the tables hold."""

from __future__ import annotations

import json
import re
import struct
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from fake_result import spiky_run, two_pools, without_requests
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.analysis.summary import summarize
from sim.analysis.verdicts import verdicts, with_verdicts
from sim.errors import InputError
from sim.records.run_dir import read_run, run_tables, write_run
from sim.report import labels
from sim.report.labels import place_labels
from sim.report.plot import plot_run, run_chart
from sim.report.plot_compare import comparison_chart, plot_comparison
from sim.report.series import MAX_POINTS, fleet_samples, thinned, ttft_parts

WIDE = (850, 960)  # css px that a README column shows
PNG_SCALE = 1.5


def written(path: Path, scenario: Any, result: Any) -> Path:
    summary = summarize(scenario, result)
    summary = with_verdicts(summary, verdicts(scenario, summary))
    return write_run(path, scenario, run_tables(scenario, result, summary), summary)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("runs") / "run", *spiky_run(n=6000, lost=0.005))


@pytest.fixture(scope="module")
def pictures(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    paths = plot_run(run_dir, tmp_path_factory.mktemp("pictures"))
    return {path.suffix: path for path in paths}


def png_pixels(path: Path) -> tuple[int, int, bytes]:
    """Width, height and the filtered pixel rows of a PNG."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    at, packed = 8, b""
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        if data[at + 4 : at + 8] == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        at += 12 + length
    return width, height, zlib.decompress(packed)


def test_times_are_written_without_exponents(run_dir: Path) -> None:
    chart = run_chart(read_run(run_dir)).to_dict()
    (axis,) = [x["axis"] for x in encoded(chart, "x") if x.get("axis", {}).get("labels")][:1]
    assert axis["format"] == "~f"  # ~g writes 100 seconds in steps of 50 as 1e+2


def encoded(spec: Any, channel: str) -> list[dict[str, Any]]:
    """What all layers of a specification say of a channel."""
    if isinstance(spec, list):
        return [found for part in spec for found in encoded(part, channel)]
    if not isinstance(spec, dict):
        return []
    own = spec.get("encoding", {}).get(channel)
    return ([own] if own else []) + [found for part in spec.values() for found in encoded(part, channel)]


def test_png_has_the_size_of_a_readme_and_is_not_blank(pictures: dict[str, Path]) -> None:
    width, height, pixels = png_pixels(pictures[".png"])
    assert WIDE[0] <= width / PNG_SCALE <= WIDE[1]
    assert 500 <= height / PNG_SCALE <= 1000
    assert np.count_nonzero(np.frombuffer(pixels, dtype=np.uint8)) > width * height // 50
    assert len(set(pixels)) > 100


class Tags(HTMLParser):
    """Every tag of a page with its attributes; what is inside a script is no tag."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_html_loads_nothing_from_elsewhere(pictures: dict[str, Path]) -> None:
    html = pictures[".html"].read_text()
    page = Tags()
    page.feed(html)
    assert "script" in {tag for tag, _ in page.found}
    assert not [tag for tag, attrs in page.found if {"src", "href", "srcset", "data"} & set(attrs)]
    assert not re.search(r"@import|url\(\s*['\"]?https?:", html)
    assert not re.search(r"\b(import|fetch)\s*\(?\s*['\"]https?:", html)
    assert len(html) > 300_000  # the drawing code is inside


def test_chart_data_is_inside_and_capped(run_dir: Path) -> None:
    def everything(node: Any) -> list[Any]:
        inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
        return [node, *(found for one in inner for found in everything(one))]

    chart = json.loads(run_chart(read_run(run_dir)).to_json())
    data = [node["data"] for node in everything(chart) if isinstance(node, dict) and "data" in node]
    assert data
    assert all("url" not in source for source in data)
    for source in data:
        names = [row.get("series") for row in source.get("values", [])]
        assert all(names.count(name) <= MAX_POINTS for name in set(names))


def test_chart_shows_the_panels_the_limit_and_what_was_never_served(run_dir: Path) -> None:
    text = run_chart(read_run(run_dir)).to_json()
    for title in ("Requests per second", "Replicas by stage", "Requests waiting and running", "never served"):
        assert title in text
    for series in ("arrivals", "completions", "weight load", "ready", "wanted", "running", "p50", "p99"):
        assert f'"{series}"' in text
    assert '"ttft.p99 < 1 s"' in text
    assert "FAIL  ttft.p99 < 1 s  (was" in text
    assert re.search(r"slo_attainment >= 0.9  \(was [0-9.]+ %\)", text)
    assert "Which autoscaler" in text


def test_long_words_above_the_picture_are_wrapped(run_dir: Path) -> None:
    run = read_run(run_dir)
    run.summary["question"] = "why does it take so long " * 12
    run.summary["verdicts"] *= 4
    title = run_chart(run).to_dict()["title"]
    assert len(title["text"]) == 3
    assert max(map(len, [*title["text"], *title["subtitle"]])) <= 130
    said = " ".join(title["subtitle"])
    assert said.count("ttft.p99 < 1 s") == 4


def test_run_without_records_has_no_ttft_panel(tmp_path: Path) -> None:
    scenario, result = spiky_run(n=500)
    text = run_chart(read_run(written(tmp_path / "run", scenario, without_requests(result)))).to_json()
    assert "Time to first token" not in text
    assert '"title": "time (min)"' in text


def test_samples_add_pools_but_count_what_they_share_once(tmp_path: Path) -> None:
    scenario, result = spiky_run(n=500)
    both = two_pools(scenario, result)
    one = fleet_samples(read_run(written(tmp_path / "one", scenario, result)).tables.timeseries)
    two = fleet_samples(read_run(written(tmp_path / "two", *both)).tables.timeseries)
    assert np.array_equal(two.arrivals, one.arrivals)
    assert np.array_equal(two.completions, 2 * one.completions)
    assert np.array_equal(two.stages["ready"], 2 * one.stages["ready"])


def test_pools_of_several_models_may_share_one_gateway(tmp_path: Path) -> None:
    table = read_run(written(tmp_path / "two", *two_pools(*spiky_run(n=500)))).tables.timeseries
    names = [f"model of {pool}" for pool in table.column("pool").to_pylist()]
    at = table.column_names.index("model")
    table = table.set_column(at, "model", pa.array(names))
    apart, shared = (
        fleet_samples(table),
        fleet_samples(table, {"config": {"pool_choice": {"across_models": True}}}),
    )
    assert np.array_equal(apart.arrivals, 2 * shared.arrivals)
    assert shared.arrivals.sum() > 0


def test_thinning_keeps_totals_peaks_and_ends() -> None:
    values = np.array([1.0, 5.0, 2.0, 0.0, 7.0, 3.0, 4.0])
    assert thinned(values, 3, None).tolist() == [8.0, 10.0, 4.0]
    assert thinned(values, 3, "largest").tolist() == [5.0, 7.0, 4.0]
    assert thinned(values, 3, "last").tolist() == [2.0, 3.0, 4.0]


def test_ttft_is_held_against_limits_then_promises() -> None:
    chat = {"offered": 9, "model": "m", "itl": {"p50_s": 0.01}, "objectives": {"ttft_s": 2.0}}
    limit = {"measure": "ttft_p99_s", "scope": None, "limit": 0.5, "text": "ttft.p99 < 500 ms"}
    other = {"measure": "usd", "scope": None, "limit": 4.0, "text": "usd < 4"}
    summary = {"classes": {"chat": chat}, "verdicts": [other, limit]}
    (part,) = ttft_parts(summary)
    assert part == ("", None, [(0.5, "ttft.p99 < 500 ms"), (2.0, "chat: ttft ≤ 2 s")])


def test_a_limit_is_drawn_over_the_class_it_is_for() -> None:
    chat = {"offered": 9, "model": "m", "itl": {"p50_s": 0.01}, "objectives": {"ttft_s": 2.0}}
    batch = {**chat, "offered": 99, "objectives": {}}
    limits = [
        {"measure": "ttft_p99_s", "scope": scope, "limit": limit, "text": f"{scope} {limit}"}
        for scope, limit in (("chat", 0.5), (None, 3.0), ("batch", 60.0))
    ]
    whole, first, second = ttft_parts({"classes": {"chat": chat, "batch": batch}, "verdicts": limits})
    assert whole == ("all classes mixed", None, [(3.0, "None 3.0")])
    assert first == ("batch", ["batch"], [(60.0, "batch 60.0")])
    assert second == ("chat", ["chat"], [(0.5, "chat 0.5"), (2.0, "chat: ttft ≤ 2 s")])
    alike = {"chat": chat, "more": {**chat, "offered": 1}}
    assert [part.name for part in ttft_parts({"classes": alike})] == [""]
    assert [part.name for part in ttft_parts({"classes": alike, "verdicts": limits[:1]})] == ["chat", "more"]


def test_comparison_is_drawn_with_every_run(run_dir: Path, tmp_path: Path) -> None:
    lossy = written(tmp_path / "lossy", *spiky_run(n=2000, lost=0.05))
    runs = {"hpa": run_dir, "queue": lossy}
    paths = plot_comparison(runs, tmp_path / "both.png")
    assert [path.name for path in paths] == ["both.html", "both.png"]
    width, _, pixels = png_pixels(paths[1])
    assert WIDE[0] - 60 <= width / PNG_SCALE <= WIDE[1]
    assert len(set(pixels)) > 100
    chart = comparison_chart({name: read_run(path) for name, path in runs.items()}).to_dict()
    assert len(chart["vconcat"]) == 3
    points = [row for rows in chart["datasets"].values() for row in rows if "usd" in row]
    assert {(p["series"], p["kind"]) for p in points} == {("hpa", "served"), ("queue", "never")}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 700), st.floats(0, 220)), min_size=1, max_size=20))
def test_names_of_points_never_cover_each_other(points: list[tuple[float, float]]) -> None:
    names = [f"autoscaler=v{i}" for i in range(len(points))]
    places = place_labels(points, names, (700, 220))
    boxes = [labels._box(p, n, at) for p, n, at in zip(points, names, places, strict=True) if at is not None]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(box.left >= 0 and box.right <= 700 for box in boxes)
    assert places[0] is not None or len(points) > 1


def test_bad_wishes_are_clear_errors(run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'pgn' is not valid; allowed: html, png, svg; did you mean 'png'"):
        plot_run(run_dir, tmp_path, formats=("pgn",))
    with pytest.raises(InputError, match="1 to 40"):
        plot_comparison({}, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="output"):
        plot_run(run_dir, tmp_path / "file" / "picture.png", formats=("png",))
    with pytest.raises(InputError, match=r"summary\.json"):
        plot_run(tmp_path)
