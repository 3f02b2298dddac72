"""Quotas: cluster queues and cohorts, what they own, lend and borrow, and the workloads admitted to them.

Queues and cohorts are the nodes of a forest. A quota is of a node and of a pair: a resource in a flavour, as GPUs of one
kind or cores of spot nodes. Amounts are in any unit, whole numbers.
"""

from __future__ import annotations

from sim.schema import Field, Row
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


class Preemption(Row):
    """What is being looked for: room for one workload, and the workloads that would have to go."""

    queue = Field("the queue of the workload that wants room")
    priority = Field("its priority")
    created_ps = Field("when it came")
    is_fair = Field("1 = shares decide (fair sharing), 0 = priorities and borrowing")
    strategies = Field("of fair sharing: STRATEGIES")
    is_recorded = Field("1 = the answers of `answer` are given, 0 = they are found by trying; for flavours")
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


class Victim(Row):
    """A workload that has to go."""

    workload = Field("which")
    reason = Field("why: REASONS")


class OracleAnswer(Row):
    """Whether preemption could give a pair to a workload."""

    possibility = Field("0 = no candidates, 1 = in the own queue too, 2 = in other queues alone", begin=1)
    borrowing = Field("the level from which it would borrow then")
