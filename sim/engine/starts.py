"""How long the cold starts of a run took: computed from its seed, as a run keeps nothing of a start; where starts share
links, read from histograms.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim.compile.jit import plain
from sim.engine.nodes import node_columns
from sim.fill.state import pool_rows
from sim.model.base.histogram import N_BUCKET, bucket_edges_ps
from sim.model.tables.pool import N_QUANTILE_BITS
from sim.model.tables.run import Params, State
from sim.rng import STREAM_STAGE, draw


class Starts(NamedTuple):
    """The cold starts of one pool, in the order in which they began; those cut short as long as they would have been. Where
    starts share links: those that came to their end, in order of length, each step by itself, within 1 %.
    """

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
    return tuple(
        counted_starts(params, state, pool)
        if params.pool[pool].n_transfer
        else starts_of(params, pool, int(n))
        for pool, n in enumerate(started)
    )


def counted_starts(params: Params, state: State, pool: int) -> Starts:
    """The cold starts of a pool whose starts share links, from its histograms."""
    row = params.pool[pool]
    n_row = 1 + int(row.n_step)
    hist = state.start_hist[int(row.starts_at) :][: n_row * N_BUCKET].reshape(n_row, N_BUCKET)
    edges_ps = bucket_edges_ps()
    total, *steps = (middles(edges_ps, counts) for counts in hist)
    return Starts(np.array(steps).reshape(len(steps), len(total)), total)


def taken_columns(params: Params, state: State) -> dict[str, np.ndarray]:
    """Column → (step,) of the starts that came to their end, in that order, as far as there was room; nothing where starts
    depend neither on nodes nor on links. `pool_id`, `replica_id` (its place in the pool), `start`, `step` (its pool's),
    `how` (HOW_NAMES), `link_id` (−1 = none; behind the links its own node, then the one that served it), `peer` and its
    group `peer_group_id` (−1 = no node did), instants and bytes.
    """
    n = min(int(state.n_taken), int(params.n_taken) - 1)
    if n <= 0:
        return {}
    rows, pools = state.rows("taken", n), pool_rows(params)
    pool = np.repeat(np.arange(len(pools)), pools["n_replica"])[rows["replica"]]
    named = ("start", "step", "wanted_ps", "got_ps", "placed_ps", "begin_ps", "end_ps", "how", "moved_bytes")
    return {
        "pool_id": pool,
        "replica_id": rows["replica"] - pools["first_replica"][pool],
        "place": rows["replica"],
        "link_id": rows["link"] - 1,
        **node_columns(params, rows["peer"] - 1, "peer_group_id", "peer"),
        "bound_ps": rows["bound_ps"],
        **{name: rows[name] for name in named},
    }


def middles(edges_ps: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The values of a histogram, (value,) int64 rising, each in the middle of its bucket; 0 in the first."""
    bucket = np.repeat(np.arange(len(counts)), counts)
    middle = (edges_ps[bucket] + edges_ps[bucket + 1] - 1) // 2
    return np.where(bucket > 0, middle, 0)
