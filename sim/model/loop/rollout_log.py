"""What is written down of deployments: what they come to, and what each measurement of their gates says."""

from __future__ import annotations

from sim.compile.jit import jit_call
from sim.model.tables.cause import CAUSE_DEPLOYMENT
from sim.model.tables.node import EVENT_GATE_PASSED
from sim.model.telemetry.causes import act_because
from sim.model.telemetry.cluster_log import log_event


@jit_call
def log_rollout(params, state, number, event, t):
    """Write down what a deployment comes to, in a cluster: what it does from now on it does because of that."""
    own = state.rollout[number]
    act_because(state, CAUSE_DEPLOYMENT, number, own.event)
    log_event(params, state, event, -1, params.pool[params.rollout[number].to_pool].first_replica, number, t)
    own.event = state.n_event - 1


@jit_call
def log_gate(params, state, number, i, phase, t):
    """Write down what a measurement of a deployment's i-th gate says, in a cluster; the number of that event, or −1."""
    act_because(state, CAUSE_DEPLOYMENT, number, state.rollout[number].event)
    r = params.pool[params.rollout[number].to_pool].first_replica
    log_event(params, state, EVENT_GATE_PASSED + phase, -1, r, i, t)
    return state.n_event - 1
