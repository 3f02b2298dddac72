"""A run: what it never changes (Params), what it changes (State), and where their tables start.

Each is one flat int64 array; Params has a second one, the trace, that many runs may share. Copying State.m copies a run,
comparing it compares everything. Times are picoseconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.model.tables.cluster_record import ClusterEvent, JobSample, NodeGroupMark, NodeGroupSample
from sim.model.tables.codes import N_STEP_MAX
from sim.model.tables.fault import Episode, EpisodeState, FaultClock, RandomFault, RandomFaultState, Victim
from sim.model.tables.gate import Gate, GateState, Version, VersionState
from sim.model.tables.job import JobParams, JobRun, JobRunState
from sim.model.tables.link import Artifact, ArtifactState, Cached, LinkParams, LinkSample, LinkState, Transfer
from sim.model.tables.node import (
    ClusterParams,
    Drought,
    Gpu,
    GpuShare,
    Member,
    Node,
    NodeGroupParams,
    NodeGroupState,
    NodeStep,
    PoolPlace,
    PoolPlaceState,
    Workload,
)
from sim.model.tables.placement import Alike, SliceProfile
from sim.model.tables.pool import PoolParams, PoolState, Signal, SignalSample, SignalState, StartStep
from sim.model.tables.quota import (
    Candidate,
    OracleAnswer,
    Preemption,
    QueueFlavor,
    QueueHead,
    Quota,
    QuotaMark,
    QuotaNode,
    QuotaNodeState,
    QuotaPair,
    QuotaSample,
    QuotaUse,
    QuotaVictim,
    QuotaWorkload,
)
from sim.model.tables.record import AttemptRecord, ClassCounts, RequestRecord
from sim.model.tables.replica import Replica
from sim.model.tables.rollout import Budget, CanaryStep, Rollout, RolloutState
from sim.model.tables.sample import PoolMark, PoolSample, StationSample, WorkSample
from sim.model.tables.served_model import (
    HedgeList,
    Route,
    ServedModelParams,
    ServedModelState,
    TenantQueue,
)
from sim.model.tables.slot import Slot, SlotNeighbour, Timer
from sim.model.tables.start import StepTaken
from sim.model.tables.traffic import (
    CachedAnswer,
    Fault,
    LimitParams,
    LimitState,
    Line,
    Segment,
    StationParams,
    StationState,
    TrafficClass,
    Turn,
)
from sim.schema import Array, Field, Table, Words, World


class Params(World):
    """What a run never changes. The trace: arrivals, then prompt << 39 | output << 15 | class of each, then more."""

    seed = Field("seed of all random numbers")
    n_request = Field("requests")
    n_class = Field("traffic classes")
    n_served_model = Field("served models")
    n_pool = Field("pools")
    n_replica = Field("replica places of all pools")
    n_sample = Field("rows of the time series that there is room for")
    leaves = Field("leaves of the boundary tree, a power of two ≥ 2")
    duration_ps = Field("the measured window ends here")
    warmup_ps = Field("… and begins here")
    end_ps = Field("the run ends here at the latest: duration and drain limit")
    sample_ps = Field("period of the time series, 0 = none")
    keeps_records = Field("1 = a row per request is kept")
    n_signal = Field("signals of all pools")
    n_signal_sample = Field("samples of all of them that there is room for")
    n_fault = Field("scripted faults")
    fault_at = Field("where they start in Params.m, by time")
    n_rollout = Field("deployments")
    rollout_at = Field("where they start in Params.m")
    n_rollout_step = Field("steps of canaries of all of them")
    rollout_step_at = Field("where these start in Params.m")
    n_version = Field("pools, where versions answer differently or gates look at them, else 0")
    version_at = Field("where their rows start in Params.m")
    n_budget = Field("pools, where some have a disruption budget, else 0")
    budget_at = Field("where their rows start in Params.m")
    n_gate = Field("gates of all deployments")
    gate_at = Field("where they start in Params.m")
    n_link = Field("links that transfers share")
    link_at = Field("where they start in Params.m")
    n_transfer = Field("transfers over links that can be in progress, of all replica places")
    n_session = Field("sessions, 0 = no request belongs to one: the trace has no third word")
    has_attempts = Field("1 = requests may be refused, given up or tried again: attempts are kept apart")
    n_tenant = Field("tenants")
    limit_at = Field("where the limits start in Params.m: of each class, then of each tenant")
    leaf_at = Field("where the requests' leaf segments start in the trace, 0 = no request shares a prefix")
    shared_at = Field("where the tokens of each that lie in segments start in the trace")
    segment_at = Field("where the segments start in the trace")
    n_segment = Field("segments")
    n_queue = Field("gateway queues of a served model: tenants where one shares fairly, else 1")
    weight_at = Field("where the tenants' weights start in Params.m")
    has_outstanding_max = Field("1 = some served model's replicas may hold only so many requests")
    station_at = Field("where the CPU stations start in Params.m")
    n_station = Field("CPU stations")
    n_content = Field("different questions, 0 = no response cache")
    content_at = Field("where what each request asks for starts in the trace")
    cache_entries = Field("answers that the response cache may hold")
    cache_life_ps = Field("how long it keeps them")
    cache_ps = Field("how long an answer from the cache takes")
    turn_at = Field("where the turns start in the trace, 0 = all requests come by themselves")
    n_hedge_list = Field("hedge lists: classes whose clients wait equally long share one")
    all_fit = Field("1 = every request fits every pool")
    line_at = Field("where the lines of closed loops start in the trace")
    n_line = Field("lines of closed loops")
    ends_with_last_answer = Field("1 = the run is over with its last answer")
    n_cluster = Field("1 = replicas have to find slices of a cluster's GPUs")
    cluster_at = Field("where what holds for the cluster starts in Params.m")
    n_node_group = Field("groups of nodes")
    node_group_at = Field("where they start in Params.m")
    n_node_step = Field("steps of nodes on their way to ready")
    node_step_at = Field("where they start in Params.m")
    n_drought = Field("times in which a provider has no node")
    drought_at = Field("where they start in Params.m")
    n_slice_ask = Field("pairs of a group and a pool, or a job")
    slice_ask_at = Field("where what pools ask of groups starts in Params.m")
    n_pool_place = Field("pools whose replicas are placed, then jobs")
    pool_place_at = Field("where their rows start in Params.m")
    n_random_fault = Field("faults that strike again and again")
    random_fault_at = Field("where they start in Params.m")
    n_episode = Field("faults that last for a while")
    episode_at = Field("where they start in Params.m")
    n_fault_clock = Field("of these, those that come again and again")
    fault_clock_at = Field("where their clocks start in Params.m")
    n_victim = Field("nodes and replicas that they may strike at once, where not all are")
    n_artifact = Field("artifacts that nodes may keep")
    artifact_at = Field("where they start in Params.m")
    n_cached = Field("pairs of a node and an artifact")
    n_node = Field("node places of all groups")
    node_leaves = Field("leaves of the node tree, a power of two ≥ 2; 0 without a cluster")
    n_gpu = Field("GPUs of all of them")
    n_gpu_share = Field("the same where GPUs of some group are shared, else 0")
    n_member = Field("members of the gangs of all replica places, then of all runs of jobs")
    n_workload = Field("replica places and runs of jobs that may wait for slices")
    n_job = Field("batch jobs")
    job_at = Field("where they start in Params.m")
    n_job_run = Field("runs of all of them")
    job_run_at = Field("where these start in Params.m, by time")
    job_leaves = Field("leaves of the job tree, a power of two ≥ 2; 0 without jobs")
    n_job_sample = Field("rows of the time series of what jobs hold that there is room for")
    n_event = Field("rows for events of the cluster: all but the last keep one")
    n_group_mark = Field("marks of the groups")
    n_group_sample = Field("rows of the groups' time series that there is room for")
    n_link_sample = Field("rows of the links' time series that there is room for")
    n_carrier = Field("links, and behind them the ends of nodes where some group limits them")
    n_way = Field(
        "links, and where nodes' ends are limited the one that bytes come in by and the one that they leave by"
    )
    n_bound = Field("pairs of a transfer and a way")
    n_taken = Field("rows for steps of starts that are over: all but the last keep one")
    n_alike = Field("pairs of a pool or job and a flavour, or none")
    n_quota_node = Field("queues with quotas, then cohorts")
    quota_node_at = Field("where they start in Params.m")
    n_quota_queue = Field("of these, queues")
    n_quota = Field("pairs of a queue or cohort and a flavour")
    quota_at = Field("where what they have of it starts in Params.m")
    n_quota_pair = Field("flavours: pairs of a flavour and the one resource, GPUs")
    quota_pair_at = Field("where they start in Params.m")
    n_queue_flavor = Field("flavours of queues, each queue's behind one another")
    queue_flavor_at = Field("where they start in Params.m")
    n_resource_group = Field("queues and cohorts: each has the one group of resources")
    resource_group_at = Field("where the number of that group, of each, starts in Params.m")
    n_pair_of = Field("flavours")
    pair_of_at = Field("where the pair of each starts in Params.m")
    n_resource = Field("resources of which there are quotas: one, or none")
    n_quota_workload = Field("workloads where there are quotas, else 0")
    n_quota_sample = Field("rows of the queues' time series that there is room for")
    n_quota_mark = Field("marks of the queues")

    klass = Table(TrafficClass, "a row a class")
    served_model = Table(ServedModelParams, "a row a served model")
    pool = Table(PoolParams, "a row a pool")
    base = Words("times of a step by sequences, each pool's behind one another; then times by tokens, ps")
    slope = Words("what each attended token adds to a step, by sequences, ps")
    start_step = Table(StartStep, "steps of a start, each pool's behind one another")
    autoscaler = Words("settings of the pools' autoscalers, SCALER_PAR each")
    signal = Table(Signal, "a row a signal, each pool's behind one another")

    fault = Table(
        Fault, "scripted losses, by time", at="fault_at", rows=("n_fault",), key="losses", by="at_ps"
    )
    rollout = Table(Rollout, "deployments", at="rollout_at", rows=("n_rollout",))
    rollout_step = Table(CanaryStep, "steps of canaries", at="rollout_step_at", rows=("n_rollout_step",))
    version = Table(Version, "a row a pool, or none", at="version_at", rows=("n_version",))
    budget = Table(Budget, "a row a pool, or none", at="budget_at", rows=("n_budget",))
    gate = Table(Gate, "each deployment's behind one another", at="gate_at", rows=("n_gate",))
    link = Table(LinkParams, "links", at="link_at", rows=("n_link",), key="links")
    cluster = Table(ClusterParams, "one row, or none", at="cluster_at", rows=("n_cluster",))
    node_group = Table(NodeGroupParams, "groups of nodes", at="node_group_at", rows=("n_node_group",))
    node_step = Table(NodeStep, "steps of nodes, by group", at="node_step_at", rows=("n_node_step",))
    drought = Table(Drought, "each group's droughts behind one another", at="drought_at", rows=("n_drought",))
    slice_ask = Table(
        SliceProfile,
        "(group, pool or job) what it takes of each of its GPUs; no starts: it cannot run in that group",
        at="slice_ask_at",
        rows=("n_slice_ask",),
    )
    pool_place = Table(
        PoolPlace, "a row a pool, then a row a job; or none", at="pool_place_at", rows=("n_pool_place",)
    )
    artifact = Table(Artifact, "artifacts that nodes may keep", at="artifact_at", rows=("n_artifact",))
    random_fault = Table(
        RandomFault, "faults that strike again and again", at="random_fault_at", rows=("n_random_fault",)
    )
    episode = Table(Episode, "faults that last for a while", at="episode_at", rows=("n_episode",))
    fault_clock = Table(FaultClock, "when they come", at="fault_clock_at", rows=("n_fault_clock",))
    job = Table(JobParams, "batch jobs", at="job_at", rows=("n_job",))
    job_run = Table(JobRun, "runs of all jobs, by time", at="job_run_at", rows=("n_job_run",))
    quota_node = Table(
        QuotaNode, "queues with quotas, then cohorts", at="quota_node_at", rows=("n_quota_node",)
    )
    quota = Table(Quota, "(queue or cohort, flavour)", at="quota_at", rows=("n_quota",))
    quota_pair = Table(QuotaPair, "flavours", at="quota_pair_at", rows=("n_quota_pair",))
    queue_flavor = Table(
        QueueFlavor, "flavours of queues, in their order", at="queue_flavor_at", rows=("n_queue_flavor",)
    )
    resource_group = Words(
        "(queue or cohort,) its group of resources", at="resource_group_at", rows=("n_resource_group",)
    )
    pair_of = Words("(flavour,) its pair", at="pair_of_at", rows=("n_pair_of",))
    limit = Table(LimitParams, "limits of each class, then of each tenant", at="limit_at")
    tenant_weight = Words("weights of the tenants", at="weight_at")
    station = Table(StationParams, "CPU stations", at="station_at")
    segment = Table(Segment, "segments of prompts", at="segment_at", of="trace")
    turn = Table(Turn, "what follows each request", at="turn_at", of="trace")
    line = Table(Line, "lines of closed loops", at="line_at", of="trace")
    leaf = Words("the segment that each request's prompt ends in, −1 = none", at="leaf_at", of="trace")
    shared_tokens = Words("tokens of each request that lie in segments", at="shared_at", of="trace")
    content = Words("what each request asks for, −1 = nothing asked again", at="content_at", of="trace")

    def __init__(self, m: np.ndarray, trace: np.ndarray) -> None:
        super().__init__(m)
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Params, (self.m, self.trace)


class State(World):
    """Everything that a run changes. Four tables have no start here, for replicas hold theirs: completion heaps, residue
    counts, stacks of longest gaps, prefix caches.
    """

    status = Field("NEW, OK, DONE, NEED_SLOTS, NEED_POLICY, NEED_PLACEMENT or CLOSED")
    now_ps = Field("the clock at the last control instant")
    cursor = Field("the next request of the table to arrive")
    next_input_ps = Field("the next timer, release or arrival")
    next_cluster_ps = Field("when the cluster acts next, see sim.model.loop.cluster_events; or NEVER")
    release_ps = Field("when held requests are released, or NEVER")
    free_slot = Field("first of the free slots, −1 = none")
    in_flight = Field("slots in use")
    digest = Field("sum of the hashes of all rows written")
    next_sample_ps = Field("when the time series gets its next row, or NEVER")
    n_sample = Field("rows that it has")
    policy_pool = Field("the pool whose tick waits for a policy of the host")
    stop_ps = Field("the next scrape, sample, tick, mark or end")
    is_controlling = Field("1 = at the control instant that was reached some ticks are still to come")
    next_mark_ps = Field("when the next mark is set, or NEVER")
    n_mark = Field("marks set so far")
    next_fault_ps = Field("when the next fault strikes, or NEVER")
    n_fault = Field("scripted faults that have struck")
    rates_ps = Field("since when rates have to be shared out anew, NEVER = they are as they should be")
    shared_ps = Field("when the links' sums were last brought up to date")
    first_moving = Field("first of the transfers in progress, by cap, then by number; −1 = none")
    first_end = Field("1 + the first of the nodes' ends in use, as a row of `link`, 0 = none")
    n_queued = Field("fetches that wait until somebody can serve them")
    n_timer = Field("entries of the heap of timers")
    n_release = Field("releases so far")
    cache_first = Field("response cache: the question used last")
    cache_last = Field("… and the one used least recently")
    n_cached = Field("answers in the response cache")
    hedge_ps = Field("when a client may next send a second attempt beside its first, NEVER = none may")
    hedge_slot = Field("the slot of that attempt")
    timer_at = Field("where the heap of timers starts, which moves when the slots grow")
    neighbour_at = Field("where what neighbours took from the slots' requests starts, likewise")
    n_looped = Field("requests of closed loops that are over")
    n_slot = Field("slots that there is room for")
    next_scan_ps = Field("when the node autoscaler looks next, or NEVER")
    placement_ps = Field("when those that wait for slices are placed, or NEVER")
    again_ps = Field("when they are placed again after a placement in which the host is asked")
    n_pass = Field("placements so far")
    asked_replica = Field("the replica that the host is asked about, −1 = in no placement")
    is_answered = Field("1 = it has said so")
    n_waiting = Field("replicas and runs of jobs that wait for slices")
    first_waiting = Field("the one that goes first, −1 = none waits")
    last_waiting = Field("the one that goes last")
    n_event = Field("events of the cluster so far, those for which there was no room included")
    cause = Field("who decided what happens now in the cluster: CAUSE_…")
    cause_id = Field("… of which number")
    because = Field("the event that set it off, −1 = none did")
    n_taken = Field("steps of starts that are over, those for which there was no room included")
    n_look = Field("looks at those that wait for quota so far")
    node_added_ps = Field("when the node autoscaler last asked for a node, −1 = it has not")
    step_ends = Array("scratch: when the steps of one start end", N_STEP_MAX, unit="ps")

    pool = Table(PoolState, "a row a pool", rows=("n_pool",))
    served_model = Table(ServedModelState, "a row a served model", rows=("n_served_model",))
    route = Table(Route, "a row a served model: what its router was asked last", rows=("n_served_model",))
    replica = Table(Replica, "a row a replica place", rows=("n_replica",))
    mix = Words("(replica, class) measured sequences in the decode set", rows=("n_replica", "n_class"))
    boundary_tree = Words("nodes, then keys: the next boundary of each replica")
    stage_tree = Words("nodes, then keys: the next stage change of each replica")
    load = Words(
        "of each served model: nodes, then keys: outstanding requests of a ready replica, then its place"
    )
    ready = Words("(replica,) of each served model: its ready replicas in order", rows=("n_replica",))
    signal = Table(SignalState, "a row a signal", rows=("n_signal",))
    signal_sample = Table(
        SignalSample, "samples, each signal's in a ring of its own", rows=("n_signal_sample",)
    )
    autoscaler = Words("what the pools' autoscalers remember, SCALER_STATE each")
    router_memory = Words("what routers remember: rows of the kinds in use, see sim.model.router.choose")
    link = Table(LinkState, "a row a link, then N_END rows a node; or none of those", rows=("n_carrier",))
    rollout = Table(RolloutState, "a row a deployment", rows=("n_rollout",))
    version = Table(VersionState, "a row a pool, or none", rows=("n_version",))
    budget = Table(Budget, "a row a pool, or none", rows=("n_budget",))
    gate = Table(GateState, "a row a gate", rows=("n_gate",))
    transfer = Table(Transfer, "each replica place's transfers", rows=("n_transfer",))
    node_group = Table(NodeGroupState, "a row a group", rows=("n_node_group",))
    node = Table(Node, "a row a node place", rows=("n_node",))
    node_tree = Words("nodes of the tree, then keys: when each node's step ends")
    gpu = Table(Gpu, "each node's GPUs behind one another", rows=("n_gpu",))
    gpu_share = Table(GpuShare, "the same where some are shared, or none", rows=("n_gpu_share",))
    member = Table(Member, "each replica place's gang, then each run's", rows=("n_member",))
    job_run = Table(JobRunState, "a row a run of a job", rows=("n_job_run",))
    job_tree = Words("nodes of the tree, then keys: when each run is submitted, or its work is done")
    workload = Table(
        Workload, "a row a replica place, then a row a run of a job; or none", rows=("n_workload",)
    )
    alike = Table(Alike, "(pool or job, 1 + flavour, 0 = without quota)", rows=("n_alike",))
    quota_node = Table(QuotaNodeState, "a row a queue or cohort", rows=("n_quota_node",))
    quota_used = Words("(queue or cohort, flavour) quota in use", rows=("n_quota",))
    quota_use = Table(QuotaUse, "(queue, flavour)", rows=("n_quota_queue", "n_quota_pair"))
    quota_workload = Table(QuotaWorkload, "a row a workload", rows=("n_quota_workload",))
    workload_usage = Words(
        "(workload, flavour) quota that it uses", rows=("n_quota_workload", "n_quota_pair")
    )
    queue_head = Table(QueueHead, "a row a queue", rows=("n_quota_queue",))
    preemption = Table(Preemption, "scratch: what quota is looked for", rows=("n_resource",))
    asked = Words("scratch: (flavour,) what is asked for", rows=("n_quota_pair",))
    contested = Words("scratch: (flavour,) whether there is too little of it", rows=("n_quota_pair",))
    left = Words("scratch: (flavour,)", rows=("n_quota_pair",))
    advantage = Words("scratch: (cohort,)", rows=("n_quota_node",))
    pruned = Words("scratch: (queue or cohort,)", rows=("n_quota_node",))
    candidate = Table(Candidate, "scratch: workloads that may have to go", rows=("n_quota_workload",))
    quota_victim = Table(QuotaVictim, "scratch: workloads that have to go", rows=("n_quota_workload",))
    quota_answer = Table(OracleAnswer, "scratch: (flavour,)", rows=("n_quota_pair",))
    group_asked = Words("scratch: what a workload asks for", rows=("n_resource",))
    group_flavors = Words("scratch: the flavours that it may have, a bit each", rows=("n_resource",))
    got_flavor = Words("scratch: the flavour that it would get", rows=("n_resource",))
    got_mode = Words("scratch: how", rows=("n_resource",))
    got_level = Words("scratch: from how far up it would borrow", rows=("n_resource",))
    found = Words("scratch: what its flavour would mean", rows=("n_resource",))
    assumed = Words("scratch: (flavour,) what of it was assigned", rows=("n_quota_pair",))
    artifact = Table(ArtifactState, "a row an artifact", rows=("n_artifact",))
    cached = Table(Cached, "(node, artifact)", rows=("n_cached",))
    random_fault = Table(RandomFaultState, "a row a random fault", rows=("n_random_fault",))
    pool_place = Table(PoolPlaceState, "a row a pool, then a row a job; or none", rows=("n_pool_place",))
    episode = Table(EpisodeState, "a row a fault that lasts for a while", rows=("n_episode",))
    victim = Table(Victim, "what each of them strikes", rows=("n_victim",))
    start_hist = Words(
        "of each pool whose starts move bytes over links: (1 + step, N_BUCKET) durations of the whole, of steps"
    )
    queue = Table(TenantQueue, "(served model, n_queue) gateway queues", rows=("n_served_model", "n_queue"))
    worker = Words("(worker,) of the CPU stations: when it is free, ps")
    station = Table(StationState, "a row a station", rows=("n_station",))
    answer = Table(CachedAnswer, "a row a question", rows=("n_content",))
    limit = Table(LimitState, "a row a class, then a row a tenant")
    hedge_list = Table(HedgeList, "(n_hedge_list,)", rows=("n_hedge_list",))
    line = Words("(n_line,) how many of each line have been sent", rows=("n_line",))
    counts = Table(ClassCounts, "a row a class", rows=("n_class",))
    hist = Words("(class, N_METRIC, N_BUCKET) histograms")
    more = Words("(class, N_MORE, N_BUCKET) where attempts are kept apart, else nothing")
    mark = Table(PoolMark, "(N_MARK, pool)")
    record = Table(RequestRecord, "a row a request, or nothing")
    attempt = Table(
        AttemptRecord, "a row a request where clients try again or replicas cache prefixes, or nothing"
    )
    spent = Words(
        "(N_SPENT, request) parts of its time, ps, or nothing; memory is touched where one is not 0"
    )
    arrived = Words("(request,) when the turns of sessions came, 0 = not at all; or nothing")
    sample = Table(PoolSample, "(sample, pool)", rows=("n_sample", "n_pool"))
    station_sample = Table(StationSample, "(sample, station)", rows=("n_sample", "n_station"))
    work_sample = Table(WorkSample, "(sample, pool)", rows=("n_sample", "n_pool"))
    work = Table(PoolMark, "scratch: a row a pool, what a sample reads of its replicas", rows=("n_pool",))
    group_mark = Table(NodeGroupMark, "(N_MARK, group)", rows=("n_group_mark",))
    group_sample = Table(NodeGroupSample, "(sample, group)", rows=("n_group_sample",))
    quota_mark = Table(QuotaMark, "(N_MARK, queue, flavour)", rows=("n_quota_mark",))
    quota_sample = Table(QuotaSample, "(sample, queue, flavour)", rows=("n_quota_sample",))
    job_sample = Table(JobSample, "(sample, group)", rows=("n_job_sample",))
    link_sample = Table(LinkSample, "(sample, link)", rows=("n_link_sample",))
    bound_ps = Words("(transfer, way) how long a link or an end has held a transfer back", rows=("n_bound",))
    taken = Table(StepTaken, "steps of starts that are over, the first of them", rows=("n_taken",))
    event = Table(ClusterEvent, "what happened in the cluster, the first of it", rows=("n_event",))
    slot = Table(Slot, "(slot,), then timers and what neighbours took: last, so that they can grow")

    timer = Table(Timer, "the heap of timers", at="timer_at")
    neighbour = Table(SlotNeighbour, "(slot,) where GPUs are shared", at="neighbour_at")

    def __reduce__(self) -> tuple[Any, ...]:
        return State, (self.m,)


#: Tables of a state that the digest of a run's result covers, from the first to the last, side by side in State.m.
DIGESTED = ("counts", "hist", "more", "mark")
