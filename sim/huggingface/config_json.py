"""A config.json read as data: every key that is asked for is checked, whatever stands in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sim.errors import InputError, as_written, nearest

BYTES_MAX = 32 * 1024 * 1024  # lists of quantised layers make some of 3 MB
COUNT_MAX = 2**31 - 1
VALUE_SHOWN = 40  # characters
INSIDE = (
    "text_config",
    "llm_config",
    "language_config",
)  # where models of several modalities keep the text's
LFS = b"version https://git-lfs.github.com/spec/"


def read_config(path: Path) -> dict[str, Any]:
    """The object in the file; raises InputError for anything else."""
    try:
        with path.open("rb") as file:
            data = file.read(BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: cannot be read: {why}") from None
    if len(data) > BYTES_MAX:
        raise InputError(f"{path}: is larger than {BYTES_MAX >> 20} MiB: no config.json is")
    if data.startswith(LFS):
        raise InputError(f"{path}: is a Git LFS pointer, not the file: fetch it with `git lfs pull`")
    return parsed(data, str(path))


def parsed(data: bytes, shown: str) -> dict[str, Any]:
    """The object in the bytes; raises InputError."""
    try:
        found = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"{shown}: is not UTF-8 text (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{shown}:{error.lineno}: not valid JSON: {error.msg}") from None
    except RecursionError:
        raise InputError(f"{shown}: not valid JSON: nested too deep") from None
    except ValueError:  # Python reads no whole number of more than 4300 digits
        raise InputError(f"{shown}: not valid JSON: a number is too long") from None
    if not isinstance(found, dict):
        raise InputError(f"{shown}: is no config.json: an object of keys is needed, this is {kind_of(found)}")
    return found


def kind_of(value: Any) -> str:
    """A JSON value's kind in words."""
    kinds = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def shortened(value: Any) -> str:
    """A value as it stands in a file, cut where it is long."""
    try:
        text = as_written(value)
    except (ValueError, RecursionError):  # a number or nesting that Python does not print
        text = kind_of(value) if not isinstance(value, dict) else "an object"
    return text if len(text) <= VALUE_SHOWN else text[:VALUE_SHOWN] + "…"


class Config:
    """A config.json: the text model's keys, then those around it, then what its family leaves out.

    Every getter raises InputError with the file, the key, the value and what is allowed.
    """

    def __init__(self, shown: str, data: Mapping[str, Any]) -> None:
        self.shown = shown
        self.outside = data
        within = [data[key] for key in INSIDE if isinstance(data.get(key), dict)]
        self.inside: Mapping[str, Any] = within[0] if within else data
        self.defaults: Mapping[str, Any] = {}

    def get(self, *keys: str) -> Any:
        """The first of the keys that has a value, or None."""
        for where in (self.inside, self.outside, self.defaults):
            for key in keys:
                if where.get(key) is not None:
                    return where[key]
        return None

    def named(self, *keys: str) -> str:
        """The key that `get` finds, or the first of them."""
        places = (self.inside, self.outside, self.defaults)
        return next((key for where in places for key in keys if where.get(key) is not None), keys[0])

    def refuse(self, key: str, allowed: str) -> InputError:
        """The line for a value that cannot be used, or is not there."""
        value = self.get(key)
        if value is None:
            return InputError(f"{self.shown}: {key} is missing; allowed: {allowed}")
        return InputError(f"{self.shown}: {key}: {shortened(value)} is not valid; allowed: {allowed}")

    def count(self, *keys: str) -> int:
        """A whole number of at least 1 under the first of the keys that is there."""
        return self._whole(keys, 1)

    def count_or_zero(self, *keys: str) -> int:
        """A whole number of at least 0; 0 where there is none."""
        return self._whole(keys, 0) if self.get(*keys) is not None else 0

    def _whole(self, keys: tuple[str, ...], least: int) -> int:
        value, key = self.get(*keys), self.named(*keys)
        if isinstance(value, float) and value.is_integer() and abs(value) <= COUNT_MAX:
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= COUNT_MAX:
            raise self.refuse(key, f"a whole number ≥ {least}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false; `default` where there is none."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.refuse(key, "true or false")
        return value

    def number(self, where: Mapping[str, Any], key: str) -> float | None:
        """A number above 0 in one of the file's objects, or None where there is none."""
        value = where.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= COUNT_MAX:
            return None
        return float(value)

    def text(self, key: str) -> str:
        """A text, or an empty one."""
        value = self.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.refuse(key, "a text")
        return value

    def listed(self, key: str, length: int) -> list[Any]:
        """A list with one entry for each layer, or an empty one where there is none."""
        value = self.get(key)
        if value is None or value == []:
            return []
        if not isinstance(value, list) or len(value) != length:
            raise self.refuse(key, f"a list with an entry for each of {length} layers")
        return value

    def mapping(self, key: str) -> Mapping[str, Any]:
        """An object, or an empty one."""
        value = self.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.refuse(key, "an object of keys")
        return value

    def model_type(self, known: Mapping[str, Any], not_modelled: Mapping[str, str]) -> str:
        """The text model's `model_type`; raises InputError with the nearest one for a type that is not known."""
        for where in (self.inside, self.outside):
            found = where.get("model_type")
            if isinstance(found, str) and found in known:
                return found
        found = self.inside.get("model_type", self.outside.get("model_type"))
        if found is None:
            keys = ", ".join(sorted(map(str, self.outside))[:5]) or "none"
            raise InputError(
                f"{self.shown}: model_type is missing: is this a model's config.json? Its first keys are: {keys}"
            )
        if not isinstance(found, str):
            raise InputError(f"{self.shown}: model_type: {shortened(found)} is not valid; allowed: a text")
        if found in not_modelled:
            raise InputError(
                f"{self.shown}: model_type: {found!r} has {not_modelled[found]}, which is not modelled"
            )
        close = nearest(found, known, 0.8)
        hint = f"; near it is {close!r}" if close else ""
        raise InputError(
            f"{self.shown}: model_type: {shortened(found)} is not known; known are: {', '.join(known)}{hint}"
        )

    def architectures(self) -> Iterator[str]:
        """The names of the classes that the file gives."""
        found = self.outside.get("architectures") or self.inside.get("architectures")
        for name in found if isinstance(found, list) else ():
            if isinstance(name, str):
                yield name
