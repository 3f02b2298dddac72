"""Error budgets and burn-rate alerts: against counting event by event, and the workbook's own figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sim
from sim import cli
from sim.analysis.budget import DAY_S, HOUR_S, RULES, budget, budget_of_run, burn_rate, scaled_rule
from sim.records.run_dir import read_run

SHORT = [
    "duration_s=60",
    "drain_s=30",
    "traffic.arrivals.rate_per_s=17",
    "pool.max_replicas=1",
    "pool.min_replicas=1",
]


def steady(n: int, length_s: float) -> np.ndarray:
    return (np.arange(n) + 0.5) * length_s / n


@pytest.mark.parametrize("rule", RULES)
def test_factors_follow_from_the_share_of_the_budget(rule: Any) -> None:
    """2 % of 30 days' budget in an hour is a burn rate of 14.4."""
    assert rule.factor == pytest.approx(rule.budget * 30 * DAY_S / rule.long_s)
    assert rule.short_s == pytest.approx(rule.long_s / 12)
    week = scaled_rule(rule, 7 * DAY_S)
    assert week.factor == pytest.approx(rule.factor * 7 / 30)
    assert scaled_rule(rule, 30 * DAY_S).factor == pytest.approx(rule.factor)


def test_a_steady_burn_of_one_uses_exactly_the_budget() -> None:
    """Four days with one bad request in a thousand, objective 99.9 %."""
    n = 400_000
    found = budget(steady(n, 4 * DAY_S), np.arange(n) % 1000 == 500, 0.999, (0.0, 4 * DAY_S))
    assert (found.n, found.n_bad) == (n, 400)
    assert found.share_of_run == pytest.approx(1.0)
    assert found.share_of_period == pytest.approx(4 / 30)
    assert found.burn[3 * DAY_S][-1] == pytest.approx(1.0, rel=0.01)
    assert [alert.spans_s for alert in found.alerts[:2]] == [[], []]


def test_an_outage_pages_and_the_page_ends_soon_after_it() -> None:
    """Ten hours, 10 % bad from the fifth hour for twenty minutes: a burn rate of 100 for as long."""
    n = 360_000
    known = steady(n, 10 * HOUR_S)
    bad = (known >= 5 * HOUR_S) & (known < 5 * HOUR_S + 1200) & (np.arange(n) % 10 == 0)
    found = budget(known, bad, 0.999, (0.0, 10 * HOUR_S))
    fast, slow, ticket = found.alerts
    ((begin, end),) = fast.spans_s
    # 14.4 of 100 in an hour are there after 8.64 minutes; the five-minute window is clean five minutes after the end
    assert begin == pytest.approx(5 * HOUR_S + 0.144 * HOUR_S, abs=30)
    assert end == pytest.approx(5 * HOUR_S + 1200 + 300 * (1 - 0.144), abs=30)
    # of six hours twenty minutes at 100 are a burn rate of 5.6, below 6
    assert slow.spans_s == []
    assert slow.max_burn == pytest.approx(100 / 18, rel=0.02)
    assert slow.is_whole
    assert not ticket.is_whole


def test_burn_rates_are_what_counting_gives() -> None:
    rng = np.random.default_rng(1)
    known = np.sort(rng.uniform(0, 1000, 500))
    bad = rng.random(500) < 0.2
    times = np.array([50.0, 300.0, 777.7, 1000.0])
    found = burn_rate(known, bad, 0.01, times, 100.0, 0.0, 0.5)
    for at, rate in zip(times, found, strict=True):
        inside = (known > at - 100) & (known <= at)
        before = max(0.0, 100 - at) * 0.5
        assert rate == pytest.approx(bad[inside].sum() / (inside.sum() + before) / 0.01)


def test_a_run_has_the_budget_that_its_summary_says(tmp_path: Path) -> None:
    run = sim.run("first_run", [*SHORT, 'slo=["slo_attainment >= 95 %"]'], out=tmp_path)
    assert run.path is not None
    found = budget_of_run(read_run(run.path))
    summary = run.summary
    assert found.n == summary["judged"]
    assert found.n - found.n_bad == summary["goodput"]
    assert found.n_bad > 0
    assert (found.objective, found.is_assumed) == (0.95, False)
    assert found.share_of_run == pytest.approx((1 - summary["slo_attainment"]) / 0.05)
    other = budget_of_run(read_run(run.path), objective=0.99999, period_s=3 * DAY_S)
    assert other.share_of_run == pytest.approx((1 - summary["slo_attainment"]) / 0.00001)
    assert other.alerts[0].rule.factor == pytest.approx(0.02 * 72)
    assert other.alerts[0].spans_s, "2 % of a small budget for three days is gone at once"


def test_classes_have_budgets_of_their_own(tmp_path: Path) -> None:
    run = sim.run("noisy_tenant", ["duration_s=60", "drain_s=30"], out=tmp_path)
    assert run.path is not None
    files = read_run(run.path)
    whole = budget_of_run(files)
    parts = [budget_of_run(files, name) for name in run.summary["classes"]]
    assert whole.n == sum(part.n for part in parts)
    assert whole.n_bad == sum(part.n_bad for part in parts)
    assert [part.n for part in parts] == [section["judged"] for section in run.summary["classes"].values()]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run in it, to stand in."""
    monkeypatch.chdir(tmp_path)
    sim.run("first_run", SHORT, out=tmp_path / "results")
    return tmp_path


def test_the_verb_prints_and_says_json(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["budget", "latest"]) == 3, "it is overspent"
    text = capsys.readouterr().out
    assert "the objective of 99.9 % is assumed" in text
    assert "1 h* and 5 min" in " ".join(text.split())
    assert cli.main(["budget", "first_run", "--objective", "1%", "--period=7d", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["objective"], data["period_s"], data["is_assumed"]) == (0.01, 7 * DAY_S, False)
    assert [alert["severity"] for alert in data["alerts"]] == ["page", "page", "ticket"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["latest", "--objective", "100%"], "allowed: between 0 and 100 %"),
        (["latest", "--objective", "much"], "allowed: a fraction"),
        (["latest", "--period", "30"], "--period: '30' is not valid; allowed: a time, as 30d, 12h or 600s"),
        (["latest", "--period", "0 s"], "allowed: a time"),
        (["first_run", "--period", "1s"], "--period: '1s' is not valid; allowed: 3d to 400d"),
        (["first_run", "--period", "401d"], "allowed: 3d to 400d: the longest window of an alert is 3d"),
        (["latest", "class=chatt"], "class: 'chatt' is not valid"),
        (["latest", "color=red"], "allowed: class=NAME, once"),
        (["nothing"], "a run's folder"),
        ([], "budget: needs a run first, as `fleetsim budget latest`"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], line: str, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["budget", *words]) == 2
    said = capsys.readouterr()
    assert line in said.err
    assert said.err.count("\n") == 1


def test_without_objectives_there_is_no_budget(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sim.run("first_run", [*SHORT, "traffic.objectives={ttft_s: null, tpot_s: null}"], out=kept / "results")
    assert cli.main(["budget", "latest"]) == 2
    assert "no class promises anything; set objectives of traffic" in capsys.readouterr().err
