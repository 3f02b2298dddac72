"""A resolved scenario as plain data: to be stored, hashed, and read again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.scenario.scenario import Scenario

WORDS = ("question", "look_at", "source", "price_source", "price_confidence", "note", "version", "error")
NOT_TRAFFIC = (  # of a class: what is done with its requests, and what its clients do when that is not enough
    *("tenant", "model", "priority", "caps", "objectives", "patience", "retry", "limits", "guardrail"),
    *(
        "shed_above",
        "max_queue_s",
        "max_ttft_s",
        "before",
        "after",
        "deadline_s",
        "cheap_hours",
        "defer_max_s",
    ),
    *("route_to", "min_tier", "needs", "location", "max_rtt_s", "source", "note"),
)
OUTSIDE = ("name", "engine", "output")  # neither who computes it nor where it goes changes a result
OUTPUT_INSIDE = ("records", "sample_interval_s")  # but these decide which rows there are


def plain(value: Any) -> Any:
    """Dataclasses as dicts, tuples as lists, everything else as it is."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def resolved(scenario: Scenario) -> dict[str, Any]:
    """Every key with its value, pools and classes by name; `from_dict` makes the same scenario of it."""
    data = plain(scenario)
    for group in ("pools", "classes", "tenants"):
        data[group] = {entry["name"]: entry for entry in data[group]}
    return data


def without_words(value: Any) -> Any:
    """The data without the texts that are there for the reader."""
    if isinstance(value, dict):
        return {key: without_words(item) for key, item in value.items() if key not in WORDS}
    return [without_words(item) for item in value] if isinstance(value, list) else value


def traffic_key(config: Any, with_seed: bool = True) -> str:
    """What runs that see the same requests, and measure the same of them, have in common: only these can be compared.

    `config` is a scenario, or what `plain` made of it. What clients, gateway and pools do with requests is left out.
    """
    data = config if isinstance(config, Mapping) else plain(config)
    classes = data["classes"]
    entries = classes.values() if isinstance(classes, Mapping) else classes
    told = {
        "seed": data["seed"] if with_seed else None,
        "window": [data["warmup_s"], data["duration_s"]],
        "classes": [
            {key: value for key, value in entry.items() if key not in NOT_TRAFFIC} for entry in entries
        ],
    }
    return json.dumps(told, sort_keys=True, default=str)


def config_hash(scenario: Scenario) -> str:
    """SHA-256 (hex) of all that a result depends on: the same on every engine and for every output folder."""
    whole = plain(scenario)
    data = {key: value for key, value in whole.items() if key not in OUTSIDE}
    data["output"] = {key: whole["output"][key] for key in OUTPUT_INSIDE}
    text = json.dumps(without_words(data), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
