"""What the gateway allows: rates and concurrency of a class and its tenant, load shedding, retry budgets.

A token bucket is a credit in picoseconds: it grows with the clock up to its size, and a request or a token takes one
period from it. Credits are integers, so engines cannot differ, however often they bring a bucket up to date.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.tables.codes import CONCURRENCY, NO_REASON, OVER_LIMIT, QUEUE_TIME, RATE_LIMITED, SHED
from sim.units import NEVER

RETRY_MILLI = 1000  # what a retry takes from its budget
SMOOTHING_BITS = 4  # the time between completions is smoothed over about 2⁴ of them


@jit_call
def fill_limits(params, state):
    """Fill every bucket and every retry budget at time 0."""
    n_class = params.n_class
    for row in range(n_class + params.n_tenant):
        limit = params.limit[row]
        limit_state = state.limit[row]
        limit_state.request_ps = limit.request_cap_ps
        limit_state.token_ps = limit.token_cap_ps
        if row < n_class and params.klass[row].budget_burst_milli != NEVER:
            limit_state.budget_milli = params.klass[row].budget_burst_milli


# ---- rates and concurrency ----------------------------------------------------------------------
@jit
def refill(params, state, row, t):
    """Bring a row's buckets up to t."""
    limit = params.limit[row]
    limit_state = state.limit[row]
    dt = t - limit_state.last_ps
    limit_state.last_ps = t
    limit_state.request_ps = min(limit.request_cap_ps, limit_state.request_ps + dt)
    limit_state.token_ps = min(limit.token_cap_ps, limit_state.token_ps + dt)


@jit
def limit_reason(params, state, row, tokens, t):
    """Why a class's or tenant's limits refuse an attempt of so many tokens at t, or NO_REASON."""
    refill(params, state, row, t)
    limit = params.limit[row]
    limit_state = state.limit[row]
    if limit_state.in_flight >= limit.concurrent_max:
        return CONCURRENCY
    lacks_request = limit.request_ps > 0 and limit_state.request_ps < limit.request_ps
    lacks_tokens = limit.token_ps > 0 and limit_state.token_ps < tokens * limit.token_ps
    return RATE_LIMITED if lacks_request or lacks_tokens else NO_REASON


@jit
def charge(params, state, row, tokens):
    """An attempt passes a row's limits: it takes its credits and counts until it ends."""
    limit = params.limit[row]
    limit_state = state.limit[row]
    limit_state.in_flight += 1
    limit_state.request_ps -= limit.request_ps
    limit_state.token_ps -= tokens * limit.token_ps


@jit
def limits_reason(params, state, s, t):
    """Why its limits refuse the attempt in slot s at t, or NO_REASON, in which case they are charged."""
    slot = state.slot[s]
    k = slot.traffic_class
    tenant = params.n_class + params.klass[k].tenant
    tokens = slot.prompt + slot.output
    klass = params.klass[k]
    if slot.prompt > klass.prompt_max or slot.output > klass.output_max:
        return OVER_LIMIT
    most = klass.session_max
    if most != NEVER and session_tokens(params, slot.request) > most:
        return OVER_LIMIT
    reason = limit_reason(params, state, k, tokens, t)
    if reason == NO_REASON:
        reason = limit_reason(params, state, tenant, tokens, t)
    if reason == NO_REASON:
        charge(params, state, k, tokens)
        charge(params, state, tenant, tokens)
        slot.is_counted = 1
    return reason


@jit_call
def session_tokens(params, i):
    """Tokens of a session up to and with request i, 0 outside sessions in closed loop."""
    return params.turn[i].tokens if params.turn_at > 0 else 0


@jit
def end_concurrency(params, state, s):
    """An attempt is over for its client: it no longer counts against its limits."""
    slot = state.slot[s]
    if slot.is_counted == 1:
        k = slot.traffic_class
        tenant = params.n_class + params.klass[k].tenant
        state.limit[k].in_flight -= 1
        state.limit[tenant].in_flight -= 1
        slot.is_counted = 0


# ---- load ----------------------------------------------------------------------
@jit
def load_reason(params, state, k, g):
    """Whether served model g is too busy for an attempt of class k: SHED, QUEUE_TIME or NO_REASON."""
    klass = params.klass[k]
    shed = klass.shed_milli
    wait = klass.max_queue_ps
    if shed == NEVER and wait == NEVER:
        return NO_REASON
    model_state = state.served_model[g]
    ready = model_state.n_ready
    listed = state.ready[params.served_model[g].first_replica :]
    waiting = model_state.held
    running = 0
    for j in range(ready):
        replica = state.replica[listed[j]]
        waiting += replica.n_wait
        running += replica.n_run
    if shed != NEVER and 1000 * (waiting + running) >= shed * max(1, ready):
        return SHED
    if wait != NEVER and waiting > 0 and model_state.done_gap_ps > wait // waiting:
        return QUEUE_TIME
    return NO_REASON


@jit
def note_completion(state, g, t):
    """A request of the served model was answered at t: smooth the time between completions."""
    model_state = state.served_model[g]
    gap = t - model_state.done_ps
    if model_state.n_done == 1:
        model_state.done_gap_ps = gap
    elif model_state.n_done > 1:
        model_state.done_gap_ps += (gap - model_state.done_gap_ps) >> SMOOTHING_BITS
    model_state.n_done += 1
    model_state.done_ps = t


# ---- retry budgets ----------------------------------------------------------------------
@jit
def pay_into_retry_budget(params, state, s):
    """A first attempt pays into its class's retry budget."""
    slot = state.slot[s]
    k = slot.traffic_class
    burst = params.klass[k].budget_burst_milli
    if burst != NEVER and slot.attempt == 1:
        limit_state = state.limit[k]
        limit_state.budget_milli = min(burst, limit_state.budget_milli + params.klass[k].budget_ratio_milli)


@jit
def take_retry_budget(params, state, k):
    """Take a retry out of the class's budget: whether it pays; a class without a budget may always retry."""
    if params.klass[k].budget_burst_milli == NEVER:
        return True
    limit_state = state.limit[k]
    if limit_state.budget_milli < RETRY_MILLI:
        return False
    limit_state.budget_milli -= RETRY_MILLI
    return True
