"""GPUs that are lost (an Xid error that needs a repair): replicas on one are lost with it, and until it is repaired, or its
node is replaced, nothing is placed there.

All slices of a lost GPU count as held, by nobody: so every rule of placement passes it over.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.capacity.nodes import NO_SLICE_FREE, node_of_gpu, strikes_group
from sim.model.capacity.workloads import place_soon
from sim.model.faults.lost import lose_workload, replace_lost
from sim.model.tables.node import EVENT_GPU_LOST, EVENT_GPU_REPAIRED, NODE_READY
from sim.model.telemetry.cluster_log import log_event


@jit_call
def can_lose_gpu(params, state, e, u):
    """Whether the e-th episode could strike the u-th GPU: one that is there and works."""
    node = state.node[node_of_gpu(params, u)]
    return (
        node.stage >= NODE_READY
        and state.gpu[u].is_lost == 0
        and strikes_group(params, params.episode[e], node.group)
    )


@jit_call
def next_on_gpu(state, node_id, i, r):
    """The lowest workload above r that holds a slice of a node's i-th GPU, or −1."""
    best = -1
    number = state.node[node_id].first_held
    while number >= 0:
        member = state.member[number]
        if (member.gpus >> i) & 1 == 1 and member.replica > r and (best < 0 or member.replica < best):
            best = member.replica
        number = member.next
    return best


@jit_call
def lose_gpu(params, state, u, t):
    """The u-th GPU is lost at t, and every replica and run that holds some of it. Their pools are not told yet."""
    node_id = node_of_gpu(params, u)
    node = state.node[node_id]
    i = u - node.first_gpu
    log_event(params, state, EVENT_GPU_LOST, node_id, -1, i, t)
    if node.broken_ps < 0:
        node.broken_ps = t
        node.broken_event = state.n_event - 1
    r = next_on_gpu(state, node_id, i, -1)
    while r >= 0:
        lose_workload(params, state, r, node_id, t)
        r = next_on_gpu(state, node_id, i, r)
    state.gpu[u].is_lost = 1
    state.gpu[u].busy = NO_SLICE_FREE


@jit_call
def has_lost_gpu(params, state, node_id):
    """Whether a GPU of a node is lost."""
    node = state.node[node_id]
    for u in range(node.first_gpu, node.first_gpu + params.node_group[node.group].gpus):
        if state.gpu[u].is_lost == 1:
            return True
    return False


@jit_call
def repair_gpu(params, state, u, t):
    """The u-th GPU works again from t on."""
    node_id = node_of_gpu(params, u)
    state.gpu[u].is_lost = 0
    state.gpu[u].busy = 0
    if not has_lost_gpu(params, state, node_id):
        state.node[node_id].broken_ps = -1
    log_event(params, state, EVENT_GPU_REPAIRED, node_id, -1, u - state.node[node_id].first_gpu, t)
    place_soon(state, t)


@jit_call
def lose_gpus(params, state, e, t):
    """The GPUs that the e-th episode strikes are lost at t; pools replace what they lost with them."""
    first = params.episode[e].first_victim
    for number in range(first, first + state.episode[e].n_struck):
        lose_gpu(params, state, state.victim[number].unit, t)
    replace_lost(params, state, t)


@jit
def is_same_node(params, state, victim):
    """Whether the node that a struck GPU was of is still there."""
    node = state.node[node_of_gpu(params, victim.unit)]
    return node.stage >= NODE_READY and node.request == victim.birth


@jit_call
def repair_gpus(params, state, e, t):
    """The GPUs that the e-th episode struck are repaired at t, but those of nodes that are gone."""
    first = params.episode[e].first_victim
    for number in range(first, first + state.episode[e].n_struck):
        victim = state.victim[number]
        if state.gpu[victim.unit].is_lost == 1 and is_same_node(params, state, victim):
            repair_gpu(params, state, victim.unit, t)
