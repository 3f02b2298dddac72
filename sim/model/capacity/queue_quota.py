"""Quota of workloads in queues: who needs it and has it, what it is of, and what becomes of a queue's sums.

A workload of a pool or job with a queue gets quota of one flavour before it is placed, on nodes of that flavour alone; it
gives it back when it gives its slices back, or waits no longer. All others need none.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.histogram import add_wide
from sim.model.placement.quotas import admit_usage, release_usage, root_of
from sim.model.telemetry.quota_log import settle_quotas


@jit_call
def begin_quotas(params, state):
    """Set up the queues at time 0: nobody has quota."""
    for w in range(params.n_quota_workload):
        state.quota_workload[w].queue = -1
        state.quota_workload[w].taken_ps = -1
    for node in range(params.n_quota_node):
        state.quota_node[node].freed_event = -1


@jit
def place_of(params, state, w):
    """How a workload is placed."""
    return params.pool_place[state.workload[w].place]


@jit
def has_quota(state, w):
    """Whether a workload of a queue has quota."""
    return state.quota_workload[w].queue >= 0


@jit
def may_be_placed(params, state, w):
    """Whether a workload that waits does so for slices alone: it has quota, or needs none."""
    return place_of(params, state, w).queue == 0 or has_quota(state, w)


@jit
def may_use_group(params, state, w, group_id):
    """Whether a workload may have slices of a group: of its flavour, where it needs quota."""
    if place_of(params, state, w).queue == 0:
        return True
    return params.node_group[group_id].flavor == 1 + state.quota_workload[w].flavor


@jit
def alike_of(params, state, w):
    """What is known of all that ask for the same as a workload."""
    first = state.workload[w].place * (1 + params.n_quota_pair)
    flavor = 0
    if place_of(params, state, w).queue > 0:
        flavor = 1 + state.quota_workload[w].flavor
    return state.alike[first + flavor]


@jit_call
def give_quota(params, state, w, flavor, t):
    """A workload that waits gets quota of a flavour."""
    settle_quotas(params, state, t)
    place = place_of(params, state, w)
    workload = state.quota_workload[w]
    workload.queue = place.queue - 1
    workload.flavor = flavor
    workload.priority = place.priority
    workload.created_ps = state.workload[w].since_ps
    workload.reserved_ps = t
    workload.is_evicted = 0
    workload.is_told = 0
    for pair in range(params.n_quota_pair):
        state.workload_usage[w * params.n_quota_pair + pair] = place.quota_units if pair == flavor else 0
    admit_usage(params, state, w)
    of_queue = state.quota_node[workload.queue]
    of_queue.admitted += 1
    waited_ps = t - state.workload[w].since_ps
    add_wide(of_queue.waited_ps, waited_ps)
    of_queue.waited_max_ps = max(of_queue.waited_max_ps, waited_ps)


@jit_call
def give_quota_back(params, state, w, t):
    """A workload gives its quota back, if it has any: others may wait for it."""
    if params.n_quota_node == 0 or not has_quota(state, w):
        return
    settle_quotas(params, state, t)
    release_usage(params, state, w)
    queue = state.quota_workload[w].queue
    state.quota_node[root_of(params, queue)].freed_event = state.workload[w].event
    state.quota_workload[w].queue = -1
    state.quota_workload[w].is_told = 0
