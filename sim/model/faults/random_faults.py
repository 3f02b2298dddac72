"""Faults that strike again and again: spot capacity that is reclaimed, zones and machines that fail.

What strikes when is drawn by fault and number, not by what happens in the run: every policy meets the same losses.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.min_tree import tree_set
from sim.model.capacity.nodes import cordon_node, next_node_step, strikes_group
from sim.model.capacity.slices import next_on_node
from sim.model.cluster.batch_jobs import interrupt_run, is_run
from sim.model.cluster.evictions import evict_all
from sim.model.cluster.replica_lifecycle import begin_drain, remove_replica
from sim.model.faults.episodes import next_episode_ps, on_episode
from sim.model.faults.lost import (
    lose_node,
    on_scripted_fault,
    replace_lost,
    shut_groups,
    strike_node,
)
from sim.model.tables.cause import CAUSE_RANDOM_FAULT, NO_EVENT
from sim.model.tables.codes import STAGE_READY
from sim.model.tables.node import (
    EVENT_FAULT_STRUCK,
    EVENT_JOB_LOST,
    EVENT_NODE_NOTICE,
    NODE_ABSENT,
    NODE_READY,
)
from sim.model.tables.pool import N_QUANTILE_BITS
from sim.model.telemetry.causes import act_because, go_on_with_node
from sim.model.telemetry.cluster_log import log_event
from sim.rng import STREAM_GAP, STREAM_OUTAGE, STREAM_VICTIM, draw, draw_below
from sim.units import NEVER


# ---- scripted or random ----------------------------------------------------------------------
@jit_call
def set_next_fault(params, state):
    """Set when the next fault strikes, scripted or random."""
    f = state.n_fault
    at_ps = params.fault[f].at_ps if f < params.n_fault else NEVER
    for i in range(params.n_random_fault):
        at_ps = min(at_ps, state.random_fault[i].next_ps)
    state.next_fault_ps = min(at_ps, next_episode_ps(params, state))


@jit_call
def on_fault(params, state, t):
    """A fault strikes at t: the next scripted loss, or else the first random one that is due, or else an episode begins or
    ends.
    """
    if state.n_fault < params.n_fault and params.fault[state.n_fault].at_ps <= t:
        on_scripted_fault(params, state, t)
        set_next_fault(params, state)
        return
    for i in range(params.n_random_fault):
        if state.random_fault[i].next_ps <= t:
            on_random_fault(params, state, i, t)
            return
    on_episode(params, state, t)
    set_next_fault(params, state)


# ---- random faults ----------------------------------------------------------------------
@jit
def quantile_of(quantile_ps, seed, stream, entity, index):
    """One of N_QUANTILE equally likely durations."""
    return quantile_ps[draw(seed, stream, entity, index) >> (63 - N_QUANTILE_BITS)]


@jit_call
def begin_random_faults(params, state):
    """Set when each random fault strikes first."""
    for i in range(params.n_random_fault):
        state.random_fault[i].next_ps = quantile_of(
            params.random_fault[i].gap_ps, params.seed, STREAM_GAP, i, 0
        )


@jit_call
def on_random_fault(params, state, i, t):
    """The i-th random fault strikes at t: nodes are told, or lost at once; when it strikes next is drawn."""
    fault = params.random_fault[i]
    struck = state.random_fault[i]
    outage_ps = quantile_of(fault.outage_ps, params.seed, STREAM_OUTAGE, i, struck.n)
    if outage_ps > 0:
        shut_groups(params, state, fault, t + outage_ps)
    act_because(state, CAUSE_RANDOM_FAULT, i, NO_EVENT)
    log_event(params, state, EVENT_FAULT_STRUCK, -1, -1, struck.n, t)
    struck_event = state.n_event - 1
    takes_all = fault.nodes == NEVER
    left = params.n_node if takes_all else min(fault.nodes, params.n_node)
    number = 0
    while left > 0:
        n = count_struck(params, state, fault)
        if n == 0:
            break
        which = 0
        if not takes_all:
            which = draw_below(params.seed, STREAM_VICTIM, i, (struck.n << 16) + number, n)
        state.because = struck_event
        take_node(params, state, nth_struck(params, state, fault, which), fault.notice_ps, t)
        number += 1
        left -= 1
    state.because = struck_event
    replace_lost(params, state, t)
    struck.n += 1
    gap_ps = quantile_of(fault.gap_ps, params.seed, STREAM_GAP, i, struck.n)
    struck.next_ps = t + outage_ps + max(1, gap_ps)
    set_next_fault(params, state)


@jit
def can_be_struck(params, state, fault, node_id):
    """Whether a node is there, or on its way, and has not been told yet that it will be lost."""
    node = state.node[node_id]
    return node.stage != NODE_ABSENT and node.is_doomed == 0 and strikes_group(params, fault, node.group)


@jit_call
def count_struck(params, state, fault):
    """How many nodes a fault can take."""
    n = 0
    for node_id in range(params.n_node):
        n += int(can_be_struck(params, state, fault, node_id))
    return n


@jit_call
def nth_struck(params, state, fault, which):
    """The number of the n-th node that a fault can take."""
    for node_id in range(params.n_node):
        if can_be_struck(params, state, fault, node_id):
            if which == 0:
                return node_id
            which -= 1
    return -1


@jit_call
def take_node(params, state, node_id, notice_ps, t):
    """A node is told at t that it will be lost; one that is not ready, or without notice, is lost at once.

    From the notice on it takes nothing new; what is ready there drains, what starts there is removed, and
    runs of jobs go elsewhere.
    """
    node = state.node[node_id]
    if notice_ps == 0 or node.stage < NODE_READY:
        lose_node(params, state, node_id, t)
        return
    cordon_node(params, state, node_id, t)
    node.is_doomed = 1
    node.is_draining = 0
    log_event(params, state, EVENT_NODE_NOTICE, node_id, -1, notice_ps, t)
    state.because = node.event
    tree_set(state.node_tree, params.node_leaves, node_id, t + notice_ps)
    r = next_on_node(state, node_id, -1)
    while r >= 0:
        if is_run(params, r):
            interrupt_run(params, state, r, EVENT_JOB_LOST, node_id, t)
        elif state.replica[r].stage == STAGE_READY:
            begin_drain(params, state, r, t)
        elif state.replica[r].stage < STAGE_READY:
            remove_replica(params, state, r, t)
        r = next_on_node(state, node_id, r)


@jit_call
def on_node(params, state, node_id, t):
    """What a node waits for is over at t: a step on its way to ready, its notice, or a while after a refused eviction."""
    go_on_with_node(state, node_id)
    if state.node[node_id].is_doomed == 1:
        strike_node(params, state, node_id, t)
    elif state.node[node_id].is_draining > 0:
        evict_all(params, state, node_id, t)
    else:
        next_node_step(params, state, node_id, t)
