"""Fit step times to a measured grid and say how good the fit is."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from sim.errors import InputError
from sim.scenario.hardware import Coefficients, Grid, Roofline
from sim.steptime.fits import as_arrays, fit_coefficients, fit_grid
from sim.steptime.make import curve_of
from sim.steptime.roofline import Gang
from sim.steptime.rows import Row, read_rows
from sim.steptime.table import Curve, decode_s, prompt_s


class FitError(NamedTuple):
    """Relative errors of a fit over the rows of one mode, in percent."""

    n_rows: int
    mape: float  # mean of |fit − measured| / measured
    median: float
    max: float
    bias: float  # mean of (fit − measured) / measured: below 0 the fit is too fast


class Fit(NamedTuple):
    """What one (system, model, tp) of a file was fitted to."""

    system: str
    model: str
    tp: int
    coefficients: Coefficients
    grid: Grid
    coefficients_error: dict[str, FitError]  # keys: prefill, decode
    grid_error: dict[str, FitError]

    @property
    def name(self) -> str:
        """What the rows call it: system, model and tp."""
        return " ".join(part for part in (self.system, self.model, f"tp {self.tp}") if part)


class Calibration(NamedTuple):
    """All fits of one file."""

    file: str
    n_rows: int
    fits: tuple[Fit, ...]
    skipped: tuple[str, ...]  # lines left out, each with its reason


def calibrate(path: str | Path) -> Calibration:
    """Fit every (system, model, tp) in a CSV of measured steps.

    Raises InputError: a bad row (with its line number), missing columns, or a group without both prompts and
    decode steps.
    """
    found = read_rows(path)
    groups = sorted({row.group for row in found.rows})
    name = Path(path).name
    problems = [p for group in groups for p in _group_problems(name, group, found.rows)]
    if problems:
        raise InputError(problems)
    fits = tuple(_fit_group(name, group, found.rows) for group in groups)
    return Calibration(name, len(found.rows), fits, tuple(found.skipped))


def split(rows: list[Row], group: tuple[str, str, int] | None = None) -> tuple[list[Row], list[Row]]:
    """(prefill rows, decode rows) of a group, or of all."""
    mine = [row for row in rows if group is None or row.group == group]
    return [r for r in mine if r.is_prefill], [r for r in mine if not r.is_prefill]


def _group_problems(file: str, group: tuple[str, str, int], rows: list[Row]) -> list[str]:
    """Why a group cannot be fitted, one line each."""
    label = f"{file}: {group[0]} {group[1]} tp {group[2]}"
    needs = {"prefill": 2, "decode": 2}
    parts = dict(zip(needs, split(rows, group), strict=True))
    return [
        f"{label}: {len(part)} {mode} rows, at least {needs[mode]} are needed"
        for mode, part in parts.items()
        if len(part) < needs[mode]
    ]


def _fit_group(file: str, group: tuple[str, str, int], rows: list[Row]) -> Fit:
    """Both fits of one group and their errors."""
    prefill, decode = split(rows, group)
    system, model, tp = group
    source = f"fitted to {file}: {system} {model} tp {tp}"
    linear = fit_coefficients(prefill, decode, source)
    grid = fit_grid(prefill, decode, source)
    return Fit(
        system,
        model,
        tp,
        linear,
        grid,
        errors_of(linear, prefill + decode),
        errors_of(grid, prefill + decode),
    )


def errors_of(
    spec: Roofline | Coefficients | Grid, rows: list[Row], gang: Gang | None = None
) -> dict[str, FitError]:
    """How far a step time is from measured rows, for each mode that has rows; a roofline needs its gang."""
    prefill, decode = split(rows)
    curve = curve_of(gang, spec, max(row.batch_size for row in rows))
    parts = {"prefill": prefill, "decode": decode}
    return {mode: error_of(curve, part) for mode, part in parts.items() if part}


def error_of(curve: Curve, rows: list[Row]) -> FitError:
    """Relative errors of a curve over rows of one mode."""
    batch, length, latency_ms = as_arrays(rows)
    n = batch.astype(int)
    fitted_s = prompt_s(curve, n, length) if rows[0].is_prefill else decode_s(curve, n, batch * length)
    relative = fitted_s * 1e3 / latency_ms - 1.0
    percent = 100.0 * np.abs(relative)
    return FitError(
        len(rows),
        float(percent.mean()),
        float(np.median(percent)),
        float(percent.max()),
        float(100.0 * relative.mean()),
    )


def to_yaml(fit: Fit, kind: Literal["grid", "coefficients"] = "grid") -> str:
    """A fit as the YAML of a pool's `steptime`, its error beside it."""
    spec = fit.grid if kind == "grid" else fit.coefficients
    errors = fit.grid_error if kind == "grid" else fit.coefficients_error
    lines = [f"# Step time of {fit.name}."]
    for mode, e in errors.items():
        lines.append(
            f"# {mode}: {e.n_rows} rows, error {e.mape:.1f} % in the mean, {e.median:.1f} % in the median, "
            f"{e.max:.1f} % at most"
        )
    lines.append(f"kind: {kind}")
    names = ("batch_size", "base_ms", "slope_ms") if kind == "grid" else ("d0_ms", "d1_ms", "d2_ms")
    for name in (*names, "p0_ms", "p1_ms", "p2_ms"):
        lines.append(f"{name}: {_yaml_number(getattr(spec, name))}")
    lines.append("source: '" + spec.source.replace("'", "''") + "'")
    if kind == "grid":
        shown = ", ".join(f"{mode} {e.mape:.2f} %" for mode, e in errors.items())
        lines.append(f"error: '{shown} in the mean'")
    return "\n".join(lines) + "\n"


def _yaml_number(value: float | tuple[float, ...]) -> str:
    """A number or a list of numbers that reads back as it is; a bare exponent would be read as a string."""
    if isinstance(value, tuple):
        return "[" + ", ".join(_yaml_number(v) for v in value) + "]"
    if isinstance(value, int):
        return str(value)
    text = repr(float(f"{value:.9g}"))
    return text if "e" not in text or "." in text.split("e")[0] else text.replace("e", ".0e")
