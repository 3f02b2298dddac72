"""Tenants as scopes of a result, beside the fleet and the traffic classes."""

from __future__ import annotations

from typing import Any

import numpy as np


def members(scenario: Any) -> dict[str, list[int]]:
    """Tenant → its classes, by number."""
    names = [tenant.name for tenant in getattr(scenario, "tenants", ())]
    return {
        name: [i for i, entry in enumerate(scenario.classes) if getattr(entry, "tenant", None) == name]
        for name in names
    }


def with_tenants(scenario: Any, result: Any) -> Any:
    """The result with a scope for each tenant after those of the classes: the sum over its classes."""
    scopes = [[1 + i for i in classes] for classes in members(scenario).values()]
    if not scopes:
        return result
    return result._replace(
        hist=np.concatenate(
            [result.hist, *(result.hist[scope].sum(axis=0, keepdims=True) for scope in scopes)]
        ),
        sums={
            name: [*row, *(sum(row[i] for i in scope) for scope in scopes)]
            for name, row in result.sums.items()
        },
        counts={
            name: np.append(row, [row[scope].sum() for scope in scopes])
            for name, row in result.counts.items()
        },
    )
