"""The life of a run of a batch job: submitted → waiting for slices → running → finished, or given up.

A run is a workload as a replica is: a gang that is placed whole, preempted by a higher priority, lost with any of its
nodes. What it has done since its last checkpoint is lost then, and it waits again. Its work takes as long under every
policy: it is drawn by job and number.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.min_tree import tree_build, tree_set
from sim.model.capacity.workloads import leave_cluster, wait_for_slices
from sim.model.tables.cause import CAUSE_JOB, NO_EVENT
from sim.model.tables.job import (
    RUN_FAILED,
    RUN_FINISHED,
    RUN_NOT_SUBMITTED,
    RUN_RUNNING,
    RUN_WAITING,
)
from sim.model.tables.node import (
    EVENT_JOB_FAILED,
    EVENT_JOB_FINISHED,
    EVENT_JOB_LOST,
    EVENT_JOB_SUBMITTED,
)
from sim.model.tables.pool import N_QUANTILE_BITS
from sim.model.telemetry.causes import act_because, go_on_with_replica
from sim.model.telemetry.cluster_log import log_event
from sim.rng import STREAM_JOB, draw
from sim.units import NEVER


@jit
def is_run(params, w):
    """Whether a workload is a run of a job; else it is a replica place."""
    return w >= params.n_replica


@jit_call
def begin_jobs(params, state):
    """Set up the runs at time 0: none has been submitted."""
    if params.n_job_run == 0:
        return
    for leaf in range(params.job_leaves):
        due_ps = params.job_run[leaf].submit_ps if leaf < params.n_job_run else NEVER
        state.job_tree[params.job_leaves + leaf] = due_ps
    tree_build(state.job_tree, params.job_leaves)
    for i in range(params.n_job_run):
        state.job_run[i].first_placed_ps = -1
        state.job_run[i].ended_ps = -1


@jit_call
def on_run(params, state, i, t):
    """The i-th run is submitted at t, or its work is done."""
    w = params.n_replica + i
    run = state.job_run[i]
    if run.stage != RUN_NOT_SUBMITTED:
        go_on_with_replica(params, state, w)
        end_run(params, state, w, RUN_FINISHED, t)
        return
    about = params.job_run[i]
    word = draw(params.seed, STREAM_JOB, about.job, about.number)
    run.work_ps = params.job[about.job].work_ps[word >> (63 - N_QUANTILE_BITS)]
    act_because(state, CAUSE_JOB, about.job, NO_EVENT)
    log_event(params, state, EVENT_JOB_SUBMITTED, -1, w, about.number, t)
    tree_set(state.job_tree, params.job_leaves, i, NEVER)
    enqueue_run(params, state, w, t)


@jit_call
def enqueue_run(params, state, w, t):
    """A run waits for slices from t on."""
    state.job_run[w - params.n_replica].stage = RUN_WAITING
    wait_for_slices(params, state, w, t)


@jit_call
def begin_run(params, state, w, created_ps, t):
    """A run has got its slices at t, which are made after a while: it starts up, then works until its work is done."""
    i = w - params.n_replica
    run = state.job_run[i]
    run.stage = RUN_RUNNING
    run.n_placed += 1
    run.placed_ps = t
    run.begun_ps = t + created_ps
    if run.first_placed_ps < 0:
        run.first_placed_ps = t
    works_ps = run.begun_ps + params.job[params.job_run[i].job].startup_ps
    tree_set(state.job_tree, params.job_leaves, i, max(t + 1, works_ps + run.work_ps - run.kept_ps))


@jit_call
def worked_ps(params, state, i, t):
    """How much of its work a running run has done by t, with what was safe before."""
    run = state.job_run[i]
    works_ps = run.begun_ps + params.job[params.job_run[i].job].startup_ps
    return min(run.work_ps, run.kept_ps + max(0, t - works_ps))


@jit_call
def settle_run(params, state, i, t):
    """A running run gives its slices back at t: what is safe of its work, and what is lost."""
    run = state.job_run[i]
    done_ps = worked_ps(params, state, i, t)
    checkpoint_ps = params.job[params.job_run[i].job].checkpoint_ps
    kept_ps = done_ps - done_ps % checkpoint_ps
    if done_ps == run.work_ps:
        kept_ps = done_ps
    run.held_ps += t - run.placed_ps
    run.lost_ps += done_ps - kept_ps
    run.kept_ps = kept_ps


@jit_call
def end_run(params, state, w, stage, t):
    """A run is finished, or given up: it holds nothing any longer."""
    i = w - params.n_replica
    if state.job_run[i].stage == RUN_RUNNING:
        settle_run(params, state, i, t)
    event = EVENT_JOB_FINISHED if stage == RUN_FINISHED else EVENT_JOB_FAILED
    log_event(params, state, event, -1, w, 0, t)
    leave_cluster(params, state, w, t)
    state.job_run[i].stage = stage
    state.job_run[i].ended_ps = t
    tree_set(state.job_tree, params.job_leaves, i, NEVER)


@jit_call
def interrupt_run(params, state, w, event, node_id, t):
    """A running run loses its slices at t, as the event says: it begins again as often as it may, else it is given up."""
    i = w - params.n_replica
    run = state.job_run[i]
    settle_run(params, state, i, t)
    run.stage = RUN_WAITING
    if event == EVENT_JOB_LOST:
        run.n_lost += 1
    else:
        run.n_preempted += 1
        state.pool_place[state.workload[w].place].preempted += 1
    log_event(params, state, event, node_id, w, 0, t)
    leave_cluster(params, state, w, t)
    tree_set(state.job_tree, params.job_leaves, i, NEVER)
    if run.n_placed > params.job[params.job_run[i].job].max_restarts:
        run.stage = RUN_FAILED
        run.ended_ps = t
        log_event(params, state, EVENT_JOB_FAILED, -1, w, 0, t)
    else:
        enqueue_run(params, state, w, t)


@jit_call
def finish_jobs(params, state, t):
    """The simulated time is over: what still runs has held its slices up to now. It stays as it is."""
    for i in range(params.n_job_run):
        if state.job_run[i].stage == RUN_RUNNING:
            state.job_run[i].held_ps += t - state.job_run[i].placed_ps
            state.job_run[i].placed_ps = t
