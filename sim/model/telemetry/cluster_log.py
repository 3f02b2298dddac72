"""What a run writes down of its cluster: every event, and the groups of nodes at each sample and mark."""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.histogram import add_wide, finished
from sim.model.base.words import clear_row
from sim.model.placement.mig import count_slices, useful_slices
from sim.model.record.request_record import hash_of
from sim.model.tables.cluster_record import CLUSTER_EVENT_SIZE, JOB_SAMPLE_SIZE, NODE_GROUP_SAMPLE_SIZE
from sim.model.tables.node import (
    EVENT_ADMITTED,
    EVENT_JOB_FAILED,
    EVENT_JOB_SUBMITTED,
    EVENT_NODE_NOTICE,
    EVENT_NODE_READY,
    EVENT_NODE_UNCORDONED,
    EVENT_QUOTA_TAKEN,
    EVENT_REPLICA_CRASHED,
    EVENT_REPLICA_DRAINS,
    EVENT_REPLICA_EVICTED,
    EVENT_REPLICA_GONE,
    EVENT_REPLICA_HANGS,
    EVENT_REPLICA_LOST,
    EVENT_REPLICA_PREEMPTED,
    EVENT_REPLICA_STAGE,
    EVENT_REPLICA_WAITS,
    NODE_ABSENT,
    NODE_READY,
)


@jit_call
def log_event(params, state, event, node_id, r, value, t):
    """Write down what happened to a node, to workload r or to both at t; in a run without a cluster, nothing.

    The first events are kept, as many as there are rows but one; those behind them share the last row, and only their
    number and the digest tell of them.
    """
    if params.n_cluster == 1:
        write_event(params, state, event, node_id, r, value, 0, 0, t)


@jit_call
def log_member(params, state, event, number, r, value, t):
    """Write down that a member of replica r's gang has its slices."""
    member = state.member[number]
    write_event(params, state, event, member.node, r, value, member.gpus, member.starts, t)


@jit_call
def write_event(params, state, event, node_id, r, value, gpus, starts, t):
    """Write down an event with its cause, which its node or replica keeps for what follows from it."""
    row = state.event[min(state.n_event, params.n_event - 1)]
    row.time_ps = t
    row.event = event
    row.node = node_id
    row.replica = r
    row.value = value
    row.gpus = gpus
    row.starts = starts
    row.cause = state.cause
    row.cause_id = state.cause_id
    row.because = state.because
    if event <= EVENT_NODE_UNCORDONED or event == EVENT_NODE_NOTICE:
        keep_cause_of_node(state, event, node_id)
    elif is_of_replica(event):
        workload = state.workload[r]
        goes = event == EVENT_REPLICA_DRAINS or event == EVENT_REPLICA_GONE
        if event == EVENT_JOB_FAILED or (goes and workload.is_leaving == 1):
            row.because = workload.event
        workload.is_leaving = int(event == EVENT_REPLICA_DRAINS or has_to_go(event))
        workload.cause = state.cause
        workload.cause_id = state.cause_id
        workload.event = state.n_event
    state.digest += finished(hash_of(row.words, CLUSTER_EVENT_SIZE))
    state.n_event += 1


@jit
def is_of_replica(event):
    """Whether an event is one of the life of a replica, or of a run of a job."""
    is_early = EVENT_REPLICA_WAITS <= event <= EVENT_REPLICA_LOST
    is_stopped = event == EVENT_REPLICA_CRASHED or event == EVENT_REPLICA_HANGS
    is_of_run = EVENT_JOB_SUBMITTED <= event <= EVENT_JOB_FAILED
    is_of_quota = event == EVENT_ADMITTED or event == EVENT_QUOTA_TAKEN
    is_other = is_stopped or is_of_quota or event == EVENT_REPLICA_STAGE
    return is_early or is_of_run or is_other or has_to_go(event)


@jit
def has_to_go(event):
    """Whether a replica has to go after an event."""
    return event == EVENT_REPLICA_LOST or event == EVENT_REPLICA_PREEMPTED or event == EVENT_REPLICA_EVICTED


@jit_call
def keep_cause_of_node(state, event, node_id):
    """A node keeps the cause of its last event, and which was the last that made room on it."""
    node = state.node[node_id]
    node.cause = state.cause
    node.cause_id = state.cause_id
    node.event = state.n_event
    if event == EVENT_NODE_READY or event == EVENT_NODE_UNCORDONED:
        node.freed_event = state.n_event


# ---- sums ----------------------------------------------------------------------
@jit_call
def settle_nodes(state, group_id, t):
    """Bring the sums over a group's nodes up to t; before every change of their counts."""
    group = state.node_group[group_id]
    dt = t - group.area_ps
    add_wide(group.billed_ps, group.n_billed * dt)
    add_wide(group.paid_ps, group.n_paid * dt)
    add_wide(group.ready_ps, group.n_ready * dt)
    add_wide(group.used_ps, group.used_slices * dt)
    add_wide(group.job_ps, group.job_slices * dt)
    group.area_ps = t


@jit_call
def mark_groups(params, state, number, t):
    """Keep what the nodes of every group have been by t."""
    for group_id in range(params.n_node_group):
        settle_nodes(state, group_id, t)
        mark = state.group_mark[number * params.n_node_group + group_id]
        group = state.node_group[group_id]
        for j in range(2):
            mark.billed_ps[j] = group.billed_ps[j]
            mark.paid_ps[j] = group.paid_ps[j]
            mark.rounded_ps[j] = group.rounded_ps[j]
            mark.ready_ps[j] = group.ready_ps[j]
            mark.used_ps[j] = group.used_ps[j]
            mark.job_ps[j] = group.job_ps[j]


# ---- samples ----------------------------------------------------------------------
@jit_call
def sample_groups(params, state, number, t):
    """Write a row of the time series per group and fold it into the digest."""
    for group_id in range(params.n_node_group):
        row = state.group_sample[number * params.n_node_group + group_id]
        sample_group(params, state, group_id, row, t)
        state.digest += finished(hash_of(row.words, NODE_GROUP_SAMPLE_SIZE))
        if params.n_job_run > 0:
            sample_jobs(params, state, group_id, state.job_sample[number * params.n_node_group + group_id], t)


@jit_call
def sample_jobs(params, state, group_id, row, t):
    """Write what jobs hold of a group, and how many of their runs wait, and fold it into the digest."""
    row.time_ps = t
    row.group = group_id
    row.job_slices = state.node_group[group_id].job_slices
    row.waiting = 0
    w = state.first_waiting
    while w >= 0:
        place = state.workload[w].place
        if w >= params.n_replica and params.slice_ask[group_id * params.n_pool_place + place].starts != 0:
            row.waiting += 1
        w = state.workload[w].next
    state.digest += finished(hash_of(row.words, JOB_SAMPLE_SIZE))


@jit_call
def sample_group(params, state, group_id, row, t):
    """Fill one row of a group."""
    settle_nodes(state, group_id, t)
    clear_row(row.words, NODE_GROUP_SAMPLE_SIZE)
    group = params.node_group[group_id]
    group_state = state.node_group[group_id]
    row.time_ps = t
    row.group = group_id
    row.used_slices = group_state.used_slices
    row.requested = group_state.requested
    row.refused = group_state.refused
    row.lost = group_state.lost
    row.removed = group_state.removed
    for j in range(2):
        row.billed_ps[j] = group_state.billed_ps[j]
        row.used_ps[j] = group_state.used_ps[j]
    for node_id in range(group.first_node, group.first_node + group.n_node):
        stage = state.node[node_id].stage
        if stage != NODE_ABSENT:
            row.by_stage[stage - 1] += 1
        if stage == NODE_READY:
            sample_gpus(params, state, node_id, row)
    r = state.first_waiting
    while r >= 0:
        if params.slice_ask[group_id * params.n_pool_place + state.workload[r].place].starts != 0:
            row.waiting += 1
        r = state.workload[r].next


@jit_call
def sample_gpus(params, state, node_id, row):
    """Add the free memory slices of a ready node's GPUs, those of them that no replica of any pool could take, and the GPUs
    that are free as a whole or in part.
    """
    node = state.node[node_id]
    for u in range(node.first_gpu, node.first_gpu + params.node_group[node.group].gpus):
        gpu = state.gpu[u]
        useful = 0
        for pool_id in range(params.n_pool_place):
            ask = params.slice_ask[node.group * params.n_pool_place + pool_id]
            useful |= useful_slices(gpu.busy, gpu.compute, gpu.media, ask)
        free = params.node_group[node.group].slices - count_slices(gpu.busy)
        row.free_slices += free
        row.useless_slices += free - count_slices(useful)
        row.empty_gpus += free == params.node_group[node.group].slices
        row.part_gpus += 0 < free < params.node_group[node.group].slices
