"""Philox4x32-10 in plain integers, from the paper (Salmon et al., SC 2011): the plain model's own dice."""

from __future__ import annotations

import functools

MULTIPLY = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
LOW = 2**32 - 1


def philox(counter: tuple[int, ...], key: tuple[int, ...], rounds: int = 10) -> tuple[int, ...]:
    """Four random words of a counter of four words and a key of two."""
    a, b, c, d = counter
    left, right = key
    for _ in range(rounds):
        one, other = MULTIPLY[0] * a, MULTIPLY[1] * c
        a, b, c, d = (other >> 32) ^ b ^ left, other & LOW, (one >> 32) ^ d ^ right, one & LOW
        left, right = left + WEYL[0] & LOW, right + WEYL[1] & LOW
    return a, b, c, d


@functools.lru_cache(maxsize=4096)
def draw_below(seed: int, stream: int, entity: int, index: int, n: int) -> int:
    """A whole number from 0 to n − 1: the top 31 bits of the first word, scaled."""
    words = philox((index & LOW, index >> 32, entity, stream), (seed & LOW, seed >> 32))
    return (words[0] >> 1) * n >> 31
