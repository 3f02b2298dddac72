"""Does a ranking survive? Variants against each other in many worlds: `robust`.

A world has a seed of its own and draws by how much steps, cold starts and traffic are off what the scenario says (Latin
hypercube; McKay, Beckman and Conover 1979). All variants of a world see the same requests and the same errors. "A beats B
in 97 % of worlds" is a share with an interval; it supposes that errors within the given ranges are equally likely.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from sim.analysis.replicate import Estimate
from sim.answers.bench import Bench, Setting, Sheet, Trial
from sim.answers.measured import cost_measure, share_of
from sim.answers.whatif import Tick
from sim.errors import InputError, problem
from sim.measures.shown import Compared
from sim.scenario.compose import load_scenario
from sim.scenario.compose import variants as product
from sim.scenario.slo import Limit
from sim.statistics.means import CONFIDENCE

WORLDS = 60
OFF = {"step_time": 0.15, "cold_start": 0.25, "load": 0.2}  # by how much, up and down
VARIANTS_MAX = 50


class World(NamedTuple):
    """What is different in a world."""

    seed: int
    step_time: float
    cold_start: float
    load: float


class Standing(NamedTuple):
    """How a variant stands, over all worlds."""

    name: str
    words: tuple[str, ...]
    best: Estimate  # the share of worlds in which nobody is better, ties counted for all
    kept: Estimate  # the share of worlds in which it keeps every limit
    cost: float | None  # mean over the worlds


class Duel(NamedTuple):
    """One variant against another."""

    name: str
    other: str
    wins: Estimate  # the share of worlds in which it is better
    ties: float
    halves: dict[str, tuple[float, float]]  # what is off → share of wins in its lower and in its upper half


@dataclass
class Robust:
    """Variants over worlds, the best first."""

    scenario: str
    limits: tuple[str, ...]
    minimise: Compared
    off: dict[str, float]
    standings: list[Standing]
    duels: list[Duel]  # of each with each that stands below it
    n_world: int
    n_run: int
    wall_s: float
    worlds: list[World] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        from sim.answers.plain import robust_dict

        return robust_dict(self)


def robust(
    scenario: str,
    variants: Mapping[str, Sequence[str]] | Sequence[str],
    keep: Sequence[str] = (),
    minimise: str = "usd_per_hour",
    worlds: int = WORLDS,
    off: Mapping[str, float] | None = None,
    threads: int | None = None,
    progress: Tick | None = None,
) -> Robust:
    """Which variant is best, and in how many worlds each beats each.

    In a world a variant is better that breaks fewer limits, and of those that break as many the one that costs less. `keep`
    are the limits, without any the scenario's own. `off` says how far step times, cold starts and traffic may be
    off, as a share up and down; see OFF. Raises InputError.
    """
    begun = time.perf_counter()
    chosen = variants if isinstance(variants, Mapping) else product(list(variants))
    if not 2 <= len(chosen) <= VARIANTS_MAX:
        raise InputError(
            f"robust: {len(chosen)} variants; allowed: 2 to {VARIANTS_MAX}, as autoscaler=hpa,queue"
        )
    if type(worlds) is not int or not 2 <= worlds <= 100_000:
        raise InputError(problem("--worlds", worlds, "a whole number from 2 to 100000"))
    spans = spans_of(off or {})
    stories = {name: load_scenario(scenario, list(words)) for name, words in chosen.items()}
    first = next(iter(stories.values()))
    cost = cost_measure(minimise)
    sheet = Sheet(scenario, (), tuple(keep or first.slo))
    limits = sheet.parsed(first)
    drawn = draw_worlds(worlds, spans)
    with Bench(sheet, threads or first.engine.threads) as bench:
        for i, world in enumerate(drawn):
            bench.run([setting_in(world, words) for words in chosen.values()], [world.seed])
            if progress is not None:
                progress((i + 1) / worlds, 1.0, f"{i + 1} of {worlds} worlds")
        trials = {
            name: [bench.done[setting_in(world, words), world.seed] for world in drawn]
            for name, words in chosen.items()
        }
    if not any(trial.row["offered"] for own in trials.values() for trial in own):
        raise InputError(
            f"traffic: no request came in {len(bench.done):,} runs of {first.duration_s:g} s, so there is nothing to "
            "compare; allowed: a scenario with requests"
        )
    scores = np.array([[score(trial, limits, cost) for trial in own] for own in trials.values()])
    standings, order = _standings(chosen, scores)
    return Robust(
        scenario,
        sheet.limits,
        cost,
        spans,
        standings,
        [
            _duel(a.name, b.name, scores[order[i]], scores[order[j]], drawn, spans)
            for i, a in enumerate(standings)
            for j, b in enumerate(standings)
            if i < j
        ],
        worlds,
        len(bench.done),
        time.perf_counter() - begun,
        drawn,
    )


def spans_of(off: Mapping[str, float]) -> dict[str, float]:
    """How far each thing may be off. Raises InputError."""
    for key, value in off.items():
        if key not in OFF:
            raise InputError(problem("off", key, ", ".join(OFF)))
        if not 0 <= value < 1:
            raise InputError(problem(f"--{key.replace('_', '-')}", value, "a share from 0 to below 100 %"))
    return {**OFF, **off}


def draw_worlds(n: int, spans: Mapping[str, float]) -> list[World]:
    """So many worlds: seeds from 1 on, and a Latin hypercube over what may be off; the same at every call."""
    from scipy.stats import qmc

    cube = qmc.LatinHypercube(len(OFF), rng=np.random.default_rng(0)).random(n)
    factors = {key: 1 + spans[key] * (2 * cube[:, i] - 1) for i, key in enumerate(OFF)}
    return [
        World(i + 1, *(round(float(factors[key][i]), 6) for key in ("step_time", "cold_start", "load")))
        for i in range(n)
    ]


def setting_in(world: World, words: Sequence[str]) -> Setting:
    """A variant in a world."""
    return Setting(tuple(words), world.load, world.step_time, world.cold_start)


def score(trial: Trial, limits: Sequence[Limit], cost: Compared) -> tuple[float, float]:
    """(limits that are broken, cost): the lesser is the better."""
    broken = sum(
        value is None or not limit.is_met(value) for limit, value in zip(limits, trial.observed, strict=True)
    )
    value = trial.row.get(cost.key)
    return float(broken), math.inf if value is None else float(value)


def compared_with(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """1 in the worlds where ours is better, −1 where theirs is, 0 where they are alike; scores are (world, 2)."""
    by_limits = np.sign(theirs[:, 0] - ours[:, 0])
    with np.errstate(invalid="ignore"):
        away = theirs[:, 1] - ours[:, 1]
    away = np.where(np.isclose(ours[:, 1], theirs[:, 1], rtol=1e-9), 0.0, away)
    return np.asarray(np.where(by_limits != 0, by_limits, np.sign(away))).astype(int)


def _standings(chosen: Mapping[str, Sequence[str]], scores: np.ndarray) -> tuple[list[Standing], list[int]]:
    """How each stands, the one that is best in most worlds first; and the places that they had."""
    n = len(scores)
    duels = np.array([[compared_with(scores[i], scores[j]) for j in range(n)] for i in range(n)])
    is_best = np.asarray((duels >= 0).all(axis=1))  # (variant, world)
    wins = np.asarray((duels > 0).sum(axis=(1, 2)))
    order = sorted(range(n), key=lambda i: (-is_best[i].sum(), -wins[i]))
    names = list(chosen)
    found = []
    for i in order:
        costs = scores[i][:, 1]
        found.append(
            Standing(
                names[i],
                tuple(chosen[names[i]]),
                share_of(is_best[i].astype(float).tolist(), CONFIDENCE),
                share_of((scores[i][:, 0] == 0).astype(float).tolist(), CONFIDENCE),
                float(costs.mean()) if np.isfinite(costs).all() else None,
            )
        )
    return found, order


def _duel(
    name: str,
    other: str,
    ours: np.ndarray,
    theirs: np.ndarray,
    worlds: Sequence[World],
    spans: Mapping[str, float],
) -> Duel:
    result = compared_with(ours, theirs)
    won = (result > 0).astype(float)
    halves = {}
    for key in OFF:
        factor = np.array([getattr(world, key) for world in worlds])
        low = factor < 1
        if spans[key] > 0 and low.any() and not low.all():
            halves[key] = (float(won[low].mean()), float(won[~low].mean()))
    return Duel(name, other, share_of(won.tolist(), CONFIDENCE), float((result == 0).mean()), halves)
