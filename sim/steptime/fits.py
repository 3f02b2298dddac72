"""Step-time curves fitted to measured rows by weighted least squares."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from sim.scenario.hardware import Coefficients, Grid
from sim.steptime.rows import Row


def as_arrays(rows: list[Row]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(batch size, length, latency_ms) of rows, each (row,) float."""
    columns = np.array([(r.batch_size, r.length, r.latency_ms) for r in rows], dtype=float).reshape(-1, 3)
    return columns[:, 0], columns[:, 1], columns[:, 2]


def least_squares(terms: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Coefficients ≥ 0 that minimise the squared relative error of `terms @ c` against `target` > 0.

    terms: (row, coefficient). Every subset of the terms is solved and the best without a negative coefficient
    taken: exact, and there are at most three.
    """
    scaled = terms / target[:, None]
    size = terms.shape[1]
    best, best_error = np.zeros(size), np.inf
    for count in range(1, size + 1):
        for chosen in combinations(range(size), count):
            part = scaled[:, chosen]
            solved = np.linalg.lstsq(part, np.ones(len(target)), rcond=None)[0]
            error = float(np.sum((part @ solved - 1.0) ** 2))
            if (solved >= 0).all() and error < best_error:
                best, best_error = np.zeros(size), error
                best[list(chosen)] = solved
    return best


def fit_prompts(rows: list[Row]) -> np.ndarray:
    """(p0, p1, p2) in ms of p0 + p1·tokens + p2·Σ length², from prefill rows."""
    batch, length, latency_ms = as_arrays(rows)
    terms = np.column_stack([np.ones_like(batch), batch * length, batch * length**2])
    return least_squares(terms, latency_ms)


def fit_coefficients(prefill: list[Row], decode: list[Row], source: str) -> Coefficients:
    """The linear step time: decode = d0 + d1·sequences + d2·kv tokens, beside `fit_prompts`."""
    p0, p1, p2 = fit_prompts(prefill)
    batch, length, latency_ms = as_arrays(decode)
    terms = np.column_stack([np.ones_like(batch), batch, batch * length])
    d0, d1, d2 = least_squares(terms, latency_ms)
    return Coefficients(
        d0_ms=max(float(d0), 1e-9),
        d1_ms=float(d1),
        d2_ms=float(d2),
        p0_ms=float(p0),
        p1_ms=float(p1),
        p2_ms=float(p2),
        source=source,
    )


def rising(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The non-decreasing sequence nearest to `values` in weighted squares (pool adjacent violators)."""
    blocks: list[list[float]] = []  # value, weight, how many
    for value, weight in zip(values, weights, strict=True):
        blocks.append([float(value), float(weight), 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            value2, weight2, count2 = blocks.pop()
            value1, weight1, count1 = blocks.pop()
            total = weight1 + weight2
            blocks.append([(value1 * weight1 + value2 * weight2) / total, total, count1 + count2])
    return np.repeat([b[0] for b in blocks], [int(b[2]) for b in blocks])


def fit_slopes(batch: np.ndarray, kv: np.ndarray, latency_ms: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """ms per KV token at each batch size, not falling with it.

    A batch size measured at one length only takes the pooled slope of its neighbours (weight almost nothing).
    """
    slopes, weights = np.zeros(len(sizes)), np.full(len(sizes), 1e-12)
    for i, size in enumerate(sizes):
        at = batch == size
        share = 1.0 / latency_ms[at] ** 2
        spread = kv[at] - np.average(kv[at], weights=share)
        information = float(np.sum(share * spread**2))
        if information > 0:
            slopes[i] = max(0.0, float(np.sum(share * spread * latency_ms[at]) / information))
            weights[i] = information
    known = weights > 1e-12
    if known.any():
        slopes[~known] = np.interp(sizes[~known], sizes[known], slopes[known])
    return rising(slopes, weights)


def fit_grid(prefill: list[Row], decode: list[Row], source: str) -> Grid:
    """Decode base and slope at every measured batch size, both not falling with it, beside `fit_prompts`."""
    p0, p1, p2 = fit_prompts(prefill)
    batch, length, latency_ms = as_arrays(decode)
    kv = batch * length
    sizes = np.unique(batch)
    slopes = fit_slopes(batch, kv, latency_ms, sizes)
    rest = latency_ms - slopes[np.searchsorted(sizes, batch)] * kv
    bases, weights = np.zeros(len(sizes)), np.zeros(len(sizes))
    for i, size in enumerate(sizes):
        share = 1.0 / latency_ms[batch == size] ** 2
        bases[i], weights[i] = np.average(rest[batch == size], weights=share), share.sum()
    return Grid(
        batch_size=tuple(int(n) for n in sizes),
        base_ms=tuple(float(b) for b in np.maximum(rising(bases, weights), 1e-9)),
        slope_ms=tuple(float(s) for s in slopes),
        p0_ms=float(p0),
        p1_ms=float(p1),
        p2_ms=float(p2),
        source=source,
    )
