"""What a study varies: `1,2,4`, `1..64`, `log 1..100 x 7`, `hpa{target: 4,8,16},queue`, from text or from YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.errors import InputError, problem
from sim.scenario.catalogue import GROUPS
from sim.scenario.yaml_file import parse_yaml

NUMBER = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
RANGE = re.compile(
    rf"^(?P<whole>whole\s+)?(?P<log>log\s+)?(?P<low>{NUMBER})\s*\.\.\s*(?P<high>{NUMBER})"
    rf"(?:\s+x\s+(?P<n>\d{{1,9}})|\s+step\s+(?P<step>{NUMBER}))?$"
)
LIKE_A_RANGE = re.compile(r"^(?:(?:whole|log)\s|[-+.\d][^,]*\.\.)")
OPTION = re.compile(r"^(?P<name>[A-Za-z0-9_./:-]+)\s*\{(?P<body>.*)\}$", re.DOTALL)
NEXT_AXIS = re.compile(r"^\s*/?[A-Za-z_][\w.@\[\]-]*\s*:")
HOW = "values as 1,2,4; a range as 1..64, 0..1 x 5, 0..10 step 2.5 or log 1..100 x 7; options as hpa{target: 4,8},queue"
VALUES_MAX = 10_000_000
TEXT_MAX = 20_000
DEPTH_MAX = 6
NEAR_WHOLE = 1e-9


@dataclass(frozen=True)
class Span:
    """Evenly spaced numbers from `low` to `high`, both included; of `n` 0 only a sampler can draw."""

    low: float
    high: float
    n: int
    is_log: bool = False
    is_whole: bool = False

    def values(self) -> np.ndarray:
        """Its numbers in order, (n,): int64 where every one of them is whole, else float64."""
        if self.has_unit_step:
            return np.arange(int(self.low), int(self.high) + 1)
        if self.n == 1:
            found = np.array([self.low])
        elif self.is_log:
            found = np.geomspace(self.low, self.high, self.n)
        else:
            found = np.linspace(self.low, self.high, self.n)
        return self._as_said(found)

    def at(self, u: np.ndarray) -> np.ndarray:
        """The number at each share of the way, 0 ≤ u < 1; of whole numbers each has the same share."""
        if self.is_whole and not self.is_log:
            if self.n and not self.has_unit_step:
                return self.values()[(u * self.n).astype(np.int64)]
            return np.floor(self.low + u * (self.high - self.low + 1)).astype(np.int64)
        if self.is_log:
            low, high = np.log(self.low), np.log(self.high)
            return self._as_said(np.clip(np.exp(low + u * (high - low)), self.low, self.high), drawn=True)
        return self.low + u * (self.high - self.low)

    @property
    def has_unit_step(self) -> bool:
        """Whether it holds every whole number from one end to the other."""
        return self.is_whole and not self.is_log and self.n == int(self.high - self.low) + 1

    def _as_said(self, found: np.ndarray, drawn: bool = False) -> np.ndarray:
        near = np.round(found)
        if self.is_whole:
            return near.astype(np.int64) if drawn else np.unique(near.astype(np.int64))
        if not drawn and np.all(np.abs(found - near) <= NEAR_WHOLE * np.maximum(1.0, np.abs(near))):
            return near.astype(np.int64)
        return found


@dataclass(frozen=True)
class Value:
    """One value, and the axes that only it has: those of an option."""

    value: Any
    axes: tuple[Axis, ...] = ()


@dataclass(frozen=True)
class Axis:
    """A key and what it takes: values and spans, in the order they were given."""

    key: str
    parts: tuple[Value | Span, ...]

    @property
    def span(self) -> Span | None:
        """The span that is all there is of it: what a sampler draws numbers from."""
        only = self.parts[0] if len(self.parts) == 1 else None
        return only if isinstance(only, Span) else None


def axis(key: str, said: Any, place: str = "axes", depth: int = 0) -> Axis:
    """An axis from YAML or from text; raises InputError with one line that names `place.key`."""
    shown = f"{place}.{key}" if place else key
    if depth > DEPTH_MAX:
        raise InputError(f"{shown}: at most {DEPTH_MAX} levels of options within options are allowed")
    parts = tuple(_parts(key, said, shown, depth))
    if not parts:
        raise InputError(problem(shown, said, HOW))
    _refuse_twice(shown, parts)
    return Axis(key, parts)


def _parts(key: str, said: Any, shown: str, depth: int) -> Iterator[Value | Span]:
    if isinstance(said, str):
        for item in split(said, shown):
            yield _item(key, item, shown, depth)
    elif isinstance(said, Mapping):
        for name, axes in said.items():
            yield Value(name, _inner(key, str(name), axes or {}, shown, depth))
    elif isinstance(said, Sequence):
        for item in said:
            is_text = isinstance(item, str) and (OPTION.match(item) or RANGE.match(item))
            yield _item(key, str(item), shown, depth) if is_text else Value(item)
    else:
        yield Value(said)


def _item(key: str, text: str, shown: str, depth: int) -> Value | Span:
    if RANGE.match(text):
        return span_of(text, shown)
    option = OPTION.match(text)
    if option:
        axes = dict(_inner_pairs(option["body"], shown))
        return Value(option["name"], _inner(key, option["name"], axes, shown, depth))
    if LIKE_A_RANGE.match(text):
        raise InputError(problem(shown, text, HOW))
    return Value(scalar(text, shown))


def _inner(key: str, option: str, axes: Any, shown: str, depth: int) -> tuple[Axis, ...]:
    """The axes within an option: their keys are the option's own, or with a / in front anybody's."""
    if not isinstance(axes, Mapping):
        raise InputError(problem(f"{shown}.{option}", axes, "a mapping of its own keys, as {target: [4, 8]}"))
    group, _, place = key.partition("@")
    if group not in GROUPS:
        raise InputError(
            f"{shown}: {option}{{…}} is not valid; allowed: axes of their own for options of a group: {', '.join(GROUPS)}"
        )
    root = place or group
    return tuple(
        axis(str(k).removeprefix("/") if str(k).startswith("/") else f"{root}.{k}", v, "", depth + 1)
        for k, v in axes.items()
    )


def _inner_pairs(body: str, shown: str) -> Iterator[tuple[str, str]]:
    """`target: 4,8; tolerance: 0.1` as pairs; a comma before `key:` ends an axis as well as a semicolon."""
    axes: list[list[str]] = []
    for stretch in split(body, shown, ";"):
        for i, piece in enumerate(split(stretch, shown)):
            if i == 0 or NEXT_AXIS.match(piece):
                axes.append([piece])
            else:
                axes[-1].append(piece)
    for pieces in axes:
        name, colon, first = pieces[0].partition(":")
        if not colon or not name.strip():
            raise InputError(problem(shown, f"{{{body}}}", "axes as {target: 4,8; tolerance: 0.1,0.2}"))
        yield name.strip(), ",".join([first.strip(), *pieces[1:]])


def split(text: str, shown: str, mark: str = ",") -> list[str]:
    """The items between commas that stand in no bracket and no quotes; raises InputError for an empty one."""
    if len(text) > TEXT_MAX:
        raise InputError(f"{shown}: a text of {len(text)} characters; allowed: at most {TEXT_MAX}")
    items, depth, quote, begin = [], 0, "", 0
    for i, c in enumerate(text):
        if quote:
            quote = "" if c == quote else quote
        elif c in "\"'":
            quote = c
        elif c in "[{(":
            depth += 1
        elif c in "]})":
            depth -= 1
        elif c == mark and depth == 0:
            items.append(text[begin:i].strip())
            begin = i + 1
        if depth < 0:
            break
    items.append(text[begin:].strip())
    if depth or quote:
        raise InputError(problem(shown, text, "brackets and quotes that are closed"))
    if not all(items):
        raise InputError(problem(shown, text, f"no empty value; {HOW}"))
    return items


def scalar(text: str, shown: str) -> Any:
    """One value as a scenario file would read it; raises InputError."""
    try:
        return parse_yaml(f"value: {text}", shown)["value"]
    except InputError as error:
        why = error.problems[0].removeprefix(f"{shown}:1: ").removeprefix("value: ")
        raise InputError(f"{shown}: {text!r}: {why}") from None


def span_of(text: str, shown: str) -> Span:
    """`log 1..100 x 7` as a span; raises InputError."""
    match = RANGE.match(text.strip())
    if match is None:
        raise InputError(problem(shown, text, HOW))
    low, high = float(match["low"]), float(match["high"])
    whole = all(re.fullmatch(r"[-+]?\d+", match[end]) for end in ("low", "high"))
    is_log, is_whole = bool(match["log"]), bool(match["whole"])
    if not (np.isfinite(low) and np.isfinite(high)) or low > high:
        raise InputError(problem(shown, text, "a range whose first number is at most its last"))
    if is_log and low <= 0:
        raise InputError(problem(shown, text, "a log range above 0"))
    n = int(match["n"]) if match["n"] else 0
    if match["n"] and n < 1:
        raise InputError(problem(shown, text, "at least one number"))
    if n > 1 and low == high:
        raise InputError(problem(shown, text, "one number between equal ends"))
    if match["step"]:
        if is_log:
            raise InputError(problem(shown, text, "a log range with a number of values, as log 1..100 x 7"))
        return _stepped(low, high, float(match["step"]), shown, text)
    if whole and not is_log and not n:
        n, is_whole = int(high) - int(low) + 1, True
    if n > VALUES_MAX:
        raise InputError(problem(shown, text, f"at most {VALUES_MAX} values"))
    if low == high and not n:
        n = 1
    return Span(low, high, n, is_log, is_whole)


def _stepped(low: float, high: float, step: float, shown: str, text: str) -> Span:
    if step <= 0:
        raise InputError(problem(shown, text, "a step above 0"))
    share = (high - low) / step
    if share > VALUES_MAX:
        raise InputError(problem(shown, text, f"at most {VALUES_MAX} values"))
    n = int(np.floor(share * (1 + 1e-12) + 1e-9)) + 1
    whole = all(float(x).is_integer() for x in (low, step))
    return Span(low, low + (n - 1) * step, n, is_whole=whole)


def _refuse_twice(shown: str, parts: tuple[Value | Span, ...]) -> None:
    seen: set[str] = set()
    for part in parts:
        if isinstance(part, Value):
            text = repr(part.value)
            if text in seen:
                raise InputError(f"{shown}: names {part.value!r} twice; allowed: once")
            seen.add(text)
    if len(parts) > 1 and any(isinstance(part, Span) for part in parts):
        values, times = np.unique(np.concatenate([_numbers(part) for part in parts]), return_counts=True)
        if times.max(initial=1) > 1:
            raise InputError(f"{shown}: names {values[times > 1][0]:g} twice; allowed: once")


def _numbers(part: Value | Span) -> np.ndarray:
    if isinstance(part, Span):
        return part.values().astype(float) if part.n else np.empty(0)
    is_number = isinstance(part.value, int | float) and not isinstance(part.value, bool)
    return np.array([part.value], dtype=float) if is_number else np.empty(0)


def keys_of(axes: Sequence[Axis]) -> Iterator[str]:
    """Every key that axes and the axes within their options have."""
    for one in axes:
        yield one.key
        for part in one.parts:
            if isinstance(part, Value):
                yield from keys_of(part.axes)
