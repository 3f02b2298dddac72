"""What the gateway holds: requests that no replica may take yet, and in which order they go when one may.

The gateway holds requests in queues: one for each served model, or one for each tenant where tenants share fairly. Fair
shares follow the virtual token counter of Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024: the
gateway serves the queue whose tenant has been served the fewest weighted tokens, and a tenant that was idle gets no
credit for it.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.admission.tenant_shares import charge_tenant, queue_of
from sim.model.base.batch_queues import comes_before
from sim.model.base.linked_list import link, unlink
from sim.model.base.min_tree import tree_first_key
from sim.model.gateway.dispatch import enqueue_rarely, find_replica
from sim.model.record.latency_attribution import held_until
from sim.model.router.choose import (
    LEAST_OUTSTANDING,
    ask,
    choose_fitting,
    choose_replica,
)
from sim.model.router.fitting import has_pool_list, n_fitting_pools
from sim.model.tables.codes import HOLD_FAIR, HOLD_PRIORITY, SEQ_HELD
from sim.model.tables.served_model import PLACE_BITS
from sim.units import NEVER


# ---- who may take one ----------------------------------------------------------------------
@jit
def has_room(params, state, g):
    """Whether any ready replica of a served model may take another request."""
    if state.served_model[g].n_ready == 0:
        return False
    model = params.served_model[g]
    most = model.outstanding_max
    return most == NEVER or tree_first_key(state.load[model.load_at :]) >> PLACE_BITS < most


@jit
def find_room(params, state, route, fitting):
    """A replica that may take an attempt at a request now, or −1; the request fits `fitting` pools."""
    g = route.served_model
    model = params.served_model[g]
    most = model.outstanding_max
    if most != NEVER and not has_room(params, state, g):
        return -1
    if most == NEVER:
        return find_replica(params, state, route, fitting)
    listed = has_pool_list(params, g, route.request) or state.served_model[g].n_split > 0
    if model.router == LEAST_OUTSTANDING and fitting == model.n_pool and not listed:
        return choose_replica(params, state, route)  # which holds the least, so it has room if any has
    return choose_fitting(params, state, route, most)


@jit
def release_if_room(params, state, g, t):
    """A replica of a served model has come to hold less: at t the gateway looks whether it may take what is held."""
    capped = params.served_model[g].outstanding_max != NEVER
    if capped and state.served_model[g].held > 0:
        state.release_ps = min(state.release_ps, t)
        state.next_input_ps = min(state.next_input_ps, t)


# ---- queues ----------------------------------------------------------------------
@jit_call
def hold(params, state, g, s):
    """Keep a request at the gateway until a replica may take it."""
    queue = queue_of(params, state, g, s)
    slot = state.slot[s]
    if queue.n == 0:
        queue.head = -1
        queue.tail = -1
        if params.served_model[g].hold_order == HOLD_FAIR:
            catch_up(params, state, g, queue)
    before = queue.tail
    if params.served_model[g].hold_order == HOLD_PRIORITY:
        while before >= 0 and comes_before(params, state, s, before):
            before = state.slot[before].prev
    after = queue.head if before < 0 else state.slot[before].next
    slot.state = SEQ_HELD
    link(state.slot, before, s, after)
    if before < 0:
        queue.head = s
    if after < 0:
        queue.tail = s
    queue.n += 1
    state.served_model[g].held += 1


@jit_call
def drop_held(params, state, g, s):
    """Take a request out of those that the gateway holds; the others keep their order."""
    queue = queue_of(params, state, g, s)
    slot = state.slot[s]
    unlink(state.slot, s)
    if slot.prev < 0:
        queue.head = slot.next
    if slot.next < 0:
        queue.tail = slot.prev
    queue.n -= 1
    state.served_model[g].held -= 1


# ---- fair shares ----------------------------------------------------------------------
@jit_call
def catch_up(params, state, g, queue):
    """A tenant whose queue was empty waits again: raise its virtual tokens to those of the least served that waits."""
    least = -1
    for number in range(params.n_queue):
        other = state.queue[g * params.n_queue + number]
        if other.n > 0 and (least < 0 or other.virtual_tokens < least):
            least = other.virtual_tokens
    queue.virtual_tokens = max(queue.virtual_tokens, least)


@jit_call
def next_queue(params, state, g):
    """The gateway queue whose turn it is: the least served that this release has not found blocked; or −1."""
    best = -1
    least = 0
    for number in range(g * params.n_queue, (g + 1) * params.n_queue):
        queue = state.queue[number]
        waits = queue.n > 0 and queue.blocked_at != state.n_release
        if waits and (best < 0 or queue.virtual_tokens < least):
            best = number
            least = queue.virtual_tokens
    return best


# ---- release ----------------------------------------------------------------------
@jit_call
def release_from(params, state, g, number, most, t):
    """Route up to `most` of a gateway queue, in order; what no replica may take stays. Returns how many went."""
    went = 0
    s = state.queue[number].head
    while s >= 0 and went < most and has_room(params, state, g):
        after = state.slot[s].next
        attempt = state.slot[s].attempt - 1 if params.has_attempts == 1 else 0
        i = state.slot[s].request
        r = find_room(params, state, ask(state, g, i, attempt, t), n_fitting_pools(params, g, i))
        if r >= 0:
            drop_held(params, state, g, s)
            held_until(state, g, s, t)
            charge_tenant(params, state, g, s, state.slot[s].prompt)
            enqueue_rarely(params, state, g, r, s, t)
            went += 1
        s = after
    return went


@jit_call
def release(params, state, t):
    """Replicas have become ready, or hold less: route what is held as far as they may take it."""
    state.release_ps = NEVER
    state.n_release += 1
    for g in range(params.n_served_model):
        fair = params.served_model[g].hold_order == HOLD_FAIR
        while state.served_model[g].held > 0 and has_room(params, state, g):
            number = next_queue(params, state, g)
            if number < 0:
                break
            if release_from(params, state, g, number, 1 if fair else NEVER, t) == 0 or not fair:
                state.queue[number].blocked_at = state.n_release
