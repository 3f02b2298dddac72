"""Queues with quotas: what each used and borrowed of the cluster's GPUs, and how long its workloads waited for quota."""

from __future__ import annotations

from typing import Any

from sim.analysis.facts import measured_window_ps
from sim.measures.listed import QUEUE
from sim.measures.measure import values


def queue_measures(scenario: Any, result: Any) -> dict[str, dict[str, Any]]:
    """Queue → what became of it; empty without queues."""
    start_ps, end_ps = measured_window_ps(scenario, result)
    both = zip(scenario.cluster.queues, result.queues, strict=True) if result.queues else ()
    return {queue.name: values(QUEUE, queue_facts(row, end_ps - start_ps)) for queue, row in both}


def queue_facts(row: dict[str, int], window_ps: int) -> dict[str, Any]:
    """What the measures of a queue are made of."""
    return {
        **row,
        "nominal_gpus": row["nominal"] / row["units"],
        "used_gpu_ps": row["used_ps"] / row["units"],
        "borrowed_gpu_ps": row["borrowed_ps"] / row["units"],
        "window_ps": window_ps,
    }
