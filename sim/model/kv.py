"""Exact KV blocks of a decode set, without touching its sequences.

A sequence that joined with c computed tokens at step s has c − s + step of them at any later step. It needs a block
when that count is a multiple of the block size, so counting sequences by (c − s) mod block_size tells how many blocks
each future step takes.
"""

from __future__ import annotations

from sim.jit import jit


@jit
def blocks_of(tokens, block):
    """Blocks that hold so many tokens."""
    return (tokens + block - 1) // block


@jit
def step_blocks(residue, o, block, step):
    """Blocks that the decode set takes when `step` is scheduled."""
    return residue[o + (-step) % block]


@jit
def jump_blocks(residue, o, block, n_decode, step, first, last):
    """Blocks taken by the steps step + first … step + last − 1."""
    n = last - first
    if n <= 0:
        return 0
    cycles = n // block
    total = cycles * n_decode
    at = (-(step + first)) % block
    for _ in range(n - cycles * block):
        total += residue[o + at]
        at = at - 1 if at > 0 else block - 1
    return total


@jit
def steps_that_fit(residue, o, block, n_decode, step, k, free):
    """How many of the k steps from `step` on (the first is already paid for) `free` blocks are enough for; ≥ 1."""
    if free >= n_decode * ((k + block - 1) // block):
        return k
    cycles = free // n_decode
    fits = 1 + cycles * block
    left = free - cycles * n_decode
    at = (-(step + fits)) % block
    while fits < k:
        left -= residue[o + at]
        if left < 0:
            break
        fits += 1
        at = at - 1 if at > 0 else block - 1
    return fits if fits < k else k
