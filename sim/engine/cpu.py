"""The compiled engine: the loop of sim/model/ as machine code, one scenario per call, free of the GIL."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sim.arrays import new_state
from sim.engine.host import Policies, serve
from sim.engine.loop import run_until_host
from sim.model import layout as a
from sim.model.fleet import begin, finish


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
    import numba

    if numba.config.DISABLE_JIT:
        return run_until_host
    folder = cache_dir()
    cache = True
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        cache = False  # a read-only home: compile for this process alone
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder)
    try:
        return numba.njit(error_model="numpy", nogil=True, cache=cache, _nrt=False)(run_until_host)
    finally:
        numba.config.CACHE_DIR = before


def run_plan(
    p: a.Params, policies: Policies | None = None, on_start: Callable[[a.State], Any] | None = None
) -> a.State:
    """Run one scenario to its end and return its final state.

    `on_start` is handed the state before the loop starts, so that another thread can watch its cursor.
    """
    policies = policies or Policies({})
    loop = compiled_loop()
    st = new_state(p)
    begin(p, st)
    if on_start is not None:
        on_start(st)
    while True:
        status = int(loop(p, st))
        if status == a.DONE:
            break
        st = serve(p, st, status, policies)
    finish(p, st)
    return st
