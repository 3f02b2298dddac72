"""What each column of a cluster's records is: node groups, events, steps of starts, runs of batch jobs."""

from __future__ import annotations

import pyarrow as pa

from sim.records.schema import NAME, Column, duration, moment

NODES: list[Column] = [
    Column("time_s", pa.float64(), "s", "when the sample was taken: the end of its interval"),
    Column("time_ps", pa.int64(), "ps", "when the sample was taken, exact"),
    Column("interval_s", pa.float64(), "s", "time since the sample before; 0 for the first"),
    Column("node_group", NAME, "name", "node group"),
    Column("zone", NAME, "name", "its zone"),
    Column("nodes_provisioning", pa.int32(), "nodes", "asked for, until the provider has them running"),
    Column("nodes_booting", pa.int32(), "nodes", "until they have joined the cluster"),
    Column("nodes_driver", pa.int32(), "nodes", "until driver and device plugin show their GPUs"),
    Column("nodes_ready", pa.int32(), "nodes", "that take replicas"),
    Column("nodes_cordoned", pa.int32(), "nodes", "that take no new replicas"),
    Column("used_slices", pa.int32(), "slices", "memory slices (a GPU has 8) that replicas and jobs hold"),
    Column("job_slices", pa.int32(), "slices", "of these, those that batch jobs hold"),
    Column("free_slices", pa.int32(), "slices", "memory slices of ready nodes that nobody holds"),
    Column("useless_slices", pa.int32(), "slices", "of these, those that no replica of any pool could take"),
    Column("empty_gpus", pa.int32(), "GPUs", "GPUs of ready nodes of which nobody holds anything"),
    Column(
        "part_gpus", pa.int32(), "GPUs", "GPUs of ready nodes of which a part is held, and a part is free"
    ),
    Column(
        "waiting", pa.int32(), "replicas", "and runs of jobs that wait for GPUs and could run in this group"
    ),
    Column("requested", pa.int64(), "nodes", "asked for in the interval"),
    Column("refused", pa.int64(), "nodes", "of these, how often the provider had none"),
    Column("lost", pa.int64(), "nodes", "lost in the interval"),
    Column("removed", pa.int64(), "nodes", "given back in the interval"),
    Column("usd", pa.float64(), "usd", "cost of the interval, from the nodes' requests on"),
    Column(
        "idle_watts",
        pa.float64(),
        "W",
        "mean of the interval: what its nodes draw while nothing is computed, from their requests on, with overhead, "
        "modelled; `watts` of timeseries.parquet has what pools hold of it, and what is computed",
    ),
]

LINKS: list[Column] = [
    Column("time_s", pa.float64(), "s", "when the sample was taken: the end of its interval"),
    Column("time_ps", pa.int64(), "ps", "when the sample was taken, exact"),
    Column("interval_s", pa.float64(), "s", "time since the sample before; 0 for the first"),
    Column("link", NAME, "name", "link that starts share"),
    Column("transfers", pa.int32(), "transfers", "in progress over it"),
    Column("rate", pa.float64(), "bytes/s", "that they move together"),
    Column("capacity", pa.float64(), "bytes/s", "that it carries now: less than it could by a fault"),
    Column("use", pa.float64(), "1", "rate / capacity; null where it carries nothing"),
    Column("moved_bytes", pa.int64(), "bytes", "of the transfers over it that ended in the interval"),
    Column("busy_s", pa.float64(), "s", "of the interval: with a transfer in progress"),
    Column("full_s", pa.float64(), "s", "of the interval: it held some of them back"),
]

STARTS: list[Column] = [
    Column("pool", NAME, "name", "pool"),
    Column("replica", pa.int32(), "number", "which replica place of it, from 0"),
    Column("start", pa.int64(), "number", "which cold start of its pool, from 0"),
    Column(
        "step",
        NAME,
        "name",
        "step of the start; slice: it waited for GPUs; provision: for a node on its way; mig_create: for its instances",
    ),
    Column("stage", NAME, "name", "the stage that it is shown as"),
    *moment("begin", "when it began"),
    *moment("end", "when it ended"),
    Column("seconds", pa.float64(), "s", "how long it took"),
    Column(
        "how",
        NAME,
        "name",
        "time: no bytes over links; moved: over links; cache: its node had them; joined: another start's; peer: a node's",
    ),
    Column("bytes", pa.int64(), "bytes", "moved over links; 0 where nothing had to be"),
    Column(
        "link",
        NAME,
        "name",
        "the link that held its bytes back longest; its node, the peer: their network card or disk; null where none did",
    ),
    duration("held_back", "how long that did"),
    Column(
        "peer_group",
        NAME,
        "name",
        "of which node group the node is that served its last byte; null where none did",
    ),
    Column("peer", pa.int32(), "number", "which node of it, from 0"),
    Column(
        "usd", pa.float64(), "usd", "its GPUs, at the pool's price, while it was the first step in progress"
    ),
]

EVENTS: list[Column] = [
    Column("event_id", pa.int64(), "id", "its number, from 0"),
    Column("time_s", pa.float64(), "s", "when"),
    Column("time_ps", pa.int64(), "ps", "when, exact"),
    Column("event", NAME, "name", "what happened, in the order in which it did"),
    Column("node_group", NAME, "name", "of which node group; null where it is of no node"),
    Column("node", pa.int32(), "number", "which node of it, from 0"),
    Column("pool", NAME, "name", "of which pool; null where it is of no replica"),
    Column("replica", pa.int32(), "number", "which replica place of it, from 0"),
    Column("stage", NAME, "name", "of node_stage and replica_stage: the stage that begins"),
    Column("wanted", pa.int32(), "replicas", "of pool_scaled: how many are wanted"),
    Column(
        "waited_s",
        pa.float64(),
        "s",
        "of replica_placed and job_placed: how long it had waited for GPUs; of workload_admitted and workload_unplaceable:"
        " up to then; of node_removed: how long it had held nothing",
    ),
    Column("notice_s", pa.float64(), "s", "of node_notice: how long before the loss"),
    Column(
        "artifact",
        pa.int32(),
        "number",
        "of cache events: which of the things that pools' starts bring to nodes, in the order of pools and their steps",
    ),
    Column(
        "cause",
        NAME,
        "name",
        "who decided it: begin, autoscaler, deployment, fault, random_fault, lasting_fault, "
        "node_autoscaler, preemption, job, quota, user, consolidation, repartition, out_of_memory",
    ),
    Column(
        "cause_of",
        NAME,
        "name",
        "which one: the autoscaler's pool, the deployment's or fault's key, the job, the replica or run that preempts, or"
        " for which quota is taken",
    ),
    Column(
        "because",
        pa.int64(),
        "id",
        "the earlier event that set it off; null where it was decided without one",
    ),
    Column(
        "waited_for",
        NAME,
        "name",
        "of replica_placed, job_placed and workload_admitted: the kind of event that made room, or gave quota back, after"
        " it had waited (as `because` says)",
    ),
    Column(
        "gpus",
        NAME,
        "name",
        "of replica_placed and member_placed: numbers of GPUs of the node, a blank between",
    ),
    Column("first_slices", NAME, "name", "of each of them: the first memory slice taken"),
    Column("slices", pa.int32(), "slices", "memory slices taken of each of them (a GPU has 8)"),
    Column("fault", pa.int32(), "number", "of fault_begins and fault_ends: which of `faults`, from 0"),
    Column("job", NAME, "name", "of which batch job; null where it is of no run of one"),
    Column("run", pa.int32(), "number", "which run of it, from 0"),
    Column("gate", pa.int32(), "number", "of gate events: which gate of the deployment, from 0"),
    Column("queue", NAME, "name", "of the queue with quotas that it is in; null where it is in none"),
    Column(
        "reason",
        NAME,
        "name",
        "of quota_short: in_use (by others), leaving (those whose quota was taken are not gone yet), behind (others of its"
        " queue go first); of quota_taken: in_queue, reclaim, reclaim_while_borrowing, fair_sharing",
    ),
]

QUEUES: list[Column] = [
    Column("time_s", pa.float64(), "s", "when the sample was taken"),
    Column("time_ps", pa.int64(), "ps", "when the sample was taken, exact"),
    Column("queue", NAME, "name", "queue"),
    Column("flavor", NAME, "name", "node group or kind of GPU that it has a quota of"),
    Column("nominal_gpus", pa.float64(), "GPUs", "of its own"),
    Column("used_gpus", pa.float64(), "GPUs", "that its replicas and runs have quota of"),
    Column("borrowed_gpus", pa.float64(), "GPUs", "of these, beyond its own"),
    Column("pending", pa.int32(), "workloads", "that wait for quota and could run in this flavor"),
    Column("unplaced", pa.int32(), "workloads", "that have quota of this flavor and find no GPUs"),
]

JOBS: list[Column] = [
    Column("job", NAME, "name", "batch job"),
    Column("run", pa.int32(), "number", "which run of it, from 0"),
    Column(
        "state", NAME, "name", "what it was at the end: not_submitted, waiting, running, finished, failed"
    ),
    Column("submitted_s", pa.float64(), "s", "when it was submitted"),
    Column("submitted_ps", pa.int64(), "ps", "when it was submitted, exact"),
    Column("placed_s", pa.float64(), "s", "when it first got its GPUs"),
    Column("placed_ps", pa.int64(), "ps", "when it first got its GPUs, exact"),
    Column("ended_s", pa.float64(), "s", "when it was finished, or given up"),
    Column("ended_ps", pa.int64(), "ps", "when it was finished, or given up, exact"),
    Column("due_s", pa.float64(), "s", "its deadline"),
    Column("due_ps", pa.int64(), "ps", "its deadline, exact"),
    Column("placements", pa.int32(), "times", "that it got its GPUs"),
    Column("preemptions", pa.int32(), "times", "that it had to give them up to others"),
    Column("losses", pa.int32(), "times", "that it lost a node"),
    Column("work_s", pa.float64(), "s", "how long its work takes, without start-up"),
    Column("done_s", pa.float64(), "s", "of that, what was done and safe when it last gave its GPUs back"),
    Column("gpus", pa.float64(), "GPUs", "that its gang holds; of an instance of MIG its memory slices"),
    Column("gpu_s", pa.float64(), "s", "GPU seconds held"),
    Column("lost_gpu_s", pa.float64(), "s", "of these, for work that was lost"),
]
