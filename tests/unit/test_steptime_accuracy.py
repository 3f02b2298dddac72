"""How far the fits and the law are from recorded single steps; docs/accuracy.md has the errors on operating points."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from conftest import shared_data
from hardware_kit import DATA, gpu, model

from sim.scenario.hardware import Law
from sim.steptime.calibrate import Calibration, FitError, calibrate, errors_of, split
from sim.steptime.fits import least_squares, points_of
from sim.steptime.gang import Gang
from sim.steptime.rows import Row, read_rows

GRID = "latency/aiconfigurator/vllm_step_grid.csv"
LISTED = "latency/aiconfigurator/fitted_linear_coeffs.csv"
MEASURED = "latency/splitwise-sim/perf_model.csv"
GPU_OF = {
    "a100_sxm": "a100_80",
    "h100_sxm": "h100",
    "h200_sxm": "h200",
    "a100-80gb": "a100_80",
    "h100-80gb": "h100",
}
MODEL_OF = {
    "meta-llama/Meta-Llama-3.1-8B": "llama_3_1_8b",
    "Qwen/Qwen3-8B": "qwen3_8b",
    "Qwen/Qwen3-32B": "qwen3_32b",
    "llama2-70b": "llama2_70b",
}
#: engines of 2023, which launched every kernel from the CPU; conf/runtime/vllm_2023.yaml has the first
EAGER_A100 = Law(launch_us_per_layer=560.0, sequence_us=22.0, sampling_us=0.0, mixed_step_us=0.0)
EAGER_H100 = Law(launch_us_per_layer=400.0, sequence_us=22.0, sampling_us=0.0, mixed_step_us=0.0)


def options(row: Row) -> tuple[str, str, int]:
    """(gpu option, model option, tp) of a recorded row."""
    system, name, tp = row.group
    return GPU_OF[system], MODEL_OF[name], tp


def pooled_error(rows: list[Row], spec: Law, mode: str) -> FitError:
    """Errors of the law over rows of several gangs together."""
    parts = []
    for group in sorted({row.group for row in rows}):
        mine = [row for row in rows if row.group == group and row.is_prefill == (mode == "prefill")]
        on, of, tp = options(mine[0])
        gang = Gang(gpu(on), model(of), tp=tp)
        parts += [errors_of(spec, [row], gang)[mode].bias for row in mine]
    size = sorted(abs(p) for p in parts)
    half = len(size) // 2
    median = size[half] if len(size) % 2 else (size[half - 1] + size[half]) / 2
    return FitError(len(parts), sum(size) / len(size), median, size[-1], sum(parts) / len(parts))


def listed_errors() -> dict[tuple[str, str], dict[str, str]]:
    """The recorded linear fits by (system, model)."""
    with open(shared_data(LISTED), newline="") as stream:
        return {(row["system"], row["model"]): row for row in csv.DictReader(stream)}


def test_the_grids_of_three_gpus_are_fitted_within_the_listed_errors() -> None:
    found, listed = calibrate(shared_data(GRID)), listed_errors()
    assert {(fit.system, fit.model) for fit in found.fits} == set(listed)
    for fit in found.fits:
        row = listed[fit.system, fit.model]
        assert fit.grid_error["prefill"].mape <= float(row["prefill_mape"]) + 0.7, fit.name
        assert fit.grid_error["decode"].mape <= float(row["decode_mape"]) + 0.1, fit.name


def test_plain_least_squares_gives_the_listed_coefficients() -> None:
    for fit in calibrate(shared_data(GRID)).fits:
        rows = [
            row for row in read_rows(shared_data(GRID)).rows if row.group == (fit.system, fit.model, fit.tp)
        ]
        row = listed_errors()[fit.system, fit.model]
        prefill, decode = (points_of(part) for part in split(rows))
        for points, terms, columns in (
            (prefill, prefill.tokens * prefill.length, ("p0_ms", "p1_ms_per_tok", "p2_ms_per_tok2")),
            (decode, decode.batch, ("d0_ms", "d2_ms_per_ctxtok", "d1_ms_per_seq")),
        ):
            matrix = np.column_stack([np.ones_like(points.batch), points.tokens, terms])
            found = least_squares(matrix, points.latency_ms)
            assert found == pytest.approx([float(row[c]) for c in columns], rel=1e-4), fit.name


def excerpt(name: str) -> Calibration:
    return calibrate(DATA / name)


def test_the_excerpt_of_a_grid_is_reproduced() -> None:
    (fit,) = excerpt(
        "steptime_grid_excerpt.csv"
    ).fits  # listed for H100, Llama 3.1 8B: 8.502 and 2.097 percent
    assert fit.coefficients_error["prefill"].mape < 8.9
    assert fit.coefficients_error["decode"].mape < 2.2
    assert fit.grid_error["decode"].mape < 0.95


@pytest.mark.parametrize(
    ("file", "system", "spec", "prefill", "decode"),
    [
        ("steptime_measured_excerpt.csv", "a100-80gb", EAGER_A100, 30.0, 6.5),
        ("steptime_measured_excerpt.csv", "h100-80gb", EAGER_H100, 22.5, 10.5),
    ],
)
def test_the_laws_error_on_the_excerpts(
    file: str, system: str, spec: Law, prefill: float, decode: float
) -> None:
    rows = [row for row in read_rows(DATA / file).rows if row.group[0] == system]
    assert pooled_error(rows, spec, "prefill").mape < prefill
    assert pooled_error(rows, spec, "decode").mape < decode
