"""Settings and memories of kinds (`sim.model.tables.kinds`): how many words they take and where they lie."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.errors import InputError
from sim.model.tables.kinds import POOL, REPLICA, SERVED_MODEL, SESSION, Kind
from sim.model.tables.run import Params


def settings_words(kind: Kind, given: Mapping[str, int]) -> np.ndarray:
    """A kind's row of settings, (SIZE,): what is not given is as the field begins. InputError for an unknown name."""
    if kind.settings is None:
        return np.zeros(0, dtype=np.int64)
    words = kind.settings.blank()
    row = kind.settings.rows(words)
    for name, value in given.items():
        if name not in kind.settings.FIELDS:
            raise InputError(f"{kind.name}: no setting {name}; it has {', '.join(kind.settings.FIELDS)}")
        row[name] = value
    return words


def all_settings(kinds: tuple[Kind, ...], given: Mapping[str, int]) -> dict[str, int]:
    """Settings by name, of all kinds: as given, or as they begin."""
    fields = {name: field for kind in kinds if kind.settings for name, field in kind.settings.FIELDS.items()}
    return {name: given.get(name, field.begin) for name, field in fields.items()}


def n_of(params: Params) -> dict[str, int]:
    """How many sessions, replicas … a run has: what a kind can have a row of memory for."""
    return {
        SERVED_MODEL: int(params.n_served_model),
        POOL: int(params.n_pool),
        REPLICA: int(params.n_replica),
        SESSION: int(params.n_session),
    }


def memory_starts(
    kinds: tuple[Kind, ...], codes: np.ndarray, n_of: Mapping[str, int]
) -> tuple[np.ndarray, int]:
    """Where the memory of each of these codes' kinds starts, and how many words all of them take. Kinds that are used
    twice have one memory: its rows are numbered through the whole run. `n_of`: how many there are of what it is per.
    """
    starts, at = np.zeros(len(kinds), dtype=np.int64), 0
    used = set(codes.tolist())
    for kind in kinds:
        starts[kind.code] = at
        if kind.memory is not None and kind.code in used:
            at += n_of[kind.per] * kind.memory.SIZE
    return starts[codes], at
