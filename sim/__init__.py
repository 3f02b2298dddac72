"""fleetsim: simulate a fleet that serves AI models, before money is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.api import (
        Comparison,
        capacity,
        compare,
        fleet,
        load,
        open,
        price,
        robust,
        run,
        search,
        sensitivity,
        study,
        sweep,
        whatif,
    )
    from sim.errors import InputError
    from sim.records.study_open import Results
    from sim.runner import Run
    from sim.scenario.scenario import Scenario
    from sim.sweeps.run import Sweep

__all__ = [
    "Comparison",
    "InputError",
    "Results",
    "Run",
    "Scenario",
    "Sweep",
    "capacity",
    "compare",
    "fleet",
    "load",
    "open",
    "price",
    "robust",
    "run",
    "search",
    "sensitivity",
    "study",
    "sweep",
    "whatif",
]

_HOME = {
    "InputError": "sim.errors",
    "Results": "sim.records.study_open",
    "Run": "sim.runner",
    "Scenario": "sim.scenario.scenario",
    "Sweep": "sim.sweeps.run",
}


def __getattr__(name: str) -> Any:
    """The stable interface, imported when it is first used: importing `sim` alone does nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'sim' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME.get(name, "sim.api")), name)
