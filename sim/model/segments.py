"""The way of a prompt through the tree of segments: which segment each of its KV blocks belongs to."""

from __future__ import annotations

from sim.jit import jit
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
def shared_blocks(p, i, block):
    """Full blocks of request i that lie in segments; those behind them are its own."""
    return p.trace[p.m[P_SHARED] + i] // block if p.m[P_LEAF] > 0 else 0


@jit
def segment_first(p, i, segment, block):
    """The first block of a segment, or of what is request i's own."""
    if segment >= p.m[P_N_SEGMENT]:
        return shared_blocks(p, i, block)
    return p.trace[p.m[P_SEGMENT] + segment * SEG_SIZE + SEG_START] // block


@jit
def segment_at(p, i, j, block):
    """The segment of block j of request i."""
    if j >= shared_blocks(p, i, block):
        return p.m[P_N_SEGMENT] + i
    segment = leaf_of(p, i)
    while segment_first(p, i, segment, block) > j:
        segment = p.trace[p.m[P_SEGMENT] + segment * SEG_SIZE + SEG_PARENT]
    return segment


@jit
def segment_end(p, i, j, block):
    """The block behind the last one that request i has in the segment of its block j."""
    end = shared_blocks(p, i, block)
    if j >= end:
        return ENDLESS
    segment = leaf_of(p, i)
    first = segment_first(p, i, segment, block)
    while first > j:
        end = min(end, first)
        segment = p.trace[p.m[P_SEGMENT] + segment * SEG_SIZE + SEG_PARENT]
        first = segment_first(p, i, segment, block)
    return end
