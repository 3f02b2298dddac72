"""Strategies that bring the new version beside the old one: canaries, blue-green, and which requests each version gets."""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.cluster.replica_lifecycle import scale_to
from sim.model.loop.rollout_gates import step_is_passed
from sim.model.loop.rollout_log import log_rollout
from sim.model.loop.rollout_sight import coming_pool, existing, leaving_pool, look_at
from sim.model.rollout.blue_green import (
    PAUSE,
    PROMOTE,
    is_pausing,
    preview_check_point,
    promotion,
    reconciled_new_replicas,
)
from sim.model.rollout.canary import at_desired_counts, canary_counts
from sim.model.rollout.limits import CANARY, max_surge, max_unavailable
from sim.model.tables.cause import CAUSE_DEPLOYMENT
from sim.model.tables.node import EVENT_ROLLOUT_PROMOTED
from sim.model.tables.rollout import NONE, BlueGreen, Canary, ReplicaSet, RollingSync
from sim.model.telemetry.causes import act_because


# ---- replicas and requests ----------------------------------------------------------------------
@jit_call
def set_counts(params, state, number, old, new, t):
    """Scale both versions; what goes makes room before what comes."""
    leaving = leaving_pool(params, state, number)
    coming = coming_pool(params, state, number)
    act_because(state, CAUSE_DEPLOYMENT, number, state.rollout[number].event)
    if old != state.pool[leaving].wanted or existing(state, leaving) < old:
        scale_to(params, state, leaving, old, t)
    act_because(state, CAUSE_DEPLOYMENT, number, state.rollout[number].event)
    if new != state.pool[coming].wanted or existing(state, coming) < new:
        scale_to(params, state, coming, new, t)


@jit_call
def set_weight(params, state, number, weight):
    """The new version gets so many percent of the requests; NONE: the router looks at replicas, not at versions."""
    own = state.rollout[number]
    model = state.served_model[params.pool[params.rollout[number].to_pool].served_model]
    model.n_split += (weight >= 0) * 1 - (own.weight >= 0) * 1
    own.weight = weight


@jit_call
def promote(params, state, number, t):
    """All requests go to the new version from t on."""
    state.rollout[number].promoted_ps = t
    state.rollout[number].pause_ps = -1
    set_weight(params, state, number, 100)
    log_rollout(params, state, number, EVENT_ROLLOUT_PROMOTED, t)


@jit_call
def leave_old(params, state, number, t):
    """The old version stays for a while in case the deployment goes back, then it goes; whether it is gone."""
    rollout = params.rollout[number]
    own = state.rollout[number]
    is_left = t >= own.promoted_ps + rollout.scale_down_delay_ps
    set_counts(params, state, number, 0 if is_left else own.replicas, own.replicas, t)
    return is_left and existing(state, own.pool) == 0


@jit
def is_after_abort(rollout, own, t):
    """Whether the new version of a deployment that goes back has stayed for long enough."""
    return rollout.abort_delay_ps > 0 and t >= own.aborted_ps + rollout.abort_delay_ps


# ---- canaries ----------------------------------------------------------------------
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
    canary.traffic_routing = rollout.routed
    canary.n_step = rollout.n_step
    canary.step = own.step
    canary.is_aborted = (own.aborted_ps >= 0) * 1
    canary.has_canary = 1
    canary.has_stable = 1
    canary.canary = RollingSync(own.sync, 0).new
    canary.canary_available = RollingSync(own.sync, 0).new_available
    canary.stable = ReplicaSet(own.old, 0).replicas
    canary.stable_available = ReplicaSet(own.old, 0).available
    canary.stable_created = existing(state, own.pool)


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
    new = canary.wanted_canary
    if own.aborted_ps >= 0 and rollout.routed == 1 and not is_after_abort(rollout, own, t):
        new = canary.canary
    set_counts(params, state, number, canary.wanted_stable, new, t)
    look_at(params, state, number, t)
    look_at_canary(params, state, number)
    if own.aborted_ps >= 0:
        return is_back(params, state, number)
    if own.pause_ps < 0 and not at_desired_counts(canary, steps):
        return False
    if rollout.routed == 1:
        route_canary(params, state, number, t)
    if own.step == rollout.n_step:
        return rollout.routed == 0
    if own.pause_ps < 0:
        own.pause_ps = t
    pause_ps = params.rollout_step[rollout.first_step + own.step].pause_ps
    if t >= own.pause_ps + pause_ps and step_is_passed(params, state, number, t):
        own.step += 1
        own.pause_ps = -1
    return False


@jit_call
def route_canary(params, state, number, t):
    """The replicas for a canary's weight are there: it gets its share of the requests. Until they are the share is that of
    the step before.
    """
    rollout = params.rollout[number]
    own = state.rollout[number]
    if own.step == rollout.n_step:
        promote(params, state, number, t)
    else:
        set_weight(params, state, number, params.rollout_step[rollout.first_step + own.step].weight)


@jit_call
def is_back(params, state, number):
    """Whether the old version is whole again, and nothing is left of the new one."""
    own = state.rollout[number]
    is_whole = ReplicaSet(own.old, 0).available >= own.replicas
    return is_whole and existing(state, params.rollout[number].to_pool) == 0


# ---- blue-green ----------------------------------------------------------------------
@jit_call
def look_at_blue_green(params, state, number, t):
    """Fill in the rollout's numbers from what the controller sees."""
    rollout = params.rollout[number]
    own = state.rollout[number]
    seen = BlueGreen(own.blue_green, 0)
    seen.replicas = own.replicas
    seen.preview_replicas = rollout.preview
    seen.auto_promotion = rollout.auto_promotion
    seen.auto_promotion_ps = rollout.auto_promotion_ps
    seen.has_active = 1
    seen.new_is_recorded = 1
    seen.is_aborted = (own.aborted_ps >= 0) * 1
    seen.pause_age_ps = t - own.pause_ps if own.pause_ps >= 0 else NONE
    seen.new = RollingSync(own.sync, 0).new
    seen.new_available = RollingSync(own.sync, 0).new_available
    seen.abort_delay_ps = rollout.abort_delay_ps
    seen.stable_available = ReplicaSet(own.old, 0).available


@jit_call
def sync_blue_green(params, state, number, t):
    """One reconciliation of a blue-green rollout before requests go to the new version, or on the way back; whether it is
    over.
    """
    own = state.rollout[number]
    seen = BlueGreen(own.blue_green, 0)
    look_at_blue_green(params, state, number, t)
    if seen.pause_age_ps != NONE and not is_pausing(seen):
        own.pause_ps = -1  # its time is over
        seen.pause_age_ps = NONE
    new = reconciled_new_replicas(seen, t)
    set_counts(params, state, number, own.replicas, new, t)
    if own.aborted_ps >= 0:
        return is_back(params, state, number)
    look_at(params, state, number, t)
    look_at_blue_green(params, state, number, t)
    next_move = promotion(seen)
    if next_move == PAUSE:
        own.pause_ps = t
        seen.pause_age_ps = 0
        seen.controller_pause = 1
    seen.check_point = preview_check_point(seen) * 1
    if next_move == PROMOTE:
        promote(params, state, number, t)
    return False
