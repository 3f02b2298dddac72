"""Limits with a verdict, and runs side by side."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from fake_result import FakeClass, spiky_run

from sim.analysis.compare import compare
from sim.analysis.summary import summarize
from sim.analysis.verdicts import all_held, evaluate, verdicts, with_verdicts
from sim.measures.levels import STATISTICS
from sim.measures.shown import Compared
from sim.records.summary import flat_summary
from sim.scenario.slo import METRICS, Limit, parse_slo

SUMMARY: dict[str, Any] = {
    "ttft": {"p99_s": 0.5, "p99_9_s": math.inf, "mean_s": None, "p99_9_served_s": 0.4},
    "slo_attainment": 0.75,
    "usd_per_hour": 39.0,
    "classes": {"chat": {"ttft": {"p99_s": 2.0}}},
}


@pytest.mark.parametrize(
    ("text", "ok", "observed", "unit"),
    [
        ("ttft.p99 <= 500 ms", True, 0.5, "s"),
        ("ttft.p99 < 500 ms", False, 0.5, "s"),
        ("ttft.p99.9 < 1 h", False, math.inf, "s"),
        ("ttft.mean < 1 h", False, None, "s"),
        ("ttft.p99.9_served < 0.5 s", True, 0.4, "s"),
        ("slo_attainment >= 75 %", True, 0.75, ""),
        ("slo_attainment > 0.75", False, 0.75, ""),
        ("usd_per_hour < 40", True, 39.0, "usd/h"),
        ("chat.ttft.p99 < 1 s", False, 2.0, "s"),
    ],
)
def test_limit_is_held_against_what_was_observed(text: str, ok: bool, observed: float, unit: str) -> None:
    (found,) = evaluate([parse_slo(text, ["chat"])], SUMMARY)
    assert (found.ok, found.observed, found.unit, found.text) == (ok, observed, unit, text)


def test_every_measure_that_a_limit_can_name_is_in_a_summary() -> None:
    scenario, result = spiky_run(n=100)
    summary = summarize(scenario, result)
    limits = []
    for metric in METRICS:
        is_plain = metric in flat_summary(summary)
        limits += [Limit(metric, None, metric, s, "<", 1e9) for s in ([None] if is_plain else STATISTICS)]
    assert len(evaluate(limits, summary)) == len(limits)


def test_scenario_limits_end_up_in_the_summary_with_one_answer() -> None:
    scenario, result = spiky_run(n=2000, lost=0.05)
    scenario = replace(scenario, classes=(FakeClass("chat"),), slo=("chat.ttft.p99 < 1 s", "usd < 1000"))
    summary = summarize(scenario, result)
    found = verdicts(scenario, summary)
    assert [v.ok for v in found] == [False, True]
    judged = with_verdicts(summary, found)
    assert judged["slo_ok"] is False
    assert judged["verdicts"][0]["observed"] == math.inf
    assert all_held(found[1:])
    assert with_verdicts(summary, [])["slo_ok"] is None


def run(p99_s: float | None, usd: float, share: float) -> dict[str, Any]:
    return {"ttft": {"p99_s": p99_s}, "usd_per_hour": usd, "served_fraction": share}


def test_comparison_marks_the_best_and_measures_against_the_first() -> None:
    found = compare({"a": run(2.0, 10.0, 0.9), "b": run(1.0, 15.0, 1.0), "c": run(math.inf, 10.0, 0.8)})
    assert [m.key for m in found.measures] == ["served_fraction", "ttft_p99_s", "usd_per_hour"]
    a, b, c = found.rows
    assert a.best == [False, False, True]
    assert b.best == [True, True, False]
    assert c.best == [False, False, True]  # a tie with a
    assert a.change == [None, None, None]
    assert b.change == pytest.approx([0.1, -0.5, 0.5])  # shares in points, the rest relative
    assert c.change == [pytest.approx(-0.1), None, 0.0]


def test_only_runs_with_the_same_traffic_are_compared() -> None:
    runs = {
        "a": run(2.0, 10.0, 0.9),
        "b": run(9.0, 10.0, 0.5),
        "c": run(1.0, 15.0, 1.0),
        "d": run(3.0, 10.0, 0.5),
    }
    found = compare(runs, traffic={"a": "low", "b": "high", "c": "low", "d": "alone"})
    assert [(row.name, row.cell, row.is_baseline) for row in found.rows] == [
        ("a", 0, True),
        ("c", 0, False),
        ("b", 1, False),
        ("d", 2, False),
    ]
    a, c, b, d = found.rows
    assert c.change == pytest.approx([0.1, -0.5, 0.5])
    assert a.change == b.change == d.change == [None, None, None]
    assert a.best[0] is False
    assert c.best[0] is True
    assert not any(b.best + d.best)


def test_nothing_is_best_where_all_are_equal() -> None:
    found = compare({"a": run(1.0, 1.0, 1.0), "b": run(1.0, 1.0, 1.0)})
    assert not any(any(row.best) for row in found.rows)


def test_measures_that_nobody_has_are_left_out_and_zero_has_no_relative_change() -> None:
    found = compare(
        {"a": run(0.0, 1.0, 1.0), "b": run(None, 2.0, 1.0)}, [Compared("ttft_p99_s", "x", "s", "low")]
    )
    assert found.rows[1].change == [None]
    assert compare({"a": run(None, 1.0, 1.0)}, [Compared("ttft_p99_s", "x", "s", "low")]).measures == ()
