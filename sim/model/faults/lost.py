"""What is lost, at scripted times or at random: replicas of a pool, or nodes with all that they hold. The requests that a
lost replica held fail, and its pool replaces it.
"""

from __future__ import annotations

from sim.compile.jit import jit_call
from sim.model.base.histogram import add_wide
from sim.model.base.min_tree import tree_set
from sim.model.capacity.nodes import remove_node, strikes_group
from sim.model.capacity.slices import next_on_node
from sim.model.clients.give_up import fail_with_replica
from sim.model.cluster.batch_jobs import interrupt_run, is_run
from sim.model.cluster.evictions import drain_nodes
from sim.model.cluster.preemption import replace_replicas
from sim.model.cluster.ready_list import drop_ready
from sim.model.cluster.replica_lifecycle import continue_cold_start, remove_replica, scale_to
from sim.model.record.latency_attribution import on_last_ready_gone
from sim.model.replica.jump import decoded_ps, prompts_ps, settle
from sim.model.replica.neighbours import break_off_step
from sim.model.request.in_flight import fail_request
from sim.model.tables.cause import CAUSE_FAULT, NO_EVENT
from sim.model.tables.codes import REPLICA_LOST, STAGE_DRAINING, STAGE_READY
from sim.model.tables.node import (
    EVENT_FAULT_STRUCK,
    EVENT_JOB_LOST,
    EVENT_NODE_LOST,
    EVENT_REPLICA_LOST,
    NODE_ABSENT,
)
from sim.model.telemetry.causes import act_because, go_on_with_replica
from sim.model.telemetry.cluster_log import log_event
from sim.units import NEVER


@jit_call
def on_scripted_fault(params, state, t):
    """The next scripted fault strikes at t."""
    fault = params.fault[state.n_fault]
    act_because(state, CAUSE_FAULT, state.n_fault, NO_EVENT)
    log_event(params, state, EVENT_FAULT_STRUCK, -1, -1, state.n_fault, t)
    state.because = state.n_event - 1
    state.n_fault += 1
    if fault.drains == 1:
        drain_nodes(params, state, fault, t)
    elif fault.node_group > 0 or fault.zone > 0:
        lose_nodes(params, state, fault, t)
    else:
        lose_replicas(params, state, fault, t)


@jit_call
def lose_replicas(params, state, fault, t):
    """Some replicas of a pool are lost at t, ready ones before draining ones; new ones are started in their place."""
    pool = fault.pool
    for _ in range(fault.replicas):
        r = choose_lost_replica(params, state, pool)
        if r < 0:
            break
        log_event(params, state, EVENT_REPLICA_LOST, -1, r, 0, t)
        lose_replica(params, state, r, t)
    scale_to(params, state, pool, state.pool[pool].wanted, t)


@jit_call
def choose_lost_replica(params, state, pool):
    """The lowest ready replica of a pool, or the lowest draining one, or −1."""
    first = params.pool[pool].first_replica
    draining = -1
    for r in range(first, first + params.pool[pool].n_replica):
        stage = state.replica[r].stage
        if stage == STAGE_READY:
            return r
        if stage == STAGE_DRAINING and draining < 0:
            draining = r
    return draining


@jit_call
def lose_replica(params, state, r, t):
    """A replica is gone at t, in the middle of whatever it did: all that it held fails."""
    drop_all(params, state, r, t)
    remove_replica(params, state, r, t)


@jit_call
def drop_all(params, state, r, t):
    """A replica serves no longer at t, in the middle of whatever it did: all that it held fails."""
    replica = state.replica[r]
    settle(params, state, r, t)
    if replica.jump_steps > 0:
        span = t - replica.jump_ps
        replica.busy_ps += span
        replica.decode_ps += decoded_ps(replica, span)
        replica.prefill_ps += prompts_ps(replica, span)
        add_wide(replica.slot_ps, span * replica.n_run)
    if replica.stage == STAGE_READY:
        g = params.pool[replica.pool].served_model
        drop_ready(params, state, g, r)
        on_last_ready_gone(state, g, t)
    fail_list(params, state, r, replica.wait_head, t)
    fail_list(params, state, r, replica.run_head, t)
    break_off_step(params, state, r, t)
    clear_engine(params, state, r)


@jit_call
def on_stage(params, state, r, t):
    """A step of replica r's start ends at t, or its draining; one that was preempted and has had its grace is lost."""
    replica = state.replica[r]
    if replica.stage != STAGE_DRAINING:
        continue_cold_start(params, state, r, t)
        return
    go_on_with_replica(params, state, r)
    if replica.n_run + replica.n_wait == 0:
        remove_replica(params, state, r, t)
    else:
        log_event(params, state, EVENT_REPLICA_LOST, -1, r, 0, t)
        lose_replica(params, state, r, t)
    if params.n_cluster == 1 and state.pool_place[replica.pool].is_owed == 1:
        place = state.pool_place[replica.pool]
        act_because(state, place.owed_cause, place.owed_id, state.workload[r].event)
        replace_replicas(params, state, replica.pool, t)


# ---- nodes ----------------------------------------------------------------------
@jit_call
def shut_groups(params, state, fault, until_ps):
    """The groups that a fault strikes get no new nodes for a while."""
    for group_id in range(params.n_node_group):
        if strikes_group(params, fault, group_id):
            group = state.node_group[group_id]
            group.retry_ps = max(group.retry_ps, until_ps)


@jit_call
def lose_nodes(params, state, fault, t):
    """Nodes are lost at t, the lowest first, those on their way included; their groups get no new ones for a while."""
    left = fault.nodes
    if fault.outage_ps > 0:
        shut_groups(params, state, fault, t + fault.outage_ps)
    for node_id in range(params.n_node):
        node = state.node[node_id]
        if left > 0 and node.stage != NODE_ABSENT and strikes_group(params, fault, node.group):
            lose_node(params, state, node_id, t)
            left -= 1
    replace_lost(params, state, t)


# ---- one node ----------------------------------------------------------------------
@jit_call
def replace_lost(params, state, t):
    """Every pool starts as many replicas as it has lost."""
    for pool_id in range(params.n_pool):
        replace_replicas(params, state, pool_id, t)


@jit_call
def lose_workload(params, state, r, node_id, t):
    """A replica, or a run of a job, is lost at t with what it had on a node. Its pool is not told yet."""
    if is_run(params, r):
        interrupt_run(params, state, r, EVENT_JOB_LOST, node_id, t)
        return
    log_event(params, state, EVENT_REPLICA_LOST, node_id, r, 0, t)
    if state.replica[r].stage >= STAGE_READY:
        lose_replica(params, state, r, t)
    else:
        remove_replica(params, state, r, t)


@jit_call
def lose_node(params, state, node_id, t):
    """A node is gone at t, and every replica and run whose gang has a member on it is lost. Its pool is not told yet."""
    node = state.node[node_id]
    r = next_on_node(state, node_id, -1)
    while r >= 0:
        lose_workload(params, state, r, node_id, t)
        r = next_on_node(state, node_id, r)
    state.node_group[node.group].lost += 1
    remove_node(params, state, node_id, EVENT_NODE_LOST, t)


@jit_call
def strike_node(params, state, node_id, t):
    """A node is lost at t, and pools replace what they lost with it."""
    if state.node[node_id].stage != NODE_ABSENT:
        lose_node(params, state, node_id, t)
        replace_lost(params, state, t)


# ---- what a lost replica held ----------------------------------------------------------------------
@jit_call
def fail_list(params, state, r, s, t):
    """Every attempt of a list of slots fails with its replica."""
    while s >= 0:
        after = state.slot[s].next
        if params.has_attempts == 1:
            fail_with_replica(params, state, s, r, REPLICA_LOST, t)
        else:
            fail_request(params, state, s, r, REPLICA_LOST)
        s = after


@jit_call
def clear_engine(params, state, r):
    """Empty an engine; its step count and its totals stay."""
    replica = state.replica[r]
    replica.jump_steps = 0
    replica.is_hung = 0
    replica.n_run = 0
    replica.n_wait = 0
    replica.n_decode = 0
    replica.kv = 0
    replica.n_chunk = 0
    replica.batch_left = 0
    replica.n_gap = 0
    replica.abandoned = 0
    replica.run_head = -1
    replica.run_tail = -1
    replica.wait_head = -1
    replica.wait_tail = -1
    for j in range(params.pool[replica.pool].block_size):
        state.m[replica.residue_at + j] = 0
    for c in range(params.n_class):
        state.mix[r * params.n_class + c] = 0
    tree_set(state.boundary_tree, params.leaves, r, NEVER)
