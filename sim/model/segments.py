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

ENDLESS = 1 << 40  # blocks


@jit
def leaf_of(p, i):
    """The segment that the prompt of request i ends in, −1 = none."""
    return p.trace[p.m[P_LEAF] + i] if p.m[P_LEAF] > 0 else -1


@jit
def shared_blocks(p, lo, i):
    """Full blocks of request i that lie in segments; those behind them are its own."""
    return full_blocks(p, lo, p.trace[p.m[P_SHARED] + i]) if p.m[P_LEAF] > 0 else 0


@jit
def segment_first(p, lo, i, segment):
    """The first block of a segment, or of what is request i's own."""
    if segment >= p.m[P_N_SEGMENT]:
        return shared_blocks(p, lo, i)
    return full_blocks(p, lo, p.trace[p.m[P_SEGMENT] + segment * SEG_SIZE + SEG_START])


@jit
def segment_at(p, lo, i, j):
    """The segment of block j of request i."""
    if j >= shared_blocks(p, lo, i):
        return p.m[P_N_SEGMENT] + i
    segment = leaf_of(p, i)
    while segment_first(p, lo, i, segment) > j:
        segment = p.trace[p.m[P_SEGMENT] + segment * SEG_SIZE + SEG_PARENT]
    return segment


@jit
def segment_end(p, lo, i, j):
    """The block behind the last one that request i has in the segment of its block j."""
    end = shared_blocks(p, lo, i)
    if j >= end:
        return ENDLESS
    segment = leaf_of(p, i)
    first = segment_first(p, lo, i, segment)
    while first > j:
        end = min(end, first)
        segment = p.trace[p.m[P_SEGMENT] + segment * SEG_SIZE + SEG_PARENT]
        first = segment_first(p, lo, i, segment)
    return end
