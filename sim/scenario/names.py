"""Names on the command line that a scenario does not have: a misspelt class would be a new one, or rename the only one.

A class, a pool or a tenant of a scenario that has some is written whole (`classes.vip={share: 0.1}`,
`traffic@classes.vip=chat`) or not at all. Where a scenario has one class, overrides may name several of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from sim.errors import nearest
from sim.scenario.edit import Edit
from sim.scenario.story import Choice, Story

SECTIONS = {"classes": "class", "pools": "pool", "tenants": "tenant"}
WHOLE = {"classes": "traffic", "pools": "pool"}  # the group whose option is one of them
LIKE = 0.75  # how much alike two names are of which one may be meant


def name_problems(
    story: Story, choices: Mapping[Choice, str], edits: Collection[Edit], data: Mapping[str, Any]
) -> Iterator[str]:
    """A line for each override of something that nobody has described; `data` is the scenario without the edits."""
    for section, what in SECTIONS.items():
        whole = described(section, choices, edits)
        there = [*_names(story.body.get(section)), *_placed(section, story.choices)]
        parts = dict(_parts(section, choices, edits))
        if there:
            wrong = [name for name in parts if name not in there and name not in whole]
        elif section == "classes":
            there = [name_of_all(data, edits)]
            alone = len({*parts, *whole}) == 1
            wrong = [
                name for name in parts if name not in {*there, *whole} and (alone or is_like(name, there))
            ]
        else:
            continue
        for name in wrong:
            yield _line(section, what, name, parts[name], list(dict.fromkeys([*there, *whole])))


def described(section: str, choices: Mapping[Choice, str], edits: Iterable[Edit]) -> list[str]:
    """The names that overrides describe whole: by a mapping, or by an option of their own."""
    found = [
        parts[1]
        for choice in choices
        if choice.group == WHOLE.get(section)
        and len(parts := (choice.package or "").split(".")) == 2
        and parts[0] == section
    ]
    for edit in edits:
        if edit.path == (section,) and not edit.is_delete:
            found += _names(edit.value)
        elif len(edit.path) == 2 and edit.path[0] == section:
            found.append(edit.path[1])
    return found


def name_of_all(data: Mapping[str, Any], edits: Iterable[Edit]) -> str:
    """What the one class of a scenario is called that has no `classes`."""
    traffic = data.get("traffic")
    name = traffic.get("name") if isinstance(traffic, Mapping) else None
    said = [edit.value for edit in edits if edit.path == ("traffic", "name")]
    return str([name, *said][-1] or "default")


def is_like(name: str, names: Iterable[str]) -> bool:
    """Whether a name is nearly one of these."""
    return nearest(name, names, LIKE) is not None


def _parts(section: str, choices: Mapping[Choice, str], edits: Iterable[Edit]) -> Iterator[tuple[str, str]]:
    """(name, the override) of what overrides say about a part of one."""
    for choice in choices:
        parts = (choice.package or "").split(".")
        if len(parts) > 2 and parts[0] == section:
            yield parts[1], choice.key
    for edit in edits:
        if len(edit.path) > 2 and edit.path[0] == section:
            yield edit.path[1], ".".join(edit.path)


def _placed(section: str, choices: Mapping[Choice, str]) -> Iterator[str]:
    for choice in choices:
        parts = (choice.package or "").split(".")
        if len(parts) > 1 and parts[0] == section:
            yield parts[1]


def _names(value: Any) -> list[str]:
    return [str(name) for name in value] if isinstance(value, Mapping) else []


def _line(section: str, what: str, name: str, key: str, there: list[str]) -> str:
    close = nearest(name, there)
    hint = f"; did you mean {close!r}?" if close else ""
    return (
        f"{key}: there is no {what} {name!r}; allowed: {', '.join(dict.fromkeys(there))}{hint}"
        f" (a new one is described whole, as '{section}.{name}={{…}}')"
    )
