"""Workloads, which are replicas and runs of jobs, that wait for slices, in the order in which they are looked at: by
priority, then by age, then by number.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.histogram import add_wide
from sim.model.base.linked_list import link, unlink
from sim.model.capacity.queue_quota import give_quota_back, place_of
from sim.model.capacity.slices import release_member
from sim.model.tables.node import EVENT_REPLICA_WAITS
from sim.model.telemetry.cluster_log import log_event


@jit_call
def begin_workloads(params, state):
    """Number the places and the members of all replicas' gangs, then of all runs' gangs, at time 0."""
    for pool_id in range(params.n_pool):
        place = params.pool_place[pool_id]
        pool = params.pool[pool_id]
        for i in range(pool.n_replica):
            workload = state.workload[pool.first_replica + i]
            workload.place = pool_id
            workload.first_member = place.first_member + i * place.n_member
    for i in range(params.n_job_run):
        run = params.job_run[i]
        workload = state.workload[params.n_replica + i]
        workload.place = params.n_pool + run.job
        place = params.pool_place[workload.place]
        workload.first_member = place.first_member + run.number * place.n_member


@jit
def first_member(params, state, r):
    """The number of the first member of workload r's gang."""
    return state.workload[r].first_member


@jit
def goes_before(params, state, r, other):
    """Whether workload r, which has waited no longer than the other, is looked at before it."""
    own = place_of(params, state, r).priority
    others = place_of(params, state, other).priority
    if own != others:
        return own > others
    return state.workload[other].since_ps == state.workload[r].since_ps and r < other


@jit_call
def wait_for_slices(params, state, r, t):
    """Workload r waits for slices from t on."""
    workload = state.workload[r]
    workload.is_waiting = 1
    workload.was_tried = 0
    workload.since_ps = t
    before = state.last_waiting
    after = -1
    while before >= 0 and goes_before(params, state, r, before):
        after = before
        before = state.workload[before].prev
    link(state.workload, before, r, after)
    if before < 0:
        state.first_waiting = r
    if after < 0:
        state.last_waiting = r
    state.n_waiting += 1
    if r < params.n_replica:
        log_event(params, state, EVENT_REPLICA_WAITS, -1, r, 0, t)
    place_soon(state, t)


@jit_call
def nominate(state, r, node_id):
    """Room is made for workload r, which waits, on a node; on none any longer where that is −1."""
    workload = state.workload[r]
    if workload.nominated > 0:
        state.node[workload.nominated - 1].n_promised -= 1
    workload.nominated = 1 + node_id
    workload.is_repartition = 0
    if node_id >= 0:
        state.node[node_id].n_promised += 1


@jit_call
def is_promised_to_others(params, state, node_id, r):
    """Whether room on a node is made for others, none of which matters less than workload r, and not for r."""
    if state.node[node_id].n_promised == 0 or state.workload[r].nominated == 1 + node_id:
        return False
    own = place_of(params, state, r).priority
    other = state.first_waiting
    while other >= 0:
        if state.workload[other].nominated == 1 + node_id and place_of(params, state, other).priority >= own:
            return True
        other = state.workload[other].next
    return False


@jit_call
def wait_no_longer(state, r, t):
    """Workload r has slices, or is not wanted any longer."""
    workload = state.workload[r]
    nominate(state, r, -1)
    workload.is_waiting = 0
    unlink(state.workload, r)
    if workload.prev < 0:
        state.first_waiting = workload.next
    if workload.next < 0:
        state.last_waiting = workload.prev
    state.n_waiting -= 1
    waits = state.pool_place[state.workload[r].place]
    waited_ps = t - workload.since_ps
    add_wide(waits.waited_ps, waited_ps)
    waits.waited_max_ps = max(waits.waited_max_ps, waited_ps)


@jit
def place_soon(state, t):
    """Those that wait are placed at t, when all else of the cluster that happens at t has happened."""
    if state.first_waiting >= 0:
        state.placement_ps = min(state.placement_ps, t)
        state.next_cluster_ps = min(state.next_cluster_ps, t)


@jit_call
def leave_cluster(params, state, r, t):
    """Workload r is gone: it waits no longer, or what it held is free."""
    give_quota_back(params, state, r, t)
    if state.workload[r].is_waiting == 1:
        wait_no_longer(state, r, t)
        if params.n_quota_queue > 0:
            place_soon(state, t)  # others may wait for its quota
        return
    first = first_member(params, state, r)
    for number in range(first, first + place_of(params, state, r).n_member):
        node_id = state.member[number].node
        if node_id >= 0:
            release_member(params, state, number, t)
            state.node[node_id].freed_event = state.workload[r].event
            state.node[node_id].changed_ps = t
            if state.node[node_id].n_member == 0:
                state.node[node_id].idle_ps = t
    place_soon(state, t)
