"""What a key may hold, read off the dataclasses: for error messages and for `show`."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from sim.scenario.types import CLOCK_PATTERN

UNITS = {
    "_usd_per_hour": "USD/h",
    "usd_per_hour": "USD/h",
    "usd_per_gpu_hour": "USD/h per GPU",
    "usd_per_node_hour": "USD/h per node",
    "_usd_per_1m_tokens": "USD per million tokens",
    "_per_s": "1/s",
    "_gb_s": "GB/s",
    "_tflops": "TFLOP/s",
    "_gib": "GiB",
    "_gb": "GB",
    "_ms": "ms",
    "_us": "µs",
    "_us_per_layer": "µs per layer",
    "_rps": "requests/s",
    "_s": "s",
    "duration": "s",
    "gap": "s",
    "outage": "s",
    "lasts": "s",
    "_w": "W",
    "_per_kwh": "g/kWh",
    "_b": "1e9 parameters",
    "_tokens": "tokens",
    "model_len": "tokens",
    "token_threshold": "tokens",
    "block_size": "tokens",
    "_replicas": "replicas",
    "max_num_seqs": "sequences",
}


CLOCK_TEXT = 'a time of day in quotes, as "22:00"'


class Hint(NamedTuple):
    """One type a key may have, with the constraints around it."""

    type: Any
    constraints: tuple[Any, ...] = ()


def unit_of(key: str) -> str:
    """The unit that a key's name ends in, or an empty string."""
    ends = [suffix for suffix in UNITS if key.endswith(suffix)]
    return UNITS[max(ends, key=len)] if ends else ""


def variants(annotation: Any, constraints: tuple[Any, ...] = ()) -> list[Hint]:
    """The plain types behind Annotated and Union, each with the constraints that apply to it."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *extra = get_args(annotation)
        return variants(inner, (*constraints, *extra))
    if origin in (Union, types.UnionType):
        return [hint for member in get_args(annotation) for hint in variants(member, constraints)]
    return [Hint(annotation, constraints)]


def fields_of(owner: type) -> dict[str, list[Hint]]:
    """Every key of a pydantic dataclass and what it may hold."""
    infos = getattr(owner, "__pydantic_fields__", {})
    return {name: variants(info.annotation, tuple(info.metadata)) for name, info in infos.items()}


def default_of(owner: type, key: str) -> Any:
    """The default of a dataclass field, or dataclasses.MISSING."""
    entry = {f.name: f for f in dataclasses.fields(owner)}[key]
    return entry.default_factory() if callable(entry.default_factory) else entry.default


def is_description(hint: Hint) -> bool:
    """True when the hint is one of our dataclasses."""
    return hasattr(hint.type, "__pydantic_fields__")


def tags_of(owner: type) -> list[str]:
    """The kinds that one member of a union of dataclasses stands for."""
    hints = fields_of(owner).get("kind", [])
    return (
        [str(tag) for tag in get_args(hints[0].type)]
        if hints and get_origin(hints[0].type) is Literal
        else []
    )


def step_into(hints: list[Hint], part: str | int, value: Any) -> list[Hint]:
    """The hints one key or index deeper; `value` tells which member of a union is meant by its `kind`."""
    if isinstance(part, int):
        return [inner for hint in hints for inner in items_of(hint)]
    entries = [inner for hint in hints for inner in entries_of(hint)]
    if entries:
        return entries
    owners = [hint.type for hint in hints if is_description(hint)]
    kind = value.get("kind") if isinstance(value, dict) else None
    chosen = [owner for owner in owners if kind in tags_of(owner)] or owners
    return [hint for owner in chosen for hint in fields_of(owner).get(str(part), [])]


def items_of(hint: Hint) -> list[Hint]:
    """What the elements of a list may be."""
    if get_origin(hint.type) in (tuple, list):
        return variants(get_args(hint.type)[0])
    return []


def entries_of(hint: Hint) -> list[Hint]:
    """What the entries of a mapping from names may be."""
    return variants(get_args(hint.type)[1]) if get_origin(hint.type) is dict else []


def hints_at(owner: type, path: Sequence[str | int], value: Any) -> list[Hint]:
    """What may stand at `path` inside a mapping for `owner`; empty when there is no such key."""
    hints = [Hint(owner)]
    for part in path:
        hints = step_into(hints, part, value)
        value = child_of(value, part)
    return hints


def child_of(value: Any, part: str | int) -> Any:
    """The value one key or index deeper, or None."""
    if isinstance(value, dict):
        return value.get(part)
    if isinstance(value, (list, tuple)) and isinstance(part, int) and part < len(value):
        return value[part]
    return None


def names_of(hints: list[Hint]) -> list[str]:
    """The names a Literal allows, and the kinds a union of descriptions has."""
    named = [str(n) for hint in hints if get_origin(hint.type) is Literal for n in get_args(hint.type)]
    return named + [tag for hint in hints if is_description(hint) for tag in tags_of(hint.type)]


def allowed_text(hints: list[Hint], key: str) -> str:
    """In words, what the key may hold: `a number > 0, in s`."""
    unit = unit_of(key)
    words = [words_of(hint) for hint in hints]
    suffix = f", in {unit}" if unit and any("number" in word for word in words) else ""
    return " or ".join(dict.fromkeys(words)) + suffix or "nothing"


def words_of(hint: Hint) -> str:
    """One hint in words."""
    plain = {bool: "true or false", str: "text", type(None): "null"}
    if is_clock(hint.constraints):
        return CLOCK_TEXT
    if hint.type in plain:
        return plain[hint.type]
    if hint.type in (int, float):
        return ("a whole number" if hint.type is int else "a number") + range_text(hint.constraints)
    if get_origin(hint.type) is Literal:
        return ", ".join(str(name) for name in get_args(hint.type))
    if get_origin(hint.type) in (tuple, list):
        return "a list"
    if get_origin(hint.type) is dict:
        return "a mapping of names"
    tags = tags_of(hint.type) if is_description(hint) else []
    return f"a mapping of kind {', '.join(tags)}" if tags else "a mapping"


def is_clock(constraints: tuple[Any, ...]) -> bool:
    """Whether a text must be a time of day."""
    return any(getattr(c, "pattern", None) == CLOCK_PATTERN for c in constraints)


def range_text(constraints: tuple[Any, ...]) -> str:
    """The tightest bounds among the constraints: ` ≥ 0 and ≤ 1`."""
    lower = max(
        [(b, sign) for name, sign in (("ge", "≥"), ("gt", "≥>")) for b in bounds(constraints, name)],
        default=None,
    )
    upper = min(
        [(b, sign) for name, sign in (("lt", "<"), ("le", "≤")) for b in bounds(constraints, name)],
        default=None,
    )
    said = [f"{sign[-1]} {plain_number(bound)}" for bound, sign in filter(None, (lower, upper))]
    return " " + " and ".join(said) if said else ""


def plain_number(value: float) -> str:
    """A bound as people write it: 1e-06 and 1000000, not 1000000.0."""
    whole = isinstance(value, int) or (value.is_integer() and abs(value) < 1e9)
    return str(int(value)) if whole else f"{value:g}"


def bounds(constraints: tuple[Any, ...], name: str) -> list[Any]:
    """The values of one kind of bound, loosest first."""
    flat = [part for c in constraints for part in (c, *getattr(c, "metadata", ()))]
    found = {value for part in flat if (value := getattr(part, name, None)) is not None}
    return sorted(found, reverse=name in ("le", "lt"))
