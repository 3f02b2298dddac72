"""The life of a replica: wanted → slice → provision → image → weights → engine → ready → draining → gone.

A start is made of steps, each shown as one of the stages before ready. A step begins when all that it waits for have
ended; steps that wait for different things overlap. How long it takes is drawn from its quantile table; the n-th start
of a pool draws the same durations under every policy. A step that moves bytes over links takes longer where they are
shared (`sim.model.transfers.links`).
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.min_tree import tree_set
from sim.model.capacity.speed import set_speed
from sim.model.capacity.workloads import leave_cluster, wait_for_slices
from sim.model.cluster.ready_list import drop_ready, insert_ready
from sim.model.cluster.start_steps import (
    clear_transfers,
    keep_steps,
    note_start,
    step_begin,
    step_ps,
    stop_transfers,
    transfer_end,
)
from sim.model.prefix_cache.block_ranges import clear_prefix
from sim.model.record.latency_attribution import on_first_ready, on_last_ready_gone
from sim.model.replica.engine import on_enqueued
from sim.model.router.choose import refresh_load
from sim.model.tables.cause import CAUSE_OUT_OF_MEMORY
from sim.model.tables.codes import (
    STAGE_DRAINING,
    STAGE_ENGINE,
    STAGE_GONE,
    STAGE_READY,
    STAGE_SLICE,
    STAGE_WEIGHTS,
)
from sim.model.tables.node import (
    EVENT_POOL_SCALED,
    EVENT_REPLICA_CRASHED,
    EVENT_REPLICA_DRAINS,
    EVENT_REPLICA_GONE,
    EVENT_REPLICA_READY,
    EVENT_REPLICA_STAGE,
    TENANTS_MAX,
)
from sim.model.telemetry.causes import act_because, go_on_with_replica
from sim.model.telemetry.cluster_log import log_event
from sim.model.telemetry.replica_time import settle_areas
from sim.model.transfers.clock import BRIEF_PS
from sim.units import NEVER

BACKOFF_PS = 10 * 10**12  # kubelet: the first wait
BACKOFF_MAX_PS = 300 * 10**12  # … and the longest
FIRST_RESTART = (
    1 << 40
)  # restarts draw from numbers of their own: other starts draw what they would without them
WHOLE_MICRO = 10**6  # all of a GPU's memory
DOUBLINGS_MAX = 5  # 10 s · 2⁵ is more than 300 s


# ---- areas under the replica counts ----------------------------------------------------------------------
@jit
def is_billed(stage):
    """Whether a replica in this stage costs money: from the node's start until it is gone."""
    return stage > STAGE_SLICE


@jit_call
def enter_stage(state, r, stage, t):
    """Move a replica to a stage and keep the counts of its pool."""
    replica = state.replica[r]
    pool = replica.pool
    pool_state = state.pool[pool]
    was = replica.stage
    settle_areas(state, pool, t)
    pool_state.n_billed += is_billed(stage) * 1 - is_billed(was) * 1
    pool_state.n_ready += (stage == STAGE_READY) * 1 - (was == STAGE_READY) * 1
    pool_state.n_serving += (stage >= STAGE_READY) * 1 - (was >= STAGE_READY) * 1
    pool_state.n_starting += is_starting(stage) * 1 - is_starting(was) * 1
    if pool_state.n_ready > pool_state.peak_ready:
        pool_state.peak_ready = pool_state.n_ready
    replica.stage = stage


@jit
def is_starting(stage):
    """Whether a replica is on its way to ready."""
    return STAGE_SLICE <= stage <= STAGE_ENGINE


# ---- steps of a start ----------------------------------------------------------------------
@jit_call
def continue_cold_start(params, state, r, t):
    """Show a starting replica as the first stage that is in progress at t, until the next of its steps ends; when all
    have ended it is ready. A step that takes no time is never in progress.

    Of a start only its beginning, its number and the ends of its transfers are kept: the ends of its other steps are
    computed anew.
    """
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    go_on_with_replica(params, state, r)
    stage = STAGE_READY
    until_ps = NEVER
    for i in range(pool.n_step):
        step = params.start_step[pool.first_step + i]
        begin_ps = step_begin(state, step, i, replica.placed_ps)
        own_ps = step_ps(params, step, replica.pool, replica.start)
        if replica.is_in_place == 1 and step.stage < STAGE_WEIGHTS:
            own_ps = 0  # the node is there, with its image
        end_ps = begin_ps + own_ps if begin_ps < NEVER else NEVER
        wake_ps = end_ps
        if step.transfer > 0 and begin_ps <= t and own_ps - step.setup_ps >= BRIEF_PS:
            wake_ps = begin_ps + step.setup_ps
            end_ps = transfer_end(params, state, r, step, own_ps - step.setup_ps, wake_ps, t)
        state.step_ends[i] = end_ps
        if begin_ps <= t and t < end_ps:
            stage = min(stage, step.stage)
            until_ps = min(until_ps, min(end_ps, wake_ps if wake_ps > t else NEVER))
    if stage == STAGE_READY:
        if not end_start(params, state, r, t):
            return
        if pool.n_transfer > 0 and replica.is_in_place == 0:
            note_start(params, state, r)
        if params.n_taken > 0:
            keep_steps(params, state, r)
    else:
        if stage != replica.stage:
            log_event(params, state, EVENT_REPLICA_STAGE, -1, r, stage, t)
        enter_stage(state, r, stage, t)
        tree_set(state.stage_tree, params.leaves, r, until_ps)


@jit
def backoff_ps(n_crash):
    """How long a replica that has crashed so often before waits until it starts again."""
    if n_crash == 0:
        return 0
    return min(BACKOFF_MAX_PS, BACKOFF_PS << min(n_crash - 1, DOUBLINGS_MAX))


@jit_call
def is_out_of_memory(params, state, r):
    """Whether the GPU of replica r, whose engine is there, has not the memory that it sets aside, beside what those
    neighbours have set aside whose engines run.
    """
    shared_gpu = state.replica[r].shared_gpu
    if shared_gpu == 0:
        return False
    taken = params.pool_place[state.replica[r].pool].memory_micro
    for place in range(TENANTS_MAX):
        other = state.gpu_share[shared_gpu - 1].tenant[place] - 1
        if other >= 0 and other != r and state.replica[other].stage >= STAGE_READY:
            taken += params.pool_place[state.replica[other].pool].memory_micro
    return taken > WHOLE_MICRO


@jit_call
def end_start(params, state, r, t):
    """Replica r's engine is there at t: it is ready, or its process ends for want of memory and starts again in place."""
    if params.n_gpu_share > 0 and is_out_of_memory(params, state, r):
        act_because(state, CAUSE_OUT_OF_MEMORY, 0, state.workload[r].event)
        log_event(params, state, EVENT_REPLICA_CRASHED, -1, r, state.replica[r].n_crash, t)
        start_in_place(params, state, r, t)
        return False
    become_ready(params, state, r, t)
    return True


@jit_call
def start_in_place(params, state, r, t):
    """The process of replica r, which has crashed at t, starts again after a wait, on what its node has already."""
    replica = state.replica[r]
    replica.placed_ps = t + backoff_ps(replica.n_crash)
    replica.n_crash += 1
    replica.is_in_place = 1
    replica.started_ps = t
    replica.start = FIRST_RESTART + state.pool[replica.pool].crashed
    state.pool[replica.pool].crashed += 1
    clear_transfers(params, state, r)
    enter_stage(state, r, STAGE_ENGINE, t)
    tree_set(state.stage_tree, params.leaves, r, max(replica.placed_ps, t))


@jit_call
def number_start(params, state, r, t):
    """Replica r's start is the next of its pool."""
    replica = state.replica[r]
    pool_state = state.pool[replica.pool]
    replica.started_ps = t
    replica.start = pool_state.started
    pool_state.started += 1
    replica.is_in_place = 0
    replica.n_crash = 0
    clear_transfers(params, state, r)


@jit_call
def begin_cold_start(params, state, r, t):
    """A replica is wanted: its cold start begins."""
    replica = state.replica[r]
    number_start(params, state, r, t)
    if params.n_cluster == 0:
        replica.placed_ps = t
        continue_cold_start(params, state, r, t)
    else:
        enter_stage(state, r, STAGE_SLICE, t)
        wait_for_slices(params, state, r, t)


@jit_call
def become_ready(params, state, r, t):
    """A replica takes requests from now on; what the gateway holds is released at t."""
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    g = pool.served_model
    enter_stage(state, r, STAGE_READY, t)
    log_event(params, state, EVENT_REPLICA_READY, -1, r, 0, t)
    tree_set(state.stage_tree, params.leaves, r, NEVER)
    replica.ready_ps = t
    replica.free_blocks = pool.n_blocks
    replica.batch_left = 0
    replica.slow_q20 = 0
    replica.is_hung = 0
    if params.n_episode > 0:
        set_speed(params, state, r, t)
    clear_prefix(params, state, r)
    on_first_ready(state, g, t)
    insert_ready(params, state, g, r)
    refresh_load(params, state, g, r)
    if state.served_model[g].held > 0:
        state.release_ps = t
        state.next_input_ps = t


@jit_call
def begin_drain(params, state, r, t):
    """A ready replica takes no new request; it finishes what it holds and is gone."""
    replica = state.replica[r]
    g = params.pool[replica.pool].served_model
    drop_ready(params, state, g, r)
    on_last_ready_gone(state, g, t)
    enter_stage(state, r, STAGE_DRAINING, t)
    log_event(params, state, EVENT_REPLICA_DRAINS, -1, r, 0, t)
    replica.drain_ps = t
    if params.n_quota_workload > 0:
        state.quota_workload[r].is_evicted = 1
    if replica.n_wait + replica.n_run == 0:
        tree_set(state.stage_tree, params.leaves, r, t + 1)
    elif replica.n_run == 0:
        on_enqueued(params, state, r, -1, t)  # a batch that waits to fill up starts with what it has


@jit_call
def remove_replica(params, state, r, t):
    """A replica is gone: its place is free for a later start."""
    stop_transfers(params, state, r, t)
    log_event(params, state, EVENT_REPLICA_GONE, -1, r, 0, t)
    if params.n_cluster == 1:
        leave_cluster(params, state, r, t)
    enter_stage(state, r, STAGE_GONE, t)
    tree_set(state.stage_tree, params.leaves, r, NEVER)


# ---- scaling ----------------------------------------------------------------------
@jit_call
def choose_free_place(params, state, pool):
    """The lowest free place of a pool, or −1."""
    first = params.pool[pool].first_replica
    for r in range(first, first + params.pool[pool].n_replica):
        if state.replica[r].stage == STAGE_GONE:
            return r
    return -1


@jit_call
def choose_scale_down(params, state, pool):
    """The replica that goes first when a pool shrinks, as a ReplicaSet chooses: one that is not ready before one that is,
    then the youngest, then the one with the highest number.
    """
    first = params.pool[pool].first_replica
    best = -1
    best_ready = 1
    best_since = -1
    for r in range(first, first + params.pool[pool].n_replica):
        stage = state.replica[r].stage
        if stage == STAGE_GONE or stage == STAGE_DRAINING:
            continue
        is_ready = 1 if stage == STAGE_READY else 0
        since = state.replica[r].ready_ps if is_ready == 1 else state.replica[r].started_ps
        if best < 0 or is_ready < best_ready or (is_ready == best_ready and since >= best_since):
            best = r
            best_ready = is_ready
            best_since = since
    return best


@jit_call
def scale_to(params, state, pool_id, wanted, t):
    """Start or stop replicas until a pool has `wanted` of them, starting ones included, draining ones not."""
    pool = params.pool[pool_id]
    pool_state = state.pool[pool_id]
    if pool_state.in_rollout == 0:
        wanted = max(wanted, pool.min_replicas)
    wanted = min(wanted, pool.max_replicas)
    if wanted > pool_state.wanted:
        pool_state.scaled_up += 1
    elif wanted < pool_state.wanted:
        pool_state.scaled_down += 1
    if wanted != pool_state.wanted:
        log_event(params, state, EVENT_POOL_SCALED, -1, pool.first_replica, wanted, t)
        state.because = state.n_event - 1
    pool_state.wanted = wanted
    active = pool_state.n_ready + pool_state.n_starting
    while active < wanted:
        r = choose_free_place(params, state, pool_id)
        if r < 0:
            break  # places are still draining: tried again at the next tick
        begin_cold_start(params, state, r, t)
        active += 1
    while active > wanted:
        r = choose_scale_down(params, state, pool_id)
        if state.replica[r].stage == STAGE_READY:
            begin_drain(params, state, r, t)
        else:
            remove_replica(params, state, r, t)
        active -= 1
