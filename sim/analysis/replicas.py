"""How many replicas a run had, and how often that changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def replica_counts(
    result: Any, pool_ids: Sequence[int], window_ps: int, seen: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Means over the window, largest counts in samples (`seen` by all together), scale events and cold starts of some
    pools."""
    chosen = [result.pools[p] for p in pool_ids]
    billed_ps = sum(int(c["billed_ps"]) for c in chosen)
    ready_ps = sum(int(c["ready_ps"]) for c in chosen)
    return {
        "replicas_mean": billed_ps / window_ps if window_ps > 0 else None,
        "replicas_ready_mean": ready_ps / window_ps if window_ps > 0 else None,
        "replicas_ready_max": int(seen["ready"].max(initial=0)),
        "replicas_wanted_max": int(seen["wanted"].max(initial=0)),
        "scale_ups": sum(int(c["scaled_up"]) for c in chosen),
        "scale_downs": sum(int(c["scaled_down"]) for c in chosen),
        "cold_starts": sum(int(c["run_replicas_started"]) for c in chosen),
    }
