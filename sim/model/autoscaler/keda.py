"""A queue-driven scaler as KEDA runs it, and the fixed fleet.

KEDA has two hands. Its own loop, every polling interval, moves a workload between 0 (or idle) and 1 by
whether a trigger is active. Between 1 and the maximum an HPA that KEDA owns, every sync period, holds the
backlog per replica (`AverageValue`) at a target. Parameters and state are int64 slices, the HPA's own
behind KEDA's; a state of zeros is that of a new ScaledObject created at time 0. Times are picoseconds.
Source: kedacore/keda pkg/scaling/executor/scale_scaledobjects.go (RequestScale) and keda.sh, ScaledObject.
"""

from __future__ import annotations

from numpy.typing import NDArray

from sim.compile.jit import jit, jit_call
from sim.model.autoscaler.hpa import hpa_tick
from sim.model.autoscaler.hpa_layout import HPA_PAR_SIZE, HPA_STATE_SIZE
from sim.units import PS_PER_S

# par
KEDA_POLLING_PS = 0
KEDA_SYNC_PS = 1
KEDA_COOLDOWN_PS = 2
KEDA_INITIAL_COOLDOWN_PS = 3
KEDA_ACTIVATION_MILLI = 4
KEDA_MIN = 5
KEDA_MAX = 6
KEDA_IDLE = 7  # idleReplicaCount, KEDA_NO_IDLE when it is not set
KEDA_FLAGS = 8
KEDA_HPA_PAR = 9
KEDA_PAR_SIZE = KEDA_HPA_PAR + HPA_PAR_SIZE

KEDA_NO_IDLE = -1

# flags: the annotations autoscaling.keda.sh/*
KEDA_PAUSED = 1
KEDA_PAUSED_SCALE_IN = 2
KEDA_PAUSED_SCALE_OUT = 4
KEDA_FORCE_ACTIVATION = 8

# state
KEDA_NEXT_POLL_PS = 0
KEDA_NEXT_SYNC_PS = 1
KEDA_WAS_ACTIVE = 2  # 0: status.lastActiveTime is not set
KEDA_LAST_ACTIVE_PS = 3
KEDA_CREATED_PS = 4
KEDA_HPA_STATE = 5
KEDA_STATE_SIZE = KEDA_HPA_STATE + HPA_STATE_SIZE


def keda_par(
    par: NDArray,
    min_replicas: int,
    max_replicas: int,
    activation_milli: int = 0,
    polling_interval_ps: int = 30 * PS_PER_S,
    cooldown_ps: int = 300 * PS_PER_S,
    initial_cooldown_ps: int = 0,
    sync_period_ps: int = 15 * PS_PER_S,
    idle_replicas: int = KEDA_NO_IDLE,
    flags: int = 0,
) -> None:
    """Fill KEDA's part of `par` ((KEDA_PAR_SIZE,) int64); `hpa_par(par[KEDA_HPA_PAR:], …)` fills the HPA's.

    Defaults are KEDA's own; it sets no behavior on its HPA unless told to (`hpa_par(…, behavior=0)`).
    """
    par[:KEDA_HPA_PAR] = (
        polling_interval_ps,
        sync_period_ps,
        cooldown_ps,
        initial_cooldown_ps,
        activation_milli,
        min_replicas,
        max_replicas,
        idle_replicas,
        flags,
    )


@jit
def is_active(value_milli: int, activation_milli: int) -> bool:
    """A trigger is active strictly above its activation threshold."""
    return value_milli > activation_milli


@jit
def scale_out(now_ps: int, current: int, par: NDArray, state: NDArray) -> int:
    """From 0 or idle to the minimum, at least 1 (scaleFromZeroOrIdle)."""
    if par[KEDA_FLAGS] & KEDA_PAUSED_SCALE_OUT:
        return current
    state[KEDA_WAS_ACTIVE] = 1
    state[KEDA_LAST_ACTIVE_PS] = now_ps
    return max(1, par[KEDA_MIN])


@jit
def has_cooled_down(now_ps: int, par: NDArray, state: NDArray) -> bool:
    """Whether more than the cooldown has passed since the last activity, or since creation without any."""
    if state[KEDA_WAS_ACTIVE] == 0:
        return state[KEDA_CREATED_PS] + par[KEDA_INITIAL_COOLDOWN_PS] < now_ps
    return state[KEDA_LAST_ACTIVE_PS] + par[KEDA_COOLDOWN_PS] < now_ps


@jit
def scale_in(now_ps: int, current: int, par: NDArray, state: NDArray) -> int:
    """To idle or the minimum, once cooled down (scaleToZeroOrIdle)."""
    if par[KEDA_FLAGS] & KEDA_PAUSED_SCALE_IN or not has_cooled_down(now_ps, par, state):
        return current
    return par[KEDA_IDLE] if par[KEDA_IDLE] >= 0 else par[KEDA_MIN]


@jit
def request_active(now_ps: int, current: int, is_error: bool, par: NDArray, state: NDArray) -> int:
    """What KEDA's loop sets while a trigger is active."""
    if current == 0 or (par[KEDA_IDLE] >= 0 and current < par[KEDA_MIN]):
        return scale_out(now_ps, current, par, state)
    if not is_error:
        state[KEDA_WAS_ACTIVE] = 1
        state[KEDA_LAST_ACTIVE_PS] = now_ps
    return current


@jit
def request_inactive(now_ps: int, current: int, is_error: bool, par: NDArray, state: NDArray) -> int:
    """What KEDA's loop sets while no trigger is active; after an error it leaves all as it is."""
    idle = par[KEDA_IDLE]
    if is_error:
        return current
    if (idle >= 0 and current > idle) or (current > 0 and par[KEDA_MIN] == 0):
        return scale_in(now_ps, current, par, state)
    if idle < 0 and current < par[KEDA_MIN]:
        return par[KEDA_MIN]
    return current


@jit
def keda_request_scale(
    now_ps: int, current: int, active: bool, is_error: bool, par: NDArray, state: NDArray
) -> int:
    """One pass of KEDA's own loop (RequestScale): replicas it sets, `current` when it leaves them alone."""
    if par[KEDA_FLAGS] & KEDA_PAUSED:
        return current
    if active or par[KEDA_FLAGS] & KEDA_FORCE_ACTIVATION:
        return request_active(now_ps, current, is_error, par, state)
    return request_inactive(now_ps, current, is_error, par, state)


@jit
def keda_next_ps(state: NDArray) -> int:
    """When `keda_desired` next has something to do: the earlier of the next poll and the next HPA sync."""
    return min(state[KEDA_NEXT_POLL_PS], state[KEDA_NEXT_SYNC_PS])


@jit_call
def keda_desired(now_ps: int, current: int, backlog_milli: int, par: NDArray, state: NDArray) -> int:
    """Replicas wanted from now on, `current` being those wanted until now.

    `backlog_milli` is the whole backlog, negative when it could not be read. KEDA's loop acts if its poll
    is due, then the HPA if its sync is due; before `keda_next_ps` nothing changes. The HPA never acts on 0
    replicas.
    """
    wanted = current
    if now_ps >= state[KEDA_NEXT_POLL_PS]:
        state[KEDA_NEXT_POLL_PS] = now_ps + par[KEDA_POLLING_PS]
        is_error = backlog_milli < 0
        active = not is_error and is_active(backlog_milli, par[KEDA_ACTIVATION_MILLI])
        wanted = keda_request_scale(now_ps, wanted, active, is_error, par, state)
    if now_ps >= state[KEDA_NEXT_SYNC_PS]:
        state[KEDA_NEXT_SYNC_PS] = now_ps + par[KEDA_SYNC_PS]
        lo, hi = max(1, par[KEDA_MIN]), par[KEDA_MAX]
        own_par, own_state = par[KEDA_HPA_PAR:], state[KEDA_HPA_STATE:]
        wanted = hpa_tick(now_ps, wanted, backlog_milli, 0, 0, 0, lo, hi, own_par, own_state)
    return wanted


@jit
def fixed_desired(replicas: int, lo: int, hi: int) -> int:
    """A fleet that never scales: `replicas`, within the bounds."""
    return min(max(replicas, lo), hi)
