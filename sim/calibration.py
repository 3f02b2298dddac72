"""`fleetsim calibrate`: measured steps in, a step time and how good it is out."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from sim.errors import InputError, nearest, printable, problem

if TYPE_CHECKING:
    from sim.scenario.pool import Pool
    from sim.scenario.scenario import Scenario
    from sim.steptime.calibrate import Calibration, Fit, Group, Modelled
    from sim.steptime.deployment import Calibrated
    from sim.steptime.points import Point
    from sim.steptime.states import Lengths, PoolLaw

ROUNDING = 1.02  # means of running sequences are this much above a limit at most
OPTIONS = ("--scenario", "--coefficients")


class Asked(NamedTuple):
    """What a command line asks for."""

    files: tuple[str, ...]
    scenario: str | None
    overrides: tuple[str, ...]
    kind: Literal["grid", "coefficients"]


def calibrate_words(words: Sequence[str]) -> tuple[str, str]:
    """(YAML, report) of `calibrate FILE... [--coefficients] [--scenario NAME key=value ...]`; raises InputError."""
    from sim.steptime.points import is_steps_file

    asked = read_words(words)
    if not is_steps_file(asked.files[0], asked.scenario is None):
        return points_page(asked)
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
    return "\n".join(map(printable, lines)) + "\n"


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
    from sim.steptime.calibrate import modelled_of

    pool = only_pool(scenario, overrides)[1]
    return modelled_of(pool, pool_label(pool))


def only_pool(scenario: str, overrides: Sequence[str]) -> tuple[Scenario, Pool]:
    """The scenario and its only pool; raises InputError where it has several."""
    from sim.scenario.compose import load_scenario

    story = load_scenario(scenario, list(overrides))
    if len(story.pools) != 1:
        names = ", ".join(pool.name for pool in story.pools)
        raise InputError(
            f"calibrate: {scenario} has {len(story.pools)} pools ({names}); allowed: a scenario with one"
        )
    return story, story.pools[0]


def pool_label(pool: Pool) -> str:
    """A pool's deployment as a reader would say it."""
    split = ", ".join(
        f"{key} {getattr(pool, key)}" for key in ("tp", "pp", "ep", "dp") if getattr(pool, key, 1) > 1
    )
    return f"{pool.gpu.name}, {pool.model.name}, {pool.precision}, {split or 'tp 1'}"


# ---- operating points ----------------------------------------------------------------------------


def points_page(asked: Asked) -> tuple[str, str]:
    """(YAML of the step time fitted to operating points, report); raises InputError."""
    from datetime import date

    from sim.steptime.deployment import calibrate_points
    from sim.steptime.points import read_points

    if asked.scenario is None:
        raise InputError(
            f"calibrate: {asked.files[0]} holds operating points: say what was measured, as --scenario first_run "
            "model=qwen3_32b gpu=h100 pool.tp=2"
        )
    if asked.kind == "coefficients":
        raise InputError(
            "calibrate: --coefficients: operating points give no linear coefficients; leave it out"
        )
    points = read_points(asked.files)
    story, pool = only_pool(asked.scenario, asked.overrides)
    lengths = lengths_of(story)
    check_batches(points.points, pool)
    law = law_of_pool(pool)
    made = calibrate_points(points, law, lengths, date.today().isoformat())
    report = [printable(line) for line in points_report(made, points.notes, law.label, lengths)]
    return points_yaml(made, report), "\n".join(report) + "\n"


def check_batches(points: Sequence[Point], pool: Pool) -> None:
    """Raise InputError where more sequences ran than the pool's runtime admits."""
    most = pool.runtime.max_num_seqs
    over = [point for point in points if point.running > ROUNDING * most]
    if over:
        shown = f"{over[0].where}: {over[0].running:,.0f} sequences at once"
        raise InputError(
            f"{shown}, but runtime.max_num_seqs is {most}; allowed: what the deployment was started with, as "
            f"runtime.max_num_seqs={max(math.ceil(point.running) for point in over)}; of more clients the others wait"
        )


def law_of_pool(pool: Pool) -> PoolLaw:
    """The modelled step time of a pool for batches up to its limit; raises InputError."""
    from dataclasses import replace

    from sim.scenario.hardware import Law
    from sim.steptime.host import without_host
    from sim.steptime.make import pool_curve
    from sim.steptime.states import PoolLaw

    size = pool.runtime.max_num_seqs
    curve = pool_curve(pool, size)
    alone = curve
    if isinstance(pool.steptime, Law):
        alone = pool_curve(replace(pool, steptime=without_host(pool.steptime)), size)
    return PoolLaw(
        pool_label(pool),
        curve,
        1e3 * (curve.base_s - alone.base_s),
        pool.runtime.max_num_batched_tokens,
    )


def lengths_of(story: Scenario) -> Lengths:
    """Prompt and output lengths of the scenario's requests, of all its classes together; raises InputError."""
    from dataclasses import replace

    import numpy as np

    from sim.steptime.states import Lengths
    from sim.workload.requests import make_requests

    short = replace(story, duration_s=min(story.duration_s, 3600.0), warmup_s=0.0)
    requests = make_requests(short, story.seed)
    prompt, output = requests.prompt_tokens.astype(float), requests.output_tokens.astype(float)
    writes = output >= 1
    if not writes.any():
        raise InputError(
            f"calibrate: {story.name}: its traffic writes no tokens; allowed: a scenario whose requests do"
        )
    return Lengths(np.maximum(prompt[writes], 1.0), output[writes])


def points_report(made: Calibrated, notes: Sequence[str], label: str, lengths: Lengths) -> list[str]:
    """What was fitted and how far it is off, a line each."""
    c = made.correction
    low, high = min(p.running for p in made.used), max(p.running for p in made.used)
    change = f"offset {c.offset_ms:+.2f} ms, host {c.host_us:+.1f} us a sequence"
    change += f", GPU times {c.scale:.3f}" if c.scale != 1.0 else ""
    lines = [
        f"{len(made.used)} operating points of {label}, {low:.0f} to {high:.0f} running sequences",
        f"the modelled step time is {made.law_error:.1f} % off in the mean; fitted: {change}; left to the points: "
        f"times {c.ratio.min():.3f} to {c.ratio.max():.3f}",
        f"each point predicted from the others: {made.left_out:.1f} % off in the mean, {made.largest_left_out:.1f} % at "
        "most; expect about that between the points, more beyond them",
    ]
    if any(p.prompt_tokens is None or p.output_tokens is None for p in made.used):
        lines.append(
            f"lengths that the points do not say are the scenario's: prompts of {lengths.prompt.mean():,.0f} tokens, "
            f"answers of {lengths.output.mean():,.0f}"
        )
    if made.left_out > made.law_error:
        lines.append("the modelled step time alone does no worse: these points say little that it does not")
    return lines + [f"left out: {line}" for line in (*made.refused, *notes)]


def points_yaml(made: Calibrated, report: Sequence[str]) -> str:
    """The step time as YAML that a scenario takes under `pool`."""
    from sim.steptime.calibrate import grid_yaml

    error = f"measured points predicted from the others: {made.left_out:.1f} % off in the mean"
    lines = ["pool:", "  steptime:", *(f"    {line}" for line in grid_yaml(made.grid, error))]
    return "\n".join([*(f"# {line}" for line in report), *lines]) + "\n"


# ---- the catalogue -------------------------------------------------------------------------------


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
