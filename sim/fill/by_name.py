"""From the attributes of a scenario's parts to the fields of a row, by name; this is where units are converted.

A field and the key that it comes from share one stem: `stall_ps` is `stall_s`, `match_min_milli` is `match_min`, a count
has one name; `bandwidth_q40` is `bandwidth_gb_s`. A key that is not set (None) is NEVER: no limit. An attribute of a
nested part, `weights.outstanding`, goes to the field `weights_outstanding`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from sim.schema import Row, World
from sim.units import NEVER, s_to_ps

PS, MILLI, Q40 = "_ps", "_milli", "_q40"
BYTES_IN_Q40 = 10**9 * 2**40 / 10**12  # bytes in 2^40 ps, of a GB/s


def fields_of(
    row: type[Row] | type[World], *sources: Any, names: Mapping[str, Sequence[str]] | None = None
) -> dict[str, int]:
    """Field → value, of the fields of a row that a source has an attribute for; the first source that has it.

    `names` lists what an attribute may name, by attribute: its place there is the value, 0 where it is not set.
    """
    given: dict[str, Any] = {}
    for source in reversed(sources):
        given |= flat(source)
    for name in set(names or ()) & set(given):
        given[name] = 0 if given[name] is None else list((names or {})[name]).index(given[name])
    found = {name: number(name, given) for name in row.FIELDS}
    return {name: value for name, value in found.items() if value is not None}


def flat(source: Any) -> dict[str, Any]:
    """Attribute → value, of a dataclass and of the dataclasses in it, whose attributes begin with the name of the part."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(source):
        value = getattr(source, field.name)
        inner = flat(value) if dataclasses.is_dataclass(value) else {}
        found |= {f"{field.name}_{name}": part for name, part in inner.items()} | {field.name: value}
    return found


def number(field: str, given: dict[str, Any]) -> int | None:
    """The value of a field; None where no attribute has its stem, or one that is no number."""
    if field.endswith(PS) and f"{field.removesuffix(PS)}_s" in given:
        value = given[f"{field.removesuffix(PS)}_s"]
        return NEVER if value is None else s_to_ps(value)
    if field.endswith(MILLI) and field.removesuffix(MILLI) in given:
        value = given[field.removesuffix(MILLI)]
        return NEVER if value is None else round(1000 * value)
    if field.endswith(Q40) and f"{field.removesuffix(Q40)}_gb_s" in given:
        value = given[f"{field.removesuffix(Q40)}_gb_s"]
        return NEVER if value is None else round(value * BYTES_IN_Q40)
    if field not in given:
        return None
    value = given[field]
    return NEVER if value is None else int(value) if isinstance(value, (int, bool)) else None
