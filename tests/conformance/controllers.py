"""The laws of autoscaling, placement and rollouts twice: compiled, and as the plain Python they are written in."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sim.compile import jit
from sim.model.autoscaler.hpa_rows import HpaSeen
from sim.schema import Row

DATA = Path(__file__).parent / "data"
ROWS = "sim.model.autoscaler.hpa_rows"
MODULES = (
    "sim.model.autoscaler.hpa_replicas",
    "sim.model.autoscaler.hpa",
    "sim.model.autoscaler.keda",
    "sim.model.placement.mig",
    "sim.model.rollout.limits",
    "sim.model.rollout.deployment",
    "sim.model.rollout.proportional",
    "sim.model.rollout.disruption_budget",
    "sim.model.rollout.canary",
    "sim.model.rollout.blue_green",
    "sim.model.placement.scoring",
    "sim.model.placement.fragmentation",
    "sim.model.placement.gpu_scores",
    "sim.model.placement.quotas",
    "sim.model.placement.shares",
    "sim.model.placement.quota_preemption",
    "sim.model.placement.fair_preemption",
    "sim.model.placement.flavors",
)


def _gather() -> SimpleNamespace:
    found: dict[str, Any] = {}
    for name in (ROWS, *MODULES):
        found.update(vars(importlib.import_module(name)))
    return SimpleNamespace(**found)


def compiled() -> SimpleNamespace:
    """Every name of the laws' modules, rules compiled as the product uses them, and callable from Python."""
    jit.need_compiler()  # until then rules are plain functions
    names = vars(_gather())
    return SimpleNamespace(
        **{key: jit.entry_point(v) if hasattr(v, "py_func") else v for key, v in names.items()}
    )


def plain() -> SimpleNamespace:
    """The same names from a second import in which the decorators do nothing: CPython runs every line."""
    kept = {name: sys.modules.pop(name, None) for name in MODULES}
    decorators = jit.jit, jit.jit_call
    jit.jit = jit.jit_call = lambda function: function
    try:
        return _gather()
    finally:
        jit.jit, jit.jit_call = decorators
        for name, module in kept.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module
                package, _, last = name.rpartition(".")
                setattr(sys.modules[package], last, module)


def vectors(file: str, *kinds: str) -> Iterator[dict[str, Any]]:
    """The recorded vectors of one controller whose `kind` (or KEDA's `group`) is among `kinds`."""
    for vector in json.loads((DATA / file).read_text())["vectors"]:
        if vector.get("group", vector["kind"]) in kinds:
            yield vector


def new(kind: type[Row], **fields: int) -> Any:
    """A row of its own with these fields, the others as the row begins."""
    row = kind(kind.blank(), 0)
    for name, value in fields.items():
        setattr(row, name, value)
    return row


def seen(*metric_milli: int, **pods: int) -> Any:
    """What an HPA sees: its metrics, and the pods that report them."""
    row = new(HpaSeen, **pods)
    for i, value in enumerate(metric_milli):
        row.metric_milli[i] = value
    return row
