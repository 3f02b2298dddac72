"""The benchmarks run, measure what they say, and keep a history; how fast anything is, no test says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(autouse=True)
def _scripts_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])


def test_works_take_turns_and_the_first_turn_is_not_measured() -> None:
    from bench_kit import interleaved

    calls: list[str] = []
    now = iter(range(1000))
    took = interleaved(
        {"x": lambda: calls.append("x"), "y": lambda: calls.append("y")}, 3, lambda: float(next(now))
    )
    assert calls == ["x", "y"] * 4
    assert took == {"x": [1.0] * 3, "y": [1.0] * 3}


def test_ratios_are_taken_turn_by_turn() -> None:
    from bench_kit import Figure, ratios

    assert ratios([2.0, 40.0, 6.0], [1.0, 20.0, 3.0]) == [2.0, 2.0, 2.0]
    assert Figure("cost", "×", [1.0, 1.2, 9.0], goal=1.15, at_least=False).met is False
    assert Figure("speed", "×", [1.0, 1.2, 9.0], goal=1.15).met is True
    assert Figure("speed", "×", [1.0]).met is None


def test_the_simpy_queue_waits_as_theory_says() -> None:
    from bench_kit import LOAD, SERVERS, erlang_wait, simpy_queue

    assert erlang_wait(3, 2 / 3) == pytest.approx(4 / 9)  # Gross & Harris: the clinic, Wq μ = (8/54) · 3
    waits = [simpy_queue(4000, seed) for seed in range(5)]
    assert np.mean(waits) == pytest.approx(erlang_wait(SERVERS, LOAD), rel=0.25)


def test_the_compiled_queue_waits_as_theory_says() -> None:
    from bench_kit import LOAD, SERVERS, erlang_wait, queue_params

    from sim.engine.host import run_plan
    from sim.engine.result import make_result
    from sim.units import PS_PER_S

    n = 100_000
    p = queue_params(n)
    wait = make_result(p, run_plan(p)).sums["queue_wait"][0] / n / PS_PER_S
    assert wait == pytest.approx(erlang_wait(SERVERS, LOAD), rel=0.1)


def test_output_lengths_are_compared_at_one_occupancy() -> None:
    from bench_kit import OCCUPANCY, fleet, occupancy, rate_for

    from sim.engine.host import run_plan

    for output in (32, 512):
        p = fleet(4000, output=output, rate_per_s=rate_for(output, 4000), blocks=10**6)
        assert occupancy(p, run_plan(p)) == pytest.approx(OCCUPANCY, rel=0.1)


@pytest.mark.parametrize(
    "case", ["reference", "replicas", "simpy", "memory", "traffic", "threads", "sweep", "calibration"]
)
def test_cases_run(case: str) -> None:
    from bench_cases import CASES
    from bench_kit import Scale

    figures = CASES[case](Scale(size=0.002, repeats=2, slow=False))
    assert figures
    for figure in figures:
        assert figure.values
        assert all(np.isfinite(value) and value >= 0 for value in figure.values)


def test_state_without_records_does_not_grow_with_the_requests() -> None:
    from bench_cases import case_memory
    from bench_kit import Scale

    growth = next(figure for figure in case_memory(Scale(size=0.2)) if "growth" in figure.what)
    assert growth.met


def test_figures_are_printed_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import bench

    history = tmp_path / "history.jsonl"
    for _ in range(2):
        assert bench.main(["--quick", "--repeats", "1", "--only", "memory", "--json", str(history)]) == 0
    records = [json.loads(text) for text in history.read_text().splitlines()]
    assert len(records) == 2
    assert records[0]["machine"]["versions"]["numba"]
    assert {figure["case"] for figure in records[0]["figures"]} == {"memory"}
    assert "trace, one request" in capsys.readouterr().out


def test_an_unknown_case_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    import bench

    with pytest.raises(SystemExit) as stop:
        bench.main(["--only", "nothing"])
    assert stop.value.code == 2
    assert "nothing" in capsys.readouterr().err


@pytest.mark.parametrize(("value", "text"), [(2_394_561.0, "2,390,000"), (0.19431, "0.194"), (16.0, "16")])
def test_numbers_have_three_figures(value: float, text: str) -> None:
    import bench

    assert bench.number(value) == text
