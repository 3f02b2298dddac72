"""The one switch: which event happens next, and which rule handles it.

Events are totally ordered by (time, phase, entity): faults and transfers, stage changes, control instants (scrapes,
samples, ticks), gateway releases and arrivals, replica boundaries; replicas in index order.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.admission.rate_limits import fill_limits
from sim.model.base.min_tree import tree_build, tree_first, tree_first_key, tree_set
from sim.model.capacity.nodes import begin_nodes
from sim.model.capacity.queue_quota import begin_quotas
from sim.model.capacity.slices import make_slices
from sim.model.capacity.workloads import begin_workloads, wait_for_slices
from sim.model.cluster.admission import admit_at_once
from sim.model.cluster.batch_jobs import begin_jobs, finish_jobs
from sim.model.cluster.replica_lifecycle import begin_cold_start, end_start, enter_stage
from sim.model.cluster.start_steps import keep_what_it_brought
from sim.model.faults.episodes import begin_episodes
from sim.model.faults.lost import on_stage
from sim.model.faults.random_faults import begin_random_faults, set_next_fault
from sim.model.gateway.hold_queue import release_if_room
from sim.model.loop.cluster_events import on_cluster, set_next_cluster
from sim.model.loop.control import next_stop_ps
from sim.model.loop.inputs import on_input, set_next_in
from sim.model.loop.rollouts import begin_rollouts
from sim.model.replica.engine import on_boundary
from sim.model.replica.jump import settle
from sim.model.request.attempt import drop_slot
from sim.model.request.in_flight import leave_inside
from sim.model.router.choose import refresh_load
from sim.model.scheduler.placement import log_gang, place_replica
from sim.model.tables.cause import CAUSE_BEGIN, NO_EVENT
from sim.model.tables.codes import DONE, HORIZON, OK, SEQ_AWAY, SEQ_THINKING, STAGE_DRAINING, STAGE_SLICE
from sim.model.tables.node import BY_USER, EVENT_REPLICA_PLACED
from sim.model.tables.sample import MARK_RUN
from sim.model.telemetry.causes import act_because, go_on_with_replica
from sim.model.telemetry.marks import set_mark
from sim.model.transfers.links import settle_transfers
from sim.units import NEVER

EVENT_STAGE, EVENT_INPUT, EVENT_BOUNDARY = range(3)


@jit
def on_replica(params, state, r, t):
    """Replica r reaches a boundary at t; then what follows outside it: its load, held requests, the end of a drain."""
    on_boundary(params, state, r, t)
    replica = state.replica[r]
    g = params.pool[replica.pool].served_model
    refresh_load(params, state, g, r)
    if params.has_outstanding_max == 1:
        release_if_room(params, state, g, t + 1)
    if replica.stage == STAGE_DRAINING and replica.n_run + replica.n_wait == 0:
        tree_set(state.stage_tree, params.leaves, r, t + 1)


@jit
def advance(params, state, stop_ps):
    """Run every event before the control instant stop_ps, and what the cluster does and stages change at it."""
    if state.is_controlling == 1:
        return  # a policy of the host has just been asked: others of the same instant come first
    while state.status == OK:
        stage_ps = tree_first_key(state.stage_tree)
        input_ps = state.next_input_ps
        boundary_ps = tree_first_key(state.boundary_tree)
        t = input_ps if input_ps <= boundary_ps else boundary_ps
        if t < stage_ps and t < state.next_cluster_ps and t < stop_ps:
            if input_ps <= boundary_ps:
                on_input(params, state, t)
            else:
                on_replica(params, state, tree_first(state.boundary_tree, params.leaves), t)
        elif state.next_cluster_ps <= min(stage_ps, min(t, stop_ps)):
            on_cluster(params, state, state.next_cluster_ps)
        elif stage_ps <= min(t, stop_ps):
            on_stage(params, state, tree_first(state.stage_tree, params.leaves), stage_ps)
        else:
            break


@jit_call
def begin(params, state):
    """Set up a run at time 0: empty engines, the initial replicas ready, every clock set.

    The arrays are zero but for what `sim.fill` laid out (offsets, free slots).
    """
    for r in range(params.leaves):
        state.boundary_tree[params.leaves + r] = NEVER
        state.stage_tree[params.leaves + r] = NEVER
    tree_build(state.boundary_tree, params.leaves)
    tree_build(state.stage_tree, params.leaves)
    for g in range(params.n_served_model):
        model = params.served_model[g]
        load = state.load[model.load_at :]
        for leaf in range(model.leaves):
            load[model.leaves + leaf] = NEVER
        tree_build(load, model.leaves)
        state.served_model[g].cursor = -1
    for r in range(params.n_replica):
        state.replica[r].run_head = -1
        state.replica[r].run_tail = -1
        state.replica[r].wait_head = -1
        state.replica[r].wait_tail = -1
    state.first_moving = -1
    state.rates_ps = NEVER
    begin_cluster(params, state)
    begin_episodes(params, state)
    for pool in range(params.n_pool):
        begin_pool(params, state, pool)
    begin_rollouts(params, state)
    state.now_ps = 0
    state.status = OK
    state.next_sample_ps = 0 if params.sample_ps > 0 else NEVER
    state.next_mark_ps = params.warmup_ps
    state.release_ps = NEVER
    state.hedge_ps = NEVER
    if params.has_attempts == 1:
        fill_limits(params, state)
    set_next_in(params, state)
    set_next_fault(params, state)
    set_next_cluster(params, state)
    state.stop_ps = next_stop_ps(params, state)


@jit_call
def begin_cluster(params, state):
    """Set up the cluster at time 0: nothing waits, the initial nodes are ready."""
    state.next_scan_ps = NEVER
    state.placement_ps = NEVER
    state.first_waiting = -1
    state.last_waiting = -1
    state.node_added_ps = -1
    state.asked_replica = -1
    if params.n_cluster == 1:
        begin_workloads(params, state)
        begin_quotas(params, state)
        act_because(state, CAUSE_BEGIN, 0, NO_EVENT)
        begin_nodes(params, state)
        begin_jobs(params, state)
        begin_random_faults(params, state)
        if params.cluster[0].scan_ps < NEVER:
            state.next_scan_ps = params.cluster[0].scan_ps


@jit_call
def begin_pool(params, state, pool_id):
    """Set up a pool at time 0: its initial replicas are ready, or wait where the cluster has no slices for them; its
    autoscaler ticks first after one period.
    """
    pool = params.pool[pool_id]
    pool_state = state.pool[pool_id]
    pool_state.next_tick_ps = pool.tick_ps
    pool_state.wanted = pool.initial_replicas
    first = pool.first_replica
    for r in range(first, first + pool.n_replica):
        state.replica[r].pool = pool_id
    for r in range(first, first + pool.initial_replicas):
        act_because(state, CAUSE_BEGIN, 0, NO_EVENT)
        state.replica[r].start = -1  # not a cold start
        if params.n_cluster == 1 and params.cluster[0].placement == BY_USER:
            enter_stage(state, r, STAGE_SLICE, 0)
            wait_for_slices(params, state, r, 0)
        elif params.n_cluster == 0 or (
            admit_at_once(params, state, r, 0) and place_replica(params, state, r, 0)
        ):
            if params.n_cluster == 1:
                log_gang(params, state, EVENT_REPLICA_PLACED, r, 0, 0)
                make_slices(params, state, r, 0)
            keep_what_it_brought(params, state, r)
            go_on_with_replica(params, state, r)
            end_start(params, state, r, 0)
        else:
            act_because(state, CAUSE_BEGIN, 0, NO_EVENT)
            begin_cold_start(params, state, r, 0)


@jit_call
def finish(params, state):
    """The run is over: settle every engine, set the last mark, record the requests that are still inside."""
    state.status = DONE
    t = state.now_ps
    for r in range(params.n_replica):
        settle(params, state, r, t)
    settle_transfers(params, state, t)
    finish_jobs(params, state, t)
    set_mark(params, state, MARK_RUN, t)
    for number in range(params.n_served_model * params.n_queue):
        queue = state.queue[number]
        if queue.n > 0:
            leave_list(params, state, -1, queue.head)
    leave_away(params, state)
    for r in range(params.n_replica):
        leave_list(params, state, r, state.replica[r].wait_head)
        leave_list(params, state, r, state.replica[r].run_head)


@jit_call
def leave_away(params, state):
    """Record as still inside the requests that wait for their next attempt or are at a station. A turn that has not come
    leaves no record.
    """
    for j in range(state.n_timer):
        s = state.timer[j].slot
        if state.slot[s].due_ps == NEVER:
            continue
        if state.slot[s].state == SEQ_THINKING:
            drop_slot(state, s)
        elif state.slot[s].state >= SEQ_AWAY:
            leave_inside(params, state, s, state.slot[s].replica, HORIZON)


@jit_call
def leave_list(params, state, r, s):
    """Record as still inside a list of slots of replica r, or of the gateway (−1)."""
    while s >= 0:
        after = state.slot[s].next
        leave_inside(params, state, s, r, HORIZON)
        s = after
