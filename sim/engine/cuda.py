"""The CUDA engine: the same rules, one scenario a thread.

A launch advances every scenario to its next control instant, or by so many arrivals, and a second kernel controls: the
event loop keeps its registers for itself, launches stay short, and between two of them the host can report, stop or
step in.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.compile import cuda as compile_cuda
from sim.compile.jit import need_compiler
from sim.engine.cpu import compiled_loop
from sim.engine.host import Policies, serve
from sim.engine.rows import WORD, Batch, batches
from sim.errors import InputError
from sim.fill.state import slot_start
from sim.model.loop.advance import advance, begin, finish
from sim.model.loop.control import control
from sim.model.tables.codes import CLOSED, DONE, NEED_SLOTS, NEW, OK
from sim.model.tables.run import Params, State

REGISTERS = 80  # of a thread: the event loop needs no more, and what it calls has to make do with them
THREADS = 64  # a block: small ones spread scenarios of uneven length better
MEMORY_SHARE = 0.8  # of the free device memory, for one batch
ARRIVALS_PER_LAUNCH = 1000  # of each scenario, on average over its run
BYTES_BACK = 1 << 28  # of finished states copied to the host at a time
Tick = Callable[..., None]
STATUS, STOP = State.FIELDS["status"].offset, State.FIELDS["stop_ps"].offset  # words of a state, for kernels


def params_row(m, trace, at):  # type: ignore[no-untyped-def]
    """One run's parameters, from its row, the trace from its first request on, and where the tables start."""
    return Params(m, trace)


def state_row(m, at):  # type: ignore[no-untyped-def]
    """One run's state, from its row and where the tables start."""
    return State(m)


# ---- kernels -----------------------------------------------------------------------------------------------------
class Kernels(NamedTuple):
    """The device's functions."""

    fill: Any
    advance: Any
    control: Any
    look: Any
    take: Any


def fill_kernel(states, fresh):  # type: ignore[no-untyped-def]
    """Give every scenario the state that all of a batch begin with; a block a row."""
    for word in range(cuda.threadIdx.x, fresh.shape[0], cuda.blockDim.x):
        states[cuda.blockIdx.x, word] = fresh[word]


def advance_kernel(params, trace, trace_at, states, reached, p_at, st_at, slice_ps):  # type: ignore[no-untyped-def]
    """Every event of each scenario before its next control instant, or before slice_ps more have passed."""
    s = cuda.grid(1)
    if s < states.shape[0] and states[s, STATUS] == OK:
        p = params_row(params[s], trace[trace_at[s] :], p_at)
        st = state_row(states[s], st_at)
        stop_ps = min(states[s, STOP], reached[s] + slice_ps)
        reached[s] = stop_ps
        advance(p, st, stop_ps)


def control_kernel(params, trace, trace_at, states, reached, p_at, st_at):  # type: ignore[no-untyped-def]
    """Begin new scenarios, control those that have reached their instant, close those that are over."""
    s = cuda.grid(1)
    if s < states.shape[0]:
        p = params_row(params[s], trace[trace_at[s] :], p_at)
        st = state_row(states[s], st_at)
        if states[s, STATUS] == NEW:
            begin(p, st)
        elif states[s, STATUS] == OK and reached[s] == states[s, STOP]:
            control(p, st, reached[s])
            if states[s, STATUS] == DONE:
                finish(p, st)
        elif states[s, STATUS] == CLOSED:
            finish(p, st)


def look_kernel(states, reached, seen):  # type: ignore[no-untyped-def]
    """Where each scenario stands: its status and its clock."""
    s = cuda.grid(1)
    if s < states.shape[0]:
        seen[s, 0] = states[s, STATUS]
        seen[s, 1] = reached[s]


def take_kernel(states, first, rows):  # type: ignore[no-untyped-def]
    """Gather what is worth keeping of some finished states: all but the slots; a block a row."""
    for word in range(cuda.threadIdx.x, rows.shape[1], cuda.blockDim.x):
        rows[cuda.blockIdx.x, word] = states[first + cuda.blockIdx.x, word]


cuda: Any = None  # numba.cuda, once it is needed: importing it takes most of a second


def load_cuda() -> Any:
    """numba.cuda, imported on first use. The kernels find it under this module's name `cuda`."""
    global cuda
    if cuda is None:
        need_compiler()
        from numba import cuda as loaded

        if not is_simulated():
            compile_cuda.install(loaded, ((params_row, Params), (state_row, State)))
        cuda = loaded
    return cuda


def is_simulated() -> bool:
    """Whether kernels run as Python threads, in numba's simulator of a device."""
    import numba

    return bool(numba.config.ENABLE_CUDASIM)


@functools.cache
def kernels(max_registers: int | None = REGISTERS) -> Kernels:
    """The kernels, compiled when first launched; `max_registers` limits those of a thread."""
    jit = load_cuda().jit
    # optimised at link time, calls would lose their convention, and the code would not be the PTX that the tests look at
    options = {} if is_simulated() else {"max_registers": max_registers, "lto": False}
    made = (fill_kernel, advance_kernel, control_kernel, look_kernel, take_kernel)
    return Kernels(*(jit(kernel, **options) for kernel in made))


# ---- is there a device? ------------------------------------------------------------------------------------------
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
    if is_simulated():
        return 1 << 28
    load_cuda()
    free, _ = cuda.current_context().get_memory_info()
    return max(0, int(free * MEMORY_SHARE) - BYTES_BACK)


# ---- running -----------------------------------------------------------------------------------------------------
def run_many(
    runs: Sequence[Params], policies: Sequence[Policies] | None = None, progress: Tick | None = None
) -> list[State]:
    """Run scenarios on the device, batch by batch, and return their final states in the order given."""
    finals = dict(run_each(runs, policies, progress))
    return [finals[i] for i in range(len(runs))]


def run_each(
    runs: Sequence[Params], policies: Sequence[Policies] | None = None, progress: Tick | None = None
) -> Iterator[tuple[int, State]]:
    """As run_many, but each run's (place, final state) as soon as its batch is over: an interrupt, or a caller that
    stops listening, loses the batch at work and nothing else. Final states come without their slots.
    """
    policies = policies or [Policies({}) for _ in runs]
    done = 0
    for batch in batches(runs, free_bytes()):
        share = len(batch.which) / len(runs)
        tick = None if progress is None else functools.partial(_report, progress, done / len(runs), share)
        mine = [runs[i] for i in batch.which], [policies[i] for i in batch.which]
        for row, state in run_batch(batch, *mine, tick):
            yield batch.which[row], state
        done += len(batch.which)
        if progress is not None:
            _report(progress, done / len(runs), 0.0, 1.0)


def _report(progress: Tick, before: float, share: float, part: float) -> None:
    progress(before + share * part, 1.0, "simulating on the GPU")


class Resident:
    """A batch in the device's memory."""

    def __init__(self, batch: Batch, runs: Sequence[Params]) -> None:
        self.batch, self.n = batch, len(batch.which)
        self.kernels, self.grid = kernels(), (-(-self.n // THREADS), THREADS)
        self.slice_ps = min(slice_of(p) for p in runs)
        self.states = cuda.device_array((self.n, len(batch.fresh)), dtype=np.int64)
        self.reached = cuda.to_device(np.zeros(self.n, dtype=np.int64))
        self.seen = cuda.to_device(np.zeros((self.n, 2), dtype=np.int64))
        fixed = [cuda.to_device(x) for x in (batch.params, batch.trace, batch.trace_at)]
        self.args = (*fixed, self.states, self.reached, batch.p_at, batch.st_at)
        self.kernels.fill[(self.n, THREADS)](self.states, cuda.to_device(batch.fresh))
        self.kernels.control[self.grid](*self.args)

    def launch(self) -> np.ndarray:
        """One step of every scenario; returns (run, 2) status and clock, ps."""
        self.kernels.advance[self.grid](*self.args, self.slice_ps)
        self.kernels.control[self.grid](*self.args)
        self.kernels.look[self.grid](self.states, self.reached, self.seen)
        return self.seen.copy_to_host()  # type: ignore[no-any-return]

    def get(self, row: int) -> State:
        """One scenario's state, slots and all."""
        return State(self.states[row].copy_to_host())

    def put(self, row: int, st: State) -> None:
        """Give a scenario back the state that the host has changed."""
        self.states[row].copy_to_device(st.m)

    def finals(self) -> Iterator[tuple[int, State]]:
        """Every row's final state without its slots, a few hundred MB at a time."""
        words = self.batch.n_kept
        size = max(1, min(self.n, BYTES_BACK // (WORD * words)))
        rows = cuda.device_array((size, words), dtype=np.int64)
        for first in range(0, self.n, size):
            n = min(size, self.n - first)
            self.kernels.take[(n, THREADS)](self.states, first, rows)
            for at, m in enumerate(rows.copy_to_host()[:n]):
                yield first + at, State(m)


def slice_of(p: Params) -> int:
    """How much simulated time a launch may cover, ps: that of a thousand arrivals, so that it takes under a second."""
    return max(1, int(p.duration_ps) * ARRIVALS_PER_LAUNCH // max(1, int(p.n_request)))


def run_batch(
    batch: Batch, runs: Sequence[Params], policies: Sequence[Policies], tick: Callable[[float], None] | None
) -> Iterator[tuple[int, State]]:
    """Launch until every scenario of a batch is over; (row, final state) of each, without slots."""
    resident = Resident(batch, runs)
    taken_over: dict[int, State] = {}
    end_ps = max(int(p.end_ps) for p in runs)
    while True:
        now = resident.launch()
        for row in np.flatnonzero((now[:, 0] != OK) & (now[:, 0] != DONE)).tolist():
            if row not in taken_over:
                _step_in(resident, runs[row], policies[row], row, int(now[row, 0]), taken_over)
        if np.count_nonzero(now[:, 0] == DONE) + len(taken_over) == len(runs):
            break
        if tick is not None:
            tick(float(now[:, 1].mean()) / end_ps)
    for row, state in resident.finals():
        yield row, taken_over.get(row, state)


def _step_in(
    resident: Resident, p: Params, policies: Policies, row: int, status: int, taken_over: dict[int, State]
) -> None:
    """The host answers a policy and puts the state back, or takes over a run that needs more room than a row has."""
    st = serve(p, resident.get(row), status, policies)
    if status == NEED_SLOTS:
        loop = compiled_loop()
        while (status := int(loop(p, st))) != DONE:
            st = serve(p, st, status, policies)
        taken_over[row] = State(st.m[: slot_start(st)])
    else:
        resident.put(row, st)
