"""A node group says its GPU, its site and its billing by the name of an option, as `h100`, or in full: here a name becomes
the option's keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sim.errors import InputError, nearest, problem
from sim.scenario.catalogue import is_file, option_file, option_files
from sim.scenario.inherit import is_list, merge
from sim.scenario.options import option_body

NAMED = (
    "gpu",
    "site",
    "billing",
)  # keys of a node group that an option's name may stand for, and the groups of these


def with_options(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A scenario's data with what node groups name in full; what is no option's name stays as it is."""
    groups = groups_of(raw)
    if not groups:
        return dict(raw)
    return {**raw, "cluster": {**raw["cluster"], "node_groups": [with_option(group) for group in groups]}}


def with_shared_site(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The same, and what a node group does not say of its site is as the scenario's."""
    full, shared = with_options(raw), raw.get("site")
    groups = groups_of(full)
    if not groups or not isinstance(shared, Mapping):
        return full
    placed = [
        {**group, "site": merge(shared, group.get("site") or {})} if isinstance(group, Mapping) else group
        for group in groups
    ]
    return {**full, "cluster": {**full["cluster"], "node_groups": placed}}


def groups_of(raw: Mapping[str, Any]) -> list[Any]:
    """The node groups of a scenario's data, as far as they are a list."""
    cluster = raw.get("cluster")
    groups = cluster.get("node_groups") if isinstance(cluster, Mapping) else None
    return list(groups) if is_list(groups) else []


def with_option(group: Any) -> Any:
    """One node group."""
    if not isinstance(group, Mapping):
        return group
    full = dict(group)
    for key in NAMED:
        name = group.get(key)
        if isinstance(name, str) and why_no_option(key, key, name) is None:
            full[key] = option_body(option_file(key, name), key)
    return full


def why_no_option(key: str, group: str, name: str) -> str | None:
    """A line where the name is no option of `group`; None where it is."""
    if is_file(name):
        try:
            option_body(option_file(group, name), group)
        except InputError as error:
            return f"{key}: {error.problems[0]}"
        return None
    options = option_files(group)
    if name in options:
        return None
    return problem(key, name, f"an option of {group}: {', '.join(options)}", nearest(name, options))


def option_problems(raw: Mapping[str, Any]) -> Iterator[str]:
    """A line for each node group that names an option that there is not."""
    for place, group in enumerate(groups_of(raw)):
        for key in NAMED if isinstance(group, Mapping) else ():
            name = group.get(key)
            where = f"cluster.node_groups.{place}.{key}"
            if isinstance(name, str) and (line := why_no_option(where, key, name)):
                yield line
