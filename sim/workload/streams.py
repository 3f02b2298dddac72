"""Host-side randomness: a generator is a function of (seed, stream, name)."""

from __future__ import annotations

import hashlib
import threading
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


class _Reused(threading.local):
    """The generators of this thread that are keyed anew, by stream, and their state before the first draw."""

    def __init__(self) -> None:
        self.of_stream: dict[str, tuple[np.random.Generator, dict[str, Any]]] = {}


_reused = _Reused()


def generator(seed: int, stream: str, name: str) -> np.random.Generator:
    """A Philox generator keyed by a hash of (seed, stream, name); the same key gives the same draws."""
    key: Any = _Key(
        _words(seed, stream, name)
    )  # numpy's annotations know SeedSequence alone, its documentation all
    return np.random.Generator(np.random.Philox(key))


def passing_generator(seed: int, stream: str, name: str) -> np.random.Generator:
    """The same, to be drawn from before this thread asks for the stream's next one: it is keyed anew, which takes a third
    of the time.
    """
    known = _reused.of_stream.get(stream)
    if known is None:
        made = generator(seed, stream, name)
        known = _reused.of_stream[stream] = (made, dict(made.bit_generator.state))
    found, fresh = known
    fresh["state"]["key"] = _words(seed, stream, name)
    found.bit_generator.state = fresh
    return found


def _words(seed: int, stream: str, name: str) -> np.ndarray:
    text = f"{seed}\x1f{stream}\x1f{name}".encode()
    return np.frombuffer(hashlib.blake2b(text, digest_size=16).digest(), dtype="<u8")
