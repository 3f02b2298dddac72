"""How long the cold starts of a pool took, and each of their stages."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.scenario.coldstart import in_order
from sim.units import PS_PER_S


def cold_start_times(scenario: Any, result: Any, pool_id: int) -> dict[str, Any] | None:
    """Seconds of a pool's cold starts over the whole run, None where there was none: half of them took no longer than
    `median_s`, nine in ten no longer than `p90_s`. `stages` has each stage's own median, side by side or not."""
    starts = result.starts[pool_id] if result.starts else None
    if starts is None or len(starts.total_ps) == 0:
        return None
    stages = scenario.pools[pool_id].coldstart.stages
    names = [stages[place].name for place in in_order(stages)]
    return {
        "median_s": quantile_s(starts.total_ps, 0.5),
        "p90_s": quantile_s(starts.total_ps, 0.9),
        "max_s": quantile_s(starts.total_ps, 1.0),
        "stages": {name: quantile_s(ps, 0.5) for name, ps in zip(names, starts.steps_ps, strict=True)},
    }


def quantile_s(times_ps: np.ndarray, share: float) -> float:
    """The nearest-rank quantile of some times, in seconds."""
    rank = max(1, int(np.ceil(share * len(times_ps))))
    return float(np.sort(times_ps)[rank - 1]) / PS_PER_S
