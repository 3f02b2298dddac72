"""Every way to run a fleet, and what each leaves behind as one comparable value.

python -m tests.parity.engines SEED… [A:B]               # compiled loop against SimPy
NUMBA_DISABLE_JIT=1 python -m tests.parity.engines --write FILE A:B   # what plain Python leaves behind, as JSON
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from sim.engine.cpu import compiled_loop
from sim.engine.host import Observation, Policies, run_plan, serve
from sim.engine.placing import Placer, Placing
from sim.engine.policies import Law as PolicyLaw
from sim.engine.result import make_result
from sim.fill.state import new_state
from sim.model.tables.codes import DONE
from sim.model.tables.run import State

from .fleets import Fleet, fleet

Outcome = tuple[str, int]  # (hash of every byte of the final state, digest)


# ---- users' laws ----------------------------------------------------------------------
def by_arithmetic(seen: Observation) -> np.ndarray:
    """A law that a compiler could take."""
    return (seen.outstanding + seen.held + 2) // 3


class ByMemory:
    """A law that none would: it keeps what it saw in a dict, and answers in a list."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}

    def __call__(self, seen: Observation) -> list[int]:
        key = f"{len(self.seen)}"
        self.seen[key] = float(np.nansum(seen.metric)) + float(seen.kv_use.sum())
        recent = list(self.seen.values())[-3:]
        return [math.ceil(sum(recent) / len(recent)) + ready % 2 for ready in seen.ready.tolist()]


def laws_of(made: Fleet) -> Policies:
    """Fresh laws for the fleet's user pools, the two kinds in turn, neighbours sharing one."""
    laws: tuple[Callable[..., object], ...] = (by_arithmetic, ByMemory())
    placer = Placer(PolicyLaw("placed", placed), [str(i) for i in range(999)], [str(i) for i in range(999)])
    chosen = {pool: laws[(made.run.seed + n // 2) % 2] for n, pool in enumerate(made.user_pools)}
    return Policies(chosen, placer)


def placed(seen: Placing) -> list[int]:
    """Nodes by what a placing function is told, in an order of no sense; sometimes not all, or none."""
    key = int(seen.time_s * 1000) + int(seen.waited_s * 1000) + 7 * int(seen.pool) + seen.gang + seen.gpus
    ranked = sorted(
        seen.nodes,
        key=lambda node: (
            (key * (node.node + 3) + int(node.group) + node.zone) % 5,
            node.idle_gpus,
            node.free_gpus,
            sum(node.replicas.values()),
            -node.node,
        ),
    )
    return [node.node for node in ranked][: 1 + key % 6] if key % 7 else []


# ---- engines ----------------------------------------------------------------------
def run_on_loop(made: Fleet) -> State:
    """The event loop: compiled, or plain Python where the JIT is off."""
    return run_plan(made.params, laws_of(made))


def run_on_simpy(made: Fleet) -> State:
    """The SimPy engine."""
    from sim.engine import simpy  # not there on a machine that only compares the CUDA engine

    return simpy.Fleet(made.params, laws_of(made)).run()


def run_from_slots(made: Fleet, n_slot: int) -> State:
    """The event loop with room for so many requests in flight at first."""
    p, policies = made.params, laws_of(made)
    st = new_state(p, n_slot)
    while (status := int(compiled_loop()(p, st))) != DONE:
        st = serve(p, st, status, policies)
    return st


#: Every engine that one fleet at a time can be given to, by name.
ENGINES: dict[str, Callable[[Fleet], State]] = {"loop": run_on_loop, "simpy": run_on_simpy}


def run_threads(fleets: Iterable[Fleet], n_threads: int) -> list[State]:
    """The event loop on several threads at once."""
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(run_on_loop, fleets))


#: Every engine that takes many fleets at once, by name: (fleets) → final states.
BATCH_ENGINES: dict[str, Callable[[Iterable[Fleet]], list[State]]] = {
    "threads": lambda fleets: run_threads(fleets, 4),
}


# ---- what is compared ----------------------------------------------------------------------
def outcome_of(made: Fleet, st: State) -> Outcome:
    """Every byte of a final state, and the digest of its result."""
    return hashlib.sha256(st.m.tobytes()).hexdigest()[:24], make_result(made.params, st).digest


def first_difference(one: State, other: State) -> str:
    """Where two final states first differ, in words; empty where they do not."""
    if one.m.shape != other.m.shape:
        return f"state sizes {one.m.shape} and {other.m.shape}"
    places = np.flatnonzero(one.m != other.m)
    if len(places) == 0:
        return ""
    at = int(places[0])
    starts = sorted(((start, name) for name, start in one.starts()), reverse=True)
    start, name = next(((start, name) for start, name in starts if start <= at), (0, "run"))
    return f"{len(places)} words differ, first {name}[{at - start}]: {one.m[at]} and {other.m[at]}"


def seed_differences(seed: int) -> list[str]:
    """How the engines differ on the fleet of a seed, a line each."""
    made = fleet(seed)
    expected = run_on_loop(made)
    return [
        f"{name}: {line}"
        for name, engine in ENGINES.items()
        if name != "loop" and (line := first_difference(expected, engine(made)))
    ]


def outcomes(seeds: Iterable[int]) -> dict[str, Outcome]:
    """Seed → what the event loop leaves behind."""
    return {str(seed): outcome_of(made, run_on_loop(made)) for seed in seeds for made in [fleet(seed)]}


def repeat(seed: int) -> str:
    """The line that repeats a seed."""
    return f"python -m tests.parity.engines {seed}"


def repeat_plain(seed: int) -> str:
    """The line that repeats a seed without the JIT; it prints what the compiled loop must leave behind."""
    return f"for off in 0 1; do NUMBA_DISABLE_JIT=$off python -m tests.parity.engines --write /dev/stdout {seed}; done"


def seeds_of(words: Iterable[str]) -> list[int]:
    """`3 7 100:103` as 3, 7, 100, 101, 102."""
    seeds: list[int] = []
    for word in words:
        first, _, last = word.partition(":")
        seeds += range(int(first), int(last)) if last else [int(first)]
    return seeds


def main(words: list[str]) -> int:
    """Compare the seeds that are asked for, or write down what they come to; 0 when nothing differs."""
    if words[:1] == ["--write"]:
        Path(words[1]).write_text(json.dumps(outcomes(seeds_of(words[2:]))) + "\n")
        return 0
    failed = {seed: lines for seed in seeds_of(words) if (lines := seed_differences(seed))}
    for seed, lines in failed.items():
        print(f"seed {seed}: " + "; ".join(lines))
    print(f"{len(seeds_of(words))} seeds, {len(failed)} with a difference")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
