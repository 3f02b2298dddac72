"""Processes that crash or hang: a replica starts again in place, on the GPUs that it has.

As the kubelet restarts a container: at once the first time, then after a wait of 10 s that doubles with every crash up to
300 s; who was ready for 10 minutes begins anew. A replica that hangs keeps what it holds and is sent more, until its
health check has failed often enough; then it is killed.
"""

from __future__ import annotations

from sim.compile.jit import jit_call
from sim.model.base.min_tree import tree_set
from sim.model.cluster.replica_lifecycle import continue_cold_start, scale_to, start_in_place
from sim.model.faults.lost import drop_all, lose_replica
from sim.model.replica.jump import settle
from sim.model.tables.codes import STAGE_DRAINING
from sim.model.tables.node import EVENT_REPLICA_CRASHED, EVENT_REPLICA_HANGS, EVENT_REPLICA_LOST
from sim.model.telemetry.cluster_log import log_event
from sim.units import NEVER

CALM_PS = 600 * 10**12  # kubelet: after how long without a crash the waits begin anew


@jit_call
def crash_replica(params, state, r, t):
    """The process of replica r, which serves, is gone at t with all that it held. It starts again in place: what has come
    to its node is there. One that drains does not come back.
    """
    replica = state.replica[r]
    if replica.stage == STAGE_DRAINING:
        log_event(params, state, EVENT_REPLICA_LOST, -1, r, 0, t)
        lose_replica(params, state, r, t)
        scale_to(params, state, replica.pool, state.pool[replica.pool].wanted, t)
        return
    log_event(params, state, EVENT_REPLICA_CRASHED, -1, r, replica.n_crash, t)
    drop_all(params, state, r, t)
    if t - replica.ready_ps >= CALM_PS:
        replica.n_crash = 0
    start_in_place(params, state, r, t)
    if replica.placed_ps <= t:
        continue_cold_start(params, state, r, t)


@jit_call
def hang_replica(params, state, r, t):
    """Replica r, which serves, stands still from t on: the step in progress does not end, and none begins."""
    replica = state.replica[r]
    settle(params, state, r, t)
    replica.jump_steps = min(replica.jump_steps, 1)
    replica.is_hung = 1
    tree_set(state.boundary_tree, params.leaves, r, NEVER)
    log_event(params, state, EVENT_REPLICA_HANGS, -1, r, 0, t)
