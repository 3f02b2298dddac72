"""The engine's CPU beside the GPU: what of its work overlaps with a step, what adds to it, and what bounds it."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from sim.scenario.hardware import Law
from sim.steptime.efficiency import Efficiency


class Host(NamedTuple):
    """How an engine's processes are set up."""

    async_scheduling: bool = True  # the next step is scheduled while the GPU computes this one
    api_servers: int = 1  # processes that hand tokens to clients


def with_host_s(
    gpu_s: np.ndarray, n: np.ndarray, n_all: np.ndarray, host: Host, eff: Efficiency
) -> np.ndarray:
    """Seconds of steps that take the GPU `gpu_s`, with the engine's CPU work; shapes broadcast.

    n: sequences of a data-parallel group, each of which has a scheduler; n_all: of all groups, whose tokens go through
    the same API servers. Scheduling the next step needs only the number of this one's tokens, so with
    `async_scheduling` it runs beside the GPU and the longer of the two counts; without, it adds. Preparing inputs and
    taking up the sampled tokens needs the tokens themselves and always adds. No step ends before the API servers have
    handed out the tokens of one.
    """
    schedule_s = (eff.schedule_us + eff.schedule_sequence_us * n) * 1e-6
    inner_s = np.maximum(gpu_s, schedule_s) if host.async_scheduling else gpu_s + schedule_s
    step_s = inner_s + eff.step_us * 1e-6 + eff.sequence_us * 1e-6 * n
    return np.maximum(step_s, eff.stream_us * 1e-6 * n_all / host.api_servers)


def without_host(law: Law) -> Law:
    """The law of the GPU alone."""
    return replace(
        law, sequence_us=0.0, step_us=0.0, schedule_us=0.0, schedule_sequence_us=0.0, stream_us=0.0
    )
