"""The life of a node: absent → provisioning → booting → driver → ready → absent; what becomes of those that are lost."""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.min_tree import tree_build, tree_set
from sim.model.capacity.billing import charge_node
from sim.model.capacity.workloads import place_soon
from sim.model.placement.mig import N_SLICE
from sim.model.tables.node import (
    EVENT_NODE_CORDONED,
    EVENT_NODE_READY,
    EVENT_NODE_REFUSED,
    EVENT_NODE_REMOVED,
    EVENT_NODE_REQUESTED,
    EVENT_NODE_STAGE,
    EVENT_NODE_UNCORDONED,
    NODE_ABSENT,
    NODE_CORDONED,
    NODE_READY,
)
from sim.model.tables.pool import N_QUANTILE_BITS
from sim.model.telemetry.cluster_log import log_event, settle_nodes
from sim.model.transfers.node_cache import fill_cache
from sim.model.transfers.peers import serve_waiting, stop_uploads
from sim.rng import STREAM_NODE, draw
from sim.units import NEVER

CAPACITY_BITS = 20
NO_SLICE_FREE = (1 << N_SLICE) - 1


@jit_call
def enter_node_stage(params, state, node_id, stage, t):
    """Move a node to a stage and keep the counts of its group. It counts as billed from its request until it is gone; from
    when the provider charges for it, `charge_node` says.
    """
    node = state.node[node_id]
    group = state.node_group[node.group]
    was = node.stage
    settle_nodes(state, node.group, t)
    group.n_billed += (stage != NODE_ABSENT) * 1 - (was != NODE_ABSENT) * 1
    group.n_ready += (stage >= NODE_READY) * 1 - (was >= NODE_READY) * 1
    if group.n_billed > group.peak_nodes:
        group.peak_nodes = group.n_billed
    charge_node(params, state, node_id, was, stage, t)
    node.stage = stage


# ---- from a request to ready ----------------------------------------------------------------------
@jit_call
def is_refused(params, group_id, request, t):
    """Whether the provider has no node for a group's request of that number at t: in a drought, or by chance."""
    group = params.node_group[group_id]
    for i in range(group.first_drought, group.first_drought + group.n_drought):
        if params.drought[i].from_ps <= t and t < params.drought[i].to_ps:
            return True
    word = draw(params.seed, STREAM_NODE, group_id, request)
    return (word >> (63 - CAPACITY_BITS)) < group.no_capacity_q20


@jit_call
def request_node(params, state, node_id, t):
    """Ask the provider for a node at t; whether it has one. If not, its group is left alone for a while."""
    node = state.node[node_id]
    group = state.node_group[node.group]
    node.request = group.requested
    group.requested += 1
    if is_refused(params, node.group, node.request, t):
        group.refused += 1
        group.retry_ps = t + params.node_group[node.group].retry_ps
        log_event(params, state, EVENT_NODE_REFUSED, node_id, node.wanted_by, node.request, t)
        return False
    log_event(params, state, EVENT_NODE_REQUESTED, node_id, node.wanted_by, node.request, t)
    state.because = node.event
    node.requested_ps = t
    node.step = -1
    next_node_step(params, state, node_id, t)
    return True


@jit_call
def next_node_step(params, state, node_id, t):
    """The next step of a node on its way to ready begins at t. A step that takes no time is passed over."""
    node = state.node[node_id]
    group = params.node_group[node.group]
    while True:
        node.step += 1
        if node.step == group.n_step:
            become_ready_node(params, state, node_id, t)
            return
        step = params.node_step[group.first_step + node.step]
        word = draw(params.seed, STREAM_NODE + 1 + node.step, node.group, node.request)
        took_ps = step.quantile_ps[word >> (63 - N_QUANTILE_BITS)]
        if took_ps > 0:
            enter_node_stage(params, state, node_id, step.stage, t)
            log_event(params, state, EVENT_NODE_STAGE, node_id, -1, step.stage, t)
            tree_set(state.node_tree, params.node_leaves, node_id, t + took_ps)
            return


@jit_call
def become_ready_node(params, state, node_id, t):
    """A node takes replicas from t on."""
    node = state.node[node_id]
    enter_node_stage(params, state, node_id, NODE_READY, t)
    tree_set(state.node_tree, params.node_leaves, node_id, NEVER)
    node.ready_ps = t
    node.idle_ps = t
    node.changed_ps = t
    node.unneeded_ps = -1
    fill_cache(params, state, node_id, t)
    log_event(params, state, EVENT_NODE_READY, node_id, -1, node.request, t)
    serve_waiting(params, state, t)
    place_soon(state, t)


# ---- from ready to absent ----------------------------------------------------------------------
@jit_call
def remove_node(params, state, node_id, event, t):
    """A node that holds nothing is given back to the provider, or is lost: the event says which, and since when it has held
    nothing.
    """
    idle_ps = t - state.node[node_id].idle_ps
    log_event(params, state, event, node_id, -1, idle_ps if event == EVENT_NODE_REMOVED else 0, t)
    state.node[node_id].is_doomed = 0
    state.node[node_id].is_draining = 0
    state.node[node_id].awaits = 0
    forget_lost_gpus(params, state, node_id)
    enter_node_stage(params, state, node_id, NODE_ABSENT, t)
    tree_set(state.node_tree, params.node_leaves, node_id, NEVER)
    stop_uploads(params, state, node_id, t)


@jit_call
def node_of_gpu(params, u):
    """The number of the node that the u-th GPU is of."""
    group_id = params.n_node_group - 1
    while params.node_group[group_id].first_gpu > u:
        group_id -= 1
    group = params.node_group[group_id]
    return group.first_node + (u - group.first_gpu) // group.gpus


@jit_call
def forget_lost_gpus(params, state, node_id):
    """A node is gone, with what did not work: the one that takes its place is whole."""
    node = state.node[node_id]
    node.broken_ps = -1
    for u in range(node.first_gpu, node.first_gpu + params.node_group[node.group].gpus):
        state.gpu[u].is_whole = 0
        if state.gpu[u].is_lost == 1:
            state.gpu[u].is_lost = 0
            state.gpu[u].busy = 0


@jit_call
def cordon_node(params, state, node_id, t):
    """A ready node takes no new replicas from t on; those that it holds stay."""
    if state.node[node_id].stage == NODE_READY:
        log_event(params, state, EVENT_NODE_CORDONED, node_id, -1, 0, t)
        enter_node_stage(params, state, node_id, NODE_CORDONED, t)


@jit_call
def uncordon_node(params, state, node_id, t):
    """A cordoned node takes replicas again, unless it has been told that it will be lost."""
    if state.node[node_id].stage == NODE_CORDONED and state.node[node_id].is_doomed == 0:
        log_event(params, state, EVENT_NODE_UNCORDONED, node_id, -1, 0, t)
        state.node[node_id].is_draining = 0
        state.node[node_id].awaits = 0
        state.node[node_id].unneeded_ps = -1
        tree_set(state.node_tree, params.node_leaves, node_id, NEVER)
        enter_node_stage(params, state, node_id, NODE_READY, t)
        place_soon(state, t)


# ---- at time 0 ----------------------------------------------------------------------
@jit_call
def begin_nodes(params, state):
    """Set up the nodes at time 0: the initial ones of each group are ready and hold nothing."""
    for leaf in range(params.node_leaves):
        state.node_tree[params.node_leaves + leaf] = NEVER
    tree_build(state.node_tree, params.node_leaves)
    for group_id in range(params.n_node_group):
        group = params.node_group[group_id]
        for i in range(group.n_node):
            node = state.node[group.first_node + i]
            node.group = group_id
            node.first_gpu = group.first_gpu + i * group.gpus
            node.first_held = -1
            node.broken_ps = -1
            if i < group.initial_nodes:
                node.request = -1
                become_ready_node(params, state, group.first_node + i, 0)
    for number in range(params.n_member):
        state.member[number].node = -1


@jit
def strikes_group(params, fault, group_id):
    """Whether a fault strikes nodes of a group."""
    in_group = fault.node_group == 0 or fault.node_group == 1 + group_id
    return in_group and (fault.zone == 0 or fault.zone == 1 + params.node_group[group_id].zone)


@jit
def is_upcoming(stage):
    """Whether a node in this stage is on its way to ready."""
    return NODE_ABSENT < stage < NODE_READY
