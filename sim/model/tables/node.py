"""The cluster under the pools: groups of nodes, nodes, their GPUs cut into slices, and the replicas that want slices."""

from __future__ import annotations

from sim.model.tables.pool import N_QUANTILE
from sim.schema import Array, Field, Row, Wide
from sim.units import NEVER

NODE_STAGES = ("absent", "provisioning", "booting", "driver", "ready", "cordoned")
NODE_ABSENT, NODE_PROVISIONING, NODE_BOOTING, NODE_DRIVER, NODE_READY, NODE_CORDONED = range(6)

PLACEMENTS = ("first_fit", "best_fit", "by_scores", "by_user")
FIRST_FIT, BEST_FIT, BY_SCORES, BY_USER = range(4)

NODE_SCORES = ("least_allocated", "most_allocated", "requested_to_capacity", "fgd", "topology_spread")
LEAST_ALLOCATED, MOST_ALLOCATED, REQUESTED_TO_CAPACITY, FGD, TOPOLOGY_SPREAD = range(5)
N_SHAPE_POINT = 10  # points of a shape at most

CONSOLIDATIONS = ("none", "when_empty", "when_empty_or_underutilized")
NO_CONSOLIDATION, WHEN_EMPTY, WHEN_UNDERUTILIZED = range(3)

EXPANDERS = ("least_waste", "priority", "cheapest", "random")
LEAST_WASTE, BY_PRIORITY, CHEAPEST, AT_RANDOM = range(4)

SHARINGS = ("none", "time_slicing", "mps")
NOT_SHARED, TIME_SLICING, MPS = range(3)
TENANTS_MAX = 8  # replicas that share a GPU

GPUS_MAX = 16  # of a node

EVENT_NAMES = (
    *("node_requested", "node_refused", "node_stage", "node_ready", "node_removed", "node_lost"),
    *("node_cordoned", "node_uncordoned"),
    *("replica_waits", "replica_placed", "replica_ready", "replica_drains", "replica_gone", "replica_lost"),
    *("pool_scaled", "node_notice", "replica_preempted"),
    *("fault_begins", "fault_ends"),
    *("job_submitted", "job_placed", "job_preempted", "job_lost", "job_finished", "job_failed"),
    *("node_drained", "replica_evicted", "eviction_refused"),
    *("replica_crashed", "replica_hangs", "gpu_lost", "gpu_repaired"),
    *("replica_stage", "member_placed", "fault_struck", "rollout_started", "rollout_ended"),
    *("rollout_back", "rollout_paused"),
    *("cache_filled", "cache_hit", "cache_joined", "cache_evicted"),
    *("rollout_promoted", "rollout_rolled_back", "rollout_late"),
    *("gate_passed", "gate_failed", "gate_inconclusive", "gate_error"),  # as sim.model.rollout.gates.PHASES
    *("quota_short", "workload_admitted", "workload_unplaceable", "quota_taken"),
    *("peer_serves", "peer_stops"),
    "mig_mode_switched",
)
(
    EVENT_NODE_REQUESTED, EVENT_NODE_REFUSED, EVENT_NODE_STAGE, EVENT_NODE_READY, EVENT_NODE_REMOVED,
    EVENT_NODE_LOST, EVENT_NODE_CORDONED, EVENT_NODE_UNCORDONED, EVENT_REPLICA_WAITS, EVENT_REPLICA_PLACED,
    EVENT_REPLICA_READY, EVENT_REPLICA_DRAINS, EVENT_REPLICA_GONE, EVENT_REPLICA_LOST, EVENT_POOL_SCALED,
    EVENT_NODE_NOTICE, EVENT_REPLICA_PREEMPTED, EVENT_FAULT_BEGINS, EVENT_FAULT_ENDS, EVENT_JOB_SUBMITTED,
    EVENT_JOB_PLACED, EVENT_JOB_PREEMPTED, EVENT_JOB_LOST, EVENT_JOB_FINISHED, EVENT_JOB_FAILED,
    EVENT_NODE_DRAINED, EVENT_REPLICA_EVICTED, EVENT_EVICTION_REFUSED, EVENT_REPLICA_CRASHED,
    EVENT_REPLICA_HANGS, EVENT_GPU_LOST, EVENT_GPU_REPAIRED, EVENT_REPLICA_STAGE, EVENT_MEMBER_PLACED,
    EVENT_FAULT_STRUCK, EVENT_ROLLOUT_STARTED, EVENT_ROLLOUT_ENDED, EVENT_ROLLOUT_BACK,
    EVENT_ROLLOUT_PAUSED, EVENT_CACHE_FILLED, EVENT_CACHE_HIT, EVENT_CACHE_JOINED, EVENT_CACHE_EVICTED,
    EVENT_ROLLOUT_PROMOTED, EVENT_ROLLOUT_ROLLED_BACK, EVENT_ROLLOUT_LATE,
    EVENT_GATE_PASSED, EVENT_GATE_FAILED, EVENT_GATE_INCONCLUSIVE, EVENT_GATE_ERROR,
    EVENT_QUOTA_SHORT, EVENT_ADMITTED, EVENT_UNPLACEABLE, EVENT_QUOTA_TAKEN,
    EVENT_PEER_SERVES, EVENT_PEER_STOPS,
    EVENT_MIG_MODE_SWITCHED,
) = range(57)  # fmt: skip


class ClusterParams(Row):
    """What holds for the whole cluster; a run without one has no row."""

    placement = Field("which node a replica goes to: FIRST_FIT …")
    score_weights = Array(
        "BY_SCORES: what each score counts, by its place in NODE_SCORES; the highest sum wins",
        len(NODE_SCORES),
    )
    shape = Array(
        "REQUESTED_TO_CAPACITY: per cent of a node in use, and the score there, by turns", 2 * N_SHAPE_POINT
    )
    n_shape = Field("points of the shape")
    mig_placement = Field("where on a GPU a new MIG instance starts: FIRST_START …")
    expander = Field("which group gets nodes: LEAST_WASTE …")
    scan_ps = Field("period of the node autoscaler, NEVER = there is none", begin=10 * 10**12)
    unneeded_ps = Field("how long a node holds nothing before it goes", begin=600 * 10**12)
    delay_after_add_ps = Field("no node goes so soon after one was asked for", begin=600 * 10**12)
    bulk_delete_max = Field("nodes that go in one scan at most", begin=10)
    preempts = Field("1 = a replica takes slices from those of lower priority where it finds none", begin=1)
    grace_ps = Field("how long a preempted or evicted replica may finish what it holds", begin=30 * 10**12)
    retry_ps = Field("how long after an eviction that a budget forbade it is tried again", begin=5 * 10**12)
    is_fair = Field("1 = queues with quotas share by weight (fair sharing)")
    strategies = Field("of fair sharing: STRATEGIES of sim.model.placement.fair_preemption")
    quota_units = Field("so many units of quota are a GPU", begin=8)
    below_milli = Field(
        "a node with less than this share of its slices in use goes if what it holds fits elsewhere; 0 = none does"
    )
    drains_max = Field("nodes that are drained for that at a time, at most", begin=1)
    graceful_ps = Field("how long a replica may then finish what it holds, at most", begin=600 * 10**12)
    repartitions = Field("1 = GPUs of some group are cut anew for who waits")
    replace_after_ps = Field(
        "how long after it lost a GPU a node is replaced, NEVER = it is not", begin=NEVER
    )
    consolidation = Field("NO_CONSOLIDATION …: which nodes go, or make way for cheaper ones")
    consolidate_after_ps = Field("how long what a node holds has to be the same before it may")
    disrupted = Field("nodes that may be going at a time, or per cent of all, rounded up", begin=10)
    is_percent = Field("1 = `disrupted` is per cent", begin=1)


class NodeGroupParams(Row):
    """A group of nodes: machines of one kind in one zone."""

    first_node = Field("number of its first node")
    n_node = Field("node places, max_nodes")
    min_nodes = Field("nodes at least: the node autoscaler removes none below")
    initial_nodes = Field("nodes ready at time 0")
    gpus = Field("GPUs of a node")
    first_gpu = Field("number of the first GPU of its first node")
    zone = Field("its zone")
    priority = Field("for the expander: the highest goes first")
    price_micro = Field("usd of a node in an hour, in millionths", unit="usd/1e6/h")
    is_prepaid = Field("1 = its nodes cost the same whether they are asked for or not")
    first_step = Field("row of its first node step")
    n_step = Field("node steps, one after another, from the request to ready")
    no_capacity_q20 = Field("chance that the provider has no node, of 2²⁰")
    retry_ps = Field("how long the node autoscaler leaves it alone after that", begin=300 * 10**12)
    first_drought = Field("row of its first drought")
    n_drought = Field("times in which the provider has no node")
    switches = Field("1 = its GPUs are handed out whole and in instances: their MIG mode is switched")
    mode_ps = Field("how long that takes")
    mode_of_node = Field("1 = and only on a node that holds nothing; 0 = on an idle GPU")
    repartitions = Field(
        "1 = replicas are evicted where an instance that is waited for would fit without them"
    )
    create_ps = Field("how long it takes to make a MIG instance")
    cache_bytes = Field("what a node can keep of images and weights, 0 = it keeps nothing", unit="bytes")
    nic_q40 = Field("what a node's network card carries, in each direction; 0 = no limit")
    disk_q40 = Field("what its disk reads; 0 = no limit")
    preloaded = Field("bit i: a node has the i-th artifact as soon as it is ready")
    paid_from = Field(
        "the first stage in which the provider charges for a node: NODE_…", begin=NODE_PROVISIONING
    )
    unit_ps = Field("it charges for whole units of so long", begin=1)
    least_ps = Field("and for no less than this")
    slices = Field("places of one of its GPUs: memory slices, or replicas that share it", begin=8)
    sharing = Field("NOT_SHARED, TIME_SLICING or MPS")
    beside_q10 = Field(
        "what a step beside others takes more: by time-slicing for the switching, by MPS beside steps of the other kind",
        unit="1/1024",
    )
    flavor = Field("1 + the flavour of quotas that it belongs to, 0 = none")


class NodeStep(Row):
    """A step of a node's way to ready."""

    stage = Field("the stage that a node is shown as while it lasts: NODE_…")
    quantile_ps = Array("its duration is one of these, equally likely", N_QUANTILE, unit="ps")


class Drought(Row):
    """A time in which the provider has no node of a group."""

    from_ps = Field("from then on")
    to_ps = Field("up to then")


class PoolPlace(Row):
    """How a pool's replicas, or a job's runs, are placed. Both are workloads: what is said of replicas holds for runs."""

    priority = Field("the highest goes first where slices are short")
    n_member = Field("nodes that a replica's gang may spread over: pp", begin=1)
    member_gpus = Field("GPUs of one node that each of its members takes: tp · dp", begin=1)
    first_member = Field("row of the first member of its first replica or run")
    thread_percent = Field(
        "of a GPU's multiprocessors, what a replica may use where it shares one", begin=100
    )
    queue = Field("1 + the queue whose quota it needs, 0 = it needs none")
    flavors = Field("bit f: it can run in flavour f")
    quota_units = Field("how much quota one of them needs", unit="units")
    memory_micro = Field("of a GPU's memory, what a replica sets aside where it shares one", unit="1/1e6")


class NodeGroupState(Row):
    """What has become of a group."""

    area_ps = Field("when the sums below were last brought up to date")
    billed_ps = Wide("Σ nodes from their request until they are gone · time", unit="ps")
    ready_ps = Wide("Σ ready or cordoned nodes · time", unit="ps")
    used_ps = Wide("Σ memory slices that replicas and jobs hold · time", unit="ps")
    job_ps = Wide("Σ memory slices that jobs hold · time", unit="ps")
    paid_ps = Wide("Σ nodes that the provider charges for · time", unit="ps")
    rounded_ps = Wide("Σ time that it charged beyond that for nodes that are gone", unit="ps")
    n_billed = Field("nodes asked for and not gone now")
    n_paid = Field("nodes that the provider charges for now")
    n_ready = Field("nodes ready or cordoned now")
    used_slices = Field("memory slices that replicas and jobs hold now")
    job_slices = Field("of these, those that jobs hold")
    peak_nodes = Field("the most of them at once")
    requested = Field("requests for a node so far: the number of the next one")
    refused = Field("of these, how often the provider had none")
    removed = Field("nodes that the node autoscaler removed")
    lost = Field("nodes that were lost")
    served_bytes = Wide("bytes that its nodes served to others", unit="bytes")
    retry_ps = Field("the node autoscaler leaves it alone up to then")
    packed = Field("scratch: waiting replicas that fresh nodes of it would hold")
    opened = Field("scratch: how many nodes those are")
    held_slices = Field("scratch: how many of their memory slices those would hold")
    n_going = Field("scratch: how many of its nodes a trial lets go")


class Node(Row):
    """A node place of a group."""

    group = Field("its group")
    stage = Field("NODE_…")
    first_gpu = Field("number of its first GPU")
    requested_ps = Field("when it was asked for")
    paid_ps = Field("since when the provider has charged for it")
    request = Field("which request of its group it is, −1 = ready from the beginning")
    ready_ps = Field("since when it has been ready")
    step = Field("the step of its way to ready that is in progress")
    n_member = Field("members of gangs that it holds")
    used_slices = Field("memory slices that they hold")
    idle_ps = Field("since when it has held nothing")
    cached_bytes = Field("what its cache holds", unit="bytes")
    n_upload = Field("fetches of other nodes that it serves")
    is_draining = Field("1 = what it holds is evicted; 2 and more = and then it is given back: GIVEN_BACK …")
    broken_ps = Field("since when one of its GPUs has been lost, −1 = none is", begin=-1)
    broken_event = Field("the number of the event that says so")
    changed_ps = Field("when somebody last took slices of it or gave some back")
    unneeded_ps = Field("since when what it holds has fitted elsewhere, −1 = it does not", begin=-1)
    awaits = Field("1 + the node that is to take its place and is not ready yet, 0 = none")
    is_awaited = Field("scratch: 1 = it is to take the place of others")
    goes = Field("scratch: 1 = on trial: it goes")
    n_laid = Field("scratch: members that a trial has moved to it")
    cost = Field("scratch: what it costs to disrupt what it holds, 0 = it is not to be disrupted")
    is_doomed = Field("1 = it has been told that it will be lost")
    rank = Field("BY_USER: how much it is wanted for the replica that is looked at, 0 = not at all")
    n_promised = Field("waiting replicas for which a preemption makes room here")
    first_held = Field("the first of the members that it holds, −1 = none", begin=-1)
    cause = Field("why the last of its events happened: CAUSE_…")
    cause_id = Field("… of which number")
    event = Field("the number of that event")
    freed_event = Field("the number of the last event that made room on it")
    wanted_by = Field("scratch: the first of the waiting replicas that a plan puts on it, −1 = none")


class Gpu(Row):
    """A GPU of a node."""

    busy = Field("bit i: somebody holds its i-th memory slice")
    compute = Field("compute slices that somebody holds")
    media = Field("1 = somebody holds its media extensions")
    is_whole = Field("1 = its MIG mode is off")
    is_lost = Field("1 = it does not work: all its slices count as held, by nobody")
    kept_busy = Field("scratch: what is held, while a preemption is tried")
    kept_compute = Field("scratch")
    kept_media = Field("scratch")


class GpuShare(Row):
    """A GPU that several replicas share, if any does."""

    group = Field("the group of its node")
    n_busy = Field("replicas with a step in progress")
    n_decoding = Field("of these, with one in which sequences decode")
    prompt_percent = Field("Σ thread_percent of those with one that computes prompts")
    tenant = Array("who has its i-th place: 1 + a replica, 0 = nobody", TENANTS_MAX)


class Member(Row):
    """What one member of a replica's gang holds: slices of so many GPUs of one node."""

    node = Field("the node, −1 = it holds nothing", begin=-1)
    gpus = Field("bit i: a slice of the node's i-th GPU")
    starts = Field("3 bits a GPU: the first memory slice of its slice")
    replica = Field("the workload whose member it is")
    is_victim = Field("scratch: 1 = a preemption would take its slices; 2 = and break a disruption budget")
    kept_node = Field("scratch: the node that it holds, while a trial moves it")
    kept_gpus = Field("scratch: its `gpus` there")
    kept_starts = Field("scratch: its `starts` there")
    prev = Field("the member before it on its node, −1 = none", begin=-1)
    next = Field("the one behind it", begin=-1)


class Workload(Row):
    """A replica place as somebody who waits for slices, by its number; behind all of them the runs of jobs."""

    place = Field("its row of `pool_place`: its pool, or the number of pools + its job")
    first_member = Field("the first member of its gang")
    is_waiting = Field("1 = it waits")
    was_tried = Field("1 = a placement has found nothing for it")
    nominated = Field("1 + the node on which a preemption makes room for it, 0 = none")
    is_repartition = Field("1 = by evictions, because those who go fit elsewhere")
    is_planned = Field("scratch: 1 = nodes that are on their way will hold it")
    created_ps = Field(
        "how long it takes to make what it has been given ready: instances, and modes switched"
    )
    moved_for = Field("scratch: 1 + the node for which a trial has moved it elsewhere, 0 = none")
    since_ps = Field("since when it has waited")
    cause = Field("why the last of its events happened: CAUSE_…")
    cause_id = Field("… of which number")
    event = Field("the number of that event")
    is_leaving = Field("1 = that event says that it has to go")
    prev = Field("the one that goes before it, −1 = none", begin=-1)
    next = Field("the one behind it", begin=-1)


class PoolPlaceState(Row):
    """A pool's placements."""

    passed_over = Field("the last look at those that wait for quota in which one of it got none")
    waited_ps = Wide("Σ time that its replicas have waited for slices", unit="ps")
    waited_max_ps = Field("the longest of these waits")
    placed = Field("replicas placed")
    preempted = Field("replicas that were preempted")
    evicted = Field("replicas that were evicted")
    refused = Field("evictions that its disruption budget forbade")
    is_owed = Field(
        "1 = replicas that drain could not be replaced yet, for all places of the pool are in use"
    )
    owed_cause = Field("why they have to be replaced: CAUSE_…")
    owed_id = Field("… of which number")
