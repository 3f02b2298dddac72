"""Deployments: replicas of one pool give way to those of another, at the syncs of a controller.

At a sync the controller counts the replicas of both versions, and the rules of `sim.model.rollout` say how many each is to
have; starts and drains are those of any scaling. While a deployment is in progress neither bounds nor autoscalers hold for
its two pools; when it is over the autoscaler of the version that is left begins. A deployment that fails a gate goes back:
the old version comes by the same rules by which the new one came.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.loop.rollout_beside import (
    leave_old,
    set_counts,
    set_weight,
    sync_blue_green,
    sync_canary,
)
from sim.model.loop.rollout_gates import begin_gates, judge
from sim.model.loop.rollout_log import log_rollout
from sim.model.loop.rollout_sight import held, keep_status, leaving_pool, look_at, note_progress
from sim.model.rollout.deployment import ACTION_NONE, is_complete, rolling_sync
from sim.model.rollout.gates import FAILED, RUNNING
from sim.model.rollout.limits import BLUE_GREEN, CANARY, ROLLING
from sim.model.tables.cause import NO_EVENT
from sim.model.tables.node import (
    EVENT_ROLLOUT_BACK,
    EVENT_ROLLOUT_ENDED,
    EVENT_ROLLOUT_LATE,
    EVENT_ROLLOUT_PAUSED,
    EVENT_ROLLOUT_ROLLED_BACK,
    EVENT_ROLLOUT_STARTED,
)
from sim.model.tables.rollout import LATE, NONE, BlueGreen, DeploymentStatus, ReplicaSet, RollingSync
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
        own.aborted_ps = -1
        own.paused_ps = -1
        own.available_ps = -1
        own.promoted_ps = -1
        own.weight = NONE
        BlueGreen(own.blue_green, 0).new_deadline_ps = NONE
        own.event = NO_EVENT
        begin_gates(params, state, number)
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
    way in: whether it does. Where that one went back, the version before it is replaced.
    """
    rollout = params.rollout[number]
    own = state.rollout[number]
    own.pool = rollout.pool
    for other in range(params.n_rollout):
        if params.rollout[other].to_pool == rollout.pool:
            if state.rollout[other].ended_ps < 0:
                return False
            if state.rollout[other].aborted_ps >= 0:
                own.pool = state.rollout[other].pool
    own.started_ps = t
    log_rollout(params, state, number, EVENT_ROLLOUT_STARTED, t)
    own.progress_ps = t
    if rollout.strategy == BLUE_GREEN or rollout.routed == 1:
        set_weight(params, state, number, 0)
    own.replicas = state.pool[own.pool].wanted
    own.most = own.replicas
    own.least = own.replicas
    hold_pool(state, own.pool)
    look_at(params, state, number, t)
    keep_status(own)
    return True


# ---- what it does ----------------------------------------------------------------------
@jit_call
def sync_rollout(params, state, number, t):
    """One sync of a deployment in progress."""
    own = state.rollout[number]
    look_at(params, state, number, t)
    was_late = own.timed_out_ps >= 0
    note_progress(params.rollout[number], own, t)
    if own.timed_out_ps >= 0 and not was_late:
        log_rollout(params, state, number, EVENT_ROLLOUT_LATE, t)
    if own.aborted_ps < 0 and own.paused_ps < 0:
        decide(params, state, number, t)
    if own.paused_ps >= 0:
        return
    is_over = act(params, state, number, t)
    look_at(params, state, number, t)
    if is_over:
        own.ended_ps = t
        log_rollout(
            params,
            state,
            number,
            EVENT_ROLLOUT_ROLLED_BACK if own.aborted_ps >= 0 else EVENT_ROLLOUT_ENDED,
            t,
        )
        own.next_sync_ps = NEVER
        begin_gates(params, state, number)
        set_weight(params, state, number, NONE)
        let_go(params, state, own.pool if own.aborted_ps >= 0 else params.rollout[number].to_pool, t)


@jit_call
def decide(params, state, number, t):
    """Whether a deployment goes on, goes back or waits: by its gates, then by its deadline."""
    own = state.rollout[number]
    verdict = judge(params, state, number, t)
    if verdict == RUNNING and params.rollout[number].aborts_late == 1 and own.timed_out_ps >= 0:
        own.because = LATE
        verdict = FAILED
    if verdict == FAILED:
        go_back(params, state, number, t)
    elif verdict != RUNNING:
        own.paused_ps = t
        log_rollout(params, state, number, EVENT_ROLLOUT_PAUSED, t)


@jit_call
def go_back(params, state, number, t):
    """A deployment goes back from t on."""
    own = state.rollout[number]
    own.aborted_ps = t
    log_rollout(params, state, number, EVENT_ROLLOUT_BACK, t)
    own.progress_ps = t
    own.pause_ps = -1
    own.promoted_ps = -1
    if own.weight > 0:
        set_weight(params, state, number, 0)
    begin_gates(params, state, number)
    look_at(params, state, number, t)
    keep_status(own)


@jit_call
def act(params, state, number, t):
    """Scale both versions by the rules of the strategy; whether the deployment is over."""
    own = state.rollout[number]
    strategy = params.rollout[number].strategy
    if own.promoted_ps >= 0:
        return leave_old(params, state, number, t)
    if strategy == CANARY:
        return sync_canary(params, state, number, t)
    if strategy == BLUE_GREEN:
        return sync_blue_green(params, state, number, t)
    is_over = is_complete(own.replicas, DeploymentStatus(own.seen, 0))
    if strategy == ROLLING:
        sync_rolling(params, state, number, t)
    else:
        sync_recreate(params, state, number, t)
    return is_over


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
    is_empty = held(state, leaving_pool(params, state, number)) == 0
    set_counts(params, state, number, 0, state.rollout[number].replicas if is_empty else 0, t)
