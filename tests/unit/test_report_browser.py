"""Pages in a real browser: drawn at every width, in light and dark, without a request, an error or a word run as code.

Skipped where no Chromium is installed; test_report_page.py reads the same pages without one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_report_page import folder, hostile  # noqa: F401
from test_report_study import results, runs  # noqa: F401

from sim.records.run_dir import read_run
from sim.report.page_run import run_page
from sim.report.page_runs import runs_page
from sim.report.page_study import study_page
from sim.report.study_found import study_found
from tests.browser import Page

WIDTHS = (420, 900, 1400)
OVERFLOW = "document.documentElement.scrollWidth - window.innerWidth"
EMPTY = """[...document.querySelectorAll(".chart")].filter((place) => {
  const box = place.querySelector("svg")?.getBoundingClientRect();
  return !box || box.width < 200 || box.height < 40 || !place.querySelector("[class*=mark-] path, [class*=mark-] text");
}).map((place) => place.id)"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    found = Page(tmp_path_factory.mktemp("browser"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def written(
    folder: Path,  # noqa: F811
    hostile: Path,  # noqa: F811
    results: Any,  # noqa: F811
    runs: list[Path],  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("written")
    paths = {"run": place / "run.html", "hostile": place / "hostile.html"}
    paths["run"].write_text(run_page(read_run(folder)), encoding="utf-8")
    paths["hostile"].write_text(run_page(read_run(hostile)), encoding="utf-8")
    texts = {
        "study": study_page(study_found(results, None)),
        "several": runs_page([read_run(path) for path in runs]),
    }
    for name, text in texts.items():
        paths[name] = place / f"{name}.html"
        paths[name].write_text(text, encoding="utf-8")
    return paths


def open_page(page: Page, path: Path) -> None:
    """Open a page and wait until its charts are drawn."""
    page.open(path.as_uri())
    assert page.wait("document.documentElement.dataset.drawn") != "failed", page.complaints()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["run", "hostile", "study", "several"])
def test_it_is_drawn_whole(page: Page, written: dict[str, Path], name: str, width: int, dark: bool) -> None:
    page.look(width, dark=dark)
    open_page(page, written[name])
    assert page.complaints() == []
    assert page.requests() == []
    assert page.value(OVERFLOW) <= 0
    assert page.value("document.querySelectorAll('.chart').length") >= 6
    assert page.value(EMPTY) == []
    paper = page.value("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) < 300) == dark


def test_hostile_texts_run_nothing(page: Page, written: dict[str, Path]) -> None:
    page.look(900)
    open_page(page, written["hostile"])
    page.value("document.querySelectorAll('details').forEach((d) => { d.open = true })")
    assert page.value("typeof window.hacked") == "undefined"
    assert page.value("document.querySelectorAll('img, iframe, object, embed').length") == 0


def test_the_policy_stops_what_a_mistake_would_let_in(page: Page, written: dict[str, Path]) -> None:
    """Even a script that stood in the page would not run, and nothing could be sent anywhere."""
    page.look(900)
    open_page(page, written["run"])
    page.value("""(() => { const s = document.createElement("script"); s.textContent = "window.hacked = 1";
      document.body.append(s); })()""")
    assert page.value("typeof window.hacked") == "undefined"
    assert page.value("fetch('https://example.invalid/').then(() => 'sent', () => 'refused')") == "refused"


def test_pointing_at_a_chart_shows_a_row_of_its_table(page: Page, written: dict[str, Path]) -> None:
    page.look(900)
    open_page(page, written["run"])
    page.value("document.getElementById('rates').scrollIntoView({behavior: 'instant', block: 'center'})")
    box = page.value("""(() => { const b = document.querySelector("#chart-rates svg").getBoundingClientRect();
      return [b.left, b.top, b.width, b.height]; })()""")
    x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    page.wait("!document.getElementById('tip').hidden")
    shown = page.value("document.querySelector('#tip b').textContent")
    rows = page.value("""[...document.querySelectorAll("#rates tbody tr")].map((r) =>
      [r.cells[0].textContent, r.cells[1].textContent])""")
    told = {f"time (s) {first}": value for first, value in rows}
    assert shown in told
    assert page.value("document.querySelector('#tip div span:last-child').textContent") == told[shown]


def test_it_prints_in_ink_on_white(page: Page, written: dict[str, Path]) -> None:
    page.look(900, dark=True, media="print")
    open_page(page, written["run"])
    assert (
        page.value("getComputedStyle(document.querySelector('section')).backgroundColor")
        == "rgb(255, 255, 255)"
    )
    assert page.value("getComputedStyle(document.querySelector('nav')).display") == "none"
