"""Work on CPUs before and after the GPU: tokenising, decoding images, retrieval, checks of what goes in or out.

A station has so many workers and one line, first come first served; a class lists the stations it visits and how long
each takes. Once in line, work is done even if its client has gone: when it will be done is known on entry.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.layout import (
    D_BUSY,
    D_JOBS,
    D_SIZE,
    D_WAIT,
    F_CLASS,
    F_OUTPUT,
    F_PROMPT,
    F_SIZE,
    F_STEP,
    F_STEP_PS,
    K_SIZE,
    K_VISITS,
    P_STATIONS,
    VISIT_BASE_PS,
    VISIT_OUTPUT_PS,
    VISIT_PROMPT_PS,
    VISIT_SIZE,
    VISIT_STATION,
    WORK_FIRST,
    WORK_N,
    WORK_SIZE,
)
from sim.model.metrics import add_wide

VISIT_HEAD = 2  # words before the visits: how many before the GPU, how many after


@jit
def n_before(p, k):
    """How many stations a class visits before the GPU."""
    return p.m[p.m[p.klass + k * K_SIZE + K_VISITS]]


@jit
def n_after(p, k):
    """How many stations a class visits after the GPU."""
    return p.m[p.m[p.klass + k * K_SIZE + K_VISITS] + 1]


@jit_call
def enter_station(p, st, s, step, t):
    """The attempt in slot s joins the line of the step-th station of its class at t."""
    so = st.slot + s * F_SIZE
    k = st.m[so + F_CLASS]
    vo = p.m[p.klass + k * K_SIZE + K_VISITS] + VISIT_HEAD + step * VISIT_SIZE
    wo = p.m[P_STATIONS] + p.m[vo + VISIT_STATION] * WORK_SIZE
    work = (
        p.m[vo + VISIT_BASE_PS]
        + p.m[vo + VISIT_PROMPT_PS] * st.m[so + F_PROMPT]
        + p.m[vo + VISIT_OUTPUT_PS] * st.m[so + F_OUTPUT]
    )
    first = st.worker + p.m[wo + WORK_FIRST]
    soonest = first
    for worker in range(first, first + p.m[wo + WORK_N]):
        if st.m[worker] < st.m[soonest]:
            soonest = worker
    begins = max(t, st.m[soonest])
    done = begins + work
    st.m[soonest] = done
    do = st.station + p.m[vo + VISIT_STATION] * D_SIZE
    add_wide(st.m, do + D_BUSY, work)
    add_wide(st.m, do + D_WAIT, begins - t)
    st.m[do + D_JOBS] += 1
    st.m[so + F_STEP] = step
    st.m[so + F_STEP_PS] = done
