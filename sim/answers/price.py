"""What a limit costs: the least cost against the limit, as a curve, or over two limits as a surface.

Every setting is run with every seed once; each point of the curve then takes the cheapest of those whose means keep its
limits. The interval is a bootstrap over seeds: whole seeds are drawn again, for all settings together, and every draw
looks for its own cheapest setting. So it holds both how sure a cost is and how sure it is which setting keeps the limit.
"""

from __future__ import annotations

import itertools
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from sim.answers.bench import Bench, Setting, Sheet
from sim.answers.measured import cost_measure
from sim.answers.varied import axes_of, checked_seeds, rows_of, words_of
from sim.answers.whatif import Tick
from sim.errors import InputError, problem
from sim.measures.measure import HIGH, LOW
from sim.measures.shown import Compared
from sim.scenario.compose import load_scenario
from sim.scenario.slo import METRICS, Limit, measure_of, parse_slo, value_of
from sim.statistics.means import CONFIDENCE
from sim.studies.axes import NUMBER, RANGE, span_of

SEEDS = 20  # of every setting, unless told
SETTINGS_MAX = 400
POINTS = 10  # of a range that does not say how many
POINTS_MAX = 200
N_DRAW = 1000
CURVE = re.compile(
    rf"^(?P<values>(?:log\s+|whole\s+)*{NUMBER}\s*\.\.\s*{NUMBER}|{NUMBER}(?:\s*,\s*{NUMBER})*)"
    r"\s*(?P<unit>[A-Za-zµ%]*)\s*(?:x\s+(?P<n>\d{1,9}))?\s*$"
)
HOW = "a measure and a range of limits, as ttft.p99=200..2000 ms, or limits, as ttft.p99=200,500,1000 ms"


class Objective(NamedTuple):
    """A measure and the limits on it that a curve goes through."""

    name: str  # as a limit has it
    unit: str  # of the measure
    op: str
    limits: tuple[Limit, ...]


class Point(NamedTuple):
    """The least cost under one limit of each objective."""

    limits: tuple[float, ...]  # in s, fractions, USD, counts
    texts: tuple[str, ...]
    values: Mapping[str, Any] | None  # the setting; None: none keeps them
    cost: float | None
    low: float | None  # 95 %, infinite where a draw of seeds may have no answer
    high: float | None
    share: float  # of the draws that have an answer


@dataclass
class Price:
    """What limits cost."""

    scenario: str
    overrides: tuple[str, ...]
    keep: tuple[str, ...]  # limits that hold at every point
    minimise: Compared
    objectives: tuple[Objective, ...]
    points: list[Point]  # the last objective's limits vary fastest
    n_setting: int
    n_seed: int
    n_run: int
    wall_s: float
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        from sim.answers.plain import price_dict

        return price_dict(self)


def price(
    scenario: str,
    curve: Mapping[str, Any] | Sequence[str],
    vary: Mapping[str, Any] | Sequence[str],
    keep: Sequence[str] = (),
    minimise: str = "usd_per_hour",
    overrides: Sequence[str] = (),
    seeds: int = SEEDS,
    threads: int | None = None,
    progress: Tick | None = None,
) -> Price:
    """The least cost against one limit or two, over the settings that `vary` says, with 95 % intervals.

    `curve` has measures with their limits: {"ttft.p99": "200..2000 ms"}. `keep` are limits that hold beside. Raises
    InputError.
    """
    begun = time.perf_counter()
    story = load_scenario(scenario, list(overrides))
    cost = cost_measure(minimise)
    classes = [one.name for one in story.classes]
    objectives = read_curves(curve, classes)
    kept = tuple(parse_slo(text, classes) for text in keep)
    texts = [*(one.limits[0].text for one in objectives), *(limit.text for limit in kept)]
    sheet, notes = Sheet(scenario, tuple(overrides), tuple(texts)), list[str]()
    rows = rows_of(axes_of(vary, overrides), sheet, notes)
    settings = [values for _, _, row in rows for values in row]
    if len(settings) > SETTINGS_MAX:
        raise InputError(
            f"--vary: {len(settings)} settings, of which each is run; allowed: at most {SETTINGS_MAX}"
        )
    n_seed = checked_seeds(seeds)
    with Bench(sheet, threads or story.engine.threads) as bench:
        asked = [Setting(words_of(values)) for values in settings]
        for at, one in enumerate(asked):
            bench.run([one], range(1, n_seed + 1))
            if progress is not None:
                progress((at + 1) / len(asked), 1.0, f"{len(bench.done):,} runs")
        trials = [[bench.done[one, seed] for seed in range(1, n_seed + 1)] for one in asked]
    costs = np.array([[_number(t.row.get(cost.key), math.inf) for t in own] for own in trials]).T
    observed = [
        np.array([[_number(t.observed[i], worst_of(op)) for t in own] for own in trials]).T
        for i, op in enumerate([*(one.op for one in objectives), *(limit.op for limit in kept)])
    ]
    points = priced(costs, observed, objectives, kept, settings)
    return Price(
        scenario,
        tuple(overrides),
        tuple(keep),
        cost,
        objectives,
        points,
        len(settings),
        n_seed,
        len(settings) * n_seed,
        time.perf_counter() - begun,
        notes,
    )


def read_curves(curve: Mapping[str, Any] | Sequence[str], classes: Sequence[str]) -> tuple[Objective, ...]:
    """The objectives of a curve, or of a surface. Raises InputError."""
    if isinstance(curve, Mapping):
        pairs = [(str(name), str(value)) for name, value in curve.items()]
    else:
        pairs = []
        for text in [curve] if isinstance(curve, str) else curve:
            name, equals, value = text.partition("=")
            if not equals:
                raise InputError(problem("--curve", text, HOW))
            pairs.append((name.strip(), value.strip()))
    if not 1 <= len(pairs) <= 2:
        raise InputError(f"--curve: {len(pairs)} measures; allowed: one, or two for a surface")
    found = tuple(_objective(name, value, classes) for name, value in pairs)
    if len(found) > 1 and found[0].name == found[1].name:
        raise InputError(f"--curve: {found[0].name} is given twice; allowed: once")
    return found


def _objective(name: str, said: str, classes: Sequence[str]) -> Objective:
    try:
        _, metric, _ = measure_of(name, name, classes)
        better = METRICS[metric].better
        match = CURVE.match(said)
        if better not in (LOW, HIGH):
            raise InputError(f"--curve: {name}: neither more nor less of it is better")
        if match is None:
            raise InputError(problem(f"--curve {name}", said, HOW))
        op = "<" if better == LOW else ">="
        numbers = _numbers(match, f"--curve {name}")
        unit = match["unit"]
        value_of(name, metric, numbers[0], unit)  # says what is wrong with the unit
        limits = tuple(parse_slo(f"{name} {op} {number} {unit}".strip(), classes) for number in numbers)
    except InputError as error:
        raise InputError(line.replace("slo: ", "--curve: ", 1) for line in error.problems) from None
    return Objective(name, METRICS[metric].unit, op, limits)


def _numbers(match: re.Match[str], shown: str) -> list[str]:
    """The limits' numbers as text; a range is taken in equal ratios where its ends are above 0 and a factor of 3 apart.

    Its ends stay as they are written.
    """
    if ".." not in match["values"]:
        return [part.strip() for part in match["values"].split(",")]
    span, said = span_of(match["values"], shown), RANGE.match(match["values"].strip())
    assert said is not None  # span_of refuses it else
    n = int(match["n"] or POINTS)
    if not 2 <= n <= POINTS_MAX:
        raise InputError(problem(shown, match.string, f"at least two limits, at most {POINTS_MAX}"))
    if span.low == span.high:
        raise InputError(
            problem(shown, match.string, "a range between two numbers that differ, or one limit")
        )
    is_ratio = span.is_log or (span.low > 0 and span.high / span.low >= 3)
    values = np.geomspace(span.low, span.high, n) if is_ratio else np.linspace(span.low, span.high, n)
    if said["whole"]:
        if not (span.low.is_integer() and span.high.is_integer()):
            raise InputError(problem(shown, match.string, "whole numbers at both ends of a whole range"))
        values = np.unique(np.round(values))
    return [said["low"], *written(values)[1:-1], said["high"]]


def written(values: np.ndarray) -> list[str]:
    """Rising numbers as text: three digits or more, so that rounding moves none by over 1 % of the way to its neighbour."""
    room = 0.01 * np.minimum(np.diff(values, prepend=-np.inf), np.diff(values, append=np.inf))
    for digits in range(3, 18):
        texts = [
            np.format_float_positional(value, digits, unique=False, fractional=False, trim="-")
            for value in values
        ]
        if np.all(np.abs(np.array(texts, dtype=float) - values) <= room):
            break
    return texts


def worst_of(op: str) -> float:
    """What stands for a run in which nothing was there to measure."""
    return math.inf if op.startswith("<") else -math.inf


def _number(value: float | None, instead: float) -> float:
    return instead if value is None else float(value)


def priced(
    costs: np.ndarray,
    observed: Sequence[np.ndarray],
    objectives: Sequence[Objective],
    kept: Sequence[Limit],
    settings: Sequence[Mapping[str, Any]],
) -> list[Point]:
    """The least cost at every combination of limits. `costs` and each of `observed` are (seed, setting); the first of
    `observed` are of the objectives, the others of the limits that hold beside.
    """
    n_seed = len(costs)
    draws = np.random.default_rng(0).multinomial(n_seed, np.full(n_seed, 1 / n_seed), size=N_DRAW) / n_seed
    weights = np.vstack([np.full((1, n_seed), 1 / n_seed), draws])  # the first is the seeds as they are
    means = [weighted(weights, values) for values in observed]
    cost = weighted(weights, costs)
    beside = np.ones(cost.shape, dtype=bool)
    for limit, mean in zip(kept, means[len(objectives) :], strict=True):
        beside &= met(limit, mean)
    points = []
    for limits in itertools.product(*(one.limits for one in objectives)):
        good = beside.copy()
        for limit, mean in zip(limits, means, strict=False):
            good &= met(limit, mean)
        points.append(_point(limits, np.where(good, cost, np.inf), settings))
    return points


def _point(limits: Sequence[Limit], cost: np.ndarray, settings: Sequence[Mapping[str, Any]]) -> Point:
    """`cost` is (draw, setting), infinite where the limits are not kept; the first draw is the seeds as they are."""
    best = cost.min(axis=1)
    tail = (1 - CONFIDENCE) / 2
    drawn = np.sort(best[1:])
    low, high = (float(drawn[min(len(drawn) - 1, int(q * len(drawn)))]) for q in (tail, 1 - tail))
    has_answer = bool(np.isfinite(best[0]))
    return Point(
        tuple(limit.value for limit in limits),
        tuple(limit.text for limit in limits),
        settings[int(cost[0].argmin())] if has_answer else None,
        float(best[0]) if has_answer else None,
        min(low, float(best[0])) if has_answer else low if math.isfinite(low) else None,
        max(high, float(best[0])) if has_answer else None,
        float(np.isfinite(best[1:]).mean()),
    )


def weighted(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Weighted means, (draw, setting), of values (seed, setting); infinite where a seed that counts is."""
    endless = np.isinf(values)
    found = weights @ np.where(endless, 0.0, values)
    for sign in (np.inf, -np.inf):
        found[(weights > 0).astype(float) @ (values == sign) > 0] = sign
    return np.asarray(found)


def met(limit: Limit, values: np.ndarray) -> np.ndarray:
    """Where a limit is kept."""
    compare = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}[limit.op]
    return np.asarray(compare(values, limit.value))
