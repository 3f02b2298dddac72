"""The cheapest setting that keeps some limits: `whatif`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sim.answers.bench import Bench, Setting, Sheet, Trial
from sim.answers.bisection import Found, Row, cheapest
from sim.answers.measured import KEPT, NEAR, Measured, cost_measure, measured
from sim.answers.varied import SEEDS_MAX, axes_of, checked_seeds, is_number, rows_of, words_of
from sim.errors import InputError
from sim.measures.shown import Compared
from sim.scenario.compose import load_scenario
from sim.scenario.slo import Limit
from sim.statistics.judging import Judgement, Paired, judge
from sim.statistics.sequences import rounds

Tick = Callable[..., None]


@dataclass
class Line:
    """The settings of one row: all that differ in the searched key alone."""

    fixed: dict[str, Any]  # the other keys that were varied
    tried: list[Measured]  # in the order of the searched key
    best: Measured | None
    is_whole: bool  # whether every setting was tried
    why_whole: str  # what rises and falls along the row, so that every setting was tried
    conflict: str  # limits that no setting of the row keeps


@dataclass
class Answer:
    """What `whatif` found."""

    scenario: str
    overrides: tuple[str, ...]
    limits: tuple[str, ...]
    minimise: Compared
    searched: str  # the key along which was searched
    lines: list[Line]
    best: Measured | None  # None: no setting keeps every limit
    n_setting: int
    n_run: int
    wall_s: float
    notes: list[str] = field(default_factory=list)
    rivals: list[tuple[Measured, Judgement]] = field(
        default_factory=list
    )  # other rows' best, against the best

    @property
    def tried(self) -> list[Measured]:
        """Every setting that was tried."""
        return [one for line in self.lines for one in line.tried]

    @property
    def keys(self) -> list[str]:
        """The keys that were varied."""
        return list(self.lines[0].tried[0].values)

    @property
    def row_bests(self) -> list[Measured]:
        """The best of each row that has one, the cheapest first."""
        good = [line.best for line in self.lines if line.best is not None]
        return sorted(good, key=lambda one: np.inf if one.cost.mean is None else one.cost.mean)

    @property
    def is_sure(self) -> bool:
        """Whether the intervals say too that the answer keeps every limit."""
        return self.best is not None and self.best.status == KEPT

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        from sim.answers.plain import answer_dict

        return answer_dict(self)


def whatif(
    scenario: str,
    keep: Sequence[str] = (),
    vary: Mapping[str, Any] | Sequence[str] = (),
    minimise: str = "usd_per_hour",
    overrides: Sequence[str] = (),
    seeds: int = SEEDS_MAX,
    every: bool = False,
    threads: int | None = None,
    progress: Tick | None = None,
) -> Answer:
    """The setting that costs least of those that keep every limit in the mean over seeds.

    `keep` are limits as a scenario has them; without any, the scenario's own. `vary` has one key or more with values, as
    axes of a study have them; the longest numeric one is searched along, for every combination of the others. Seeds are
    added in rounds, up to `seeds`, to settings that are near a limit. `every` tries every setting. Raises InputError.
    """
    begun = time.perf_counter()
    story = load_scenario(scenario, list(overrides))
    cost = cost_measure(minimise)
    sheet = Sheet(scenario, tuple(overrides), tuple(keep or story.slo))
    limits = sheet.parsed(story)
    if not limits:
        raise InputError(
            "--keep: the scenario sets no limit, and none is given; write --keep 'ttft.p99 < 500 ms'"
        )
    axes = axes_of(vary, overrides)
    looks = rounds(checked_seeds(seeds))
    notes: list[str] = []
    with Bench(sheet, threads or story.engine.threads) as bench:
        table = Tried(bench, cost, limits, looks, progress)
        rows = rows_of(axes, sheet, notes)
        lines = [table.line(fixed, values, key, every) for key, fixed, values in rows]
        answer = Answer(
            scenario,
            tuple(overrides),
            sheet.limits,
            cost,
            rows[0][0],
            lines,
            _best(lines),
            sum(len(values) for _, _, values in rows),
            len(bench.done),
            0.0,
            notes,
        )
        answer.rivals = table.rivals(answer)
    answer.notes += notes_of(answer)
    answer.wall_s = time.perf_counter() - begun
    return answer


class Tried:
    """Settings as they are tried, and the rows they lie in."""

    def __init__(
        self,
        bench: Bench,
        cost: Compared,
        limits: Sequence[Limit],
        looks: Sequence[int],
        progress: Tick | None,
    ) -> None:
        self._bench, self._cost, self._limits, self._looks = bench, cost, limits, looks
        self._progress = progress

    def measure(self, values: Mapping[str, Any], look: int) -> Measured:
        """A setting with the seeds of a look."""
        setting = Setting(words_of(values))
        trials = self._bench.trials(setting, range(1, self._looks[look] + 1))
        if self._progress is not None:
            self._progress(0.0, None, f"{len(self._bench.done):,} runs")
        return measured(setting, values, trials, self._cost, self._limits, len(self._looks))

    def line(self, fixed: dict[str, Any], settings: Sequence[dict[str, Any]], key: str, every: bool) -> Line:
        """Search along a row of settings."""
        is_numeric = all(is_number(values[key]) for values in settings)
        row = Row(
            n=len(settings),
            n_look=len(self._looks),
            try_one=lambda place, look: self.measure(settings[place], look),
            trials=lambda place: self._trials(row.seen[place]),
            cost=lambda trial: trial.row.get(self._cost.key),
            names=[limit.text for limit in self._limits],
        )
        found: Found = cheapest(row, every or not is_numeric)
        tried = [row.seen[place] for place in row.tried]
        best = None if found.best is None else row.seen[found.best]
        return Line(fixed, tried, best, found.is_whole, found.why_whole, found.conflict)

    def _trials(self, one: Measured) -> list[Trial]:
        return [self._bench.done[one.setting, seed] for seed in range(1, one.n_seed + 1)]

    def rivals(self, answer: Answer) -> list[tuple[Measured, Judgement]]:
        """The best of every other row against the best of all, by cost."""
        if answer.best is None:
            return []
        others = [
            line.best for line in answer.lines if line.best is not None and line.best is not answer.best
        ]
        ours = [t.row.get(self._cost.key) for t in self._trials(answer.best)]
        pairs = []
        for other in others:
            theirs = [t.row.get(self._cost.key) for t in self._trials(other)]
            n = min(len(ours), len(theirs))
            pairs.append(Paired(theirs[:n], ours[:n], self._cost.better))
        return list(zip(others, judge(pairs), strict=True))


def _best(lines: Sequence[Line]) -> Measured | None:
    good = [line.best for line in lines if line.best is not None]
    return min(good, key=lambda one: np.inf if one.cost.mean is None else one.cost.mean, default=None)


def notes_of(answer: Answer) -> list[str]:
    """What has to be said beside the answer."""
    notes = []
    bent = list(dict.fromkeys(line.why_whole for line in answer.lines if line.why_whole))
    if bent:
        notes.append(
            f"not monotone along {answer.searched}: {', '.join(bent)} rises and falls; every value was tried"
        )
    if answer.best is None:
        return [*notes, *none_notes(answer)]
    if answer.best.status == NEAR:
        near = ", ".join(repr(limit.text) for limit in answer.best.limits if limit.status == NEAR)
        notes.append(f"kept by the mean of {answer.best.n_seed} seeds; the interval reaches over {near}")
    cheaper = [
        one for one in answer.tried if not one.is_met and one.status == NEAR and _less(one, answer.best)
    ]
    if cheaper:
        names = "; ".join(", ".join(words_of(one.values)) for one in cheaper[:3])
        notes.append(f"cheaper, and not surely broken: {names}")
    ends = [line.tried[0] for line in answer.lines] + [line.tried[-1] for line in answer.lines]
    is_numeric = is_number(answer.best.values[answer.searched])
    if answer.best in ends and is_numeric and len(answer.lines[0].tried) > 1:
        notes.append(f"the answer is at an end of {answer.searched}: further on may be a better one")
    return notes


def none_notes(answer: Answer) -> list[str]:
    """Why there is no answer."""
    unknown = [
        text
        for i, text in enumerate(answer.limits)
        if all(one.limits[i].observed.mean is None for one in answer.tried)
    ]
    if unknown:
        return [f"{text}: has no value in any run: nothing was there to measure" for text in unknown]
    conflicts = [line.conflict for line in answer.lines]
    nowhere = list(dict.fromkeys(text for text in conflicts if text))
    if nowhere and all(conflicts):
        return [f"no setting within the range keeps {' or '.join(nowhere)}"]
    told = ["every limit is kept by some setting within the range, all of them by none"]
    if len(answer.lines) == 1:
        told += [kept_where(answer, i) for i in range(len(answer.limits))]
    return told


def kept_where(answer: Answer, limit: int) -> str:
    """For which values of the searched key, of those tried, a limit is kept."""
    values = [one.values[answer.searched] for one in answer.tried if one.limits[limit].is_met]
    return f"{answer.limits[limit]}: kept by {answer.searched}={', '.join(map(str, values))}"


def _less(a: Measured, b: Measured) -> bool:
    return a.cost.mean is not None and b.cost.mean is not None and a.cost.mean < b.cost.mean
