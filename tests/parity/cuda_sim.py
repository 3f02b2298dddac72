"""What the CUDA engine does on a simulated device; `test_cuda_sim` runs this in a process of its own.

    NUMBA_ENABLE_CUDASIM=1 NUMBA_DISABLE_JIT=1 python -m tests.parity.cuda_sim CASE [SEED…]

prints one JSON object. A device's threads are Python threads there: fleets are tiny and blocks small.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sim.engine import cuda, rows
from sim.engine.host import run_plan
from sim.engine.result import make_digest
from sim.fill.state import slot_start
from sim.model.tables.codes import NEED_SLOTS
from sim.model.tables.run import Params, State
from sim.units import NEVER, PS_PER_S

from .engines import laws_of, run_on_loop, seeds_of
from .fleets import Fleet, fleet

Told = dict[str, Any]


def differences(made: Sequence[Fleet], finals: Sequence[State]) -> dict[str, str]:
    """Place → how a final state differs from the event loop's on the CPU, slots left out."""
    found = {}
    for i, (one, state) in enumerate(zip(made, finals, strict=True)):
        expected = run_on_loop(one)
        if n_different := words_different(state, expected):
            found[str(i)] = f"{n_different} words"
        elif make_digest(state) != make_digest(expected):
            found[str(i)] = "digest"
    return found


def words_different(state: State, expected: State) -> int:
    """How many words of a final state differ, slots left out; how many there are is each engine's own affair, and with
    it where timers begin.
    """
    ours, theirs = State(state.m[: slot_start(state)].copy()), expected.m[: slot_start(expected)]
    ours.n_slot, ours.timer_at, ours.neighbour_at = expected.n_slot, expected.timer_at, expected.neighbour_at
    return int(np.count_nonzero(ours.m != theirs))


def launch(made: Sequence[Fleet], progress: cuda.Tick | None = None) -> list[State]:
    """The fleets on the simulated device."""
    return cuda.run_many([one.params for one in made], [laws_of(one) for one in made], progress)


def alike(seed: int, n: int) -> list[Fleet]:
    """A fleet of a seed with its traffic moved in time by a tick or two: one shape."""
    made = fleet(seed, no_records=True)
    own = made.traffic.arrival_ps != NEVER
    moved = [
        made.traffic._replace(arrival_ps=made.traffic.arrival_ps + own * (i * made.grid_ps // 2))
        for i in range(n)
    ]
    run = made.run._replace(end_ps=made.run.end_ps + n * made.grid_ps)
    return [
        made._replace(traffic=traffic, run=run._replace(seed=run.seed + i)) for i, traffic in enumerate(moved)
    ]


def seeds(words: list[str]) -> Told:
    """Swarm fleets of many shapes, users' laws among them."""
    made = [fleet(seed) for seed in seeds_of(words)]
    return {
        "different": differences(made, launch(made)),
        "n": len(made),
        "users": sum(bool(m.user_pools) for m in made),
    }


def pieces(words: list[str]) -> Told:
    """Launches of one arrival each: many more of them, the same answer."""
    made = alike(int(words[0]), 2)
    counts = []
    for arrivals in (1000, 1):
        cuda.ARRIVALS_PER_LAUNCH = arrivals
        calls = 0

        def count(done: float, of: float, what: str) -> None:
            nonlocal calls
            calls += 1

        finals = launch(made, count)
        counts.append(calls)
    return {"different": differences(made, finals), "launches": counts}


def slots(words: list[str]) -> Told:
    """Rows with room for a single request in flight: the host takes over."""
    rows.SLOTS_PER_RUN = 1
    asked: list[int] = []
    serve = cuda.serve

    def told(p: Params, st: State, status: int, policies: Any) -> State:
        asked.append(status)
        return serve(p, st, status, policies)

    cuda.serve = told  # type: ignore[assignment]
    made = alike(int(words[0]), 2)
    finals = launch(made)
    return {"different": differences(made, finals), "asked_for_slots": asked.count(NEED_SLOTS)}


def memory(words: list[str]) -> Told:
    """Room for two runs of five at a time; progress rises to its end; a listener that stops keeps what it was given."""
    made = alike(int(words[0]), 5)
    room = rows.WORD * (2 * (rows.row_words(made[0].params) + len(made[0].params.trace)) + 8)
    cuda.free_bytes = lambda: room  # type: ignore[assignment]
    sizes = [len(batch.which) for batch in rows.batches([one.params for one in made], room)]
    seen: list[float] = []
    finals = launch(made, lambda done, of, what: seen.append(done / of))
    listener = cuda.run_each([one.params for one in made], [laws_of(one) for one in made])
    kept = dict(next(listener) for _ in range(2))
    listener.close()
    return {
        "different": differences(made, finals) | differences([made[i] for i in kept], list(kept.values())),
        "batches": sizes,
        "progress": seen,
    }


def interrupt(words: list[str]) -> Told:
    """Ctrl-C while the second batch is at work: the first one's runs have been handed over."""
    made = alike(int(words[0]), 2)
    cuda.free_bytes = lambda: 1  # type: ignore[assignment]
    kept: dict[int, State] = {}

    def press(done: float, of: float, what: str) -> None:
        if kept:
            raise KeyboardInterrupt

    stopped = False
    try:
        for i, state in cuda.run_each([one.params for one in made], [laws_of(one) for one in made], press):
            kept[i] = state
    except KeyboardInterrupt:
        stopped = True
    return {
        "different": differences([made[i] for i in kept], list(kept.values())),
        "kept": len(kept),
        "stopped": stopped,
    }


def faults(words: list[str]) -> Told:
    """Replicas are lost in the middle of a run."""
    from sim.fill.params import FaultRow, make_params

    made = fleet(int(words[0]), no_records=False)
    own_ps = made.traffic.arrival_ps[made.traffic.arrival_ps != NEVER]
    at_ps = int(own_ps[len(own_ps) // 2])
    params = make_params(*made[:5], [FaultRow(at_ps, 0), FaultRow(at_ps + made.grid_ps, 0, 2)])
    expected = run_plan(params, laws_of(made))
    found = cuda.run_many([params], [laws_of(made)])[0]
    return {
        "same": words_different(found, expected) == 0,
        "struck": int(expected.n_fault),
        "end_s": int(expected.now_ps) / PS_PER_S,
    }


CASES: dict[str, Callable[[list[str]], Told]] = {
    case.__name__: case for case in (seeds, pieces, slots, memory, interrupt, faults)
}


if __name__ == "__main__":
    cuda.THREADS = 2
    print(json.dumps(CASES[sys.argv[1]](sys.argv[2:])))
