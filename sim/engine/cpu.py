"""The compiled engine: the loop of sim/model/ as machine code, one scenario per call, free of the GIL."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sim.engine.act import act
from sim.engine.loop import run_until_host
from sim.model import layout as a


def source_hash() -> str:
    """A hash of everything that is compiled: numba's own cache does not notice an edited callee in another file."""
    import numba

    root = Path(__file__).resolve().parents[1]
    h = hashlib.sha256(numba.__version__.encode())
    for path in sorted([*root.glob("*.py"), *(root / "model").glob("*.py"), *(root / "engine").glob("*.py")]):
        h.update(path.read_bytes())
    return h.hexdigest()[:16]


def cache_dir() -> Path:
    """Where compiled code is kept: once per installation and version of the sources."""
    base = os.environ.get("FLEETSIM_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "fleetsim"
    )
    return Path(base) / source_hash()


def is_compiled() -> bool:
    """Whether a compiled loop lies ready from an earlier run."""
    return any(cache_dir().glob("**/*.nbc"))


@functools.cache
def compiled_loop() -> Callable[[a.Params, a.State], int]:
    """The loop as machine code; compiled on first use, or read from the cache."""
    return compiled(run_until_host)


@functools.cache
def compiled_act() -> Callable[..., int]:
    """Single rules as machine code."""
    return compiled(act)


def compiled(function: Callable[..., Any]) -> Any:
    """A function that calls rules, as machine code kept in the cache; as it is where the JIT is off."""
    import numba

    if numba.config.DISABLE_JIT:
        return function
    folder = cache_dir()
    cache = True
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        cache = False  # a read-only home: compile for this process alone
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder)
    try:
        return numba.njit(error_model="numpy", nogil=True, cache=cache, _nrt=False)(function)
    finally:
        numba.config.CACHE_DIR = before
