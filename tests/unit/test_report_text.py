"""Numbers as people read them, and a run and a comparison on a terminal."""

from __future__ import annotations

import io
import math
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_result import spiky_run, two_pools
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sim.analysis.summary import summarize
from sim.analysis.verdicts import verdicts, with_verdicts
from sim.report.progress import Progress
from sim.report.terminal import print_comparison, print_run, verdict_line
from sim.report.text import change, number, observed, quantity, read_back, seconds, share, slo_text, usd


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1234567, "1,234,567"),
        (1234.5, "1,234"),
        (0.012345, "0.0123"),
        (12.345, "12.3"),
        (math.inf, "∞"),
        (None, "–"),
        (math.nan, "–"),
        (999.9, "1000"),
        (1e-12, "1.00e-12"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 s"),
        (0.00025, "250 µs"),
        (0.0123, "12.3 ms"),
        (1.25, "1.25 s"),
        (310.2, "310 s"),
        (7200.0, "2.00 h"),
        (math.inf, "∞"),
        (None, "–"),
    ],
)
def test_seconds(value: float | None, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "100 %"),
        (0.0, "0 %"),
        (0.5, "50 %"),
        (0.979, "97.9 %"),
        (0.9996, "99.960 %"),
        (None, "–"),
        (0.9999999, "99.9999 %"),
        (0.0125, "1.25 %"),
    ],
)
def test_share_is_never_rounded_up_to_all(value: float | None, text: str) -> None:
    assert share(value) == text


def test_money_and_quantities() -> None:
    assert usd(1234.5) == "1,234.50 usd"
    assert usd(0.0123) == "0.0123 usd"
    assert quantity(17.678, "usd/h") == "17.68 usd/h"
    assert quantity(0.25, "s") == "250 ms"
    assert quantity(5.0, "1/s") == "5.00 1/s"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "", ""),
        (0.0, "", "="),
        (0.12, "", "+12 %"),
        (-0.034, "", "-3.4 %"),
        (24.0, "", "×25"),
        (-0.975, "", "÷40"),
        (-1.0, "", "-100 %"),
        (-0.021, "share", "-2.1 pt"),
    ],
)
def test_change(value: float | None, unit: str, text: str) -> None:
    assert change(value, unit) == text


def printed(thing: Any, printer: Any, width: int = 130) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    printer(thing, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def a_run(**changes: Any) -> Any:
    scenario, result = spiky_run(n=2000, **changes)
    summary = summarize(scenario, result)
    return SimpleNamespace(
        summary=with_verdicts(summary, verdicts(scenario, summary)), path=Path("results/x")
    )


def test_run_shows_question_verdicts_latencies_bill_and_files() -> None:
    run = a_run(lost=0.02)
    text = printed(run, print_run)
    assert run.summary["question"] in text
    assert "✗ ttft.p99 < 1 s   was ∞" in text
    assert f"✓ usd_per_hour < 40   was {run.summary['usd_per_hour']:.2f} usd/h" in text
    assert "ttft, served alone" in text
    assert f"cost {run.summary['usd']:.2f} usd" in text
    assert "GPU hours (h100) × 3.6 usd" in text
    assert run.summary["digest"] in text
    assert "files in results/x" in text


def test_fractions_are_judged_in_percent() -> None:
    seen = {
        "text": "prefix_hit_ratio > 90 %",
        "unit": "",
        "measure": "prefix_hit_ratio",
        "observed": 0.922,
        "ok": True,
    }
    assert verdict_line(seen).plain == "  ✓ prefix_hit_ratio > 90 %   was 92.2 %"


@pytest.mark.parametrize(
    ("measure", "unit", "limit", "value", "shown"),
    [
        ("ttft_p99_s", "s", 1.0, 1.0004, "1.0004 s"),
        ("ttft_p99_s", "s", 1.0, 0.99996, "999.96 ms"),
        ("slo_attainment", "", 0.99, 0.98999999, "98.999999 %"),
        ("slo_attainment", "", 0.9, 0.95, "95 %"),
        ("usd_per_hour", "usd/h", 25.0, 25.0000001, "25.0000001 usd/h"),
        ("output_tokens_per_s", "1/s", 50000.0, 50000.4, "50,000.4 1/s"),
        ("ttft_p99_s", "s", 1.0, 1.0, "1.00 s"),
        ("ttft_p99_s", "s", 1.0, math.inf, "∞"),
    ],
)
def test_what_was_observed_never_reads_as_the_other_side_of_its_limit(
    measure: str, unit: str, limit: float, value: float, shown: str
) -> None:
    verdict = {"measure": measure, "unit": unit, "limit": limit, "observed": value}
    text = observed(verdict)
    assert text == shown
    if math.isfinite(value):
        assert (read_back(text) < limit, read_back(text) > limit) == (value < limit, value > limit)


@given(
    st.sampled_from([("ttft_p99_s", "s"), ("slo_attainment", ""), ("usd", "usd"), ("completed", "")]),
    st.floats(1e-6, 1e6),
    st.floats(-1e-6, 1e-6),
)
def test_every_observed_value_says_its_side(kind: tuple[str, str], limit: float, off: float) -> None:
    value = limit * (1 + off)
    shown = read_back(observed({"measure": kind[0], "unit": kind[1], "limit": limit, "observed": value}))
    assert not (value < limit <= shown)
    assert not (value > limit >= shown)


def test_what_promises_nothing_says_nothing_of_promises() -> None:
    told = {"offered": 1000, "completed": 60, "slo_attainment": 1.0, "judged": 60}
    assert slo_text({**told, "slo_attainment": None, "judged": None}) == ""
    assert slo_text(told) == "SLO met by 100 % of 60 judged, 940 not served"
    assert slo_text({**told, "completed": 1000, "judged": 1000}) == "SLO met by 100 %"


def test_a_run_with_several_pools_shows_each() -> None:
    text = printed(SimpleNamespace(summary=summarize(*two_pools(*spiky_run(n=500)))), print_run)
    assert "main replicas" in text or "  main " in text
    assert "GPU hours (a100_80) × 1.8 usd" in text
    assert "files in" not in text


def test_comparison_shows_best_differences_and_failures() -> None:
    runs = {"now": a_run(), "slow": a_run(start_delay_s=400), "wide": a_run(headroom=2.5)}
    lines = printed(SimpleNamespace(runs=runs), print_comparison, width=150).splitlines()
    wide = next(line for line in lines if line.split()[:1] == ["wide"])
    now = next(line for line in lines if line.split()[:1] == ["now"])
    p99_s, usd_per_hour = runs["wide"].summary["ttft"]["p99_s"], runs["now"].summary["usd_per_hour"]
    assert f"{seconds(p99_s)}*" in wide
    assert f"{usd_per_hour:.2f}*" in now
    assert any("✗ slow: ttft.p99 < 1 s" in line for line in lines)
    more = runs["wide"].summary["usd_per_hour"] / usd_per_hour - 1
    assert change(more) in lines[lines.index(wide) + 1]


def test_a_narrow_terminal_gets_a_line_per_measure_with_nothing_cut() -> None:
    runs = {"now": a_run(), "slow": a_run(start_delay_s=400), "wide": a_run(headroom=2.5)}
    text = printed(SimpleNamespace(runs=runs), print_comparison, width=70)
    assert "…" not in text
    for run in runs.values():
        p99 = seconds(run.summary["ttft"]["p99_s"])
        assert any(line.strip().startswith("ttft p99") and p99 in line for line in text.splitlines())
    assert max(len(line) for line in text.splitlines()) <= 70


def drawn(show_after_s: float, is_terminal: bool, wait_until_drawn: bool) -> str:
    """What a bar writes around a short task."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=is_terminal, width=80)
    with Progress("simulating", console, show_after_s) as tell:
        tell(0.5)
        for _ in range(500 if wait_until_drawn else 0):
            if "simulating" in file.getvalue():
                break
            time.sleep(0.01)
    return file.getvalue()


def test_bar_shows_only_what_takes_long_and_only_on_a_terminal() -> None:
    assert "50%" in drawn(0.0, is_terminal=True, wait_until_drawn=True)
    assert "simulating" not in drawn(60.0, is_terminal=True, wait_until_drawn=False)
    assert drawn(0.0, is_terminal=False, wait_until_drawn=False).strip() == ""
