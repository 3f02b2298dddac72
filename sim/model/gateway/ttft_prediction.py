"""The predicted time to first token of an attempt, from what a gateway can ask of its stations and replicas.

The prediction adds up: the stations of its class with the queues that are there now; the requests that wait for a
replica, each as long as the last completions were apart; its own prompt on an idle replica, less what some ready replica
has cached. Later arrivals are unknown, so the prediction is exact where no other request is in the way.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.admission.cpu_stations import n_before, next_worker, visit_of, work_ps
from sim.model.base.step_time import prompt_step_ps
from sim.model.request.in_flight import class_of
from sim.model.router.fitting import fits, has_pool_list, may_serve
from sim.model.router.prefix_aware import cached_tokens
from sim.units import NEVER


@jit_call
def predicts_late_ttft(params, state, s, g, t):
    """Whether the attempt in slot s, taken at t, would have its first token later than its class allows.

    Caches are searched only where the whole prompt would take too long: cached tokens never make a prompt longer.
    """
    slot = state.slot[s]
    klass = params.klass[slot.traffic_class]
    spare = klass.ttft_max_ps - stations_ps(params, state, s, t)
    waiting = n_waiting(params, state, g)
    gap = state.served_model[g].done_gap_ps
    if spare < 0 or (waiting > 0 and gap > spare // waiting):
        return True
    spare -= waiting * gap
    pool = first_pool(params, g, slot.request)
    if prompt_ps(params, pool, slot.prompt, 0) <= spare:
        return False
    return cached_prompt_ps(params, state, g, slot.request, slot.prompt, t) > spare


@jit
def n_waiting(params, state, g):
    """Requests that the gateway holds for served model g, and those that wait at its ready replicas."""
    waiting = state.served_model[g].held
    ready = state.ready[params.served_model[g].first_replica :]
    for j in range(state.served_model[g].n_ready):
        waiting += state.replica[ready[j]].n_wait
    return waiting


@jit
def stations_ps(params, state, s, t):
    """How long the attempt in slot s takes from t on until it is past the stations before the GPU, if no other comes."""
    slot = state.slot[s]
    at = t
    for number in range(n_before(params, slot.traffic_class)):
        visit = visit_of(params, slot.traffic_class, number)
        free = state.worker[next_worker(params, state, visit.station)]
        at = max(at, free) + work_ps(slot, visit)
    return at - t


@jit
def first_pool(params, g, i):
    """The first pool that may serve request i, of its class's list or of served model g; it fits one of them."""
    at = params.served_model[g].first_pool
    if has_pool_list(params, g, i):
        klass = params.klass[class_of(params, i)]
        for j in range(klass.n_pool):
            if fits(params, params.m[klass.pools_at + j], i):
                return params.m[klass.pools_at + j]
    while not fits(params, at, i):
        at += 1
    return at


@jit
def prompt_ps(params, pool_id, prompt, done):
    """How long a prompt of which `done` tokens are computed takes alone on an idle replica of the pool."""
    pool = params.pool[pool_id]
    spent = 0
    while done < prompt:
        chunk = min(prompt - done, pool.max_num_batched_tokens)
        spent += prompt_step_ps(params, pool, 0, 0, chunk, chunk * (2 * done + chunk))
        done += chunk
    return spent


@jit
def cached_prompt_ps(params, state, g, i, prompt, t):
    """`prompt_ps` of request i on the first ready replica that has most of it cached; NEVER where none has any of it."""
    ready = state.ready[params.served_model[g].first_replica :]
    longest = 0
    best = -1
    for j in range(state.served_model[g].n_ready):
        pool = state.replica[ready[j]].pool
        found = cached_tokens(params, state, ready[j], i, t) if may_serve(params, pool, i) else 0
        if found > longest:
            longest = found
            best = pool
    return prompt_ps(params, best, prompt, longest) if longest > 0 else NEVER
