"""What a run leaves behind of pools and stations: the time series, and the marks at the ends of the windows."""

from __future__ import annotations

from sim.model.tables.codes import N_STAGE
from sim.schema import Array, Field, Row, Wide

STEP_PARTS_BITS = 16
STEP_PARTS = 1 << STEP_PARTS_BITS
N_MARK = 3
MARK_WARM, MARK_WINDOW, MARK_RUN = range(N_MARK)


class PoolSample(Row):
    """A pool at one instant of the time series; counts are since the start."""

    time_ps = Field("when")
    pool = Field("which pool")
    wanted = Field("replicas asked for")
    by_stage = Array("replicas in each stage from 1 on: stage − 1; the last is unused", N_STAGE)
    held = Field("requests that the gateway holds for its model")
    waiting = Field("sequences that wait at its replicas")
    running = Field("sequences that run")
    used_blocks = Field("KV blocks in use")
    n_blocks = Field("KV blocks of its ready and draining replicas")
    arrivals = Field("attempts for its model")
    routed = Field("requests handed to its replicas")
    completed = Field("answers completed")
    preempted = Field("preemptions")
    billed_ps = Wide("Σ billed replicas · time", unit="ps")
    asked_tokens = Field("prompt tokens looked up in the prefix cache")
    cached_tokens = Field("of these, found in it")
    cached_blocks = Field("cached blocks held by nobody, so free to be taken")
    retries = Field("attempts for its model after the first of each request")


class StationSample(Row):
    """A CPU station at one instant; what began is counted in the row of the sample that is next by then."""

    time_ps = Field("when")
    station = Field("which station")
    busy_workers = Field("workers at work")
    in_line = Field("visits that wait")
    wait_ps = Field("how long a visit would wait")
    done_ps = Wide("work done since the start", unit="ps")
    visits = Field("visits since the start")
    begun = Field("visits in line whose work began since the sample before")


class PoolMark(Row):
    """What a pool has done by the end of warm-up, of the measured window, or of the run."""

    billed_ps = Wide("Σ billed replicas · time", unit="ps")
    ready_ps = Wide("Σ ready replicas · time", unit="ps")
    serving_ps = Wide("Σ ready or draining replicas · time", unit="ps")
    busy_ps = Wide("time in steps", unit="ps")
    slot_ps = Wide("Σ running sequences · time", unit="ps")
    prefill_ps = Wide("time of steps that prompt chunks took", unit="ps")
    decode_ps = Wide("time of steps that decoding took", unit="ps")
    steps = Field("whole steps")
    step_parts = Field("how far the steps in progress are", unit="1/65536")
    prefill_tokens = Field("prompt tokens computed")
    prefill_squares = Field("Σ chunk · (2 · context + chunk)", unit="tokens²")
    decode_tokens = Field("tokens decoded")
    kv_read = Field("Σ KV tokens attended", unit="tokens")
    completed = Field("answers completed")
    preempted = Field("preemptions")
    started = Field("cold starts begun")
    time_ps = Field("when")
    asked_tokens = Field("prompt tokens looked up in the prefix cache")
    cached_tokens = Field("of these, found in it")
    ranges_dropped = Field("block ranges given up early")


class WorkSample(Row):
    """What a pool's engines had done by a sample, of which its watts are worked out. Like `PoolMark`, since the start."""

    prefill_ps = Wide("time of steps that prompt chunks took", unit="ps")
    decode_ps = Wide("time of steps that decoding took", unit="ps")
    prefill_tokens = Field("prompt tokens computed")
    prefill_squares = Field("Σ chunk · (2 · context + chunk)", unit="tokens²")
    decode_tokens = Field("tokens decoded")
    kv_read = Field("Σ KV tokens attended", unit="tokens")
    crashed = Field("processes that crashed and started again in place")


POOL_SAMPLE_SIZE = PoolSample.SIZE
STATION_SAMPLE_SIZE = StationSample.SIZE
POOL_MARK_SIZE = PoolMark.SIZE
