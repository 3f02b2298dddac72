"""Preemption: a workload that finds no slices takes them from those of lower priority, as kube-scheduler does.

On each node those of lower priority give way, then as many as possible are spared, first those whose disruption budget
forbids it, each time the most important first. The node is chosen on which the fewest budgets are broken, then the one
whose most important victim matters least, then the one with the fewest victims, then the one whose victim began last.
Replicas drain; after a time of grace they are lost with what they still hold. Runs of jobs give way at once. Gangs that
spread over several nodes preempt nobody.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.min_tree import tree_set
from sim.model.capacity.queue_quota import may_use_group
from sim.model.capacity.slices import (
    ask_of,
    bind_member,
    free_slices,
    hold_slices,
    holds_member,
    release_member,
    slices_of,
)
from sim.model.capacity.workloads import first_member, nominate
from sim.model.cluster.batch_jobs import interrupt_run, is_run
from sim.model.cluster.replica_lifecycle import begin_drain, remove_replica, scale_to
from sim.model.cluster.victims import (
    ANY,
    BREAKS,
    VICTIM,
    count_broken,
    drains,
    held_since_ps,
    mark_broken,
    most_important_victim,
    priority_of,
)
from sim.model.placement.mig import mig_fits
from sim.model.tables.cause import CAUSE_PREEMPTION
from sim.model.tables.codes import STAGE_DRAINING, STAGE_READY
from sim.model.tables.job import RUN_RUNNING
from sim.model.tables.node import EVENT_JOB_PREEMPTED, EVENT_REPLICA_PREEMPTED, NODE_READY
from sim.model.telemetry.causes import act_because
from sim.model.telemetry.cluster_log import log_event
from sim.units import NEVER

NO_NODE = -1


# ---- one node ----------------------------------------------------------------------
@jit_call
def keep_gpus(params, state, node_id, is_back):
    """Keep what a node's GPUs hold while a preemption is tried, or bring it back."""
    node = state.node[node_id]
    for u in range(node.first_gpu, node.first_gpu + params.node_group[node.group].gpus):
        gpu = state.gpu[u]
        if is_back:
            gpu.busy = gpu.kept_busy
            gpu.compute = gpu.kept_compute
            gpu.media = gpu.kept_media
        else:
            gpu.kept_busy = gpu.busy
            gpu.kept_compute = gpu.compute
            gpu.kept_media = gpu.media


@jit_call
def change_member(params, state, number, is_freed):
    """A member's slices are free, or held again, while a preemption is tried."""
    member = state.member[number]
    node = state.node[member.node]
    pool_id = state.workload[member.replica].place
    if is_freed:
        free_slices(params, state, pool_id, member)
        node.used_slices -= slices_of(params, pool_id, node.group)
    else:
        hold_slices(params, state, pool_id, member)
        node.used_slices += slices_of(params, pool_id, node.group)


@jit_call
def clear_node(params, state, r, node_id):
    """Free what those hold that drain or matter less than workload r; how many of the latter there are, the victims."""
    n = 0
    number = state.node[node_id].first_held
    while number >= 0:
        member = state.member[number]
        is_leaving = drains(params, state, member.replica)
        matters_less = priority_of(params, state, member.replica) < priority_of(params, state, r)
        member.is_victim = int(matters_less and not is_leaving)
        if is_leaving or matters_less:
            change_member(params, state, number, True)
        n += member.is_victim
        number = member.next
    return n


@jit_call
def promise_slices(params, state, r, node_id, is_bound, t):
    """Let the others for whom room is made on a node, and that matter no less than workload r, take it, or give it back,
    while a preemption is tried.
    """
    other = state.first_waiting
    while other >= 0:
        if (
            other != r
            and state.workload[other].nominated == 1 + node_id
            and priority_of(params, state, other) >= priority_of(params, state, r)
        ):
            number = first_member(params, state, other)
            if is_bound and holds_member(params, state, state.workload[other].place, node_id):
                bind_member(params, state, other, number, node_id, t)
            elif not is_bound and state.member[number].node >= 0:
                release_member(params, state, number, t)
        other = state.workload[other].next


@jit_call
def can_return(params, state, number):
    """Whether the slices of a member that were freed while a preemption is tried are still free."""
    member = state.member[number]
    node = state.node[member.node]
    ask = ask_of(params, state.workload[member.replica].place, node.group)
    for i in range(params.node_group[node.group].gpus):
        if (member.gpus >> i) & 1 == 1:
            gpu = state.gpu[node.first_gpu + i]
            if not mig_fits(gpu.busy, gpu.compute, gpu.media, ask, (member.starts >> (3 * i)) & 7):
                return False
    return True


@jit_call
def spare_members(params, state, pool_id, node_id, kind):
    """Let as many victims of a kind on a node stay as leave room for a replica of a pool; how many those are."""
    n = 0
    number = most_important_victim(params, state, node_id, kind, -1)
    while number >= 0:
        if can_return(params, state, number):
            change_member(params, state, number, False)
            if holds_member(params, state, pool_id, node_id):
                state.member[number].is_victim = 0
                n += 1
            else:
                change_member(params, state, number, True)
        number = most_important_victim(params, state, node_id, kind, number)
    return n


@jit_call
def find_victims(params, state, r, node_id, t):
    """Mark the members on a node that workload r would have to preempt; how many, −1 where even that would not do."""
    pool_id = state.workload[r].place
    node = state.node[node_id]
    used_slices = node.used_slices
    keep_gpus(params, state, node_id, False)
    n = clear_node(params, state, r, node_id)
    promise_slices(params, state, r, node_id, True, t)
    if holds_member(params, state, pool_id, node_id):
        if params.n_budget > 0:
            mark_broken(params, state, node_id)
            n -= spare_members(params, state, pool_id, node_id, BREAKS)
        n -= spare_members(params, state, pool_id, node_id, VICTIM)
    else:
        n = -1
    promise_slices(params, state, r, node_id, False, t)
    keep_gpus(params, state, node_id, True)
    node.used_slices = used_slices
    return n


@jit_call
def is_being_cleared(params, state, r):
    """Whether those still drain that make room for workload r on its node."""
    node_id = state.workload[r].nominated - 1
    if node_id < 0 or state.node[node_id].stage != NODE_READY:
        return False
    number = state.node[node_id].first_held
    while number >= 0:
        other = state.member[number].replica
        matters_less = priority_of(params, state, other) < priority_of(params, state, r)
        if (matters_less or state.workload[r].is_repartition == 1) and drains(params, state, other):
            return True
        number = state.member[number].next
    return False


# ---- the nodes ----------------------------------------------------------------------
@jit_call
def choose_victim_node(params, state, r, t):
    """The node on which workload r preempts, or NO_NODE."""
    best = NO_NODE
    best_n = 0
    best_broken = 0
    best_priority = 0
    best_ps = 0
    for node_id in range(params.n_node):
        node = state.node[node_id]
        if node.stage != NODE_READY or ask_of(params, state.workload[r].place, node.group).starts == 0:
            continue
        if not may_use_group(params, state, r, node.group):
            continue
        n = find_victims(params, state, r, node_id, t)
        if n < 0:
            continue
        if n == 0:
            return node_id  # those that drain there make room enough
        broken = count_broken(state, node_id)
        first = most_important_victim(params, state, node_id, ANY, -1)
        priority = priority_of(params, state, state.member[first].replica)
        placed_ps = held_since_ps(params, state, state.member[first].replica)
        is_better = priority < best_priority
        if priority == best_priority:
            is_better = n < best_n or (n == best_n and placed_ps > best_ps)
        if broken != best_broken:
            is_better = broken < best_broken
        if best == NO_NODE or is_better:
            best = node_id
            best_n = n
            best_broken = broken
            best_priority = priority
            best_ps = placed_ps
    return best


@jit
def has_lower_priority(params, pool_id):
    """Whether any pool or job is of lower priority than one."""
    is_lower = False
    for other in range(params.n_pool_place):
        if params.pool_place[other].priority < params.pool_place[pool_id].priority:
            is_lower = True
    return is_lower


@jit_call
def preempt_for(params, state, r, t):
    """Make room for workload r, which waits: its victims are removed, or drain; whether there was any to be made."""
    pool_id = state.workload[r].place
    if params.cluster[0].preempts == 0 or params.pool_place[pool_id].n_member > 1:
        return False
    if not has_lower_priority(params, pool_id):
        return False
    node_id = choose_victim_node(params, state, r, t)
    if node_id == NO_NODE:
        return False
    find_victims(params, state, r, node_id, t)
    number = most_important_victim(params, state, node_id, ANY, -1)
    while number >= 0:
        breaks = state.member[number].is_victim == BREAKS
        state.member[number].is_victim = 0
        victim = state.member[number].replica
        act_because(state, CAUSE_PREEMPTION, r, state.workload[r].event)
        if is_run(params, victim):
            if state.job_run[victim - params.n_replica].stage == RUN_RUNNING:
                interrupt_run(params, state, victim, EVENT_JOB_PREEMPTED, node_id, t)
        elif (
            state.replica[victim].stage != STAGE_DRAINING
        ):  # else another member of its gang is on this node too
            if breaks:
                state.budget[state.replica[victim].pool].broken += 1
            preempt(params, state, victim, node_id, t)
        number = most_important_victim(params, state, node_id, ANY, -1)
    nominate(state, r, node_id)
    return True


@jit_call
def preempt(params, state, r, node_id, t):
    """Replica r has to go, for one that matters more."""
    state.pool_place[state.replica[r].pool].preempted += 1
    log_event(params, state, EVENT_REPLICA_PREEMPTED, node_id, r, 0, t)
    state.because = state.n_event - 1
    send_away(params, state, r, params.cluster[0].grace_ps, t)


@jit_call
def send_away(params, state, r, grace_ps, t):
    """Replica r has to go: it drains for as long as it is given grace, or is removed if it was not ready yet. Its pool asks
    for another one.
    """
    pool_id = state.replica[r].pool
    if state.replica[r].stage == STAGE_READY:
        begin_drain(params, state, r, t)
        if state.replica[r].n_wait + state.replica[r].n_run > 0 and grace_ps < NEVER:
            tree_set(state.stage_tree, params.leaves, r, t + max(1, grace_ps))
    else:
        remove_replica(params, state, r, t)
    replace_replicas(params, state, pool_id, t)


@jit_call
def replace_replicas(params, state, pool_id, t):
    """A pool starts as many replicas as it has lost, or will have when they have drained; those for which it has no place
    as soon as one is free.
    """
    pool_state = state.pool[pool_id]
    place = state.pool_place[pool_id]
    scale_to(params, state, pool_id, pool_state.wanted, t)
    is_short = pool_state.n_ready + pool_state.n_starting < pool_state.wanted
    if is_short and place.is_owed == 0:
        place.owed_cause = state.cause
        place.owed_id = state.cause_id
    place.is_owed = is_short * 1
