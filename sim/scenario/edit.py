"""One override at a time laid over plain data, by the same rules as everything else inherits."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sim.errors import InputError
from sim.scenario.inherit import CLASS_GROUPS, POOL_GROUPS, merge


class Edit(NamedTuple):
    """What one override says: `traffic.spikes.0.height=3`, or `~slo` to take a key away."""

    text: str
    path: tuple[str, ...]
    value: Any = None
    is_delete: bool = False


def edited(data: dict[str, Any], edits: Iterable[Edit]) -> dict[str, Any]:
    """A copy of the data with every edit done in turn; raises InputError naming each that cannot be."""
    data = copy.deepcopy(data)
    problems: list[str] = []
    for edit in edits:
        try:
            apply(data, edit)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return data


def apply(data: dict[str, Any], edit: Edit) -> None:
    """Do one edit in place; raises InputError when its place does not exist."""
    spot: Any = data
    for depth in range(len(edit.path) - 1):
        spot = opened(data, spot, edit, depth)
    last = edit.path[-1]
    if isinstance(spot, list):
        spot[index_of(spot, edit, len(edit.path) - 1)] = edit.value
    elif not isinstance(spot, dict):
        raise InputError(f"{edit.text}: {'.'.join(edit.path[:-1])} is {spot!r}, which has no keys")
    elif not edit.is_delete:
        spot[last] = merge(spot.get(last), edit.value)
    elif spot.pop(last, edit) is edit:
        raise InputError(f"{edit.text}: there is nothing to take away")


def opened(data: dict[str, Any], spot: Any, edit: Edit, depth: int) -> Any:
    """One level deeper; a level that is not there yet is made, a list that is inherited is copied."""
    part = edit.path[depth]
    if isinstance(spot, list):
        return spot[index_of(spot, edit, depth)]
    if not isinstance(spot, dict):
        raise InputError(f"{edit.text}: {'.'.join(edit.path[:depth])} is {spot!r}, which has no keys")
    if spot.get(part) is None:
        above = inherited(data, edit.path[: depth + 1])
        spot[part] = copy.deepcopy(above) if isinstance(above, list) else {}
    return spot[part]


def index_of(items: list[Any], edit: Edit, depth: int) -> int:
    """The place in a list that the edit means; raises InputError when there is none."""
    part = edit.path[depth]
    if part.isdigit() and int(part) < len(items) and not edit.is_delete:
        return int(part)
    here = ".".join(edit.path[:depth])
    raise InputError(f"{edit.text}: cannot be set: {here} is a list of {len(items)}, counted from 0")


def inherited(data: dict[str, Any], path: Sequence[str]) -> Any:
    """What the top level has for a pool's or a class's key, or None."""
    group, _, *rest = [*path, "", ""]
    rest = [part for part in rest if part]
    if group not in ("pools", "classes") or not rest:
        return None
    at_top = CLASS_GROUPS if group == "classes" else POOL_GROUPS
    top = [] if rest[0] in at_top else ["traffic" if group == "classes" else "pool"]
    value: Any = data
    for part in [*top, *rest]:
        value = value.get(part) if isinstance(value, dict) else None
    return value
