"""Exact KV blocks of a decode set, without touching its sequences.

A sequence that joined with c computed tokens at step s has c − s + step of them at any later step. It needs a block
when that count is a multiple of the block size, so counting sequences by (c − s) mod block_size tells how many blocks
each future step takes: `residue` holds these counts of a replica.

Block sizes are powers of two nearly everywhere: a shift takes a tenth of the time of a division.
"""

from __future__ import annotations

from sim.compile.jit import jit


@jit
def full_blocks(pool, tokens):
    """Blocks that so many tokens fill."""
    shift = pool.block_shift
    return tokens >> shift if shift >= 0 else tokens // pool.block_size


@jit
def blocks_of(pool, tokens):
    """Blocks that hold so many tokens."""
    return full_blocks(pool, tokens + pool.block_size - 1)


@jit
def place_in_block(pool, n):
    """n modulo the block size."""
    block = pool.block_size
    return n & (block - 1) if pool.block_shift >= 0 else n % block


@jit
def step_blocks(pool, residue, step):
    """Blocks that the decode set takes when `step` is scheduled."""
    return residue[place_in_block(pool, -step)]


@jit
def jump_blocks(pool, residue, n_decode, step, first, last):
    """Blocks taken by the steps step + first … step + last − 1."""
    n = last - first
    if n <= 0:
        return 0
    block = pool.block_size
    cycles = full_blocks(pool, n)
    total = cycles * n_decode
    at = place_in_block(pool, -(step + first))
    for _ in range(n - cycles * block):
        total += residue[at]
        at = at - 1 if at > 0 else block - 1
    return total


@jit
def steps_that_fit(pool, residue, n_decode, step, k, free):
    """How many of the k steps from `step` on (the first is already paid for) `free` blocks are enough for; ≥ 1."""
    if free >= n_decode * blocks_of(pool, k):
        return k
    block = pool.block_size
    cycles = free // n_decode
    fits = 1 + cycles * block
    left = free - cycles * n_decode
    at = place_in_block(pool, -(step + fits))
    while fits < k:
        left -= residue[at]
        if left < 0:
            break
        fits += 1
        at = at - 1 if at > 0 else block - 1
    return fits if fits < k else k
