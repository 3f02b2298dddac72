"""The CUDA engine: the same rules, one scenario a thread. The only file that imports numba.cuda.

A launch advances every scenario to its next control instant and a second kernel controls: the event loop keeps its
registers for itself, launches stay short, and between two of them the host can report, stop or step in.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.engine.cpu import compiled_loop
from sim.engine.host import Policies, serve
from sim.engine.rows import Batch, batches, params_row, state_row
from sim.errors import InputError
from sim.model import layout as a
from sim.model.control import control
from sim.model.fleet import advance, begin, finish
from sim.model.layout import DONE, NEW, OK, S_NOW, S_STATUS, S_STOP

THREADS = 64  # a block: small ones spread scenarios of uneven length better
MEMORY_SHARE = 0.8  # of the free device memory, for one batch
Tick = Callable[..., None]


class Kernels(NamedTuple):
    """The device's functions."""

    advance: Any
    control: Any
    look: Any


def advance_kernel(params, trace, trace_at, states, p_at, st_at):  # type: ignore[no-untyped-def]
    """Every event of each scenario before its next control instant."""
    s = cuda.grid(1)
    if s < states.shape[0] and states[s, S_STATUS] == OK:
        p = params_row(params[s], trace[trace_at[s, 0] : trace_at[s, 1]], p_at)
        st = state_row(states[s], st_at)
        advance(p, st, st.m[S_STOP])


def control_kernel(params, trace, trace_at, states, p_at, st_at):  # type: ignore[no-untyped-def]
    """Begin new scenarios, control those at their instant, close those that are over."""
    s = cuda.grid(1)
    if s < states.shape[0]:
        p = params_row(params[s], trace[trace_at[s, 0] : trace_at[s, 1]], p_at)
        st = state_row(states[s], st_at)
        if st.m[S_STATUS] == NEW:
            begin(p, st)
        elif st.m[S_STATUS] == OK:
            control(p, st, st.m[S_STOP])
            if st.m[S_STATUS] == DONE:
                finish(p, st)


def look_kernel(states, seen):  # type: ignore[no-untyped-def]
    """Where each scenario stands: its status and its clock."""
    s = cuda.grid(1)
    if s < states.shape[0]:
        seen[s, 0] = states[s, S_STATUS]
        seen[s, 1] = states[s, S_NOW]


cuda: Any = None  # numba.cuda, once it is needed: importing it takes most of a second


def load_cuda() -> Any:
    """numba.cuda, imported on first use. The kernels find it under this module's name `cuda`."""
    global cuda  # noqa: PLW0603
    if cuda is None:
        from numba import cuda as loaded

        cuda = loaded
    return cuda


@functools.cache
def kernels() -> Kernels:
    """The kernels, compiled when first launched."""
    make = load_cuda().jit
    return Kernels(make(advance_kernel), make(control_kernel), make(look_kernel))


# ---- is there a device? ----------------------------------------------------------------------
def why_not() -> str | None:
    """Why no GPU can be used here, in a few words; None when one can."""
    if importlib.util.find_spec("numba.cuda") is None and importlib.util.find_spec("numba_cuda") is None:
        return "the extra `cuda` is not installed (pip install 'fleetsim[cuda]')"
    try:
        if not load_cuda().is_available():
            return "no NVIDIA GPU was found"
    except Exception as error:
        return f"the CUDA driver cannot be used ({type(error).__name__})"
    return None


def need_device() -> None:
    """Raise InputError, in one line, where there is no GPU."""
    reason = why_not()
    if reason is not None:
        raise InputError(f"engine: 'cuda' cannot be used: {reason}; engine=cpu gives the same results")


def free_bytes() -> int:
    """Device memory that a batch may take."""
    if hasattr(load_cuda(), "simulator"):
        return 1 << 28
    free, _ = cuda.current_context().get_memory_info()
    return int(free * MEMORY_SHARE)


# ---- running ----------------------------------------------------------------------
def run_many(
    runs: Sequence[a.Params], policies: Sequence[Policies] | None = None, progress: Tick | None = None
) -> list[a.State]:
    """Run scenarios on the device, batch by batch, and return their final states in the order given."""
    policies = policies or [Policies({}) for _ in runs]
    finals: list[a.State | None] = [None] * len(runs)
    done = 0
    for batch in batches(runs, free_bytes()):
        share = len(batch.index) / len(runs)
        tick = None if progress is None else functools.partial(_report, progress, done / len(runs), share)
        states = run_batch(batch, [runs[i] for i in batch.index], [policies[i] for i in batch.index], tick)
        for i, state in zip(batch.index, states, strict=True):
            finals[i] = state
        done += len(batch.index)
    return finals  # type: ignore[return-value]


def _report(progress: Tick, before: float, share: float, part: float) -> None:
    progress(before + share * part, 1.0, "simulating on the GPU")


def run_batch(
    batch: Batch, runs: Sequence[a.Params], policies: Sequence[Policies], tick: Callable[[float], None] | None
) -> list[a.State]:
    """Launch until every scenario of a batch is over."""
    kernel = kernels()
    n = len(batch.index)
    grid = (-(-n // THREADS), THREADS)
    states = cuda.to_device(batch.states)
    fixed = [cuda.to_device(x) for x in (batch.params, batch.trace, batch.trace_at)]
    seen = cuda.to_device(np.zeros((n, 2), dtype=np.int64))
    taken_over: dict[int, a.State] = {}
    end_ps = max(int(p.m[a.P_END_PS]) for p in runs)
    kernel.control[grid](*fixed, states, batch.p_at, batch.st_at)
    while True:
        kernel.advance[grid](*fixed, states, batch.p_at, batch.st_at)
        kernel.control[grid](*fixed, states, batch.p_at, batch.st_at)
        kernel.look[grid](states, seen)
        now = seen.copy_to_host()
        for s in np.nonzero((now[:, 0] != a.OK) & (now[:, 0] != a.DONE))[0]:
            _step_in(batch, runs, policies, states, int(s), int(now[s, 0]), taken_over)
        if np.all(now[:, 0] == a.DONE) or _all_done(now, taken_over):
            break
        if tick is not None:
            tick(float(now[:, 1].mean()) / end_ps)
    finals = states.copy_to_host()
    return [taken_over.get(s) or a.State(finals[s], *batch.st_at) for s in range(n)]


def _all_done(now: np.ndarray, taken_over: dict[int, a.State]) -> bool:
    return all(status == a.DONE or s in taken_over for s, status in enumerate(now[:, 0]))


def _step_in(
    batch: Batch,
    runs: Sequence[a.Params],
    policies: Sequence[Policies],
    states: Any,
    s: int,
    status: int,
    taken_over: dict[int, a.State],
) -> None:
    """The host answers a policy and puts the state back, or takes over a run that needs more room than a row has."""
    if s in taken_over:
        return
    st = a.State(states[s].copy_to_host(), *batch.st_at)
    st = serve(runs[s], st, status, policies[s])
    if status == a.NEED_SLOTS:
        loop = compiled_loop()
        while (status := int(loop(runs[s], st))) != a.DONE:
            st = serve(runs[s], st, status, policies[s])
        taken_over[s] = st
    else:
        states[s].copy_to_device(st.m)
