"""Repartition of a GPU by MIG: instances never move, so where a workload would fit if some replicas were elsewhere, these
are evicted, their instances are destroyed, and the workload's is made in their place.

As few replicas as possible go, within their pools' disruption budgets, and only where all of them fit elsewhere once the
workload has its instance; of equals those that matter least, then those of the lowest GPU. Whoever goes matters no more
than the workload. Runs of jobs stay.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.capacity.nodes import node_of_gpu
from sim.model.capacity.queue_quota import may_use_group
from sim.model.capacity.slices import ask_of, start_on_gpu
from sim.model.capacity.workloads import first_member, nominate, place_of
from sim.model.cluster.batch_jobs import is_run
from sim.model.cluster.evictions import evict
from sim.model.cluster.victims import drains, priority_of
from sim.model.placement.mig import N_SLICE
from sim.model.scheduler.moves import (
    ANY_ZONE,
    NO_FRESH,
    ask_leave,
    begin_trials,
    lay,
    lay_gang,
    lift_gang,
    put_back,
    unlay_gang,
)
from sim.model.tables.cause import CAUSE_REPARTITION
from sim.model.tables.node import NODE_READY
from sim.model.telemetry.causes import act_because

NOBODY = -1
NOT_POSSIBLE = -1  # instead of a sum of priorities, which is taken from PRIORITY_MAX
PRIORITY_MAX = 1 << 40


@jit
def is_single(params, state, w):
    """Whether workload w takes slices of one GPU alone."""
    place = place_of(params, state, w)
    return place.n_member == 1 and place.member_gpus == 1


@jit_call
def can_be_moved(params, state, w, other, i):
    """Whether another workload holds a slice of its node's i-th GPU and may go for workload w."""
    if is_run(params, other) or drains(params, state, other) or not is_single(params, state, other):
        return False
    has_it = (state.member[first_member(params, state, other)].gpus >> i) & 1 == 1
    return has_it and priority_of(params, state, other) <= priority_of(params, state, w)


@jit_call
def next_movable(params, state, w, node_id, i, after):
    """The lowest workload above `after` that holds a slice of a node's i-th GPU and may go for workload w, or NOBODY."""
    best = NOBODY
    number = state.node[node_id].first_held
    while number >= 0:
        other = state.member[number].replica
        if other > after and (best < 0 or other < best) and can_be_moved(params, state, w, other, i):
            best = other
        number = state.member[number].next
    return best


@jit_call
def next_chosen(params, state, w, node_id, i, chosen, after):
    """The lowest workload above `after` of those movable ones that `chosen` has, a bit each in their order, or NOBODY."""
    bit = 0
    other = next_movable(params, state, w, node_id, i, -1)
    while other >= 0 and (other <= after or (chosen >> bit) & 1 == 0):
        other = next_movable(params, state, w, node_id, i, other)
        bit += 1
    return other


@jit_call
def count_movable(params, state, w, node_id, i):
    """How many replicas on a node's i-th GPU may go for workload w."""
    n = 0
    other = next_movable(params, state, w, node_id, i, -1)
    while other >= 0:
        n += 1
        other = next_movable(params, state, w, node_id, i, other)
    return n


@jit
def count_bits(chosen):
    """How many bits are set, of N_SLICE."""
    n = 0
    for bit in range(N_SLICE):
        n += (chosen >> bit) & 1
    return n


@jit_call
def would_do(params, state, w, node_id, i, chosen):
    """Whether workload w has room on a node's i-th GPU once the chosen replicas have gone, and these have room elsewhere
    then; NOT_POSSIBLE, or what they matter together.
    """
    node = state.node[node_id]
    pool_id = state.workload[w].place
    matter = PRIORITY_MAX
    is_possible = True
    other = next_chosen(params, state, w, node_id, i, chosen, -1)
    while other >= 0:
        is_possible = ask_leave(params, state, other, 1) and is_possible
        matter += priority_of(params, state, other)
        state.workload[other].moved_for = 1 + node_id
        other = next_chosen(params, state, w, node_id, i, chosen, other)
    if is_possible:
        is_possible = try_chosen(params, state, w, node_id, node.first_gpu + i, pool_id)
    give_leave(params, state, node_id)
    return matter if is_possible else NOT_POSSIBLE


@jit_call
def next_moved(state, node_id, after):
    """The lowest workload above `after` that a trial moves from a node, or NOBODY."""
    best = NOBODY
    number = state.node[node_id].first_held
    while number >= 0:
        other = state.member[number].replica
        if state.workload[other].moved_for == 1 + node_id and other > after and (best < 0 or other < best):
            best = other
        number = state.member[number].next
    return best


@jit_call
def give_leave(params, state, node_id):
    """Those that a trial moved from a node stay after all."""
    other = next_moved(state, node_id, -1)
    while other >= 0:
        ask_leave(params, state, other, -1)
        state.workload[other].moved_for = 0
        other = next_moved(state, node_id, -1)


@jit_call
def try_chosen(params, state, w, node_id, u, pool_id):
    """On trial: those who are to go leave the u-th GPU, workload w takes its slice there, and they look for others."""
    other = next_moved(state, node_id, -1)
    while other >= 0:
        lift_gang(params, state, other)
        other = next_moved(state, node_id, other)
    number = first_member(params, state, w)
    is_possible = start_on_gpu(params, state, pool_id, state.node[node_id].group, u) >= 0
    if is_possible:
        lay(params, state, pool_id, number, node_id)
        other = next_moved(state, node_id, -1)
        while other >= 0:
            is_possible = is_possible and lay_gang(params, state, other, ANY_ZONE, NO_FRESH)
            other = next_moved(state, node_id, other)
    other = next_moved(state, node_id, -1)
    while other >= 0:
        unlay_gang(params, state, other)
        other = next_moved(state, node_id, other)
    unlay_gang(params, state, w)
    other = next_moved(state, node_id, -1)
    while other >= 0:
        put_back(params, state, other)
        other = next_moved(state, node_id, other)
    return is_possible


@jit
def may_repartition(params, state, w, node_id):
    """Whether GPUs of a node may be cut anew for workload w."""
    node = state.node[node_id]
    is_able = params.node_group[node.group].repartitions == 1 and node.stage == NODE_READY
    is_free = node.n_promised == 0 and may_use_group(params, state, w, node.group)
    return is_able and is_free and ask_of(params, state.workload[w].place, node.group).starts != 0


@jit_call
def choose_gpu(params, state, w, n):
    """The GPU on which n replicas go for workload w, and which they are, as one number: the GPU's times 256, plus a bit for
    each; NOBODY where there are none that would do.
    """
    best = NOBODY
    least = 0
    for node_id in range(params.n_node):
        if not may_repartition(params, state, w, node_id):
            continue
        node = state.node[node_id]
        for i in range(params.node_group[node.group].gpus):
            there = count_movable(params, state, w, node_id, i)
            if there < n or state.gpu[node.first_gpu + i].is_lost == 1:
                continue
            for chosen in range(1, 1 << there):
                if count_bits(chosen) != n:
                    continue
                matter = would_do(params, state, w, node_id, i, chosen)
                if matter != NOT_POSSIBLE and (best == NOBODY or matter < least):
                    best = (node.first_gpu + i) * 256 + chosen
                    least = matter
    return best


@jit_call
def repartition_for(params, state, w, t):
    """Make room for workload w, which waits, by evicting replicas that fit elsewhere; whether there was any to be made."""
    if params.cluster[0].repartitions == 0 or not is_single(params, state, w):
        return False
    begin_trials(params, state)
    best = NOBODY
    n = 1
    while best == NOBODY and n < N_SLICE:
        best = choose_gpu(params, state, w, n)
        n += 1
    if best == NOBODY:
        return False
    node_id = node_of_gpu(params, best // 256)
    i = best // 256 - state.node[node_id].first_gpu
    mark_chosen(params, state, w, node_id, i, best % 256)
    other = next_moved(state, node_id, -1)
    while other >= 0:
        state.workload[other].moved_for = 0
        act_because(state, CAUSE_REPARTITION, w, state.workload[w].event)
        evict(params, state, other, node_id, t)
        other = next_moved(state, node_id, other)
    nominate(state, w, node_id)
    state.workload[w].is_repartition = 1
    return True


@jit_call
def mark_chosen(params, state, w, node_id, i, chosen):
    """Mark the chosen replicas on a node's i-th GPU as those that go."""
    other = next_chosen(params, state, w, node_id, i, chosen, -1)
    while other >= 0:
        state.workload[other].moved_for = 1 + node_id
        other = next_chosen(params, state, w, node_id, i, chosen, other)
