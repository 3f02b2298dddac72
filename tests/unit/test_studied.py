"""What a study comes to is the same wherever it is shown: verdicts, baselines, means with a control variate."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim import cli
from sim.analysis import studied as studied_module
from sim.analysis.control import FEW, with_control
from sim.analysis.replicate import replicate
from sim.measures.shown import compared
from sim.records.study_open import Results, open_study
from sim.report.page_study import against, study_page
from sim.report.study_found import study_found
from sim.report.sweep_terminal import control_line, verdicts_line
from sim.statistics.judging import holm
from sim.study_verbs import studied_of

QUICK = ["first_run", "duration_s=20", "drain_s=20", "slo=none"]
SIXTEEN = ["pool.max_replicas=4", "pool.min_replicas=1..4", "traffic.arrivals.rate_per_s=6,9,12,15"]


def swept(folder: Path, *words: str) -> Results:
    assert cli.main(["sweep", *QUICK, *words, f"output.dir={folder}", "--yes"]) in (0, 3)
    (path,) = folder.iterdir()
    return open_study(path)


def flat(text: str) -> str:
    return " ".join(text.split())


def test_the_page_and_the_terminal_say_the_same_of_many_points(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen points have a line each on the terminal and tables on the page, of which some points may be left out."""
    base = "baseline=pool.min_replicas=2"
    results = swept(tmp_path, *SIXTEEN, "seeds=1..6", base, "control=arrivals")
    said = flat(capsys.readouterr().out)
    whole, page = studied_of(results), study_found(results, None)
    assert page.found == whole.found
    assert page.control == whole.control
    assert whole.found.n_judged == 12 * len(whole.found.measures), "all measures, where nothing says which"
    for line in (verdicts_line(page.found), control_line(page.control)):
        assert line in said
        assert line in study_page(page)
    monkeypatch.setattr("sim.report.study_found.SHOWN_POINTS", 6)
    few = study_found(results, None)
    assert 2 < len(few.found.rows) < 16
    assert few.found.n_judged == whole.found.n_judged
    assert few.found.rows == [row for row in whole.found.rows if row.name in few.varied.names]
    monkeypatch.setattr(studied_module, "ALL_RUNS", 10)
    large = study_found(results, None).found
    assert large.n_judged == whole.found.n_judged, "those that are not summed up count"
    for mine, own in zip(large.rows, few.found.rows, strict=True):
        assert all(a is None or a.p_holm >= b.p_holm for a, b in zip(mine.judged, own.judged, strict=True))


def test_what_decide_names_is_judged_wherever_it_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = swept(tmp_path, "pool.min_replicas=1,2", "seeds=1..6", "decide=e2e.p95,usd_per_hour")
    assert "2 comparisons judged together" in flat(capsys.readouterr().out)
    page = study_found(results, None)
    assert page.found.n_judged == 2
    assert {"e2e p95", "cost"} <= {one.label for one in page.found.measures}
    assert "e2e p95" in against(page.found.rows[1], page)


def test_baselines_of_the_page_are_those_of_the_plan(tmp_path: Path) -> None:
    """Two rates in other words are the same traffic, which keys alone do not tell."""
    results = swept(
        tmp_path,
        "traffic.arrivals={kind: poisson, rate_per_s: 6},{kind: poisson, rate_per_s: 6.0}",
        "seeds=1..5",
    )
    kept = json.loads((results.path / "compared.json").read_text())
    assert kept == {"traffic": [0, 0], "baselines": [0, 0]}
    first, second = study_found(results, None).found.rows
    assert (first.baseline, second.baseline) == (None, first.name)


def test_a_folder_without_what_is_compared_is_read_by_its_keys(tmp_path: Path) -> None:
    results = swept(tmp_path, "pool.min_replicas=1,2", "seeds=1..5", "control=arrivals")
    assert results.study["control"] == "arrivals"
    for text in (
        "{}",
        '{"traffic": [0, 0], "baselines": [0, 7]}',
        "[",
        '{"traffic": [0, 0], "baselines": [0, 0]}',
    ):
        (results.path / "compared.json").write_text(text)
        page = study_found(open_study(results.path), None)
        assert page.found.rows[1].baseline == page.found.rows[0].name
        assert page.control is not None
        assert "means are as they are" in control_line(page.control)
        assert "at most 200 points" in study_page(page)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["seeds=1..4"], FEW),
        (["seeds=1..5", "traffic.arrivals={kind: concurrency, max: 4, requests: 20}"], "clients decide when"),
        (
            ["seeds=1..5", "traffic.arrivals={kind: poisson, rate_per_s: 0.00001}"],
            "the number of arrivals is the same",
        ),
    ],
)
def test_why_arrivals_are_no_control_is_said_truly(
    words: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = swept(tmp_path, "pool.min_replicas=1,2", "control=arrivals", *words)
    said = flat(capsys.readouterr().out)
    assert f"control: means are as they are: {why}" in said
    assert why in study_page(study_found(results, None))


def test_a_measure_that_is_infinite_keeps_its_mean_and_says_so() -> None:
    rng = np.random.default_rng(1)
    counts = rng.poisson(100, 12)
    rows: list[dict[str, Any]] = [
        {"variant": "a", "seed": i, "ttft_p99_s": float(n) + rng.normal(0, 1), "e2e_p99_s": float(n)}
        for i, n in enumerate(counts.tolist())
    ]
    rows[3]["e2e_p99_s"] = float("inf")
    found = replicate(rows, ["a"], (compared("ttft.p99"), compared("e2e.p99")))
    arrivals = {str(i): n for i, n in enumerate(counts.tolist())}
    controls = {"0": {"arrivals": arrivals, "mean": 100.0, "error": 0.1, "lists": 120}}
    again, control = with_control(found, rows, {"a": "0"}, controls)
    assert again.rows[0].values[1] == found.rows[0].values[1]
    assert control.why_not == "e2e p99 is infinite or not known in some seeds"
    assert control.shares["ttft p99"][0] > 0.9
    assert again.rows[0].values[0].half < 0.5 * found.rows[0].values[0].half  # type: ignore[operator]
    assert re.search(r"ttft p99 9\d%.*others are as they are: e2e p99 is infinite", control_line(control))


def test_comparisons_that_are_not_there_make_no_verdict_easier() -> None:
    """Holm of a part with the number of the others is never below Holm of all, whatever the others are."""
    rng = np.random.default_rng(2)
    for _ in range(200):
        p = (rng.random(30) ** rng.integers(1, 9)).tolist()
        n = int(rng.integers(1, 30))
        part, whole = holm(p[:n], 30 - n), holm(p)
        assert all(a >= b for a, b in zip(part, whole, strict=False))
    assert holm(p, 0) == holm(p)
