"""A scenario file: which options it chooses, and what it says itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from sim.errors import InputError
from sim.scenario.catalogue import (
    GROUPS,
    is_file,
    option_files,
    scenario_file,
    unknown_group,
    unknown_option,
)
from sim.scenario.inherit import CLASS_GROUPS, POOL_GROUPS, merge
from sim.scenario.yaml_file import read_yaml

BASES_MAX = 8
ENTRY = re.compile(r"^(?:override\s+)?/(?P<group>[A-Za-z_]+)(?:@(?P<package>[A-Za-z0-9_.\-]+))?$")
HOW = "`- override /gpu: l4`, `- /gpu@pools.code.gpu: l4`, or `- other_scenario`"


class Choice(NamedTuple):
    """One entry of a defaults list: an option for everybody, or at one place (`package`)."""

    group: str
    package: str | None

    @property
    def key(self) -> str:
        """As it is written in an override: `gpu`, `gpu@pools.code.gpu`."""
        return self.group if self.package is None else f"{self.group}@{self.package}"


class Story(NamedTuple):
    """A scenario file together with those it builds on."""

    choices: dict[Choice, str]
    body: dict[str, Any]


def read_story(name_or_path: str) -> Story:
    """The story of that name; raises InputError with every mistake in its file."""
    story = told(name_or_path, ())
    path = scenario_file(name_or_path)
    story.body.setdefault("name", re.sub(r"[^A-Za-z0-9_\-]+", "_", path.stem).strip("_-")[:64] or "scenario")
    return story


def told(name_or_path: str, above: tuple[str, ...]) -> Story:
    """The story over the one it builds on, if any; `above` are the files that led here."""
    path = scenario_file(name_or_path)
    here = str(path.resolve())
    if here in above or len(above) >= BASES_MAX:
        raise InputError(f"{path}: builds on itself, or on more than {BASES_MAX} others")
    body = read_yaml(path, packages=("_global_",))
    bases, choices = read_defaults(body.pop("defaults", None) or [], str(path))
    refuse_code(body, str(path))
    story = Story(choices, body)
    for base in reversed(bases):
        under = told(base, (*above, here))
        chosen = {choice.group for choice in choices if choice.package is None}
        unnamed = {
            key: value
            for key, value in under.body.items()
            if key != "name" and not (key in chosen and isinstance(value, list))
        }
        story = Story({**under.choices, **story.choices}, merge(unnamed, story.body))
    return story


def read_defaults(entries: Any, shown: str) -> tuple[list[str], dict[Choice, str]]:
    """The scenarios it builds on and the options it chooses; raises InputError with every mistake."""
    if not isinstance(entries, list):
        raise InputError(f"{shown}: defaults: must be a list of entries as {HOW}")
    bases: list[str] = []
    choices: dict[Choice, str] = {}
    problems: list[str] = []
    for entry in entries:
        if entry == "_self_":
            continue
        if isinstance(entry, str):
            bases.append(entry)
            continue
        try:
            choice, option = read_choice(entry)
            choices[choice] = option
        except InputError as error:
            problems += [f"{shown}: defaults: {line}" for line in error.problems]
    if problems:
        raise InputError(problems)
    return bases, choices


def read_choice(entry: Any) -> tuple[Choice, str]:
    """`override /gpu: l4` as a choice and its option."""
    if not isinstance(entry, dict) or len(entry) != 1:
        raise InputError(f"{entry!r} is not an entry; write {HOW}")
    ((key, option),) = entry.items()
    match = ENTRY.match(key)
    if match is None:
        raise InputError(f"{key!r} is not an entry; write {HOW}")
    choice = Choice(match["group"], match["package"])
    check_choice(choice, option)
    return choice, option


def check_choice(choice: Choice, option: Any) -> None:
    """Raise InputError unless the group, the place and the option exist."""
    if choice.group not in GROUPS:
        raise InputError(unknown_group(choice.group))
    is_placed = choice.package is not None or choice.group == "station"
    if is_placed and not may_stand_at(choice.group, choice.package or ""):
        raise InputError(f"{choice.key}: {places_of(choice.group)}")
    if isinstance(option, str) and is_file(option):
        if not Path(option).is_file():
            raise InputError(f"{choice.key}: there is no file {option}")
    elif not isinstance(option, str) or option not in option_files(choice.group):
        raise InputError(unknown_option(choice.group, str(option), choice.key))


def may_stand_at(group: str, package: str) -> bool:
    """True for `gpu` at `pools.code.gpu`, `pool` at `pools.code`, `traffic` at `classes.code`."""
    parts = package.split(".")
    if group == "traffic":
        return len(parts) == 2 and parts[0] == "classes"
    if group == "pool":
        return len(parts) == 2 and parts[0] == "pools"
    if group == "station":
        return len(parts) == 3 and parts[:2] == ["gateway", "stations"]
    of = "pools" if group in POOL_GROUPS else "classes" if group in CLASS_GROUPS else ""
    return len(parts) == 3 and parts[0] == of and parts[2] == group


def places_of(group: str) -> str:
    """In words, where an option of the group may be put."""
    if group == "traffic":
        return "traffic can be chosen for one class, as traffic@classes.NAME"
    if group == "pool":
        return "pool can be chosen for one pool, as pool@pools.NAME"
    if group == "station":
        return "station is an option of one station, as station@gateway.stations.NAME"
    if group in POOL_GROUPS:
        return f"{group} can be chosen for one pool, as {group}@pools.NAME.{group}"
    if group in CLASS_GROUPS:
        return f"{group} can be chosen for one class, as {group}@classes.NAME.{group}"
    return f"{group} holds for the whole scenario: write {group}=…"


def refuse_code(body: Any, shown: str) -> None:
    """Raise InputError for keys that name code or set up hydra: a file is data."""
    if isinstance(body, dict) and "hydra" in body:
        raise InputError(f"{shown}: hydra: no such key")
    if names_code(body):
        raise InputError(
            f"{shown}: law: code is named on the command line alone: autoscaler.law=file.py:function or cluster.law=…"
        )


def names_code(body: Any) -> bool:
    """Whether some key `law`, at any depth, has a value."""
    if isinstance(body, dict):
        return body.get("law") is not None or any(map(names_code, body.values()))
    return isinstance(body, list) and any(map(names_code, body))
