"""Evictions: what is taken away on purpose, as far as disruption budgets allow, and nodes that are drained by them.

A node is drained as `kubectl drain` does it: it takes nothing new, and each replica on it is evicted; where a budget
forbids that, it is tried again after a while, until the node holds nothing.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.min_tree import tree_set
from sim.model.capacity.nodes import cordon_node, remove_node, request_node, strikes_group
from sim.model.capacity.slices import next_on_node
from sim.model.cluster.batch_jobs import interrupt_run, is_run
from sim.model.cluster.preemption import send_away
from sim.model.cluster.victims import refresh_budget
from sim.model.rollout.disruption_budget import POD_PENDING, POD_RUNNING, may_evict
from sim.model.tables.codes import STAGE_DRAINING, STAGE_READY, STAGE_WEIGHTS
from sim.model.tables.node import (
    EVENT_EVICTION_REFUSED,
    EVENT_JOB_PREEMPTED,
    EVENT_NODE_DRAINED,
    EVENT_NODE_REMOVED,
    EVENT_REPLICA_EVICTED,
    NODE_READY,
)
from sim.model.telemetry.cluster_log import log_event
from sim.units import NEVER

#: What becomes of a node when it is empty: it stays, or is given back, by somebody or for want of use, or is replaced.
STAYS, GIVEN_BACK, FOR_WANT_OF_USE, REPLACED = 1, 2, 3, 4


@jit
def phase_of(stage):
    """A replica's phase as a pod: it runs once its image is there."""
    return POD_RUNNING if stage >= STAGE_WEIGHTS else POD_PENDING


@jit_call
def may_be_evicted(params, state, r):
    """Whether replica r may be evicted now, by the budget of its pool."""
    pool_id = state.replica[r].pool
    if params.n_budget == 0 or params.budget[pool_id].is_set == 0:
        return True
    refresh_budget(params, state, pool_id)
    stage = state.replica[r].stage
    is_leaving = (stage == STAGE_DRAINING) * 1
    return may_evict(phase_of(stage), is_leaving, (stage == STAGE_READY) * 1, 1, state.budget[pool_id])


@jit_call
def evict(params, state, r, node_id, t):
    """Try to evict replica r; whether it was possible."""
    place = state.pool_place[state.replica[r].pool]
    if not may_be_evicted(params, state, r):
        place.refused += 1
        log_event(params, state, EVENT_EVICTION_REFUSED, node_id, r, 0, t)
        return False
    place.evicted += 1
    log_event(params, state, EVENT_REPLICA_EVICTED, node_id, r, 0, t)
    because = state.because
    state.because = state.n_event - 1
    grace_ps = params.cluster[0].grace_ps
    if state.node[node_id].is_draining == FOR_WANT_OF_USE:
        grace_ps = min(grace_ps, params.cluster[0].graceful_ps)
    send_away(params, state, r, grace_ps, t)
    state.because = because
    return True


@jit_call
def drain_node(params, state, node_id, then, t):
    """Drain a node that is ready or cordoned; `then` says what becomes of it."""
    node = state.node[node_id]
    if node.stage >= NODE_READY and node.is_doomed == 0:
        cordon_node(params, state, node_id, t)
        node.is_draining = max(node.is_draining, then)
        evict_all(params, state, node_id, t)


@jit_call
def evict_all(params, state, node_id, t):
    """Evict what a node that is drained holds, the lowest replicas first, and look again after a while; when it holds
    nothing it has been drained.
    """
    r = next_on_node(state, node_id, -1)
    while r >= 0:
        if is_run(params, r):
            interrupt_run(params, state, r, EVENT_JOB_PREEMPTED, node_id, t)
        elif state.replica[r].stage != STAGE_DRAINING:
            evict(params, state, r, node_id, t)
        r = next_on_node(state, node_id, r)
    node = state.node[node_id]
    if node.n_member > 0:
        tree_set(state.node_tree, params.node_leaves, node_id, t + max(1, params.cluster[0].retry_ps))
        return
    log_event(params, state, EVENT_NODE_DRAINED, node_id, -1, 0, t)
    tree_set(state.node_tree, params.node_leaves, node_id, NEVER)
    then = node.is_draining
    node.is_draining = 0
    if then >= GIVEN_BACK:
        state.node_group[node.group].removed += 1
        remove_node(params, state, node_id, EVENT_NODE_REMOVED, t)
    if then == REPLACED:
        node.wanted_by = -1
        state.because = node.event
        request_node(params, state, node_id, t)


@jit_call
def drain_nodes(params, state, fault, t):
    """Drain the lowest nodes that a scripted row names, and give them back."""
    left = fault.nodes
    for node_id in range(params.n_node):
        node = state.node[node_id]
        is_meant = strikes_group(params, fault, node.group)
        if left > 0 and is_meant and node.stage >= NODE_READY and node.is_draining == 0:
            drain_node(params, state, node_id, GIVEN_BACK, t)
            left -= 1
