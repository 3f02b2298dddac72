"""What the variants of a comparison are called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

IS_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:/-]*")
NO_NAMES = ("true", "false", "null", "inf", "nan")


def label_of(values: Sequence[str], keys: Sequence[str]) -> str:
    """Values under keys that say which is which; one alone that is a name speaks for itself."""
    if len(values) == 1 and IS_NAME.fullmatch(values[0]) and values[0].lower() not in NO_NAMES:
        return values[0]
    written = [value.lower() if value in ("True", "False", "None") else value for value in values]
    named = [f"{key}={value}" for key, value in zip(keys, written, strict=True)]
    return " ".join(named) or "as it stands"


def short_keys(keys: Sequence[str]) -> list[str]:
    """The last part of each key, or as many of them as tell it from the others."""
    return [next(short for short in _endings(key) if _is_alone(short, key, keys)) for key in keys]


def _endings(key: str) -> Iterator[str]:
    """From the shortest to the whole key; the number of a place in a list says nothing by itself."""
    parts = key.split(".") if "@" not in key else [key]
    for at in range(len(parts) - 1, 0, -1):
        if not parts[at].isdecimal():
            yield ".".join(parts[at:])
    yield key


def _is_alone(short: str, key: str, keys: Sequence[str]) -> bool:
    return short == key or not any(f".{other}".endswith(f".{short}") for other in keys if other != key)
