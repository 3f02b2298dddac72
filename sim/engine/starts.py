"""How long the cold starts of a run took: computed from its seed, as a run keeps nothing of a start."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim.compile.jit import plain
from sim.model.tables.pool import N_QUANTILE_BITS
from sim.model.tables.run import Params, State
from sim.rng import STREAM_STAGE, draw


class Starts(NamedTuple):
    """The cold starts of one pool, in the order in which they began; those cut short as long as they would have been."""

    steps_ps: np.ndarray  # (step, start)
    total_ps: np.ndarray  # (start,)


def starts_of(params: Params, pool: int, n: int) -> Starts:
    """The first n cold starts of a pool."""
    row = params.pool[pool]
    n_step, first = int(row.n_step), int(row.first_step)
    steps, ends = np.zeros((n_step, n), dtype=np.int64), np.zeros((n_step, n), dtype=np.int64)
    for i, step in enumerate(params.rows("start_step", first + n_step)[first:]):
        words = plain(draw)(int(params.seed), STREAM_STAGE + int(step["stream"]), pool, np.arange(n))
        steps[i] = step["quantile_ps"][words >> (63 - N_QUANTILE_BITS)]
        waits = [ends[j] for j in range(i) if (int(step["waits_for"]) >> j) & 1]
        ends[i] = steps[i] + (np.max(waits, axis=0) if waits else 0)
    return Starts(steps, ends.max(axis=0, initial=0))


def all_starts(params: Params, state: State) -> tuple[Starts, ...]:
    """The cold starts that a run had, of each pool."""
    started = state.rows("pool", int(params.n_pool))["started"]
    return tuple(starts_of(params, pool, int(n)) for pool, n in enumerate(started))
