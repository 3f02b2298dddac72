"""How long prompts and answers are: whole tokens from a class's distributions, correlated if it says so."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sim.scenario.dist import Dist
from sim.scenario.traffic import TrafficClass
from sim.workload.dists import sample
from sim.workload.normal import ndtr, ndtri
from sim.workload.streams import generator

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]
TOKENS_MAX = 2**31 - 1


def make_lengths(traffic: TrafficClass, n: int, seed: int) -> tuple[Ints, Ints]:
    """(prompt_tokens ≥ 1, output_tokens ≥ 0) of the first `n` requests; request i's do not depend on `n`."""
    u_prompt = generator(seed, "prompt_tokens", traffic.name).random(n)
    u_output = generator(seed, "output_tokens", traffic.name).random(n)
    if traffic.prompt_output_spearman:
        u_output = correlated(u_prompt, u_output, traffic.prompt_output_spearman)
    return _whole(traffic.prompt_tokens, u_prompt, 1), _whole(traffic.output_tokens, u_output, 0)


def correlated(u: Floats, independent: Floats, spearman: float) -> Floats:
    """Uniforms with rank correlation `spearman` to `u`: a Gaussian copula with ρ = 2 sin(π·spearman/6)."""
    rho = 2.0 * math.sin(math.pi * spearman / 6.0)
    tiny = 2.0**-54  # keeps the normal scale finite at u = 0
    z = rho * ndtri(u + tiny) + math.sqrt(1.0 - rho * rho) * ndtri(independent + tiny)
    return np.minimum(ndtr(z), 1.0 - 2.0**-53)


def _whole(dist: Dist, u: Floats, least: int) -> Ints:
    return np.minimum(np.maximum(np.rint(sample(dist, u)), least), TOKENS_MAX).astype(np.int32)
