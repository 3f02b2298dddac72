"""Plain data in, a resolved Scenario out, or every mistake at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from sim.errors import InputError, printable, problem
from sim.scenario.check import problems_between, unreadable
from sim.scenario.faults import with_kinds
from sim.scenario.fields import child_of
from sim.scenario.inherit import (
    CLASS_GROUPS,
    POOL_GROUPS,
    merged_classes,
    merged_pools,
    merged_tenants,
    models_of,
    with_model_name,
)
from sim.scenario.node_options import option_problems, with_shared_site
from sim.scenario.problems import Path, error_lines, key_text, not_a_key
from sim.scenario.scenario import Scenario
from sim.scenario.types import KEY_PATTERN

OWN_KEYS = tuple(Scenario.__dataclass_fields__)
TOP_LEVEL = tuple(dict.fromkeys((*OWN_KEYS, "traffic", "pool", *POOL_GROUPS, *CLASS_GROUPS)))
KEY_MAX = 64  # characters, as of every Key
NAME_TEXT = f"a name of 1 to {KEY_MAX} letters, digits, _ and -"
NAMED = ("pools", "classes", "tenants")
MAPPINGS = (*NAMED, "pool", "traffic", "cluster", *POOL_GROUPS, *CLASS_GROUPS)


def from_dict(raw: Mapping[str, Any]) -> Scenario:
    """The scenario that `raw` describes; raises InputError with one line for every mistake."""
    if problems := shape_problems(raw):
        raise InputError(map(printable, problems))
    unknown = [not_a_key(str(key), TOP_LEVEL) for key in raw if key not in TOP_LEVEL]
    pools = merged_pools(raw)
    classes = {name: with_model_name(spec, models_of(pools)) for name, spec in merged_classes(raw).items()}
    data = {key: value for key, value in with_shared_site(raw).items() if key in OWN_KEYS}
    if "faults" in data:
        data["faults"] = with_kinds(data["faults"])
    named = {"pools": pools, "classes": classes, "tenants": merged_tenants(raw)}
    data |= {group: list(entries.values()) for group, entries in named.items()}
    scenario, problems = validated(
        data, shower(raw, {group: list(entries) for group, entries in named.items()})
    )
    if scenario is not None:
        problems = problems_between(scenario, Said(raw))
    elif isinstance(raw.get("slo"), list):
        problems += unreadable([text for text in raw["slo"] if isinstance(text, str)], list(classes))
    if unknown or problems or scenario is None:
        raise InputError(map(printable, unknown + problems))
    return scenario


def validated(data: dict[str, Any], shown: Callable[[Path, str], Path]) -> tuple[Scenario | None, list[str]]:
    """The scenario, or the lines that say why not."""
    try:
        return TypeAdapter(Scenario).validate_python(data), []
    except ValidationError as error:
        return None, error_lines(Scenario, error, data, shown)


def shape_problems(raw: Mapping[str, Any]) -> list[str]:
    """Groups, pools and classes that are not mappings, or have names that cannot stand in a key path."""
    lines = []
    for key in MAPPINGS:
        if raw.get(key) is not None and not isinstance(raw[key], Mapping):
            lines.append(f"{key}: {raw[key]!r} is not a mapping of keys and values")
    for group in NAMED:
        entries = raw.get(group)
        for name, entry in entries.items() if isinstance(entries, Mapping) else ():
            if entry is not None and not isinstance(entry, Mapping):
                lines.append(f"{group}.{name}: {entry!r} is not a mapping of keys and values")
            if not isinstance(name, str) or not re.fullmatch(KEY_PATTERN, name) or len(name) > KEY_MAX:
                lines.append(problem(f"{group}.{name}", name, NAME_TEXT))
            own = entry.get("name", name) if isinstance(entry, Mapping) else name
            if own != name and group != "classes":  # of a class it is the preset's
                lines.append(problem(f"{group}.{name}.name", own, f"{name}, as its key says, or no name"))
    return [*lines, *name_problems(raw), *option_problems(raw)]


def name_problems(raw: Mapping[str, Any]) -> list[str]:
    """What all pools share has no name, and what all classes share one that is text, of the only class."""
    pool, traffic = raw.get("pool"), raw.get("traffic")
    lines = []
    if isinstance(pool, Mapping) and pool.get("name") is not None:
        lines.append(
            problem("pool.name", pool["name"], "no name here; a pool is called by its key in `pools`")
        )
    name = traffic.get("name") if isinstance(traffic, Mapping) else None
    if name is not None and not (
        isinstance(name, str) and re.fullmatch(KEY_PATTERN, name) and len(name) <= KEY_MAX
    ):
        lines.append(problem("traffic.name", name, NAME_TEXT))
    return lines


def has_path(data: Any, path: Path) -> bool:
    """True when every key of `path` is there, the last one included."""
    for part in path:
        is_key = isinstance(data, Mapping) and part in data
        is_index = isinstance(data, (list, tuple)) and isinstance(part, int) and part < len(data)
        if not (is_key or is_index):
            return False
        data = data[part]
    return True


def where_said(raw: Mapping[str, Any], group: str, name: str, rest: Path) -> Path:
    """The path under which the user said (or should say) what pool or class `name` has at `rest`."""
    own: Path = (group, name, *rest)
    shared = shared_paths(group, rest)
    for path in (own, *shared):
        if has_path(raw, path):
            return path
    for path in (own, *shared):
        if len(rest) > 1 and has_path(raw, path[:-1]):
            return path
    return own if raw.get(group) else shared[0]


def shared_paths(group: str, rest: Path) -> list[Path]:
    """Where the top level says it for every pool, or for every class; tenants share nothing."""
    if group == "tenants":
        return []
    if group == "classes":
        return [("traffic", *rest), *([rest] if rest and rest[0] in CLASS_GROUPS else [])]
    return [rest if rest and rest[0] in POOL_GROUPS else ("pool", *rest)]


def shower(raw: Mapping[str, Any], names: Mapping[str, list[str]]) -> Callable[[Path, str], Path]:
    """A function from a path in the merged data to the path in `raw`; `names` are those of pools, classes, tenants."""

    def shown(path: Path, _kind: str) -> Path:
        if len(path) >= 2 and path[0] in names and isinstance(path[1], int):
            return where_said(raw, str(path[0]), names[str(path[0])][path[1]], path[2:])
        return path

    return shown


class Said(NamedTuple):
    """What the user wrote, for the rules between fields."""

    raw: Mapping[str, Any]

    def key(self, pool: str, *keys: str | int) -> str:
        """The key text under which the pool has it."""
        return key_text(where_said(self.raw, "pools", pool, keys))

    def class_key(self, name: str, *keys: str | int) -> str:
        """The key text under which the traffic class has it."""
        return key_text(where_said(self.raw, "classes", name, keys))

    def tenant_key(self, name: str, *keys: str | int) -> str:
        """The key text under which the tenant has it."""
        return key_text(("tenants", name, *keys))

    def has(self, pool: str, *keys: str | int) -> bool:
        """True when it was written, for this pool or for all, as something else than null."""
        value: Any = self.raw
        for part in where_said(self.raw, "pools", pool, keys):
            value = child_of(value, part)
        return value is not None
