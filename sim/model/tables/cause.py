"""Causes: who or what decided that something happens in the cluster, and their names."""

from __future__ import annotations

CAUSE_NAMES = (
    "",
    "begin",
    "autoscaler",
    "deployment",
    "fault",
    "random_fault",
    "node_autoscaler",
    "preemption",
    "user",
    "lasting_fault",
    "job",
    "quota",
    "consolidation",
    "repartition",
    "out_of_memory",
)
(
    NO_CAUSE,
    CAUSE_BEGIN,  # the run begins so
    CAUSE_AUTOSCALER,  # of a pool
    CAUSE_DEPLOYMENT,  # a deployment, by number
    CAUSE_FAULT,  # a scripted fault, by number
    CAUSE_RANDOM_FAULT,  # a random fault, by number
    CAUSE_NODE_AUTOSCALER,
    CAUSE_PREEMPTION,  # by a replica
    CAUSE_USER,  # a process of the user's on the SimPy engine
    CAUSE_LASTING_FAULT,  # one that begins and ends, by number
    CAUSE_JOB,  # a batch job whose run comes, by number
    CAUSE_QUOTA,  # a workload for which quota is taken
    CAUSE_CONSOLIDATION,
    CAUSE_REPARTITION,  # for a workload, by number
    CAUSE_OUT_OF_MEMORY,  # of a GPU that several replicas share
) = range(15)
NO_EVENT = -1  # instead of the number of an event
