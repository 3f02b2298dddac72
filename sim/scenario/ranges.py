"""How low a distribution goes, how high, and what it comes to on average."""

from __future__ import annotations

import math

from sim.scenario.dist import (
    Constant,
    Dist,
    Exponential,
    Gamma,
    Geometric,
    Lognormal,
    LognormalMixture,
    Quantiles,
    Uniform,
    Weibull,
)

Z99 = 2.3263478740408408  # the 99th percentile of the standard normal


def lowest(dist: Dist) -> float:
    """The least that can be drawn: of the families, only these can have any sign."""
    low = 0.0
    if isinstance(dist, Constant):
        low = dist.value
    elif isinstance(dist, Uniform):
        low = dist.low
    elif isinstance(dist, Quantiles):
        low = dist.v[0]
    return clamped(dist, low)


def highest(dist: Dist) -> float:
    """The most that can be drawn; infinite for a family without an end that has no `max`."""
    high = math.inf
    if isinstance(dist, Constant):
        high = dist.value
    elif isinstance(dist, Uniform):
        high = dist.high
    elif isinstance(dist, Quantiles):
        high = dist.v[-1]
    return clamped(dist, high)


def mean(dist: Dist) -> float:
    """The mean of the family, brought between `min` and `max` (draws are clamped one by one, so it is near the mean of
    those, not equal to it).
    """
    return clamped(dist, unclamped_mean(dist))


def clamped(dist: Dist, value: float) -> float:
    """The value, no lower than the distribution's `min` and no higher than its `max`."""
    value = value if dist.max is None else min(value, dist.max)
    return value if dist.min is None else max(value, dist.min)


def unclamped_mean(dist: Dist) -> float:
    """The mean of the family by itself; infinite where it is beyond every number."""
    if isinstance(dist, Constant):
        return dist.value
    if isinstance(dist, Exponential):
        return dist.mean
    if isinstance(dist, Uniform):
        return (dist.low + dist.high) / 2
    if isinstance(dist, Lognormal | LognormalMixture):
        return lognormal_mean(dist)
    if isinstance(dist, Gamma):
        return dist.shape * dist.scale
    if isinstance(dist, Weibull):
        return dist.scale * exp(math.lgamma(1 + 1 / dist.shape))
    if isinstance(dist, Geometric):
        return 1 / dist.p
    assert isinstance(dist, Quantiles)
    return quantiles_mean(dist)


def lognormal_mean(dist: Lognormal | LognormalMixture) -> float:
    """exp(mu + sigma² / 2), weighted for a mixture."""
    if isinstance(dist, LognormalMixture):
        parts = zip(dist.w, dist.mu, dist.sigma, strict=True)
        return sum(w * exp(mu + sigma**2 / 2) for w, mu, sigma in parts) / sum(dist.w)
    if dist.median is not None and dist.p99 is not None:
        mu, sigma = math.log(dist.median), math.log(dist.p99 / dist.median) / Z99
        return exp(mu + sigma**2 / 2)
    return exp((dist.mu or 0.0) + (dist.sigma or 0.0) ** 2 / 2)


def quantiles_mean(dist: Quantiles) -> float:
    """The area under the inverse CDF: straight lines between, flat before the first and after the last."""
    q = [0.0, *(part / 100 for part in dist.q), 1.0]
    v = [dist.v[0], *dist.v, dist.v[-1]]
    return sum((q[i + 1] - q[i]) * (v[i] + v[i + 1]) / 2 for i in range(len(q) - 1))


def exp(power: float) -> float:
    """e to the power, infinite where no float is so large."""
    return math.exp(power) if power < 700 else math.inf
