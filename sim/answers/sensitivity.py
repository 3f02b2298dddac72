"""What a measure depends on: Sobol indices over keys of the scenario and over what is modelled.

The variance of a measure over all that may differ is shared out: the first-order index of a thing is the share that goes
when it alone is known, the total index the share that stays when everything else is known, interactions included. Saltelli
and others, "Variance based sensitivity analysis of model output", Computer Physics Communications 181 (2010); intervals by
bootstrap. All points are run with the same seeds, so that luck is no part of the variance.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sim.answers.bench import Bench, Setting, Sheet
from sim.answers.measured import named_measure
from sim.answers.proposals import entries_of
from sim.answers.robust import OFF, spans_of
from sim.answers.varied import axes_of, checked_seeds, words_of
from sim.answers.whatif import Tick
from sim.errors import InputError, problem
from sim.measures.shown import Compared
from sim.scenario.compose import load_scenario
from sim.statistics.means import CONFIDENCE
from sim.studies.axes import Axis

SAMPLES, SEEDS = 64, 3
SAMPLES_MAX = 2**14
FACTORS_MAX = 30
N_RESAMPLE = 500
WORLD = tuple(OFF)


class Index(NamedTuple):
    """How much of a measure's variance depends on one thing, with 95 % intervals."""

    name: str
    first: float
    first_low: float
    first_high: float
    total: float
    total_low: float
    total_high: float


@dataclass
class Sensitivity:
    """What a measure depends on, the most first."""

    scenario: str
    overrides: tuple[str, ...]
    measure: Compared
    indices: list[Index]
    mean: float  # of the measure, over the points
    deviation: float  # standard deviation
    off: dict[str, float]
    n_sample: int
    n_seed: int
    n_run: int
    wall_s: float

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        from sim.answers.plain import sensitivity_dict

        return sensitivity_dict(self)


def sensitivity(
    scenario: str,
    measure: str = "ttft.p99",
    vary: Mapping[str, Any] | Sequence[str] = (),
    overrides: Sequence[str] = (),
    off: Mapping[str, float] | None = None,
    samples: int = SAMPLES,
    seeds: int = SEEDS,
    threads: int | None = None,
    progress: Tick | None = None,
) -> Sensitivity:
    """Sobol indices of a measure over the keys of `vary` and over step times, cold starts and traffic that are `off`.

    A range counts as evenly spread (a log range over its logarithm), of values each as often. `samples` is a power of
    two; it takes samples × (things + 2) points of `seeds` runs each. Raises InputError.
    """
    begun = time.perf_counter()
    of = named_measure(measure, "--measure")
    if type(samples) is not int or not 4 <= samples <= SAMPLES_MAX or samples & (samples - 1):
        raise InputError(problem("--samples", samples, f"a power of two from 4 to {SAMPLES_MAX}"))
    story = load_scenario(scenario, list(overrides))
    axes = axes_of(vary, overrides) if vary else []
    check_flat(axes)
    spans = spans_of(off or {})
    worlds = [key for key in WORLD if spans[key] > 0]
    names = [*(one.key for one in axes), *worlds]
    if not 1 <= len(names) <= FACTORS_MAX:
        raise InputError(f"sensitivity: {len(names)} things differ; allowed: 1 to {FACTORS_MAX}")
    a, b = points_of(samples, len(names))
    mixed = [np.where(np.arange(len(names)) == i, b, a) for i in range(len(names))]
    numbers = range(1, checked_seeds(seeds) + 1) if seeds != 1 else range(1, 2)
    with Bench(Sheet(scenario, tuple(overrides), ()), threads or story.engine.threads) as bench:
        found = []
        cubes = [[setting_at(row, axes, worlds, spans) for row in cube] for cube in (a, b, *mixed)]
        _check_exchanged(cubes, axes, samples)
        for i, settings in enumerate(cubes):
            bench.run(settings, numbers)
            found.append(np.array([_mean(bench, one, numbers, of) for one in settings]))
            if progress is not None:
                progress((i + 1) / (len(mixed) + 2), 1.0, f"{len(bench.done):,} runs")
        n_run = len(bench.done)
    values = np.concatenate(found)
    return Sensitivity(
        scenario,
        tuple(overrides),
        of,
        sorted(indices(names, found[0], found[1], np.stack(found[2:])), key=lambda one: -one.total),
        float(values.mean()),
        float(values.std()),
        {key: spans[key] for key in worlds},
        samples,
        len(numbers),
        n_run,
        time.perf_counter() - begun,
    )


def _check_exchanged(cubes: Sequence[Sequence[Setting]], axes: Sequence[Axis], samples: int) -> None:
    """Raise InputError where the points never change a key that has several values: it would seem to matter nothing."""
    for one, settings in zip(axes, cubes[2:], strict=False):
        has_several = (one.span is not None and one.span.low < one.span.high) or len(one.parts) > 1
        if has_several and list(settings) == list(cubes[0]):
            raise InputError(
                problem("--samples", samples, f"more, so that {one.key} takes several of its values")
            )


def check_flat(axes: Sequence[Axis]) -> None:
    """Raise InputError where an option has keys of its own: these are not there at every point."""
    for one in axes:
        if any(inner for _, inner in (entries_of(one) if one.span is None else [])):
            raise InputError(f"--vary: {one.key}: options with keys of their own are not allowed here")


def points_of(n: int, dims: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of points in the unit cube, (n, dims) each, of a scrambled Sobol sequence; the same at every call."""
    from scipy.stats import qmc

    both = qmc.Sobol(2 * dims, rng=np.random.default_rng(0)).random(n)
    both = np.minimum(both, np.nextafter(1.0, 0.0))
    return both[:, :dims], both[:, dims:]


def setting_at(
    row: np.ndarray, axes: Sequence[Axis], worlds: Sequence[str], spans: Mapping[str, float]
) -> Setting:
    """The setting at a point of the unit cube."""
    values: dict[str, Any] = {}
    for one, u in zip(axes, row.tolist(), strict=False):
        if one.span is not None:
            values[one.key] = one.span.at(np.array([u]))[0].item()
        else:
            entries = entries_of(one)
            values[one.key] = entries[min(int(u * len(entries)), len(entries) - 1)][0]
    shares = row[len(axes) :].tolist()
    factors = {key: round(1 + spans[key] * (2 * u - 1), 9) for key, u in zip(worlds, shares, strict=True)}
    return Setting(words_of(values), **factors)


def _mean(bench: Bench, setting: Setting, seeds: range, of: Compared) -> float:
    values = [bench.done[setting, seed].row.get(of.key) for seed in seeds]
    known = [value for value in values if value is not None]
    told = " ".join(setting.words) or "some point"
    if len(known) < len(values):
        raise InputError(
            f"--measure: {of.label} has no value at {told}: nothing was there to measure; allowed: ranges in which it has "
            "one, or another measure"
        )
    if not all(map(math.isfinite, known)):
        raise InputError(
            f"--measure: {of.label} is infinite at {told}: requests are never served there; allowed: ranges in which they "
            "are, or another measure"
        )
    return float(np.mean(known))


def indices(names: Sequence[str], f_a: np.ndarray, f_b: np.ndarray, f_ab: np.ndarray) -> list[Index]:
    """Sobol indices from a model's values at A (n,), at B (n,) and at A with one column of B, (names, n).

    All are 0 where the values do not vary.
    """
    from scipy.stats import bootstrap

    if np.ptp(np.concatenate([f_a, f_b, f_ab.ravel()])) == 0:
        return [Index(name, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0) for name in names]

    center = np.mean([f_a, f_b])

    def of_points(picked: np.ndarray) -> np.ndarray:
        """First-order and total indices of some points, (2, names): Saltelli and others 2010, table 2, (b) and (f)."""
        a, b, ab = f_a[picked] - center, f_b[picked] - center, f_ab[:, picked] - center
        both = np.stack([(b * (ab - a)).mean(axis=1), 0.5 * ((a - ab) ** 2).mean(axis=1)])
        return np.asarray(both / np.var([a, b]))

    points = np.arange(len(f_a))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of degenerate resamples
        first, total = of_points(points)
        ends = (
            bootstrap(  # not SobolResult's own, which takes no seed: each time it would tell other intervals
                (points,),
                of_points,
                vectorized=False,
                n_resamples=N_RESAMPLE,
                confidence_level=CONFIDENCE,
                rng=np.random.default_rng(0),
            ).confidence_interval
        )
    (low1, low2), (high1, high2) = ends
    return [
        Index(name, *(float(x[i]) for x in (first, low1, high1, total, low2, high2)))
        for i, name in enumerate(names)
    ]
