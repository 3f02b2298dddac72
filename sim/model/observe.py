"""What is read from the world at an instant: scrapes for the controllers, samples for people.

Reading changes nothing: a replica in the middle of a jump is seen as after its last boundary before that instant.
"""

from __future__ import annotations

from sim.jit import jit_call
from sim.model.layout import (
    H_AGAIN,
    H_ARRIVALS,
    H_HELD,
    H_SIZE,
    L_BLOCKS,
    L_FIRST,
    L_GROUP,
    L_LAG_PS,
    L_N,
    L_SCRAPE_PS,
    L_SIZE,
    L_SOURCE,
    L_WINDOW_PS,
    P_N_POOL,
    P_N_STATION,
    P_RING,
    P_SAMPLE_PS,
    Q_ASKED_TOKENS,
    Q_BILLED_LO,
    Q_CACHED_TOKENS,
    Q_COMPLETED,
    Q_LAST_ARRIVALS,
    Q_PREEMPTED,
    Q_RING_N,
    Q_ROUTED,
    Q_SIZE,
    Q_WANTED,
    R_N_RUN,
    R_N_WAIT,
    R_PREFIX,
    R_SIZE,
    R_STAGE,
    S_DIGEST,
    S_N_SAMPLE,
    SRC_ARRIVAL_RATE,
    SRC_BACKLOG,
    SRC_KV_USE,
    SRC_RUNNING,
    SRC_WAITING,
    STAGE_GONE,
    STAGE_READY,
    T_AGAIN,
    T_ARRIVALS,
    T_ASKED_TOKENS,
    T_BILLED_HI,
    T_BILLED_LO,
    T_BLOCKS,
    T_BLOCKS_CACHED,
    T_BLOCKS_USED,
    T_CACHED_TOKENS,
    T_COMPLETED,
    T_HELD,
    T_POOL,
    T_PREEMPTED,
    T_ROUTED,
    T_RUNNING,
    T_SIZE,
    T_STAGE,
    T_TIME_PS,
    T_WAITING,
    T_WANTED,
)
from sim.model.lifecycle import settle_areas
from sim.model.metrics import finished, mixed
from sim.model.replica import blocks_cached, blocks_used
from sim.model.row import SEED
from sim.model.stations import sample_stations


# ---- the metrics pipeline ----------------------------------------------------------------------
@jit_call
def replica_milli(p, st, r, source, t):
    """What one ready replica reports, in thousandths."""
    ro = st.rep + r * R_SIZE
    if source == SRC_WAITING or source == SRC_BACKLOG:
        return 1000 * st.m[ro + R_N_WAIT]
    if source == SRC_RUNNING:
        return 1000 * st.m[ro + R_N_RUN]
    if source == SRC_KV_USE:
        blocks = p.m[p.pool + st.m[ro] * L_SIZE + L_BLOCKS]
        return 1000 * blocks_used(p, st, r, blocks, t) // blocks
    return 1000 * (st.m[ro + R_N_WAIT] + st.m[ro + R_N_RUN])


@jit_call
def arrivals_milli(p, st, pool):
    """Requests per second, in thousandths, that arrived for a pool's model since the last scrape."""
    lo = p.pool + pool * L_SIZE
    arrivals = st.m[st.group + p.m[lo + L_GROUP] * H_SIZE + H_ARRIVALS]
    new = arrivals - st.m[st.pool + pool * Q_SIZE + Q_LAST_ARRIVALS]
    st.m[st.pool + pool * Q_SIZE + Q_LAST_ARRIVALS] = arrivals
    return new * 1_000_000_000 // (p.m[lo + L_SCRAPE_PS] // 1_000_000)


@jit_call
def scrape(p, st, pool, t):
    """Put the sum of a pool's metric over its ready replicas into its ring of samples."""
    lo = p.pool + pool * L_SIZE
    source = p.m[lo + L_SOURCE]
    value = 0
    if source == SRC_ARRIVAL_RATE:
        value = arrivals_milli(p, st, pool)
    else:
        first = p.m[lo + L_FIRST]
        for r in range(first, first + p.m[lo + L_N]):
            if st.m[st.rep + r * R_SIZE + R_STAGE] == STAGE_READY:
                value += replica_milli(p, st, r, source, t)
        if source == SRC_BACKLOG:
            value += 1000 * st.m[st.group + p.m[lo + L_GROUP] * H_SIZE + H_HELD]
    n = st.m[st.pool + pool * Q_SIZE + Q_RING_N]
    o = (pool * p.m[P_RING] + n % p.m[P_RING]) * 2
    st.m[st.ring + o] = t
    st.m[st.ring + o + 1] = value
    st.m[st.pool + pool * Q_SIZE + Q_RING_N] = n + 1


@jit_call
def metric_milli(p, st, pool, t):
    """What a controller reads at t: the mean of the samples in its window, or the last one before the lag.

    −1 when there is none yet.
    """
    lo = p.pool + pool * L_SIZE
    ring = p.m[P_RING]
    until = t - p.m[lo + L_LAG_PS]
    since = until - p.m[lo + L_WINDOW_PS]
    n = st.m[st.pool + pool * Q_SIZE + Q_RING_N]
    oldest = n - ring if n > ring else 0
    total = 0
    count = 0
    j = n - 1
    while j >= oldest:
        o = (pool * ring + j % ring) * 2
        time = st.m[st.ring + o]
        if time <= until:
            if count > 0 and time <= since:
                break
            total += st.m[st.ring + o + 1]
            count += 1
            if p.m[lo + L_WINDOW_PS] == 0:
                break
        j -= 1
    if count == 0:
        return -1
    return total // count


# ---- samples ----------------------------------------------------------------------
@jit_call
def sample(p, st, t):
    """Write one row of the time series per pool and station and fold it into the digest.

    The sample that closes a run between two others has no rows of stations: who began work since then is not known.
    """
    n_pool = p.m[P_N_POOL]
    row = st.m[S_N_SAMPLE]
    st.m[S_N_SAMPLE] = row + 1
    for pool in range(n_pool):
        o = (row * n_pool + pool) * T_SIZE
        sample_pool(p, st, pool, o, t)
        h = SEED
        for j in range(T_SIZE):
            h = mixed(h, st.m[st.sample + o + j])
        st.m[S_DIGEST] += finished(h)
    if p.m[P_N_STATION] > 0 and t % p.m[P_SAMPLE_PS] == 0:
        sample_stations(p, st, t)


@jit_call
def sample_pool(p, st, pool, o, t):
    """Fill one row of the time series, at offset o."""
    lo = p.pool + pool * L_SIZE
    qo = st.pool + pool * Q_SIZE
    ho = st.group + p.m[lo + L_GROUP] * H_SIZE
    settle_areas(st, pool, t)
    for j in range(T_SIZE):
        st.m[st.sample + o + j] = 0
    st.m[st.sample + o + T_TIME_PS] = t
    st.m[st.sample + o + T_POOL] = pool
    st.m[st.sample + o + T_WANTED] = st.m[qo + Q_WANTED]
    first = p.m[lo + L_FIRST]
    for r in range(first, first + p.m[lo + L_N]):
        sample_replica(p, st, r, o, t)
    st.m[st.sample + o + T_HELD] = st.m[ho + H_HELD]
    st.m[st.sample + o + T_ARRIVALS] = st.m[ho + H_ARRIVALS]
    st.m[st.sample + o + T_AGAIN] = st.m[ho + H_AGAIN]
    st.m[st.sample + o + T_ROUTED] = st.m[qo + Q_ROUTED]
    st.m[st.sample + o + T_COMPLETED] = st.m[qo + Q_COMPLETED]
    st.m[st.sample + o + T_PREEMPTED] = st.m[qo + Q_PREEMPTED]
    st.m[st.sample + o + T_BILLED_LO] = st.m[qo + Q_BILLED_LO]
    st.m[st.sample + o + T_BILLED_HI] = st.m[qo + Q_BILLED_LO + 1]
    st.m[st.sample + o + T_ASKED_TOKENS] = st.m[qo + Q_ASKED_TOKENS]
    st.m[st.sample + o + T_CACHED_TOKENS] = st.m[qo + Q_CACHED_TOKENS]


@jit_call
def sample_replica(p, st, r, o, t):
    """Add one replica to its pool's row."""
    ro = st.rep + r * R_SIZE
    stage = st.m[ro + R_STAGE]
    if stage == STAGE_GONE:
        return
    st.m[st.sample + o + T_STAGE + stage - 1] += 1
    if stage >= STAGE_READY:
        blocks = p.m[p.pool + st.m[ro] * L_SIZE + L_BLOCKS]
        st.m[st.sample + o + T_WAITING] += st.m[ro + R_N_WAIT]
        st.m[st.sample + o + T_RUNNING] += st.m[ro + R_N_RUN]
        st.m[st.sample + o + T_BLOCKS_USED] += blocks_used(p, st, r, blocks, t)
        st.m[st.sample + o + T_BLOCKS] += blocks
        if st.m[ro + R_PREFIX] > 0:
            st.m[st.sample + o + T_BLOCKS_CACHED] += blocks_cached(p, st, r, blocks, t)
