"""What happens at a control instant: scrapes and samples, then the autoscalers of the pools in order.

Ticks run outside the event loop, so that a policy that no compiler takes can be called by the host on every engine.
"""

from __future__ import annotations

from sim.compile.jit import jit_call
from sim.model.autoscaler.hpa import hpa_tick
from sim.model.autoscaler.keda import KEDA_PAR_SIZE, KEDA_STATE_SIZE, keda_desired, keda_next_ps
from sim.model.base.min_tree import tree_first, tree_first_key
from sim.model.cluster.replica_lifecycle import on_stage, scale_to
from sim.model.loop.inputs import next_arrival_ps
from sim.model.tables.codes import DONE, HPA, NEED_POLICY, QUEUE, USER
from sim.model.telemetry.marks import pass_mark
from sim.model.telemetry.samples import metric_milli, sample, scrape
from sim.units import NEVER

SCALER_PAR = KEDA_PAR_SIZE  # the larger of the controllers' needs
SCALER_STATE = KEDA_STATE_SIZE


@jit_call
def next_stop_ps(params, state):
    """The next control instant."""
    stop = min(state.next_sample_ps, state.next_mark_ps)
    stop = min(stop, params.end_ps)
    for pool in range(params.n_pool):
        stop = min(stop, state.pool[pool].next_scrape_ps)
        stop = min(stop, state.pool[pool].next_tick_ps)
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
    for pool in range(params.n_pool):
        pool_state = state.pool[pool]
        if pool_state.next_scrape_ps == t:
            scrape(params, state, pool, t)
            pool_state.next_scrape_ps = t + params.pool[pool].scrape_ps
    if state.next_sample_ps == t:
        sample(params, state, t)
        state.next_sample_ps = t + params.sample_ps
    if state.next_mark_ps == t:
        pass_mark(params, state, t)


@jit_call
def desired_replicas(params, state, pool_id, t):
    """Replicas that a pool's autoscaler asks for at t; sets when it ticks next."""
    pool = params.pool[pool_id]
    pool_state = state.pool[pool_id]
    settings = params.autoscaler[pool_id * SCALER_PAR :]
    memory = state.autoscaler[pool_id * SCALER_STATE :]
    kind = pool.autoscaler
    wanted = pool_state.wanted
    if kind == HPA:
        pool_state.next_tick_ps = t + pool.tick_ps
        return hpa_tick(
            t,
            wanted,
            metric_milli(params, state, pool_id, t),
            pool_state.n_ready,
            pool_state.n_starting,
            0,
            pool.min_replicas,
            pool.max_replicas,
            settings,
            memory,
        )
    if kind == QUEUE:
        wanted = keda_desired(t, wanted, metric_milli(params, state, pool_id, t), settings, memory)
        pool_state.next_tick_ps = keda_next_ps(memory)
        return wanted
    pool_state.next_tick_ps = NEVER
    return pool.target_milli


@jit_call
def run_ticks(params, state, t):
    """Tick the autoscalers that are due at t, pools in order; stop at one whose policy the host must call."""
    for pool in range(params.n_pool):
        if state.pool[pool].next_tick_ps == t:
            if params.pool[pool].autoscaler == USER:
                state.status = NEED_POLICY
                state.policy_pool = pool
                return
            scale_to(params, state, pool, desired_replicas(params, state, pool, t), t)
            stages_now(params, state, t)


@jit_call
def apply_policy(params, state, pool, wanted, t):
    """Carry out the host's answer for a pool whose policy it called."""
    state.pool[pool].next_tick_ps = t + params.pool[pool].tick_ps
    scale_to(params, state, pool, wanted, t)
    stages_now(params, state, t)


@jit_call
def control(params, state, t):
    """Do what is due at the control instant t; the host calls it again at t after a user's policy."""
    state.now_ps = t
    scrape_and_sample(params, state, t)
    if is_over(params, state, t):
        if params.sample_ps > 0 and state.next_sample_ps != t + params.sample_ps:
            sample(params, state, t)  # the time series ends where the run does
        state.status = DONE
        return
    run_ticks(params, state, t)
    state.stop_ps = next_stop_ps(params, state)
