"""What lies where in a run's two arrays: tables, fields and codes.

Params holds what a run never changes, State what it does. Each is one flat int64 array and the places where its
tables start; the row of an entity starts at `table + id * SIZE` and a field is an offset in that row. One array costs
a call a few words where twenty would cost hundreds, and a thousand runs are a matrix. Times are picoseconds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

I64 = np.ndarray  # one-dimensional int64


# ---- codes ----------------------------------------------------------------------
NEW, OK, DONE, NEED_SLOTS, NEED_POLICY = range(5)  # status of a run

PHASE_FAULT, PHASE_NODE, PHASE_STAGE, PHASE_SAMPLE, PHASE_TICK = 0, 1, 2, 3, 4
PHASE_DEADLINE, PHASE_RETRY, PHASE_TURN, PHASE_ARRIVAL, PHASE_BOUNDARY = 5, 6, 7, 8, 9

(
    STAGE_GONE,
    STAGE_SLICE,
    STAGE_PROVISION,
    STAGE_IMAGE,
    STAGE_WEIGHTS,
    STAGE_ENGINE,
    STAGE_READY,
    STAGE_DRAINING,
) = range(8)
N_STAGE = 8
N_START_STAGE = 5  # slice, provision, image, weights, engine: the timed ones, stages 1…5
STAGE_NAMES = (
    "gone",
    "waiting_slice",
    "provisioning",
    "image_pull",
    "weight_load",
    "engine_start",
    "ready",
    "draining",
)

OUTCOMES = ("inside", "completed", "rejected", "timed_out", "failed")
INSIDE, COMPLETED, REJECTED, TIMED_OUT, FAILED = range(5)
REASONS = ("", "too_long", "gateway_full", "horizon", "replica_lost")
NO_REASON, TOO_LONG, GATEWAY_FULL, HORIZON, REPLICA_LOST = range(5)

ROUTERS = ("round_robin", "random", "least_outstanding", "power_of_two", "least_kv")
ROUND_ROBIN, RANDOM, LEAST_OUTSTANDING, POWER_OF_TWO, LEAST_KV = range(5)

BATCHINGS = ("continuous", "static", "dynamic", "none")
CONTINUOUS, STATIC, DYNAMIC, NO_BATCHING = range(4)

SCHEDULINGS = ("fcfs", "priority")
FCFS, PRIORITY = range(2)

AUTOSCALERS = ("fixed", "hpa", "queue", "user")
FIXED, HPA, QUEUE, USER = range(4)

METRIC_SOURCES = ("outstanding", "waiting", "running", "kv_use", "arrival_rate", "backlog")
SRC_OUTSTANDING, SRC_WAITING, SRC_RUNNING, SRC_KV_USE, SRC_ARRIVAL_RATE, SRC_BACKLOG = range(6)

METRICS = ("ttft", "itl", "tpot", "e2e", "queue_wait")
M_TTFT, M_ITL, M_TPOT, M_E2E, M_QUEUE_WAIT = range(5)
N_METRIC = 5

# ---- parameters ----------------------------------------------------------------------
# Params.m, from its start
(
    P_SEED,
    P_N_REQUEST,
    P_N_CLASS,
    P_N_GROUP,
    P_N_POOL,
    P_N_REPLICA,
    P_N_SAMPLE,  # rows of the time series that there is room for
    P_TREE,  # leaves of the boundary tree, a power of two ≥ 2
    P_DURATION_PS,
    P_WARMUP_PS,
    P_END_PS,  # duration + drain limit
    P_SAMPLE_PS,  # 0 = no time series
    P_RECORDS,  # 1 = keep a row per request
    P_RING,  # samples in a metrics ring
    P_N_FAULT,
    P_FAULTS,  # where the scripted faults start in Params.m: (fault, Y_SIZE), by time
) = range(16)
P_SIZE = 16

# scripted faults
Y_TIME_PS, Y_POOL, Y_REPLICAS = range(3)
Y_SIZE = 3

# Params.klass, a row a class
K_GROUP, K_PRIORITY, K_TTFT_PS, K_ITL_PS, K_TPOT_PS, K_E2E_PS = range(6)  # objectives: NEVER = none
K_SIZE = 6

# Params.group, a row a model that is served
G_ROUTER, G_FIRST, G_N, G_LOAD, G_LEAVES, G_HOLD_MAX, G_FIRST_POOL, G_N_POOL = range(8)
G_SIZE = 8

# Params.pool
(
    L_FIRST,  # first replica
    L_N,  # replica places = max_replicas
    L_GROUP,
    L_MAX_SEQS,
    L_BUDGET,
    L_BLOCK,
    L_BLOCKS,
    L_BATCHING,
    L_SCHEDULING,
    L_THRESHOLD,
    L_CHUNKED,
    L_DELAY_PS,
    L_MAX_LEN,
    L_PREFILL_PS,
    L_ATTENTION_Q16,
    L_TABLE,  # offset into base and slope
    L_GPUS,
    L_MIN,
    L_MAX,
    L_INITIAL,
    L_SCALER,
    L_TICK_PS,
    L_TARGET,  # milli units of the metric per replica
    L_TOL_UP,
    L_TOL_DOWN,
    L_SOURCE,
    L_SCRAPE_PS,
    L_WINDOW_PS,
    L_LAG_PS,
) = range(29)
L_SIZE = 29

N_QUANTILE_BITS = 10  # a stage's duration is one of 1024 equally likely values
N_QUANTILE = 1 << N_QUANTILE_BITS

# ---- state ----------------------------------------------------------------------
# State.m, from its start
(
    S_STATUS,
    S_NOW,
    S_CURSOR,  # next request to arrive
    S_NEXT_IN,  # next arrival or gateway release
    S_RELEASE,  # 1 = a group's held requests are to be released at S_NEXT_IN
    S_FREE,  # head of the list of free slots
    S_IN_FLIGHT,
    S_DIGEST,
    S_NEXT_SAMPLE,
    S_N_SAMPLE,
    S_POLICY_POOL,  # the pool whose tick waits for a host-side policy
    S_STOP,  # next scrape, sample, tick, mark or end
    S_NEXT_MARK,  # when the next mark is set
    S_MARKS,  # marks set so far
    S_NEXT_FAULT,
    S_FAULT,  # faults that have struck
) = range(16)
S_SIZE = 16

# State.pool
(
    Q_WANTED,
    Q_STARTED,  # replicas ever started: the index of the next cold start
    Q_AREA_PS,  # when the areas below were last brought up to date
    Q_BILLED_LO,
    Q_BILLED_HI,
    Q_READY_LO,
    Q_READY_HI,
    Q_N_BILLED,
    Q_N_READY,
    Q_ROUTED,
    Q_COMPLETED,
    Q_PREEMPTED,
    Q_NEXT_SCRAPE,
    Q_NEXT_TICK,
    Q_RING_N,  # samples ever put in the ring
    Q_LAST_ARRIVALS,  # arrivals at the last scrape
    Q_N_STARTING,
    Q_PEAK_READY,
    Q_SCALED_UP,  # how often the target rose and fell
    Q_SCALED_DOWN,
) = range(20)
Q_SIZE = 20

# State.group
H_HELD, H_HEAD, H_TAIL, H_ARRIVALS, H_N_READY, H_CURSOR = range(6)
H_SIZE = 6

# State.rep
(
    R_POOL,
    R_STAGE,
    R_STARTED_PS,  # when it was wanted
    R_READY_PS,
    R_INDEX,  # n-th start of its pool
    R_JUMP_PS,  # start of the jump in progress
    R_JUMP_K,  # steps in it, 0 = idle
    R_JUMP_G,  # its first step, ps
    R_JUMP_D,  # growth of a step, ps
    R_JUMP_DECODE_PS,  # the decode part of a step with chunks
    R_STEP,
    R_N_RUN,
    R_RUN_HEAD,
    R_RUN_TAIL,
    R_N_WAIT,
    R_WAIT_HEAD,
    R_WAIT_TAIL,
    R_FREE_BLOCKS,
    R_N_DECODE,  # sequences in the regular decode set = size of the completion heap
    R_KV,  # Σ (computed + 1) over the decode set
    R_N_CHUNK,  # sequences scheduled one by one in this step
    R_BATCH_LEFT,  # static and dynamic batching: sequences the open batch may still take
    R_HEAP,  # where its completion heap starts in State.m
    R_RESIDUE,  # its residue counts
    R_STACK,  # its stack of longest gaps
    R_STACK_N,
    R_BUSY_PS,
    R_STEPS,
    R_PREFILL_TOKENS,
    R_PREFILL_SQUARES,  # Σ chunk·(2·context + chunk)
    R_DECODE_TOKENS,
    R_KV_READ,
    R_PREFILL_PS,
    R_DECODE_PS,
    R_SLOT_LO,
    R_SLOT_HI,
    R_DRAIN_PS,
) = range(37)
R_SIZE = 37

# State.slot: a request in flight
(
    F_REQUEST,
    F_NEXT,
    F_PREV,
    F_STATE,  # 0 waiting, 1 scheduled one by one, 2 in the decode set
    F_PROMPT,
    F_OUTPUT,
    F_GENERATED,  # tokens so far; in the decode set: so far when it joined
    F_COMPUTED,  # computed tokens; in the decode set: computed − step
    F_CHUNK,
    F_START,  # the step at which it joined the decode set
    F_LAST_PS,  # its last token when that was not at the previous boundary
    F_ARRIVAL_PS,
    F_ROUTED_PS,
    F_SCHEDULED_PS,
    F_FIRST_PS,
    F_GAP_MAX,
    F_PREEMPTIONS,
    F_CLASS,
    F_MARK,  # step + 1 in which a walk scheduled it
) = range(19)
F_SIZE = 19
SEQ_WAITING, SEQ_SINGLE, SEQ_DECODE = range(3)

# State.counts: a row a class; sums are two limbs of 62 bits each
(
    C_OFFERED,
    C_COMPLETED,
    C_REJECTED,
    C_TIMED_OUT,
    C_FAILED,
    C_MET,
    C_TOKENS_IN,
    C_TOKENS_OUT,
    C_ALL_OFFERED,  # outside the measured window as well
    C_ALL_COMPLETED,
    C_ALL_REJECTED,
    C_ALL_FAILED,
    C_INSIDE_MISSED,  # still inside at the end, an objective already out of reach
    C_SUM,  # then N_METRIC × (lo, hi)
) = range(14)
C_SIZE = C_SUM + 2 * N_METRIC

# State.record: a row a request
(
    X_ROUTED_PS,
    X_SCHEDULED_PS,
    X_FIRST_PS,
    X_LAST_PS,
    X_REPLICA,
    X_PREEMPTIONS,
    X_GAP_MAX_PS,
    X_OUTCOME,
    X_REASON,
) = range(9)
X_SIZE = 9

# State.sample: a row a (sample, pool)
(
    T_TIME_PS,
    T_POOL,
    T_WANTED,
    T_STAGE,  # replicas in stages 1…7: T_STAGE + stage − 1
    _T1,
    _T2,
    _T3,
    _T4,
    _T5,
    _T6,
    _T7,
    T_HELD,
    T_WAITING,
    T_RUNNING,
    T_BLOCKS_USED,
    T_BLOCKS,
    T_ARRIVALS,
    T_ROUTED,
    T_COMPLETED,
    T_PREEMPTED,
    T_BILLED_LO,
    T_BILLED_HI,
) = range(22)
T_SIZE = 22

# State.mark: what a pool has done by the end of warm-up (0), of the measured window (1) and of the run (2)
(
    M_BILLED,  # two limbs, as all up to M_STEPS
    _B1,
    M_READY,
    _B3,
    M_BUSY,
    _B5,
    M_SLOT,
    _B7,
    M_PREFILL_PS,
    _B9,
    M_DECODE_PS,
    _B11,
    M_STEPS,
    M_PREFILL_TOKENS,
    M_PREFILL_SQUARES,
    M_DECODE_TOKENS,
    M_KV_READ,
    M_COMPLETED,
    M_PREEMPTED,
    M_STARTED,
    M_TIME_PS,
) = range(21)
M_SIZE = 21
N_MARK = 3
MARK_WARM, MARK_WINDOW, MARK_RUN = range(N_MARK)

LIMB_BITS = 62
LIMB = 1 << LIMB_BITS


# the trace: arrivals, then prompt tokens, output tokens and class of each request in one word
TOKEN_BITS = 24
CLASS_BITS = 15
TOKENS_MAX = (1 << TOKEN_BITS) - 1
CLASSES_MAX = (1 << CLASS_BITS) - 1


class Params(NamedTuple):
    """What a run never changes: one array, where its tables start in it, and the trace.

    Params.m begins with the run's own numbers (P_…).
    """

    m: I64
    trace: I64  # (2 · request,) arrival ps, then prompt << 39 | output << 15 | class
    klass: int  # (class, K_SIZE)
    group: int  # (group, G_SIZE)
    pool: int  # (pool, L_SIZE)
    base: int  # (pool, batch 0…max_num_seqs) ps
    slope: int  # (pool, batch 0…max_num_seqs) ps per kv token
    stage_ps: int  # (pool, N_START_STAGE, N_QUANTILE) ps
    scaler: int  # (pool, SCALER_PAR) settings of the controllers


class State(NamedTuple):
    """Everything a run changes: one array, and where its tables start in it. Copying the array copies the run.

    State.m begins with the run's own numbers (S_…). Three tables have no start here, for the rows of `rep` hold
    theirs: the completion heap (max_num_seqs: finish step · 2²⁴ + slot), the residue counts (block_size: decode
    sequences by (computed − step) mod block_size) and the stack of longest gaps (max_num_seqs + 2 pairs).
    """

    m: I64
    pool: int  # (pool, Q_SIZE)
    group: int  # (group, H_SIZE)
    rep: int  # (replica, R_SIZE)
    mix: int  # (replica, class) measured sequences in the decode set
    tree: int  # winners, then keys: next boundary of each replica
    due: int  # winners, then keys: next stage change of each replica
    load: int  # per group: winners, then keys: outstanding requests of ready replicas
    ready: int  # (replica,) per group: its ready replicas in order
    ring: int  # (pool, P_RING, 2) (time, milli value) scraped
    scaler: int  # (pool, SCALER_STATE) what the controllers remember
    counts: int  # (class, C_SIZE)
    hist: int  # (class, N_METRIC, N_BUCKET)
    mark: int  # (N_MARK, pool, M_SIZE)
    record: int  # (request, X_SIZE) or nothing
    sample: int  # (sample, pool, T_SIZE)
    slot: int  # (slot, F_SIZE), last, so that it can grow
