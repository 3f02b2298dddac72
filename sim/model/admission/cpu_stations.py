"""Work on CPUs before and after the GPU: tokenising, decoding images, retrieval, checks of what goes in or out.

A station has workers and one queue, first come first served; a class lists the stations that it visits and how long
each visit takes. Work in a queue is done even if its client has gone, so its end is known on entry.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.histogram import add_wide, finished, take_wide
from sim.model.record.request_record import hash_of
from sim.model.tables.sample import STATION_SAMPLE_SIZE
from sim.model.tables.traffic import Visit, VisitHead

VISIT_HEAD = VisitHead.SIZE  # int64s before the visits: how many before the GPU, how many after
VISIT_SIZE = Visit.SIZE


@jit
def n_before(params, k):
    """How many stations a class visits before the GPU."""
    return VisitHead(params, params.klass[k].visits_at).n_before


@jit
def n_after(params, k):
    """How many stations a class visits after the GPU."""
    return VisitHead(params, params.klass[k].visits_at).n_after


@jit
def visit_of(params, k, number):
    """A class's visit of that number, those before the GPU first."""
    return Visit(params, params.klass[k].visits_at + VISIT_HEAD + number * VISIT_SIZE)


@jit_call
def enter_station(params, state, s, number, t):
    """The attempt in slot s joins the queue of the station of its class's visit of that number at t."""
    slot = state.slot[s]
    visit = visit_of(params, slot.traffic_class, number)
    work = work_ps(slot, visit)
    soonest = next_worker(params, state, visit.station)
    begins = max(t, state.worker[soonest])
    state.worker[soonest] = begins + work
    station = state.station[visit.station]
    add_wide(station.busy_ps, work)
    add_wide(station.wait_ps, begins - t)
    station.visits += 1
    if begins > t:
        join_line(params, state, visit.station, begins)
    slot.visit = number
    slot.visit_ps = begins + work


@jit
def work_ps(slot, visit):
    """How long a visit keeps a worker busy with the request in a slot."""
    return visit.base_ps + visit.prompt_ps * slot.prompt + visit.output_ps * slot.output


@jit
def next_worker(params, state, station):
    """The worker of a station that is free first."""
    workers = params.station[station]
    soonest = workers.first_worker
    for worker in range(workers.first_worker, workers.first_worker + workers.n_worker):
        if state.worker[worker] < state.worker[soonest]:
            soonest = worker
    return soonest


# ---- samples ----------------------------------------------------------------------
@jit
def join_line(params, state, station, begins):
    """A visit waits until `begins`: count it in the queue; the first sample from then on takes it out again.

    So the beginning of work is no event, and the length of the queue is right whichever clients have gone.
    """
    if params.sample_ps == 0:
        return
    state.station[station].in_line += 1
    row = (begins - 1) // params.sample_ps + 1
    if row < params.n_sample:
        state.station_sample[row * params.n_station + station].begun += 1


@jit_call
def sample_stations(params, state, t):
    """Write a row for each station at a sample's instant t and fold it into the digest."""
    for number in range(params.n_station):
        row = state.station_sample[t // params.sample_ps * params.n_station + number]
        station = state.station[number]
        workers = params.station[number]
        row.time_ps = t
        row.station = number
        row.done_ps[0] = station.busy_ps[0]
        row.done_ps[1] = station.busy_ps[1]
        for worker in range(workers.first_worker, workers.first_worker + workers.n_worker):
            if state.worker[worker] > t:  # it works without a pause until then
                row.busy_workers += 1
                take_wide(row.done_ps, state.worker[worker] - t)
        station.in_line -= row.begun
        row.in_line = station.in_line
        row.wait_ps = max(0, state.worker[next_worker(params, state, number)] - t)
        row.visits = station.visits
        state.digest += finished(hash_of(row.words, STATION_SAMPLE_SIZE))
