"""What `fleetsim show` says: every key with its value, its unit, and where the value comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sim.scenario.fields import unit_of
from sim.scenario.guardrail import Guardrail
from sim.scenario.inherit import CLASS_GROUPS, POOL_GROUPS
from sim.scenario.limits import Caps, Limits
from sim.scenario.metrics import Pipeline
from sim.scenario.patience import Patience
from sim.scenario.popularity import Popularity
from sim.scenario.retry import Retry
from sim.scenario.scenario import Scenario
from sim.scenario.station import Visit

SOURCES = ("source", "price_source", "price_confidence", "pue_source", "host_source", "note")


OF_ITSELF = (
    Caps,
    Guardrail,
    Limits,
    Patience,
    Popularity,
    Retry,
    Visit,
)  # where its class comes from says nothing about these
DRAWN = ("value", "mean", "low", "high", "median", "p99", "min", "max", "v")  # of a distribution, in its unit


class Row(NamedTuple):
    """One key of a resolved scenario, as it can be overridden on the command line."""

    key: str
    value: Any
    unit: str
    source: str


def describe(scenario: Scenario, said: Mapping[str, str] | None = None) -> list[Row]:
    """Every key; `said` tells where the user said it (`compose.said_where`), if not the catalogue."""
    rows = leaves(scenario, "", "")
    shown = [(user_key(scenario, key), value, source) for key, value, source in rows]
    return [Row(key, value, unit_at(key), origin(key, source, said or {})) for key, value, source in shown]


def leaves(value: Any, prefix: str, source: str) -> Iterator[tuple[str, Any, str]]:
    """(key, value, source) of every value that is no description itself."""
    is_pipeline = isinstance(value, Pipeline)  # its `source` is the metric that it carries
    above = "" if isinstance(value, OF_ITSELF) else source
    own = source if is_pipeline else getattr(value, "source", "") or above
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        if field.name in SOURCES and not is_pipeline:
            continue
        key = f"{prefix}.{field.name}" if prefix else field.name
        nearest = getattr(value, "price_source", "") if "usd" in field.name else ""
        yield from below(item, key, nearest or own)


def below(item: Any, key: str, source: str) -> Iterator[tuple[str, Any, str]]:
    """The leaves of one field: a description's, those of a list of descriptions, or the field itself."""
    if dataclasses.is_dataclass(item):
        yield from leaves(item, key, source)
    elif isinstance(item, tuple) and item and dataclasses.is_dataclass(item[0]):
        for place, entry in enumerate(item):
            inner = f"{key}.{entry.name}" if key in ("pools", "classes", "tenants") else f"{key}.{place}"
            yield from leaves(entry, inner, source)
    elif isinstance(item, dict):
        for name, entry in item.items():
            yield from leaves(entry, f"{key}.{name}", source)
    else:
        yield key, list(item) if isinstance(item, tuple) else item, source


def user_key(scenario: Scenario, key: str) -> str:
    """The shorter key under which a single pool or class is overridden: `gpu.…`, `pool.…`, `traffic.…`."""
    group, _, rest = key.partition(".")
    name, _, rest = rest.partition(".")
    if group == "pools" and len(scenario.pools) == 1 and name == "main":
        return rest if rest.partition(".")[0] in POOL_GROUPS else f"pool.{rest}"
    if group == "classes" and len(scenario.classes) == 1:
        return rest if rest.partition(".")[0] in CLASS_GROUPS else f"traffic.{rest}"
    return key


def shared_key(key: str) -> str:
    """Where the top level says it for every pool or class: `pools.code.gpu.memory_gb` as `gpu.memory_gb`."""
    group, _, rest = key.partition(".")
    _, _, rest = rest.partition(".")
    if group == "classes":
        return rest if rest.partition(".")[0] in CLASS_GROUPS else f"traffic.{rest}"
    if group != "pools":
        return key
    return rest if rest.partition(".")[0] in POOL_GROUPS else f"pool.{rest}"


def origin(key: str, source: str, said: Mapping[str, str]) -> str:
    """Who set the key: the nearest of the user's words, else the catalogue's source, else the default."""
    found = [said[p] for name in (key, shared_key(key)) for p in prefixes(name) if p in said]
    return max(found, key=lambda where: where == "command line", default=source or "default")


def prefixes(key: str) -> Iterator[str]:
    """`a.b.c` as `a.b.c`, `a.b`, `a`."""
    while key:
        yield key
        key = key.rpartition(".")[0]


def unit_at(key: str) -> str:
    """The unit of the last name in a key; a distribution's numbers have that of what is drawn."""
    names = [part for part in key.split(".") if not part.isdigit()]
    if len(names) > 1 and names[-1] in DRAWN:
        return unit_of(names[-2])
    return unit_of(names[-1])
