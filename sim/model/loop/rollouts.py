"""Deployments: replicas of one pool give way to those of another, at the syncs of a controller.

At a sync the controller counts the replicas of both versions, and the rules of `sim.model.rollout` say how many each is to
have; starts and drains are those of any scaling. While a deployment is in progress neither bounds nor autoscalers hold for
its two pools; when it is over the new version's autoscaler begins.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.cluster.replica_lifecycle import scale_to
from sim.model.rollout.canary import at_desired_counts, canary_counts
from sim.model.rollout.deployment import (
    ACTION_NONE,
    REASON_OTHER,
    is_complete,
    is_progressing,
    is_timed_out,
    rolling_sync,
)
from sim.model.rollout.limits import CANARY, ROLLING, max_surge, max_unavailable
from sim.model.tables.codes import STAGE_READY
from sim.model.tables.rollout import Canary, DeploymentStatus, ReplicaSet, RollingSync
from sim.units import NEVER


@jit_call
def begin_rollouts(params, state):
    """At time 0: no deployment has begun, and the new versions have no replicas until theirs does."""
    for number in range(params.n_rollout):
        own = state.rollout[number]
        own.next_sync_ps = params.rollout[number].at_ps
        own.started_ps = -1
        own.ended_ps = -1
        own.timed_out_ps = -1
        own.pause_ps = -1
        hold_pool(state, params.rollout[number].to_pool)


@jit
def hold_pool(state, pool_id):
    """A deployment says from now on how many replicas a pool has."""
    state.pool[pool_id].next_tick_ps = NEVER
    state.pool[pool_id].in_rollout = 1


@jit
def let_go(params, state, pool_id, t):
    """A pool's own autoscaler, if it ever looks, says from now on how many replicas it has."""
    tick_ps = params.pool[pool_id].tick_ps
    state.pool[pool_id].in_rollout = 0
    if tick_ps < NEVER:
        state.pool[pool_id].next_tick_ps = t + tick_ps


@jit_call
def next_sync_ps(params, state):
    """When the next sync of any deployment is due."""
    stop_ps = NEVER
    for number in range(params.n_rollout):
        stop_ps = min(stop_ps, state.rollout[number].next_sync_ps)
    return stop_ps


@jit_call
def sync_rollouts(params, state, t):
    """The syncs that are due at t, deployments in order."""
    for number in range(params.n_rollout):
        if state.rollout[number].next_sync_ps == t:
            state.rollout[number].next_sync_ps = t + params.rollout[number].sync_ps
            if state.rollout[number].started_ps >= 0 or begin_rollout(params, state, number, t):
                sync_rollout(params, state, number, t)


@jit_call
def begin_rollout(params, state, number, t):
    """A deployment begins with as many replicas as the old version has now, unless the old version is itself still on its
    way in: whether it does.
    """
    rollout = params.rollout[number]
    own = state.rollout[number]
    for other in range(params.n_rollout):
        if params.rollout[other].to_pool == rollout.pool and state.rollout[other].ended_ps < 0:
            return False
    own.started_ps = t
    own.progress_ps = t
    own.replicas = state.pool[rollout.pool].wanted
    own.most = own.replicas
    own.least = own.replicas
    hold_pool(state, rollout.pool)
    look_at(params, state, number, t)
    keep_status(own)
    return True


# ---- what the controller sees ----------------------------------------------------------------------
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
    old = ReplicaSet(own.old, 0)
    sync = RollingSync(own.sync, 0)
    seen = DeploymentStatus(own.seen, 0)
    old.replicas = state.pool[rollout.pool].wanted
    old.available = available_replicas(params, state, rollout.pool, rollout.min_ready_ps, t)
    sync.new = state.pool[rollout.to_pool].wanted
    sync.new_available = available_replicas(params, state, rollout.to_pool, rollout.min_ready_ps, t)
    seen.updated = existing(state, rollout.to_pool)
    seen.replicas = existing(state, rollout.pool) + seen.updated
    seen.ready = state.pool[rollout.pool].n_ready + state.pool[rollout.to_pool].n_ready
    seen.available = old.available + sync.new_available
    own.most = max(own.most, held(state, rollout.pool) + held(state, rollout.to_pool))
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
    """Note whether the deployment got nearer to its end since the last sync, or has not for too long. A pause of a canary
    is no standstill.
    """
    if own.pause_ps >= 0 or is_progressing(DeploymentStatus(own.status, 0), DeploymentStatus(own.seen, 0)):
        own.progress_ps = t
    keep_status(own)
    is_late = is_timed_out(rollout.progress_deadline_ps, t - own.progress_ps, REASON_OTHER)
    if is_late and own.timed_out_ps < 0:
        own.timed_out_ps = t


# ---- what it does ----------------------------------------------------------------------
@jit_call
def sync_rollout(params, state, number, t):
    """One sync of a deployment in progress."""
    rollout = params.rollout[number]
    own = state.rollout[number]
    look_at(params, state, number, t)
    note_progress(rollout, own, t)
    if rollout.strategy == CANARY:
        is_over = sync_canary(params, state, number, t)
    else:
        is_over = is_complete(own.replicas, DeploymentStatus(own.seen, 0))
        if rollout.strategy == ROLLING:
            sync_rolling(params, state, number, t)
        else:
            sync_recreate(params, state, number, t)
    look_at(params, state, number, t)
    if is_over:
        own.ended_ps = t
        own.next_sync_ps = NEVER
        let_go(params, state, rollout.to_pool, t)


@jit_call
def set_counts(params, state, number, old, new, t):
    """Scale both versions; what goes makes room before what comes."""
    rollout = params.rollout[number]
    if old != state.pool[rollout.pool].wanted:
        scale_to(params, state, rollout.pool, old, t)
    if new != state.pool[rollout.to_pool].wanted or existing(state, rollout.to_pool) < new:
        scale_to(params, state, rollout.to_pool, new, t)


@jit_call
def sync_rolling(params, state, number, t):
    """Let the Deployment controller act until it has nothing to do: it looks again after each of its own changes."""
    own = state.rollout[number]
    old = ReplicaSet(own.old, 0)
    sync = RollingSync(own.sync, 0)
    while rolling_sync(params.rollout[number], own.replicas, old, 1, sync) != ACTION_NONE:
        old.available = min(old.available, old.replicas)
    set_counts(params, state, number, old.replicas, sync.new, t)


@jit_call
def sync_recreate(params, state, number, t):
    """All old replicas go; when the last has drained, the new ones start."""
    is_empty = held(state, params.rollout[number].pool) == 0
    set_counts(params, state, number, 0, state.rollout[number].replicas if is_empty else 0, t)


@jit_call
def look_at_canary(params, state, number):
    """Fill in the canary's numbers from what the controller sees."""
    rollout = params.rollout[number]
    own = state.rollout[number]
    canary = Canary(own.canary, 0)
    canary.replicas = own.replicas
    canary.max_weight = 100
    canary.surge = max_surge(CANARY, rollout, own.replicas)
    canary.unavailable = max_unavailable(CANARY, rollout, own.replicas)
    canary.n_step = rollout.n_step
    canary.step = own.step
    canary.has_canary = 1
    canary.has_stable = 1
    canary.canary = RollingSync(own.sync, 0).new
    canary.canary_available = RollingSync(own.sync, 0).new_available
    canary.stable = ReplicaSet(own.old, 0).replicas
    canary.stable_available = ReplicaSet(own.old, 0).available
    canary.stable_created = existing(state, rollout.pool)


@jit_call
def sync_canary(params, state, number, t):
    """One reconciliation of a canary; whether it is over. Its next step begins when the replicas of the one before have
    been there for its pause.
    """
    rollout = params.rollout[number]
    own = state.rollout[number]
    canary = Canary(own.canary, 0)
    steps = params.rollout_step[rollout.first_step]
    look_at_canary(params, state, number)
    canary_counts(canary, steps)
    set_counts(params, state, number, canary.wanted_stable, canary.wanted_canary, t)
    look_at(params, state, number, t)
    look_at_canary(params, state, number)
    if own.pause_ps < 0 and not at_desired_counts(canary, steps):
        return False
    if own.step == rollout.n_step:
        return True
    if own.pause_ps < 0:
        own.pause_ps = t
    if t >= own.pause_ps + params.rollout_step[rollout.first_step + own.step].pause_ps:
        own.step += 1
        own.pause_ps = -1
    return False
