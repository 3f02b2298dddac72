"""Who asks for nodes and gives them back, as part of the cluster's row."""

from __future__ import annotations

from sim.model.tables.node import CONSOLIDATIONS, EXPANDERS
from sim.scenario.amounts import amount_of
from sim.scenario.cluster import Consolidation, NodeAutoscaler
from sim.units import NEVER, s_to_ps


def scaler_fields(scaler: NodeAutoscaler | None) -> dict[str, int]:
    """The node autoscaler's part of the cluster's row; without one nobody ever looks."""
    if scaler is None:
        return {"scan_ps": NEVER}
    below = scaler.scale_down_utilization_threshold
    return {
        "expander": EXPANDERS.index(scaler.expander),
        "scan_ps": s_to_ps(scaler.scan_period_s),
        "unneeded_ps": s_to_ps(scaler.unneeded_s),
        "delay_after_add_ps": s_to_ps(scaler.delay_after_add_s),
        "bulk_delete_max": scaler.bulk_delete_max,
        "below_milli": 0 if below is None else max(1, round(1000 * below)),
        "drains_max": scaler.max_drain_parallelism,
        "replace_after_ps": NEVER if scaler.replace_after_s is None else s_to_ps(scaler.replace_after_s),
        "graceful_ps": s_to_ps(scaler.max_graceful_termination_s),
    }


def consolidation_fields(how: Consolidation | None) -> dict[str, int]:
    """Which nodes go, in the cluster's row; nothing without a consolidation."""
    if how is None:
        return {}
    budget = amount_of(how.budget)
    return {
        "consolidation": CONSOLIDATIONS.index(how.policy),
        "consolidate_after_ps": s_to_ps(how.consolidate_after_s),
        "disrupted": budget.value,
        "is_percent": int(budget.is_percent),
    }
