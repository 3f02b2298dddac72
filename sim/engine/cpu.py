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
from sim.jit import offsets
from sim.model import layout as a

ROOMS = ("jit.py", "linking.py", "rng.py", "units.py")
COMPILED = (*ROOMS, "engine/act.py", "engine/cpu.py", "engine/loop.py")  # and model/


def source_hash() -> str:
    """A hash of everything that is compiled: numba's own cache does not notice an edited callee in another file."""
    import numba

    root = Path(__file__).resolve().parents[1]
    h = hashlib.sha256(numba.__version__.encode())
    for path in [root / name for name in COMPILED] + sorted((root / "model").glob("*.py")):
        h.update(path.read_bytes())
    return h.hexdigest()[:16]


def cache_dir() -> Path:
    """Where compiled code is kept: once per installation and version of the sources."""
    base = os.environ.get("FLEETSIM_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "fleetsim"
    )
    return Path(base) / source_hash()


def is_compiled(name: str = "loop") -> bool:
    """Whether the compiled `loop`, or the single rules (`act`), lie ready from an earlier run."""
    return any(cache_dir().glob(f"**/{name}.*.nbc"))


@functools.cache
def compiled_loop() -> Callable[[a.Params, a.State], int]:
    """The loop as machine code; compiled on first use, or read from the cache."""
    return compiled(run_until_host, 0)


@functools.cache
def compiled_act() -> Callable[..., int]:
    """Single rules as machine code."""
    return compiled(act, 4)


def compiled(function: Callable[..., Any], n_int: int) -> Any:
    """A function of (Params, State, n_int integers) that calls rules, as machine code kept in the cache; as it is
    where the JIT is off."""
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
        made = numba.njit(error_model="numpy", nogil=True, cache=cache, _nrt=False)(function)
        with offsets(a.STARTS):
            made.compile(_signature(n_int))
        made.disable_compile()
        return made
    finally:
        numba.config.CACHE_DIR = before


def _signature(n_int: int) -> tuple[Any, ...]:
    """The types of (Params, State, n_int integers)."""
    import numpy as np
    from numba import typeof, types

    words = np.zeros(1, dtype=np.int64)
    p = a.Params(words, words, *[0] * (len(a.Params._fields) - 2))
    st = a.State(words, *[0] * (len(a.State._fields) - 1))
    return (typeof(p), typeof(st), *[types.int64] * n_int)
