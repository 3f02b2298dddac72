"""The greatest traffic that a fleet carries under its limits: `capacity`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from sim.answers.bench import Bench, Setting, Sheet, Trial
from sim.answers.load import is_in_steps
from sim.answers.measured import BROKEN, KEPT, Measured, cost_measure, measured
from sim.answers.varied import SEEDS_MAX, checked_seeds
from sim.answers.whatif import Tick
from sim.errors import InputError, problem
from sim.measures.shown import Compared
from sim.scenario.compose import load_scenario
from sim.scenario.slo import Limit
from sim.statistics.sequences import rounds

FACTOR_MAX = 4096.0  # times the scenario's own traffic, and as little of it
PRECISION = 0.02  # relative
FURTHER = (0.05, 0.1, 0.2, 0.4, 0.8)  # relative to the boundary: where no load yet was surely kept, or broken
FULL, FULL_RISE = 4, 0.05  # a fleet is full that answers hardly more requests of so many times the traffic
RUN_S_MAX = 5.0  # no load is doubled beyond


@dataclass
class Capacity:
    """How much traffic a fleet carries: as a factor on all of the scenario's."""

    scenario: str
    overrides: tuple[str, ...]
    limits: tuple[str, ...]
    minimise: Compared  # what is shown beside, the cost
    factor: float | None  # None: not even the least that was tried
    low: float | None  # the most at which every limit is surely kept
    high: float | None  # the least at which one surely is not; None: none was found
    is_bound: bool  # whether it carries the most that was tried
    rate_per_s: tuple[float | None, float | None, float | None]  # requests a second at factor, low, high
    first_broken: tuple[str, ...]  # the limits that are not kept a little above
    tried: list[Measured]  # by rising load
    precision: float
    n_run: int
    wall_s: float
    notes: list[str] = field(default_factory=list)
    best: Measured | None = None  # at the answer

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        from sim.answers.plain import capacity_dict

        return capacity_dict(self)


def capacity(
    scenario: str,
    keep: Sequence[str] = (),
    overrides: Sequence[str] = (),
    seeds: int = SEEDS_MAX,
    precision: float = PRECISION,
    threads: int | None = None,
    progress: Tick | None = None,
) -> Capacity:
    """By how much all of a scenario's traffic can be multiplied until the means over seeds break a limit.

    `keep` are limits as a scenario has them; without any, the scenario's own. The interval reaches from the most at which
    every limit is surely kept to the least at which one surely is not, each to within `precision`. Raises InputError.
    """
    begun = time.perf_counter()
    if not 0.001 <= precision <= 1:
        raise InputError(problem("--precision", precision, "a share from 0.1 % to 100 %"))
    story = load_scenario(scenario, list(overrides))
    sheet = Sheet(scenario, tuple(overrides), tuple(keep or story.slo))
    limits = sheet.parsed(story)
    if not limits:
        raise InputError(
            "--keep: the scenario sets no limit, and none is given; write --keep 'ttft.p99 < 500 ms'"
        )
    cost, looks = cost_measure("usd_per_hour"), rounds(checked_seeds(seeds))
    with Bench(sheet, threads or story.engine.threads) as bench:

        def try_one(factor: float, look: int) -> Measured:
            if factor > max(climb.seen, default=1.0) and bench.run_s > RUN_S_MAX:
                raise InputError(f"a run of {factor:g} times the traffic takes more than {RUN_S_MAX:g} s")
            setting = Setting((), factor)
            trials = bench.trials(setting, range(1, looks[look] + 1))
            if factor == 1 and not _with_requests(trials):
                raise InputError(
                    f"traffic: no request came in {len(trials)} runs of {story.duration_s:g} s; allowed: traffic of which "
                    "there can be more"
                )
            if progress is not None:
                progress(0.0, None, f"{len(bench.done):,} runs, traffic × {factor:.3g}")
            return measured(setting, {}, trials, cost, limits, len(looks))

        def standing(one: Measured) -> Standing:
            answered = np.mean([trial.row["completed_per_s"] or 0.0 for trial in _trials(bench, one)])
            both = zip(limits, one.limits, strict=True)
            return Standing(float(answered), [margin_of(limit, kept.observed.mean) for limit, kept in both])

        climb = Climb(try_one, len(looks), precision, standing)
        factor = climb.boundary()
        is_bound = factor is not None and all(one.is_met for one in climb.seen.values())
        low, high = climb.surely(factor, not is_bound) if factor is not None else (None, None)
        empty = [x for x, one in climb.seen.items() if _with_requests(_trials(bench, one)) < one.n_seed]
        rates = [None if x is None else _rate(bench, climb.seen[x]) for x in (factor, low, high)]
    found = Capacity(
        scenario,
        tuple(overrides),
        sheet.limits,
        cost,
        factor,
        low,
        high,
        is_bound,
        (rates[0], rates[1], rates[2]),
        climb.broken_above(factor),
        [climb.seen[x] for x in sorted(climb.seen)],
        precision,
        len(bench.done),
        time.perf_counter() - begun,
        best=None if factor is None else climb.seen[factor],
    )
    found.notes = _notes(found, climb, is_in_steps(story))
    if factor is None:
        found.notes += none_notes(found, limits, empty)
    return found


def _rate(bench: Bench, one: Measured) -> float:
    """Requests a second that arrived, mean over the seeds."""
    return float(np.mean([trial.row["offered_per_s"] or 0.0 for trial in _trials(bench, one)]))


def _trials(bench: Bench, one: Measured) -> list[Trial]:
    return [bench.done[one.setting, seed] for seed in range(1, one.n_seed + 1)]


def _with_requests(trials: Sequence[Trial]) -> int:
    """In how many runs a request came."""
    return sum(bool(trial.row["offered_per_s"]) for trial in trials)


class Standing(NamedTuple):
    """Where a load leaves a fleet."""

    answered_per_s: float
    margins: list[float]  # how far what was observed of each limit is from it, on the right side


def margin_of(limit: Limit, observed: float | None) -> float:
    """How far something observed is from its limit, on the right side of it."""
    if observed is None:
        return -math.inf
    return limit.value - observed if limit.op.startswith("<") else observed - limit.value


class Climb:
    """Loads as they are tried."""

    def __init__(
        self,
        try_one: Callable[[float, int], Measured],
        n_look: int,
        precision: float,
        standing: Callable[[Measured], Standing] | None = None,
    ) -> None:
        self._try, self._n_look, self._ratio = try_one, n_look, 1 + precision
        self._standing = standing
        self.is_unmoved = False  # whether no more was tried as traffic brings no limit closer
        self.seen: dict[float, Measured] = {}
        self._looks: dict[float, int] = {}
        self.too_much = ""  # why no more could be tried

    def look(self, factor: float, look: int = 0) -> Measured:
        """Try a load with the seeds of a look, unless it was tried with as many."""
        if self._looks.get(factor, -1) < look:
            self.seen[factor] = self._try(factor, look)
            self._looks[factor] = look
        return self.seen[factor]

    def boundary(self) -> float | None:
        """The greatest load, to within the precision, that keeps every limit in the mean, below the least that was seen
        not to; None where nothing does.
        """
        at = 1.0
        if self.look(at).is_met:
            while at < FACTOR_MAX and not self.is_unmoved and self._is_met_above(at):
                at *= 2
                self.is_unmoved = self._brings_nothing_closer(at)
        else:
            while at > 1 / FACTOR_MAX and not self.look(at := at / 2).is_met:
                pass
        while True:
            met = [x for x, one in self.seen.items() if one.is_met]
            if not met:
                return None
            unmet = [x for x, one in self.seen.items() if not one.is_met]
            bottom = max((x for x in met if not unmet or x < min(unmet)), default=None)
            if bottom is None:
                return None
            if not unmet:
                return bottom
            top = min(x for x in unmet if x > bottom)
            if top / bottom > self._ratio:
                self.look((top * bottom) ** 0.5)
            elif not self._settled(bottom) or not self._settled(top):
                continue
            else:
                return bottom

    def _brings_nothing_closer(self, at: float) -> bool:
        """Whether a fleet that answers no more requests than under a quarter of this load, for it is full, is no closer to
        any limit than it was then: more traffic would not change that.
        """
        if self._standing is None or at / FULL not in self.seen:
            return False
        now, then = self._standing(self.seen[at]), self._standing(self.seen[at / FULL])
        if now.answered_per_s > (1 + FULL_RISE) * then.answered_per_s:
            return False
        return all(x >= (1 - FULL_RISE) * y for x, y in zip(now.margins, then.margins, strict=True))

    def _is_met_above(self, at: float) -> bool:
        try:
            return self.look(at * 2).is_met
        except InputError as error:
            self.too_much = error.problems[0]
            return False

    def _settled(self, factor: float) -> bool:
        """Whether a load had enough seeds; if not it gets some more."""
        if self._looks[factor] >= min(1, self._n_look - 1):
            return True
        self.look(factor, self._looks[factor] + 1)
        return False

    def surely(self, factor: float, is_above: bool = True) -> tuple[float | None, float | None]:
        """(the most below that surely keeps every limit, the least above that surely breaks one); None: none was found, or
        loads above are not to be tried.
        """
        low = self._end(factor, KEPT, down=True)
        return low, self._end(factor, BROKEN, down=False) if is_above else None

    def broken_above(self, factor: float | None) -> tuple[str, ...]:
        """The limits that the means break at the least load, of those above a factor (None: of all), that breaks any."""
        unmet = [x for x, one in self.seen.items() if not one.is_met and (factor is None or x > factor)]
        return tuple(one.text for one in self.seen[min(unmet)].limits if not one.is_met) if unmet else ()

    def _end(self, factor: float, status: str, down: bool) -> float | None:
        last = self._n_look - 1
        here = [x for x in self.seen if (x <= factor if down else x > factor)]
        good = [x for x in here if self.seen[x].status == status]
        for away in FURTHER if not good else ():
            at = factor / (1 + away) if down else factor * (1 + away)
            try:
                if self.look(at, min(1, last)).status == status:
                    good = [at]
                    break
            except InputError as error:
                self.too_much = error.problems[0]
                break
        while True:
            end = (max(good) if down else min(good)) if good else None
            if end is None or max(end / factor, factor / end) <= self._ratio:
                return end
            between = (end * factor) ** 0.5
            found = self.look(between, min(1, last))
            if found.status == status:
                good.append(between)
            else:
                factor = between


def _notes(found: Capacity, climb: Climb, is_stepwise: bool) -> list[str]:
    notes = []
    if climb.too_much:
        notes.append(f"more could not be tried: {climb.too_much}")
    kept = [one.setting.load for one in found.tried if one.status == KEPT]
    broken = [one.setting.load for one in found.tried if one.status == BROKEN]
    if kept and broken and min(broken) < max(kept):
        notes.append(
            f"not monotone: {min(broken):.3g} times the traffic surely breaks a limit, {max(kept):.3g} times surely keeps "
            "all; the answer is below the least that breaks one"
        )
    if found.factor is not None and found.low is None:
        notes.append("no load that was tried surely keeps every limit; more seeds may tell")
    if climb.is_unmoved:
        most = found.tried[-1].setting.load
        notes.append(
            f"more traffic does not break {' or '.join(found.limits)}: at {most:g} times its own the fleet is full, for it "
            f"answers no more requests than at {most / FULL:g} times, and no closer to a limit; so no more was tried"
        )
    elif found.is_bound:
        notes.append("the most that was tried is carried: the fleet may carry more")
    if is_stepwise:
        notes.append(
            "clients of closed loops and requests of batches are whole numbers: the load moves in steps"
        )
    return notes


def none_notes(found: Capacity, limits: Sequence[Limit], empty: Sequence[float]) -> list[str]:
    """What has to be said where none of the traffic keeps every limit. `empty` are loads with runs without requests."""
    notes = []
    if empty:
        notes.append(
            f"at {max(empty):.3g} times the traffic and below there are runs without a request, in which no limit on "
            "requests is kept; runs of a longer duration_s tell more"
        )
    for i, limit in enumerate(limits):
        seen = [one.limits[i].observed for one in found.tried]
        ends = [(one.low, one.high) for one in seen if one.low is not None and one.high is not None]
        if seen[-1].low is not None and not found.tried[-1].limits[i].is_met:
            less, (low, high) = limit.op.startswith("<"), ends[-1]
            if any(high < other[0] if less else low > other[1] for other in ends):
                notes.append(
                    f"more traffic brings {limit.text} closer: where its own breaks a limit, only less is tried"
                )
        if all(one.mean is None for one in seen):
            notes.append(f"{limit.text}: has no value in any run: nothing was there to measure")
    return notes
