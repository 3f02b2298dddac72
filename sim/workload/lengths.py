"""How long prompts and answers are: whole tokens from a class's distributions, correlated if it says so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from sim.scenario.dist import Dist
from sim.scenario.traffic import TrafficClass
from sim.workload.dists import sample
from sim.workload.normal import ndtr, ndtri
from sim.workload.streams import passing_generator

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]
TOKENS_MAX = 2**31 - 1
TOGETHER_MAX = 16_384  # requests whose numbers lie in the processor's cache


def make_lengths(traffic: TrafficClass, n: int, seed: int) -> tuple[Ints, Ints]:
    """(prompt_tokens ≥ 1, output_tokens ≥ 0) of the first `n` requests; request i's do not depend on `n`."""
    return lengths_of_seeds(traffic, [n], [seed])[0]


def lengths_of_seeds(
    traffic: TrafficClass, numbers: Sequence[int], seeds: Sequence[int]
) -> list[tuple[Ints, Ints]]:
    """The lengths of so many requests with each of some seeds: each request's as it has them alone, for all that is done
    with a uniform is done to it alone.
    """
    found: list[tuple[Ints, Ints]] = []
    first = 0
    for i in range(1, len(seeds) + 1):
        if i == len(seeds) or sum(numbers[first : i + 1]) > TOGETHER_MAX:
            found += _lengths(traffic, numbers[first:i], seeds[first:i])
            first = i
    return found


def _lengths(traffic: TrafficClass, numbers: Sequence[int], seeds: Sequence[int]) -> list[tuple[Ints, Ints]]:
    u_prompt, u_output = (
        np.concatenate(
            [
                passing_generator(seed, stream, traffic.name).random(n)
                for seed, n in zip(seeds, numbers, strict=True)
            ]
        )
        for stream in ("prompt_tokens", "output_tokens")
    )
    if traffic.prompt_output_spearman:
        u_output = correlated(u_prompt, u_output, traffic.prompt_output_spearman)
    prompt, output = _whole(traffic.prompt_tokens, u_prompt, 1), _whole(traffic.output_tokens, u_output, 0)
    ends = list(accumulate(numbers))
    return [(prompt[end - n : end], output[end - n : end]) for n, end in zip(numbers, ends, strict=True)]


def correlated(u: Floats, independent: Floats, spearman: float) -> Floats:
    """Uniforms with rank correlation `spearman` to `u`: a Gaussian copula with ρ = 2 sin(π·spearman/6)."""
    rho = 2.0 * math.sin(math.pi * spearman / 6.0)
    tiny = 2.0**-54  # keeps the normal scale finite at u = 0
    z = rho * ndtri(u + tiny) + math.sqrt(1.0 - rho * rho) * ndtri(independent + tiny)
    return np.minimum(ndtr(z), 1.0 - 2.0**-53)


def _whole(dist: Dist, u: Floats, least: int) -> Ints:
    return np.minimum(np.maximum(np.rint(sample(dist, u)), least), TOKENS_MAX).astype(np.int32)
