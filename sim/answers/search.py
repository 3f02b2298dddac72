"""The settings that are worth having, of many: `search`, for one objective or several, under limits.

All settings are tried where `trials` allows for so many; else a sampler of Optuna proposes which to try next. Every setting
is run with the same seeds. What was run is kept, and a search that is taken up again makes the same proposals without
running anything twice.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sim.analysis.replicate import Estimate, estimate
from sim.answers.bench import Bench, Setting, Sheet, Trial
from sim.answers.front import shares_on_front, undominated
from sim.answers.measured import Measured, measured, named_measure
from sim.answers.price import worst_of
from sim.answers.proposals import TOGETHER, entries_of, propose
from sim.answers.varied import axes_of, checked_seeds, words_of
from sim.answers.whatif import Tick
from sim.errors import InputError, problem
from sim.measures.measure import HIGH, LOW
from sim.measures.shown import Compared
from sim.records.search_file import read_search, write_search
from sim.scenario.compose import load_scenario
from sim.scenario.slo import Limit
from sim.studies.axes import Axis
from sim.studies.planning import depends_on
from sim.studies.points import Column, Points, grid
from sim.studies.study import Study

TRIALS, SEEDS = 64, 10
TRIALS_MAX = 5000
OBJECTIVES_MAX = 4


class Member(NamedTuple):
    """A setting that was tried."""

    values: Mapping[str, Any]
    objectives: tuple[Estimate, ...]
    found: Measured  # its limits, and the share of runs that keep all
    is_on_front: bool  # by the means
    share: float  # of draws of seeds in which it is on the front


@dataclass
class Search:
    """What a search found."""

    scenario: str
    overrides: tuple[str, ...]
    limits: tuple[str, ...]
    objectives: tuple[Compared, ...]
    members: list[Member]  # those on the front first, by the first objective
    n_tried: int
    n_refused: int  # settings that cannot be
    is_whole: bool  # whether all settings were tried
    n_seed: int
    n_run: int  # runs that were made now
    n_kept: int  # runs that were there
    wall_s: float
    path: Path | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def front(self) -> list[Member]:
        """The settings that no other is better than in everything, by the means."""
        return [one for one in self.members if one.is_on_front]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        from sim.answers.plain import search_dict

        return search_dict(self)


def search(
    scenario: str,
    vary: Mapping[str, Any] | Sequence[str],
    objectives: Sequence[str] = ("usd_per_hour",),
    keep: Sequence[str] = (),
    overrides: Sequence[str] = (),
    trials: int = TRIALS,
    seeds: int = SEEDS,
    seed: int = 0,
    out: Path | None = None,
    threads: int | None = None,
    progress: Tick | None = None,
) -> Search:
    """Try up to `trials` settings with `seeds` seeds each, and return those that are worth having.

    `objectives` are measures with a better end, one to four. `keep` are limits, without any the scenario's own. `seed` is
    the sampler's. With `out` what was run is kept in a file below it. Raises InputError.
    """
    begun = time.perf_counter()
    if type(trials) is not int or not 1 <= trials <= TRIALS_MAX:
        raise InputError(problem("--trials", trials, f"a whole number from 1 to {TRIALS_MAX}"))
    story = load_scenario(scenario, list(overrides))
    wanted = tuple(named_measure(name, "--objective", (LOW, HIGH)) for name in objectives)
    if len(set(wanted)) < len(wanted):
        twice = next(name for name in objectives if list(objectives).count(name) > 1)
        raise InputError(f"--objective: {twice} is given twice; allowed: once")
    if not 1 <= len(wanted) <= OBJECTIVES_MAX:
        raise InputError(f"--objective: {len(wanted)} of them; allowed: 1 to {OBJECTIVES_MAX}")
    axes = axes_of(vary, overrides)
    sheet = Sheet(scenario, tuple(overrides), tuple(keep or story.slo))
    limits = sheet.parsed(story)
    points = _all_points(axes, trials)
    with Bench(sheet, threads or story.engine.threads) as bench:
        kept = Kept(
            bench,
            wanted,
            out,
            depends(scenario, overrides, axes),
            name_of(scenario, overrides, axes, sheet),
            len(limits),
        )
        asked = Tried(bench, kept, wanted, limits, range(1, checked_seeds(seeds) + 1), progress)
        if points is not None:
            for first in range(0, points.n, TOGETHER):
                asked.tell([points.varied(i) for i in range(first, min(points.n, first + TOGETHER))])
        else:
            propose(axes, trials, len(wanted), seed, asked.tell)
    if not asked.good:
        raise InputError(asked.refused[0] if asked.refused else "--vary: no setting was tried")
    trials_of_all = [trial for _, found in asked.good.values() for trial in found]
    for of, name in zip(wanted, objectives, strict=True):
        if all(trial.row.get(of.key) is None for trial in trials_of_all):
            raise InputError(
                f"--objective: {name} has no value in any run: nothing was there to measure; allowed: a measure that these "
                "runs have"
            )
    return Search(
        scenario,
        tuple(overrides),
        sheet.limits,
        wanted,
        members_of(list(asked.good.values()), wanted, limits),
        len(asked.good),
        len(asked.refused),
        points is not None,
        seeds,
        len(bench.done) - kept.n,
        kept.n,
        time.perf_counter() - begun,
        kept.path,
        [kept.why] if kept.why else [],
    )


def _all_points(axes: Sequence[Axis], most: int) -> Points | None:
    """All settings, where they are no more than so many; None else, and where a range has any number within it."""
    try:
        points = grid(axes, (), ())
    except InputError:
        return None
    return points if points.n <= most else None


def depends(scenario: str, overrides: Sequence[str], axes: Sequence[Axis]) -> dict[str, str]:
    """What the runs of a search depend on, as hashes: the files among the values of its axes too, whichever it tries."""
    return depends_on(
        Study("search", scenario, overrides=tuple(overrides)), Points(0, tuple(columns_of(axes)))
    )


def columns_of(axes: Sequence[Axis]) -> Iterator[Column]:
    """The values of axes, and of the axes that options have, with no point that has them; a span has numbers only."""
    for one in (one for one in axes if one.span is None):
        entries = entries_of(one)
        yield Column(one.key, [value for value, _ in entries], np.zeros(0, dtype=np.int32))
        for _, inner in entries:
            yield from columns_of(inner)


def name_of(scenario: str, overrides: Sequence[str], axes: Sequence[Axis], sheet: Sheet) -> str:
    """The name of a search's file: the scenario, and a hash of what tells its runs from others'."""
    told = json.dumps([scenario, list(overrides), list(sheet.limits), [one.key for one in axes]])
    stem = "".join(c if c.isalnum() or c in "_-" else "_" for c in Path(scenario).stem)
    return f"search-{stem}-{hashlib.blake2b(told.encode(), digest_size=3).hexdigest()}.json"


class Kept:
    """The runs of a search in its file."""

    def __init__(
        self,
        bench: Bench,
        objectives: Sequence[Compared],
        out: Path | None,
        of: Mapping[str, str],
        name: str,
        n_limit: int,
    ) -> None:
        self._bench, self._of = bench, dict(of)
        self._columns = [one.key for one in objectives]
        self.path = None if out is None else out / name
        self.n, self.why = 0, ""
        if self.path is None:
            return
        runs, self.why = read_search(self.path, self._of, n_limit)
        for run in runs:
            if set(self._columns) <= set(run["row"]):
                setting = Setting(tuple(run["words"]))
                bench.done[setting, run["seed"]] = Trial(run["row"], tuple(run["observed"]))
        self.n = len(bench.done)

    def write(self) -> None:
        """Keep what was run so far."""
        if self.path is None:
            return
        runs = [
            {
                "words": list(setting.words),
                "seed": seed,
                "row": {key: trial.row[key] for key in trial.row if key in self._columns},
                "observed": list(trial.observed),
            }
            for (setting, seed), trial in sorted(self._bench.done.items())
        ]
        write_search(self.path, self._of, runs)


class Tried:
    """Settings as they are tried: their trials by the words that make them."""

    def __init__(
        self,
        bench: Bench,
        kept: Kept,
        objectives: Sequence[Compared],
        limits: Sequence[Limit],
        seeds: range,
        progress: Tick | None,
    ) -> None:
        self._bench, self._kept, self._progress = bench, kept, progress
        self._objectives, self._limits, self._seeds = objectives, limits, seeds
        self.good: dict[Setting, tuple[dict[str, Any], list[Trial]]] = {}
        self.refused: list[str] = []

    def tell(self, settings: Sequence[dict[str, Any]]) -> list[tuple[list[float], list[float]] | None]:
        """Run settings; of each its scores and by how much it breaks limits, None where it cannot be. What was run is kept,
        whatever stops it.
        """
        try:
            found = self._told(settings)
        finally:
            self._kept.write()
        if self._progress is not None:
            self._progress(0.0, None, f"{len(self.good)} settings, {len(self._bench.done):,} runs")
        return found

    def _told(self, settings: Sequence[dict[str, Any]]) -> list[tuple[list[float], list[float]] | None]:
        found: list[tuple[list[float], list[float]] | None] = []
        for values in settings:
            setting = Setting(words_of(values))
            try:
                trials = self._bench.trials(setting, self._seeds)
            except InputError as error:
                self.refused.append(error.problems[0])
                found.append(None)
                continue
            self.good[setting] = (values, trials)
            scores = [float(score_of(trials, one).mean()) for one in self._objectives]
            broken = [-float(margin_of(trials, i, limit).mean()) for i, limit in enumerate(self._limits)]
            found.append((scores, broken))
        return found


def score_of(trials: Sequence[Trial], of: Compared) -> np.ndarray:
    """An objective of each seed as something to be little, (seed,); infinite where there is nothing to measure."""
    sign = 1.0 if of.better == LOW else -1.0
    return np.array([math.inf if t.row.get(of.key) is None else sign * t.row[of.key] for t in trials])


def margin_of(trials: Sequence[Trial], number: int, limit: Limit) -> np.ndarray:
    """By how much each seed keeps a limit, as a share of it, (seed,); below 0 where it breaks it."""
    worst = worst_of(limit.op)
    values = np.array(
        [worst if t.observed[number] is None else t.observed[number] for t in trials], dtype=float
    )
    away = limit.value - values if limit.op.startswith("<") else values - limit.value
    return np.asarray(away / (abs(limit.value) or 1.0))


def members_of(
    tried: Sequence[tuple[dict[str, Any], list[Trial]]],
    objectives: Sequence[Compared],
    limits: Sequence[Limit],
) -> list[Member]:
    """Every setting, with its place; those on the front first."""
    scores = [np.array([score_of(trials, one) for _, trials in tried]).T for one in objectives]
    margins = [
        np.array([margin_of(trials, i, limit) for _, trials in tried]).T for i, limit in enumerate(limits)
    ]
    shares = shares_on_front(scores, margins)
    means = np.stack([values.mean(axis=0) for values in scores], axis=1)
    found = [
        measured(Setting(words_of(values)), values, trials, objectives[0], limits) for values, trials in tried
    ]
    front = undominated(means, np.array([one.is_met for one in found]))
    members = [
        Member(
            values,
            tuple(
                estimate([t.row.get(one.key) for t in trials], one.unit == "share", least=0.0)
                for one in objectives
            ),
            found[i],
            bool(front[i]),
            float(shares[i]),
        )
        for i, (values, trials) in enumerate(tried)
    ]
    return [members[i] for i in sorted(range(len(members)), key=lambda i: (not front[i], means[i][0], i))]
