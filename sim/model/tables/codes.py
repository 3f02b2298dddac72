"""Codes: what the small numbers in the tables mean, and their names."""

from __future__ import annotations

from sim.stages import START_STAGES

# ---- codes ----------------------------------------------------------------------
# status of a run; closed: its last request was answered before its time was up, and it has yet to be finished
NEW, OK, DONE, NEED_SLOTS, NEED_POLICY, CLOSED, NEED_PLACEMENT = range(7)

PHASE_FAULT, PHASE_NODE, PHASE_STAGE, PHASE_SAMPLE, PHASE_TICK = 0, 1, 2, 3, 4
PHASE_DEADLINE, PHASE_RETRY, PHASE_TURN, PHASE_ARRIVAL, PHASE_BOUNDARY = 5, 6, 7, 8, 9

STAGE_NAMES = ("gone", *START_STAGES, "ready", "draining")
N_STAGE = len(STAGE_NAMES)
N_START_STAGE = len(START_STAGES)  # the timed ones, stages 1 … N_START_STAGE
STAGE_GONE, STAGE_SLICE = 0, 1
STAGE_WEIGHTS = 1 + START_STAGES.index("weight_load")
STAGE_ENGINE, STAGE_READY, STAGE_DRAINING = N_START_STAGE, N_START_STAGE + 1, N_START_STAGE + 2
N_STEP_MAX = 14  # steps of a start; each draws from a stream of its own (sim.rng)

OUTCOMES = ("inside", "completed", "rejected", "timed_out", "failed")
INSIDE, COMPLETED, REJECTED, TIMED_OUT, FAILED = range(5)
REASONS = (
    "",
    "too_long",
    "gateway_full",
    "horizon",
    "replica_lost",
    "rate_limited",
    "concurrency",
    "shed",
    "queue_time",
    "in_gateway",
    "in_cpu_stage",
    "in_queue",
    "in_prefill",
    "in_stream",
    "blocked",
    "over_limit",
    "predicted_ttft",
    "stalled",
)
(
    NO_REASON,
    TOO_LONG,
    GATEWAY_FULL,
    HORIZON,
    REPLICA_LOST,
    RATE_LIMITED,
    CONCURRENCY,
    SHED,
    QUEUE_TIME,
    IN_GATEWAY,
    IN_CPU_STAGE,
    IN_QUEUE,
    IN_PREFILL,
    IN_STREAM,
    BLOCKED,
    OVER_LIMIT,
    PREDICTED_TTFT,
    STALLED,
) = range(18)
N_REASON = 18

# outcomes of an attempt: those of a request, and
CANCELLED = 5  # its hedge peer answered first
N_ENDED = 5  # completed … cancelled: the ways in which an attempt ends

JITTERS = ("none", "full", "equal")
NO_JITTER, FULL_JITTER, EQUAL_JITTER = range(3)
RETRY_REJECTED, RETRY_TIMED_OUT, RETRY_FAILED = 1, 2, 4

HOLD_ORDERS = ("fifo", "priority", "fair")
HOLD_FIFO, HOLD_PRIORITY, HOLD_FAIR = range(3)

BATCHINGS = ("continuous", "static", "dynamic", "none")
CONTINUOUS, STATIC, DYNAMIC, NO_BATCHING = range(4)

SCHEDULINGS = ("fcfs", "priority")
FCFS, PRIORITY = range(2)

# what a step does, as neighbours on a shared GPU feel it
STEP_DECODES, STEP_PROMPTS = 1, 2

FIXED, HPA, QUEUE, USER = range(4)

METRIC_SOURCES = ("outstanding", "waiting", "running", "kv_use", "arrival_rate", "backlog")
SRC_OUTSTANDING, SRC_WAITING, SRC_RUNNING, SRC_KV_USE, SRC_ARRIVAL_RATE, SRC_BACKLOG = range(6)

AGGREGATIONS = ("mean", "max", "last")
MEAN, MAX, LAST = range(3)

METRICS = ("ttft", "itl", "tpot", "e2e", "queue_wait", "itl_max")
M_TTFT, M_ITL, M_TPOT, M_E2E, M_QUEUE_WAIT, M_ITL_MAX = range(6)
N_METRIC = 6
MORE_METRICS = ("attempt_ttft",)  # kept where attempts are
MORE_ATTEMPT_TTFT = 0
N_MORE = 1

# what a request's time is blamed on: the parts of ttft in the order of its life, then those of what follows
BLAME_TTFT = (
    "retry",
    "gateway",
    "cpu",
    "network",
    "cold_start",
    "queue",
    "prefill",
    "interference",
    "neighbour",
    "preemption",
    "withheld",
)
BLAME_STREAM = ("interference", "neighbour", "preemption", "decode", "cpu")
BLAME_TTFT_COLUMNS = tuple(f"blame_{cause}_ps" for cause in BLAME_TTFT)
BLAME_STREAM_COLUMNS = tuple(f"blame_stream_{cause}_ps" for cause in BLAME_STREAM)


# where a request in flight is: waiting or running at a replica (scheduled one by one, or in the decode set); held by the
# gateway; away until a timer; at a CPU station before the GPU, or on its way out; over, and the next turn of its session
# has not come yet
SEQ_WAITING, SEQ_SINGLE, SEQ_DECODE, SEQ_HELD, SEQ_AWAY, SEQ_BEFORE, SEQ_AFTER, SEQ_THINKING = range(8)
# Slot.fate: its client still wants it; its client has gone while it runs; the other of two hedged attempts has answered
WANTED, ABANDONED, LOST_HEDGE = range(3)

LIMB_BITS = 62  # of the low int64 of a wide sum
LIMB = 1 << LIMB_BITS
