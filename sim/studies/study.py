"""A study: a scenario, what is varied of it and how, with which seeds; and its points, of a grid or of a sampler.

A sampler draws few points that fill the space of the axes.

Latin hypercube: every axis is cut into as many equal parts as there are points, and each part gets one (McKay, Beckman and
Conover 1979). Sobol: a scrambled low-discrepancy sequence (Sobol 1967; Owen 1998), evenest with a power of two of points.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from sim.errors import InputError, nearest, problem
from sim.scenario.types import SEED_MAX
from sim.studies.axes import Axis, Span, Value, keys_of
from sim.studies.points import NEVER, POINTS_MAX, Codes, Points, Tables, finished, grid, leaves, len_of
from sim.studies.rules import Rule

KINDS = ("grid", "latin_hypercube", "sobol")
SOBOL_DIMENSIONS = 21201


class Sampler(NamedTuple):
    """How points are chosen: `grid` takes all of them, the others so many."""

    kind: str = "grid"
    points: int = 0
    seed: int = 0


GRID = Sampler()


def read_sampler(said: object) -> Sampler:
    """`grid`, or {kind: sobol, points: 256, seed: 1}; raises InputError."""
    entry = {"kind": said} if isinstance(said, str) else said
    if not isinstance(entry, dict):
        raise InputError(problem("sampler", said, "grid, or {kind: sobol, points: 256, seed: 0}"))
    for key in entry:
        if key not in Sampler._fields:
            close = nearest(str(key), Sampler._fields)
            raise InputError(
                f"sampler.{key}: no such key; allowed: {', '.join(Sampler._fields)}"
                + (f"; did you mean {close!r}?" if close else "")
            )
    kind = entry.get("kind", "grid")
    if kind not in KINDS:
        raise InputError(problem("sampler.kind", kind, ", ".join(KINDS), nearest(str(kind), KINDS)))
    points, seed = entry.get("points", 0), entry.get("seed", 0)
    if kind == "grid" and ("points" in entry or "seed" in entry):
        raise InputError(
            "sampler: a grid has all its points; allowed: points and seed with latin_hypercube or sobol"
        )
    if kind != "grid" and (type(points) is not int or not 1 <= points <= POINTS_MAX):
        raise InputError(problem("sampler.points", points, f"a whole number from 1 to {POINTS_MAX}"))
    if type(seed) is not int or not 0 <= seed <= SEED_MAX:
        raise InputError(problem("sampler.seed", seed, f"a whole number from 0 to {SEED_MAX}"))
    return Sampler(kind, points, seed)


@dataclass(frozen=True)
class Seeds:
    """The seeds of a study; `until_decided` says that fewer are enough once the question is answered."""

    numbers: range | tuple[int, ...]
    until_decided: bool = False


@dataclass(frozen=True)
class Study:
    """What was asked for, read and checked; its points are made by `points`."""

    name: str
    scenario: str
    question: str = ""
    overrides: tuple[str, ...] = ()
    axes: tuple[Axis, ...] = ()
    zipped: tuple[tuple[Axis, ...], ...] = ()
    whens: tuple[tuple[Rule, tuple[Axis, ...]], ...] = ()
    constraints: tuple[Rule, ...] = ()
    sampler: Sampler = GRID
    seeds: Seeds = Seeds(range(1, 2))
    baseline: Mapping[str, Any] = field(default_factory=dict)
    decide: tuple[
        tuple[str, float], ...
    ] = ()  # measures that the question is on, and differences that do not matter
    control: str = "none"  # or arrivals: a control variate of the means that are shown
    histograms: str = "cell"  # per cell (a point), or per run
    said: tuple[str, ...] = ()  # the words that asked for it: its name, then what stood beside it

    @property
    def keys(self) -> list[str]:
        """Every key that is varied, those of conditional axes last."""
        groups = (self.axes, *self.zipped, *(axes for _, axes in self.whens))
        return list(dict.fromkeys(key for group in groups for key in keys_of(group)))

    def points(self) -> Points:
        """The points that keep every constraint; raises InputError where none does, or there are too many."""
        if self.sampler.kind == "grid":
            found = grid(self.axes, self.zipped, self.whens)
        else:
            found = sampled(self.sampler, self.axes, self.zipped, self.whens)
        kept = found.kept(self.constraints)
        if not kept.n:
            texts = "; ".join(rule.text for rule in self.constraints)
            raise InputError(f"constraints: {texts}: none of {found.n:,} points keeps them")
        if self.baseline and not kept.where(self.baseline).any():
            said = ", ".join(f"{key}={value}" for key, value in self.baseline.items())
            raise InputError(f"baseline: {said} is not valid; allowed: values that a point of the study has")
        return kept


def sampled(
    sampler: Sampler,
    axes: Sequence[Axis],
    zipped: Sequence[Sequence[Axis]],
    whens: Sequence[tuple[Rule, Sequence[Axis]]],
) -> Points:
    """The points that a sampler draws, before constraints. Raises InputError where the axes are too many."""
    n = sampler.points
    dims = sum(1 for _ in leaves(axes)) + len(zipped) + sum(1 for _, inner in whens for _ in leaves(inner))
    shares = iter(unit_cube(sampler, dims).T)
    tables, codes = Tables(), Codes()
    everywhere = np.ones(n, dtype=bool)
    for one in axes:
        _draw(one, everywhere, shares, tables, codes)
    for group in zipped:
        _draw_together(group, next(shares), tables, codes)
    for rule, inner in whens:
        columns, there = finished(n, codes, tables).arrays()
        holds = rule.holds(columns, there, n)
        for one in inner:
            _draw(one, holds, shares, tables, codes)
    return finished(n, codes, tables)


def unit_cube(sampler: Sampler, dims: int) -> np.ndarray:
    """Points in [0, 1)^dims, (points, dims)."""
    from scipy.stats import qmc

    if dims == 0:
        return np.empty((sampler.points, 0))
    if sampler.kind == "latin_hypercube":
        found = qmc.LatinHypercube(dims, rng=np.random.default_rng(sampler.seed)).random(sampler.points)
    else:
        if dims > SOBOL_DIMENSIONS:
            raise InputError(f"sampler.kind: sobol has at most {SOBOL_DIMENSIONS} axes, and these are {dims}")
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # that so many are no power of two: docs/studies.md says it
            found = qmc.Sobol(dims, rng=np.random.default_rng(sampler.seed)).random(sampler.points)
    return np.minimum(found, np.nextafter(1.0, 0.0))


def _draw(one: Axis, where: np.ndarray, shares: Iterator[np.ndarray], tables: Tables, codes: Codes) -> None:
    """Give an axis its values at the points `where`, each of its values as large a part of the way as any other."""
    u = next(shares)
    span = one.span
    if span is not None:
        values, places = np.unique(span.at(u[where]), return_inverse=True)
        _put(codes, one.key, where, tables.add(one.key, values) + places)
        return
    entries: list[tuple[object, tuple[Axis, ...]]] = []
    for part in one.parts:
        if isinstance(part, Value):
            entries.append((part.value, part.axes))
        else:
            len_of(part, one.key)
            entries += [(value, ()) for value in part.values().tolist()]
    which = np.minimum((u * len(entries)).astype(np.int64), len(entries) - 1)
    _put(codes, one.key, where, tables.add(one.key, [value for value, _ in entries]) + which[where])
    for i, (_, inner) in enumerate(entries):
        for sub in inner:
            _draw(sub, where & (which == i), shares, tables, codes)


def _draw_together(group: Sequence[Axis], u: np.ndarray, tables: Tables, codes: Codes) -> None:
    for one in group:
        values: list[object] = []
        for part in one.parts:
            values += part.values().tolist() if isinstance(part, Span) else [part.value]
        which = np.minimum((u * len(values)).astype(np.int64), len(values) - 1)
        _put(codes, one.key, np.ones(len(u), dtype=bool), tables.add(one.key, values) + which)


def _put(codes: Codes, key: str, where: np.ndarray, new: np.ndarray) -> None:
    column = codes.setdefault(key, np.full(len(where), NEVER, dtype=np.int32))
    column[where] = new
