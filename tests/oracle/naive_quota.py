"""Queues with quotas of the plain cluster: who gets quota, and whose is taken for it, by plain Kueue.

Everything is worked out anew each time: what is used from who holds it, the order of turns by sorting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from conformance.naive_kueue import Node, Preemptor

SHORT, ADMITTED, UNPLACEABLE, TAKEN = range(50, 54)  # events
BY_QUOTA = 11
USED, LEAVING, BEHIND = range(3)
RESTS_PS = 10**12
POLICIES = ("Never", "LowerPriority", "LowerOrNewerEqualPriority", "Any")
REASONS = (
    "InClusterQueue",
    "InCohortReclamation",
    "InCohortReclaimWhileBorrowing",
    "InCohortFairSharing",
)
CANNOT, IN_VAIN, FROM_OWN, FROM_OTHERS, FITS = range(5)
NO_BOUND = 10**9


@dataclass(frozen=True)
class Share:
    """What a queue or cohort has of a flavour."""

    nominal: int
    borrow: int | None
    lend: int | None


@dataclass(frozen=True)
class Branch:
    """A cohort."""

    parent: int | None  # another cohort
    shares: dict[int, Share]
    weight: float = 1.0


@dataclass(frozen=True)
class QueueKind(Branch):
    """A queue: its flavours are tried in the order of `shares`."""

    within: int = 0
    reclaim: int = 0
    borrows_up_to: int | None = None  # the priority of those that it may preempt while it borrows
    borrow_next: bool = False
    preempt_stops: bool = False
    is_strict: bool = False


@dataclass(frozen=True)
class Quotas:
    """Queues and cohorts of a case, and of each pool and job the queue, the flavours and the units of one of them."""

    queues: list[QueueKind]
    cohorts: list[Branch]
    is_fair: bool
    flavor_of: list[int | None]  # of each group
    places: list[tuple[int | None, frozenset[int], int]]
    n_flavor: int


class Gate:
    """Who has quota."""

    def __init__(self, cluster: Any, quotas: Quotas | None) -> None:
        self.cluster, self.quotas = cluster, quotas
        self.has: dict[int, tuple[int, int, int]] = {}  # workload → (flavour, since when, when it came)
        self.told: set[int] = set()
        self.taken_ps: dict[int, int] = {}
        self.kept: dict[int, tuple[int, int]] = {}
        self.freed: dict[Any, int] = {}
        self.again_ps = 2**63 - 1
        self.samples: list[tuple[int, ...]] = []
        self.areas: Counter[tuple[int, int, str]] = Counter()

    # ---- questions ---------------------------------------------------------------------------------------------------
    def queue_of(self, one: Any) -> int | None:
        """The number of the queue of a workload."""
        return None if self.quotas is None else self.quotas.places[one.pool.number][0]

    def is_open(self, one: Any) -> bool:
        """Whether a workload may be placed."""
        return self.queue_of(one) is None or one.number in self.has

    def flavor(self, one: Any) -> int | None:
        """The flavour of a workload that has quota."""
        return self.has[one.number][0] if one.number in self.has else None

    def allows(self, one: Any, group: Any) -> bool:
        """Whether a workload may go to a group."""
        return self.queue_of(one) is None or self.quotas.flavor_of[group.number] == self.flavor(one)

    def rests(self, one: Any) -> bool:
        """Whether its quota was just taken."""
        return self.cluster.now_ps < self.taken_ps.get(one.number, -RESTS_PS) + RESTS_PS

    def root(self, queue: int) -> Any:
        """The top of a queue's tree."""
        at = self.quotas.queues[queue].parent
        if at is None:
            return "queue", queue
        while self.quotas.cohorts[at].parent is not None:
            at = self.quotas.cohorts[at].parent
        return "cohort", at

    # ---- as vectors --------------------------------------------------------------------------------------------------
    def inputs(self) -> dict[str, Any]:
        """Queues, cohorts and who has quota; a queue without a cohort has one of its own."""
        q = self.quotas
        alone = [f"y{i:03}" for i, queue in enumerate(q.queues) if queue.parent is None]
        cohorts = [
            {
                "name": f"z{i:03}",
                "parent": None if one.parent is None else f"z{one.parent:03}",
                "fair_weight": one.weight,
                "quotas": offers(one.shares),
            }
            for i, one in enumerate(q.cohorts)
        ]
        cohorts += [{"name": name, "parent": None, "fair_weight": 1.0, "quotas": []} for name in alone]
        queues = [
            {
                "name": f"q{i:03}",
                "cohort": f"y{i:03}" if one.parent is None else f"z{one.parent:03}",
                "fair_weight": one.weight,
                "resource_groups": [offers(one.shares)],
                "preemption": {
                    "within_cluster_queue": POLICIES[one.within],
                    "reclaim_within_cohort": POLICIES[one.reclaim],
                    "borrow_within_cohort": None
                    if one.borrows_up_to is None
                    else {"max_priority_threshold": one.borrows_up_to},
                },
                "kept": {(str(f), "gpu"): n for k, (f, n) in self.kept.items() if k == i},
            }
            for i, one in enumerate(q.queues)
        ]
        everybody = self.cluster.everybody
        admitted = [self.as_vector(everybody[n], *about) for n, about in sorted(self.has.items())]
        return {"cohorts": cohorts, "cluster_queues": queues, "admitted": admitted}

    def as_vector(self, one: Any, flavor: int, since_ps: int, came_ps: int) -> dict[str, Any]:
        """A workload that has quota."""
        return {
            "name": f"{one.number:06}",
            "cluster_queue": f"q{self.queue_of(one):03}",
            "priority": one.pool.priority,
            "quota_reserved_s": since_ps,
            "created_s": came_ps,
            "evicted": one.stage == 7,
            "usage": [{"flavor": str(flavor), "resource": "gpu", "amount": self.units(one)}],
        }

    def units(self, one: Any) -> int:
        """How much quota it needs."""
        return self.quotas.places[one.pool.number][2]

    def preemptor(self, one: Any, flavor: int) -> Preemptor:
        """The plain Kueue, asked about a workload and a flavour."""
        wanting = {
            "cluster_queue": f"q{self.queue_of(one):03}",
            "priority": one.pool.priority,
            "created_s": one.since_ps,
            "podsets": [{"requests": {"gpu": self.units(one)}}],
            "flavor_assignment": [{"flavor": str(flavor), "resource": "gpu"}],
        }
        return Preemptor(self.inputs(), wanting)

    def victims(self, one: Any, flavor: int) -> list[tuple[int, int]]:
        """(workload, reason) of whose quota would be taken, by number."""
        asked = self.preemptor(one, flavor)
        found = asked.fair() if self.quotas.is_fair else asked.classical()
        return sorted((int(name), REASONS.index(reason)) for name, reason in found)

    # ---- one workload ------------------------------------------------------------------------------------------------
    def judge(self, one: Any) -> tuple[int, int, int]:
        """(CANNOT … FITS, flavour, level) of the flavour that a workload would get."""
        queue = self.quotas.queues[self.queue_of(one)]
        best = (CANNOT, 0, -1)
        for flavor in queue.shares:
            if flavor not in self.quotas.places[one.pool.number][1]:
                continue
            kind, level = self.find(one, flavor)
            goes_on = kind <= IN_VAIN or (kind < FITS and not queue.preempt_stops)
            goes_on = goes_on or (level > 0 and queue.borrow_next)
            if not goes_on:
                return kind, flavor, level
            if kind != CANNOT and (kind, -level) > best[:2]:
                best = (kind, -level, flavor)
        return best[0], best[2], -best[1]

    def find(self, one: Any, flavor: int) -> tuple[int, int]:
        """(kind, level) of one flavour."""
        mode, level = self.preemptor(one, flavor).mode(self.quotas.is_fair)
        if self.quotas.queues[self.queue_of(one)].parent is None:
            level = 0  # it has nobody to borrow from
        if mode != "preempt":
            return (FITS if mode == "fit" else CANNOT), level
        victims = self.victims(one, flavor)
        own = any(self.queue_of(self.cluster.everybody[n]) == self.queue_of(one) for n, _ in victims)
        return (IN_VAIN if not victims else FROM_OWN if own else FROM_OTHERS), level

    def give(self, one: Any, flavor: int) -> None:
        """It has quota."""
        self.has[one.number] = (flavor, self.cluster.now_ps, one.since_ps)
        self.told.discard(one.number)
        self.cluster.seen["admitted"] += 1
        self.cluster.seen["admitted after a wait"] += self.cluster.now_ps > one.since_ps
        first = next(iter(self.quotas.queues[self.queue_of(one)].shares))
        self.cluster.seen["not the first flavour"] += flavor != first

    def give_back(self, one: Any) -> None:
        """It has none any longer."""
        if one.number in self.has:
            del self.has[one.number]
            self.told.discard(one.number)
            self.freed[self.root(self.queue_of(one))] = one.why.after

    def admit_at_once(self, one: Any) -> bool:
        """Whether one that is there from the beginning may be placed."""
        if self.queue_of(one) is None:
            return True
        kind, flavor, _ = self.judge(one)
        if kind != FITS:
            return False
        self.give(one, flavor)
        self.cluster.note(ADMITTED, -1, one.number, 0)
        self.cluster.why = replace(self.cluster.why, after=self.cluster.last)
        return True

    # ---- a look ------------------------------------------------------------------------------------------------------
    def look(self) -> None:
        """All that wait for quota."""
        if self.quotas is None:
            return
        self.kept, self.passed, self.blocked, self.again_ps = {}, set(), set(), 2**63 - 1
        while heads := self.heads():
            turns = {}
            for queue, one in sorted(heads.items()):
                kind, flavor, level = self.judge(one)
                if kind == CANNOT:
                    self.pass_over(queue, one)
                else:
                    turns[queue] = (one, flavor, level)
            self.cluster.seen["turns of several queues"] += len(turns) > 1
            while turns:
                queue = self.next_turn(turns)
                self.turn(queue, turns.pop(queue)[0])
            self.kept = {queue: kept for queue, kept in self.kept.items() if queue in self.blocked}
        self.kept = {}
        for one in self.cluster.waiting():
            if self.is_open(one):
                continue
            if self.rests(one):
                self.again_ps = min(self.again_ps, self.taken_ps[one.number] + RESTS_PS)
            else:
                self.tell(one, BEHIND)

    def heads(self) -> dict[int, Any]:
        """Queue → who is looked at."""
        found: dict[int, Any] = {}
        for one in self.cluster.waiting():
            queue = self.queue_of(one)
            is_able = not self.is_open(one) and one.pool.number not in self.passed and not self.rests(one)
            if is_able and queue not in self.blocked:
                found.setdefault(queue, one)
        return found

    def tell(self, one: Any, why: int) -> None:
        """The first time, an event says why it waits."""
        if one.number not in self.told:
            self.told.add(one.number)
            self.cluster.why = one.why
            self.cluster.note(SHORT, -1, one.number, why)
            self.cluster.seen[f"short {why}"] += 1

    def tell_unplaceable(self, one: Any) -> None:
        """The first time, an event says that it has quota and finds no slices."""
        if self.queue_of(one) is not None and one.number not in self.told:
            self.told.add(one.number)
            self.cluster.why = one.why
            self.cluster.note(UNPLACEABLE, -1, one.number, self.cluster.now_ps - one.since_ps)
            self.cluster.seen["unplaceable"] += 1

    def pass_over(self, queue: int, one: Any) -> None:
        """It has no turn any more."""
        self.passed.add(one.pool.number)
        if self.quotas.queues[queue].is_strict:
            self.blocked.add(queue)
        self.tell(one, USED)

    def urgency(self, one: Any) -> tuple[int, int, int]:
        """Less goes first."""
        return -one.pool.priority, one.since_ps, one.number

    def next_turn(self, turns: dict[int, Any]) -> int:
        """Whose turn it is."""
        if not self.quotas.is_fair:
            return min(turns, key=lambda queue: (turns[queue][2], *self.urgency(turns[queue][0])))
        n = len(self.quotas.queues)
        for node in range(n + len(self.quotas.cohorts)):
            parent = [*self.quotas.queues, *self.quotas.cohorts][node].parent
            if parent is None and (found := self.winner(node, turns)) is not None:
                return found
        raise LookupError

    def winner(self, node: int, turns: dict[int, Any]) -> int | None:
        """By fair sharing: the queue that wins in a part of the tree."""
        nodes, n = [*self.quotas.queues, *self.quotas.cohorts], len(self.quotas.queues)
        if node < n:
            return node if node in turns else None
        inside = [(i, self.winner(i, turns)) for i, one in enumerate(nodes) if one.parent == node - n]
        able = [
            (self.share(i, won, turns), self.urgency(turns[won][0]), won)
            for i, won in inside
            if won is not None
        ]
        return min(able)[2] if able else None

    def share(self, node: int, queue: int, turns: dict[int, Any]) -> Any:
        """A node's share if the head of a queue in it had quota."""
        one, flavor, _ = turns[queue]
        asked = self.preemptor(one, flavor)
        asked.queue.more = dict(asked.asked)
        n = len(self.quotas.queues)
        found: Node = asked.queues[f"q{node:03}"] if node < n else asked.cohorts[f"z{node - n:03}"]
        return found.share()

    def turn(self, queue: int, one: Any) -> None:
        """A head's turn."""
        kind, flavor, level = self.judge(one)
        if kind == FITS:
            self.cluster.why = replace(
                one.why, after=max(one.why.after, self.freed.get(self.root(queue), -1))
            )
            self.give(one, flavor)
            self.cluster.note(ADMITTED, -1, one.number, self.cluster.now_ps - one.since_ps)
            self.cluster.seen["admitted and borrows"] += level > 0
            return
        if kind != CANNOT:
            in_vain = self.in_vain(queue, flavor, level, self.units(one))
            if victims := self.victims(one, flavor):
                for number, reason in victims:
                    self.take(one, self.cluster.everybody[number], reason)
                if self.judge(one)[0] != FITS:
                    self.blocked.add(queue)
                    self.tell(one, LEAVING)
                self.kept[queue] = (flavor, self.units(one))
                return
            if self.quotas.queues[queue].is_strict:
                self.kept[queue] = (flavor, in_vain)
                self.cluster.seen["kept in vain"] += in_vain > 0
        self.pass_over(queue, one)

    def in_vain(self, queue: int, flavor: int, level: int, amount: int) -> int:
        """What is kept for a head that would find room if it could preempt somebody."""
        used = self.used_by(queue, flavor)
        share = self.quotas.queues[queue].shares[flavor]
        if level == 0:
            return max(0, min(amount, share.nominal - used))
        return amount if share.borrow is None else min(amount, max(0, share.nominal + share.borrow - used))

    def used_by(self, queue: int, flavor: int) -> int:
        """What a queue uses of a flavour."""
        kept = self.kept.get(queue, (flavor, 0))
        everybody = self.cluster.everybody
        held = [
            self.units(everybody[n])
            for n, about in self.has.items()
            if about[0] == flavor and self.queue_of(everybody[n]) == queue
        ]
        return sum(held) + (kept[1] if kept[0] == flavor else 0)

    def take(self, one: Any, victim: Any, reason: int) -> None:
        """Quota is taken for a workload."""
        cluster = self.cluster
        if victim.stage == 7 or victim.number not in self.has:
            return
        cluster.why = replace(one.why, who=BY_QUOTA, which=one.number)
        self.taken_ps[victim.number] = cluster.now_ps
        cluster.note(TAKEN, -1, victim.number, reason)
        cluster.why = replace(cluster.why, after=cluster.last)
        cluster.seen[f"taken {REASONS[reason]}"] += 1
        if victim.waits:
            self.give_back(victim)
            victim.was_tried = False
            cluster.is_due = True
            cluster.seen["taken from one that waits"] += 1
        else:
            cluster.give_way(victim, None)

    # ---- sums and samples --------------------------------------------------------------------------------------------
    def uses(self) -> Iterator[tuple[int, int, int, int]]:
        """(queue, flavour, what it uses, what of that it borrows)."""
        if self.quotas is None:
            return
        for queue, kind in enumerate(self.quotas.queues):
            for flavor in range(self.quotas.n_flavor):
                used = self.used_by(queue, flavor)
                nominal = kind.shares[flavor].nominal if flavor in kind.shares else 0
                yield queue, flavor, used, max(0, used - nominal)

    def go(self, span_ps: int) -> None:
        """Let time pass."""
        for queue, flavor, used, borrowed in self.uses():
            self.areas[queue, flavor, "used"] += used * span_ps
            self.areas[queue, flavor, "borrowed"] += borrowed * span_ps

    def sample(self) -> None:
        """A row a queue and flavour."""
        for queue, flavor, used, borrowed in self.uses():
            waiting = [one for one in self.cluster.waiting() if self.queue_of(one) == queue]
            pending = sum(
                one.number not in self.has and flavor in self.quotas.places[one.pool.number][1]
                for one in waiting
            )
            unplaced = sum(self.flavor(one) == flavor for one in waiting)
            self.samples.append((self.cluster.now_ps, queue, flavor, used, borrowed, pending, unplaced))


def offers(shares: dict[int, Share]) -> list[dict[str, Any]]:
    """What a node has, as a vector says it."""
    return [
        {
            "flavor": str(flavor),
            "quotas": {
                "gpu": {"nominal": one.nominal, "borrowing_limit": one.borrow, "lending_limit": one.lend}
            },
        }
        for flavor, one in shares.items()
    ]
