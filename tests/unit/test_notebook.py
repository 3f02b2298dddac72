"""What notebooks show: numbers of the summary, and nothing that acts."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

import sim
from sim.measures.cards import card
from sim.records.summary import flat_summary


class Page(HTMLParser):
    """Counts what is open, keeps the text of cells and what is said of them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.titles: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.add(tag)
        self.titles += [str(value) for name, value in attrs if name == "title"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


TAGS = {"div", "strong", "table", "thead", "tbody", "tr", "th", "td"}


def test_a_runs_numbers_are_those_of_its_summary() -> None:
    run = sim.run("first_run", ["duration_s=60"])
    page = Page(run._repr_html_())
    assert page.tags == TAGS
    flat = {repr(value) for value in flat_summary(run.summary).values()}
    flat |= {repr(verdict.observed) for verdict in run.verdicts}
    assert len(page.titles) > 6
    assert set(page.titles) <= flat
    assert repr(run.summary["ttft"]["p99_s"]) in page.titles
    assert run.digest in run._repr_html_()


def test_a_comparison_has_a_column_a_variant() -> None:
    both = sim.compare("first_run", ["duration_s=60", "pool.max_replicas=2,3"])
    shown = both._repr_html_()
    page = Page(shown)
    for run in both.runs.values():
        assert repr(run.summary["usd_per_hour"]) in page.titles
    assert all(label in shown for label in both.runs)
    assert "limits" in shown


def test_a_studys_means_are_those_of_its_runs(tmp_path) -> None:  # type: ignore[no-untyped-def]
    results = sim.study("first_run", ["duration_s=60", "pool.max_replicas=2,3", "seed=1..2"], out=tmp_path)
    page = Page(results._repr_html_())
    values = results.runs.column("usd_per_hour").to_pylist()
    means = [sum(values[i : i + 2]) / 2 for i in (0, 2)]
    told = [float(title) for title in page.titles]
    assert all(any(value == pytest.approx(mean) for value in told) for mean in means)
    assert "4 runs" in results._repr_html_()


NASTY = "<script>alert(1)</script>\"'&\x1b[31m\u202e"


def test_text_from_files_acts_nowhere() -> None:
    run = sim.run("first_run", ["duration_s=60"])
    run.scenario = SimpleNamespace(name=NASTY, question=NASTY, seed=1)  # type: ignore[assignment]
    shown = run._repr_html_() + card(NASTY, [NASTY], [NASTY], [(NASTY, NASTY, None, float("inf"))])
    assert Page(shown).tags == TAGS
    assert not re.search(r"<script|\x1b|\u202e", shown)
