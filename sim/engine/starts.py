"""How long the cold starts of a run took: worked out from its seed, as nothing of a start is kept."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim.arrays import pool_rows
from sim.jit import plain
from sim.model.layout import (
    L_N_STEP,
    L_STEP,
    N_QUANTILE_BITS,
    P_SEED,
    Q_SIZE,
    Q_STARTED,
    STEP_AFTER,
    STEP_DRAW,
    STEP_PS,
    STEP_SIZE,
    Params,
    State,
)
from sim.rng import STREAM_STAGE, draw


class Starts(NamedTuple):
    """The cold starts of one pool, in the order in which they began; those cut short as long as they would have been."""

    steps_ps: np.ndarray  # (step, start)
    total_ps: np.ndarray  # (start,)


def starts_of(p: Params, pool: int, n: int) -> Starts:
    """The first n cold starts of a pool."""
    row = pool_rows(p)[pool]
    n_step, first = int(row[L_N_STEP]), int(row[L_STEP])
    rows = p.m[p.step + first * STEP_SIZE :][: n_step * STEP_SIZE].reshape(n_step, STEP_SIZE)
    steps, ends = np.zeros((n_step, n), dtype=np.int64), np.zeros((n_step, n), dtype=np.int64)
    for i, step in enumerate(rows):
        words = plain(draw)(int(p.m[P_SEED]), STREAM_STAGE + int(step[STEP_DRAW]), pool, np.arange(n))
        steps[i] = step[STEP_PS:][words >> (63 - N_QUANTILE_BITS)]
        waits = [ends[j] for j in range(i) if (int(step[STEP_AFTER]) >> j) & 1]
        ends[i] = steps[i] + (np.max(waits, axis=0) if waits else 0)
    return Starts(steps, ends.max(axis=0, initial=0))


def all_starts(p: Params, st: State) -> tuple[Starts, ...]:
    """The cold starts that a run had, of each pool."""
    pools = st.m[st.pool : st.group].reshape(-1, Q_SIZE)
    return tuple(starts_of(p, pool, int(row[Q_STARTED])) for pool, row in enumerate(pools))
