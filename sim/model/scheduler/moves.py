"""Moves on trial: whether all that a node holds finds room elsewhere when the node goes.

A trial takes slices of GPUs and gives some back, and changes nothing else: members stay in the lists of the nodes that
really hold them. What one trial moves stays moved for those that follow, until `end_trials` moves everything back.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.capacity.queue_quota import may_use_group
from sim.model.capacity.slices import (
    free_slices,
    hold_slices,
    holds_member,
    next_on_node,
    slices_of,
    take_slices,
)
from sim.model.capacity.workloads import first_member, place_of
from sim.model.cluster.batch_jobs import is_run
from sim.model.cluster.evictions import phase_of
from sim.model.cluster.victims import drains, refresh_budget
from sim.model.rollout.disruption_budget import is_past_budgets
from sim.model.tables.codes import STAGE_READY
from sim.model.tables.node import NODE_READY

ANY_ZONE = -1
NO_FRESH = -1  # instead of a node that is not there yet


@jit_call
def begin_trials(params, state):
    """No node goes yet, and budgets allow what they allow."""
    for node_id in range(params.n_node):
        state.node[node_id].goes = 0
    for pool_id in range(params.n_budget):
        refresh_budget(params, state, pool_id)


# ---- one member ----------------------------------------------------------------------
@jit_call
def lift(params, state, pool_id, number):
    """A member's slices are free on its node."""
    member = state.member[number]
    node = state.node[member.node]
    free_slices(params, state, pool_id, member)
    node.used_slices -= slices_of(params, pool_id, node.group)


@jit_call
def lay(params, state, pool_id, number, node_id):
    """A member takes slices of a node that has them."""
    node = state.node[node_id]
    state.member[number].node = node_id
    take_slices(params, state, pool_id, number)
    node.used_slices += slices_of(params, pool_id, node.group)
    node.n_laid += 1


@jit
def takes_others(params, state, node_id):
    """Whether what goes elsewhere may go to a node: one that is ready, stays, and is promised to nobody."""
    node = state.node[node_id]
    return node.stage == NODE_READY and node.goes == 0 and node.n_promised == 0


@jit
def is_for(params, state, w, node_id, zone):
    """Whether workload w may have slices of a node: of the zone that is asked for, and of its quota's flavour."""
    group_id = state.node[node_id].group
    is_in_zone = zone == ANY_ZONE or params.node_group[group_id].zone == zone
    return is_in_zone and may_use_group(params, state, w, group_id)


@jit_call
def lay_somewhere(params, state, w, number, zone, fresh):
    """Let a member of workload w take slices of the first node that has them, in one zone or in any, or else of a fresh
    node, which is not there yet; whether one has.
    """
    pool_id = state.workload[w].place
    for node_id in range(params.n_node):
        is_one = takes_others(params, state, node_id) and is_for(params, state, w, node_id, zone)
        if is_one and holds_member(params, state, pool_id, node_id):
            lay(params, state, pool_id, number, node_id)
            return True
    if fresh == NO_FRESH:
        return False
    if is_for(params, state, w, fresh, zone) and holds_member(params, state, pool_id, fresh):
        lay(params, state, pool_id, number, fresh)
        return True
    return False


# ---- one workload ----------------------------------------------------------------------
@jit_call
def unlay_gang(params, state, w):
    """Those members of workload w that a trial has moved give back what they took."""
    first = first_member(params, state, w)
    for number in range(first, first + place_of(params, state, w).n_member):
        node_id = state.member[number].node
        if node_id >= 0:
            lift(params, state, state.workload[w].place, number)
            state.node[node_id].n_laid -= 1
            state.member[number].node = -1


@jit_call
def lay_gang(params, state, w, zone, fresh):
    """Let all members of workload w take slices elsewhere, or none of them; whether they all have some."""
    first = first_member(params, state, w)
    for number in range(first, first + place_of(params, state, w).n_member):
        if not lay_somewhere(params, state, w, number, zone, fresh):
            unlay_gang(params, state, w)
            return False
    return True


@jit_call
def lift_gang(params, state, w):
    """What workload w holds is free, and kept in mind."""
    first = first_member(params, state, w)
    for number in range(first, first + place_of(params, state, w).n_member):
        member = state.member[number]
        lift(params, state, state.workload[w].place, number)
        member.kept_node = member.node
        member.kept_gpus = member.gpus
        member.kept_starts = member.starts
        member.node = -1


@jit_call
def put_back(params, state, w):
    """Workload w, which is nowhere, holds again what it really holds."""
    pool_id = state.workload[w].place
    first = first_member(params, state, w)
    for number in range(first, first + place_of(params, state, w).n_member):
        member = state.member[number]
        member.node = member.kept_node
        member.gpus = member.kept_gpus
        member.starts = member.kept_starts
        node = state.node[member.node]
        hold_slices(params, state, pool_id, member)
        node.used_slices += slices_of(params, pool_id, node.group)


@jit_call
def move_workload(params, state, w, fresh):
    """Move workload w elsewhere: alone to any node, a gang into the first zone that has room for all of it. Whether that
    was possible.
    """
    lift_gang(params, state, w)
    if place_of(params, state, w).n_member == 1:
        if lay_gang(params, state, w, ANY_ZONE, fresh):
            return True
    else:
        for zone in range(params.n_node_group):
            if lay_gang(params, state, w, zone, fresh):
                return True
    put_back(params, state, w)
    return False


# ---- budgets ----------------------------------------------------------------------
@jit_call
def needs_leave(params, state, w):
    """Whether a budget has to allow that workload w is evicted. As for an eviction, one that is not ready needs no leave
    while enough others are.
    """
    if is_run(params, w) or params.n_budget == 0 or params.budget[state.replica[w].pool].is_set == 0:
        return False
    stage = state.replica[w].stage
    if is_past_budgets(phase_of(stage), 0):
        return False
    budget = state.budget[state.replica[w].pool]
    return stage == STAGE_READY or budget.desired == 0 or budget.healthy < budget.desired


@jit_call
def ask_leave(params, state, w, n):
    """Take n of what the budget of workload w's pool still allows; whether it allows that."""
    if not needs_leave(params, state, w):
        return True
    budget = state.budget[state.replica[w].pool]
    budget.left -= n
    return budget.left >= 0


# ---- one node ----------------------------------------------------------------------
@jit_call
def go(params, state, node_id, fresh):
    """Let a node go on trial: all that it holds and that does not drain anyway moves elsewhere, or nothing does; whether it
    can, and budgets allow it.
    """
    state.node[node_id].goes = 1
    w = next_on_node(state, node_id, -1)
    while w >= 0:
        if state.workload[w].moved_for == 0 and not drains(params, state, w):
            is_allowed = ask_leave(params, state, w, 1)
            if not is_allowed or not move_workload(params, state, w, fresh):
                ask_leave(params, state, w, -1)
                stay(params, state, node_id)
                return False
            state.workload[w].moved_for = 1 + node_id
        w = next_on_node(state, node_id, w)
    return True


@jit_call
def unlay_all(params, state, node_id):
    """All that was moved away from a node gives back what it took elsewhere."""
    w = next_on_node(state, node_id, -1)
    while w >= 0:
        if state.workload[w].moved_for == 1 + node_id:
            unlay_gang(params, state, w)
        w = next_on_node(state, node_id, w)


@jit_call
def put_all_back(params, state, node_id):
    """All that was moved away from a node, and is nowhere now, holds again what it really holds."""
    w = next_on_node(state, node_id, -1)
    while w >= 0:
        if state.workload[w].moved_for == 1 + node_id:
            state.workload[w].moved_for = 0
            put_back(params, state, w)
            ask_leave(params, state, w, -1)
        w = next_on_node(state, node_id, w)


@jit_call
def stay(params, state, node_id):
    """The node that went last stays after all."""
    state.node[node_id].goes = 0
    unlay_all(params, state, node_id)
    put_all_back(params, state, node_id)


@jit_call
def end_trials(params, state):
    """Everything is moved back, after all of it has given back what it took: one may have taken what another one left."""
    for node_id in range(params.n_node):
        if state.node[node_id].goes == 1:
            unlay_all(params, state, node_id)
    for node_id in range(params.n_node):
        if state.node[node_id].goes == 1:
            state.node[node_id].goes = 0
            put_all_back(params, state, node_id)
