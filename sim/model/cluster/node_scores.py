"""How much a node that has room is to be preferred: scores from 0 to 100 as kube-scheduler's plugins give them, each with
its weight. GPUs are counted in memory slices, with those of the replica that is to be placed.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.capacity.slices import ask_of, bind_member, holds_member, release_member, slices_of
from sim.model.capacity.workloads import first_member
from sim.model.placement.fragmentation import GPU_MILLI, fgd_score
from sim.model.placement.mig import count_slices, useful_slices
from sim.model.placement.scoring import (
    least_allocated,
    most_allocated,
    requested_to_capacity,
    spread_score,
)
from sim.model.tables.codes import STAGE_DRAINING
from sim.model.tables.node import (
    FGD,
    LEAST_ALLOCATED,
    MOST_ALLOCATED,
    REQUESTED_TO_CAPACITY,
    TOPOLOGY_SPREAD,
)


@jit
def capacity_score(params, state, pool_id, node_id):
    """The weighted sum of those scores that a node's slices alone decide."""
    cluster = params.cluster[0]
    weights = cluster.score_weights
    node = state.node[node_id]
    slices = params.node_group[node.group].gpus * params.node_group[node.group].slices
    requested = node.used_slices + slices_of(params, pool_id, node.group)
    score = weights[LEAST_ALLOCATED] * least_allocated(requested, slices)
    score += weights[MOST_ALLOCATED] * most_allocated(requested, slices)
    if weights[REQUESTED_TO_CAPACITY] > 0:
        at = requested_to_capacity(requested, slices, cluster.shape, cluster.n_shape)
        score += weights[REQUESTED_TO_CAPACITY] * at
    return score


# ---- fragmentation ----------------------------------------------------------------------
@jit_call
def useless_slices(params, state, pool_id, node_id):
    """A node's free slices that a pool could not use: all of them where no member of its gangs fits, else those that no
    slice for it could take.
    """
    node = state.node[node_id]
    group = params.node_group[node.group]
    ask = ask_of(params, pool_id, node.group)
    if not holds_member(params, state, pool_id, node_id):
        return group.gpus * group.slices - node.used_slices
    useless = 0
    for u in range(node.first_gpu, node.first_gpu + group.gpus):
        gpu = state.gpu[u]
        useless += group.slices - count_slices(gpu.busy)
        useless -= count_slices(useful_slices(gpu.busy, gpu.compute, gpu.media, ask))
    return useless


@jit_call
def fragmentation_of(params, state, node_id):
    """A node's fragmentation, in thousandths of a GPU: for each pool and job what its workloads could not use, times
    their number at most.
    """
    total = 0
    group_id = state.node[node_id].group
    slice_milli = GPU_MILLI // params.node_group[group_id].slices
    for pool_id in range(params.n_pool_place):
        weight = ask_of(params, pool_id, group_id).weight
        total += weight * useless_slices(params, state, pool_id, node_id) * slice_milli
    return total


@jit_call
def fragmentation_score(params, state, r, number, node_id, t):
    """FGD's score of a node for a member of workload r's gang, by what fragmentation would be with it there."""
    weight_sum = 0
    for pool_id in range(params.n_pool_place):
        weight_sum += ask_of(params, pool_id, state.node[node_id].group).weight
    before = fragmentation_of(params, state, node_id)
    bind_member(params, state, r, number, node_id, t)
    after = fragmentation_of(params, state, node_id)
    release_member(params, state, number, t)
    return fgd_score(before, after, max(weight_sum, 1))


# ---- spreading over zones ----------------------------------------------------------------------
@jit_call
def members_in_zone(params, state, pool_id, zone):
    """How many members of the gangs of a pool, or of a job, hold slices in a zone, without those that drain."""
    n = 0
    begin = params.n_replica
    end = params.n_workload
    if pool_id < params.n_pool:
        begin = params.pool[pool_id].first_replica
        end = begin + params.pool[pool_id].n_replica
    for r in range(begin, end):
        if state.workload[r].place != pool_id:
            continue
        if r < params.n_replica and state.replica[r].stage == STAGE_DRAINING:
            continue
        first = first_member(params, state, r)
        for number in range(first, first + params.pool_place[pool_id].n_member):
            node_id = state.member[number].node
            if node_id >= 0:
                n += int(params.node_group[state.node[node_id].group].zone == zone)
    return n


@jit
def sum_of_scores(params, state, r, number, node_id, in_zone, least, most, t):
    """The weighted sum of all scores of a node for a member of workload r's gang. `in_zone` of its pool's members are in
    the node's zone; the zones with room have from `least` to `most`.
    """
    weights = params.cluster[0].score_weights
    score = capacity_score(params, state, state.workload[r].place, node_id)
    if weights[FGD] > 0:
        score += weights[FGD] * fragmentation_score(params, state, r, number, node_id, t)
    if weights[TOPOLOGY_SPREAD] > 0:
        score += weights[TOPOLOGY_SPREAD] * spread_score(in_zone, least, most)
    return score
