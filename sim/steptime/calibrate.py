"""Fit step times to a measured grid and say how good the fit is."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from sim.errors import InputError
from sim.scenario.hardware import Coefficients, Grid, Law
from sim.steptime.fits import as_arrays, points_of, tells_context
from sim.steptime.forms import (
    Chosen,
    DecodeFit,
    PromptFit,
    choose_decode,
    choose_prompts,
    fit_coefficients,
    mixed_errors,
    to_grid,
)
from sim.steptime.gang import Gang
from sim.steptime.make import PoolLike, curve_of, gang_of, pool_curve
from sim.steptime.rows import Row, read_rows
from sim.steptime.table import Curve, decode_s, prompt_s, work_s_at

TOLERATED = 5.0  # percent: a fit this good is kept even where the modelled step time happens to be better
USELESS = 50.0  # percent


COEFFICIENTS = ("d0_ms", "d1_ms", "d2_ms", "p0_ms", "p1_ms", "p2_ms")


class FitError(NamedTuple):
    """Relative errors of a fit over the rows of one mode, in percent."""

    n_rows: int
    mape: float  # mean of |fit − measured| / measured
    median: float
    max: float
    bias: float  # mean of (fit − measured) / measured: below 0 the fit is too fast


class LeftOut(NamedTuple):
    """Relative errors on points that a fit had not seen, in percent; NaN where there were too few points."""

    form: str
    mape: float
    median: float


class Modelled(NamedTuple):
    """The step time that the product would take without a measurement."""

    label: str
    curve: Callable[[int], Curve]  # of the largest batch


Group = tuple[str, str, int]
FindModelled = Callable[[Group], Modelled | None]


class Fit(NamedTuple):
    """What one (system, model, tp) of a file was fitted to."""

    system: str
    model: str
    tp: int
    coefficients: Coefficients
    grid: Grid
    coefficients_error: dict[str, FitError]  # keys: prefill, decode
    grid_error: dict[str, FitError]
    left_out: dict[str, LeftOut]  # of the grid
    modelled: str  # the step time that the fit was compared with, as a reader would say it
    modelled_error: dict[str, FitError]  # empty: there was nothing to compare with
    notes: tuple[str, ...] = ()  # what the measurements cannot tell

    @property
    def name(self) -> str:
        """What the rows call it: system, model and tp."""
        return name_of((self.system, self.model, self.tp))


class Calibration(NamedTuple):
    """All fits of one file."""

    file: str
    n_rows: int
    fits: tuple[Fit, ...]
    skipped: tuple[str, ...]  # lines left out, each with its reason


def calibrate(path: str | Path, modelled: FindModelled = lambda group: None) -> Calibration:
    """Fit every (system, model, tp) in a CSV of measured steps.

    modelled: the step time that the product would take for a group, or None where it knows neither its GPU nor
    its model. Raises InputError: a bad row (with its line number), missing columns, a group without both prompts
    and decode steps, or a fit that is worse than the modelled step time or than none at all.
    """
    found = read_rows(path)
    groups = sorted({row.group for row in found.rows})
    name = Path(path).name
    problems = [p for group in groups for p in _group_problems(name, group, found.rows)]
    if problems:
        raise InputError(problems)
    fits = tuple(_fit_group(name, group, found.rows, modelled(group)) for group in groups)
    problems = [f"{name}: {p}" for fit in fits for p in _refusals(fit)]
    if problems:
        raise InputError(problems)
    return Calibration(name, len(found.rows), fits, tuple(found.skipped))


def name_of(group: Group) -> str:
    """A group as a reader would say it."""
    return " ".join(part for part in (*group[:2], f"tp {group[2]}") if part)


def split(rows: list[Row], group: Group | None = None) -> tuple[list[Row], list[Row]]:
    """(prefill rows, decode rows) of a group, or of all."""
    mine = [row for row in rows if group is None or row.group == group]
    return [r for r in mine if r.is_prefill], [r for r in mine if not r.is_prefill and not r.prompt_tokens]


def mixed_of(rows: list[Row], group: Group | None = None) -> list[Row]:
    """The rows of a group, or of all, in which prompts are computed beside decoding sequences."""
    return [row for row in rows if row.prompt_tokens and (group is None or row.group == group)]


def _group_problems(file: str, group: Group, rows: list[Row]) -> list[str]:
    """Why a group cannot be fitted, one line each."""
    label = f"{file}: {name_of(group)}"
    needs = {"prefill": 2, "decode": 2}
    parts = dict(zip(needs, split(rows, group), strict=True))
    return [
        f"{label}: {len(part)} {mode} rows, at least {needs[mode]} are needed"
        for mode, part in parts.items()
        if len(part) < needs[mode]
    ]


def _fit_group(file: str, group: Group, rows: list[Row], modelled: Modelled | None) -> Fit:
    """Both fits of one group, their errors, and those of the modelled step time."""
    prefill, decode = split(rows, group)
    system, model, tp = group
    source = f"fitted to {file}: {name_of(group)}"
    of_decode, of_prompts = choose_decode(decode), choose_prompts(prefill)
    assert isinstance(of_decode.fit, DecodeFit)
    assert isinstance(of_prompts.fit, PromptFit)
    left_out = {"prefill": _left_out(of_prompts, prefill), "decode": _left_out(of_decode, decode)}
    mixed, mixed_ms = mixed_of(rows, group), 0.0
    if mixed:
        mixed_ms, errors = mixed_errors(mixed, of_decode.fit, of_prompts.fit)
        left_out["mixed"] = _percent("a fixed time beside decodes", errors)
    grid = to_grid(of_decode.fit, of_prompts.fit, source, mixed_ms)
    linear = fit_coefficients(prefill, decode, source, mixed_ms)
    both = prefill + decode + mixed
    return Fit(
        system,
        model,
        tp,
        linear,
        grid,
        errors_of(linear, both),
        errors_of(grid, both),
        left_out,
        modelled.label if modelled else "",
        errors_of_curve(modelled.curve(_largest(both)), both) if modelled else {},
        _notes(decode),
    )


def _left_out(chosen: Chosen, rows: list[Row]) -> LeftOut:
    """The errors on points left out, each weighing as many rows as it has."""
    errors = chosen.left_out
    return _percent(
        chosen.fit.form, np.repeat(errors, points_of(rows).n_rows.astype(int)) if len(errors) else errors
    )


def _percent(form: str, errors: np.ndarray) -> LeftOut:
    """Relative errors of rows left out, in percent."""
    if not len(errors):
        return LeftOut(form, math.nan, math.nan)
    percent = 100.0 * np.abs(errors)
    return LeftOut(form, float(percent.mean()), float(np.median(percent)))


def _notes(decode: list[Row]) -> tuple[str, ...]:
    """What the decode rows cannot tell."""
    points = points_of(decode)
    if tells_context(points):
        return ()
    low, high = points.length.min(), points.length.max()
    span = f"{low:.0f} tokens" if round(low) == round(high) else f"{low:.0f} to {high:.0f} tokens"
    return (
        f"decode steps were measured at {span} of context alone: what more context costs is not in the fit",
    )


def _refusals(fit: Fit) -> list[str]:
    """Why a fit may not be used, one line a mode."""
    problems = []
    for mode, out in fit.left_out.items():
        known, own = fit.modelled_error.get(mode), fit.grid_error[mode]
        if known and is_worse(out, known) and own.mape > known.mape:
            problems.append(
                f"{fit.name}: {mode}: the best fit ({out.form}) is {own.mape:.1f} % off in the mean and "
                f"{out.mape:.1f} % on points left out, the modelled step time ({fit.modelled}) {known.mape:.1f} %: "
                "use the modelled one, or measure more points"
            )
        elif not known and out.median > USELESS:
            problems.append(
                f"{fit.name}: {mode}: the best fit ({out.form}) misses points left out by {out.median:.0f} % in "
                f"the median, more than {USELESS:.0f} %: these rows follow no step time; check their columns and units"
            )
    return problems


def is_worse(out: LeftOut, known: FitError) -> bool:
    """Whether a fit does worse on points left out than the modelled step time does."""
    return out.mape > max(known.mape, TOLERATED)


def modelled_of(pool: PoolLike, label: str) -> Modelled:
    """The step time of a pool as it is modelled; raises InputError where its GPUs cannot hold the model so."""
    gang_of(pool)
    return Modelled(label, lambda max_num_seqs: pool_curve(pool, max_num_seqs))


def _largest(rows: list[Row]) -> int:
    """The largest batch of rows."""
    return max(row.batch_size for row in rows)


def errors_of(
    spec: Law | Coefficients | Grid, rows: list[Row], gang: Gang | None = None
) -> dict[str, FitError]:
    """How far a step time is from measured rows, for each mode that has rows; a roofline needs its gang."""
    return errors_of_curve(curve_of(gang, spec, _largest(rows)), rows)


def errors_of_curve(curve: Curve, rows: list[Row]) -> dict[str, FitError]:
    """How far a curve is from measured rows, for each mode that has rows."""
    prefill, decode = split(rows)
    parts = {"prefill": prefill, "decode": decode, "mixed": mixed_of(rows)}
    return {mode: error_of(curve, part) for mode, part in parts.items() if part}


def error_of(curve: Curve, rows: list[Row]) -> FitError:
    """Relative errors of a curve over rows of one mode."""
    batch, length, latency_ms = as_arrays(rows)
    n = batch.astype(int)
    fitted_s = prompt_s(curve, n, length) if rows[0].is_prefill else decode_s(curve, n, batch * length)
    if rows[0].prompt_tokens:
        tokens = np.array([row.prompt_tokens for row in rows])
        fitted_s = fitted_s + work_s_at(curve, n + tokens) - work_s_at(curve, n)
        fitted_s = fitted_s + curve.mixed_s + curve.attention_s_per_token2 * tokens**2
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
    errors = fit.grid_error if kind == "grid" else fit.coefficients_error
    lines = [f"# Step time of {fit.name}."]
    for mode, e in errors.items():
        lines.append(
            f"# {mode}: {e.n_rows} rows, error {e.mape:.1f} % in the mean, {e.median:.1f} % in the median, "
            f"{e.max:.1f} % at most"
        )
    if kind == "grid":
        lines += [f"# {mode}: {left_out_text(out)}" for mode, out in fit.left_out.items()]
    lines += [f"# {note}" for note in fit.notes]
    if kind == "grid":
        shown = ", ".join(f"{mode} {e.mape:.2f} %{_beside(fit.left_out[mode])}" for mode, e in errors.items())
        return "\n".join([*lines, *grid_yaml(fit.grid, f"{shown}, in the mean")]) + "\n"
    lines.append("kind: coefficients")
    names = [*COEFFICIENTS, *(["mixed_ms"] if fit.coefficients.mixed_ms else [])]
    lines += [f"{name}: {_yaml_number(getattr(fit.coefficients, name))}" for name in names]
    return "\n".join([*lines, f"source: {quoted(fit.coefficients.source)}"]) + "\n"


def grid_yaml(grid: Grid, error: str) -> list[str]:
    """A grid as lines of YAML, with what is known of its error."""
    names = ["batch_size", "base_ms", "slope_ms", "p0_ms", "p1_ms", "p2_ms"]
    names += ["prompt_tokens", "prompt_ms"] if grid.prompt_tokens else []
    names += ["mixed_ms"] if grid.mixed_ms else []
    lines = [f"{name}: {_yaml_number(getattr(grid, name))}" for name in names]
    return ["kind: grid", *lines, f"source: {quoted(grid.source)}", f"error: {quoted(error)}"]


def quoted(text: str) -> str:
    """A text in YAML's single quotes, on one line."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    return "'" + " ".join(shown.split()).replace("'", "''") + "'"


def left_out_text(out: LeftOut) -> str:
    """The error on points left out, in words."""
    if math.isnan(out.mape):
        return f"{out.form}; too few points to leave any out: how it does between them is not known"
    return f"{out.form}; on points left out {out.mape:.1f} % in the mean, {out.median:.1f} % in the median"


def _beside(out: LeftOut) -> str:
    """The error on points left out, in brackets: a fit's report has it after the error on all points."""
    return "" if math.isnan(out.mape) else f" (left out {out.mape:.2f} %)"


def _yaml_number(value: float | tuple[float, ...]) -> str:
    """A number or a list of numbers that reads back as it is; a bare exponent would be read as a string."""
    if isinstance(value, tuple):
        return "[" + ", ".join(_yaml_number(v) for v in value) + "]"
    if isinstance(value, int):
        return str(value)
    text = repr(float(f"{value:.9g}"))
    return text if "e" not in text or "." in text.split("e")[0] else text.replace("e", ".0e")
