"""Kinds: what a code chooses between, each with a name, and with rows of its own for its settings and its memory.

The file of the rule that chooses lists its kinds, a line each. From the list follow the names that scenarios use, room for
the settings in Params.m and for the memory in State.m (`sim.fill.kinds`). The choice itself stays an `if/elif` that can be
read and searched.
"""

from __future__ import annotations

from typing import NamedTuple

from sim.schema import Row

#: What a kind can have a row of memory for.
SERVED_MODEL, POOL, REPLICA, SESSION = "served_model", "pool", "replica", "session"


class Kind(NamedTuple):
    """One kind. Memory begins as zeros, a row for each of what `per` names in the whole run."""

    code: int
    name: str
    settings: type[Row] | None = (
        None  # a field `x_ps` is filled from the scenario's `x_s`, `x_milli` from `x`
    )
    memory: type[Row] | None = None
    per: str = ""  # SERVED_MODEL, POOL, REPLICA or SESSION


def names_of_kinds(kinds: tuple[Kind, ...]) -> tuple[str, ...]:
    """The kinds' names by code; ValueError where codes are not 0, 1, 2, … or a memory would not begin as zeros."""
    for place, kind in enumerate(kinds):
        if kind.code != place:
            raise ValueError(f"kind {kind.name} has code {kind.code} in place {place}")
        if kind.memory is not None and (kind.memory.blank().any() or not kind.per):
            raise ValueError(f"kind {kind.name}: a memory begins as zeros and is per something")
    return tuple(kind.name for kind in kinds)
