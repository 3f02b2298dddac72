"""Fewer nodes: those go that hold nothing, and, if that is wanted, those of which little is in use and all of it fits
elsewhere.

As the Kubernetes cluster autoscaler: a node may go when it has been unneeded for long enough; what it still holds is
evicted where disruption budgets allow that of all of it, and only so many nodes are drained at a time.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.capacity.nodes import remove_node
from sim.model.cluster.evictions import FOR_WANT_OF_USE, GIVEN_BACK, REPLACED, drain_node
from sim.model.scheduler.moves import NO_FRESH, begin_trials, end_trials, go
from sim.model.tables.cause import CAUSE_NODE_AUTOSCALER
from sim.model.tables.node import EVENT_NODE_REMOVED, NO_CONSOLIDATION, NODE_READY
from sim.model.telemetry.causes import act_because


@jit_call
def scale_down(params, state, t):
    """Give nodes back, down to their group's minimum, the lowest first. None goes soon after one was asked for."""
    cluster = params.cluster[0]
    if cluster.below_milli > 0:
        find_unneeded(params, state, t)
    if state.node_added_ps >= 0 and t - state.node_added_ps < cluster.delay_after_add_ps:
        return
    remove_empty(params, state, cluster.unneeded_ps, cluster.bulk_delete_max, CAUSE_NODE_AUTOSCALER, t)
    if cluster.below_milli > 0:
        drain_unneeded(params, state, t)


@jit_call
def remove_empty(params, state, after_ps, most, cause, t):
    """Give back nodes that have held nothing for so long, at most so many; how many go."""
    n = 0
    for node_id in range(params.n_node):
        node = state.node[node_id]
        if (
            n < most
            and node.stage == NODE_READY
            and node.n_member == 0
            and node.is_awaited == 0
            and t - node.idle_ps >= after_ps
            and spare_nodes(params, state, node.group) > 0
        ):
            state.node_group[node.group].removed += 1
            act_because(state, cause, 0, node.freed_event)
            remove_node(params, state, node_id, EVENT_NODE_REMOVED, t)
            n += 1
    return n


@jit_call
def spare_nodes(params, state, group_id):
    """How many nodes more of a group may go: those above its minimum that are not going already."""
    group = params.node_group[group_id]
    spare = state.node_group[group_id].n_billed - group.min_nodes
    cluster = params.cluster[0]
    if spare > 0 and (cluster.below_milli > 0 or cluster.consolidation != NO_CONSOLIDATION):
        for node_id in range(group.first_node, group.first_node + group.n_node):
            spare -= int(is_going(state, node_id))
    return spare


@jit
def is_going(state, node_id):
    """Whether a node is drained to be given back, or waits for the one that takes its place."""
    return state.node[node_id].is_draining >= GIVEN_BACK or state.node[node_id].awaits > 0


# ---- nodes of which little is in use ----------------------------------------------------------------------
@jit
def is_little_used(params, state, node_id):
    """Whether less of a ready node is in use than the threshold says, and nobody is promised room there."""
    node = state.node[node_id]
    group = params.node_group[node.group]
    is_there = node.stage == NODE_READY and node.n_member > 0 and node.n_promised == 0
    return is_there and 1000 * node.used_slices < params.cluster[0].below_milli * group.gpus * group.slices


@jit_call
def find_unneeded(params, state, t):
    """Note which nodes could go now, all of them together, and since when that has been so. The lowest go first; a node to
    which something would be moved stays.
    """
    begin_trials(params, state)
    for node_id in range(params.n_node):
        state.node[node_id].cost = int(is_little_used(params, state, node_id))
    for node_id in range(params.n_node):
        node = state.node[node_id]
        is_unneeded = node.cost == 1 and node.n_laid == 0 and go(params, state, node_id, NO_FRESH)
        if not is_unneeded:
            node.unneeded_ps = -1
        elif node.unneeded_ps < 0:
            node.unneeded_ps = t
    end_trials(params, state)


@jit_call
def drain_unneeded(params, state, t):
    """Drain nodes that have been unneeded for long enough, as many as may be drained at a time."""
    cluster = params.cluster[0]
    left = cluster.drains_max
    for node_id in range(params.n_node):
        left -= int(state.node[node_id].is_draining == FOR_WANT_OF_USE)
    for node_id in range(params.n_node):
        node = state.node[node_id]
        if (
            left > 0
            and node.unneeded_ps >= 0
            and node.stage == NODE_READY
            and t - node.unneeded_ps >= cluster.unneeded_ps
            and spare_nodes(params, state, node.group) > 0
        ):
            left -= 1
            act_because(state, CAUSE_NODE_AUTOSCALER, 0, node.freed_event)
            drain_node(params, state, node_id, FOR_WANT_OF_USE, t)


# ---- nodes that have lost a GPU ----------------------------------------------------------------------
@jit_call
def replace_broken(params, state, t):
    """Drain nodes one of whose GPUs has been lost for long enough; a new one is asked for in the place of each."""
    for node_id in range(params.n_node):
        node = state.node[node_id]
        if (
            node.broken_ps >= 0
            and t - node.broken_ps >= params.cluster[0].replace_after_ps
            and node.is_draining < REPLACED
        ):
            act_because(state, CAUSE_NODE_AUTOSCALER, 0, node.broken_event)
            drain_node(params, state, node_id, REPLACED, t)
