"""Exact KV blocks of a decode set, without touching its sequences.

A sequence that joined with c computed tokens at step s has c − s + step of them at any later step. It needs a block
when that count is a multiple of the block size, so counting sequences by (c − s) mod block_size tells how many blocks
each future step takes. `lo` is the row of the pool, `o` where the counts of a replica start.

Block sizes are powers of two nearly everywhere: a shift takes a tenth of the time of a division.
"""

from __future__ import annotations

from sim.jit import jit
from sim.model.layout import L_BLOCK, L_BLOCK_SHIFT


@jit
def full_blocks(p, lo, tokens):
    """Blocks that so many tokens fill."""
    shift = p.m[lo + L_BLOCK_SHIFT]
    return tokens >> shift if shift >= 0 else tokens // p.m[lo + L_BLOCK]


@jit
def blocks_of(p, lo, tokens):
    """Blocks that hold so many tokens."""
    return full_blocks(p, lo, tokens + p.m[lo + L_BLOCK] - 1)


@jit
def place_in_block(p, lo, n):
    """n modulo the block size."""
    block = p.m[lo + L_BLOCK]
    return n & (block - 1) if p.m[lo + L_BLOCK_SHIFT] >= 0 else n % block


@jit
def step_blocks(p, st, lo, o, step):
    """Blocks that the decode set takes when `step` is scheduled."""
    return st.m[o + place_in_block(p, lo, -step)]


@jit
def jump_blocks(p, st, lo, o, n_decode, step, first, last):
    """Blocks taken by the steps step + first … step + last − 1."""
    n = last - first
    if n <= 0:
        return 0
    block = p.m[lo + L_BLOCK]
    cycles = full_blocks(p, lo, n)
    total = cycles * n_decode
    at = place_in_block(p, lo, -(step + first))
    for _ in range(n - cycles * block):
        total += st.m[o + at]
        at = at - 1 if at > 0 else block - 1
    return total


@jit
def steps_that_fit(p, st, lo, o, n_decode, step, k, free):
    """How many of the k steps from `step` on (the first is already paid for) `free` blocks are enough for; ≥ 1."""
    if free >= n_decode * blocks_of(p, lo, k):
        return k
    block = p.m[lo + L_BLOCK]
    cycles = free // n_decode
    fits = 1 + cycles * block
    left = free - cycles * n_decode
    at = place_in_block(p, lo, -(step + fits))
    while fits < k:
        left -= st.m[o + at]
        if left < 0:
            break
        fits += 1
        at = at - 1 if at > 0 else block - 1
    return fits if fits < k else k
