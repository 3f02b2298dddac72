"""The compiled engine: the loop of sim/model/ as machine code, one scenario per call, free of the GIL."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sim.compile.linking import PLAIN, linked_once
from sim.engine.act import act
from sim.engine.loop import run_until_host
from sim.model.tables.run import Params, State

#: Everything that is compiled, or says how.
SOURCES = (
    "schema.py",
    "rng.py",
    "units.py",
    "engine/act.py",
    "engine/cpu.py",
    "engine/entry.py",
    "engine/loop.py",
)
FOLDERS = ("compile", "model")


def source_hash() -> str:
    """A hash of everything that is compiled: numba's own cache does not notice an edited callee in another file."""
    import numba

    root = Path(__file__).resolve().parents[1]
    h = hashlib.sha256(f"{numba.__version__} {PLAIN}".encode())
    for path in [root / name for name in SOURCES] + [
        path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py"))
    ]:
        h.update(path.read_bytes())
    return h.hexdigest()[:16]


def cache_dir() -> Path:
    """Where compiled code is kept: once per installation and version of the sources."""
    base = os.environ.get("FLEETSIM_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "fleetsim"
    )
    return Path(base) / source_hash()


def is_compiled(name: str = "loop") -> bool:
    """Whether the compiled `loop`, or the single rules (`act`), are in the cache from an earlier run."""
    return any(cache_dir().glob(f"**/{name}.*.nbc")) or any(cache_dir().glob(f"**/entry.{name}-*.nbc"))


@functools.cache
def compiled_loop() -> Callable[[Params, State], int]:
    """The loop as machine code; compiled on first use, or read from the cache."""
    return compiled("loop", run_until_host)


@functools.cache
def compiled_act() -> Callable[..., int]:
    """Single rules as machine code."""
    return compiled("act", act)


def compiled(name: str, plain: Callable[..., Any]) -> Callable[..., int]:
    """An entry point of `sim.engine.entry` as a function of (Params, State, integers …): machine code kept in the cache,
    or the plain function where the JIT is off.
    """
    import numba

    if numba.config.DISABLE_JIT:
        return plain
    made = machine_code(name)

    def call(params: Params, state: State, *words: int) -> int:
        return int(made(params.m.ctypes.data, params.trace.ctypes.data, state.m.ctypes.data, *words))

    return call


def machine_code(name: str) -> Any:
    """An entry point, compiled: addresses and integers in, an integer out."""
    import numba

    from sim.engine import entry

    folder = cache_dir()
    cache = True
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        cache = False  # a read-only home: compile for this process alone
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder)
    function = getattr(entry, name)
    try:
        made = numba.njit(error_model="numpy", nogil=True, cache=cache, _nrt=False)(function)
        with linked_once():
            made.compile((numba.types.int64,) * function.__code__.co_argcount)
        made.disable_compile()
        return made
    finally:
        numba.config.CACHE_DIR = before
