"""What only the host can do in the middle of a run: make room for more requests, call a user's policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sim.arrays import grow_slots
from sim.errors import InputError
from sim.model import layout as a
from sim.model.control import apply_policy
from sim.model.observe import metric_milli
from sim.model.replica import blocks_used
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
    metric: np.ndarray  # what the pool's metrics pipeline delivers, summed over replicas; NaN before the first sample
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
            self._answers[id(law)] = _targets(law, observe(p, st, t))
        st.run[a.S_STATUS] = a.OK
        apply_policy(p, st, pool, int(self._answers[id(law)][pool]), t)


def _targets(law: Law, seen: Observation) -> np.ndarray:
    """The law's answer as one whole number per pool."""
    name = getattr(law, "__qualname__", repr(law))
    said = law(seen)
    try:
        targets = np.asarray(said, dtype=float)
    except (TypeError, ValueError):
        targets = np.array(np.nan)
    n = len(seen.wanted)
    if targets.shape not in ((), (n,)) or not np.all(np.isfinite(targets)):
        raise InputError(
            f"autoscaler.law: {name} returned {said!r} at {seen.time_s:g} s; allowed: a number of replicas, "
            f"or one for each of the {n} pools"
        )
    return np.broadcast_to(np.ceil(np.clip(targets, 0, a.LIMB >> 32)), (n,)).astype(np.int64)


def observe(p: a.Params, st: a.State, t: int) -> Observation:
    """What a policy sees at t."""
    n_pool = int(p.run[a.P_N_POOL])
    counts = {name: np.zeros(n_pool, dtype=np.int64) for name in ("draining", "waiting", "running", "used", "total")}
    for pool, row in enumerate(p.pool.reshape(-1, a.L_SIZE)):
        for r in range(int(row[a.L_FIRST]), int(row[a.L_FIRST] + row[a.L_N])):
            _add_replica(p, st, pool, r, int(row[a.L_BLOCKS]), t, counts)
    pools, limits = st.pool.reshape(-1, a.Q_SIZE), p.pool.reshape(-1, a.L_SIZE)
    groups = st.group.reshape(-1, a.H_SIZE)[limits[:, a.L_GROUP]]
    milli = np.array([metric_milli(p, st, pool, t) for pool in range(n_pool)], dtype=float)
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
    row = st.rep[r * a.R_SIZE : (r + 1) * a.R_SIZE]
    if row[a.R_STAGE] == a.STAGE_DRAINING:
        counts["draining"][pool] += 1
    elif row[a.R_STAGE] == a.STAGE_READY:
        counts["waiting"][pool] += row[a.R_N_WAIT]
        counts["running"][pool] += row[a.R_N_RUN]
        counts["used"][pool] += blocks_used(p, st, r, blocks, t)
        counts["total"][pool] += blocks


def serve(p: a.Params, st: a.State, status: int, policies: Policies) -> a.State:
    """Do what the loop came back for, and return the state to go on with."""
    if status == a.NEED_SLOTS:
        return grow_slots(p, st)
    if status == a.NEED_POLICY:
        policies.answer(p, st, int(st.run[a.S_POLICY_POOL]), int(st.run[a.S_NOW]))
        return st
    raise RuntimeError(f"the event loop stopped with status {status}")
