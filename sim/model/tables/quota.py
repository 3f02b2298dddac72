"""Quotas: cluster queues and cohorts, what they own, lend and borrow, and the workloads admitted to them.

Queues and cohorts are the nodes of a forest. A quota is of a node and of a pair: a resource in a flavour, as GPUs of one
kind or cores of spot nodes. Amounts are in any unit, whole numbers.
"""

from __future__ import annotations

from sim.schema import Field, Row, Wide
from sim.units import NEVER

PREEMPTION_POLICIES = ("never", "lower_priority", "lower_or_newer_equal_priority", "any")
PREEMPT_NEVER, PREEMPT_LOWER, PREEMPT_LOWER_OR_NEWER, PREEMPT_ANY = range(4)

NO_LIMIT = -1  # of borrowing or lending: as much as there is
NO_THRESHOLD = NEVER


class QuotaNode(Row):
    """A cluster queue, or a cohort of queues and cohorts."""

    parent = Field("the cohort it is in, −1 = none", begin=-1)
    is_queue = Field("1 = a cluster queue, 0 = a cohort")
    weight_micro = Field("its weight in fair sharing", unit="1/1000000", begin=1_000_000)
    within = Field("whom of its own queue a workload may preempt: PREEMPTION_POLICIES")
    reclaim = Field("whom of other queues of its tree, to get back what they borrow")
    may_borrow = Field("1 = it may preempt lower priorities of other queues while it borrows")
    threshold = Field("… up to this priority; NO_THRESHOLD = any lower one", begin=NO_THRESHOLD)
    borrow_next = Field("1 = another flavour is tried before one in which it would borrow")
    preempt_stops = Field("1 = a flavour in which it could preempt ends the search")
    first_flavor = Field("first of its flavours, in the order in which they are tried")
    n_flavor = Field("how many there are")
    is_strict = Field(
        "1 = nobody goes before one of its workloads that is passed over; read in clusters alone"
    )


class Quota(Row):
    """What a node has of a pair of flavour and resource."""

    nominal = Field("its own")
    borrow_max = Field("how much more it may use at most, NO_LIMIT = all there is", begin=NO_LIMIT)
    lend_max = Field("how much of it others may use at most, NO_LIMIT = all of it", begin=NO_LIMIT)
    is_known = Field("1 = it names a quota for the pair, or a node in it does; derived for cohorts")
    subtree = Field("its own and what the nodes in it lend; derived")


class QuotaPair(Row):
    """A resource in a flavour."""

    flavor = Field("the flavour")
    resource = Field("the resource, numbered in the order of the names")


class QueueFlavor(Row):
    """A flavour of a queue."""

    flavor = Field("the flavour")
    group = Field("the group of resources of which it offers all; a resource of a queue is in one")


class QuotaWorkload(Row):
    """An admitted workload."""

    queue = Field("its queue, −1 = this place is free", begin=-1)
    priority = Field("higher is more")
    reserved_ps = Field("when it was admitted")
    created_ps = Field("when it came")
    is_evicted = Field("1 = it has been told to go already")
    flavor = Field("the flavour of which it has quota; read in clusters alone")
    reason = Field("scratch: 1 + why it has to go, 0 = it has not")
    taken_ps = Field("when its quota was last taken for others, −1 = never", begin=-1)
    is_told = Field("1 = an event has told that it waits for quota, or for slices though it has quota")


class Preemption(Row):
    """What is being looked for: room for one workload, and the workloads that would have to go."""

    queue = Field("the queue of the workload that wants room")
    priority = Field("its priority")
    created_ps = Field("when it came")
    is_fair = Field("1 = shares decide (fair sharing), 0 = priorities and borrowing")
    strategies = Field("of fair sharing: STRATEGIES")
    is_recorded = Field(
        "1 = the answers of `quota_answer` are given, 0 = they are found by trying; for flavours"
    )
    n_candidate = Field("candidates found")
    n_victim = Field("workloads that have to go")
    borrowing = Field("of an assignment of flavours: the highest level from which it borrows, 0 = none")
    mode = Field("of an assignment of flavours: the worst of its parts")


class Candidate(Row):
    """A workload that may have to go."""

    workload = Field("which")
    variant = Field("why it may be made to go")
    ancestor = Field("the lowest cohort above both queues, −1 = the same queue")
    state = Field("0 = waiting, 1 = looked at, 2 = to be looked at once more")


class QuotaVictim(Row):
    """A workload that has to go."""

    workload = Field("which")
    reason = Field("why: REASONS")


class OracleAnswer(Row):
    """Whether preemption could give a pair to a workload."""

    possibility = Field("0 = no candidates, 1 = in the own queue too, 2 = in other queues alone", begin=1)
    borrowing = Field("the level from which it would borrow then")


# ---- in a cluster ----------------------------------------------------------------------
class QueueHead(Row):
    """Of a queue of a cluster: who is looked at next, and what is kept for it in this look; all of it scratch."""

    workload = Field(
        "the first of those that wait for its quota, −1 = nobody is left to be looked at", begin=-1
    )
    flavor = Field("the flavour that it would get")
    level = Field("from how far up it would borrow then")
    is_done = Field("1 = its turn in this round is over")
    blocked = Field("the last look in which the queue waited for those whose quota its head takes")
    pair = Field("the pair of which quota is kept for it")
    kept = Field("how much of it, 0 = none")


class QuotaNodeState(Row):
    """What has become of a queue of a cluster, or of a cohort."""

    freed_event = Field(
        "of the top of a tree: the event that last gave back quota in it, −1 = none did", begin=-1
    )
    winner = Field(
        "scratch: of those in it whose turn it may be, the queue with the smallest share, −1 = none"
    )
    admitted = Field("workloads that got quota")
    taken = Field("workloads whose quota was taken for others")
    unplaceable = Field("workloads that got quota and then found no slices at once")
    waited_ps = Wide("Σ time that workloads have waited for quota until they got it", unit="ps")
    waited_max_ps = Field("the longest of these waits")


class QuotaUse(Row):
    """What a queue of a cluster has used of a pair."""

    area_ps = Field("when the sums below were last brought up to date")
    used_ps = Wide("Σ quota in use · time", unit="units · ps")
    borrowed_ps = Wide("Σ of it beyond what the queue has itself · time", unit="units · ps")


class QuotaMark(Row):
    """What a queue has used of a pair by the end of warm-up, of the measured window, or of the run."""

    used_ps = Wide("Σ quota in use · time", unit="units · ps")
    borrowed_ps = Wide("Σ of it beyond what the queue has itself · time", unit="units · ps")


class QuotaSample(Row):
    """A queue of a cluster and a pair at one instant of the time series."""

    time_ps = Field("when")
    queue = Field("which queue")
    pair = Field("which pair")
    used = Field("quota in use")
    borrowed = Field("of it, beyond what the queue has itself")
    pending = Field("workloads of the queue that wait for quota and could use this pair")
    unplaced = Field("workloads that have quota of this pair and wait for slices")


QUOTA_SAMPLE_SIZE = QuotaSample.SIZE
