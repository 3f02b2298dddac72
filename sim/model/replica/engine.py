"""A replica's engine: what happens at a step boundary, and when an idle engine wakes up."""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.min_tree import tree_key, tree_set
from sim.model.replica.jump import cut_jump, end_jump, launch_jump, launch_step
from sim.model.replica.neighbours import share_gpu
from sim.model.replica.schedule import admit, schedule_running
from sim.model.tables.codes import (
    CONTINUOUS,
    DYNAMIC,
    STAGE_DRAINING,
)
from sim.units import NEVER


@jit_call
def oldest_routed_ps(state, replica):
    """When the request that has waited longest was routed: under the priority policy it need not be the head."""
    oldest = NEVER
    s = replica.wait_head
    while s >= 0:
        oldest = min(oldest, state.slot[s].routed_ps)
        s = state.slot[s].next
    return oldest


@jit
def gate_opens_ps(params, state, r, t):
    """When an idle replica may start: now, at the end of its batching delay, or not before more requests come (NEVER)."""
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    if replica.n_wait == 0 or replica.is_hung == 1:
        return NEVER
    batching = pool.batching
    full = replica.n_wait >= pool.max_num_seqs
    if batching == CONTINUOUS or full or replica.stage == STAGE_DRAINING:
        return t
    if batching == DYNAMIC:
        opens = oldest_routed_ps(state, replica) + pool.batch_delay_ps
        return opens if opens > t else t
    return NEVER


@jit
def start_step(params, state, r, t):
    """Schedule the next step of a replica, or leave it idle."""
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    if replica.n_run == 0 and replica.batch_left == 0:
        opens = gate_opens_ps(params, state, r, t)
        if opens > t:
            tree_set(state.boundary_tree, params.leaves, r, opens)
            return
        if pool.batching != CONTINUOUS:
            waiting = replica.n_wait
            most = pool.max_num_seqs
            replica.batch_left = waiting if waiting < most else most
    budget = schedule_running(params, state, r, pool.max_num_batched_tokens, t)
    # a step that only preempted holds nothing and takes no time: schedule again
    while budget < 0 and replica.n_chunk == 0 and replica.n_decode == 0:
        budget = schedule_running(params, state, r, pool.max_num_batched_tokens, t)
    if budget >= 0:
        admit(params, state, r, budget, t)
    if replica.n_chunk > 0:
        launch_step(params, state, r, t)
    elif replica.n_decode > 0:
        launch_jump(params, state, r, t, budget >= 0 and replica.n_decode == replica.n_run)
    else:
        tree_set(state.boundary_tree, params.leaves, r, NEVER)


@jit
def on_boundary(params, state, r, t):
    """A step of replica r ends at t, or its idle engine wakes up."""
    if state.replica[r].jump_steps > 0:
        end_jump(params, state, r, t)
    start_step(params, state, r, t)
    if state.replica[r].shared_gpu > 0:
        share_gpu(params, state, r, t)


@jit
def on_enqueued(params, state, r, s, t):
    """A sequence has joined the waiting queue of replica r at t: wake an idle engine, or cut a jump that it may end."""
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    if replica.n_run == 0:
        opens = gate_opens_ps(params, state, r, t)
        if opens < tree_key(state.boundary_tree, params.leaves, r):
            tree_set(state.boundary_tree, params.leaves, r, opens)
    elif (
        replica.wait_head == s
        and replica.n_run < pool.max_num_seqs
        and (pool.batching == CONTINUOUS or replica.batch_left > 0)
    ):
        cut_jump(params, state, r, t)
