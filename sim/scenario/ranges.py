"""How low a distribution can go."""

from __future__ import annotations

from sim.scenario.dist import Constant, Dist, Quantiles, Uniform


def lowest(dist: Dist) -> float:
    """The least that can be drawn: of the families, only these can have any sign."""
    low = 0.0
    if isinstance(dist, Constant):
        low = dist.value
    elif isinstance(dist, Uniform):
        low = dist.low
    elif isinstance(dist, Quantiles):
        low = dist.v[0]
    low = low if dist.max is None else min(low, dist.max)
    return low if dist.min is None else max(low, dist.min)
