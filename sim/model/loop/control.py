"""What happens at a control instant: scrapes and samples, deployments, then the autoscalers of the pools in order.

Ticks run outside the event loop, so that a policy that no compiler takes can be called by the host on every engine.
"""

from __future__ import annotations

from sim.compile.jit import jit_call
from sim.model.autoscaler.hpa import hpa_tick
from sim.model.autoscaler.hpa_rows import HpaMemory, HpaSeen, HpaSettings
from sim.model.autoscaler.keda import KedaMemory, KedaSettings, keda_desired, keda_next_ps
from sim.model.base.min_tree import tree_first, tree_first_key
from sim.model.cluster.replica_lifecycle import scale_to
from sim.model.faults.lost import on_stage
from sim.model.loop.inputs import next_arrival_ps
from sim.model.loop.rollouts import next_sync_ps, sync_rollouts
from sim.model.tables.cause import CAUSE_AUTOSCALER, NO_EVENT
from sim.model.tables.codes import DONE, FIXED, HPA, NEED_POLICY, OK, QUEUE, USER
from sim.model.tables.kinds import POOL, Kind, names_of_kinds
from sim.model.telemetry.causes import act_because
from sim.model.telemetry.marks import pass_mark
from sim.model.telemetry.samples import sample, scrape, signal_milli
from sim.units import NEVER

KINDS = (
    Kind(FIXED, "fixed"),
    Kind(HPA, "hpa", HpaSettings, HpaMemory, POOL),
    Kind(QUEUE, "queue", KedaSettings, KedaMemory, POOL),
    Kind(USER, "user"),
)
AUTOSCALERS = names_of_kinds(KINDS)
SCALER_PAR = max(kind.settings.SIZE for kind in KINDS if kind.settings)  # words of a pool
SCALER_STATE = max(kind.memory.SIZE for kind in KINDS if kind.memory)


@jit_call
def next_stop_ps(params, state):
    """The next control instant."""
    stop = min(state.next_sample_ps, state.next_mark_ps)
    stop = min(stop, params.end_ps)
    for signal in range(params.n_signal):
        stop = min(stop, state.signal[signal].next_scrape_ps)
    for pool in range(params.n_pool):
        stop = min(stop, state.pool[pool].next_tick_ps)
    if params.n_rollout > 0:
        stop = min(stop, next_sync_ps(params, state))
    return stop


@jit_call
def stages_now(params, state, t):
    """Let every stage change at t happen: they come before whatever is next at t."""
    m = params.leaves
    while tree_first_key(state.stage_tree) <= t:
        on_stage(params, state, tree_first(state.stage_tree, m), t)


@jit_call
def is_over(params, state, t):
    """Whether nothing is left to simulate at the control instant t."""
    if t >= params.end_ps:
        return True
    idle = state.in_flight == 0 and next_arrival_ps(params, state) == NEVER
    return idle and t >= params.duration_ps


@jit_call
def scrape_and_sample(params, state, t):
    """Scrape, sample and set marks where they are due at t."""
    for signal in range(params.n_signal):
        if state.signal[signal].next_scrape_ps == t:
            scrape(params, state, signal, t)
    if state.next_sample_ps == t:
        sample(params, state, t)
        state.next_sample_ps = t + params.sample_ps
    if state.next_mark_ps == t:
        pass_mark(params, state, t)


@jit_call
def look(params, state, pool_id, seen, t):
    """Let a pool's controller read its signals, and count its replicas."""
    pool = params.pool[pool_id]
    for i in range(pool.n_signal):
        seen.metric_milli[i] = signal_milli(params, state, pool.first_signal + i, t)
    seen.n_reporting = state.pool[pool_id].n_ready
    seen.n_pending = state.pool[pool_id].n_starting


@jit_call
def hpa_replicas(params, state, pool_id, t):
    """What a pool's HPA asks for at t."""
    memory = HpaMemory(state.autoscaler, pool_id * SCALER_STATE)
    seen = HpaSeen(memory.seen, 0)
    look(params, state, pool_id, seen, t)
    state.pool[pool_id].next_tick_ps = t + params.pool[pool_id].tick_ps
    settings = HpaSettings(params.autoscaler, pool_id * SCALER_PAR)
    return hpa_tick(t, state.pool[pool_id].wanted, settings, memory, seen)


@jit_call
def keda_replicas(params, state, pool_id, t):
    """What a pool's queue scaler asks for at t."""
    memory = KedaMemory(state.autoscaler, pool_id * SCALER_STATE)
    seen = HpaSeen(HpaMemory(memory.hpa, 0).seen, 0)
    look(params, state, pool_id, seen, t)
    settings = KedaSettings(params.autoscaler, pool_id * SCALER_PAR)
    wanted = keda_desired(t, state.pool[pool_id].wanted, settings, memory, seen)
    state.pool[pool_id].next_tick_ps = keda_next_ps(memory)
    return wanted


@jit_call
def desired_replicas(params, state, pool_id, t):
    """Replicas that a pool's autoscaler asks for at t; sets when it ticks next."""
    kind = params.pool[pool_id].autoscaler
    if kind == HPA:
        return hpa_replicas(params, state, pool_id, t)
    if kind == QUEUE:
        return keda_replicas(params, state, pool_id, t)
    state.pool[pool_id].next_tick_ps = NEVER
    return params.pool[pool_id].target_milli


@jit_call
def run_ticks(params, state, t):
    """Tick the autoscalers that are due at t, pools in order; stop at one whose policy the host must call."""
    for pool in range(params.n_pool):
        if state.pool[pool].next_tick_ps == t:
            if params.pool[pool].autoscaler == USER:
                state.status = NEED_POLICY
                state.policy_pool = pool
                return
            wanted = desired_replicas(params, state, pool, t)
            act_because(state, CAUSE_AUTOSCALER, pool, NO_EVENT)
            scale_to(params, state, pool, wanted, t)
            stages_now(params, state, t)


@jit_call
def apply_policy(params, state, pool, wanted, t):
    """Carry out the host's answer for a pool whose policy it called."""
    state.pool[pool].next_tick_ps = t + params.pool[pool].tick_ps
    act_because(state, CAUSE_AUTOSCALER, pool, NO_EVENT)
    scale_to(params, state, pool, wanted, t)
    stages_now(params, state, t)


@jit_call
def control(params, state, t):
    """Do what is due at the control instant t; the host calls it again at t after a user's policy."""
    state.now_ps = t
    state.is_controlling = 1
    scrape_and_sample(params, state, t)
    if is_over(params, state, t):
        if params.sample_ps > 0 and state.next_sample_ps != t + params.sample_ps:
            sample(params, state, t)  # the time series ends where the run does
        state.status = DONE
        return
    if params.n_rollout > 0:
        sync_rollouts(params, state, t)
        stages_now(params, state, t)
    run_ticks(params, state, t)
    state.stop_ps = next_stop_ps(params, state)
    if state.status == OK:
        state.is_controlling = 0
