"""What only the host can do in the middle of a run: make room for more requests, call a user's policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sim.arrays import pool_rows
from sim.engine.act import ACT_BLOCKS, ACT_METRIC, ACT_TARGET
from sim.engine.cpu import compiled_act, compiled_loop
from sim.engine.policies import targets
from sim.model import layout as a
from sim.state import grow_slots, new_state, state_sizes, table
from sim.units import PS_PER_S


class Observation(NamedTuple):
    """What a user's policy may see at a tick; every field but `time_s` is an array over the pools."""

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
    metric: (
        np.ndarray
    )  # what the pool's metrics pipeline delivers, summed over replicas; NaN before the first sample
    min_replicas: np.ndarray
    max_replicas: np.ndarray


Law = Callable[[Observation], Any]


class Policies:
    """The users' laws of a run, each called once an instant; what they answer is the same on every engine."""

    def __init__(self, laws: dict[int, Law]) -> None:
        self.laws = laws  # pool → law
        self._asked_ps = -1
        self._answers: dict[int, np.ndarray] = {}

    def answer(self, p: a.Params, st: a.State, pool: int, t: int) -> None:
        """Ask the law of `pool` at t and carry out what it says."""
        if t != self._asked_ps:
            self._asked_ps, self._answers = t, {}
        law = self.laws[pool]
        if id(law) not in self._answers:
            seen = observe(p, st, t)
            self._answers[id(law)] = targets(law, seen, len(seen.wanted))
        st.m[a.S_STATUS] = a.OK
        compiled_act()(p, st, ACT_TARGET, pool, int(self._answers[id(law)][pool]), t)


def observe(p: a.Params, st: a.State, t: int) -> Observation:
    """What a policy sees at t."""
    n_pool = int(p.m[a.P_N_POOL])
    counts = {
        name: np.zeros(n_pool, dtype=np.int64) for name in ("draining", "waiting", "running", "used", "total")
    }
    sizes, limits = state_sizes(p), pool_rows(p)
    for pool, row in enumerate(limits):
        for r in range(int(row[a.L_FIRST]), int(row[a.L_FIRST] + row[a.L_N])):
            _add_replica(p, st, pool, r, int(row[a.L_BLOCKS]), t, counts)
    pools = table(st, "pool", sizes, a.Q_SIZE)
    groups = table(st, "group", sizes, a.H_SIZE)[limits[:, a.L_GROUP]]
    act = compiled_act()
    milli = np.array([act(p, st, ACT_METRIC, pool, 0, t) for pool in range(n_pool)], dtype=float)
    return Observation(
        time_s=t / PS_PER_S,
        wanted=pools[:, a.Q_WANTED].copy(),
        ready=pools[:, a.Q_N_READY].copy(),
        starting=pools[:, a.Q_N_STARTING].copy(),
        draining=counts["draining"],
        waiting=counts["waiting"],
        running=counts["running"],
        outstanding=counts["waiting"] + counts["running"],
        held=groups[:, a.H_HELD].copy(),
        kv_use=counts["used"] / np.maximum(counts["total"], 1),
        arrivals=groups[:, a.H_ARRIVALS].copy(),
        metric=np.where(milli < 0, np.nan, milli / 1000),
        min_replicas=limits[:, a.L_MIN].copy(),
        max_replicas=limits[:, a.L_MAX].copy(),
    )


def _add_replica(
    p: a.Params, st: a.State, pool: int, r: int, blocks: int, t: int, counts: dict[str, np.ndarray]
) -> None:
    row = st.m[st.rep + r * a.R_SIZE : st.rep + (r + 1) * a.R_SIZE]
    if row[a.R_STAGE] == a.STAGE_DRAINING:
        counts["draining"][pool] += 1
    elif row[a.R_STAGE] == a.STAGE_READY:
        counts["waiting"][pool] += row[a.R_N_WAIT]
        counts["running"][pool] += row[a.R_N_RUN]
        counts["used"][pool] += compiled_act()(p, st, ACT_BLOCKS, r, 0, t)
        counts["total"][pool] += blocks


def serve(p: a.Params, st: a.State, status: int, policies: Policies) -> a.State:
    """Do what the loop came back for, and return the state to go on with."""
    if status == a.NEED_SLOTS:
        return grow_slots(p, st)
    if status == a.NEED_POLICY:
        policies.answer(p, st, int(st.m[a.S_POLICY_POOL]), int(st.m[a.S_NOW]))
        return st
    raise RuntimeError(f"the event loop stopped with status {status}")


def run_plan(
    p: a.Params, policies: Policies | None = None, on_start: Callable[[a.State], Any] | None = None
) -> a.State:
    """Run one scenario to its end on the compiled loop and return its final state.

    `on_start` is handed the state before the loop starts, so that another thread can watch its cursor.
    """
    policies = policies or Policies({})
    loop = compiled_loop()
    st = new_state(p)
    if on_start is not None:
        on_start(st)
    while (status := int(loop(p, st))) != a.DONE:
        st = serve(p, st, status, policies)
    return st
