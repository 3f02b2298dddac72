"""Work on CPUs before and after the GPU: tokenising, decoding images, retrieval, checks of what goes in or out.

A station has so many workers and one line, first come first served; a class lists the stations it visits and how long
each takes. Once in line, work is done even if its client has gone: when it will be done is known on entry.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.layout import (
    D_BUSY,
    D_IN_LINE,
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
    P_N_SAMPLE,
    P_N_STATION,
    P_SAMPLE_PS,
    P_STATIONS,
    S_DIGEST,
    TS_BEGUN,
    TS_BUSY,
    TS_DONE_LO,
    TS_IN_LINE,
    TS_SIZE,
    TS_STATION,
    TS_TIME_PS,
    TS_VISITS,
    TS_WAIT_PS,
    VISIT_BASE_PS,
    VISIT_OUTPUT_PS,
    VISIT_PROMPT_PS,
    VISIT_SIZE,
    VISIT_STATION,
    WORK_FIRST,
    WORK_N,
    WORK_SIZE,
)
from sim.model.metrics import add_wide, finished, mixed, take_wide
from sim.model.row import SEED

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
    station = p.m[vo + VISIT_STATION]
    work = work_ps(p, st, s, vo)
    soonest = next_worker(p, st, station)
    begins = max(t, st.m[soonest])
    done = begins + work
    st.m[soonest] = done
    do = st.station + station * D_SIZE
    add_wide(st.m, do + D_BUSY, work)
    add_wide(st.m, do + D_WAIT, begins - t)
    st.m[do + D_JOBS] += 1
    if begins > t:
        stand_in_line(p, st, station, begins)
    st.m[so + F_STEP] = step
    st.m[so + F_STEP_PS] = done


@jit
def work_ps(p, st, s, vo):
    """How long the visit that is described at vo keeps a worker busy with the attempt in slot s."""
    so = st.slot + s * F_SIZE
    return (
        p.m[vo + VISIT_BASE_PS]
        + p.m[vo + VISIT_PROMPT_PS] * st.m[so + F_PROMPT]
        + p.m[vo + VISIT_OUTPUT_PS] * st.m[so + F_OUTPUT]
    )


@jit
def next_worker(p, st, station):
    """Where the worker stands that is free first."""
    wo = p.m[P_STATIONS] + station * WORK_SIZE
    first = st.worker + p.m[wo + WORK_FIRST]
    soonest = first
    for worker in range(first, first + p.m[wo + WORK_N]):
        if st.m[worker] < st.m[soonest]:
            soonest = worker
    return soonest


# ---- samples ----------------------------------------------------------------------
@jit
def stand_in_line(p, st, station, begins):
    """A visit waits until `begins`: the first sample from then on takes it out of the line.

    So nobody has to be told when it begins, and the line is known however long it is and whoever has gone.
    """
    if p.m[P_SAMPLE_PS] == 0:
        return
    st.m[st.station + station * D_SIZE + D_IN_LINE] += 1
    row = (begins - 1) // p.m[P_SAMPLE_PS] + 1
    if row < p.m[P_N_SAMPLE]:
        st.m[st.station_sample + (row * p.m[P_N_STATION] + station) * TS_SIZE + TS_BEGUN] += 1


@jit_call
def sample_stations(p, st, t):
    """Write a row for each station at a sample's instant t and fold it into the digest."""
    for station in range(p.m[P_N_STATION]):
        o = st.station_sample + (t // p.m[P_SAMPLE_PS] * p.m[P_N_STATION] + station) * TS_SIZE
        do = st.station + station * D_SIZE
        wo = p.m[P_STATIONS] + station * WORK_SIZE
        first = st.worker + p.m[wo + WORK_FIRST]
        st.m[o + TS_TIME_PS] = t
        st.m[o + TS_STATION] = station
        st.m[o + TS_DONE_LO] = st.m[do + D_BUSY]
        st.m[o + TS_DONE_LO + 1] = st.m[do + D_BUSY + 1]
        for worker in range(first, first + p.m[wo + WORK_N]):
            if st.m[worker] > t:  # at work without a pause until all it was given is done
                st.m[o + TS_BUSY] += 1
                take_wide(st.m, o + TS_DONE_LO, st.m[worker] - t)
        st.m[do + D_IN_LINE] -= st.m[o + TS_BEGUN]
        st.m[o + TS_IN_LINE] = st.m[do + D_IN_LINE]
        st.m[o + TS_WAIT_PS] = max(0, st.m[next_worker(p, st, station)] - t)
        st.m[o + TS_VISITS] = st.m[do + D_JOBS]
        h = SEED
        for j in range(TS_SIZE):
            h = mixed(h, st.m[o + j])
        st.m[S_DIGEST] += finished(h)
