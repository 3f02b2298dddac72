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
    SRC_ARRIVAL_RATE,
    SRC_BACKLOG,
    SRC_KV_USE,
    SRC_RUNNING,
    SRC_WAITING,
    STAGE_GONE,
    STAGE_READY,
)
from sim.model.tables.sample import POOL_SAMPLE_SIZE
from sim.model.telemetry.replica_time import settle_areas


# ---- the metrics pipeline ----------------------------------------------------------------------
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
def arrivals_milli(params, state, pool_id):
    """Requests per second, in thousandths, that arrived for a pool's model since the last scrape."""
    pool = params.pool[pool_id]
    arrivals = state.served_model[pool.served_model].arrivals
    new = arrivals - state.pool[pool_id].last_arrivals
    state.pool[pool_id].last_arrivals = arrivals
    return new * 1_000_000_000 // (pool.scrape_ps // 1_000_000)


@jit_call
def scrape(params, state, pool_id, t):
    """Put the sum of a pool's metric over its ready replicas into its metric window."""
    pool = params.pool[pool_id]
    source = pool.metric_source
    value = 0
    if source == SRC_ARRIVAL_RATE:
        value = arrivals_milli(params, state, pool_id)
    else:
        first = pool.first_replica
        for r in range(first, first + pool.n_replica):
            if state.replica[r].stage == STAGE_READY:
                value += replica_milli(params, state, r, source, t)
        if source == SRC_BACKLOG:
            value += 1000 * state.served_model[pool.served_model].held
    n = state.pool[pool_id].n_scraped
    found = state.metric_window[pool_id * params.n_metric_sample + n % params.n_metric_sample]
    found.time_ps = t
    found.value_milli = value
    state.pool[pool_id].n_scraped = n + 1


@jit_call
def metric_milli(params, state, pool_id, t):
    """What a controller reads at t: the mean of the samples in its window, or the last one before the lag.

    −1 when there is none yet.
    """
    pool = params.pool[pool_id]
    room = params.n_metric_sample
    until = t - pool.lag_ps
    since = until - pool.window_ps
    n = state.pool[pool_id].n_scraped
    oldest = n - room if n > room else 0
    total = 0
    count = 0
    j = n - 1
    while j >= oldest:
        found = state.metric_window[pool_id * room + j % room]
        if found.time_ps <= until:
            if count > 0 and found.time_ps <= since:
                break
            total += found.value_milli
            count += 1
            if pool.window_ps == 0:
                break
        j -= 1
    if count == 0:
        return -1
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
