"""One rule at a time: what the SimPy engine and the host call in the middle of a run."""

from __future__ import annotations

from sim.model.capacity.nodes import cordon_node, uncordon_node
from sim.model.cluster.evictions import STAYS, drain_node
from sim.model.cluster.replica_lifecycle import become_ready, begin_drain, scale_to
from sim.model.faults.lost import on_stage, strike_node
from sim.model.loop.advance import begin, finish, on_replica
from sim.model.loop.cluster_events import on_cluster, set_next_cluster
from sim.model.loop.control import apply_policy, control
from sim.model.loop.inputs import on_input
from sim.model.replica.jump import blocks_used
from sim.model.tables.cause import CAUSE_USER, NO_EVENT
from sim.model.telemetry.causes import act_because
from sim.model.telemetry.samples import signal_milli

(
    ACT_BEGIN,
    ACT_FINISH,
    ACT_STAGE,
    ACT_INPUT,
    ACT_BOUNDARY,
    ACT_CONTROL,
    ACT_SCALE,  # (pool, replicas)
    ACT_TARGET,  # (pool, replicas) as the answer of a policy
    ACT_SIGNAL,  # → milli
    ACT_BLOCKS,  # → blocks in use
    ACT_READY,
    ACT_DRAIN,
    ACT_CLUSTER,
    ACT_CORDON,
    ACT_UNCORDON,
    ACT_LOSE_NODE,
    ACT_DRAIN_NODE,
) = range(17)


def act(params, state, what, which, value, t):  # type: ignore[no-untyped-def]
    """Apply one rule to replica, pool, signal or node `which` at t; returns what it reads, else 0."""
    if what == ACT_BOUNDARY:
        on_replica(params, state, which, t)
    elif what == ACT_INPUT:
        on_input(params, state, t)
    elif what == ACT_STAGE:
        on_stage(params, state, which, t)
    elif what == ACT_CONTROL:
        control(params, state, t)
    elif what == ACT_SCALE:
        act_because(state, CAUSE_USER, 0, NO_EVENT)
        scale_to(params, state, which, value, t)
    elif what == ACT_TARGET:
        apply_policy(params, state, which, value, t)
    elif what == ACT_SIGNAL:
        return signal_milli(params, state, which, t)
    elif what == ACT_BLOCKS:
        return blocks_used(params, state, which, params.pool[state.replica[which].pool].n_blocks, t)
    elif what == ACT_CLUSTER:
        on_cluster(params, state, t)
    elif what == ACT_CORDON:
        act_because(state, CAUSE_USER, 0, NO_EVENT)
        cordon_node(params, state, which, t)
    elif what == ACT_UNCORDON:
        act_because(state, CAUSE_USER, 0, NO_EVENT)
        uncordon_node(params, state, which, t)
        set_next_cluster(params, state)
    elif what == ACT_LOSE_NODE:
        act_because(state, CAUSE_USER, 0, NO_EVENT)
        strike_node(params, state, which, t)
        set_next_cluster(params, state)
    elif what == ACT_DRAIN_NODE:
        act_because(state, CAUSE_USER, 0, NO_EVENT)
        drain_node(params, state, which, STAYS, t)
        set_next_cluster(params, state)
    elif what == ACT_READY:
        become_ready(params, state, which, t)
    elif what == ACT_DRAIN:
        begin_drain(params, state, which, t)
    elif what == ACT_BEGIN:
        begin(params, state)
    elif what == ACT_FINISH:
        finish(params, state)
    return 0
