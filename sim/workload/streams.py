"""Host-side randomness: a generator is a function of (seed, stream, name)."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, stream: str, name: str) -> np.random.Generator:
    """A Philox generator keyed by a hash of (seed, stream, name); the same key gives the same draws."""
    text = f"{seed}\x1f{stream}\x1f{name}".encode()
    key = int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key))
