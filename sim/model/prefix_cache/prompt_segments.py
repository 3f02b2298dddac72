"""The path of a prompt through the tree of segments: which segment each of its KV blocks belongs to.

The block size of the pool says where blocks end.
"""

from __future__ import annotations

from sim.compile.jit import jit
from sim.model.base.kv_blocks import full_blocks


@jit
def leaf_of(params, i):
    """The segment that the prompt of request i ends in, −1 = none."""
    return params.leaf[i] if params.leaf_at > 0 else -1


@jit
def shared_blocks(params, pool, i):
    """Full blocks of request i that lie in segments; those behind them are its own."""
    return full_blocks(pool, params.shared_tokens[i]) if params.leaf_at > 0 else 0


@jit
def first_block(params, pool, segment):
    """The first block of a segment."""
    return full_blocks(pool, params.segment[segment].start)


@jit
def parent_of(params, segment):
    """The segment before this one, −1 = none."""
    return params.segment[segment].parent


@jit
def above(params, i, segment):
    """The segment before this one or before what is request i's own, −1 = none."""
    return leaf_of(params, i) if segment >= params.n_segment else parent_of(params, segment)
