"""Limits as tests: the exit code, and JUnit, JSON and Markdown whose numbers are those of the runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import sim
from sim.outlets.checks import Checked, as_json, cell, checked, junit, lines, markdown
from sim.report.text import observed, read_back
from tests.hostile.drive import fleetsim

TOGETHER = ["first_run", "duration_s=60", "pool.max_replicas=2,3", "seed=1..3"]
#: element → (attributes it must have, those it may have, elements inside), as Jenkins' xunit plugin has the format
FORMAT: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"},
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
    ),
    "testcase": ({"name"}, {"time", "classname", "group"}, {"skipped", "error", "failure", "system-out"}),
    "failure": (set(), {"type", "message"}, set()),
    "system-out": (set(), set(), set()),
}
TIME = re.compile(r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]*)?")


def problems_of(text: str) -> list[str]:
    """What is wrong with a JUnit file, in words."""
    wrong = []
    for element in ElementTree.fromstring(text).iter():
        must, may, inside = FORMAT[element.tag]
        found = set(element.attrib)
        wrong += [f"{element.tag} lacks {name}" for name in must - found]
        wrong += [f"{element.tag} has {name}" for name in found - must - may]
        wrong += [f"{child.tag} in {element.tag}" for child in element if child.tag not in inside]
        if "time" in element.attrib and not TIME.fullmatch(element.attrib["time"]):
            wrong.append(f"{element.tag}: time {element.attrib['time']}")
        for name in ("tests", "failures", "errors", "skipped"):
            if name in element.attrib and not element.attrib[name].isdecimal():
                wrong.append(f"{element.tag}: {name} {element.attrib[name]}")
    return wrong


def verdict(text: str, value: float | None, ok: bool, op: str = "<", limit: float = 1.0) -> dict[str, Any]:
    return {
        "text": text,
        "measure": "ttft_p99_s",
        "scope": None,
        "op": op,
        "limit": limit,
        "observed": value,
        "unit": "s",
        "ok": ok,
    }


def made(*values: float | None, share: float = 1.0, variant: str = "a", op: str = "<") -> Any:
    """A check of one limit over a seed for each value."""
    runs = [
        Checked(
            variant,
            i + 1,
            "0" * 16,
            [verdict(f"ttft.p99 {op} 1 s", v, v is not None and (v < 1 if op == "<" else v > 1), op)],
            0.5,
        )
        for i, v in enumerate(values)
    ]
    return checked("story", "fleetsim check story", share, runs)


def test_a_limit_has_to_hold_in_every_run_or_in_the_share_that_is_said() -> None:
    assert made(0.5, 0.7).passed
    assert not made(0.5, 1.5).passed
    assert made(0.5, 1.5, share=0.5).passed
    assert not made(0.5, 1.5, 1.6, share=0.5).passed
    assert not made(0.5, None).passed


@pytest.mark.parametrize(
    ("values", "op", "worst"),
    [
        ((0.5, 0.9, 0.7), "<", (0.9, 2)),
        ((2.0, 1.5, 3.0), ">", (1.5, 2)),
        ((0.5, float("inf"), 7.0), "<", (float("inf"), 2)),
        ((0.5, None, 7.0), "<", (None, 2)),
    ],
)
def test_the_worst_is_what_is_nearest_to_failing(values: tuple[Any, ...], op: str, worst: Any) -> None:
    case = made(*values, op=op).cases[0]
    assert (case.worst["observed"], case.worst_seed) == worst


def test_formats_say_the_same() -> None:
    check = made(0.5, 1.5, float("inf"))
    root = ElementTree.fromstring(junit(check))
    assert problems_of(junit(check)) == []
    assert (root.attrib["tests"], root.attrib["failures"]) == ("1", "1")
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None
    assert "held in 1 of 3 runs" in failure.attrib["message"]
    data = json.loads(as_json(check))
    assert data["cases"][0]["worst"] == {"observed": "inf", "unit": "s", "seed": 3}
    assert data["passed"] is False
    assert "held in 1 of 3 runs" in markdown(check)
    assert list(lines(check))[-1] == "1 of 1 limits of story failed to hold"


def test_time_of_cases_sums_to_that_of_the_suite() -> None:
    root = ElementTree.fromstring(junit(made(0.5, 0.6)))
    assert float(root.attrib["time"]) == pytest.approx(
        sum(float(c.attrib["time"]) for c in root.iter("testcase"))
    )


NASTY = 'a<b>&"|`](x)\x1b[31m\u202e@all'


def test_names_from_files_act_nowhere() -> None:
    check = made(1.5, variant=NASTY)
    assert problems_of(junit(check)) == []
    told = markdown(check)
    row = next(line for line in told.splitlines() if line.startswith("| ✗"))
    assert row.count("|") == 5
    assert not re.search(r"<b>|\x1b|\u202e|@all|\]\(", told)
    assert json.loads(as_json(check))["cases"][0]["variant"] == NASTY


def test_a_cell_shows_its_text() -> None:
    import html

    assert html.unescape(cell("a|b*c_d")) == "a|b*c_d"


def test_a_long_comment_is_cut_failures_first() -> None:
    runs = [
        Checked(f"v{i}", 1, "", [verdict("ttft.p99 < 1 s", 2.0 * (i > 90), i <= 90)], 0.1) for i in range(100)
    ]
    told = markdown(checked("story", "x", 1.0, runs))
    assert told.count("| ✗ |") == 9
    assert "… and 60 more" in told
    assert len(told) < 8000


# ---- the command ----------------------------------------------------------------------
def test_every_number_is_that_of_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = ["--junit", "out/junit.xml", "--json", "out/check.json", "--markdown", "out/comment.md"]
    answer = fleetsim("check", *TOGETHER, *files)
    assert answer.code in (0, 3)
    data = json.loads((tmp_path / "out" / "check.json").read_text())
    assert answer.code == (0 if data["passed"] else 3)
    assert len(data["runs"]) == 6
    for run in data["runs"]:
        places = run["variant"].rpartition("=")[2]
        again = sim.run("first_run", ["duration_s=60", f"pool.max_replicas={places}", f"seed={run['seed']}"])
        assert run["digest"] == again.digest
        meant = json.loads(json.dumps([v._asdict() for v in again.verdicts]))
        assert run["verdicts"] == meant
    suites = ElementTree.fromstring((tmp_path / "out" / "junit.xml").read_text())
    assert problems_of((tmp_path / "out" / "junit.xml").read_text()) == []
    assert len(list(suites.iter("testcase"))) == len(data["cases"]) == 6
    comment = (tmp_path / "out" / "comment.md").read_text()
    for case in data["cases"]:
        mine = [
            v["observed"]
            for run in data["runs"]
            if run["variant"] == case["variant"]
            for v in run["verdicts"]
            if v["text"] == case["limit"]
        ]
        assert case["worst"]["observed"] in mine
        assert case["worst"]["observed"] in (min(mine), max(mine))
        assert case["runs"] == len(mine) == 3
        assert f"(seed {case['worst']['seed']})" in comment


def test_a_limit_that_fails_is_exit_code_3_and_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    slo = 'slo=["ttft.p99 < 1 us", "served_fraction >= 1 %"]'
    answer = fleetsim("check", "first_run", "duration_s=60", slo, "--junit", "j.xml", "--markdown", "c.md")
    assert answer.code == 3
    root = ElementTree.parse(tmp_path / "j.xml").getroot()
    assert root.attrib["failures"] == "1"
    run = sim.run("first_run", ["duration_s=60", slo])
    shown = observed(run.verdicts[0]._asdict())
    assert read_back(shown) == pytest.approx(run.summary["ttft"]["p99_s"], rel=0.01)
    assert shown in answer.out
    assert shown in (tmp_path / "c.md").read_text()


def test_a_study_is_a_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(
        "scenario: first_run\noverrides: [duration_s=60]\naxes: {pool.max_replicas: [2, 3]}\nseeds: [1, 2]\n"
    )
    answer = fleetsim("check", "study.yaml", "--json", "out.json")
    assert answer.code in (0, 3), answer.err
    assert len(json.loads((tmp_path / "out.json").read_text())["runs"]) == 4


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "check: needs a scenario or a study first"),
        (["no-such"], "no-such"),
        (["first_run", "--junit"], "--junit needs a value"),
        (["first_run", "--xml", "x"], "no option"),
        (["first_run", "--share", "0"], "--share: '0' is not valid"),
        (["first_run", "--share", "120%"], "--share: '120%' is not valid"),
        (["first_run", "--share", "most"], "--share: 'most' is not valid"),
        (["first_run", "--json", "."], "--json: '.' is not valid"),
        (["first_run", "slo=[]"], "sets no limit"),
    ],
)
def test_words_that_cannot_be_are_refused(
    words: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = fleetsim("check", *words)
    assert answer.code == 2
    assert line in answer.err
    assert answer.out == ""
    assert list(tmp_path.iterdir()) == []
