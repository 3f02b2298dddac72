"""The points of a study as columns: for each axis a table of its values and, point by point, which of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.errors import InputError
from sim.scenario.variant_names import label_of, short_keys
from sim.studies.axes import Axis, Span, Value
from sim.studies.rules import Rule

POINTS_MAX = 10_000_000
NEVER = -1  # the code of a point that does not have the axis
PLAIN_WORD = re.compile(r"^[A-Za-z_][A-Za-z0-9_./:-]*$")
BEFORE_QUOTE = re.compile(r'(\\*)("|$)')  # hydra reads a backslash as one anywhere else
NO_WORDS = ("true", "false", "null", "inf", "nan", "none")


@dataclass(frozen=True)
class Column:
    """One axis over all points: the value of point i is `table[codes[i]]`, none where that is −1."""

    key: str
    table: np.ndarray | list[Any]  # int64 or float64 numbers, or a list of anything else
    codes: np.ndarray  # (point,) int32

    @property
    def kind(self) -> str:
        """`int`, `float`, `bool` or `text`: how results keep it."""
        if isinstance(self.table, np.ndarray):
            return "int" if self.table.dtype.kind == "i" else "float"
        return "bool" if all(isinstance(value, bool) for value in self.table) else "text"

    def value(self, point: int) -> Any:
        """The value of a point as plain Python; KeyError where it has none."""
        code = int(self.codes[point])
        if code == NEVER:
            raise KeyError(self.key)
        return self.table[code].item() if isinstance(self.table, np.ndarray) else self.table[code]

    def array(self) -> np.ndarray:
        """The values of all points, of those without one anything."""
        if isinstance(self.table, np.ndarray):
            return self.table[self.codes]
        table = np.empty(len(self.table), dtype=object)
        table[:] = self.table
        return table[self.codes]

    def contents(self, first: int, end: int) -> bytes:
        """What stands for the values of points first … end − 1, whatever else is in the table."""
        codes = self.codes[first:end]
        if isinstance(self.table, np.ndarray):
            held = np.where(codes == NEVER, 0, self.table[codes]).astype(self.table.dtype)
            return self.table.dtype.str.encode() + held.tobytes() + np.packbits(codes == NEVER).tobytes()
        used, places = np.unique(codes, return_inverse=True)
        texts = [
            json.dumps(None if code == NEVER else self.table[code], sort_keys=True, default=str)
            for code in used.tolist()
        ]
        ranks = np.argsort(np.argsort(texts, kind="stable"))
        return json.dumps(sorted(texts)).encode() + ranks[places].astype("<i4").tobytes()


@dataclass(frozen=True)
class Points:
    """All points of a study, numbered from 0."""

    n: int
    columns: tuple[Column, ...]

    def varied(self, point: int) -> dict[str, Any]:
        """Key → value of a point, without the axes that it does not have."""
        return {c.key: c.value(point) for c in self.columns if c.codes[point] != NEVER}

    def overrides(self, point: int) -> list[str]:
        """A point as words of the command line: `autoscaler=hpa`, `autoscaler.target=8`."""
        return [f"{key}={as_word(value)}" for key, value in self.varied(point).items()]

    def label(self, point: int) -> str:
        """What a point is called: its values under as much of their keys as tells them apart."""
        short = dict(
            zip((c.key for c in self.columns), short_keys([c.key for c in self.columns]), strict=True)
        )
        varied = self.varied(point)
        return label_of([as_word(value) for value in varied.values()], [short[key] for key in varied])

    def arrays(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """(key → values, key → which points have it), as rules want them."""
        return {c.key: c.array() for c in self.columns}, {c.key: c.codes != NEVER for c in self.columns}

    def only(self, chosen: np.ndarray) -> Points:
        """The points for which `chosen` (point,) bool holds."""
        if chosen.all():
            return self
        return Points(int(chosen.sum()), tuple(Column(c.key, c.table, c.codes[chosen]) for c in self.columns))

    def kept(self, rules: Sequence[Rule]) -> Points:
        """The points that break no rule; one that names an axis that a point lacks is none for it."""
        if not rules:
            return self
        columns, there = self.arrays()
        good = np.ones(self.n, dtype=bool)
        for rule in rules:
            good &= rule.holds(columns, there, self.n) | ~rule.applies(there, self.n)
        return self.only(good)

    def where(self, wanted: Mapping[str, Any]) -> np.ndarray:
        """Which points have all these values, (point,) bool."""
        found = np.ones(self.n, dtype=bool)
        by_key = {c.key: c for c in self.columns}
        for key, value in wanted.items():
            table = by_key[key].table
            codes = [
                i
                for i, other in enumerate(table)
                if other == value and isinstance(other, bool) == isinstance(value, bool)
            ]
            found &= np.isin(by_key[key].codes, codes)
        return found

    def covering(self, most: int) -> list[int]:
        """Few points in which every value of every axis comes, as far as `most` of them allow."""
        first = [np.unique(c.codes, return_index=True)[1] for c in self.columns]
        ends = [
            places if len(places) <= 8 else places[np.linspace(0, len(places) - 1, 8).astype(int)]
            for places in first
        ]
        found = dict.fromkeys([0, self.n - 1, *(int(i) for places in ends for i in places)])
        return list(found)[:most]


class Tables:
    """The values of each key while points are made; the same key within two options has one table."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Any]] = {}
        self._n: dict[str, int] = {}

    def add(self, key: str, values: Any) -> int:
        """Put values (an array of numbers, or a list) at the end of a key's table; returns where they start."""
        start = self._n.get(key, 0)
        self._parts.setdefault(key, []).append(values)
        self._n[key] = start + len(values)
        return start

    def table(self, key: str) -> np.ndarray | list[Any]:
        """A key's table: an array where all is numbers."""
        parts = self._parts[key]
        flat = [p for p in parts if not isinstance(p, np.ndarray)]
        if any(isinstance(v, bool) or not isinstance(v, int | float) for part in flat for v in part):
            return [v for part in parts for v in (part.tolist() if isinstance(part, np.ndarray) else part)]
        arrays = [p if isinstance(p, np.ndarray) else np.array(p) for p in parts]
        kind = np.int64 if all(a.dtype.kind == "i" for a in arrays) else np.float64
        return np.concatenate([a.astype(kind) for a in arrays])


Codes = dict[str, np.ndarray]
Block = tuple[int, Codes]  # some points: how many, and the code of each axis


def grid(
    axes: Sequence[Axis], zipped: Sequence[Sequence[Axis]], whens: Sequence[tuple[Rule, Sequence[Axis]]]
) -> Points:
    """Every value of each axis with every value of the others; zipped axes step together, conditional ones come where
    their rule holds. Raises InputError where there are too many points, or a range says no number of values.
    """
    tables = Tables()
    size = 1
    for n in (*(count(one) for one in axes), *(count(group[0]) for group in zipped)):
        size *= n
    refuse_many(size)
    blocks = [_axis_block(one, tables) for one in axes]
    blocks += [_zip_block(group, tables) for group in zipped]
    n, codes = _product(blocks)
    for rule, inner in whens:
        n, codes = _with_conditional(n, codes, rule, [_axis_block(one, tables) for one in inner], tables)
    return finished(n, codes, tables)


def finished(n: int, codes: Codes, tables: Tables) -> Points:
    """Points from their codes and tables."""
    return Points(n, tuple(Column(key, tables.table(key), c.astype(np.int32)) for key, c in codes.items()))


def refuse_many(n: int) -> None:
    """Raise InputError for more points than a study can have."""
    if n > POINTS_MAX:
        raise InputError(f"axes: {n:,} points; allowed: at most {POINTS_MAX:,}; a sampler draws fewer")


def count(one: Axis) -> int:
    """How many values an axis has in a grid, those of its options' own axes multiplied in."""
    total = 0
    for part in one.parts:
        if isinstance(part, Span):
            total += len_of(part, one.key)
        else:
            inner = 1
            for sub in part.axes:
                inner *= count(sub)
            total += inner
    return total


def len_of(span: Span, key: str) -> int:
    """How many values a span has in a grid; raises InputError where it does not say."""
    if not span.n:
        raise InputError(
            f"axes.{key}: {span.low:g}..{span.high:g} does not say how many values; "
            "allowed in a grid: 0..1 x 5 or 0..1 step 0.25"
        )
    return len(span.values()) if span.is_whole and not span.has_unit_step else span.n


def _axis_block(one: Axis, tables: Tables) -> Block:
    parts: list[Block] = []
    for part in one.parts:
        if isinstance(part, Span):
            len_of(part, one.key)
            values = part.values()
            start = tables.add(one.key, values)
            parts.append((len(values), {one.key: np.arange(start, start + len(values), dtype=np.int32)}))
        else:
            code = np.array([tables.add(one.key, [part.value])], dtype=np.int32)
            parts.append(_product([(1, {one.key: code}), *(_axis_block(sub, tables) for sub in part.axes)]))
    return _sum(parts)


def _zip_block(group: Sequence[Axis], tables: Tables) -> Block:
    blocks = [_axis_block(one, tables) for one in group]
    return blocks[0][0], {key: code for _, codes in blocks for key, code in codes.items()}


def _product(blocks: Sequence[Block]) -> Block:
    """Every point of each block with every point of the others; the last varies fastest."""
    size = 1
    for n, _ in blocks:
        size *= n
    refuse_many(size)
    codes: Codes = {}
    before = 1
    for n, own in blocks:
        after = size // (before * n) if n else 0
        for key, code in own.items():
            codes[key] = np.tile(np.repeat(code, after), before)
        before *= n
    return size, codes


def _sum(parts: Sequence[Block]) -> Block:
    """The points of all blocks one after the other; an axis that a block does not have is −1 there."""
    if len(parts) == 1:
        return parts[0]
    keys = dict.fromkeys(key for _, codes in parts for key in codes)
    codes = {
        key: np.concatenate([own.get(key, np.full(n, NEVER, dtype=np.int32)) for n, own in parts])
        for key in keys
    }
    return sum(n for n, _ in parts), codes


def _with_conditional(n: int, codes: Codes, rule: Rule, inner: Sequence[Block], tables: Tables) -> Block:
    """Points where a rule holds, with every point of some more axes; the others as they are."""
    columns, there = finished(n, codes, tables).arrays()
    holds = rule.holds(columns, there, n)
    m, own = _product(inner)
    times = np.where(holds, m, 1)
    refuse_many(int(times.sum()))
    which = np.repeat(np.arange(n), times)
    place = np.arange(len(which)) - np.repeat(np.cumsum(times) - times, times)
    new = {key: np.where(holds[which], code[place], NEVER) for key, code in own.items()}
    old = {key: code[which] for key, code in codes.items()}
    for key, code in new.items():
        new[key] = np.where(code == NEVER, old[key], code) if key in old else code
    return len(which), {**old, **new}


def as_word(value: Any) -> str:
    """A value as an override of the command line has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        if PLAIN_WORD.match(value) and value.lower() not in NO_WORDS:
            return value
        return '"' + BEFORE_QUOTE.sub(_doubled, value) + '"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {as_word(item)}" for key, item in value.items()) + "}"
    return "[" + ", ".join(as_word(item) for item in value) + "]"


def _doubled(match: re.Match[str]) -> str:
    return match[1] * 2 + ('\\"' if match[2] else "")


def leaves(axes: Sequence[Axis]) -> Iterator[Axis]:
    """Axes and, each before its own, those within their options: the dimensions that a sampler draws in."""
    for one in axes:
        yield one
        for part in one.parts:
            if isinstance(part, Value):
                yield from leaves(part.axes)
