"""pydantic's errors as our own lines: full key path, value, what is allowed, nearest valid name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from sim.errors import nearest, problem
from sim.scenario.catalogue import GROUPS, option_files
from sim.scenario.fields import (
    CLOCK_TEXT,
    allowed_text,
    child_of,
    fields_of,
    hints_at,
    is_description,
    names_of,
)
from sim.scenario.types import CLOCK_PATTERN

Path = tuple[str | int, ...]
UNKNOWN_KEY = ("unexpected_keyword_argument", "extra_forbidden")
KEYS_SHOWN = 40


def key_text(path: Sequence[str | int]) -> str:
    """`('traffic', 'spikes', 0, 'at_s')` as `traffic.spikes[0].at_s`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def data_path(data: Any, loc: Sequence[str | int]) -> Path:
    """pydantic's location without the union tags it puts between the keys."""
    path: list[str | int] = []
    for part in loc:
        is_tag = isinstance(data, dict) and part not in data and data.get("kind") == part
        is_type = isinstance(part, str) and (
            "[" in part or part in ("float", "int", "str", "bool", "constrained-str")
        )
        if is_tag or is_type:
            continue
        path.append(part)
        data = child_of(data, part)
    return tuple(path)


def unknown_key_line(owner: type, path: Path, data: Any, shown: str) -> str:
    """A key that does not exist: the keys that do, and the nearest."""
    parent = data
    for part in path[:-1]:
        parent = child_of(parent, part)
    kind = parent.get("kind") if isinstance(parent, Mapping) else None
    hints = [hint for hint in hints_at(owner, path[:-1], data) if is_description(hint)]
    same = [hint for hint in hints if "kind" in names_kind(hint.type, kind)] or hints
    keys = list(dict.fromkeys(key for hint in same for key in fields_of(hint.type)))
    return not_a_key(shown, keys)


def names_kind(owner: type, kind: Any) -> list[str]:
    """`["kind"]` when the description is of that kind."""
    hints = fields_of(owner).get("kind", [])
    return ["kind"] if hints and kind in names_of(hints) else []


def not_a_key(shown: str, keys: Sequence[str]) -> str:
    """The line for an unknown key called `shown`."""
    name = shown.rsplit(".", 1)[-1]
    close = nearest(name, keys)
    hint = f"; did you mean {close!r}?" if close else ""
    return f"{shown}: no such key; allowed: {', '.join(keys[:KEYS_SHOWN])}{hint}"


def short(value: Any) -> Any:
    """The value, cut when its text would fill the line."""
    text = repr(value)
    return value if len(text) <= 80 else Cut(text[:77] + "...")


class Cut(str):
    """A text that is shown without quotes."""

    def __repr__(self) -> str:
        return str(self)


def error_line(owner: type, error: Mapping[str, Any], data: Any, shown: str, path: Path) -> str:
    """One pydantic error as one line."""
    if error["type"] in UNKNOWN_KEY:
        return unknown_key_line(owner, path, data, shown)
    hints = hints_at(owner, path, data)
    key = next((str(part) for part in reversed(path) if isinstance(part, str)), "")
    if error["type"] in ("missing", "missing_argument"):
        return f"{shown}: is missing; needed: {allowed_text(hints, key)}"
    if error["type"] == "value_error":
        return f"{shown}: {error['msg'].removeprefix('Value error, ')}"
    if error["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return kind_line(error, shown, names_of(hints))
    if error["type"] in (
        "string_pattern_mismatch",
        "string_too_long",
        "string_too_short",
        "too_long",
        "too_short",
    ):
        return problem(shown, short(error["input"]), pattern_text(error))
    names = names_of(hints)
    close = nearest(error["input"], names) if names and isinstance(error["input"], str) else None
    allowed = allowed_text(hints, key) + option_text(shown, error["input"])
    if error["type"] == "finite_number":
        allowed = allowed.replace("a number", "a finite number")
    return problem(shown, short(error["input"]), allowed, close)


def option_text(shown: str, value: Any) -> str:
    """Where the name of an option was given as if it were the value: how an option is chosen."""
    parts = shown.split(".")
    group = "station" if parts[:2] == ["gateway", "stations"] and len(parts) == 3 else parts[-1]
    if group not in GROUPS or not isinstance(value, str) or value not in option_files(group):
        return ""
    placed = group == "station" or (parts[0] in ("pools", "classes") and len(parts) == 3)
    return (
        f"; an option is chosen as {group}@{shown}={value}"
        if placed
        else f"; an option is chosen as {group}={value}"
    )


def kind_line(error: Mapping[str, Any], shown: str, kinds: list[str]) -> str:
    """A union whose `kind` is wrong or not said."""
    value = error["input"].get("kind") if isinstance(error["input"], dict) else error["input"]
    if value is None:
        return f"{shown}.kind: is missing; allowed: {', '.join(kinds)}"
    named = isinstance(error["input"], dict)
    close = nearest(value, kinds) if isinstance(value, str) else None
    allowed = ", ".join(kinds) if named else f"a mapping with a kind: {', '.join(kinds)}"
    return problem(f"{shown}.kind" if named else shown, short(value), allowed, close)


def pattern_text(error: Mapping[str, Any]) -> str:
    """What a text or a list must look like, in words."""
    context = error.get("ctx", {})
    if error["type"] == "string_pattern_mismatch":
        if context["pattern"] == CLOCK_PATTERN:
            return CLOCK_TEXT
        is_law = ".py:" in context["pattern"].replace("\\", "")
        return "file.py:function" if is_law else "letters, digits, _ and -"
    if error["type"] == "string_too_short":
        return f"text of at least {context.get('min_length')} characters".replace(
            " 1 characters", " one character"
        )
    if error["type"] == "too_short":
        return f"at least {context.get('min_length')} entries"
    return f"at most {context.get('max_length')} {'characters' if 'string' in error['type'] else 'entries'}"


def error_lines(owner: type, error: ValidationError, data: Any, shown_path: Any) -> list[str]:
    """Every problem once; `shown_path` turns a path inside `data` into the one the user wrote."""
    lines = []
    for detail in error.errors(include_url=False):
        path = data_path(data, detail["loc"])
        shown = key_text(shown_path(path, detail["type"]))
        lines.append(error_line(owner, detail, data, shown, path))
    return list(dict.fromkeys(lines))
