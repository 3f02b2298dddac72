"""What the cluster does next. Of what is due at one instant, first a fault strikes, then nodes change their stages, links
are shared out anew, transfers end, replicas change their stages, runs of jobs come or end, those that wait for slices are
placed, and the node autoscaler looks.
"""

from __future__ import annotations

from sim.compile.jit import jit_call
from sim.model.base.min_tree import tree_first, tree_first_key
from sim.model.cluster.batch_jobs import on_run
from sim.model.cluster.replica_lifecycle import continue_cold_start
from sim.model.faults.lost import on_stage
from sim.model.faults.random_faults import on_fault, on_node
from sim.model.scheduler.node_autoscaler import on_scan
from sim.model.scheduler.placement import place_waiting
from sim.model.telemetry.causes import go_on_with_replica
from sim.model.transfers.links import count_moved, stop_transfer
from sim.model.transfers.node_cache import end_fetch, end_joined
from sim.model.transfers.rates import share_out
from sim.units import NEVER


@jit_call
def set_next_cluster(params, state):
    """Set when the cluster acts next."""
    at_ps = state.next_fault_ps
    if state.rates_ps < NEVER:
        at_ps = min(at_ps, state.rates_ps + 1)
    u = state.first_moving
    while u >= 0:
        at_ps = min(at_ps, state.transfer[u].due_ps)
        u = state.transfer[u].next
    if params.n_cluster == 1:
        at_ps = min(at_ps, min(state.next_scan_ps, state.placement_ps))
        at_ps = min(at_ps, tree_first_key(state.node_tree))
    if params.n_job_run > 0:
        at_ps = min(at_ps, tree_first_key(state.job_tree))
    state.next_cluster_ps = at_ps


@jit_call
def on_cluster(params, state, t):
    """The first of what is due at t."""
    if state.next_fault_ps <= t:
        on_fault(params, state, t)
    elif params.n_cluster == 1 and tree_first_key(state.node_tree) <= t:
        on_node(params, state, tree_first(state.node_tree, params.node_leaves), t)
    elif state.rates_ps < t:
        share_out(params, state)
    else:
        number = first_due(state, t)
        if number >= 0:
            end_transfer(params, state, number, t)
        elif params.n_cluster == 1:
            place_or_scan(params, state, t)
    set_next_cluster(params, state)


@jit_call
def place_or_scan(params, state, t):
    """What comes last at t: replicas change their stages, runs of jobs come or end, those that wait for slices are placed,
    and the node autoscaler looks, for it asks for nodes only where a placement has found nothing.
    """
    if tree_first_key(state.stage_tree) <= t:
        on_stage(params, state, tree_first(state.stage_tree, params.leaves), t)
    elif params.n_job_run > 0 and tree_first_key(state.job_tree) <= t:
        on_run(params, state, tree_first(state.job_tree, params.job_leaves), t)
    elif state.placement_ps <= t:
        place_waiting(params, state, t)
    elif state.next_scan_ps <= t:
        on_scan(params, state, t)


@jit_call
def first_due(state, t):
    """The transfer with the lowest number of those that end at t; −1 where the one that was to end has been stopped at t,
    by a process of a user's.
    """
    first = -1
    u = state.first_moving
    while u >= 0:
        if state.transfer[u].due_ps <= t and (first < 0 or u < first):
            first = u
        u = state.transfer[u].next
    return first


@jit_call
def end_transfer(params, state, number, t):
    """The last byte of a transfer comes at t: its replica's start goes on, and those that waited for the same bytes."""
    stop_transfer(params, state, number, t)
    transfer = state.transfer[number]
    transfer.end_ps = t
    count_moved(params, state, number, transfer.source_bytes)
    go_on_with_replica(params, state, transfer.replica)
    other = end_fetch(params, state, number, t) if transfer.fetches > 0 else -1
    continue_cold_start(params, state, transfer.replica, t)
    while other >= 0:
        go_on_with_replica(params, state, state.transfer[other].replica)
        after = end_joined(params, state, other, number, t)
        continue_cold_start(params, state, state.transfer[other].replica, t)
        other = after
