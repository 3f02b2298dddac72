"""An Argo Rollouts blue-green rollout: the new version is complete beside the old one before requests go to it.

Source: argoproj/argo-rollouts rollout/bluegreen.go, rollout/replicaset.go, utils/replicaset/replicaset.go.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.rollout.deployment import set_at
from sim.model.tables.rollout import NONE

PROMOTIONS = ("wait", "pause", "promote")
WAIT, PAUSE, PROMOTE = range(3)

#: No limit to how many old sets may wait for their deadlines.
ANY_REVISIONS = (1 << 31) - 1


# ---- the new set ----------------------------------------------------------------------
@jit
def new_replicas(rollout):
    """Replicas that the new version is to have now: those of the preview until it has been looked at (NewRSNewReplicas)."""
    is_preview = rollout.has_active == 1 and rollout.new_is_active == 0 and rollout.is_full == 0
    if rollout.preview_replicas == NONE or not is_preview:
        return rollout.replicas
    is_running = rollout.is_paused == 0 and rollout.pause_age_ps == NONE
    if rollout.new_is_recorded == 1 and is_running and rollout.check_point == 1:
        return rollout.replicas
    return rollout.preview_replicas


@jit_call
def reconciled_new_replicas(rollout, now_ps):
    """What a sync asks of the new version's set (reconcileNewReplicaSet): that of an aborted rollout stays until its
    deadline, which is set once the stable version is whole.
    """
    if rollout.is_aborted == 0 or rollout.abort_delay_ps == 0:
        return new_replicas(rollout)
    if rollout.new_deadline_ps >= 0:
        return rollout.new if rollout.new_deadline_ps > now_ps else 0
    if rollout.new_deadline_ps == NONE:
        if rollout.stable_available == rollout.replicas:
            rollout.new_deadline_ps = now_ps + rollout.abort_delay_ps
        return rollout.new
    return new_replicas(rollout)


# ---- promotion ----------------------------------------------------------------------
@jit
def needs_pause(rollout):
    """Whether the controller pauses before requests go to the new version."""
    return rollout.auto_promotion == 0 or rollout.auto_promotion_ps > 0


@jit
def is_pausing(rollout):
    """Whether the controller has paused the rollout, and its time is not over; no time is no end."""
    if rollout.pause_age_ps == NONE:
        return False
    return rollout.auto_promotion_ps == 0 or rollout.pause_age_ps <= rollout.auto_promotion_ps


@jit
def is_ready_for_pause(rollout):
    """Whether the new version has the replicas that it is to have now, all available (ReadyForPause)."""
    wanted = new_replicas(rollout)
    return rollout.new == wanted and rollout.new_available == wanted


@jit
def is_saturated(rollout):
    """Whether the new version could answer everything."""
    return rollout.new == rollout.replicas and rollout.new_available == rollout.replicas


@jit_call
def promotion(rollout):
    """What the controller does next: WAIT, PAUSE, or PROMOTE, after which requests go to the new version and it is the
    stable one.
    """
    if rollout.is_aborted == 1 or rollout.is_paused == 1 or not is_ready_for_pause(rollout):
        return WAIT
    if rollout.new_is_active == 1:
        return WAIT if rollout.new_is_stable == 1 else PROMOTE
    is_waved_through = rollout.is_full == 1 or rollout.has_active == 0 or rollout.check_point == 1
    if needs_pause(rollout) and not is_waved_through:
        if is_pausing(rollout):
            return WAIT
        if rollout.pause_age_ps == NONE and rollout.controller_pause == 0:
            return PAUSE
    return PROMOTE if is_saturated(rollout) else WAIT


@jit
def preview_check_point(rollout):
    """Whether the preview has been complete, from then until requests go to it (calculateScaleUpPreviewCheckPoint)."""
    if rollout.preview_replicas == NONE or rollout.new_is_active == 1 or rollout.new_is_recorded == 0:
        return False
    if rollout.check_point == 1:
        return True
    if needs_pause(rollout) and is_pausing(rollout):
        return False
    return rollout.new_available == rollout.preview_replicas


# ---- the old sets ----------------------------------------------------------------------
@jit_call
def scale_down_old_sets(old, n, replicas, limit, delay_ps, now_ps):
    """Write what the old sets, the newest first, are to have: each waits for a deadline `delay_ps` after it was left, at
    most `limit` of them at a time. Returns whether any is scaled (scaleDownOldReplicaSetsForBlueGreen).

    A set that waits is to be as large as the rollout, so that going back takes no time.
    """
    waiting = 0
    is_scaled = False
    for i in range(n):
        row = set_at(old, i)
        row.wanted = 0
        if row.replicas > 0:
            if row.deadline_ps == NONE:
                if waiting < limit and delay_ps > 0:
                    waiting += 1
                    row.deadline_ps = now_ps + delay_ps
                    row.wanted = row.replicas
            else:
                waiting += 1
                if waiting <= limit and row.deadline_ps > now_ps:
                    row.wanted = replicas
            is_scaled = is_scaled or row.wanted != row.replicas
    return is_scaled
