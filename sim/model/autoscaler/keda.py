"""A queue-driven scaler as KEDA runs it, and the fixed fleet.

KEDA acts twice. Its own loop, every polling interval, moves a workload between 0 (or idle) and 1 by
whether a trigger is active. Between 1 and the maximum an HPA that KEDA owns, every sync period, holds the
backlog per replica (`AverageValue`) at a target. A memory of zeros is that of a new ScaledObject created at time 0.
Source: kedacore/keda pkg/scaling/executor/scale_scaledobjects.go (RequestScale) and keda.sh, ScaledObject.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.autoscaler.hpa import hpa_tick
from sim.model.autoscaler.hpa_rows import (
    TARGET_CAP,
    HpaMemory,
    HpaSeen,
    HpaSettings,
    fill_row,
    hpa_settings,
    hpa_target,
)
from sim.schema import Array, Field, Row
from sim.units import PS_PER_S

NO_IDLE = -1

# flags: the annotations autoscaling.keda.sh/*
PAUSED = 1
PAUSED_SCALE_IN = 2
PAUSED_SCALE_OUT = 4
FORCE_ACTIVATION = 8


class KedaSettings(Row):
    """A ScaledObject's spec; a trigger is a metric of its HPA with an activation threshold."""

    polling_ps = Field("pollingInterval", begin=30 * PS_PER_S)
    sync_ps = Field("--horizontal-pod-autoscaler-sync-period of its HPA", begin=15 * PS_PER_S)
    cooldown_ps = Field("cooldownPeriod", begin=300 * PS_PER_S)
    initial_cooldown_ps = Field("initialCooldownPeriod")
    min_replicas = Field("minReplicaCount")
    max_replicas = Field("maxReplicaCount", begin=100)
    idle_replicas = Field("idleReplicaCount, NO_IDLE when it is not set", begin=NO_IDLE)
    flags = Field("PAUSED …")
    activation_milli = Array("activationThreshold of each trigger", TARGET_CAP)
    hpa = Array("an HpaSettings: the HPA that KEDA owns", HpaSettings.SIZE)


class KedaMemory(Row):
    """What KEDA and its HPA remember."""

    next_poll_ps = Field("when its own loop runs next")
    next_sync_ps = Field("when its HPA runs next")
    was_active = Field("0: status.lastActiveTime is not set")
    last_active_ps = Field("status.lastActiveTime")
    created_ps = Field("when the ScaledObject was created")
    hpa = Array("an HpaMemory", HpaMemory.SIZE)


def keda_settings(settings: KedaSettings, **fields: int) -> HpaSettings:
    """Fill a row with KEDA's defaults, then with these fields; returns its HPA's settings.

    KEDA sets no behavior on its HPA unless told to, and never lets it go below 1. There is no trigger yet.
    """
    fill_row(settings, **fields)
    lowest, highest = max(1, int(settings.min_replicas)), int(settings.max_replicas)
    return hpa_settings(HpaSettings(settings.hpa, 0), min_replicas=lowest, max_replicas=highest, behavior=0)


def keda_trigger(settings: KedaSettings, target_milli: int, activation_milli: int = 0, **fields: int) -> bool:
    """Add a trigger with its threshold; False when there are TARGET_CAP already. `fields` are those of HpaTarget."""
    hpa = HpaSettings(settings.hpa, 0)
    n = int(hpa.n_target)
    if not hpa_target(hpa, target_milli, **fields):
        return False
    settings.activation_milli[n] = activation_milli
    return True


@jit
def is_active(value_milli: int, activation_milli: int) -> bool:
    """A trigger is active strictly above its activation threshold."""
    return value_milli > activation_milli


@jit
def scale_out(now_ps: int, current: int, settings: KedaSettings, memory: KedaMemory) -> int:
    """From 0 or idle to the minimum, at least 1 (scaleFromZeroOrIdle)."""
    if settings.flags & PAUSED_SCALE_OUT:
        return current
    memory.was_active = 1
    memory.last_active_ps = now_ps
    return max(1, settings.min_replicas)


@jit
def has_cooled_down(now_ps: int, settings: KedaSettings, memory: KedaMemory) -> bool:
    """Whether more than the cooldown has passed since the last activity, or since creation without any."""
    if memory.was_active == 0:
        return memory.created_ps + settings.initial_cooldown_ps < now_ps
    return memory.last_active_ps + settings.cooldown_ps < now_ps


@jit
def scale_in(now_ps: int, current: int, settings: KedaSettings, memory: KedaMemory) -> int:
    """To idle or the minimum, once cooled down (scaleToZeroOrIdle)."""
    if settings.flags & PAUSED_SCALE_IN or not has_cooled_down(now_ps, settings, memory):
        return current
    return settings.idle_replicas if settings.idle_replicas >= 0 else settings.min_replicas


@jit
def request_active(
    now_ps: int, current: int, is_error: bool, settings: KedaSettings, memory: KedaMemory
) -> int:
    """What KEDA's loop sets while a trigger is active."""
    if current == 0 or (settings.idle_replicas >= 0 and current < settings.min_replicas):
        return scale_out(now_ps, current, settings, memory)
    if not is_error:
        memory.was_active = 1
        memory.last_active_ps = now_ps
    return current


@jit
def request_inactive(
    now_ps: int, current: int, is_error: bool, settings: KedaSettings, memory: KedaMemory
) -> int:
    """What KEDA's loop sets while no trigger is active; after an error it leaves all as it is."""
    idle = settings.idle_replicas
    if is_error:
        return current
    if (idle >= 0 and current > idle) or (current > 0 and settings.min_replicas == 0):
        return scale_in(now_ps, current, settings, memory)
    if idle < 0 and current < settings.min_replicas:
        return settings.min_replicas
    return current


@jit
def keda_request_scale(
    now_ps: int, current: int, active: bool, is_error: bool, settings: KedaSettings, memory: KedaMemory
) -> int:
    """One pass of KEDA's own loop (RequestScale): replicas it sets, `current` when it leaves them alone."""
    if settings.flags & PAUSED:
        return current
    if active or settings.flags & FORCE_ACTIVATION:
        return request_active(now_ps, current, is_error, settings, memory)
    return request_inactive(now_ps, current, is_error, settings, memory)


@jit
def keda_next_ps(memory: KedaMemory) -> int:
    """When `keda_desired` next has something to do: the earlier of the next poll and the next HPA sync."""
    return min(memory.next_poll_ps, memory.next_sync_ps)


@jit
def poll(now_ps: int, current: int, settings: KedaSettings, memory: KedaMemory, seen: HpaSeen) -> int:
    """KEDA's own loop, with all triggers: active if any is, in error if any could not be read."""
    is_error = False
    active = False
    for i in range(HpaSettings(settings.hpa, 0).n_target):
        if seen.metric_milli[i] < 0:
            is_error = True
        elif is_active(seen.metric_milli[i], settings.activation_milli[i]):
            active = True
    return keda_request_scale(now_ps, current, active, is_error, settings, memory)


@jit_call
def keda_desired(now_ps: int, current: int, settings: KedaSettings, memory: KedaMemory, seen: HpaSeen) -> int:
    """Replicas wanted from now on, `current` being those wanted until now.

    `seen` has each trigger's whole backlog, negative when it could not be read. KEDA's loop acts if its poll is due,
    then the HPA if its sync is due; before `keda_next_ps` nothing changes. The HPA never acts on 0 replicas.
    """
    wanted = current
    if now_ps >= memory.next_poll_ps:
        memory.next_poll_ps = now_ps + settings.polling_ps
        wanted = poll(now_ps, wanted, settings, memory, seen)
    if now_ps >= memory.next_sync_ps:
        memory.next_sync_ps = now_ps + settings.sync_ps
        wanted = hpa_tick(now_ps, wanted, HpaSettings(settings.hpa, 0), HpaMemory(memory.hpa, 0), seen)
    return wanted


@jit
def fixed_desired(replicas: int, lo: int, hi: int) -> int:
    """A fleet that never scales: `replicas`, within the bounds."""
    return min(max(replicas, lo), hi)
