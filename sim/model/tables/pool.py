"""A pool: its engine's settings, what has become of it, the signals that its controller sees, the steps of a start."""

from __future__ import annotations

from sim.schema import Array, Field, Row, Wide

WORK_BITS = 3  # knots of the time by tokens in an octave: 8
TOKENS_BITS = 26  # a step computes fewer than 2²⁶ tokens
N_WORK = ((TOKENS_BITS - WORK_BITS + 1) << WORK_BITS) + 1

N_QUANTILE_BITS = 10  # a stage's duration is one of 1024 equally likely values
N_QUANTILE = 1 << N_QUANTILE_BITS


class PoolParams(Row):
    """What a pool's replicas are, and how many there may be."""

    first_replica = Field("number of its first replica")
    n_replica = Field("replica places, max_replicas")
    served_model = Field("the served model that it belongs to")
    max_num_seqs = Field("sequences that a batch may hold")
    max_num_batched_tokens = Field("tokens that a step may compute", unit="tokens")
    block_size = Field("tokens of a KV block", unit="tokens")
    block_shift = Field("logarithm of block_size to base 2, −1 where it is no power of two")
    n_blocks = Field("KV blocks of a replica", unit="blocks")
    batching = Field("CONTINUOUS, STATIC, DYNAMIC or NO_BATCHING")
    scheduling = Field("FCFS or PRIORITY")
    long_prefill_threshold = Field(
        "tokens of a prompt that a step computes at most, 0 = no limit", unit="tokens"
    )
    chunked_prefill = Field("1 = a prompt may be computed in several steps")
    prefill_interval = Field(
        "a busy engine admits waiting sequences in every so many-th step, 1 = in any", begin=1
    )
    batch_delay_ps = Field("dynamic batching: how long a batch waits to fill up")
    max_model_len = Field("tokens of prompt and answer together at most", unit="tokens")
    work_at = Field(
        "where in `base` its time by tokens at N_WORK knots starts, then what prompts add by sequences"
    )
    attention_q16 = Field("time that a prompt token takes to attend one token before it")
    table_at = Field("where in `base` and `slope` its times by sequences start")
    gpus = Field("GPUs of a replica")
    tp = Field("of these, how many compute each layer together", begin=1)
    min_replicas = Field("replicas at least")
    max_replicas = Field("replicas at most")
    initial_replicas = Field("replicas ready at time 0")
    autoscaler = Field("FIXED, HPA, QUEUE or USER")
    tick_ps = Field("period of its autoscaler")
    target_milli = Field("replicas of a fixed pool; else the metric per replica that its autoscaler aims at")
    request_overhead_ps = Field("what a request waits at the server beside its steps")
    first_signal = Field("number of its first signal")
    n_signal = Field("signals that its autoscaler sees")
    prefix_runs = Field("block ranges that its prefix caches can tell apart, 0 = no prefix cache")
    prefix_buckets = Field("buckets of a prefix cache's hash table, a power of two")
    first_step = Field("row of its first step of a start")
    n_step = Field("steps of a start")
    first_transfer = Field("row of the first transfer of its first replica")
    n_transfer = Field("steps of a start that move bytes over links")
    starts_at = Field(
        "where in `start_hist` it counts how long its starts took, if they move bytes over links"
    )


class StartStep(Row):
    """A step of a replica's start."""

    stage = Field("the stage that a replica is shown as while the step lasts")
    stream = Field("which stream of random numbers it draws from, 1 … N_STEP_MAX")
    waits_for = Field("bit i: it begins when the i-th step of its pool has ended")
    transfer = Field(
        "which of its pool's transfers over links it is, from 1; 0 = it moves nothing over a link"
    )
    links = Field("bit i: its bytes go over the i-th link")
    moved_bytes = Field("bytes that it moves over them", unit="bytes")
    setup_ps = Field("the part of its duration before the first byte")
    artifact = Field("1 + the artifact that it brings to its node, which may have it already; 0 = none")
    hit_ps = Field("how long it takes where the node has the artifact")
    through = Field("what of its node the bytes go through: THROUGH_…")
    peers = Field("1 = other nodes that have the artifact may serve it")
    peer_q40 = Field("at what rate at most")
    uploads_max = Field("what a node serves at once at most", begin=1)
    seeds_max = Field(
        "starts that fetch the artifact from elsewhere at once before one waits for a node to have it"
    )
    quantile_ps = Array("its duration is one of these, equally likely", N_QUANTILE, unit="ps")


class PoolState(Row):
    """What has become of a pool."""

    wanted = Field("replicas asked for")
    started = Field("replicas ever started: the number of the next cold start")
    area_ps = Field("when the three sums below were last brought up to date")
    billed_ps = Wide("Σ billed replicas · time", unit="ps")
    ready_ps = Wide("Σ ready replicas · time", unit="ps")
    serving_ps = Wide("Σ ready or draining replicas · time", unit="ps")
    n_billed = Field("replicas that cost money now")
    n_ready = Field("replicas that take requests now")
    n_serving = Field("replicas ready or draining now")
    routed = Field("requests handed to its replicas")
    completed = Field("answers completed")
    preempted = Field("preemptions")
    next_tick_ps = Field("when its autoscaler looks next")
    n_starting = Field("replicas on their way to ready")
    peak_ready = Field("the most replicas that were ready at once")
    scaled_up = Field("how often `wanted` rose")
    scaled_down = Field("how often `wanted` fell")
    starting_ps = Field("how long some replica was starting, up to area_ps")
    asked_tokens = Field("prompt tokens of admitted sequences, looked up in the prefix cache")
    cached_tokens = Field("of these, found in it")
    in_rollout = Field(
        "1 = a deployment says how many replicas it has: neither its bounds nor its autoscaler do"
    )
    is_avoided = Field("scratch: 1 = the request that is routed goes to another version")
    crashed = Field("processes of its replicas that crashed: the number of the next restart in place")
    ranges_dropped = Field("block ranges evicted early, not kept or not found because all ranges were in use")


class Signal(Row):
    """A metrics pipeline: what it reads of a pool, how often, and how an autoscaler sees it."""

    pool = Field("the pool that it is about")
    source = Field("what it reads: SRC_…")
    scrape_ps = Field("how often")
    window_ps = Field("how far back an autoscaler looks, 0 = at the last sample alone")
    aggregation = Field("what it sees of the samples in the window: MEAN, MAX or LAST")
    lag_ps = Field("how old the newest sample is that it can see")
    first_sample = Field("where in `signal_sample` its samples start")
    n_sample = Field("samples that there is room for")


class SignalState(Row):
    """What has been scraped of a signal."""

    next_scrape_ps = Field("when it is scraped next")
    n_scraped = Field("samples ever taken")
    last_arrivals = Field("arrivals at the last scrape")


class SignalSample(Row):
    """A sample of a signal."""

    time_ps = Field("when it was scraped")
    value_milli = Field("the value, summed over the pool")
