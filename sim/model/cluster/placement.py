"""Placement: which node a replica goes to. All members of a gang find their slices, in one zone, or none takes any."""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.min_tree import tree_set
from sim.model.cluster.preemption import is_being_cleared, preempt_for
from sim.model.cluster.replica_lifecycle import continue_cold_start
from sim.model.cluster.slices import ask_of, bind_member, holds_member, release_member
from sim.model.cluster.workloads import (
    first_member,
    is_promised_to_others,
    nominate,
    wait_no_longer,
)
from sim.model.placement.mig import N_SLICE
from sim.model.tables.node import (
    BEST_FIT,
    EVENT_REPLICA_PLACED,
    FIRST_FIT,
    LEAST_ALLOCATED,
    NODE_READY,
)
from sim.model.telemetry.cluster_log import log_event
from sim.units import NEVER

ANY_ZONE = -1
SCORE_MAX = 100  # as of kube-scheduler's plugins


@jit_call
def score_node(params, state, node_id):
    """How much a node is to be preferred to others that also have room: the highest score wins.

    `best_fit` looks for the fewest free slices. The scores of `least_allocated` and `most_allocated` are those of
    kube-scheduler's NodeResourcesFit, in whole percent, from what is held before the replica comes.
    """
    node = state.node[node_id]
    slices = params.node_group[node.group].gpus * N_SLICE
    policy = params.cluster[0].placement
    if policy == FIRST_FIT:
        return 0
    if policy == BEST_FIT:
        return node.used_slices - slices
    if policy == LEAST_ALLOCATED:
        return (slices - node.used_slices) * SCORE_MAX // slices
    return node.used_slices * SCORE_MAX // slices


@jit_call
def choose_node(params, state, r, zone):
    """The ready node that a member of replica r's gang goes to, the first of equals, or −1; in one zone, or in any."""
    pool_id = state.replica[r].pool
    best = -1
    best_score = 0
    for group_id in range(params.n_node_group):
        group = params.node_group[group_id]
        if ask_of(params, pool_id, group_id).starts == 0 or (zone != ANY_ZONE and group.zone != zone):
            continue
        for node_id in range(group.first_node, group.first_node + group.n_node):
            if state.node[node_id].stage != NODE_READY:
                continue
            score = score_node(params, state, node_id)
            if (
                (best < 0 or score > best_score)
                and holds_member(params, state, pool_id, node_id)
                and not is_promised_to_others(params, state, node_id, r)
            ):
                best = node_id
                best_score = score
                if params.cluster[0].placement == FIRST_FIT:
                    return best
    return best


@jit_call
def release_gang(params, state, pool_id, first, t):
    """The members of a gang give back what they hold."""
    for number in range(first, first + params.pool_place[pool_id].n_member):
        if state.member[number].node >= 0:
            release_member(params, state, number, t)


@jit_call
def place_gang(params, state, r, zone, t):
    """Find slices for all members of replica r's gang, in one zone or in any; whether that was possible."""
    pool_id = state.replica[r].pool
    first = first_member(params, state, r)
    for number in range(first, first + params.pool_place[pool_id].n_member):
        node_id = choose_node(params, state, r, zone)
        if node_id < 0:
            release_gang(params, state, pool_id, first, t)
            return False
        bind_member(params, state, r, number, node_id, t)
    return True


@jit_call
def place_replica(params, state, r, t):
    """Find slices for replica r: a gang of one member anywhere, a larger one in the first zone that has room for it."""
    if params.pool_place[state.replica[r].pool].n_member == 1:
        return place_gang(params, state, r, ANY_ZONE, t)
    zone = 0
    while zone < params.n_node_group and not place_gang(params, state, r, zone, t):
        zone += 1  # zones are numbered from 0: there are no more of them than groups
    return zone < params.n_node_group


@jit
def created_ps(params, state, r):
    """How long it takes to make the MIG instances that replica r has been given."""
    node_id = state.member[first_member(params, state, r)].node
    return params.node_group[state.node[node_id].group].create_ps


@jit_call
def place_waiting(params, state, t):
    """One placement: every replica that waits is looked at, in order, and takes slices if there are any for it, or if some
    can be made free for it by preemption.

    All replicas of a pool ask for the same, and a placement only takes: where one finds nothing, the others of its pool
    are not looked at.
    """
    state.placement_ps = NEVER
    state.n_pass += 1
    r = state.first_waiting
    while r >= 0:
        if state.pool_place[state.replica[r].pool].failed_pass != state.n_pass:
            place_or_preempt(params, state, r, t)
        after = state.workload[r].next
        if state.workload[r].is_waiting == 1:
            state.workload[r].was_tried = 1
        r = after


@jit_call
def place_or_preempt(params, state, r, t):
    """Replica r, which waits, takes slices, or makes some free and waits for them; or nobody of its pool is looked at again
    in this placement.
    """
    if place_replica(params, state, r, t):
        begin_on_slices(params, state, r, t)
    elif is_being_cleared(params, state, r):
        return
    elif not preempt_for(params, state, r, t):
        nominate(state, r, -1)
        state.pool_place[state.replica[r].pool].failed_pass = state.n_pass
    elif place_replica(params, state, r, t):
        begin_on_slices(params, state, r, t)


@jit_call
def begin_on_slices(params, state, r, t):
    """Replica r has its slices: its start goes on as soon as its MIG instances are made."""
    replica = state.replica[r]
    wait_no_longer(state, r, t)
    state.pool_place[replica.pool].placed += 1
    node_id = state.member[first_member(params, state, r)].node
    log_event(params, state, EVENT_REPLICA_PLACED, node_id, r, t - state.workload[r].since_ps, t)
    replica.placed_ps = t + created_ps(params, state, r)
    if replica.placed_ps > t:
        tree_set(state.stage_tree, params.leaves, r, replica.placed_ps)
    else:
        continue_cold_start(params, state, r, t)
