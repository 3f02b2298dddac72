"""What only the host can do in the middle of a run: make room for more requests, call a user's policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sim.engine.act import ACT_BLOCKS, ACT_SIGNAL, ACT_TARGET
from sim.engine.cpu import compiled_act, compiled_loop
from sim.engine.placing import Placer
from sim.engine.policies import targets
from sim.fill.state import grow_slots, new_state, pool_rows
from sim.model.tables.codes import (
    DONE,
    NEED_PLACEMENT,
    NEED_POLICY,
    NEED_SLOTS,
    OK,
    STAGE_DRAINING,
    STAGE_READY,
)
from sim.model.tables.run import Params, State
from sim.units import PS_PER_S


class Observation(NamedTuple):
    """What a user's policy may see at a tick; every field but `time_s` has a value a pool, `metrics` one a signal."""

    time_s: float
    wanted: np.ndarray  # replicas asked for so far
    ready: np.ndarray
    starting: np.ndarray
    draining: np.ndarray
    waiting: np.ndarray  # requests queued at the pool's replicas
    running: np.ndarray
    outstanding: np.ndarray  # waiting + running
    held: np.ndarray  # requests the gateway holds for the pool's model
    kv_use: np.ndarray  # share of the ready replicas' KV blocks in use
    arrivals: np.ndarray  # requests for the pool's model since the start
    metric: np.ndarray  # the pool's first signal, summed over replicas; NaN before its first sample
    min_replicas: np.ndarray
    max_replicas: np.ndarray
    metrics: np.ndarray  # (pool, signal) all signals likewise; NaN also where another pool has more of them


Law = Callable[[Observation], Any]


class Policies:
    """The users' policies of a run, each called once an instant; what they answer is the same on every engine."""

    def __init__(self, laws: dict[int, Law], placer: Placer | None = None) -> None:
        self.laws = laws  # pool → law
        self.placer = placer
        self._asked_ps = -1
        self._answers: dict[int, np.ndarray] = {}

    @property
    def are_some(self) -> bool:
        """Whether the host is asked for anything."""
        return bool(self.laws) or self.placer is not None

    def answer(self, p: Params, st: State, pool: int, t: int) -> None:
        """Ask the policy of `pool` at t and carry out its answer."""
        if t != self._asked_ps:
            self._asked_ps, self._answers = t, {}
        law = self.laws[pool]
        if id(law) not in self._answers:
            seen = observe(p, st, t)
            self._answers[id(law)] = targets(law, seen, len(seen.wanted))
        st.status = OK
        compiled_act()(p, st, ACT_TARGET, pool, int(self._answers[id(law)][pool]), t)


def observe(params: Params, state: State, t: int) -> Observation:
    """What a policy sees at t."""
    n_pool = int(params.n_pool)
    counts = {
        name: np.zeros(n_pool, dtype=np.int64) for name in ("draining", "waiting", "running", "used", "total")
    }
    limits = pool_rows(params)
    for pool, row in enumerate(limits):
        for r in range(int(row["first_replica"]), int(row["first_replica"] + row["n_replica"])):
            _add_replica(params, state, pool, r, int(row["n_blocks"]), t, counts)
    pools = state.rows("pool", n_pool)
    models = state.rows("served_model", int(params.n_served_model))[limits["served_model"]]
    metrics = signals(params, state, t)
    return Observation(
        time_s=t / PS_PER_S,
        wanted=pools["wanted"].copy(),
        ready=pools["n_ready"].copy(),
        starting=pools["n_starting"].copy(),
        draining=counts["draining"],
        waiting=counts["waiting"],
        running=counts["running"],
        outstanding=counts["waiting"] + counts["running"],
        held=models["held"].copy(),
        kv_use=counts["used"] / np.maximum(counts["total"], 1),
        arrivals=models["arrivals"].copy(),
        metric=metrics[:, 0].copy(),
        min_replicas=limits["min_replicas"].copy(),
        max_replicas=limits["max_replicas"].copy(),
        metrics=metrics,
    )


def signals(params: Params, state: State, t: int) -> np.ndarray:
    """(pool, signal): what controllers see of each signal at t, NaN where there is nothing yet, or no such signal."""
    pools = pool_rows(params)
    found = np.full((len(pools), int(pools["n_signal"].max())), np.nan)
    for pool, row in enumerate(pools):
        for i in range(int(row["n_signal"])):
            milli = compiled_act()(params, state, ACT_SIGNAL, int(row["first_signal"]) + i, 0, t)
            found[pool, i] = np.nan if milli < 0 else milli / 1000
    return found


def _add_replica(
    params: Params, state: State, pool: int, r: int, blocks: int, t: int, counts: dict[str, np.ndarray]
) -> None:
    replica = state.replica[r]
    if replica.stage == STAGE_DRAINING:
        counts["draining"][pool] += 1
    elif replica.stage == STAGE_READY:
        counts["waiting"][pool] += replica.n_wait
        counts["running"][pool] += replica.n_run
        counts["used"][pool] += compiled_act()(params, state, ACT_BLOCKS, r, 0, t)
        counts["total"][pool] += blocks


def serve(p: Params, st: State, status: int, policies: Policies) -> State:
    """Do what the loop came back for, and return the state to go on with."""
    if status == NEED_SLOTS:
        return grow_slots(p, st)
    if status == NEED_POLICY:
        policies.answer(p, st, int(st.policy_pool), int(st.now_ps))
        return st
    if status == NEED_PLACEMENT and policies.placer is not None:
        policies.placer.answer(p, st)
        return st
    raise RuntimeError(f"the event loop stopped with status {status}")


def run_plan(
    p: Params,
    policies: Policies | None = None,
    on_start: Callable[[State], Any] | None = None,
    fresh: State | None = None,
) -> State:
    """Run one scenario to its end on the compiled loop and return its final state.

    `on_start` is handed the state before the loop starts, so that another thread can watch its cursor. `fresh` is a
    state to begin with, where there is one already.
    """
    policies = policies or Policies({})
    loop = compiled_loop()
    st = new_state(p) if fresh is None else fresh
    if on_start is not None:
        on_start(st)
    while (status := int(loop(p, st))) != DONE:
        st = serve(p, st, status, policies)
    return st
