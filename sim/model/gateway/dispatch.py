"""From the gateway to a replica: which one a request goes to, and what happens when it gets there."""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.batch_queues import insert_waiting, push_waiting
from sim.model.record.latency_attribution import queued_from
from sim.model.replica.engine import on_enqueued
from sim.model.router.choose import choose_fitting, choose_replica, refresh_load
from sim.model.router.fitting import has_pool_list
from sim.model.tables.codes import PRIORITY, SEQ_WAITING
from sim.units import NEVER


@jit
def enqueue(params, state, g, r, s, t):
    """Hand a request to replica r."""
    replica = state.replica[r]
    pool = replica.pool
    slot = state.slot[s]
    slot.routed_ps = t
    slot.replica = r
    slot.state = SEQ_WAITING
    queued_from(params, state, pool, slot, t)
    state.pool[pool].routed += 1
    if params.pool[pool].scheduling == PRIORITY:
        insert_waiting(params, state, replica, s)
    else:
        push_waiting(state, replica, s)
    on_enqueued(params, state, r, s, t)
    refresh_load(params, state, g, r)


@jit_call
def enqueue_rarely(params, state, g, r, s, t):
    """`enqueue` as a call, for callers that are rare."""
    enqueue(params, state, g, r, s, t)


@jit
def find_replica(params, state, route, fitting):
    """A replica for an attempt at a request that fits `fitting` pools of its served model, or −1."""
    g = route.served_model
    if state.served_model[g].n_ready == 0:
        return -1
    is_split = state.served_model[g].n_split > 0
    if (
        fitting == params.served_model[g].n_pool
        and not is_split
        and not has_pool_list(params, g, route.request)
    ):
        return choose_replica(params, state, route)
    return choose_fitting(params, state, route, NEVER)
