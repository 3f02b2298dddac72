"""Host-side randomness: a generator is a function of (seed, stream, name)."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence


class _Key(ISeedSequence):
    """Two words that a Philox generator takes as they are: `Philox(key=…)`, without asking for entropy first."""

    def __init__(self, words: np.ndarray) -> None:
        self._words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray:
        """The key, whatever is asked for."""
        return self._words


def generator(seed: int, stream: str, name: str) -> np.random.Generator:
    """A Philox generator keyed by a hash of (seed, stream, name); the same key gives the same draws."""
    text = f"{seed}\x1f{stream}\x1f{name}".encode()
    words = np.frombuffer(hashlib.blake2b(text, digest_size=16).digest(), dtype="<u8")
    key: Any = _Key(words)  # numpy's annotations know SeedSequence alone, its documentation all of its kind
    return np.random.Generator(np.random.Philox(key))
