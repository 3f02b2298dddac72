"""Fits the step-time law's constants that no kernel was measured for, and says how sure they are.

    python scripts/law_study.py FOLDER [kernels|roofline]

Read are the well-behaved points of the ML.ENERGY Benchmark v3 in FOLDER (scripts/accuracy_cases.py). The median step of
points with few prompts gives the time of a sequence, of its sampling and of a layer, and the share of the bandwidth that
reads of experts reach; the gap between mean and median step gives what prompts add. sim/steptime/efficiency.py holds them.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from accuracy_cases import ML_ENERGY, TASKS, ml_energy_case

import sim
from sim.scenario.hardware import Law
from sim.steptime.gang import Gang
from sim.steptime.law import VOCABULARY, Chosen, choose_kernels, experts_s, state_s, work_s
from sim.steptime.make import gang_of
from sim.steptime.params import attention_layers, moe_layers

FEW_PROMPTS = 0.45  # prompts that begin in a step: with fewer the median step carries none
SHARES = (0.05, 0.45)  # of the steps that carry prompts, where mean and median tell their cost
SEQUENCE_US, SURE_US = 20.0, 8.0  # assumed: the points tell this from sampling only roughly
EDGE = 0.08  # relative errors beyond it pull no harder
N_DRAW = 4000


class Row(NamedTuple):
    """A point: what was measured, what the law knows of it and what the constants multiply; milliseconds."""

    median_ms: float
    mean_ms: float
    known_ms: float  # of the median step, from kernels
    terms: tuple[float, ...]  # of its constants, in the order of MEDIAN
    prompts_ms: float  # that prompts' arithmetic adds to a step that carries some
    prompt_terms: tuple[float, ...]  # in the order of PROMPTS
    arrivals: float  # prompts that begin in a step
    tells_prompts: bool  # its task's prompts are more than a handful in answers of thousands of tokens
    share: float  # of the steps that carry prompts


MEDIAN = (
    "sequence_us",
    "sampling_us",
    "layer_us hopper",
    "layer_us blackwell",
    "1/expert use hopper",
    "1/expert use blackwell",
)
PROMPTS = ("us a layer", "more with experts", "more under MLA", "more of a recurrent mixer")


def rows(folder: Path, kind: str) -> list[Row]:
    """The well-behaved points."""
    with open(folder / ML_ENERGY, newline="") as stream:
        read = [(row, ml_energy_case(row)) for row in csv.DictReader(stream)]
    found = []
    for row, case in read:
        if case is None or not case.is_well_behaved:
            continue
        (pool,) = sim.load("first_run", case.overrides).pools
        gang = gang_of(pool)
        found.append(row_of(row, gang, choose_kernels(gang, Law(kind=kind)), case.measured["step_ms"]))  # type: ignore[arg-type]
    return found


def row_of(row: dict[str, str], gang: Gang, chosen: Chosen, mean_ms: float) -> Row:
    """One point in the law's terms."""
    n, output = float(row["avg_batch"]), float(row["avg_output_tokens"])
    prompt, sigma, age = TASKS[row["task"]]
    kernels, eff, model = chosen.kernels, chosen.eff, gang.model
    at = np.array([n])
    line = kernels.decode_attention(at)
    attention_s = line.base_s + line.slope_s * n * (prompt + output * age)
    read_s = experts_s(gang, eff._replace(expert_bandwidth_use=1.0, expert_matmul_use=1e9), at)
    known_s = (
        kernels.dense_s(at)
        + kernels.allreduce_s(at)
        + kernels.head_s(at)
        + attention_s
        + state_s(gang, eff, at)
    )
    is_blackwell = gang.gpu.architecture == "blackwell"
    by_gpu = [
        x
        for value in (1e-3 * model.layers, 1e3 * float(read_s[0]))
        for x in (value * (not is_blackwell), value * is_blackwell)
    ]
    tokens, squares, share = prompts_of(n / output, prompt, sigma)
    tokens = np.minimum(tokens, 8192 - n)
    added_s = work_s(gang, kernels, eff, n + tokens) - work_s(gang, kernels, eff, at)
    mla = attention_layers(model) if model.attention == "mla" else 0
    return Row(
        float(row["itl_p50_ms"]),
        mean_ms,
        1e3 * float(known_s[0]),
        (1e-3 * n, 1e-3 * n * model.vocab / VOCABULARY, *by_gpu),
        1e3 * float(added_s.mean() + kernels.prompt_attention_s() * squares),
        tuple(1e-3 * count for count in (model.layers, moe_layers(model), mla, model.recurrent_layers)),
        n / output,
        row["task"] != "gpqa",
        share,
    )


def prompts_of(arrivals: float, mean: float, sigma: float) -> tuple[np.ndarray, float, float]:
    """Of steps that carry prompts: their tokens (drawn), the mean sum of squared lengths; and the share of such steps."""
    dice = np.random.Generator(np.random.Philox(key=1))
    count = dice.poisson(arrivals, N_DRAW)
    length = np.minimum(dice.lognormal(np.log(mean) - sigma**2 / 2, sigma, int(count.sum())), 16000)
    ends = np.cumsum(count)
    sums = [np.append(0.0, np.cumsum(x)) for x in (length, length**2)]
    tokens, squares = (total[ends] - total[ends - count] for total in sums)
    return tokens[count > 0], float(squares[count > 0].mean()), float((count > 0).mean())


def fit_median(points: list[Row]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(constants, their standard errors, relative errors of the medians)."""
    terms = np.array([p.terms for p in points])
    known, measured = (np.array([getattr(p, name) for p in points]) for name in ("known_ms", "median_ms"))

    def off(x: np.ndarray) -> np.ndarray:
        return np.append(np.log((known + terms @ x) / measured), (x[0] - SEQUENCE_US) / SURE_US)

    start = np.array([SEQUENCE_US, 10.0, 35.0, 40.0, 1.7, 2.2])
    found = least_squares(off, start, loss="soft_l1", f_scale=EDGE, bounds=(0, np.inf))
    return found.x, spread(found.jac, off(found.x)), np.exp(off(found.x)[:-1]) - 1


def fit_prompts(points: list[Row]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(constants, their standard errors, errors of the means relative to the means)."""
    terms = np.array([p.prompt_terms for p in points])
    left = np.array([(p.mean_ms - p.median_ms) / p.share - p.prompts_ms for p in points])
    weight = np.array([p.share / p.mean_ms for p in points])

    def off(x: np.ndarray) -> np.ndarray:
        return (terms @ x - left) * weight

    found = least_squares(off, np.ones(len(PROMPTS)), loss="soft_l1", f_scale=EDGE / 4, bounds=(0, np.inf))
    return found.x, spread(found.jac, off(found.x)), off(found.x)


def spread(jac: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Standard errors of constants, from how far the points are off."""
    return np.sqrt(np.diag(np.linalg.pinv(jac.T @ jac)) * off.var())


def report(title: str, names: tuple[str, ...], fitted: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Print constants and errors."""
    values, errors, off = fitted
    print(f"{title}: {len(off)} points, {100 * np.abs(off).mean():.1f} % off in the mean")
    for name, value, error in zip(names, values, errors, strict=True):
        print(f"  {name}: {value:.3g} ± {error:.2g}")


def main() -> int:
    """Fit and print."""
    if len(sys.argv) not in (2, 3) or not (Path(sys.argv[1]) / ML_ENERGY).is_file():
        print(f"usage: law_study.py FOLDER [kernels|roofline]; FOLDER holds {ML_ENERGY}", file=sys.stderr)
        return 2
    points = rows(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) == 3 else "kernels")
    report("median step", MEDIAN, fit_median([p for p in points if p.arrivals < FEW_PROMPTS]))
    low, high = SHARES
    report("prompts", PROMPTS, fit_prompts([p for p in points if low < p.share < high and p.tells_prompts]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
