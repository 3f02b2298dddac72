"""What is written down of a cluster: samples of its groups of nodes, and its events."""

from __future__ import annotations

from sim.model.tables.node import NODE_STAGES
from sim.schema import Array, Field, Row, Wide


class NodeGroupMark(Row):
    """What a group's nodes have been by the end of warm-up, of the measured window, or of the run."""

    billed_ps = Wide("Σ nodes from their request until they are gone · time", unit="ps")
    paid_ps = Wide("Σ nodes that the provider charges for · time", unit="ps")
    rounded_ps = Wide("Σ time that it charged beyond that for nodes that are gone", unit="ps")
    ready_ps = Wide("Σ ready or cordoned nodes · time", unit="ps")
    used_ps = Wide("Σ memory slices that replicas hold · time", unit="ps")
    job_ps = Wide("Σ memory slices that jobs hold · time", unit="ps")


class JobSample(Row):
    """What jobs hold of a group at one instant of the time series."""

    time_ps = Field("when")
    group = Field("which group")
    job_slices = Field("memory slices that jobs hold")
    waiting = Field("runs that wait for slices and could run in this group")


class NodeGroupSample(Row):
    """A group at one instant of the time series; counts are since the start."""

    time_ps = Field("when")
    group = Field("which group")
    by_stage = Array("nodes in each stage from 1 on: stage − 1", len(NODE_STAGES) - 1)
    used_slices = Field("memory slices that replicas hold")
    free_slices = Field("memory slices of ready nodes that nobody holds")
    useless_slices = Field("of these, those that no replica of any pool could take")
    empty_gpus = Field("GPUs of ready nodes of which nobody holds anything")
    part_gpus = Field("… of which somebody holds a part, and a part is free")
    waiting = Field("replicas and runs of jobs that wait for slices and could run in this group")
    requested = Field("nodes asked for")
    refused = Field("of these, how often the provider had none")
    lost = Field("nodes lost")
    removed = Field("nodes given back")
    billed_ps = Wide("Σ nodes from their request until they are gone · time", unit="ps")
    used_ps = Wide("Σ memory slices that replicas hold · time", unit="ps")


class ClusterEvent(Row):
    """Something that happened in the cluster, in the order in which it did."""

    time_ps = Field("when")
    event = Field("EVENT_…")
    node = Field("which node, −1 = none")
    replica = Field("which replica place, or the number of those + which run of a job; −1 = none")
    value = Field("what else is to be said of it: see sim.records.events")
    cause = Field("who decided it: CAUSE_…")
    cause_id = Field("… of which number")
    because = Field("the number of the earlier event that set it off, −1 = none did")
    gpus = Field("of a placement: bit i: a slice of the node's i-th GPU")
    starts = Field("of a placement: 3 bits a GPU: the first memory slice of its slice")


CLUSTER_EVENT_SIZE = ClusterEvent.SIZE
JOB_SAMPLE_SIZE = JobSample.SIZE
NODE_GROUP_SAMPLE_SIZE = NodeGroupSample.SIZE
