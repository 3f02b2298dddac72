"""What the rules of rollouts read and write: limits, sets of replicas, statuses, steps of a canary, disruption budgets."""

from __future__ import annotations

from sim.schema import Array, Field, Row

NONE = -1  # a count, weight or instant that is not given
UNREADABLE = -2  # a deadline that cannot be read
LATE = -1  # RolloutState.because: it stood still for too long


class Limits(Row):
    """How far a rollout may leave the wanted count of replicas: maxSurge and maxUnavailable."""

    surge = Field("replicas above the wanted count, or percent of it")
    surge_percent = Field("1 = surge is a percentage")
    unavailable = Field("replicas below the wanted count that may be missing, or percent of it")
    unavailable_percent = Field("1 = unavailable is a percentage")


class ReplicaSet(Row):
    """The replicas of one version. Sets of a rollout lie side by side, in the order that a rule names."""

    replicas = Field("replicas asked for")
    available = Field("of these, available")
    wanted = Field("what the last rule that looked at the set asks for")
    deadline_ps = Field(
        "when it may be scaled down, NONE = not set, UNREADABLE = it cannot be read", begin=NONE
    )


class DeploymentStatus(Row):
    """What a Deployment has: all its sets together, and the newest."""

    replicas = Field("replicas of all versions")
    updated = Field("replicas of the newest version")
    ready = Field("replicas that are ready")
    available = Field("replicas that are available: ready for minReadySeconds")


class RollingSync(Row):
    """What one sync of a rolling update asks for."""

    new = Field("replicas of the new version")
    new_available = Field("of these, available")
    action = Field("ACTION_…")


class Budget(Row):
    """A PodDisruptionBudget: what it asks for, and its status. Params have the first, State has a copy and the second."""

    is_set = Field("1 = there is one")
    bound = Field("minAvailable or maxUnavailable, a count or percent")
    is_percent = Field("1 = the bound is a percentage")
    is_max = Field("1 = the bound is maxUnavailable")
    expected = Field("pods that there should be")
    desired = Field("healthy pods that there must be")
    healthy = Field("healthy pods that there are")
    allowed = Field("disruptions allowed now")
    left = Field("scratch: of these, what a preemption has left")
    broken = Field("replicas that were preempted although none was allowed")


class CanaryStep(Row):
    """A step of a canary; all fields NONE: a pause."""

    weight = Field("setWeight", begin=NONE)
    scale_replicas = Field("setCanaryScale.replicas", begin=NONE)
    scale_weight = Field("setCanaryScale.weight", begin=NONE)
    match_weight = Field("1 = setCanaryScale.matchTrafficWeight")
    pause_ps = Field("how long the step lasts once its replicas are there")


class Canary(Row):
    """A canary rollout: its spec as numbers, where it stands, and what the last rule asks for."""

    replicas = Field("replicas that the rollout is to have")
    max_weight = Field("what all traffic weighs", begin=100)
    surge = Field("maxSurge in replicas")
    unavailable = Field("maxUnavailable in replicas")
    traffic_routing = Field("1 = a router splits the traffic by weight")
    dynamic_stable = Field("1 = the stable set shrinks as its traffic does (dynamicStableScale)")
    min_pods = Field("minPodsPerReplicaSet, 0 = not set")
    abort_delay = Field(
        "abortScaleDownDelaySeconds, NONE = not set; 0 = never scaled down", unit="s", begin=NONE
    )
    n_step = Field("steps")
    step = Field("the step in progress, n_step = all done")
    is_aborted = Field("1 = back to the stable version")
    is_full = Field("1 = all traffic to the canary at once: promoted fully, or there is no other version")
    has_canary = Field("1 = the new version has a set")
    canary = Field("replicas of the new version asked for")
    canary_available = Field("of these, available")
    has_stable = Field("1 = a stable version that is not the new one has a set")
    stable = Field("replicas of the stable version asked for")
    stable_available = Field("of these, available")
    stable_created = Field("replicas of the stable version that exist, available or not")
    older = Field("replicas of still other versions asked for")
    older_available = Field("of these, available")
    canary_traffic = Field("weight of the new version's traffic now, NONE = unknown", begin=NONE)
    stable_traffic = Field("weight of the stable version's traffic now, NONE = unknown", begin=NONE)
    wanted_canary = Field("what the last rule asks for of the new version")
    wanted_stable = Field("… of the stable version")


class BlueGreen(Row):
    """A blue-green rollout: its spec as numbers, and where it stands."""

    replicas = Field("replicas that the rollout is to have")
    preview_replicas = Field("previewReplicaCount, NONE = as many as `replicas`", begin=NONE)
    auto_promotion = Field("1 = autoPromotionEnabled, also where it is not set", begin=1)
    auto_promotion_ps = Field("autoPromotionSeconds, 0 = not set")
    has_active = Field("1 = requests go to some version", begin=1)
    new_is_active = Field("1 = requests go to the new version")
    new_is_stable = Field("1 = the new version is the stable one")
    new_is_recorded = Field("1 = the controller has seen the new version before", begin=1)
    is_full = Field("1 = promoted fully, past every pause")
    is_aborted = Field("1 = back to the stable version")
    is_paused = Field("1 = somebody paused the rollout, or an analysis was inconclusive")
    pause_age_ps = Field("how long its controller has paused it, NONE = it does not", begin=NONE)
    controller_pause = Field(
        "1 = its controller has paused it before: without a pause now, somebody resumed it"
    )
    check_point = Field("1 = the preview was complete (scaleUpPreviewCheckPoint)")
    new = Field("replicas of the new version asked for")
    new_available = Field("of these, available")
    new_deadline_ps = Field("when the new version of an aborted rollout may go, NONE = not set", begin=NONE)
    abort_delay_ps = Field("abortScaleDownDelaySeconds; 0 = never scaled down")
    stable_available = Field("replicas of the stable version that are available")


class Rollout(Row):
    """A deployment of a scenario: replicas of one pool, the old version, give way to those of another."""

    at_ps = Field("when it begins")
    pool = Field("the pool of the old version")
    to_pool = Field("the pool of the new one, which has no replicas before")
    strategy = Field("ROLLING, RECREATE or CANARY")
    surge = Field("see Limits")
    surge_percent = Field("see Limits")
    unavailable = Field("see Limits")
    unavailable_percent = Field("see Limits")
    min_ready_ps = Field("how long a replica is ready before it counts as available")
    progress_deadline_ps = Field("after so long without progress it counts as timed out")
    sync_ps = Field("how often its controller looks")
    first_step = Field("row of its first step of a canary")
    n_step = Field("steps of a canary")
    first_gate = Field("row of its first gate")
    n_gate = Field("gates")
    routed = Field("1 = of a canary: the router gives it its weight of the requests")
    preview = Field("of blue-green: replicas before requests come to it, NONE = all", begin=NONE)
    auto_promotion = Field("of blue-green: 1 = it is promoted without somebody's leave", begin=1)
    auto_promotion_ps = Field("of blue-green: how long it is complete before it is promoted")
    scale_down_delay_ps = Field(
        "how long the old version stays once all requests go to the new one", begin=30 * 10**12
    )
    abort_delay_ps = Field(
        "how long the new version stays when its deployment goes back, 0 = for ever", begin=30 * 10**12
    )
    aborts_late = Field("1 = it goes back once it has timed out (progressDeadlineAbort)")


class RolloutState(Row):
    """What has become of a deployment."""

    weight = Field("percent of the requests that go to the new version, NONE = whichever replica", begin=NONE)
    promoted_ps = Field("since when all requests have gone to the new version, −1 = they do not")
    pool = Field("the pool of the version that it replaces: the one before, where that one went back")
    next_sync_ps = Field("when its controller looks next, NEVER = not again")
    started_ps = Field("when it began, −1 = it has not")
    ended_ps = Field("when all replicas were of the new version, or of the old one again, −1 = they are not")
    aborted_ps = Field("since when it has gone back, −1 = it has not")
    paused_ps = Field(
        "since when it has waited for somebody, as an analysis was inconclusive, −1 = it has not"
    )
    because = Field("why: 1 + which of its gates, LATE, 0 = neither")
    available_ps = Field("when the new version's first replica was available, −1 = none was")
    is_analysed = Field("1 = gates look at the step in progress, whose pause is over")
    progress_ps = Field("when it last got nearer to that")
    timed_out_ps = Field("when that was first too long ago, −1 = it was not")
    replicas = Field("replicas that both versions are to have together")
    step = Field("step of a canary in progress")
    pause_ps = Field("when the step's replicas were there, −1 = they are not")
    most = Field("the most replicas there were of both versions, draining ones included")
    least = Field("the fewest that were available together")
    event = Field("the number of the last of its events")
    old = Array("a ReplicaSet: the old version", ReplicaSet.SIZE)
    sync = Array("a RollingSync: the new version", RollingSync.SIZE)
    canary = Array("a Canary", Canary.SIZE)
    blue_green = Array("a BlueGreen", BlueGreen.SIZE)
    status = Array("a DeploymentStatus: as the controller saw it last", DeploymentStatus.SIZE)
    seen = Array("a DeploymentStatus: as it sees it now", DeploymentStatus.SIZE)
