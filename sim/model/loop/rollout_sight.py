"""What the controller of a deployment sees: how many replicas there are of both versions, and whether it gets on."""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.rollout.deployment import REASON_OTHER, is_progressing, is_timed_out
from sim.model.rollout.limits import BLUE_GREEN
from sim.model.tables.codes import STAGE_READY
from sim.model.tables.rollout import DeploymentStatus, ReplicaSet, RollingSync


@jit
def leaving_pool(params, state, number):
    """The pool whose replicas go: the old version's; of a deployment that goes back, the new version's. Canaries and
    blue-green know by themselves how to go back.
    """
    if state.rollout[number].aborted_ps >= 0 and params.rollout[number].strategy < BLUE_GREEN:
        return params.rollout[number].to_pool
    return state.rollout[number].pool


@jit
def coming_pool(params, state, number):
    """The pool whose replicas come."""
    if leaving_pool(params, state, number) == params.rollout[number].to_pool:
        return state.rollout[number].pool
    return params.rollout[number].to_pool


@jit_call
def available_replicas(params, state, pool_id, min_ready_ps, t):
    """Replicas of a pool that have been ready for at least so long."""
    count = 0
    first = params.pool[pool_id].first_replica
    for r in range(first, first + params.pool[pool_id].n_replica):
        replica = state.replica[r]
        if replica.stage == STAGE_READY and replica.ready_ps + min_ready_ps <= t:
            count += 1
    return count


@jit
def existing(state, pool_id):
    """Replicas of a pool that are ready or on their way; those that drain are as good as gone."""
    return state.pool[pool_id].n_ready + state.pool[pool_id].n_starting


@jit
def held(state, pool_id):
    """Replicas of a pool that take up room: those that drain too."""
    return state.pool[pool_id].n_serving + state.pool[pool_id].n_starting


@jit_call
def look_at(params, state, number, t):
    """Count the replicas of both versions."""
    rollout = params.rollout[number]
    own = state.rollout[number]
    leaving = leaving_pool(params, state, number)
    coming = coming_pool(params, state, number)
    old = ReplicaSet(own.old, 0)
    sync = RollingSync(own.sync, 0)
    seen = DeploymentStatus(own.seen, 0)
    old.replicas = state.pool[leaving].wanted
    old.available = available_replicas(params, state, leaving, rollout.min_ready_ps, t)
    sync.new = state.pool[coming].wanted
    sync.new_available = available_replicas(params, state, coming, rollout.min_ready_ps, t)
    seen.updated = existing(state, coming)
    seen.replicas = existing(state, leaving) + seen.updated
    seen.ready = state.pool[leaving].n_ready + state.pool[coming].n_ready
    seen.available = old.available + sync.new_available
    own.most = max(own.most, held(state, leaving) + held(state, coming))
    own.least = min(own.least, seen.available)


@jit_call
def keep_status(own):
    """Remember what the controller sees, for the next sync."""
    seen = DeploymentStatus(own.seen, 0)
    status = DeploymentStatus(own.status, 0)
    status.replicas = seen.replicas
    status.updated = seen.updated
    status.ready = seen.ready
    status.available = seen.available


@jit_call
def note_progress(rollout, own, t):
    """Note whether the deployment got nearer to its end since the last sync, or has not for too long. A pause is no
    standstill.
    """
    is_pausing = own.pause_ps >= 0 or own.paused_ps >= 0 or own.promoted_ps >= 0
    if is_pausing or is_progressing(DeploymentStatus(own.status, 0), DeploymentStatus(own.seen, 0)):
        own.progress_ps = t
    keep_status(own)
    is_late = is_timed_out(rollout.progress_deadline_ps, t - own.progress_ps, REASON_OTHER)
    if is_late and own.timed_out_ps < 0:
        own.timed_out_ps = t
