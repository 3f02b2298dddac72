"""Which routed experts a step reads, and how unevenly its tokens fall on the GPUs that hold them.

A router prefers some experts: their popularity is taken as rank^-skew, and experts lie on GPUs in random order. Under
expert parallelism a layer waits for its busiest GPU. docs/step-time.md says what the skew was fitted to.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from sim.scenario.hardware import Model

PLACEMENTS = 200  # random orders over which the busiest GPU is averaged
SIZES = np.unique(np.round(2.0 ** np.arange(0, 14.01, 0.25)).astype(int))  # tokens of a step


class Load(NamedTuple):
    """What the busiest GPU of a layer does, by tokens of a step."""

    touched: np.ndarray  # experts it reads; with ep 1 those that are touched anywhere
    busiest: np.ndarray  # its share of the layer's tokens, times the number of GPUs: 1 is even


def chosen_share(n_experts: int, n_active: int, skew: float) -> np.ndarray:
    """(n_experts,) the probability that a token chooses each expert; they sum to n_active.

    With popularity p the chance is 1 − exp(−λ·p): as if experts were drawn one after another without replacement.
    That is near for several experts; for one it is p itself.
    """
    popularity = np.arange(1, n_experts + 1, dtype=float) ** -skew
    if n_active == 1:
        return np.asarray(popularity / popularity.sum())
    low, high = 0.0, 1e12
    for _ in range(200):
        middle = np.sqrt(max(low, 1e-12) * high)
        if (1.0 - np.exp(-middle * popularity)).sum() < n_active:
            low = middle
        else:
            high = middle
    share = 1.0 - np.exp(-high * popularity)
    return np.asarray(share * (n_active / share.sum()))


@cache
def _at_sizes(n_experts: int, n_active: int, ep: int, skew: float) -> Load:
    """The load at SIZES, means over random placements. The draws are the same on every call."""
    share = chosen_share(n_experts, n_active, skew) if n_active < n_experts else np.ones(n_experts)
    share = np.minimum(share, 1.0)
    if ep == 1:
        return Load((1.0 - (1.0 - share) ** SIZES[:, None]).sum(axis=1), np.ones(len(SIZES)))
    dice = np.random.Generator(np.random.Philox(key=7))
    order = np.argsort(dice.random((PLACEMENTS, n_experts)), axis=1)
    starts = np.searchsorted(np.arange(n_experts) * ep // n_experts, np.arange(ep))
    touched, busiest = [], []
    for size in SIZES:
        tokens = dice.binomial(size, share[order])  # of each expert, in the order of the GPUs
        held = np.add.reduceat(tokens, starts, axis=1)
        touched.append(np.add.reduceat(tokens > 0, starts, axis=1).max(axis=1).mean())
        busiest.append((held.max(axis=1) / np.maximum(held.sum(axis=1), 1)).mean() * ep)
    return Load(np.maximum.accumulate(touched), np.maximum(1.0, np.array(busiest)))


def load_of(model: Model, ep: int, skew: float, n_tokens: np.ndarray) -> Load:
    """The load of a step of `n_tokens` tokens (any shape, above 0).

    Between SIZES it is linear in the logarithm of the tokens, past the last it stays.
    """
    at = _at_sizes(int(model.experts or 0), int(model.experts_active or 0), ep, float(skew))
    z, sizes = np.log(np.maximum(n_tokens, 1.0)), np.log(SIZES)
    return Load(np.interp(z, sizes, at.touched), np.interp(z, sizes, at.busiest))
