"""The compiled engine: the loop of sim/model/ as machine code, one scenario per call, free of the GIL."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sim import cache
from sim.compile.jit import is_off, need_compiler
from sim.compile.linking import PLAIN, linked_once
from sim.compile.object_code import loaded, object_code, packed, processor, unpacked
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
ENTRIES = ("loop", "act")  # of sim.engine.entry


@functools.cache
def source_hash() -> str:
    """A hash of everything that is compiled, of the compiler and of the processor."""
    root = Path(__file__).resolve().parents[1]
    settings = sorted(
        (name, value)
        for name, value in os.environ.items()
        if name.startswith("NUMBA_") and name != "NUMBA_DISABLE_JIT"
    )
    versions = [cache.version_stamp(name) for name in ("numba._version", "llvmlite._version")]
    h = hashlib.sha256(f"{versions} {settings} {PLAIN} {processor()}".encode())
    for path in [root / name for name in SOURCES] + [
        path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py"))
    ]:
        h.update(path.read_bytes())
    return h.hexdigest()[:16]


def cache_dir() -> Path:
    """Where compiled code is kept: once per installation and version of the sources."""
    return cache.home() / source_hash()


def object_file(name: str) -> Path:
    """Where the machine code of an entry point lies."""
    return cache_dir() / f"{name}.o"


def is_compiled(name: str = "loop") -> bool:
    """Whether the compiled `loop`, or the single rules (`act`), are in the cache from an earlier run."""
    return object_file(name).exists()


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
    if is_off():
        return plain
    made = machine_code(name)

    def call(params: Params, state: State, *words: int) -> int:
        return int(made(params.m.ctypes.data, params.trace.ctypes.data, state.m.ctypes.data, *words))

    return call


def machine_code(name: str) -> Callable[..., int]:
    """An entry point, compiled: addresses and integers in, an integer out. Kept code is run without numba.

    The first to be compiled brings the others: they share most of their rules and cost seconds here, a minute later.
    """
    kept = cache.read(object_file(name))
    found = None if kept is None else loaded(unpacked(kept))
    if found is not None:
        return found
    made = newly_compiled(name)
    for other in ENTRIES:
        if cache.is_writable() and not is_compiled(other):
            newly_compiled(other)
    return made


def newly_compiled(name: str) -> Callable[..., int]:
    """An entry point, compiled by numba and kept as an object file."""
    need_compiler()
    import numba

    from sim.engine import entry

    function = getattr(entry, name)
    made = numba.njit(error_model="numpy", nogil=True, _nrt=False)(function)
    with linked_once():
        made.compile((numba.types.int64,) * function.__code__.co_argcount)
    made.disable_compile()
    code = object_code(made)
    cache.keep(object_file(name), packed(code))
    return loaded(code) or made
