"""The page of `explore` in a real browser: a slider is moved, and picture, verdict, command and address follow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sim
from sim.scenario.compose import load_scenario
from tests.browser import Page, need_chromium

pytest.importorskip("starlette", reason="Starlette is not installed: pip install 'fleetsim[explore]'")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'fleetsim[explore]'")

REPO = Path(__file__).resolve().parents[2]
SHORT = ["duration_s=200", "traffic.spikes=[{at_s: 60, height: 6, length_s: 40}]", "coldstart=snapshot"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server in a process of its own, which an interrupt ends well."""
    need_chromium()
    words = [sys.executable, "-m", "sim.cli", "explore", "spiky_hour", *SHORT]
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    place = tmp_path_factory.mktemp("server")
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env, cwd=place) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "127.0.0.1" in line
        yield line.split(" is at ")[1].split()[0]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    found = Page(tmp_path_factory.mktemp("browser"))
    yield found
    found.close()


def begin(page: Page, address: str, fragment: str = "", width: int = 1400, dark: bool = False) -> None:
    """Open the page anew and wait for its first picture."""
    page.look(width, dark=dark)
    page.open("about:blank")
    page.open(f"{address}{fragment}")
    page.wait("document.querySelector('#command-A') && document.documentElement.dataset.drawn > 0")


def set_knob(page: Page, knob: str, value: Any, variant: str = "A") -> None:
    """Move a handle, or choose an option, as a hand would."""
    page.value(f"""(() => {{
      const found = document.querySelector('[data-knob="{knob}"] .of-{variant}').querySelector("select, input");
      found.value = {json.dumps(str(value))};
      found.dispatchEvent(new Event(found.tagName === "SELECT" ? "change" : "input", {{ bubbles: true }}));
    }})()""")


def command(page: Page, variant: str = "A") -> str:
    text = page.value(f"document.querySelector('#command-{variant}')?.textContent")
    return str(text)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [420, 900, 1400])
def test_it_is_drawn_and_asks_nobody_else(page: Page, address: str, width: int, dark: bool) -> None:
    begin(page, address, width=width, dark=dark)
    assert page.complaints() == []
    assert all(url.startswith(address) for url in page.requests())
    assert page.value("document.documentElement.scrollWidth - window.innerWidth") <= 0
    page.wait(
        "[...document.querySelectorAll('.chart')].every((chart) => chart.querySelector('[class*=mark-line] path'))"
    )


def test_what_is_moved_is_run(page: Page, address: str) -> None:
    begin(page, address)
    before = page.value("document.querySelector('#chart-ready [class*=mark-line] path').getAttribute('d')")
    set_knob(page, "pool.max_replicas", 5)
    page.wait("document.querySelector('#command-A').textContent.includes('pool.max_replicas=5')")
    set_knob(page, "autoscaler", "queue")
    page.wait("document.querySelector('#command-A').textContent.includes('autoscaler=queue')")
    page.wait(
        f"document.querySelector('#chart-ready [class*=mark-line] path').getAttribute('d') !== {json.dumps(before)}"
    )
    words = [*SHORT, "autoscaler=queue", "pool.max_replicas=5"]
    done = sim.run("spiky_hour", words)
    shown = page.value("[...document.querySelectorAll('#verdict-A .tiles dd')].map((d) => d.textContent)")
    from sim.report.page_run import key_figures

    assert shown == [text for _, text, _, _ in key_figures(done.summary)]
    assert page.value("document.querySelector('[data-knob=\"autoscaler.target\"]').hidden"), (
        "queue has no such key"
    )
    assert page.complaints() == []


def test_a_drag_runs_the_last_place_and_skips_what_was_between(page: Page, address: str) -> None:
    begin(page, address)
    for tenths in range(60, 160, 2):
        set_knob(page, "traffic.arrivals.rate_per_s", tenths / 10)
    page.wait("document.querySelector('#command-A').textContent.endsWith('rate_per_s=15.8')")
    asked = [url for url in page.requests() if url.endswith("/api/look")]
    assert len(asked) < 40, "fifty moves are not fifty runs"


def test_two_variants_and_their_intervals(page: Page, address: str) -> None:
    begin(page, address)
    page.value("document.getElementById('second').click()")
    page.wait("document.querySelector('#command-B')")
    set_knob(page, "pool.min_replicas", 7, "B")
    page.wait("document.querySelector('#command-B').textContent.includes('pool.min_replicas=7')")
    assert "min_replicas" not in command(page)
    page.wait("document.getElementById('seeds').dataset.n >= 6")
    head = page.value("[...document.querySelectorAll('#seeds thead th')].map((t) => t.textContent)")
    assert head == ["", "A", "B", "B against A"]
    told = page.value("document.querySelector('#seeds tbody').textContent")
    assert "…" in told
    assert "worse" in told or "better" in told or "unclear" in told


def test_the_address_leads_back(page: Page, address: str) -> None:
    begin(page, address)
    set_knob(page, "pool.max_replicas", 6)
    page.wait("location.hash.includes('max_replicas')")
    fragment = page.value("location.hash")
    begin(page, address, fragment)
    page.wait("document.querySelector('#command-A').textContent.includes('pool.max_replicas=6')")


def test_bad_input_is_a_line_and_the_picture_stays(page: Page, address: str) -> None:
    begin(page, address)
    before = page.value("document.getElementById('verdict-A').textContent")
    set_knob(page, "pool.max_replicas", 1)
    page.wait("!document.getElementById('problem').hidden")
    told = page.value("document.getElementById('problem').textContent")
    assert "replicas" in told
    assert page.value("document.getElementById('verdict-A').textContent") == before
    set_knob(page, "pool.max_replicas", 8)
    page.wait("document.getElementById('problem').hidden")


@pytest.mark.parametrize(
    "fragment",
    [
        "#A=gpu:%22%3Cimg%20src%3Dx%20onerror%3Dwindow.hacked%3D1%3E%22",
        "#A=%3Cscript%3Ewindow.hacked%3D1%3C%2Fscript%3E:1",
        "#A=__proto__:%7B%22hacked%22%3A1%7D",
    ],
)
def test_an_address_of_somebody_elses_runs_nothing(page: Page, address: str, fragment: str) -> None:
    page.look(1000)
    page.open("about:blank")
    page.open(f"{address}{fragment}")
    page.wait("document.querySelector('#verdict-A') || !document.getElementById('problem').hidden")
    assert page.value("typeof window.hacked") == "undefined"
    assert page.value("document.querySelectorAll('main img, main script').length") == 0


def test_another_site_reads_nothing(page: Page, address: str, tmp_path: Path) -> None:
    """A page from elsewhere asks the server: the browser and the server both refuse."""
    other = tmp_path / "other.html"
    other.write_text("<!doctype html><title>other</title>", encoding="utf-8")
    page.open(other.as_uri())
    page.wait("document.title === 'other'")
    for path, said in (("", "{}"), ("api/look", '{method: "POST", body: "{}"}')):
        answer = page.value(f"fetch('{address}{path}', {said}).then((a) => a.text(), () => 'refused')")
        assert answer == "refused"


def test_the_exported_file_is_a_scenario(page: Page, address: str, tmp_path: Path) -> None:
    begin(page, address)
    set_knob(page, "pool.max_replicas", 6)
    page.wait("document.querySelector('#command-A').textContent.includes('pool.max_replicas=6')")
    said = """fetch("/api/export", {method: "POST", headers: {"content-type": "application/json"},
      body: JSON.stringify({values: {"pool.max_replicas": 6}})}).then((a) => a.json()).then((a) => a.yaml)"""
    (tmp_path / "mine.yaml").write_text(page.value(said), encoding="utf-8")
    assert load_scenario(str(tmp_path / "mine.yaml")).pools[0].max_replicas == 6
