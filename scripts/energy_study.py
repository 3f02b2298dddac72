"""Fits the power of a GPU to measured operating points, models held out in turn, and writes docs/energy.md's tables.

    python scripts/energy_study.py FOLDER

The points are public but carry no licence to be shipped: the folder holds them as `latency/ml_energy/measured.csv`, with
the columns that scripts/accuracy_cases.py reads.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from accuracy_cases import GPU, ML_ENERGY, PRECISION, TASKS, ml_energy_case, option_of

import sim
from sim.fill.knots import knot_tokens
from sim.scenario.catalogue import conf_dir
from sim.scenario.hardware import Gpu, Model
from sim.scenario.power import Power, idle_w, max_w, watts
from sim.scenario.yaml_file import read_yaml
from sim.steptime import make_step_table
from sim.steptime.formats import peak_flops
from sim.steptime.params import flops_per_attended_token, flops_per_token

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "energy.md"
MARKED = re.compile(r"<!-- power: fitted -->\n.*?<!-- end of power -->", re.DOTALL)
FOLDS = 3
FULL = np.geomspace(0.05, 1.0, 61)
EXPONENTS = np.linspace(0.03, 0.6, 115)


class Point(NamedTuple):
    """A measured steady state."""

    gpu: str
    gpus: int
    model: str
    mfu: float  # of the measured rate, prompts included
    watts: float  # of one GPU, measured
    row: dict[str, str]


def points_in(folder: Path) -> list[Point]:
    """The measured points whose model is in the catalogue."""
    with open(folder / ML_ENERGY, newline="") as stream:
        return [point_of(row) for row in csv.DictReader(stream) if option_of(row["model"])]


def point_of(row: dict[str, str]) -> Point:
    """One row: FLOPs of its tokens over the peak of its GPUs; prompt lengths are assumed as in docs/accuracy.md."""
    option = str(option_of(row["model"]))
    gpu = Gpu(**read_yaml(conf_dir() / "gpu" / f"{GPU[row['gpu']]}.yaml"))
    model = Model(**read_yaml(conf_dir() / "model" / f"{option}.yaml"))
    gpus, output, rate = (
        int(row["num_gpus"]),
        float(row["avg_output_tokens"]),
        float(row["output_tokens_per_s"]),
    )
    prompt, _, age = TASKS[row["task"]]
    prompts = rate * prompt / output
    attended = rate * (prompt + age * output) + prompts * prompt / 2
    flops = (rate + prompts) * flops_per_token(model) + attended * flops_per_attended_token(model)
    mfu = flops / gpus / peak_flops(gpu, PRECISION[row["precision"]])
    return Point(row["gpu"], gpus, option, mfu, float(row["power_w"]) / gpus, row)


def is_fair(point: Point) -> bool:
    """Whether a point is fitted: a B200 alone is starved by its host."""
    return point.gpu != "B200" or point.gpus > 1


def is_well_behaved(point: Point) -> bool:
    """Whether the law explains its step time, as docs/accuracy.md has it."""
    case = ml_energy_case(point.row)
    return case is not None and case.is_well_behaved


def fitted(points: list[Point], gpu: Gpu) -> Power:
    """The curve with the least mean relative error, every model weighing alike; idle and most watts are the catalogue's."""
    mfu, measured = np.array([p.mfu for p in points]), np.array([p.watts for p in points])
    weight = np.array([1 / sum(other.model == p.model for other in points) for p in points])
    least, most = idle_w(gpu.power, gpu.tdp_w), max_w(gpu.power, gpu.tdp_w)
    best = (np.inf, 1.0, 1.0)
    for full in FULL:
        reach = np.minimum(1.0, mfu / full)
        for exponent in EXPONENTS:
            error = np.abs(least + (most - least) * reach**exponent - measured) / measured
            best = min(best, (float((error * weight).sum() / weight.sum()), float(full), float(exponent)))
    return Power(idle_w=least, max_w=most, full_at_mfu=best[1], exponent=best[2])


def errors(points: list[Point], power: Power, tdp_w: float) -> np.ndarray:
    """Modelled over measured watts, minus 1."""
    return np.array([watts(power, tdp_w, p.mfu) / p.watts - 1 for p in points])


def held_out(points: list[Point], gpu: Gpu) -> np.ndarray:
    """The errors of models that the curve was not fitted to, a third of them at a time."""
    models = sorted({p.model for p in points})
    found = []
    for fold in range(FOLDS):
        out = models[fold::FOLDS]
        rest = [p for p in points if p.model not in out]
        asked = [p for p in points if p.model in out]
        found.append(errors(asked, fitted(rest, gpu), gpu.tdp_w))
    return np.concatenate(found)


def whole(point: Point) -> tuple[float, float] | None:
    """(watts, joules of a token) off, with the law's step times instead of the measured; None where it cannot run."""
    case = ml_energy_case(point.row)
    assert case is not None
    try:
        pool = sim.load("first_run", case.overrides).pools[0]
        table = make_step_table(pool)
    except sim.InputError:
        return None
    n, output = max(1, round(float(point.row["avg_batch"]))), float(point.row["avg_output_tokens"])
    prompt, _, age = TASKS[point.row["task"]]
    kv = n * (prompt + age * output)
    decode_s = (int(table.base_ps[n]) + int(table.slope_ps[n]) * kv) / 1e12
    work = np.interp([n, n + prompt], knot_tokens(), table.work_ps)
    squares = prompt * prompt
    each_s = (work[1] - work[0] + table.mixed_ps + table.attention_q16 * squares / 2**17) / 1e12
    prompts = n / output  # a step
    flops = n * table.flops_per_token + kv * table.flops_per_attended_token
    prompt_flops = prompt * table.flops_per_token + squares / 2 * table.flops_per_attended_token
    power, tdp_w = pool.gpu.power, pool.gpu.tdp_w
    joules = decode_s * watts(power, tdp_w, flops / table.peak_flops / decode_s)
    joules += prompts * each_s * watts(power, tdp_w, prompt_flops / table.peak_flops / each_s)
    mean_w = joules / (decode_s + prompts * each_s)
    token_j = joules * point.gpus / n
    return mean_w / point.watts - 1, token_j / float(point.row["joules_per_token"]) - 1


def percents(errors_: np.ndarray) -> str:
    """Cells: number, mean, median, p90 and bias."""
    size = 100 * np.abs(errors_)
    cells = (size.mean(), float(np.median(size)), float(np.percentile(size, 90)))
    return f"{len(size)} | " + " | ".join(f"{c:.1f} %" for c in cells) + f" | {100 * errors_.mean():+.1f} %"


def tables(points: list[Point]) -> list[str]:
    """The tables of the page."""
    lines = ["| GPU | points | n | mean error | median | p90 | bias |", "|---|---|---|---|---|---|---|"]
    by_model = ["| GPU | model | n | mean error | bias |", "|---|---|---|---|---|"]
    for name, option in GPU.items():
        gpu = Gpu(**read_yaml(conf_dir() / "gpu" / f"{option}.yaml"))
        mine = [p for p in points if p.gpu == name]
        fair, rest = [p for p in mine if is_fair(p)], [p for p in mine if not is_fair(p)]
        best = fitted(fair, gpu)
        print(name, f"full_at_mfu {best.full_at_mfu:.3f} exponent {best.exponent:.3f}", file=sys.stderr)
        found = errors(fair, gpu.power, gpu.tdp_w)
        lines.append(f"| {name} | watts, fitted | {percents(found)} |")
        lines.append(f"| {name} | watts, models held out | {percents(held_out(fair, gpu))} |")
        if rest:
            lines.append(
                f"| {name} | watts, one GPU alone, not fitted | {percents(errors(rest, gpu.power, gpu.tdp_w))} |"
            )
        for words, chosen in (("well-behaved", [p for p in fair if is_well_behaved(p)]), ("all", fair)):
            both = np.array([found for found in map(whole, chosen) if found is not None])
            lines.append(f"| {name} | watts, modelled step times, {words} | {percents(both[:, 0])} |")
            lines.append(
                f"| {name} | joules per output token, modelled step times, {words} | {percents(both[:, 1])} |"
            )
        for model in sorted({p.model for p in fair}):
            of_model = found[[p.model == model for p in fair]]
            mean, bias = 100 * np.abs(of_model).mean(), 100 * of_model.mean()
            by_model.append(f"| {name} | {model} | {len(of_model)} | {mean:.1f} % | {bias:+.1f} % |")
    return [*lines, "", "The fitted curve by model:", "", *by_model]


def main() -> None:
    """Write the page's tables again."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    text = "\n".join(tables(points_in(parser.parse_args().folder)))
    page = PAGE.read_text(encoding="utf-8")
    fresh = f"<!-- power: fitted -->\n{text}\n<!-- end of power -->"
    PAGE.write_text(MARKED.sub(lambda _: fresh, page), encoding="utf-8")


if __name__ == "__main__":
    main()
