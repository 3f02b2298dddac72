"""What was varied: the keys by which points of a study, variants of a sweep or runs differ, and their values."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.records.config import to_json
from sim.scenario.inherit import CLASS_GROUPS, IDENTITY, POOL_GROUPS
from sim.scenario.resolved import NOT_TRAFFIC, WORDS
from sim.scenario.variant_names import label_of, short_keys

GROUPS = ("pools", "classes", "tenants")  # named entries
OUTSIDE = ("seed", "engine", "output", "name", "question", "look_at")  # no result of a policy depends on them
TRAFFIC_TIMES = ("warmup_s", "duration_s")


class Varied(NamedTuple):
    """Points by name, and for each key that differs the value of every point: None where a point does not have the key."""

    names: list[str]
    values: dict[str, list[Any]]

    @property
    def keys(self) -> list[str]:
        """The keys that differ."""
        return list(self.values)

    def distinct(self, key: str) -> list[Any]:
        """The different values of a key, numbers in their order, texts as they come."""
        found = list(dict.fromkeys(value for value in self.values[key] if value is not None))
        return sorted(found) if all(is_number(value) for value in found) else found

    def labels(self, keys: Sequence[str]) -> list[str]:
        """What each point is called by some of the keys alone."""
        short = dict(zip(keys, short_keys(list(keys)), strict=True))
        return [self._label(point, keys, short) for point in range(len(self.names))]

    def _label(self, point: int, keys: Sequence[str], short: Mapping[str, str]) -> str:
        here = [(key, self.values[key][point]) for key in keys if self.values[key][point] is not None]
        names = [text_of(value) for key, value in here if isinstance(value, str)]
        rest = [(short[key], text_of(value)) for key, value in here if not isinstance(value, str)]
        more = label_of([value for _, value in rest], [key for key, _ in rest]) if rest else ""
        return " ".join([*names, *([more] if more else [])])

    def traffic(self) -> list[tuple[Any, ...]]:
        """The values of each point by which its traffic differs: points with the same see the same requests in a seed."""
        keys = [key for key in self.values if is_traffic(key)]
        return [tuple(self.values[key][point] for key in keys) for point in range(len(self.names))]

    def chosen(self, points: Sequence[int]) -> Varied:
        """Some of the points."""
        return Varied(
            [self.names[i] for i in points],
            {key: [values[i] for i in points] for key, values in self.values.items()},
        )


def is_number(value: Any) -> bool:
    """Whether a value is a number, and no truth."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def text_of(value: Any) -> str:
    """A value as a scenario has it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def is_traffic(key: str) -> bool:
    """Whether points that differ in this key see other requests; as `traffic_key` tells it of whole scenarios."""
    group, _, rest = key.partition("@")[0].partition(".")
    if group in TRAFFIC_TIMES:
        return True
    if group == "classes":
        rest = rest.partition(".")[2]
    elif group != "traffic":
        return False
    return rest.partition(".")[0] not in NOT_TRAFFIC


def baselines(
    varied: Varied, wanted: Mapping[str, Any], traffic: Sequence[Hashable] | None = None
) -> list[int | None]:
    """The place of each point's baseline: of those that see its traffic and have the values `wanted`, the one that has most
    in common with it; itself where it is one of them, None where there is none. Without `wanted`, the first of its traffic.

    `traffic` has the same for points that see the same requests; None: told by the keys that are varied.
    """
    seen = varied.traffic() if traffic is None else traffic
    of_traffic: dict[Hashable, list[int]] = {}
    for i, key in enumerate(seen):
        there = of_traffic.setdefault(key, [])
        is_base = all(k in varied.values and is_same(varied.values[k][i], v) for k, v in wanted.items())
        if is_base and (wanted or not there):
            there.append(i)
    chosen: list[int | None] = []
    for i, key in enumerate(seen):
        there = of_traffic[key]
        if i in there or not there:
            chosen.append(i if there else None)
            continue
        alike = [sum(is_same(column[b], column[i]) for column in varied.values.values()) for b in there]
        chosen.append(there[alike.index(max(alike))])
    return chosen


def is_same(held: Any, value: Any) -> bool:
    """Whether a point's value is another: no value is like none, a truth is no number, and results keep lists and what is
    mixed with texts as JSON.
    """
    if held is None or value is None:
        return False
    if isinstance(held, str) and not isinstance(value, str):
        return held == to_json(value, indent=None)
    return bool(held == value) and isinstance(held, bool) == isinstance(value, bool)


# ---- where it is read from ----------------------------------------------------------------------
def varied_of_study(runs: Any, keys: Sequence[str]) -> Varied:
    """What a study varied, from its table of runs, points in their order."""
    _, rows = np.unique(runs.column("point").to_numpy(), return_index=True)
    there = [key for key in keys if key in runs.column_names]
    table = runs.select(["variant", *there]).take(rows).to_pylist()
    names = distinct_names([str(row["variant"]) for row in table])
    return Varied(names, {key: [row[key] for row in table] for key in there})


def distinct_names(names: Sequence[str]) -> list[str]:
    """Names that are all different: those that come twice have a number."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found


def varied_of_configs(configs: Mapping[str, Mapping[str, Any]]) -> Varied:
    """What differs between resolved configurations (name → configuration), by the keys that a user would give.

    Where options of a group differ by name, the group has that name, and of its keys only those are told that differ
    between points of the same option.
    """
    flat = {name: dict(leaves(config)) for name, config in configs.items()}
    keys = list(dict.fromkeys(key for found in flat.values() for key in found))
    table = {key: [found.get(key) for found in flat.values()] for key in keys}
    differing = {key: values for key, values in table.items() if len(set(map(repr, values))) > 1}
    options = _options(differing)
    kept: dict[str, list[Any]] = dict(options)
    for key, values in differing.items():
        group = next((g for g in options if key.startswith(f"{g}.")), None)
        if group is None or _differs_within(values, options[group]):
            kept[key] = values
    return Varied(
        list(configs),
        {key: list(map(_plain, values)) for key, values in kept.items() if not _is_identity(key, options)},
    )


def _options(differing: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Groups of which the options differ, with the name of each point's option, the outermost alone."""
    found: dict[str, list[Any]] = {}
    for key in differing:
        group, _, last = key.rpartition(".")
        if last in IDENTITY and group and group.rpartition(".")[2] not in ("stages", "modulations"):
            names = [differing.get(f"{group}.{word}") for word in ("name", "kind")]
            found.setdefault(group, next(values for values in names if values is not None))
    return {g: v for g, v in found.items() if not any(g.startswith(f"{other}.") for other in found)}


def _differs_within(values: Sequence[Any], options: Sequence[Any]) -> bool:
    """Whether values differ between points that have the same option."""
    seen: dict[str, set[str]] = {}
    for value, option in zip(values, options, strict=True):
        seen.setdefault(repr(option), set()).add(repr(value))
    return any(len(found) > 1 for found in seen.values())


def _is_identity(key: str, options: Mapping[str, Any]) -> bool:
    return any(key in (f"{group}.name", f"{group}.kind") for group in options)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def leaves(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(key as a user gives it, value) of everything in a resolved configuration that a result may depend on."""
    named = {group: _by_name(config.get(group)) for group in GROUPS}
    for key, value in config.items():
        if key in OUTSIDE:
            continue
        if key not in GROUPS:
            yield from _below(key, value)
            continue
        for name, entry in named[key].items():
            for inner, leaf in _below(f"{key}.{name}", {k: v for k, v in entry.items() if k != "name"}):
                yield user_key(inner, {group: list(found) for group, found in named.items()}), leaf


def _by_name(entries: Any) -> dict[str, Mapping[str, Any]]:
    if isinstance(entries, Mapping):
        return dict(entries)
    return {str(entry["name"]): entry for entry in entries or ()}


def _below(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name not in WORDS:
                yield from _below(f"{key}.{name}", item)
    else:
        yield key, value


def user_key(key: str, there: Mapping[str, Sequence[str]]) -> str:
    """The shorter key of a single pool or class: `pools.main.gpu.memory_gb` as `gpu.memory_gb`."""
    group, _, rest = key.partition(".")
    if group not in ("pools", "classes") or len(there[group]) != 1:
        return key
    rest = rest[len(there[group][0]) + 1 :]
    own, word = (POOL_GROUPS, "pool") if group == "pools" else (CLASS_GROUPS, "traffic")
    return rest if rest.partition(".")[0] in own else f"{word}.{rest}"
