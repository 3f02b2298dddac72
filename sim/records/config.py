"""What a run was made from: the resolved configuration, its hash and the versions, as plain JSON."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sim.records.version import SCHEMA_VERSION
from sim.scenario.resolved import config_hash

PACKAGES = ("fleetsim", "numpy", "numba", "scipy", "pyarrow", "simpy", "hydra-core", "pydantic")


def plain(value: Any) -> Any:
    """`value` as what JSON can say: dataclasses are objects, infinity "inf", NaN null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return plain(value.tolist())
    return _plain_leaf(value)


def _plain_leaf(value: Any) -> Any:
    if isinstance(value, float):
        return _plain_float(value)
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def _plain_float(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


def to_json(value: Any, indent: int | None = 2) -> str:
    """JSON text of `plain(value)`, keys in the order they come."""
    return json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def from_json(text: str) -> Any:
    """The value of `to_json`'s text: "inf" and "-inf" are numbers again."""
    return _with_infinities(json.loads(text))


def _with_infinities(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_infinities(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_infinities(item) for item in value]
    return float(value) if value in ("inf", "-inf") else value


def versions() -> dict[str, str]:
    """Versions of this package, Python and the libraries that results depend on."""
    found = {name: _version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **{name: v for name, v in found.items() if v}}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return "source" if name == "fleetsim" else None


def config_record(scenario: Any, about: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What config.json holds; `about` is what stands outside the digest (engine, host, wall time)."""
    return {
        "schema_version": SCHEMA_VERSION,
        "config_hash": config_hash(scenario),
        "seed": int(scenario.seed),
        "versions": versions(),
        "about": dict(about or {}),
        "config": plain(scenario),
    }


def read_json(path: Path) -> Any:
    """A JSON file of a run folder, infinities as numbers; ValueError where it is none."""
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{path.name} is nested deeper than any that a run leaves") from None
