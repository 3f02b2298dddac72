"""What is read of a run at an instant: scrapes for the autoscalers, samples for the time series.

Reading changes nothing: a replica in the middle of a jump is seen as after its last boundary before that instant.
"""

from __future__ import annotations

from sim.compile.jit import jit_call
from sim.model.admission.cpu_stations import sample_stations
from sim.model.base.histogram import finished
from sim.model.base.words import clear_row
from sim.model.record.request_record import hash_of
from sim.model.replica.jump import blocks_cached, blocks_used
from sim.model.tables.codes import (
    LAST,
    MAX,
    SRC_ARRIVAL_RATE,
    SRC_BACKLOG,
    SRC_KV_USE,
    SRC_RUNNING,
    SRC_WAITING,
    STAGE_GONE,
    STAGE_READY,
)
from sim.model.tables.sample import POOL_SAMPLE_SIZE
from sim.model.telemetry.cluster_log import sample_groups
from sim.model.telemetry.link_samples import sample_links
from sim.model.telemetry.marks import sample_work
from sim.model.telemetry.quota_log import sample_quotas
from sim.model.telemetry.replica_time import settle_areas


# ---- signals ----------------------------------------------------------------------
@jit_call
def replica_milli(params, state, r, source, t):
    """What one ready replica reports, in thousandths."""
    replica = state.replica[r]
    if source == SRC_WAITING or source == SRC_BACKLOG:
        return 1000 * replica.n_wait
    if source == SRC_RUNNING:
        return 1000 * replica.n_run
    if source == SRC_KV_USE:
        blocks = params.pool[replica.pool].n_blocks
        return 1000 * blocks_used(params, state, r, blocks, t) // blocks
    return 1000 * (replica.n_wait + replica.n_run)


@jit_call
def arrivals_milli(params, state, signal_id):
    """Requests per second, in thousandths, that arrived for a signal's model since its last scrape."""
    signal = params.signal[signal_id]
    arrivals = state.served_model[params.pool[signal.pool].served_model].arrivals
    new = arrivals - state.signal[signal_id].last_arrivals
    state.signal[signal_id].last_arrivals = arrivals
    return new * 1_000_000_000 // (signal.scrape_ps // 1_000_000)


@jit_call
def replicas_milli(params, state, pool_id, source, t):
    """The sum over a pool's ready replicas, in thousandths; of the backlog also what the gateway holds."""
    pool = params.pool[pool_id]
    value = 1000 * state.served_model[pool.served_model].held if source == SRC_BACKLOG else 0
    first = pool.first_replica
    for r in range(first, first + pool.n_replica):
        if state.replica[r].stage == STAGE_READY:
            value += replica_milli(params, state, r, source, t)
    return value


@jit_call
def scrape(params, state, signal_id, t):
    """Take a sample of a signal."""
    signal = params.signal[signal_id]
    signal_state = state.signal[signal_id]
    found = state.signal_sample[signal.first_sample + signal_state.n_scraped % signal.n_sample]
    found.time_ps = t
    if signal.source == SRC_ARRIVAL_RATE:
        found.value_milli = arrivals_milli(params, state, signal_id)
    else:
        found.value_milli = replicas_milli(params, state, signal.pool, signal.source, t)
    signal_state.n_scraped += 1
    signal_state.next_scrape_ps = t + signal.scrape_ps


@jit_call
def signal_milli(params, state, signal_id, t):
    """What a controller sees of a signal at t: the mean, the largest or the last of the samples in its window, or the
    last one before the lag. −1 when there is none yet.
    """
    signal = params.signal[signal_id]
    until = t - signal.lag_ps
    since = until - signal.window_ps
    sees_last = signal.window_ps == 0 or signal.aggregation == LAST
    n = state.signal[signal_id].n_scraped
    oldest = max(n - signal.n_sample, 0)
    total = 0
    highest = -1
    count = 0
    j = n - 1
    while j >= oldest:
        found = state.signal_sample[signal.first_sample + j % signal.n_sample]
        if found.time_ps <= until:
            if count > 0 and (sees_last or found.time_ps <= since):
                break
            total += found.value_milli
            highest = max(highest, found.value_milli)
            count += 1
        j -= 1
    if count == 0 or signal.aggregation == MAX:
        return highest
    return total // count


# ---- samples ----------------------------------------------------------------------
@jit_call
def sample(params, state, t):
    """Write one row of the time series per pool and station and fold it into the digest.

    The sample that closes a run between two others has no rows of stations: which visits began since is not known.
    """
    n_pool = params.n_pool
    number = state.n_sample
    state.n_sample = number + 1
    for pool in range(n_pool):
        row = state.sample[number * n_pool + pool]
        sample_pool(params, state, pool, row, t)
        state.digest += finished(hash_of(row.words, POOL_SAMPLE_SIZE))
        sample_work(params, state, pool, state.work_sample[number * n_pool + pool], t)
    sample_groups(params, state, number, t)
    if params.n_link > 0:
        sample_links(params, state, number, t)
    sample_quotas(params, state, number, t)
    if params.n_station > 0 and t % params.sample_ps == 0:
        sample_stations(params, state, t)


@jit_call
def sample_pool(params, state, pool_id, row, t):
    """Fill one row of the time series."""
    pool = params.pool[pool_id]
    pool_state = state.pool[pool_id]
    model_state = state.served_model[pool.served_model]
    settle_areas(state, pool_id, t)
    clear_row(row.words, POOL_SAMPLE_SIZE)
    row.time_ps = t
    row.pool = pool_id
    row.wanted = pool_state.wanted
    first = pool.first_replica
    for r in range(first, first + pool.n_replica):
        sample_replica(params, state, r, row, t)
    row.held = model_state.held
    row.arrivals = model_state.arrivals
    row.retries = model_state.retries
    row.routed = pool_state.routed
    row.completed = pool_state.completed
    row.preempted = pool_state.preempted
    row.billed_ps[0] = pool_state.billed_ps[0]
    row.billed_ps[1] = pool_state.billed_ps[1]
    row.asked_tokens = pool_state.asked_tokens
    row.cached_tokens = pool_state.cached_tokens


@jit_call
def sample_replica(params, state, r, row, t):
    """Add one replica to its pool's row."""
    replica = state.replica[r]
    stage = replica.stage
    if stage == STAGE_GONE:
        return
    row.by_stage[stage - 1] += 1
    if stage >= STAGE_READY:
        blocks = params.pool[replica.pool].n_blocks
        row.waiting += replica.n_wait
        row.running += replica.n_run
        row.used_blocks += blocks_used(params, state, r, blocks, t)
        row.n_blocks += blocks
        if replica.prefix_at > 0:
            row.cached_blocks += blocks_cached(params, state, r, blocks, t)
