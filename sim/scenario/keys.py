"""The keys that a user can write, level by level, for completion: kept on this machine, for the classes that they are read
off take longer to import than anybody waits for a tab.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sim import cache
from sim.scenario.inherit import CLASS_GROUPS

KEPT_MAX = 500  # files, each a kilobyte or two


class Key(NamedTuple):
    """What is known of one key."""

    is_deep: bool  # there are keys below it
    names: list[str]  # that it may have, where it is one of names


def level(parts: Sequence[str]) -> dict[str, Key]:
    """The keys below a path that the user writes."""
    name = hashlib.sha256(json.dumps([sources_hash(), *parts]).encode()).hexdigest()[:32]
    path = cache.home() / "keys" / f"{name}.json"
    text = cache.read(path)
    if text is None:
        found = {key: described(hints) for key, hints in children(parts).items()}
        cache.keep(path, json.dumps(found).encode())
        cache.keep_at_most(path.parent, KEPT_MAX)
        return found
    return {key: Key(*about) for key, about in json.loads(text).items()}


@functools.cache
def sources_hash() -> str:
    """A hash of the files that say what keys there are."""
    made = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        made.update(path.read_bytes())
    return made.hexdigest()


def described(hints: list[Any]) -> Key:
    """A key by what it may hold."""
    from sim.scenario.fields import entries_of, is_description, names_of

    is_deep = any(is_description(inner) for hint in hints for inner in (hint, *entries_of(hint)))
    flags = ["false", "true"] if any(hint.type is bool for hint in hints) else []
    return Key(is_deep, [*names_of(hints), *flags])


def children(parts: Sequence[str]) -> dict[str, list]:
    """The keys below a path that the user writes, each with what it may hold."""
    from sim.scenario.fields import Hint, fields_of, hints_at, is_description
    from sim.scenario.pool import Pool
    from sim.scenario.scenario import Scenario
    from sim.scenario.tenant import Tenant
    from sim.scenario.traffic import TrafficClass

    if not parts:
        dots = {name: [Hint(Pool)] for name in ("pool", "traffic", "pools", "classes", "tenants")}
        shared = {k: v for k, v in fields_of(TrafficClass).items() if k in CLASS_GROUPS}
        of_pool = {k: v for k, v in fields_of(Pool).items() if k != "name"}
        return {**fields_of(Scenario), **of_pool, **shared, **dots}
    group, *rest = [int(part) if part.isdigit() else part for part in parts]
    if group in ("pools", "classes", "tenants"):
        rest = rest[1:]
    owners = {
        "pool": Pool,
        "pools": Pool,
        "traffic": TrafficClass,
        "classes": TrafficClass,
        "tenants": Tenant,
    }
    owner = owners.get(str(group))
    if owner is None:
        of_class = TrafficClass if group in CLASS_GROUPS else Scenario
        owner, rest = (Pool if group in fields_of(Pool) else of_class), [group, *rest]
    hints = hints_at(owner, rest, None) if rest else [Hint(owner)]
    return {k: v for hint in hints if is_description(hint) for k, v in fields_of(hint.type).items()}
