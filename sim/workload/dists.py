"""Draws from a `Dist` on the host, always through its inverse CDF: uniforms in, values out."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.scenario import dist as d
from sim.workload.normal import gammaincinv, ndtr, ndtri

Floats = NDArray[np.float64]
Z99 = 2.3263478740408408  # the 99th percentile of the standard normal
TABLE_Z = 8.5  # tables cover ± this many standard deviations of the normal scale
N_NODE = 8193
N_CELL = 2048


def sample(dist: d.Dist, u: Floats) -> Floats:
    """The quantiles of `dist` at `u` in [0, 1), clamped to its min and max; same shape as `u`."""
    values = _inverse(dist, np.asarray(u, dtype=np.float64))
    if dist.min is None and dist.max is None:
        return values
    return np.clip(values, dist.min, dist.max)


def quantile_table(dist: d.Dist, n: int) -> Floats:
    """The `n` midpoint quantiles of `dist`, at (i + ½)/n: what draws inside a run are taken from."""
    return sample(dist, (np.arange(n) + 0.5) / n)


def _inverse(dist: d.Dist, u: Floats) -> Floats:
    if isinstance(dist, d.Constant):
        return np.full(u.shape, dist.value)
    if isinstance(dist, d.Exponential):
        return -dist.mean * np.log1p(-u)
    if isinstance(dist, d.Uniform):
        return dist.low + (dist.high - dist.low) * u
    if isinstance(dist, d.Lognormal):
        return _lognormal(dist, u)
    if isinstance(dist, d.LognormalMixture):
        return _lognormal_mixture(dist, u)
    if isinstance(dist, d.Gamma):
        return _gamma(dist, u)
    if isinstance(dist, d.Weibull):
        return dist.scale * (-np.log1p(-u)) ** (1.0 / dist.shape)
    if isinstance(dist, d.Geometric):
        return _geometric(dist, u)
    if isinstance(dist, d.Quantiles):
        return _between_quantiles(dist, u)
    raise TypeError(f"no inverse CDF for {type(dist).__name__}")


def log_parameters(dist: d.Lognormal) -> tuple[float, float]:
    """(mu, sigma) of ln X, from whichever pair the description gives."""
    if dist.mu is not None and dist.sigma is not None:
        return dist.mu, dist.sigma
    assert dist.median is not None
    assert dist.p99 is not None
    return math.log(dist.median), math.log(dist.p99 / dist.median) / Z99


def _lognormal(dist: d.Lognormal, u: Floats) -> Floats:
    mu, sigma = log_parameters(dist)
    if sigma == 0:
        return np.full(u.shape, math.exp(mu))
    return np.exp(mu + sigma * ndtri(np.clip(u, 1e-300, None)))


def _lognormal_mixture(dist: d.LognormalMixture, u: Floats) -> Floats:
    """Through a table of the mixture's CDF on an even grid of ln x; error far below one part in 10⁴."""
    w, mu, sigma = (np.asarray(part) for part in (dist.w, dist.mu, dist.sigma))
    low, high = (mu - TABLE_Z * sigma).min(), (mu + TABLE_Z * sigma).max()
    grid = np.linspace(low, high, N_NODE)
    cdf = ndtr((grid[:, None] - mu) / sigma) @ (w / w.sum())
    return np.exp(np.interp(u, cdf, grid))


def _gamma(dist: d.Gamma, u: Floats) -> Floats:
    """Through a table that is even on the normal scale: exact at its nodes, straight between them."""
    nodes_u = ndtr(np.linspace(-TABLE_Z, TABLE_Z, N_NODE))
    return dist.scale * np.interp(u, nodes_u, gammaincinv(dist.shape, nodes_u))


def _geometric(dist: d.Geometric, u: Floats) -> Floats:
    if dist.p == 1:
        return np.ones(u.shape)
    return np.maximum(1.0, np.ceil(np.log1p(-u) / math.log1p(-dist.p)))


def _between_quantiles(dist: d.Quantiles, u: Floats) -> Floats:
    """np.interp, bit for bit; many draws look their piece up instead of searching for it."""
    q, v = np.asarray(dist.q) / 100.0, np.asarray(dist.v)
    if u.ndim != 1 or len(u) < N_CELL or len(q) < 2 or q[0] > 0 or q[-1] < 1:
        return np.interp(u, q, v)
    cells = _cells(dist)
    cell = (u * N_CELL).astype(np.int32)
    values = cells.slope[cell] * (u - cells.begin[cell]) + cells.value[cell]
    mixed = np.flatnonzero(cells.is_mixed[cell])
    values[mixed] = np.interp(u[mixed], q, v)
    return values


class _Cells(NamedTuple):
    """Parts of [0, 1) of one length: the piece of the curve that lies over each of them."""

    begin: Floats  # (cell,)
    value: Floats
    slope: Floats
    is_mixed: NDArray[np.bool_]  # more than one piece does


@functools.lru_cache  # the same for all seeds of a sweep
def _cells(dist: d.Quantiles) -> _Cells:
    q, v = np.asarray(dist.q) / 100.0, np.asarray(dist.v)
    borders = np.arange(N_CELL + 1) / N_CELL
    piece = np.searchsorted(q, borders[:-1], side="right") - 1
    last = np.searchsorted(q, borders[1:], side="left") - 1  # the piece just before the cell's end
    return _Cells(q[piece], v[piece], (np.diff(v) / np.diff(q))[piece], last > piece)
