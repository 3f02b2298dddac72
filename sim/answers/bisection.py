"""The cheapest of some settings in a row that keeps every limit: by bisection where everything rises or falls along the
row, else by trying every one.

Each limit has its own boundary in the row: below it (or above it) it is kept. Bisection finds each boundary, and the
settings between them keep all limits. What was tried is looked through for measures that both rise and fall surely, seed by
seed; where one does, bisection may have missed something, and every setting is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from sim.answers.bench import Trial
from sim.answers.measured import BROKEN, KEPT, Measured
from sim.statistics.means import p_of_mean

PROBES = 5  # of a row, before it is bisected
SURE = 0.001  # two-sided: that a measure rises, or falls, between two settings
ROUNDING = 1e-9  # relative


@dataclass
class Row:
    """Settings in order, and how to try them: `try_one(place, look)` with the seeds of that look, each with more."""

    n: int
    n_look: int
    try_one: Callable[[int, int], Measured]
    trials: Callable[[int], Sequence[Trial]]  # of a setting that was tried
    cost: Callable[[Trial], float | None]
    names: Sequence[str]  # of the limits
    seen: dict[int, Measured] = field(default_factory=dict)
    looks: dict[int, int] = field(default_factory=dict)

    def look(self, place: int, look: int = 0) -> Measured:
        """Try a setting with the seeds of a look, unless it was tried with as many."""
        if self.looks.get(place, -1) < look:
            self.seen[place] = self.try_one(place, look)
            self.looks[place] = look
        return self.seen[place]

    def settle(self, place: int) -> Measured:
        """Try a setting with more seeds until it is surely kept or broken, or they are used up."""
        found = self.look(place, min(1, self.n_look - 1))
        while found.status not in (KEPT, BROKEN) and self.looks[place] < self.n_look - 1:
            found = self.look(place, self.looks[place] + 1)
        return found

    @property
    def tried(self) -> list[int]:
        """The places that were tried, in order."""
        return sorted(self.seen)


@dataclass
class Found:
    """What a row came to."""

    best: int | None
    is_whole: bool  # whether every setting was tried
    why_whole: str = ""  # why, where bisection would have done with fewer
    conflict: str = ""  # why there is no answer


def cheapest(row: Row, every: bool = False) -> Found:
    """The place of the cheapest setting whose means keep every limit, and no cheaper neighbour's do."""
    if every or row.n <= PROBES:
        return _try_every(row, "")
    for place in np.unique(np.linspace(0, row.n - 1, PROBES).round().astype(int)).tolist():
        row.look(place)
    for limit in range(len(row.names)):
        _bisect(row, limit)
    why = bends(row)
    if why:
        return _try_every(row, why)
    best = _walk(row)
    why = bends(row)
    if why:
        return _try_every(row, why)
    return Found(best, len(row.seen) == row.n, conflict="" if best is not None else _conflict(row))


def _bisect(row: Row, limit: int) -> None:
    """Try settings until two neighbours are known between which a limit begins, or ceases, to be kept."""
    while True:
        tried = row.tried
        gaps = [
            (a, b)
            for a, b in pairwise(tried)
            if b - a > 1 and row.seen[a].limits[limit].is_met != row.seen[b].limits[limit].is_met
        ]
        if not gaps:
            return
        a, b = gaps[0]
        row.look((a + b) // 2)


def _walk(row: Row) -> int | None:
    """From the cheapest tried setting that keeps all limits, step by step: more seeds for it and for those that are
    cheaper beside it, until none of them keeps the limits too.
    """
    for _ in range(4 * row.n):
        good = [place for place in row.tried if row.seen[place].is_met]
        if not good:
            open_ = _open(row)
            if not open_:
                return None
            for place in open_:
                row.look(place, row.looks[place] + 1)
            _bisect_all(row)
            continue
        best = min(good, key=lambda place: _cost(row.seen[place]))
        if not row.settle(best).is_met:
            _bisect_all(row)
            continue
        beside = [p for p in (best - 1, best + 1) if 0 <= p < row.n]
        cheaper = [p for p in beside if _cost(row.look(p)) < _cost(row.seen[best])]
        closer = [p for p in cheaper if row.settle(p).is_met and _cost(row.seen[p]) < _cost(row.seen[best])]
        if not closer:
            return best
    return best


def _open(row: Row) -> list[int]:
    """The tried settings that might keep every limit, and of which there are more seeds to be had."""
    return [
        p for p in row.tried if row.seen[p].status not in (KEPT, BROKEN) and row.looks[p] < row.n_look - 1
    ]


def _bisect_all(row: Row) -> None:
    for limit in range(len(row.names)):
        _bisect(row, limit)


def _try_every(row: Row, why: str) -> Found:
    """Every setting with few seeds, then with more those that might be the answer."""
    for place in range(row.n):
        row.look(place)
    while True:
        good = [place for place in row.tried if row.seen[place].is_met]
        best = min(good, key=lambda place: _cost(row.seen[place])) if good else None
        bound = np.inf if best is None else _cost(row.seen[best])
        open_ = [place for place in _open(row) if place == best or _cost(row.seen[place]) <= bound]
        if not open_:
            return Found(best, True, why, "" if best is not None else _conflict(row))
        for place in open_:
            row.look(place, row.looks[place] + 1)


def _cost(of: Measured) -> float:
    return np.inf if of.cost.mean is None else of.cost.mean


def _conflict(row: Row) -> str:
    """Which limits are kept nowhere; where each is kept somewhere, that they are not together."""
    nowhere = [
        name for i, name in enumerate(row.names) if not any(one.limits[i].is_met for one in row.seen.values())
    ]
    return "; ".join(nowhere)


def bends(row: Row) -> str:
    """Which measure surely rises and surely falls along the row, as far as it was tried; empty where none does."""
    told = [("the cost", [[row.cost(t) for t in row.trials(p)] for p in row.tried])]
    for i, name in enumerate(row.names):
        told.append((f"what {name!r} limits", [[t.observed[i] for t in row.trials(p)] for p in row.tried]))
    for what, values in told:
        steps = {sign for a, b in pairwise(values) if (sign := _step(a, b))}
        if len(steps) > 1:
            return what
    return ""


def _step(a: Sequence[float | None], b: Sequence[float | None]) -> int:
    """1 where the values surely rise from one setting to the next, seed by seed, −1 where they fall, else 0."""
    n = min(len(a), len(b))
    both = [(x, y) for x, y in zip(a[:n], b[:n], strict=True) if x is not None and y is not None]
    finite = np.array([(x, y) for x, y in both if np.isfinite(x) and np.isfinite(y)])
    if len(finite) < len(both) or len(finite) < 2:
        signs = [int(y > x) - int(y < x) for x, y in both]
        up, down = signs.count(1), signs.count(-1)
        return int(up > 0 and not down) - int(down > 0 and not up) if up + down > 9 else 0
    away = finite[:, 1] - finite[:, 0]
    away[np.abs(away) <= ROUNDING * np.abs(finite).max(axis=1)] = 0.0
    if not away.any():
        return 0
    return int(np.sign(away.mean())) if float(p_of_mean(away)) < SURE else 0
