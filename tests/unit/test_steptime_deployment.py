"""A deployment's step time from a few operating points: the corrections come back, starved points are refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from conftest import shared_data
from hypothesis import given, settings
from hypothesis import strategies as st

import sim
from sim import calibration
from sim.errors import InputError
from sim.scenario.hardware import Grid
from sim.steptime.deployment import Correction, calibrate_points, fit, off, predicted, to_grid
from sim.steptime.make import grid_curve
from sim.steptime.points import Point, Points
from sim.steptime.states import Lengths, PoolLaw, starved, state_of

HOST_US = 40.0
SIZES = (1, 8, 64, 256)
GRID = Grid(
    batch_size=SIZES,
    base_ms=tuple(8.0 + (0.01 + 1e-3 * HOST_US) * n for n in SIZES),
    slope_ms=(4e-5,) * 4,
    p0_ms=2.0,
    p1_ms=0.05,
    p2_ms=1e-7,
    mixed_ms=2.0,
)
LAW = PoolLaw("a made one", grid_curve(GRID, 256), 1e-3 * HOST_US * np.arange(257.0), 8192)
LENGTHS = Lengths(np.array([100.0, 200.0, 600.0]), np.array([50.0, 300.0, 700.0]))


def point(running: float, truth: Correction, where: str = "here") -> Point:
    """What a deployment that obeys a correction would show."""
    median, mean = predicted(state_of(Point(where, running), LAW, LENGTHS), truth)
    return Point(where, running, median, mean)


def made(truth: Correction, running: tuple[float, ...]) -> Points:
    return Points(
        "made.csv", tuple(point(n, truth, f"made.csv, line {i}") for i, n in enumerate(running, start=2))
    )


@given(st.floats(-3, 15), st.floats(-30, 150))
@settings(max_examples=25, deadline=None)
def test_offset_and_host_time_come_back_from_three_points(offset: float, host: float) -> None:
    truth = Correction(offset_ms=offset, host_us=host)
    found = calibrate_points(made(truth, (4, 40, 200)), LAW, LENGTHS, "today")
    for n in (4, 10, 100, 200):
        state = state_of(point(n, truth), LAW, LENGTHS)
        assert abs(off(state, found.correction)) < 2.0
    assert found.error < 1e-6
    assert found.correction.scale == 1.0


def test_five_points_give_the_scale_too() -> None:
    truth = Correction(scale=1.4, offset_ms=1.0, host_us=20.0)
    found = calibrate_points(made(truth, (2, 8, 32, 100, 250)), LAW, LENGTHS, "today")
    assert found.correction.scale == pytest.approx(1.4, rel=0.1)
    assert found.left_out < 3.0
    assert found.law_error > 15.0


def test_the_grid_is_the_corrected_law() -> None:
    correction = Correction(1.2, 1.5, 10.0, np.array([4.0, 64.0]), np.array([0.9, 1.1]))
    grid = to_grid(LAW, correction, "made")
    curve = grid_curve(grid, 256)
    for n, ratio in ((1, 0.9), (4, 0.9), (16, math.sqrt(0.9 * 1.1)), (64, 1.1), (200, 1.1)):
        kv = 300.0 * n
        gpu = 8.0 + 0.01 * n + 4e-5 * kv
        expected = ratio * (1.2 * gpu + 1e-3 * HOST_US * n + 1.5 + 0.01 * n)
        assert 1e3 * (curve.base_s[n] + curve.slope_s[n] * kv) == pytest.approx(expected, rel=0.01)
    assert grid.mixed_ms == 2.0
    assert grid.p0_ms == pytest.approx(1.2 * 2.0 + 1.5)
    assert grid.prompt_ms[-1] == pytest.approx(1.2 * 0.05 * grid.prompt_tokens[-1])


def test_the_median_step_carries_prompts_only_where_most_steps_do() -> None:
    few = state_of(Point("", 8.0, output_tokens=1000.0), LAW, LENGTHS)
    many = state_of(Point("", 200.0, output_tokens=20.0), LAW, LENGTHS)
    assert few.gpu_ms[1] == few.gpu_ms[0] < few.gpu_ms[2]
    assert many.gpu_ms[0] + 2.0 < many.gpu_ms[1]
    assert few.with_prompts == pytest.approx(1 - math.exp(-0.008))


def test_prompts_for_each_token_written_give_the_outputs_length() -> None:
    by_share = state_of(Point("", 64.0, prompts_per_output=3.0), LAW, LENGTHS)
    assert by_share.with_prompts == pytest.approx(
        1 - math.exp(-64.0 / 100.0)
    )  # prompts of 300: outputs of 100


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Point("", 64.0, 47.0, 40.0), "its median gap of 47 ms is above 1.08 times its mean step of 40 ms"),
        (
            Point("", 8.0, 20.0, 21.0, 30.0, 100.0, 2000.0),
            "its 90th percentile of 30 ms is above 1.25 times its median",
        ),
        (Point("", 200.0, 20.0, 21.0, 30.0, 100.0, 100.0), ""),
        (Point("", 64.0, 40.0, 40.0, 44.0), ""),
    ],
)
def test_points_that_no_step_time_explains_are_refused(found: Point, said: str) -> None:
    assert starved(state_of(found, LAW, LENGTHS)).startswith(said)
    assert bool(starved(state_of(found, LAW, LENGTHS))) == bool(said)


def test_too_few_sound_points_are_an_error_that_names_the_others() -> None:
    good, bad = point(64, Correction()), Point("p.csv, line 3", 8.0, 47.0, 40.0)
    with pytest.raises(InputError) as caught:
        calibrate_points(Points("p.csv", (good, good, bad)), LAW, LENGTHS, "today")
    assert "1 number of running sequences in its sound points" in caught.value.problems[0]
    assert caught.value.problems[1].startswith("p.csv, line 3: its median gap")


def test_points_of_several_deployments_are_refused() -> None:
    wild = tuple(Point("", n, ms) for n, ms in ((2, 5.0), (8, 90.0), (32, 6.0), (128, 400.0)))
    with pytest.raises(InputError, match=r"predicted from the others are \d+ % off"):
        calibrate_points(Points("p.csv", wild), LAW, LENGTHS, "today")


def test_points_in_another_unit_are_refused() -> None:
    seconds = tuple(Point("", n, 1e3 * (point(n, Correction()).p50_ms or 0)) for n in (4.0, 32.0, 128.0))
    with pytest.raises(
        InputError, match=r"the measured steps are 1e\+03 times the modelled ones of a made one"
    ):
        calibrate_points(Points("p.csv", seconds), LAW, LENGTHS, "today")


def test_two_points_at_one_number_of_sequences_are_met_in_the_middle() -> None:
    low, high = point(64, Correction(offset_ms=1.0)), point(64, Correction(offset_ms=2.0))
    states = [state_of(p, LAW, LENGTHS) for p in (point(8, Correction()), low, high)]
    found = fit(states)
    assert len(found.at) == 2
    assert off(states[1], found) == pytest.approx(-off(states[2], found), abs=0.3)


# ---- from end to end -----------------------------------------------------------------------------

OVERRIDES = [
    "pool.min_replicas=1",
    "pool.max_replicas=1",
    "slo=none",
    "runtime.max_num_seqs=128",
    "duration_s=10",
]
OVERRIDES += [
    "drain_s=3000",
    "traffic.prompt_tokens={kind: constant, value: 300}",
    "autoscaler=fixed",
    "coldstart=none",
]
OVERRIDES += ["traffic.output_tokens={kind: uniform, low: 100, high: 300}"]
SLOWER = (
    "{kind: grid, batch_size: [1, 32, 128], base_ms: [9, 14, 33], slope_ms: [0.00004, 0.00004, 0.00004], "
)
SLOWER += "p0_ms: 5, p1_ms: 0.03, p2_ms: 0.0000001, mixed_ms: 3}"


def median_gap_ms(n: int, extra: list[str]) -> float:
    """The median gap between tokens of a saturated replica with n sequences."""
    batch = f"traffic.arrivals={{kind: batch, requests: {6 * n}, at_s: 0}}"
    done = sim.run("first_run", [*OVERRIDES, batch, f"runtime.max_num_seqs={n}", *extra])
    return 1e3 * done.summary["itl"]["p50_s"]


def test_a_replica_is_found_again_from_three_of_its_operating_points(tmp_path: Path) -> None:
    rows = [(n, median_gap_ms(n, [f"pool.steptime={SLOWER}"])) for n in (4, 24, 96)]
    path = tmp_path / "points.csv"
    path.write_text("concurrency,itl_p50_ms\n" + "".join(f"{n},{ms}\n" for n, ms in rows))
    text, report = calibration.calibrate_words([str(path), "--scenario", "first_run", *OVERRIDES])
    assert "3 operating points of H100 SXM 80 GB, Llama 3.1 8B" in report
    story = tmp_path / "mine.yaml"
    story.write_text('question: "?"\nlook_at: ["ttft"]\n' + text)
    loaded = sim.load(story)
    assert isinstance(loaded.pools[0].steptime, Grid)
    assert loaded.pools[0].steptime.source.startswith("points.csv: 3 points, 20")
    steptime = "pool.steptime=" + flow(text)
    for n in (10, 60):
        truth = median_gap_ms(n, [f"pool.steptime={SLOWER}"])
        assert median_gap_ms(n, [steptime]) == pytest.approx(truth, rel=0.05), n


def flow(text: str) -> str:
    """The step time of a fragment as an override."""
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    return (
        "{"
        + ", ".join(
            line.replace("source: '", 'source: "').replace("error: '", 'error: "').replace("'", '"')
            for line in lines
        )
        + "}"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "holds operating points: say what was measured, as --scenario first_run"),
        (["--scenario", "first_run", "--coefficients"], "operating points give no linear coefficients"),
        (["--scenario", "no_such"], "scenario: 'no_such' is not known"),
        (["--scenario", "two_models"], "two_models has 2 pools (chat, code)"),
        (["--scenario", "first_run", "model=embeddinggemma_300m"], "model"),
        (["--scenario", "embedding_service"], "its traffic writes no tokens"),
        (
            ["--scenario", "first_run", "runtime.max_num_seqs=32"],
            "p.csv, line 3: 64 sequences at once, but runtime.max_num",
        ),
    ],
)
def test_points_need_a_deployment(tmp_path: Path, words: list[str], said: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text("running,itl_p50_ms\n8,12\n64,15\n")
    with pytest.raises(InputError) as caught:
        calibration.calibrate_words([str(path), *words])
    assert said in str(caught.value)


@pytest.mark.slow
def test_three_points_of_measured_deployments_predict_their_others() -> None:
    """What docs/step-time.md says of calibrating: the median gap at other points of 21 deployments of vLLM."""
    import sys

    folder = shared_data("latency/ml_energy/measured.csv").parents[2]
    sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
    from calibrate_study import chosen, deployments, errors

    found = list(deployments(folder))
    assert len(found) >= 15
    made = np.array([errors(one.states, chosen(one.states, 3)) for one in found])
    assert made[:, 1].mean() <= 6.0
    assert made[:, 1].mean() < 0.7 * made[:, 0].mean()
