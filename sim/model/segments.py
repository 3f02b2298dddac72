"""The way of a prompt through the tree of segments: which segment each of its KV blocks belongs to.

`lo` is the row of the pool, whose block size tells where blocks end.
"""

from __future__ import annotations

from sim.jit import jit
from sim.model.kv import full_blocks
from sim.model.layout import (
    P_LEAF,
    P_N_SEGMENT,
    P_SEGMENT,
    P_SHARED,
    SEG_PARENT,
    SEG_SIZE,
    SEG_START,
)


@jit
def leaf_of(p, i):
    """The segment that the prompt of request i ends in, −1 = none."""
    return p.trace[p.m[P_LEAF] + i] if p.m[P_LEAF] > 0 else -1


@jit
def shared_blocks(p, lo, i):
    """Full blocks of request i that lie in segments; those behind them are its own."""
    return full_blocks(p, lo, p.trace[p.m[P_SHARED] + i]) if p.m[P_LEAF] > 0 else 0


@jit
def first_block(p, lo, segment):
    """The first block of a segment."""
    return full_blocks(p, lo, p.trace[p.m[P_SEGMENT] + segment * SEG_SIZE + SEG_START])


@jit
def parent_of(p, segment):
    """The segment before this one, −1 = none."""
    return p.trace[p.m[P_SEGMENT] + segment * SEG_SIZE + SEG_PARENT]


@jit
def above(p, i, segment):
    """The segment before this one or before what is request i's own, −1 = none."""
    return leaf_of(p, i) if segment >= p.m[P_N_SEGMENT] else parent_of(p, segment)
