"""Fitting measured steps: what comes back, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from hardware_kit import DATA, pool
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from sim.errors import InputError
from sim.scenario.hardware import Coefficients, Grid, StepTime
from sim.steptime import make_step_table
from sim.steptime.calibrate import Modelled, calibrate, errors_of, grid_yaml, to_yaml
from sim.steptime.fits import Points, least_squares, merged, ramps, robust
from sim.steptime.forms import choose_decode, choose_prompts, fit_coefficients, fit_grid, folds
from sim.steptime.make import curve_of
from sim.steptime.rows import Row, read_rows

GROUP = ("gpu", "model", 1)
HEADER = "system,model,tp,mode,batch_size,isl,latency_ms\n"
PROMPTS = "g,m,1,static_ctx,1,128,5\ng,m,1,static_ctx,1,512,9\n"
TOKENS = "g,m,1,static_gen,1,128,4\ng,m,1,static_gen,2,128,5\n"
GOOD = HEADER + PROMPTS + TOKENS
milliseconds = st.floats(0.01, 100)


def made_rows(spec: Coefficients) -> tuple[list[Row], list[Row]]:
    """Noise-free measurements of a linear step time."""
    prefill, decode = [], []
    for n in (1, 2, 8, 32):
        for length in (64, 512, 4096):
            prompt = spec.p0_ms + spec.p1_ms * n * length + spec.p2_ms * n * length**2
            token = spec.d0_ms + spec.d1_ms * n + spec.d2_ms * n * length
            prefill.append(Row(GROUP, True, n, length, prompt))
            decode.append(Row(GROUP, False, n, length, token))
    return prefill, decode


@given(milliseconds, milliseconds, milliseconds, milliseconds, milliseconds, milliseconds)
@settings(max_examples=60, deadline=None)
def test_a_linear_step_time_is_recovered_by_both_fits(
    d0: float, d1: float, d2: float, p0: float, p1: float, p2: float
) -> None:
    truth = Coefficients(d0_ms=d0, d1_ms=d1 / 1e2, d2_ms=d2 / 1e5, p0_ms=p0, p1_ms=p1 / 1e3, p2_ms=p2 / 1e6)
    prefill, decode = made_rows(truth)
    found = fit_coefficients(prefill, decode, "made")
    for name in ("d0_ms", "d1_ms", "d2_ms", "p0_ms", "p1_ms", "p2_ms"):
        assert getattr(found, name) == pytest.approx(getattr(truth, name), rel=1e-4)
    for spec in (found, fit_grid(prefill, decode, "made")):
        assert max(e.max for e in errors_of(spec, prefill + decode).values()) < 1e-3


@given(st.lists(milliseconds, min_size=6, max_size=6), st.lists(milliseconds, min_size=6, max_size=6))
@settings(max_examples=60, deadline=None)
def test_whatever_was_measured_the_grid_never_falls(latencies: list[float], prompts: list[float]) -> None:
    sizes = [(n, length) for n in (1, 4, 16) for length in (128, 1024)]
    decode = [Row(GROUP, False, n, length, t) for (n, length), t in zip(sizes, latencies, strict=True)]
    prefill = [Row(GROUP, True, n, length, t) for (n, length), t in zip(sizes, prompts, strict=True)]
    grid = fit_grid(prefill, decode, "noise")
    table = make_step_table(pool(steptime=grid, max_num_seqs=32))
    assert (np.diff(table.base_ps[1:]) >= 0).all()
    assert (np.diff(table.slope_ps) >= 0).all()


def test_least_squares_keeps_every_coefficient_at_or_above_zero() -> None:
    terms = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    falling = least_squares(terms, np.array([3.0, 2.0, 1.0]))
    assert falling[1] == 0.0
    assert falling[0] > 0


@given(
    st.lists(st.floats(0.1, 50), min_size=3, max_size=8),
    st.lists(st.sampled_from([0.01, 0.3, 5.0, 100.0]), min_size=0, max_size=2),
)
@settings(max_examples=60, deadline=None)
def test_a_few_rows_far_off_do_not_move_a_fit(noise: list[float], far: list[float]) -> None:
    n = np.arange(1.0, 21.0)
    latency = (10.0 + 0.5 * n) * (1.0 + 0.002 * np.resize(np.array(noise) / 50 - 0.5, 20))
    for at, factor in zip((4, 13), far, strict=False):
        latency[at] *= factor
    points = Points(n, np.full(20, 100.0), latency, np.ones(20))
    found = robust(np.column_stack([np.ones(20), n]), points)
    assert found @ [1.0, 10.0] == pytest.approx(15.0, rel=0.01)


def test_repeats_within_a_token_or_a_hundredth_are_one_length() -> None:
    lengths = np.array([576.0, 575.4, 576.6, 100.0, 101.0, 120.0, 2000.0, 2015.0, 1.0, 2.0])
    assert merged(lengths) == pytest.approx([576, 576, 576, 100.5, 100.5, 120, 2007.5, 2007.5, 1, 2])


def linear_rows(lengths: dict[int, float], noise: float, seed: int) -> list[Row]:
    """Decode rows of base 30 + 0.4·batch ms, five repeats of each batch size, lengths jittered by a token."""
    rng = np.random.default_rng(seed)
    return [
        Row(GROUP, False, n, length + rng.uniform(-0.5, 0.5), (30 + 0.4 * n) * (1 + noise * rng.normal()))
        for n, length in lengths.items()
        for _ in range(5)
    ]


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_noise_of_lengths_never_becomes_a_slope(seed: int) -> None:
    rows = linear_rows(dict.fromkeys((1, 2, 4, 8, 16, 32), 576.0), 0.01, seed)
    prefill = [Row(GROUP, True, 1, length, 10.0 + 0.02 * length) for length in (100, 200, 400, 800)]
    grid = fit_grid(prefill, rows, "made")
    assert grid.slope_ms == (0.0,) * 6
    for n, base in zip(grid.batch_size, grid.base_ms, strict=True):
        assert base == pytest.approx(30 + 0.4 * n, rel=0.03)


def test_the_form_with_the_least_error_on_points_left_out_is_taken() -> None:
    knee = {n: 8.0 if n <= 16 else 8.0 + 0.2 * (n - 16) for n in (1, 2, 4, 8, 16, 32, 64, 128, 256)}
    flat = [Row(GROUP, False, n, length, t) for n, t in knee.items() for length in (100.0, 1000.0)]
    assert choose_decode(flat).fit.form == "a base at each batch size"
    assert (
        choose_decode(linear_rows({1: 100.0, 4: 900.0, 16: 100.0, 64: 900.0}, 0.0, 1)).fit.form
        == "a straight line"
    )
    square = [Row(GROUP, True, 1, n, 5 + 0.01 * n + 1e-6 * n * n) for n in (100, 500, 1000, 5000, 20_000)]
    assert choose_prompts(square).fit.form == "a polynomial"


def prompt_rows(time_ms: Callable[[float], float]) -> list[Row]:
    """One prompt a step, of 32 to 16,384 tokens."""
    return [
        Row(GROUP, True, 1, float(n), time_ms(n))
        for n in (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384)
    ]


@given(st.floats(5, 50), st.floats(100, 2000), st.floats(0.01, 0.2), st.sampled_from([0.0, 1e-7, 1e-6]))
@settings(max_examples=25, deadline=None)
def test_a_floor_for_short_prompts_is_found(floor: float, knee: float, slope: float, square: float) -> None:
    rows = prompt_rows(lambda n: floor + slope * max(0.0, n - knee) + square * n * n)
    decode = [Row(GROUP, False, n, 100.0, 5.0 + n) for n in (1, 2, 4, 8)]
    grid = fit_grid(rows, decode, "made")
    assert errors_of(grid, rows)["prefill"].mape < 5.0
    assert grid.p0_ms == pytest.approx(floor, rel=0.1)


def test_a_curve_of_prompts_is_written_as_tokens_and_times() -> None:
    rows = prompt_rows(lambda n: 10.0 if n <= 1024 else 10.0 + 0.05 * (n - 1024))
    decode = [Row(GROUP, False, n, 100.0, 5.0 + n) for n in (1, 2, 4, 8)]
    grid = fit_grid(rows, decode, "made")
    assert len(grid.prompt_tokens) == len(grid.prompt_ms) > 0
    assert grid.p1_ms == 0.0
    text = "\n".join(grid_yaml(grid, "none"))
    read = TypeAdapter(StepTime).validate_python(yaml.safe_load(text))
    assert read.prompt_tokens == grid.prompt_tokens
    assert read.prompt_ms == pytest.approx(grid.prompt_ms, rel=1e-8)


def test_a_fixed_time_of_prompts_beside_decodes_comes_back(tmp_path: Path) -> None:
    def decode_ms(n: int, length: int) -> float:
        return 6.0 + 0.05 * n + 4e-5 * n * length

    lines = [f"static_ctx,1,{t},{3 + 0.02 * t}" for t in (100, 200, 400, 800, 1600)]
    lines += [f"static_gen,{n},{c},{decode_ms(n, c)}" for n in (1, 8, 32, 128) for c in (100, 1000)]
    mixed = [
        f"mixed,{n},{c},{decode_ms(n, c) + 0.02 * t + 2.5},{t}"
        for n, c, t in ((8, 100, 500), (32, 1000, 200), (128, 100, 900), (8, 1000, 64))
    ]
    path = tmp_path / "mixed.csv"
    path.write_text(
        "mode,batch_size,isl,latency_ms,prompt_tokens\n" + "\n".join([f"{line}," for line in lines] + mixed)
    )
    (fit,) = calibrate(path).fits
    assert fit.grid.mixed_ms == pytest.approx(2.5, abs=0.05)
    assert fit.grid_error["mixed"].max < 1.0
    assert fit.left_out["mixed"].mape < 1.0
    assert "mixed_ms: 2.5" in to_yaml(fit)
    assert fit.coefficients.mixed_ms == fit.grid.mixed_ms
    path.write_text("mode,batch_size,isl,latency_ms\n" + "\n".join(lines) + "\nmixed,8,100,9\n")
    with pytest.raises(InputError, match="prompt_tokens: None is not a number"):
        calibrate(path)


def test_every_point_is_left_out_once_and_a_batch_size_as_a_whole() -> None:
    key = np.array([1, 1, 2, 2, 4, 4, 8, 8, 8])
    found = folds(key)
    assert np.sum(found, axis=0).tolist() == [1] * 9
    assert sorted(fold.sum() for fold in found) == [1, 1, 1, 1, 1, 2, 2]
    many = folds(np.arange(400))
    assert np.sum(many, axis=0).tolist() == [1] * 400
    assert len(many) == 24


@given(st.lists(st.floats(1, 1000), min_size=1, max_size=9, unique=True))
@settings(deadline=None)
def test_ramps_are_a_curve_through_its_knots(knots: list[float]) -> None:
    at = np.array(sorted(knots))
    heights = np.cumsum(np.arange(1.0, len(at) + 1))
    climbs = np.append(heights[:1], np.diff(heights))
    assert ramps(at, at) @ climbs == pytest.approx(heights)
    assert (np.diff(ramps(np.linspace(0, 2000, 50), at) @ climbs) >= -1e-9).all()


def test_rows_that_follow_no_step_time_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    lines = [f"g,m,1,static_gen,{n},100,{5 * 6 ** rng.normal():.4f}" for n in range(1, 40)]
    path = tmp_path / "noise.csv"
    path.write_text(HEADER + PROMPTS + "\n".join(lines))
    with pytest.raises(
        InputError, match=r"decode: the best fit \(.*\) misses points left out by \d+ % in the median"
    ):
        calibrate(path)


def test_a_fit_worse_than_the_modelled_step_time_is_refused_with_both_errors(tmp_path: Path) -> None:
    sizes = (1, 2, 4, 8, 16)
    falling = Grid(
        batch_size=sizes,
        base_ms=tuple(80.0 / n for n in sizes),
        slope_ms=(0.0,) * 5,
        p0_ms=3.0,
        p1_ms=0.01,
        p2_ms=0.0,
    )
    lines = [f"g,m,1,static_gen,{n},100,{80 / n}" for n in sizes]
    path = tmp_path / "falling.csv"
    path.write_text(HEADER + PROMPTS + "\n".join(lines))
    modelled = Modelled("a flat one", lambda n: curve_of(None, falling, n))
    with pytest.raises(InputError) as caught:
        calibrate(path, lambda group: modelled)
    (line,) = caught.value.problems
    assert "falling.csv: g m tp 1: decode: the best fit" in line
    assert "the modelled step time (a flat one) 0.0 %" in line


def test_the_modelled_step_time_stands_beside_the_fit(tmp_path: Path) -> None:
    flat = Coefficients(d0_ms=4, d1_ms=0, d2_ms=0, p0_ms=5, p1_ms=0, p2_ms=0)
    path = tmp_path / "steps.csv"
    path.write_text(GOOD)
    modelled = Modelled("a flat one", lambda n: curve_of(None, flat, n))
    (fit,) = calibrate(path, lambda group: modelled).fits
    assert fit.modelled_error["decode"].max == pytest.approx(20.0)
    assert fit.modelled_error["prefill"].max == pytest.approx(100 * 4 / 9)
    assert "too few points to leave any out" in to_yaml(fit)


def test_a_batch_size_measured_once_takes_its_neighbours_slope() -> None:
    decode = [
        Row(GROUP, False, n, length, 5.0 + 1e-4 * n * length) for n in (1, 16) for length in (100, 1000)
    ]
    decode.append(Row(GROUP, False, 4, 500, 5.0 + 1e-4 * 4 * 500))
    prefill = [Row(GROUP, True, 1, length, 1.0 + length) for length in (10, 20)]
    assert fit_grid(prefill, decode, "made").slope_ms == pytest.approx([1e-4] * 3)


@pytest.mark.parametrize("kind", ["grid", "coefficients"])
def test_the_yaml_of_a_fit_reads_back_as_the_fit(kind: str) -> None:
    (fit,) = calibrate(DATA / "steptime_grid_excerpt.csv").fits
    text = to_yaml(fit, kind)  # type: ignore[arg-type]
    read = TypeAdapter(StepTime).validate_python(yaml.safe_load(text))
    original = fit.grid if kind == "grid" else fit.coefficients
    assert isinstance(read, Grid if kind == "grid" else Coefficients)
    for name in ("p0_ms", "p1_ms", "p2_ms"):
        assert getattr(read, name) == pytest.approx(getattr(original, name), rel=1e-8)
    old, new = (make_step_table(pool(steptime=spec)) for spec in (original, read))
    assert old.base_ps == pytest.approx(new.base_ps, rel=1e-8)
    assert f"{fit.grid_error['decode'].n_rows} rows" in text


def test_every_system_model_and_tp_of_a_file_is_its_own_fit() -> None:
    found = calibrate(DATA / "steptime_measured_excerpt.csv")
    assert [(fit.system, fit.model, fit.tp) for fit in found.fits] == [
        ("a100-80gb", "llama2-70b", 4),
        ("h100-80gb", "llama2-70b", 4),
    ]
    assert found.n_rows == 52
    assert found.skipped == ()
    assert all(fit.grid_error["decode"].mape < 2.0 for fit in found.fits)


def test_a_batch_that_was_not_served_as_one_is_left_out_and_said(tmp_path: Path) -> None:
    text = (DATA / "steptime_measured_excerpt.csv").read_text().splitlines()
    columns = text[0].split(",")
    cells = dict(zip(columns, text[1].split(","), strict=True))
    cells["e2e_time"] = str(float(cells["e2e_time"]) * 2)
    path = tmp_path / "slow.csv"
    path.write_text("\n".join([text[0], ",".join(cells.values()), *text[2:]]))
    found = read_rows(path)
    assert found.skipped == ["line 2: its batch was not served as one"]
    assert len(found.rows) == 50


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("g,m,1,static_gen,1,128,abc", "line 6: latency_ms: 'abc' is not a number"),
        ("g,m,1,static_gen,1,128,nan", "line 6: latency_ms: 'nan' must be a finite number above 0"),
        ("g,m,1,static_gen,1,128,-1", "line 6: latency_ms: '-1' must be"),
        ("g,m,1,static_gen,0,128,1", "line 6: batch_size: '0' must be"),
        ("g,m,1,static_gen,1.5,128,1", "line 6: batch_size: '1.5' must be a whole number"),
        ("g,m,1,sttic_gen,1,128,1", "line 6: mode: 'sttic_gen' is not one of"),
        ("g,m,1,static_gen,1", "line 6: isl: None is not a number"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "steps.csv"
    path.write_text(GOOD + line + "\n")
    with pytest.raises(InputError) as caught:
        calibrate(path)
    assert words in str(caught.value)


def test_all_bad_rows_are_said_at_once_up_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    path.write_text(GOOD + "g,m,1,x,1,1,1\n" * 3)
    with pytest.raises(InputError) as caught:
        read_rows(path)
    assert [p.split(":")[0] for p in caught.value.problems] == [f"steps.csv, line {n}" for n in (6, 7, 8)]
    path.write_text(GOOD + "g,m,1,x,1,1,1\n" * 1000)
    with pytest.raises(InputError) as caught:
        read_rows(path)
    assert len(caught.value.problems) == 21


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "missing columns mode, batch_size, isl, latency_ms"),
        (HEADER, "holds no measurements"),
        (GOOD.replace("latency_ms", "latency"), r"latency_ms \(did you mean latency\?\)"),
        (HEADER + PROMPTS, "0 decode rows, at least 2"),
        (HEADER + TOKENS, "0 prefill rows, at least 2"),
    ],
)
def test_a_file_that_cannot_be_fitted_says_why(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "steps.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        calibrate(path)


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        calibrate(tmp_path / "absent.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01" * 50)
    with pytest.raises(InputError, match="cannot be read"):
        calibrate(tmp_path / "binary.csv")
