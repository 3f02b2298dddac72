"""How many replicas a run had, and how often that changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sim.analysis.use import at_each_time


def replica_counts(result: Any, pool_ids: Sequence[int], window_ps: int) -> dict[str, Any]:
    """Means over the window, largest counts in samples, scale events and cold starts of some pools."""
    chosen = [result.pools[p] for p in pool_ids]
    billed_ps = sum(int(c["billed_ps"]) for c in chosen)
    ready_ps = sum(int(c["ready_ps"]) for c in chosen)
    return {
        "replicas_mean": billed_ps / window_ps if window_ps > 0 else None,
        "replicas_ready_mean": ready_ps / window_ps if window_ps > 0 else None,
        "replicas_ready_max": largest(result.samples, "ready", pool_ids),
        "replicas_wanted_max": largest(result.samples, "wanted", pool_ids),
        "scale_ups": sum(int(c["scaled_up"]) for c in chosen),
        "scale_downs": sum(int(c["scaled_down"]) for c in chosen),
        "cold_starts": sum(int(c["run_replicas_started"]) for c in chosen),
    }


def largest(samples: Mapping[str, np.ndarray], name: str, pool_ids: Sequence[int]) -> int:
    """Largest sum over some pools in one sample; 0 without samples."""
    _, counts = at_each_time(samples, pool_ids, (name,))
    return int(counts.max(initial=0))
