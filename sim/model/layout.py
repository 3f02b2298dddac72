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
# status of a run; closed: its last request was answered before its time was up, and it has yet to be finished
NEW, OK, DONE, NEED_SLOTS, NEED_POLICY, CLOSED = range(6)

PHASE_FAULT, PHASE_NODE, PHASE_STAGE, PHASE_SAMPLE, PHASE_TICK = 0, 1, 2, 3, 4
PHASE_DEADLINE, PHASE_RETRY, PHASE_TURN, PHASE_ARRIVAL, PHASE_BOUNDARY = 5, 6, 7, 8, 9
PHASE_STATION = PHASE_ARRIVAL  # of a timer: after turns, before releases and arrivals

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
N_STEP_MAX = 14  # steps of a start; each draws from a stream of its own (sim.rng)
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
CANCELLED = 5  # its twin answered first
N_ENDED = 5  # completed … cancelled: the ways in which an attempt ends

JITTERS = ("none", "full", "equal")
NO_JITTER, FULL_JITTER, EQUAL_JITTER = range(3)
RETRY_REJECTED, RETRY_TIMED_OUT, RETRY_FAILED = 1, 2, 4

ROUTERS = (
    "round_robin",
    "random",
    "least_outstanding",
    "power_of_two",
    "least_kv",
    "session_affinity",
    "consistent_hash",
    "weighted_score",
    "prefix_aware",
)
ROUND_ROBIN, RANDOM, LEAST_OUTSTANDING, POWER_OF_TWO, LEAST_KV = range(5)
SESSION_AFFINITY, CONSISTENT_HASH, WEIGHTED_SCORE, PREFIX_AWARE = 5, 6, 7, 8

HOLD_ORDERS = ("fifo", "priority", "fair")
HOLD_FIFO, HOLD_PRIORITY, HOLD_FAIR = range(3)

BATCHINGS = ("continuous", "static", "dynamic", "none")
CONTINUOUS, STATIC, DYNAMIC, NO_BATCHING = range(4)

SCHEDULINGS = ("fcfs", "priority")
FCFS, PRIORITY = range(2)

AUTOSCALERS = ("fixed", "hpa", "queue", "user")
FIXED, HPA, QUEUE, USER = range(4)

METRIC_SOURCES = ("outstanding", "waiting", "running", "kv_use", "arrival_rate", "backlog")
SRC_OUTSTANDING, SRC_WAITING, SRC_RUNNING, SRC_KV_USE, SRC_ARRIVAL_RATE, SRC_BACKLOG = range(6)

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
    "preemption",
    "withheld",
)
BLAME_STREAM = ("interference", "preemption", "decode", "cpu")
BLAME_TTFT_COLUMNS = tuple(f"blame_{cause}_ps" for cause in BLAME_TTFT)
BLAME_STREAM_COLUMNS = tuple(f"blame_stream_{cause}_ps" for cause in BLAME_STREAM)

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
    P_N_SESSION,  # sessions, 0 = no request belongs to one: the trace has no third word
    P_ATTEMPTS,  # 1 = requests may be refused, given up or tried again: attempts are kept apart
    P_N_TENANT,
    P_LIMITS,  # where the limits start in Params.m: (class, then tenant, V_SIZE)
    P_LEAF,  # where the requests' leaf segments start in Params.trace, 0 = no request shares a prefix
    P_SHARED,  # …and the tokens of each that lie in segments
    P_SEGMENT,  # …and the segments: (segment, SEG_SIZE)
    P_N_SEGMENT,
    P_N_LANE,  # of a group: tenants where one shares fairly, else 1
    P_WEIGHTS,  # where the tenants' weights start in Params.m
    P_CAPPED,  # 1 = some group's replicas may hold only so many requests
    P_STATIONS,  # where the CPU stations start in Params.m: (station, WORK_SIZE)
    P_N_STATION,
    P_N_CONTENT,  # different questions, 0 = no response cache
    P_CONTENTS,  # where what each request asks for starts in Params.trace
    P_CACHE_ENTRIES,
    P_CACHE_LIFE_PS,
    P_CACHE_PS,  # how long an answer from the cache takes
    P_TURNS,  # where the sessions' turns start in Params.trace: (request, TURN_SIZE); 0 = all requests come by themselves
    P_N_HEDGE,  # lists of attempts that may be hedged: classes whose clients wait equally long share one
    P_ALL_FIT,  # 1 = every request fits every pool
    P_LINES,  # where the lines of closed loops start in Params.trace: (line, LINE_SIZE)
    P_N_LINE,
    P_CLOSES,  # 1 = the run is over with the last answer: all requests stand in lines that have an end
) = range(40)
P_STARTS = 40  # where the tables start, once more: rules that are called get only the arrays (sim.linking)
P_SIZE = P_STARTS + 7

# CPU stations
WORK_FIRST, WORK_N = range(2)  # first worker, workers
WORK_SIZE = 2

# a class's visits: how many before the GPU, how many after, then a row each
VISIT_STATION, VISIT_BASE_PS, VISIT_PROMPT_PS, VISIT_OUTPUT_PS = range(4)
VISIT_SIZE = 4

# limits of a class or a tenant; credits are picoseconds, a period of 0 is no limit
V_REQUEST_PS, V_REQUEST_CAP, V_TOKEN_PS, V_TOKEN_CAP, V_CONCURRENT = range(5)
V_SIZE = 5

# segments of prompts, in Params.trace
SEG_PARENT, SEG_START = range(2)  # −1 = none; the token of the prompt at which the segment begins
SEG_SIZE = 2

# turns of sessions, in Params.trace: the request that follows this one, −1 = none, −2 − line = whoever is first in that
# line then; how long after its end that comes; the tokens of its session up to and with this request
TURN_NEXT, TURN_PAUSE_PS, TURN_TOKENS = range(3)
TURN_SIZE = 3
NOBODY_FOLLOWS = -1  # and what is less names a line

# lines of closed loops, in Params.trace: requests in one row of the table that wait until a client is free
LINE_FIRST, LINE_N = range(2)
LINE_SIZE = 2

# scripted faults
Y_TIME_PS, Y_POOL, Y_REPLICAS = range(3)
Y_SIZE = 3

# Params.klass, a row a class
(
    K_GROUP,
    K_PRIORITY,
    K_TTFT_PS,  # objectives: NEVER = none
    K_ITL_PS,
    K_TPOT_PS,
    K_E2E_PS,
    K_TENANT,
    K_SHED_MILLI,
    K_WAIT_MAX_PS,
    K_PATIENCE,  # where its patience starts in Params.m: (N_QUANTILE, 2) first token, total; 0 = endless
    K_ATTEMPTS_MAX,
    K_RETRY_ON,
    K_BACKOFF,  # where its waits start in Params.m: (attempts_max − 1,)
    K_JITTER,
    K_BUDGET_RATIO,
    K_BUDGET_BURST,  # NEVER = no budget
    K_HEDGE_PS,
    K_PROMPT_MAX,  # tokens; NEVER = any
    K_OUTPUT_MAX,
    K_POOLS,  # where the list of the pools that may serve it starts in Params.m, in order of preference
    K_N_POOL,  # how many there are, 0 = all of the group's
    K_ORDERED,  # 1 = the first of them that has room, 0 = the router looks at all of them alike
    K_NETWORK,  # where its times to each pool and back start in Params.m; 0 = none
    K_VISITS,  # where its visits to CPU stations start in Params.m
    K_WITHHELD,  # 1 = clients see nothing of an answer before it is complete and checked
    K_BLOCKED_Q20,  # share of answers that the guardrail blocks, of 2²⁰
    K_FALLBACK,  # the group that blocked ones are sent to, or −1
    K_DEADLINE_PS,  # counted from arrival, NEVER = none
    K_WINDOW_FROM_PS,  # of a day: attempts first start between these two
    K_WINDOW_TO_PS,
    K_DEFER_MAX_PS,  # … unless that is further away, 0 = at once
    K_PERSISTENT,  # 1 = the next turn of a session comes even when this one was not answered
    K_SESSION_MAX,  # tokens of a session; NEVER = any
    K_GAP_PS,  # a client that has seen nothing new for so long goes, NEVER = does not mind
    K_TTFT_MAX_PS,  # attempts are refused whose first token would come later, NEVER = none
    K_HEDGE_LIST,
) = range(36)
K_SIZE = 36

# Params.group, a row a model that is served
(
    G_ROUTER,
    G_FIRST,
    G_N,
    G_LOAD,
    G_LEAVES,
    G_HOLD_MAX,
    G_FIRST_POOL,
    G_N_POOL,
    G_FACTOR_MILLI,  # the most that a replica may hold, times the mean; prefix aware: times the least
    G_LOAD_MIN,  # session affinity: below so many requests a replica is never overloaded; prefix aware: above the least
    G_RING,  # where the group's ring starts in Params.m: hash of a virtual node, its last PLACE_BITS the replica's
    G_N_RING,  # place in the group; sorted
    G_W_OUTSTANDING,  # weighted score: weights in thousandths, of a request, of a waiting one, of all KV blocks
    G_W_WAITING,
    G_W_KV,
    G_SNAPSHOT_PS,  # how old a snapshot gets, 0 = a new one for every request
    G_COUNT_OWN,  # 1 = the router adds what it has sent since
    G_SPILL_MILLI,  # a pool has room up to so many requests per ready replica
    G_TREE,  # 1 = the load tree is kept
    G_OUTSTANDING_MAX,  # of a replica, NEVER = no limit: the gateway holds more
    G_HOLD_ORDER,
    G_MATCH_MILLI,  # prefix aware: the share of a prompt that must be cached, in thousandths
) = range(22)
G_SIZE = 22
PLACE_BITS = 17
PLACES_MAX = (1 << PLACE_BITS) - 1

# Params.pool
(
    L_FIRST,  # first replica
    L_N,  # replica places = max_replicas
    L_GROUP,
    L_MAX_SEQS,
    L_BUDGET,
    L_BLOCK,
    L_BLOCK_SHIFT,  # its logarithm to base 2, −1 where it has none
    L_BLOCKS,
    L_BATCHING,
    L_SCHEDULING,
    L_THRESHOLD,
    L_CHUNKED,
    L_DELAY_PS,
    L_MAX_LEN,
    L_WORK,  # offset from base: time by tokens at N_WORK knots, then what steps with prompts add to it by sequences
    L_ATTENTION_Q16,
    L_TABLE,  # offset into base and slope
    L_GPUS,
    L_MIN,
    L_MAX,
    L_INITIAL,
    L_SCALER,
    L_TICK_PS,
    L_TARGET,  # milli units of the metric per replica
    L_OVERHEAD_PS,  # that a request waits at the server beside its steps
    L_SOURCE,
    L_SCRAPE_PS,
    L_WINDOW_PS,
    L_LAG_PS,
    L_PREFIX_RUNS,  # runs of blocks that its prefix cache can tell apart, 0 = no prefix cache
    L_PREFIX_BUCKETS,  # of its hash table, a power of two
    L_STEP,  # first row of its steps of a start
    L_N_STEP,
) = range(33)
L_SIZE = 33

WORK_BITS = 3  # knots of the time by tokens in an octave: 8
TOKENS_BITS = 26  # a step computes fewer than 2²⁶ tokens
N_WORK = ((TOKENS_BITS - WORK_BITS + 1) << WORK_BITS) + 1

N_QUANTILE_BITS = 10  # a stage's duration is one of 1024 equally likely values
N_QUANTILE = 1 << N_QUANTILE_BITS

# a step of a start: the stage it is shown as, the stream it draws from, which steps before it in its pool it waits
# for (bit i: the i-th), and its quantile table, ps
STEP_STAGE, STEP_DRAW, STEP_AFTER, STEP_PS = range(4)
STEP_SIZE = STEP_PS + N_QUANTILE

# ---- state ----------------------------------------------------------------------
# State.m, from its start
(
    S_STATUS,
    S_NOW,
    S_CURSOR,  # next request to arrive
    S_NEXT_IN,  # next timer, gateway release or arrival
    S_RELEASE,  # when held requests are to be released, or NEVER
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
    S_N_TIMER,
    S_RELEASES,  # releases so far
    S_CACHE_FIRST,  # response cache: last used, least recently used, entries
    S_CACHE_LAST,
    S_CACHED,
    S_HEDGE_PS,  # when a client may next send a second attempt beside its first, NEVER = none may; its slot
    S_HEDGE,
    S_TIMERS,  # where the heap of timers begins, for that moves when the slots grow
    S_LOOPED,  # requests of closed loops that are over
    S_ENDS,  # scratch: when the steps of one start end, (N_STEP_MAX,) ps
) = range(26)
S_STARTS = S_ENDS + N_STEP_MAX  # as P_STARTS
S_SIZE = S_STARTS + 30

# State.hedge: 1 + the slots that a list begins and ends with, 0 = it is empty
HEDGE_HEAD, HEDGE_TAIL = range(2)
HEDGE_SIZE = 2

# State.station: two limbs of work taken in and of waiting for it to begin, how often, and visits in line
D_BUSY, _D1, D_WAIT, _D3, D_JOBS, D_IN_LINE = range(6)
D_SIZE = 6

# State.content: a row a question
E_FILLED_PS, E_PREV, E_NEXT = range(3)  # when its answer was complete + 1, 0 = not kept
E_SIZE = 3

# State.pool
(
    Q_WANTED,
    Q_STARTED,  # replicas ever started: the index of the next cold start
    Q_AREA_PS,  # when the areas below were last brought up to date
    Q_BILLED_LO,
    Q_BILLED_HI,
    Q_READY_LO,
    Q_READY_HI,
    Q_SERVING_LO,  # ready or draining
    Q_SERVING_HI,
    Q_N_BILLED,
    Q_N_READY,
    Q_N_SERVING,
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
    Q_STARTING_PS,  # how long some replica was starting, up to Q_AREA_PS
    Q_ASKED_TOKENS,  # prompt tokens of the sequences admitted, looked up in the prefix cache
    Q_CACHED_TOKENS,  # of these, found in it
    Q_RUNS_DROPPED,  # runs evicted before their time, not kept or not found, because the table of runs was full
) = range(27)
Q_SIZE = 27

# State.group
(
    H_HELD,
    H_ARRIVALS,  # attempts that reached the gateway
    H_AGAIN,  # of these, all but the first of each request
    H_N_READY,
    H_CURSOR,
    H_DONE,  # completions, counted where attempts are kept apart
    H_DONE_PS,  # the last of them
    H_DONE_GAP_PS,  # the smoothed time between two
    H_CLOSED_PS,  # how long it had no ready replica, up to the last time
    H_CLOSED_SINCE_PS,
    H_SNAPSHOT,  # weighted scores: the interval of the last snapshot + 1
) = range(11)
H_SIZE = 11

# State.lane: held requests of a group, all of them or a tenant's; served: thousandths of weighted tokens; stamp: a release
N_HEAD, N_TAIL, N_HELD, N_SERVED, N_STAMP = range(5)
N_SIZE = 5

# State.limit: a row a class, then a row a tenant; sent on: blocked answers that another model was asked for instead
J_REQUEST_PS, J_TOKEN_PS, J_LAST_PS, J_IN_FLIGHT, J_BUDGET, J_SENT_ON = range(6)
J_SIZE = 6

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
    R_GHOST,  # 1 + the first slot of the running attempts whose client has gone, through F_GHOST_NEXT, 0 = none
    R_PREFIX,  # where its prefix cache starts in State.m, 0 = it has none
) = range(39)
R_SIZE = 39

# State.slot: a request in flight, in cache lines of eight words: what is needed together stands together, for a slot is
# looked at from time to time, and is in no near cache any more when it is looked at again.
(
    F_REQUEST,
    F_NEXT,
    F_PREV,
    F_STATE,  # SEQ_…
    F_PROMPT,
    F_OUTPUT,
    F_COMPUTED,  # computed tokens; in the decode set: computed − step
    F_GENERATED,  # tokens so far; in the decode set: so far when it joined
    #
    F_CLASS,
    F_ARRIVAL_PS,
    F_TAKEN_PS,  # when the gateway took this attempt
    F_SCHEDULED_PS,
    F_FIRST_PS,
    F_START,  # the step at which it joined the decode set
    F_GAP_MAX,
    F_GHOST,  # GHOST_…; from here on there are fields that are kept only where attempts are
    #
    F_DUE_PS,  # when its timer goes off, NEVER = it has none, and its order among equals
    F_DUE_KEY,
    F_GIVE_UP_PS,  # when its client gives it up without a first token, NEVER = not at all
    F_TOTAL_PS,  # when its client gives it up whatever came
    F_TWIN,  # the slot of the other of two hedged attempts, or −1
    F_COUNTED,  # 1 = counts against its limits' concurrency
    F_FROM_CACHE,  # 1 = answered by the response cache
    F_GROUP,  # whose turn it is: its class's, or the fallback
    F_CHUNK,
    F_MARK,  # step + 1 in which a walk scheduled it
    F_LAST_PS,  # its last token when that was not at the previous boundary
    F_CACHED,  # tokens found in the prefix cache when it was first scheduled
    F_HELD,  # leading blocks that it holds in the prefix cache
    F_SHARED,  # blocks of its prompt that lie in segments, once a prefix cache was searched for them
    F_LEAF,  # the segment that its prompt ends in, likewise
    F_RUN,  # waiting: the first run of the deepest segment that was found; in a batch: the run of what is its own, if any
    F_ROUTED_PS,
    F_PREEMPTIONS,
    F_REPLICA,
    F_ATTEMPT,
    F_ATTEMPTS,  # of the request so far
    F_WASTED,  # tokens computed for earlier attempts
    F_HEDGE_NEXT,  # 1 + the slot that comes after it in its list of hedges, 0 = it is the last
    F_HEDGE_PREV,  # … and before it, −1 = it is in none
    F_GHOST_NEXT,  # 1 + the slot of the next running attempt of its replica whose client has gone, 0 = it is the last
    F_CLOCK_PS,  # the clock of its present part of life, read where that began
    F_SINCE_PS,  # since when it has been preempted or passed over
    F_LOST,  # computed tokens that preemption took and it has not got back, 0 = none
    F_COLD_HELD_PS,  # held while no replica was ready: the first of B_SIZE parts of its time
    F_COLD_QUEUE_PS,  # queued while replicas of its pool were starting
    F_PREFILL_PS,  # its prompt's chunks, each alone in a step
    F_PREEMPTED_FIRST_PS,  # preempted until caught up, before the first token
    F_PREEMPTED_PS,  # and after it
    F_INTERFERED_PS,  # after the first token: others' chunks in its steps, and steps without it
    F_CPU_BEFORE_PS,  # at CPU stations before the GPU
    F_CPU_AFTER_PS,  # … and after it
    F_WITHHELD_PS,  # the answer came and nothing of it was shown
    F_STEP,  # which station of its class it is at
    F_STEP_PS,  # when that is done
    F_SEEN,  # tokens that had come by the start of the window, after its end those that came within (marks.see)
) = range(56)
F_SIZE = 56
F_BLAME = F_COLD_HELD_PS

# The heap of timers: row j has its j-th entry, and where in the heap the entry of slot j is. Time (NEVER behind the
# last), order among equals, slot; 1 + the words before it, 0 = none. Four entries are two cache lines.
TIMER_PS, TIMER_KEY, TIMER_SLOT, TIMER_PLACE = range(4)
TIMER_SIZE = 4
TIMERS_TO_SPARE = 3  # rows behind the last, so that there are always four to choose from

B_COLD_HELD, B_COLD_QUEUE, B_PREFILL, B_PREEMPTED_FIRST, B_PREEMPTED, B_INTERFERED = range(6)
B_CPU_BEFORE, B_CPU_AFTER, B_WITHHELD = range(6, 9)
B_SIZE = 9
# waiting or running at a replica: scheduled one by one, or in the decode set; held by the gateway; away until a timer;
# at a station before the GPU, or on its way out; over, and the next turn of its session has not come yet
SEQ_WAITING, SEQ_SINGLE, SEQ_DECODE, SEQ_HELD, SEQ_AWAY, SEQ_BEFORE, SEQ_AFTER, SEQ_THINKING = range(8)
# still wanted; its client has gone while it runs; its twin has answered
GHOST_NOT, GHOST_GONE, GHOST_BEATEN = range(3)

# A replica's prefix cache: its own numbers, the buckets of a hash table (segment → its shallowest run), the runs.
# Places are offsets in State.m, 0 = none.
(
    Z_FREE,  # list of unused runs, through U_DEEP
    Z_N_FREE,
    Z_CACHED,  # blocks that are cached and held by nobody
    Z_OLDEST,  # of the runs held by nobody, the first to be evicted
    Z_NEWEST,
    Z_LEAVER,  # 1 + the first slot of those that finished at this boundary, by request, through F_PREV
) = range(6)
Z_SIZE = 8  # a cache line
(
    U_SEGMENT,
    U_FIRST,  # blocks U_FIRST … U_LAST − 1 of every sequence that goes through the segment
    U_LAST,
    U_REFS,  # sequences that hold it
    U_DEEP,  # the next run of its segment, towards the end
    U_SHALLOW,  # the one before it; of a first run: minus the first run of the next segment of its bucket, or 0
    U_OLDER,
    U_NEWER,
) = range(8)
U_SIZE = 8  # a cache line, for the runs begin with one

# State.counts: a row a class; sums are two limbs of 62 bits each
(
    C_OFFERED,
    C_COMPLETED,
    C_REJECTED,
    C_TIMED_OUT,
    C_FAILED,
    C_MET,
    C_DONE,  # completed within the measured window, whenever they arrived
    C_DONE_MET,  # of these, those that met every objective
    C_TOKENS_IN,  # of answers: prompts whose first token came within the window, and tokens that did
    C_TOKENS_OUT,
    C_ALL_OFFERED,  # outside the measured window as well
    C_ALL_COMPLETED,
    C_ALL_REJECTED,
    C_ALL_FAILED,
    C_INSIDE_MISSED,  # still inside at the end, an objective already out of reach
    C_ASKED_TOKENS,  # prompt tokens of measured requests when first scheduled, in pools with a prefix cache
    C_CACHED_TOKENS,  # of these, found in it
    C_SUM,  # then N_METRIC × (lo, hi)
) = range(18)
(
    C_ALL_TIMED_OUT,
    C_ATTEMPTS,
    C_RETRIES,
    C_HEDGES,
    C_WASTED_TOKENS,
    C_CACHED,  # requests that the response cache answered
    C_ENDED,  # attempts by how they ended: C_ENDED + outcome − 1
) = range(C_SUM + 2 * N_METRIC, C_SUM + 2 * N_METRIC + 7)
C_REASON = C_ENDED + N_ENDED  # requests by reason: C_REASON + reason
C_MORE_SUM = C_REASON + N_REASON  # then N_MORE × (lo, hi)
C_SIZE = C_MORE_SUM + 2 * N_MORE

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

# State.tried: more of the same rows, where clients try again or replicas cache prefixes
A_ATTEMPTS, A_TAKEN_PS, A_WASTED, A_CACHED = range(4)
A_SIZE = 4

# State.sample: a row a (sample, pool)
(
    T_TIME_PS,
    T_POOL,
    T_WANTED,
    T_STAGE,  # replicas in stages 1…7: T_STAGE + stage − 1
    *_STAGES,
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
    T_ASKED_TOKENS,
    T_CACHED_TOKENS,
    T_BLOCKS_CACHED,  # held by nobody, so free to be taken
    T_AGAIN,
) = range(26)
T_SIZE = 26

# State.station_sample: a row a (sample, station); what began is counted in the row of the sample that is next by then
TS_TIME_PS, TS_STATION, TS_BUSY, TS_IN_LINE, TS_WAIT_PS, TS_DONE_LO, TS_DONE_HI, TS_VISITS, TS_BEGUN = range(
    9
)
TS_SIZE = 9

# State.mark: what a pool has done by the end of warm-up (0), of the measured window (1) and of the run (2)
(
    M_BILLED,  # two limbs, as all up to M_STEPS
    _B1,
    M_READY,
    _B3,
    M_SERVING,  # ready or draining
    _B5,
    M_BUSY,
    _B7,
    M_SLOT,
    _B9,
    M_PREFILL_PS,
    _B11,
    M_DECODE_PS,
    _B13,
    M_STEPS,
    M_STEP_PARTS,  # how far the steps in progress are, in 1 / STEP_PARTS
    M_PREFILL_TOKENS,
    M_PREFILL_SQUARES,
    M_DECODE_TOKENS,
    M_KV_READ,
    M_COMPLETED,
    M_PREEMPTED,
    M_STARTED,
    M_TIME_PS,
    M_ASKED_TOKENS,
    M_CACHED_TOKENS,
    M_RUNS_DROPPED,
) = range(27)
M_SIZE = 27
STEP_PARTS_BITS = 16
STEP_PARTS = 1 << STEP_PARTS_BITS
N_MARK = 3
MARK_WARM, MARK_WINDOW, MARK_RUN = range(N_MARK)

# State.session and State.snapshot
SESSION_SIZE = 2
W_START, W_OUTSTANDING, W_WAITING, W_KV, W_SENT = range(5)  # which start of its pool; KV in 1 / KV_PARTS
W_SIZE = 5
KV_PARTS = 10_000
SESSIONS_MAX = (1 << 27) - 1

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
    trace: I64  # (2 · request,) arrival ps, then prompt << 39 | output << 15 | class; then what else requests have
    klass: int  # (class, K_SIZE)
    group: int  # (group, G_SIZE)
    pool: int  # (pool, L_SIZE)
    base: int  # (pool, batch 0…max_num_seqs) ps
    slope: int  # (pool, batch 0…max_num_seqs) ps per kv token
    step: int  # (step, STEP_SIZE) of a start, each pool's behind one another
    scaler: int  # (pool, SCALER_PAR) settings of the controllers


class State(NamedTuple):
    """Everything a run changes: one array, and where its tables start in it. Copying the array copies the run.

    State.m begins with the run's own numbers (S_…). Four tables have no start here, for the rows of `rep` hold
    theirs: the completion heap (max_num_seqs: finish step · 2²⁴ + slot), the residue counts (block_size: decode
    sequences by (computed − step) mod block_size), the stack of longest gaps (max_num_seqs + 2 pairs) and the
    prefix cache (Z_SIZE, buckets, runs).
    """

    m: I64
    pool: int  # (pool, Q_SIZE)
    group: int  # (group, H_SIZE)
    rep: int  # (replica, R_SIZE)
    mix: int  # (replica, class) measured sequences in the decode set
    tree: int  # winners, then keys: next boundary of each replica
    due: int  # winners, then keys: next stage change of each replica
    load: int  # per group: winners, then keys: outstanding requests of a ready replica, then its place (PLACE_BITS)
    ready: int  # (replica,) per group: its ready replicas in order
    ring: int  # (pool, P_RING, 2) (time, milli value) scraped
    scaler: int  # (pool, SCALER_STATE) what the controllers remember
    session: int  # (session, SESSION_SIZE) under session affinity: its last replica + 1, and which start of it; or nothing
    snapshot: (
        int  # (replica, W_SIZE) under weighted scores: the last snapshot, what was sent since; or nothing
    )
    lane: int  # (group, P_N_LANE, N_SIZE)
    worker: int  # (worker,) of the CPU stations: when it is free
    station: int  # (station, D_SIZE)
    content: int  # (question, E_SIZE) of the response cache
    limit: int  # (class, then tenant, J_SIZE)
    hedge: int  # (P_N_HEDGE, HEDGE_SIZE)
    line: int  # (P_N_LINE,) how many of each closed loop's line have been sent
    counts: int  # (class, C_SIZE)
    hist: int  # (class, N_METRIC, N_BUCKET)
    more: int  # (class, N_MORE, N_BUCKET) where attempts are kept apart, else nothing
    mark: int  # (N_MARK, pool, M_SIZE)
    record: int  # (request, X_SIZE) or nothing
    tried: int  # (request, A_SIZE) where clients try again or replicas cache prefixes, or nothing
    blame: int  # (B_SIZE, request) parts of its time, or nothing; memory is touched where one is not 0
    arrived: int  # (request,) when the turns of sessions came, 0 = not at all; or nothing
    sample: int  # (sample, pool, T_SIZE)
    station_sample: int  # (sample, station, TS_SIZE)
    slot: int  # (slot, F_SIZE), then (slot + 3, TIMER_SIZE) where attempts are: last, so that they can grow


#: Where the starts of a row's tables lie in its first array.
STARTS = {Params: P_STARTS, State: S_STARTS}
