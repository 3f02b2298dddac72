"""The disruption budgets of a scenario's pools, as rows of plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sim.scenario.amounts import amount_of
from sim.scenario.pool import Pool

Rows = list[dict[str, Any]]


def budget_rows(pools: Sequence[Pool]) -> Rows:
    """The pools' disruption budgets; nothing where none has one."""
    rows: Rows = []
    for pool in pools:
        budget = pool.disruption_budget
        if budget is None:
            rows.append({"is_set": 0})
            continue
        is_max = budget.max_unavailable is not None
        amount = amount_of(budget.max_unavailable if is_max else budget.min_available)
        rows.append(
            {
                "is_set": 1,
                "is_max": int(is_max),
                "bound": amount.value,
                "is_percent": int(amount.is_percent),
            }
        )
    return rows if any(row["is_set"] for row in rows) else []
