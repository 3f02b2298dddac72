"""What happens at a control instant: scrapes and samples, then the autoscalers of the pools in order.

Ticks run outside the event loop, so that a policy that no compiler takes can be called by the host on every engine.
"""

from __future__ import annotations

from sim.jit import jit_call
from sim.model.hpa import hpa_tick
from sim.model.inputs import next_arrival_ps
from sim.model.layout import (
    DONE,
    HPA,
    L_MAX,
    L_MIN,
    L_SCALER,
    L_SCRAPE_PS,
    L_SIZE,
    L_TARGET,
    L_TICK_PS,
    NEED_POLICY,
    P_DURATION_PS,
    P_END_PS,
    P_N_POOL,
    P_SAMPLE_PS,
    P_TREE,
    Q_N_READY,
    Q_N_STARTING,
    Q_NEXT_SCRAPE,
    Q_NEXT_TICK,
    Q_SIZE,
    Q_WANTED,
    QUEUE,
    S_IN_FLIGHT,
    S_NEXT_MARK,
    S_NEXT_SAMPLE,
    S_NOW,
    S_POLICY_POOL,
    S_STATUS,
    S_STOP,
    USER,
)
from sim.model.lifecycle import on_stage, scale_to
from sim.model.marks import pass_mark
from sim.model.observe import metric_milli, sample, scrape
from sim.model.queue_scaler import KEDA_PAR_SIZE, KEDA_STATE_SIZE, keda_desired, keda_next_ps
from sim.model.tree import tree_first, tree_first_key
from sim.units import NEVER

SCALER_PAR = KEDA_PAR_SIZE  # the larger of the controllers' needs
SCALER_STATE = KEDA_STATE_SIZE


@jit_call
def next_stop_ps(p, st):
    """The next control instant."""
    stop = min(st.m[S_NEXT_SAMPLE], st.m[S_NEXT_MARK])
    stop = min(stop, p.m[P_END_PS])
    for pool in range(p.m[P_N_POOL]):
        stop = min(stop, st.m[st.pool + pool * Q_SIZE + Q_NEXT_SCRAPE])
        stop = min(stop, st.m[st.pool + pool * Q_SIZE + Q_NEXT_TICK])
    return stop


@jit_call
def stages_now(p, st, t):
    """Let every stage change at t happen: they come before whatever is next at t."""
    m = p.m[P_TREE]
    while tree_first_key(st.m, st.due) <= t:
        on_stage(p, st, tree_first(st.m, st.due, m), t)


@jit_call
def is_over(p, st, t):
    """Whether nothing is left to simulate at the control instant t."""
    if t >= p.m[P_END_PS]:
        return True
    idle = st.m[S_IN_FLIGHT] == 0 and next_arrival_ps(p, st) == NEVER
    return idle and t >= p.m[P_DURATION_PS]


@jit_call
def read_world(p, st, t):
    """Phase of scrapes and samples at t."""
    for pool in range(p.m[P_N_POOL]):
        qo = st.pool + pool * Q_SIZE
        if st.m[qo + Q_NEXT_SCRAPE] == t:
            scrape(p, st, pool, t)
            st.m[qo + Q_NEXT_SCRAPE] = t + p.m[p.pool + pool * L_SIZE + L_SCRAPE_PS]
    if st.m[S_NEXT_SAMPLE] == t:
        sample(p, st, t)
        st.m[S_NEXT_SAMPLE] = t + p.m[P_SAMPLE_PS]
    if st.m[S_NEXT_MARK] == t:
        pass_mark(p, st, t)


@jit_call
def desired_replicas(p, st, pool, t):
    """What the pool's own controller asks for at t, and when it will be asked again."""
    lo = p.pool + pool * L_SIZE
    qo = st.pool + pool * Q_SIZE
    par = p.m[p.scaler + pool * SCALER_PAR : p.scaler + (pool + 1) * SCALER_PAR]
    state = st.m[st.scaler + pool * SCALER_STATE : st.scaler + (pool + 1) * SCALER_STATE]
    kind = p.m[lo + L_SCALER]
    wanted = st.m[qo + Q_WANTED]
    if kind == HPA:
        st.m[qo + Q_NEXT_TICK] = t + p.m[lo + L_TICK_PS]
        return hpa_tick(
            t,
            wanted,
            metric_milli(p, st, pool, t),
            st.m[qo + Q_N_READY],
            st.m[qo + Q_N_STARTING],
            0,
            p.m[lo + L_MIN],
            p.m[lo + L_MAX],
            par,
            state,
        )
    if kind == QUEUE:
        wanted = keda_desired(t, wanted, metric_milli(p, st, pool, t), par, state)
        st.m[qo + Q_NEXT_TICK] = keda_next_ps(state)
        return wanted
    st.m[qo + Q_NEXT_TICK] = NEVER
    return p.m[lo + L_TARGET]


@jit_call
def run_ticks(p, st, t):
    """Autoscalers that are due at t, pools in order; stops at one whose law the host must call."""
    for pool in range(p.m[P_N_POOL]):
        if st.m[st.pool + pool * Q_SIZE + Q_NEXT_TICK] == t:
            if p.m[p.pool + pool * L_SIZE + L_SCALER] == USER:
                st.m[S_STATUS] = NEED_POLICY
                st.m[S_POLICY_POOL] = pool
                return
            scale_to(p, st, pool, desired_replicas(p, st, pool, t), t)
            stages_now(p, st, t)


@jit_call
def apply_policy(p, st, pool, wanted, t):
    """The host's answer for a pool whose law it called."""
    st.m[st.pool + pool * Q_SIZE + Q_NEXT_TICK] = t + p.m[p.pool + pool * L_SIZE + L_TICK_PS]
    scale_to(p, st, pool, wanted, t)
    stages_now(p, st, t)


@jit_call
def control(p, st, t):
    """Everything that is due at the control instant t; may be called again at t after a host-side policy."""
    st.m[S_NOW] = t
    read_world(p, st, t)
    if is_over(p, st, t):
        if p.m[P_SAMPLE_PS] > 0 and st.m[S_NEXT_SAMPLE] != t + p.m[P_SAMPLE_PS]:
            sample(p, st, t)  # the time series ends where the run does
        st.m[S_STATUS] = DONE
        return
    run_ticks(p, st, t)
    st.m[S_STOP] = next_stop_ps(p, st)
