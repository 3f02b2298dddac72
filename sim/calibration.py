"""`fleetsim calibrate`: measured steps in, a step time and how good it is out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from sim.errors import InputError, nearest, problem

if TYPE_CHECKING:
    from sim.steptime.calibrate import Calibration, Fit, Group, Modelled

OPTIONS = ("--scenario", "--coefficients")


class Asked(NamedTuple):
    """What a command line asks for."""

    files: tuple[str, ...]
    scenario: str | None
    overrides: tuple[str, ...]
    kind: Literal["grid", "coefficients"]


def calibrate_words(words: Sequence[str]) -> tuple[str, str]:
    """(YAML, report) of `calibrate FILE [--coefficients] [--scenario NAME key=value ...]`; raises InputError."""
    asked = read_words(words)
    if len(asked.files) > 1:
        raise InputError(problem("calibrate", asked.files[1], "one CSV file of measured steps"))
    return steps_page(asked.files[0], asked.kind, asked.scenario, asked.overrides)


def read_words(words: Sequence[str]) -> Asked:
    """The command line taken apart; raises InputError for what it cannot mean."""
    files: list[str] = []
    overrides: list[str] = []
    scenario: str | None = None
    kind: Literal["grid", "coefficients"] = "grid"
    rest = iter(words)
    for word in rest:
        name, is_joined, value = word.partition("=")
        if name == "--scenario":
            scenario = value if is_joined else next(rest, "")
            if not scenario or scenario.startswith("--"):
                raise InputError("calibrate: --scenario needs a name after it, as --scenario first_run")
        elif word == "--coefficients":
            kind = "coefficients"
        elif word.startswith("--"):
            close = nearest(word, OPTIONS)
            hint = f"; did you mean {close!r}?" if close else ""
            raise InputError(f"calibrate: {word!r} is no option of it; there are: {', '.join(OPTIONS)}{hint}")
        elif is_joined:
            overrides.append(word)
        else:
            files.append(word)
    if not files:
        raise InputError("calibrate: needs a file of measurements first, as `fleetsim calibrate steps.csv`")
    if overrides and scenario is None:
        raise InputError(
            f"calibrate: {overrides[0]}: settings need a scenario, as --scenario first_run {overrides[0]}"
        )
    return Asked(tuple(files), scenario, tuple(overrides), kind)


def steps_page(path: str, kind: str, scenario: str | None, overrides: Sequence[str]) -> tuple[str, str]:
    """(YAML of the step times fitted to a CSV of steps, report of their errors); raises InputError.

    The fits are compared with the modelled step time: of the scenario's pool, or where none is given of the
    catalogue's GPU and model that the rows name.
    """
    from sim.steptime.calibrate import calibrate, to_yaml

    pool = modelled_pool(scenario, overrides) if scenario else None
    found = calibrate(path, (lambda group: pool) if pool else modelled_group)
    texts = [to_yaml(fit, "coefficients" if kind == "coefficients" else "grid") for fit in found.fits]
    return "\n".join(texts).rstrip("\n") + "\n", steps_report(found, kind)


def steps_report(found: Calibration, kind: str) -> str:
    """What was fitted and how far it is off, a line each."""
    lines = [f"{found.file}: {found.n_rows} rows"]
    for fit in found.fits:
        lines += [f"{fit.name}: {line}" for line in fit_lines(fit, kind)]
    lines += [f"left out: {line}" for line in found.skipped]
    return "\n".join(lines) + "\n"


def fit_lines(fit: Fit, kind: str) -> list[str]:
    """What one fit is and how far it is off."""
    from sim.steptime.calibrate import is_worse, left_out_text

    lines = []
    for mode, error in (fit.grid_error if kind == "grid" else fit.coefficients_error).items():
        lines.append(
            f"{mode}: {error.n_rows} rows, error mean {error.mape:.1f} %, median {error.median:.1f} %, "
            f"largest {error.max:.1f} %"
        )
        out, known = fit.left_out[mode], fit.modelled_error.get(mode)
        lines += [f"{mode}: {left_out_text(out)}"] if kind == "grid" else []
        if known:
            better = "; between your points it may be the better one" if is_worse(out, known) else ""
            lines.append(f"{mode}: the modelled step time ({fit.modelled}) is {known.mape:.1f} % off{better}")
    lines += fit.notes
    if not fit.modelled:
        lines.append("not compared with a modelled step time: --scenario NAME says which pool it is")
    return lines


def modelled_pool(scenario: str, overrides: Sequence[str]) -> Modelled:
    """The step time of a scenario's only pool; raises InputError where it has several."""
    from sim.scenario.compose import load_scenario
    from sim.steptime.calibrate import modelled_of

    pools = load_scenario(scenario, list(overrides)).pools
    if len(pools) != 1:
        names = ", ".join(pool.name for pool in pools)
        raise InputError(
            f"calibrate: {scenario} has {len(pools)} pools ({names}); allowed: a scenario with one"
        )
    (pool,) = pools
    return modelled_of(pool, f"{pool.gpu.name}, {pool.model.name}, {pool.precision}, tp {pool.tp}")


def modelled_group(group: Group) -> Modelled | None:
    """The step time of the catalogue's GPU and model that a group's names hold, in bf16; None: it knows them not."""
    from sim.scenario.catalogue import option_files

    system, model, tp = group
    gpu = named_option(system, list(option_files("gpu")))
    served = named_option(model.rpartition("/")[2], list(option_files("model")))
    if gpu is None or served is None:
        return None
    try:
        return modelled_pool("first_run", [f"gpu={gpu}", f"model={served}", f"pool.tp={tp}"])
    except InputError:
        return None


def named_option(text: str, options: Sequence[str]) -> str | None:
    """The option whose words are all in a name, the one of most words; None: there is none."""
    words = set(re.findall(r"[a-z0-9]+", text.lower().replace("gb", "")))
    fitting = [option for option in options if set(option.split("_")) <= words]
    return max(fitting, key=lambda option: (option.count("_"), option), default=None)
