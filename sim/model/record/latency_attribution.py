"""What each request's time was spent on, read off clocks, so that every part costs O(1) a request.

Four clocks run while something costs time: a served model's while it has no ready replica, a pool's while replicas of it
are starting, a replica's while it computes prompt chunks (Replica.prefill_ps), and the simulated time. A request reads a
clock when a part of its life begins and again when it ends. The slot keeps the parts that nothing else tells; the rest
follows from the request's instants (`sim.engine.blame`). Where no records are kept, no request reads a clock.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.step_time import prompt_step_ps
from sim.model.tables.slot import (
    SPENT_COLD_HELD,
    SPENT_COLD_QUEUE,
    SPENT_CPU_AFTER,
    SPENT_CPU_BEFORE,
    SPENT_INTERFERED,
    SPENT_NEIGHBOUR,
    SPENT_NEIGHBOUR_FIRST,
    SPENT_PREEMPTED,
    SPENT_PREEMPTED_FIRST,
    SPENT_PREFILL,
    SPENT_WITHHELD,
)


# ---- before it is scheduled ----------------------------------------------------------------------
@jit_call
def on_first_ready(state, g, t):
    """A replica of a served model becomes ready at t."""
    model_state = state.served_model[g]
    if model_state.n_ready == 0:
        model_state.closed_ps += t - model_state.closed_since_ps


@jit_call
def on_last_ready_gone(state, g, t):
    """A replica of a served model has left its ready list at t."""
    model_state = state.served_model[g]
    if model_state.n_ready == 0:
        model_state.closed_since_ps = t


@jit_call
def closed_ps(state, g, t):
    """How long a served model had no ready replica, up to t."""
    model_state = state.served_model[g]
    if model_state.n_ready > 0:
        return model_state.closed_ps
    return model_state.closed_ps + t - model_state.closed_since_ps


@jit
def starting_ps(state, pool, t):
    """How long some replica of a pool was starting, up to t."""
    pool_state = state.pool[pool]
    if pool_state.n_starting == 0:
        return pool_state.starting_ps
    return pool_state.starting_ps + t - pool_state.area_ps


@jit
def clear_spent(params, slot):
    """A request takes its slot: nothing has cost it time yet."""
    if params.keeps_records == 1:
        slot.lost_tokens = 0
        slot.cold_held_ps = 0
        slot.cold_queue_ps = 0
        slot.prefill_ps = 0
        slot.preempted_first_ps = 0
        slot.preempted_ps = 0
        slot.interfered_ps = 0
        slot.cpu_before_ps = 0
        slot.cpu_after_ps = 0
        slot.withheld_ps = 0


@jit_call
def clear_neighbour(state, s):
    """Slot s is taken for an attempt: no neighbour on a shared GPU has cost it time yet."""
    state.neighbour[s].first_ps = 0
    state.neighbour[s].after_ps = 0


@jit_call
def held_from(state, g, s, t):
    """The gateway begins to hold a request at t."""
    state.slot[s].clock_ps = closed_ps(state, g, t)


@jit_call
def held_until(state, g, s, t):
    """The gateway releases a request at t."""
    slot = state.slot[s]
    slot.cold_held_ps = closed_ps(state, g, t) - slot.clock_ps


@jit
def queued_from(params, state, pool, slot, t):
    """A request joins the queue of a replica of a pool at t."""
    if params.keeps_records == 1:
        slot.clock_ps = starting_ps(state, pool, t)


@jit
def queued_until(params, state, pool, slot, t):
    """A request takes part in a step for the first time at t."""
    if params.keeps_records == 1:
        slot.cold_queue_ps = starting_ps(state, pool, t) - slot.clock_ps


# ---- in the batch ----------------------------------------------------------------------
@jit
def decodes_from(params, replica, slot):
    """A sequence joins the decode set."""
    if params.keeps_records == 1:
        slot.clock_ps = replica.prefill_ps


@jit
def decodes_until(params, replica, slot):
    """A sequence leaves the decode set: prompt chunks in its steps were interference."""
    if params.keeps_records == 1:
        slot.interfered_ps += replica.prefill_ps - slot.clock_ps


@jit
def attribute_chunk(params, state, replica, s, computed, chunk, t):
    """A step that computed a chunk of the sequence in slot s, on top of `computed` tokens, ends at t."""
    slot = state.slot[s]
    if slot.lost_tokens > 0:
        catch_up(state, slot, computed + chunk, t)
    elif slot.generated > 0:
        # it was passed over since its last token, or had just caught up
        slot.interfered_ps += t - slot.since_ps - replica.jump_decode_ps
        if replica.jump_lost_ps > 0:
            lose_to_neighbours(state, s, replica.jump_lost_ps)
    else:
        pool = params.pool[replica.pool]
        alone = prompt_step_ps(params, pool, 0, 0, chunk, chunk * (2 * computed + chunk))
        span = t - replica.jump_ps - replica.jump_lost_ps
        slot.prefill_ps += alone if alone < span else span
        if replica.jump_lost_ps > 0:
            lose_to_neighbours(state, s, replica.jump_lost_ps)


@jit_call
def lose_to_neighbours(state, s, lost_ps):
    """Neighbours on a shared GPU made a step longer that computed a chunk of the sequence in slot s."""
    if state.slot[s].generated > 0:
        state.neighbour[s].after_ps += lost_ps
    else:
        state.neighbour[s].first_ps += lost_ps


@jit_call
def lose_tokens(slot, t):
    """A sequence is preempted at t; its computed tokens have not been taken away yet."""
    if slot.lost_tokens > 0:
        return  # it had not caught up since the last time
    if slot.generated > 0:
        slot.interfered_ps += t - slot.since_ps  # passed over until now
    slot.lost_tokens = max(1, slot.computed)
    slot.since_ps = t


@jit_call
def catch_up(state, slot, computed, t):
    """A preempted sequence has `computed` tokens again at t: its preemption is over if that is all it had."""
    if computed < slot.lost_tokens:
        return
    if slot.generated > 0:
        slot.preempted_ps += t - slot.since_ps
    else:
        slot.preempted_first_ps += t - slot.since_ps
    slot.lost_tokens = 0
    slot.since_ps = t


# ---- the end ----------------------------------------------------------------------
@jit
def keep_part(params, state, part, i, spent_ps):
    """Keep one part of the time of request i where there is any: untouched memory costs nothing."""
    if spent_ps != 0:
        state.spent[part * params.n_request + i] = spent_ps


@jit_call
def keep_neighbours_part(params, state, i, s):
    """Keep what neighbours on a shared GPU took from request i, which is in slot s."""
    keep_part(params, state, SPENT_NEIGHBOUR_FIRST, i, state.neighbour[s].first_ps)
    keep_part(params, state, SPENT_NEIGHBOUR, i, state.neighbour[s].after_ps)


@jit
def write_spent(params, state, i, s):
    """Keep the parts of request i, which is in slot s; the caller has made sure that there are records."""
    slot = state.slot[s]
    keep_part(params, state, SPENT_COLD_HELD, i, slot.cold_held_ps)
    keep_part(params, state, SPENT_COLD_QUEUE, i, slot.cold_queue_ps)
    keep_part(params, state, SPENT_PREFILL, i, slot.prefill_ps)
    keep_part(params, state, SPENT_PREEMPTED_FIRST, i, slot.preempted_first_ps)
    keep_part(params, state, SPENT_PREEMPTED, i, slot.preempted_ps)
    keep_part(params, state, SPENT_INTERFERED, i, slot.interfered_ps)
    keep_part(params, state, SPENT_CPU_BEFORE, i, slot.cpu_before_ps)
    keep_part(params, state, SPENT_CPU_AFTER, i, slot.cpu_after_ps)
    keep_part(params, state, SPENT_WITHHELD, i, slot.withheld_ps)
    if params.n_gpu_share > 0:
        keep_neighbours_part(params, state, i, s)
