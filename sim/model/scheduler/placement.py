"""Placement: which node a workload goes to, a replica or a run of a job. All members of a gang find their slices, in one
zone, or none takes any.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.min_tree import tree_set
from sim.model.capacity.queue_quota import alike_of, may_be_placed, may_use_group
from sim.model.capacity.slices import ask_of, bind_member, holds_member, make_slices, release_member
from sim.model.capacity.workloads import (
    first_member,
    is_promised_to_others,
    nominate,
    place_of,
    wait_no_longer,
)
from sim.model.cluster.admission import admit_waiting
from sim.model.cluster.batch_jobs import begin_run, is_run
from sim.model.cluster.node_scores import members_in_zone, sum_of_scores
from sim.model.cluster.preemption import is_being_cleared, preempt_for
from sim.model.cluster.replica_lifecycle import continue_cold_start, end_start, number_start
from sim.model.cluster.start_steps import keep_what_it_brought
from sim.model.scheduler.repartition import repartition_for
from sim.model.tables.codes import NEED_PLACEMENT
from sim.model.tables.node import (
    BY_SCORES,
    BY_USER,
    EVENT_JOB_PLACED,
    EVENT_MEMBER_PLACED,
    EVENT_REPLICA_PLACED,
    EVENT_UNPLACEABLE,
    FIRST_FIT,
    NODE_READY,
    TOPOLOGY_SPREAD,
)
from sim.model.telemetry.causes import go_on_with_replica
from sim.model.telemetry.cluster_log import log_event, log_member
from sim.units import NEVER

ANY_ZONE = -1


@jit
def has_room(params, state, r, node_id):
    """Whether a node is ready and has slices for a member of workload r's gang that are not promised to others."""
    return (
        state.node[node_id].stage == NODE_READY
        and holds_member(params, state, state.workload[r].place, node_id)
        and not is_promised_to_others(params, state, node_id, r)
    )


@jit
def is_open(params, state, r, group_id, zone):
    """Whether workload r can run in a group, may by its quota, and the group lies in the zone that is asked for."""
    is_there = zone == ANY_ZONE or params.node_group[group_id].zone == zone
    is_able = ask_of(params, state.workload[r].place, group_id).starts != 0
    return is_there and is_able and may_use_group(params, state, r, group_id)


@jit_call
def choose_node(params, state, r, number, zone, t):
    """The ready node that a member of workload r's gang goes to, the first of equals, or −1; in one zone, or in any."""
    if params.cluster[0].placement >= BY_SCORES:
        return choose_by_scores(params, state, r, number, zone, t)
    best = -1
    fewest = NEVER  # free slices: best_fit looks for the fewest
    for group_id in range(params.n_node_group):
        if not is_open(params, state, r, group_id, zone):
            continue
        group = params.node_group[group_id]
        for node_id in range(group.first_node, group.first_node + group.n_node):
            free = group.gpus * group.slices - state.node[node_id].used_slices
            if free < fewest and has_room(params, state, r, node_id):
                if params.cluster[0].placement == FIRST_FIT:
                    return node_id
                best = node_id
                fewest = free
    return best


# ---- by scores ----------------------------------------------------------------------
@jit
def is_group_with_room(params, state, r, group_id):
    """Whether some node of a group has room for a member of workload r's gang."""
    group = params.node_group[group_id]
    node_id = group.first_node
    while node_id < group.first_node + group.n_node and not has_room(params, state, r, node_id):
        node_id += 1
    return node_id < group.first_node + group.n_node


@jit_call
def choose_by_scores(params, state, r, number, zone, t):
    """The node with room and the highest sum of scores, the first of equals, or −1; in one zone, or in any."""
    pool_id = state.workload[r].place
    weights = params.cluster[0].score_weights
    least = NEVER
    most = 0
    if weights[TOPOLOGY_SPREAD] > 0:
        for group_id in range(params.n_node_group):
            if is_open(params, state, r, group_id, zone) and is_group_with_room(params, state, r, group_id):
                n = members_in_zone(params, state, pool_id, params.node_group[group_id].zone)
                least = min(least, n)
                most = max(most, n)
    best = -1
    best_score = -1
    for group_id in range(params.n_node_group):
        if not is_open(params, state, r, group_id, zone):
            continue
        group = params.node_group[group_id]
        in_zone = 0
        if weights[TOPOLOGY_SPREAD] > 0:
            in_zone = members_in_zone(params, state, pool_id, group.zone)
        for node_id in range(group.first_node, group.first_node + group.n_node):
            if not has_room(params, state, r, node_id):
                continue
            if params.cluster[0].placement == BY_USER and not is_run(params, r):
                score = state.node[node_id].rank - 1
            else:
                score = sum_of_scores(params, state, r, number, node_id, in_zone, least, most, t)
            if score > best_score:
                best = node_id
                best_score = score
    return best


@jit_call
def release_gang(params, state, pool_id, first, t):
    """The members of a gang give back what they hold."""
    for number in range(first, first + params.pool_place[pool_id].n_member):
        if state.member[number].node >= 0:
            release_member(params, state, number, t)


@jit_call
def place_gang(params, state, r, zone, t):
    """Find slices for all members of workload r's gang, in one zone or in any; whether that was possible."""
    pool_id = state.workload[r].place
    first = first_member(params, state, r)
    for number in range(first, first + params.pool_place[pool_id].n_member):
        node_id = choose_node(params, state, r, number, zone, t)
        if node_id < 0:
            release_gang(params, state, pool_id, first, t)
            return False
        bind_member(params, state, r, number, node_id, t)
    return True


@jit_call
def place_replica(params, state, r, t):
    """Find slices for workload r: a gang of one member anywhere, a larger one in the first zone that has room for it."""
    if place_of(params, state, r).n_member == 1:
        return place_gang(params, state, r, ANY_ZONE, t)
    zone = 0
    while zone < params.n_node_group and not place_gang(params, state, r, zone, t):
        zone += 1  # zones are numbered from 0: there are no more of them than groups
    return zone < params.n_node_group


@jit_call
def place_waiting(params, state, t):
    """One placement: every workload that waits is looked at, in order, and takes slices if there are any for it, or if some
    can be made free for it by preemption.

    First those that wait for quota are looked at; who does not get any is not placed. All replicas of a pool, and all
    runs of a job, ask for the same, of one flavour where they have quota, and a placement only takes: where one finds
    nothing, the others like it are not looked at. Where a user's function places, the host is asked in the middle, and
    calls this again at t.
    """
    r = state.asked_replica
    if r < 0 or state.workload[r].is_waiting == 0:
        state.n_pass += 1
        state.is_answered = 0
        state.placement_ps = NEVER
        if params.n_quota_queue > 0:
            admit_waiting(params, state, t)
        r = state.first_waiting
    else:
        state.placement_ps = state.again_ps
    state.asked_replica = -1
    while r >= 0:
        if not may_be_placed(params, state, r):
            r = state.workload[r].next
            continue
        if alike_of(params, state, r).failed_pass != state.n_pass:
            if needs_host(params, state, r):
                ask_host(params, state, r, t)
                return
            if state.is_answered == 1:
                place_as_told(params, state, r, t)
            else:
                place_or_preempt(params, state, r, t)
        after = state.workload[r].next
        if state.workload[r].is_waiting == 1:
            if params.n_quota_queue > 0:
                tell_unplaceable(params, state, r, t)
            state.workload[r].was_tried = 1
        r = after


@jit_call
def tell_unplaceable(params, state, r, t):
    """The first time that workload r, which has quota, finds no slices, an event tells it."""
    if place_of(params, state, r).queue > 0 and state.quota_workload[r].is_told == 0:
        state.quota_workload[r].is_told = 1
        state.quota_node[state.quota_workload[r].queue].unplaceable += 1
        go_on_with_replica(params, state, r)
        log_event(params, state, EVENT_UNPLACEABLE, -1, r, t - state.workload[r].since_ps, t)


@jit_call
def needs_host(params, state, r):
    """Whether a user's function is to say where replica r goes: it has not yet, and some node has room. Notes which."""
    if params.cluster[0].placement != BY_USER or state.is_answered == 1 or is_run(params, r):
        return False
    is_some = False
    for node_id in range(params.n_node):
        is_open_there = is_open(params, state, r, state.node[node_id].group, ANY_ZONE)
        is_able = is_open_there and has_room(params, state, r, node_id)
        state.node[node_id].rank = int(is_able)
        is_some = is_some or is_able
    return is_some


@jit
def ask_host(params, state, r, t):
    """The host is asked where replica r is to go, and the placement goes on at t."""
    state.asked_replica = r
    state.again_ps = state.placement_ps if params.n_quota_queue > 0 else NEVER
    state.placement_ps = t
    state.status = NEED_PLACEMENT


@jit_call
def place_as_told(params, state, r, t):
    """Replica r goes to a node that the host has named, or it waits: where there is room nobody has to give way."""
    state.is_answered = 0
    if place_replica(params, state, r, t):
        begin_on_slices(params, state, r, t)


@jit_call
def place_or_preempt(params, state, r, t):
    """Workload r, which waits, takes slices, or makes some free and waits for them; or nobody of its pool or job is looked
    at again in this placement.
    """
    if place_replica(params, state, r, t):
        begin_on_slices(params, state, r, t)
    elif is_being_cleared(params, state, r):
        return
    elif not repartition_for(params, state, r, t) and not preempt_for(params, state, r, t):
        nominate(state, r, -1)
        alike_of(params, state, r).failed_pass = state.n_pass
    elif place_replica(params, state, r, t):
        begin_on_slices(params, state, r, t)


@jit_call
def begin_at_once(params, state, r, t):
    """One of the initial replicas has slices: at time 0 it is ready and this says so, later on its start is cold."""
    if t == 0:
        keep_what_it_brought(params, state, r)
        end_start(params, state, r, t)
        return True
    number_start(params, state, r, t)
    return False


@jit_call
def log_gang(params, state, event, r, waited_ps, t):
    """Write down that workload r has its slices: because of the last event that made room on one of its nodes, if that came
    after it was wanted. Further members of a gang are events of their own.
    """
    first = first_member(params, state, r)
    n_member = place_of(params, state, r).n_member
    for number in range(first, first + n_member):
        node = state.node[state.member[number].node]
        node.changed_ps = t
        state.because = max(state.because, node.freed_event)
    log_member(params, state, event, first, r, waited_ps, t)
    state.because = state.n_event - 1
    for number in range(first + 1, first + n_member):
        log_member(params, state, EVENT_MEMBER_PLACED, number, r, number - first, t)


@jit_call
def begin_on_slices(params, state, r, t):
    """Workload r has its slices: a replica's start, or a run's work, goes on as soon as its MIG instances are made."""
    wait_no_longer(state, r, t)
    state.pool_place[state.workload[r].place].placed += 1
    go_on_with_replica(params, state, r)
    waited_ps = t - state.workload[r].since_ps
    if is_run(params, r):
        log_gang(params, state, EVENT_JOB_PLACED, r, waited_ps, t)
        make_slices(params, state, r, t)
        begin_run(params, state, r, state.workload[r].created_ps, t)
        return
    replica = state.replica[r]
    log_gang(params, state, EVENT_REPLICA_PLACED, r, waited_ps, t)
    make_slices(params, state, r, t)
    if replica.start < 0 and begin_at_once(params, state, r, t):
        return
    replica.placed_ps = t + state.workload[r].created_ps
    if replica.placed_ps > t:
        tree_set(state.stage_tree, params.leaves, r, replica.placed_ps)
    else:
        continue_cold_start(params, state, r, t)
