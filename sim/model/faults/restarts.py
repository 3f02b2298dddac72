"""Processes that crash or hang: a replica starts again in place, on the GPUs that it has.

As the kubelet restarts a container: at once the first time, then after a wait of 10 s that doubles with every crash up to
300 s; who was ready for 10 minutes begins anew. A replica that hangs keeps what it holds and is sent more, until its
health check has failed often enough; then it is killed.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.min_tree import tree_set
from sim.model.cluster.replica_lifecycle import continue_cold_start, enter_stage, scale_to
from sim.model.cluster.start_steps import clear_transfers
from sim.model.faults.lost import drop_all, lose_replica
from sim.model.replica.jump import settle
from sim.model.tables.codes import STAGE_DRAINING, STAGE_ENGINE
from sim.model.tables.node import EVENT_REPLICA_CRASHED, EVENT_REPLICA_HANGS, EVENT_REPLICA_LOST
from sim.model.telemetry.cluster_log import log_event
from sim.units import NEVER

BACKOFF_PS = 10 * 10**12  # kubelet: the first wait
BACKOFF_MAX_PS = 300 * 10**12  # … and the longest
CALM_PS = 600 * 10**12  # … and after how long without a crash the waits begin anew
FIRST_RESTART = (
    1 << 40
)  # restarts draw from numbers of their own: other starts draw what they would without them
DOUBLINGS_MAX = 5  # 10 s · 2⁵ is more than 300 s


@jit
def backoff_ps(n_crash):
    """How long a replica that has crashed so often before waits until it starts again."""
    if n_crash == 0:
        return 0
    return min(BACKOFF_MAX_PS, BACKOFF_PS << min(n_crash - 1, DOUBLINGS_MAX))


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
    replica.placed_ps = t + backoff_ps(replica.n_crash)
    replica.n_crash += 1
    replica.is_in_place = 1
    replica.started_ps = t
    replica.start = FIRST_RESTART + state.pool[replica.pool].crashed
    state.pool[replica.pool].crashed += 1
    clear_transfers(params, state, r)
    enter_stage(state, r, STAGE_ENGINE, t)
    if replica.placed_ps > t:
        tree_set(state.stage_tree, params.leaves, r, replica.placed_ps)
    else:
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
