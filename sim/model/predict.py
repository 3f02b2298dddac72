"""When the first token of an attempt would come, as a gateway can tell that asks its stations and its replicas.

What the attempt has before it: the stations of its class with the lines that are there now, those that wait for a
replica, each as long as the last completions were apart, and its own prompt on an idle replica. Of the prompt, what some
ready replica has cached need not be computed. Nobody who comes later is known, so it is exact where nobody is in the way.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.layout import (
    F_CLASS,
    F_PROMPT,
    F_REQUEST,
    F_SIZE,
    G_FIRST,
    G_FIRST_POOL,
    G_SIZE,
    H_DONE_GAP_PS,
    H_HELD,
    H_N_READY,
    H_SIZE,
    K_N_POOL,
    K_POOLS,
    K_SIZE,
    K_TTFT_MAX_PS,
    K_VISITS,
    L_BUDGET,
    L_SIZE,
    R_N_WAIT,
    R_POOL,
    R_SIZE,
    VISIT_SIZE,
    VISIT_STATION,
)
from sim.model.prefix_aware import cached_tokens
from sim.model.request import class_of
from sim.model.router import fits, is_choosy, may_serve
from sim.model.stations import VISIT_HEAD, n_before, next_worker, work_ps
from sim.model.steps import prompt_step_ps
from sim.units import NEVER


@jit_call
def comes_late(p, st, s, g, t):
    """Whether the attempt in slot s, taken at t, would have its first token later than its class allows.

    Caches are asked only where the whole prompt would take too long: a prompt is never expected to take longer for it.
    """
    so = st.slot + s * F_SIZE
    ko = p.klass + st.m[so + F_CLASS] * K_SIZE
    spare = p.m[ko + K_TTFT_MAX_PS] - stations_ps(p, st, s, t)
    waiting = n_waiting(p, st, g)
    gap = st.m[st.group + g * H_SIZE + H_DONE_GAP_PS]
    if spare < 0 or (waiting > 0 and gap > spare // waiting):
        return True
    spare -= waiting * gap
    pool = first_pool(p, g, st.m[so + F_REQUEST])
    if prompt_ps(p, pool, st.m[so + F_PROMPT], 0) <= spare:
        return False
    return cached_prompt_ps(p, st, g, st.m[so + F_REQUEST], st.m[so + F_PROMPT], t) > spare


@jit
def n_waiting(p, st, g):
    """Requests that group g holds, and those that wait at its ready replicas."""
    waiting = st.m[st.group + g * H_SIZE + H_HELD]
    first = st.ready + p.m[p.group + g * G_SIZE + G_FIRST]
    for j in range(first, first + st.m[st.group + g * H_SIZE + H_N_READY]):
        waiting += st.m[st.rep + st.m[j] * R_SIZE + R_N_WAIT]
    return waiting


@jit
def stations_ps(p, st, s, t):
    """How long the attempt in slot s takes from t on until it is past the stations before the GPU, if nobody else comes."""
    k = st.m[st.slot + s * F_SIZE + F_CLASS]
    at = t
    for step in range(n_before(p, k)):
        vo = p.m[p.klass + k * K_SIZE + K_VISITS] + VISIT_HEAD + step * VISIT_SIZE
        free = st.m[next_worker(p, st, p.m[vo + VISIT_STATION])]
        at = max(at, free) + work_ps(p, st, s, vo)
    return at - t


@jit
def first_pool(p, g, i):
    """The first pool that may serve request i: of its class's list, or of group g; the caller has seen that it fits one."""
    at = p.m[p.group + g * G_SIZE + G_FIRST_POOL]
    if is_choosy(p, g, i):
        k = p.klass + class_of(p, i) * K_SIZE
        for j in range(p.m[k + K_POOLS], p.m[k + K_POOLS] + p.m[k + K_N_POOL]):
            if fits(p, p.m[j], i):
                return p.m[j]
    while not fits(p, at, i):
        at += 1
    return at


@jit
def prompt_ps(p, pool, prompt, done):
    """How long a prompt of which `done` tokens are there already takes alone on an idle replica of the pool."""
    lo = p.pool + pool * L_SIZE
    spent = 0
    while done < prompt:
        chunk = min(prompt - done, p.m[lo + L_BUDGET])
        spent += prompt_step_ps(p, lo, 0, 0, chunk, chunk * (2 * done + chunk))
        done += chunk
    return spent


@jit
def cached_prompt_ps(p, st, g, i, prompt, t):
    """The same of request i on the ready replica that has most of it cached, the first of them; NEVER where none has."""
    first = st.ready + p.m[p.group + g * G_SIZE + G_FIRST]
    longest = 0
    best = -1
    for j in range(first, first + st.m[st.group + g * H_SIZE + H_N_READY]):
        pool = st.m[st.rep + st.m[j] * R_SIZE + R_POOL]
        found = cached_tokens(p, st, st.m[j], i, t) if may_serve(p, pool, i) else 0
        if found > longest:
            longest = found
            best = pool
    return prompt_ps(p, best, prompt, longest) if longest > 0 else NEVER
