"""Tenants that a recorded trace names: a class of traffic for each, with the rows that are its own."""

from __future__ import annotations

import re
from dataclasses import replace

from sim.errors import InputError, problem
from sim.scenario.scenario import Scenario
from sim.scenario.tenant import Tenant
from sim.scenario.traffic import TrafficClass
from sim.workload.readers import read_trace

CLASSES_MAX = 100  # of a scenario
KEY_MAX = 64


def with_recorded_tenants(scenario: Scenario) -> Scenario:
    """The scenario with a class for each tenant that its traces name, called CLASS_TENANT, and these tenants.

    Nothing changes where no trace has a column of tenants, or where each asks for one tenant. Raise InputError where
    rows name nobody, two names become one, or there are too many.
    """
    classes: list[TrafficClass] = []
    for entry in scenario.classes:
        classes += _by_tenant(entry) if names_tenants(entry) else [entry]
    if len(classes) == len(scenario.classes) and tuple(classes) == scenario.classes:
        return scenario
    if len(classes) > CLASSES_MAX:
        raise InputError(
            f"trace.columns.tenant: {len(classes)} classes with one for each tenant; allowed: at most {CLASSES_MAX}; take"
            " some tenants by trace.tenant, or leave the column out"
        )
    names = [entry.name for entry in classes]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"trace.columns.tenant: two classes would be called {name!r}; rename a tenant or a class"
            )
    known = {tenant.name for tenant in scenario.tenants}
    new = dict.fromkeys(entry.tenant for entry in classes if entry.tenant and entry.tenant not in known)
    tenants = (*scenario.tenants, *(Tenant(name=name) for name in new))
    return replace(scenario, classes=tuple(classes), tenants=tenants)


def names_tenants(entry: TrafficClass) -> bool:
    """Whether a class's trace has a column of tenants and does not ask for one of them."""
    trace = entry.trace
    return (
        trace is not None
        and trace.columns is not None
        and trace.columns.tenant is not None
        and trace.tenant is None
    )


def _by_tenant(entry: TrafficClass) -> list[TrafficClass]:
    assert entry.trace is not None
    rows = read_trace(entry.trace)
    if rows.tenant is None or (rows.tenant < 0).any():
        column = entry.trace.columns and entry.trace.columns.tenant
        raise InputError(problem(f"{entry.trace.file}: {column}", "", "a tenant's name in every row"))
    made = []
    for name in sorted(rows.tenants):
        key = re.sub(r"[^A-Za-z0-9_\-]+", "_", name).strip("_-")[:KEY_MAX] or "tenant"
        trace = replace(entry.trace, tenant=name)
        made.append(replace(entry, name=f"{entry.name}_{key}", tenant=key, trace=trace))
    return made
