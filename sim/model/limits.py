"""What the gateway allows: rates and concurrency of a class and its tenant, load shedding, retry budgets.

A bucket is a credit in picoseconds that grows with the clock up to its size; taking from it costs a period a request
or a token. Integers, so that no engine and no order of looking can differ.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.layout import (
    CONCURRENCY,
    F_ATTEMPT,
    F_CLASS,
    F_COUNTED,
    F_OUTPUT,
    F_PROMPT,
    F_REQUEST,
    F_SIZE,
    G_FIRST,
    G_SIZE,
    H_DONE,
    H_DONE_GAP_PS,
    H_DONE_PS,
    H_HELD,
    H_N_READY,
    H_SIZE,
    J_BUDGET,
    J_IN_FLIGHT,
    J_LAST_PS,
    J_REQUEST_PS,
    J_SIZE,
    J_TOKEN_PS,
    K_BUDGET_BURST,
    K_BUDGET_RATIO,
    K_OUTPUT_MAX,
    K_PROMPT_MAX,
    K_SESSION_MAX,
    K_SHED_MILLI,
    K_SIZE,
    K_TENANT,
    K_WAIT_MAX_PS,
    NO_REASON,
    OVER_LIMIT,
    P_LIMITS,
    P_N_CLASS,
    P_N_TENANT,
    P_TURNS,
    QUEUE_TIME,
    R_N_RUN,
    R_N_WAIT,
    R_SIZE,
    RATE_LIMITED,
    SHED,
    TURN_SIZE,
    TURN_TOKENS,
    V_CONCURRENT,
    V_REQUEST_CAP,
    V_REQUEST_PS,
    V_SIZE,
    V_TOKEN_CAP,
    V_TOKEN_PS,
)
from sim.units import NEVER

RETRY_MILLI = 1000  # what a retry takes from its budget
SMOOTHING_BITS = 4  # the time between completions is smoothed over about 2⁴ of them


@jit_call
def fill_limits(p, st):
    """The world at time 0: every bucket and every budget full."""
    n_class = p.m[P_N_CLASS]
    for row in range(n_class + p.m[P_N_TENANT]):
        vo = p.m[P_LIMITS] + row * V_SIZE
        jo = st.limit + row * J_SIZE
        st.m[jo + J_REQUEST_PS] = p.m[vo + V_REQUEST_CAP]
        st.m[jo + J_TOKEN_PS] = p.m[vo + V_TOKEN_CAP]
        if row < n_class and p.m[p.klass + row * K_SIZE + K_BUDGET_BURST] != NEVER:
            st.m[jo + J_BUDGET] = p.m[p.klass + row * K_SIZE + K_BUDGET_BURST]


# ---- rates and concurrency ----------------------------------------------------------------------
@jit
def refill(p, st, row, t):
    """Bring a row's buckets up to t."""
    vo = p.m[P_LIMITS] + row * V_SIZE
    jo = st.limit + row * J_SIZE
    dt = t - st.m[jo + J_LAST_PS]
    st.m[jo + J_LAST_PS] = t
    st.m[jo + J_REQUEST_PS] = min(p.m[vo + V_REQUEST_CAP], st.m[jo + J_REQUEST_PS] + dt)
    st.m[jo + J_TOKEN_PS] = min(p.m[vo + V_TOKEN_CAP], st.m[jo + J_TOKEN_PS] + dt)


@jit
def limit_reason(p, st, row, tokens, t):
    """Why a class's or tenant's limits refuse an attempt of so many tokens at t, or NO_REASON."""
    refill(p, st, row, t)
    vo = p.m[P_LIMITS] + row * V_SIZE
    jo = st.limit + row * J_SIZE
    if st.m[jo + J_IN_FLIGHT] >= p.m[vo + V_CONCURRENT]:
        return CONCURRENCY
    lacks_request = p.m[vo + V_REQUEST_PS] > 0 and st.m[jo + J_REQUEST_PS] < p.m[vo + V_REQUEST_PS]
    lacks_tokens = p.m[vo + V_TOKEN_PS] > 0 and st.m[jo + J_TOKEN_PS] < tokens * p.m[vo + V_TOKEN_PS]
    return RATE_LIMITED if lacks_request or lacks_tokens else NO_REASON


@jit
def charge(p, st, row, tokens):
    """An attempt passes a row's limits: it takes its credits and counts until it ends."""
    vo = p.m[P_LIMITS] + row * V_SIZE
    jo = st.limit + row * J_SIZE
    st.m[jo + J_IN_FLIGHT] += 1
    st.m[jo + J_REQUEST_PS] -= p.m[vo + V_REQUEST_PS]
    st.m[jo + J_TOKEN_PS] -= tokens * p.m[vo + V_TOKEN_PS]


@jit
def limits_reason(p, st, s, t):
    """Why its limits refuse the attempt in slot s at t, or NO_REASON, in which case they are charged."""
    so = st.slot + s * F_SIZE
    k = st.m[so + F_CLASS]
    tenant = p.m[P_N_CLASS] + p.m[p.klass + k * K_SIZE + K_TENANT]
    tokens = st.m[so + F_PROMPT] + st.m[so + F_OUTPUT]
    ko = p.klass + k * K_SIZE
    if st.m[so + F_PROMPT] > p.m[ko + K_PROMPT_MAX] or st.m[so + F_OUTPUT] > p.m[ko + K_OUTPUT_MAX]:
        return OVER_LIMIT
    most = p.m[ko + K_SESSION_MAX]
    if most != NEVER and session_tokens(p, st.m[so + F_REQUEST]) > most:
        return OVER_LIMIT
    reason = limit_reason(p, st, k, tokens, t)
    if reason == NO_REASON:
        reason = limit_reason(p, st, tenant, tokens, t)
    if reason == NO_REASON:
        charge(p, st, k, tokens)
        charge(p, st, tenant, tokens)
        st.m[so + F_COUNTED] = 1
    return reason


@jit_call
def session_tokens(p, i):
    """Tokens of a session up to and with request i, 0 outside sessions in closed loop."""
    return p.trace[p.m[P_TURNS] + i * TURN_SIZE + TURN_TOKENS] if p.m[P_TURNS] > 0 else 0


@jit
def uncount(p, st, s):
    """An attempt is over for its client: it no longer counts against its limits."""
    so = st.slot + s * F_SIZE
    if st.m[so + F_COUNTED] == 1:
        k = st.m[so + F_CLASS]
        tenant = p.m[P_N_CLASS] + p.m[p.klass + k * K_SIZE + K_TENANT]
        st.m[st.limit + k * J_SIZE + J_IN_FLIGHT] -= 1
        st.m[st.limit + tenant * J_SIZE + J_IN_FLIGHT] -= 1
        st.m[so + F_COUNTED] = 0


# ---- load ----------------------------------------------------------------------
@jit
def load_reason(p, st, k, g):
    """Whether group g is too busy for an attempt of class k: SHED, QUEUE_TIME or NO_REASON."""
    ko = p.klass + k * K_SIZE
    shed = p.m[ko + K_SHED_MILLI]
    wait = p.m[ko + K_WAIT_MAX_PS]
    if shed == NEVER and wait == NEVER:
        return NO_REASON
    ho = st.group + g * H_SIZE
    ready = st.m[ho + H_N_READY]
    first = st.ready + p.m[p.group + g * G_SIZE + G_FIRST]
    waiting = st.m[ho + H_HELD]
    running = 0
    for j in range(ready):
        ro = st.rep + st.m[first + j] * R_SIZE
        waiting += st.m[ro + R_N_WAIT]
        running += st.m[ro + R_N_RUN]
    if shed != NEVER and 1000 * (waiting + running) >= shed * max(1, ready):
        return SHED
    if wait != NEVER and waiting > 0 and st.m[ho + H_DONE_GAP_PS] > wait // waiting:
        return QUEUE_TIME
    return NO_REASON


@jit
def note_completion(st, g, t):
    """A request of the group was answered at t: smooth the time between completions."""
    ho = st.group + g * H_SIZE
    gap = t - st.m[ho + H_DONE_PS]
    if st.m[ho + H_DONE] == 1:
        st.m[ho + H_DONE_GAP_PS] = gap
    elif st.m[ho + H_DONE] > 1:
        st.m[ho + H_DONE_GAP_PS] += (gap - st.m[ho + H_DONE_GAP_PS]) >> SMOOTHING_BITS
    st.m[ho + H_DONE] += 1
    st.m[ho + H_DONE_PS] = t


# ---- retry budgets ----------------------------------------------------------------------
@jit
def deposit(p, st, s):
    """A first attempt pays into its class's retry budget."""
    so = st.slot + s * F_SIZE
    k = st.m[so + F_CLASS]
    burst = p.m[p.klass + k * K_SIZE + K_BUDGET_BURST]
    if burst != NEVER and st.m[so + F_ATTEMPT] == 1:
        jo = st.limit + k * J_SIZE
        st.m[jo + J_BUDGET] = min(burst, st.m[jo + J_BUDGET] + p.m[p.klass + k * K_SIZE + K_BUDGET_RATIO])


@jit
def pay_retry(p, st, k):
    """Whether the class's budget pays for a retry; it does where there is none."""
    if p.m[p.klass + k * K_SIZE + K_BUDGET_BURST] == NEVER:
        return True
    jo = st.limit + k * J_SIZE
    if st.m[jo + J_BUDGET] < RETRY_MILLI:
        return False
    st.m[jo + J_BUDGET] -= RETRY_MILLI
    return True
