"""A cluster in plain Python: nodes come and go, GPUs are sets of slices, replicas wait for slices in a list.

It shares nothing with the product: objects that know each other, copied where something is only tried. Times are ps.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field, replace
from fractions import Fraction

from .naive_jobs import (
    FAILED,
    FINISHED,
    RUN_LOST,
    RUN_PLACED,
    RUN_PREEMPTED,
    STREAM_WORK,
    SUBMITTED,
    Job,
    JobKind,
    Work,
    runs_of,
)
from .naive_quota import SHORT, UNPLACEABLE, Gate, Quotas
from .naive_repartition import Repartition
from .naive_scaling import DRAINED as NODE_DRAINED
from .naive_scaling import EVICTED, EVICTION_REFUSED, Budget, NodeScaling, Scaling
from .naive_scores import by_shape, fragmentation_change, least_allocated, most_allocated, spread
from .philox import draw_below, philox

FOREVER = 2**63 - 1
LOW = 2**32 - 1
SLICES = range(8)
ABSENT, READY, CORDONED = 0, 4, 5  # stages of a node; between them it is on its way
GONE, SLICE, UP, DRAINS = 0, 1, 6, 7  # stages of a replica; between the second and the third it starts
STREAM_STEP, STREAM_NODE, STREAM_EXPANDER = 1, 32, 48
STREAM_GAP, STREAM_OUTAGE, STREAM_VICTIM = 49, 50, 51
(REQUESTED, REFUSED, STAGED, NODE_READY, REMOVED, LOST, CORDON, UNCORDON) = range(8)
(WAITS, PLACED, REPLICA_READY, DRAIN, REPLICA_GONE, REPLICA_LOST, SCALED) = range(8, 15)
NOTICE, PREEMPTED, MOVED_ON, MEMBER, STRUCK, MODE_SWITCHED = 15, 16, 32, 33, 34, 56
OF_NODE = (REQUESTED, REFUSED, STAGED, NODE_READY, REMOVED, LOST, CORDON, UNCORDON, NOTICE)
(AT_BEGIN, BY_AUTOSCALER, _, BY_FAULT, BY_CHANCE, BY_NODES, BY_PREEMPTION, BY_USER) = range(1, 9)
BY_JOB, FOR_MEMORY = 10, 14
CRASHED = 28
OF_NOBODY = (NODE_DRAINED, EVICTION_REFUSED, MODE_SWITCHED)
IMAGE_IS_THERE, ENGINE = 4, 5  # stages of a start


def dice(seed: int, stream: int, entity: int, index: int) -> int:
    """63 random bits."""
    words = philox((index & LOW, index >> 32, entity, stream), (seed & LOW, seed >> 32))
    return (words[0] << 32 | words[1]) >> 1


# ---- what a case is made of ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Ask:
    """What a replica of a pool takes of a GPU in a group."""

    memory: int
    compute: int
    starts: frozenset[int]
    media: int
    weight: int
    is_whole: bool = False


@dataclass(frozen=True)
class Policy:
    """What holds for the whole cluster."""

    placement: int
    mig: int
    expander: int
    scan_ps: int
    unneeded_ps: int
    delay_ps: int
    bulk: int
    preempts: bool = False
    weights: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)  # least, most, by shape, FGD, spread
    shape: tuple[tuple[int, int], ...] = ((0, 0), (100, 100))
    scaling: Scaling = field(default_factory=Scaling)


@dataclass(frozen=True)
class GroupKind:
    """A group of nodes: steps are (stage, 1024 durations); asks has one of each pool."""

    n_node: int
    least: int
    initial: int
    gpus: int
    zone: int
    priority: int
    price: int
    refused_q20: int
    retry_ps: int
    create_ps: int
    steps: list[tuple[int, list[int]]]
    droughts: list[tuple[int, int]]
    asks: list[Ask]
    paid_from: int = 1  # a stage
    unit_ps: int = 1
    least_ps: int = 0
    places: int = 8  # of each GPU: memory slices, or replicas that share it
    is_shared: bool = False
    is_prepaid: bool = False
    repartitions: bool = False
    switches: bool = False
    mode_ps: int = 0
    mode_of_node: bool = False


@dataclass(frozen=True)
class PoolKind:
    """A pool: steps of a start, one after the other, are (stage, stream, 1024 durations)."""

    least: int
    most: int
    initial: int
    priority: int
    members: int
    gpus: int
    steps: list[tuple[int, int, list[int]]]
    tick: tuple[int, int] | None = None  # (when, replicas): a fixed pool looks once
    budget: Budget | None = None
    memory: int = 0  # of a shared GPU's, millionths


@dataclass(frozen=True)
class NodesLost:
    """A scripted fault: nodes of a group, of a zone or of both are lost."""

    at_ps: int
    group: int | None
    zone: int | None
    most: int
    outage_ps: int


@dataclass(frozen=True)
class AgainAndAgain:
    """Nodes of a group, of a zone or of both are lost, told before or not: 1024 gaps and outages, each as likely."""

    group: int | None
    zone: int | None
    most: int
    notice_ps: int
    gaps: list[int]
    outages: list[int]


# ---- GPUs ------------------------------------------------------------------------------------------------------------
class Card:
    """A GPU: which slices are held, and by what they are used up."""

    def __init__(self, places: int = 8) -> None:
        self.places = places
        self.held: set[int] = set()
        self.compute = self.media = 0
        self.is_whole = False  # MIG is off

    @property
    def free(self) -> int:
        """Free memory slices."""
        return self.places - len(self.held)

    def fits(self, ask: Ask) -> list[int]:
        """Where an instance could start."""
        if self.compute + ask.compute > 7 or self.media + ask.media > 1:
            return []
        return [s for s in SLICES if s in ask.starts and not self.held & set(range(s, s + ask.memory))]

    def take(self, ask: Ask, start: int) -> None:
        """An instance is made."""
        taken = set(range(start, start + ask.memory))
        assert not self.held & taken
        assert taken <= set(SLICES)
        self.held |= taken
        self.compute += ask.compute
        self.media += ask.media

    def give(self, ask: Ask, start: int) -> None:
        """It is gone."""
        self.held -= set(range(start, start + ask.memory))
        self.compute -= ask.compute
        self.media -= ask.media

    def after(self, ask: Ask, start: int) -> Card:
        """What it would be with one more instance."""
        other = Card(self.places)
        other.held, other.compute, other.media = set(self.held), self.compute, self.media
        other.take(ask, start)
        return other

    def left(self, asks: list[Ask]) -> tuple[int, int]:
        """(profiles that still fit, starts that they have)."""
        starts = [len(self.fits(ask)) for ask in asks]
        return sum(n > 0 for n in starts), sum(starts)

    def useless(self, asks: list[Ask]) -> int:
        """Free slices that a profile cannot use, by weight."""
        total = 0
        for ask in asks:
            useful = {s for start in self.fits(ask) for s in range(start, start + ask.memory)}
            total += ask.weight * (self.free - len(useful))
        return total


def chosen_start(card: Card, ask: Ask, asks: list[Ask], how: int) -> int:
    """Where on a GPU an instance starts."""
    starts = card.fits(ask)
    if how == 0:
        return min(starts)
    if how == 1:
        return max(starts)
    if how == 2:
        return max(starts, key=lambda s: (card.after(ask, s).left(asks), -s))
    return min(starts, key=lambda s: (card.after(ask, s).useless(asks), s))


# ---- nodes -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Why:
    """Who decided that something happens, the one of that number, and the event after which."""

    who: int
    which: int = 0
    after: int = -1


class Machine:
    """A node place."""

    def __init__(self, number: int, group: Group) -> None:
        self.number, self.group = number, group
        self.stage = ABSENT
        self.bill_ps = 0
        self.cards = [Card(group.kind.places) for _ in range(group.kind.gpus)]
        self.n_member = 0
        self.idle_ps = 0
        self.request = -1
        self.step = -1
        self.due_ps = FOREVER
        self.is_doomed = False
        self.draining = self.changed_ps = 0
        self.unneeded_ps: int | None = None
        self.awaits: Machine | None = None
        self.why = Why(0)
        self.room_since = 0  # the event that last made room on it

    @property
    def free(self) -> int:
        """Free memory slices."""
        return sum(card.free for card in self.cards)

    @property
    def is_coming(self) -> bool:
        """Whether it is on its way."""
        return ABSENT < self.stage < READY

    def needs_switch(self, i: int, ask: Ask) -> bool:
        """Whether a GPU's MIG mode is not the one that is asked for."""
        return self.group.kind.switches and self.cards[i].is_whole != ask.is_whole

    def able(self, ask: Ask) -> list[int]:
        """The GPUs that could hold what is asked for."""
        is_busy = self.group.kind.mode_of_node and any(card.held for card in self.cards)
        there = [i for i, card in enumerate(self.cards) if card.fits(ask)]
        return [i for i in there if not (is_busy and self.needs_switch(i, ask))]

    def pick(self, ask: Ask, n: int) -> list[int] | None:
        """The GPUs that a member would take, in the order in which it takes them; None where there are too few."""
        able = self.able(ask)
        able.sort(key=lambda i: (self.needs_switch(i, ask), self.cards[i].free, i))
        return able[:n] if len(able) >= n else None


class Group:
    """A group of nodes, and sums over its nodes."""

    def __init__(self, number: int, kind: GroupKind, first: int) -> None:
        self.number, self.kind = number, kind
        self.machines = [Machine(first + i, self) for i in range(kind.n_node)]
        self.requested = self.refused = self.removed = self.lost = self.peak = 0
        self.retry_ps = 0
        self.billed_ps = self.ready_ps = self.used_ps = self.job_ps = 0
        self.paid_ps = self.rounded_ps = 0

    @property
    def billed(self) -> int:
        """Nodes that cost money."""
        return sum(node.stage != ABSENT for node in self.machines)


Hold = tuple[Machine, int, int]  # (node, GPU of it, first slice)


class Copy:
    """A replica place."""

    def __init__(self, number: int, pool: Pool) -> None:
        self.number, self.pool = number, pool
        self.stage = GONE
        self.members: list[list[Hold]] = []
        self.waits = self.was_tried = False
        self.since_ps = self.started_ps = self.ready_ps = self.due_ps = 0
        self.start = 0
        self.ends: list[int] = []
        self.crashes = 0
        self.is_in_place = False
        self.is_repartition = False
        self.promised: Machine | None = None  # a node on which a preemption makes room for it
        self.placed_ps = 0
        self.why = Why(0)
        self.has_to_go = False

    @property
    def rank(self) -> tuple[int, int, int]:
        """Its place in the waiting list."""
        return -self.pool.kind.priority, self.since_ps, self.number


class Pool:
    """A pool."""

    def __init__(self, number: int, kind: PoolKind, first: int) -> None:
        self.number, self.kind = number, kind
        self.copies = [Copy(first + i, self) for i in range(kind.most)]
        self.wanted = kind.initial
        self.is_owed = False
        self.owed = Why(0)
        self.crashes = 0
        self.started = self.placed = self.waited_ps = self.longest_ps = self.preempted = 0

    @property
    def priority(self) -> int:
        """The highest goes first."""
        return self.kind.priority


# ---- the whole -------------------------------------------------------------------------------------------------------
class Cluster(NodeScaling, Repartition):
    """A run: `act` and `settle` at instants that never go back."""

    def __init__(
        self,
        seed: int,
        policy: Policy,
        groups: list[GroupKind],
        pools: list[PoolKind],
        faults: list[NodesLost],
        every_ps: int = FOREVER,
        mark_ps: int = FOREVER,
        chances: list[AgainAndAgain] | None = None,
        jobs: list[JobKind] | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        self.chances = chances or []
        self.struck = [0] * len(self.chances)
        self.seed, self.policy, self.every_ps, self.mark_ps = seed, policy, every_ps, mark_ps
        self.sample_ps = FOREVER if every_ps == FOREVER else 0
        self.samples: list[tuple[int, ...]] = []
        self.marks: list[list[tuple[int, ...]]] = []
        self.now_ps = 0
        self.groups: list[Group] = []
        for number, kind in enumerate(groups):
            self.groups.append(Group(number, kind, sum(group.kind.n_node for group in self.groups)))
        self.pools: list[Pool] = []
        for number, pool in enumerate(pools):
            self.pools.append(Pool(number, pool, sum(one.kind.most for one in self.pools)))
        self.nodes = [node for group in self.groups for node in group.machines]
        self.copies = [replica for pool in self.pools for replica in pool.copies]
        self.jobs = [Job(len(pools) + i, i, job) for i, job in enumerate(jobs or [])]
        self.runs = runs_of(self.jobs, len(self.copies))
        self.everybody: list[Copy | Work] = [*self.copies, *self.runs]
        self.job_samples: list[tuple[int, ...]] = []
        self.faults = list(faults)  # by time
        self.n_scripted = len(faults)
        self.events: list[tuple[int, ...]] = []
        self.why = Why(AT_BEGIN)
        self.is_due = False
        self.passes = 0
        self.added_ps: int | None = None
        self.scan_ps = policy.scan_ps
        self.seen: Counter[str] = Counter()
        self.strike_ps = [
            chance.gaps[dice(seed, STREAM_GAP, i, 0) >> 53] for i, chance in enumerate(self.chances)
        ]
        self.gate = Gate(self, quotas)
        self.begin()

    def note(
        self, what: int, node: int = -1, replica: int = -1, value: int = 0, held: list[Hold] | None = None
    ) -> None:
        """An event, and why it happens. What its node or replica comes to next comes of that."""
        why, number = self.why, len(self.events)
        gpus = sum(1 << i for _, i, _ in held or [])
        starts = sum(start << 3 * i for _, i, start in held or [])
        if what == FAILED or (what in (DRAIN, REPLICA_GONE) and self.everybody[replica].has_to_go):
            why = replace(why, after=self.everybody[replica].why.after)
        row = (self.now_ps, what, node, replica, value, why.who, why.which, why.after, gpus, starts)
        self.events.append(row)
        if what in OF_NODE:
            self.nodes[node].why = replace(why, after=number)
            if what in (NODE_READY, UNCORDON):
                self.nodes[node].room_since = number
        elif what not in (SCALED, MEMBER, STRUCK, SHORT, UNPLACEABLE, *OF_NOBODY):
            self.everybody[replica].why = replace(why, after=number)
            self.everybody[replica].has_to_go = what in (DRAIN, REPLICA_LOST, PREEMPTED, EVICTED)

    @property
    def last(self) -> int:
        """The number of the last event."""
        return len(self.events) - 1

    def note_gang(self, replica: Copy | Work, waited_ps: int) -> None:
        """A replica has its slices: it waited for the last thing that made room on its nodes since it was wanted."""
        why = replica.why if replica.waits else self.why
        nodes = [member[0][0] for member in replica.members]
        self.why = replace(why, after=max(why.after, *(node.room_since for node in nodes)))
        placed = RUN_PLACED if isinstance(replica, Work) else PLACED
        self.note(placed, nodes[0].number, replica.number, waited_ps, replica.members[0])
        self.why = replace(self.why, after=self.last)
        for i, member in enumerate(replica.members[1:], 1):
            self.note(MEMBER, nodes[i].number, replica.number, i, member)
        self.why = replica.why

    def begin(self) -> None:
        """Time 0."""
        for group in self.groups:
            for node in group.machines[: group.kind.initial]:
                node.stage = READY
                self.note(NODE_READY, node.number, -1, node.request)
            group.peak = group.billed
        for pool in self.pools:
            for replica in pool.copies[: pool.kind.initial]:
                self.why = Why(AT_BEGIN)
                members = self.find(replica) if self.gate.admit_at_once(replica) else None
                if members is None:
                    self.why = Why(AT_BEGIN)
                    self.start(replica)
                    self.seen["no room at the start"] += 1
                else:
                    self.hold(replica, members)
                    self.switch(replica)
                    replica.start = -1
                    self.note_gang(replica, 0)
                    self.make_ready(replica)

    # ---- time --------------------------------------------------------------------------------------------------------
    def next_ps(self) -> int:
        """When something happens next."""
        times = [node.due_ps for node in self.nodes] + [run.due_ps for run in self.runs]
        times += [one.due_ps for one in self.copies if one.stage not in (GONE, UP) and not one.waits]
        times += [fault.at_ps for fault in self.faults[:1]] + self.strike_ps
        times += [pool.kind.tick[0] for pool in self.pools if pool.kind.tick is not None]
        more = (self.scan_ps, self.sample_ps, self.mark_ps, self.gate.again_ps)
        return self.now_ps if self.is_due else min(*times, *more)

    def go(self, t: int) -> None:
        """Let time pass in which nothing happens."""
        span = t - self.now_ps
        for group in self.groups:
            group.billed_ps += span * group.billed
            for node in group.machines:
                if node.stage >= group.kind.paid_from:
                    node.bill_ps += span
                    group.paid_ps += span
            group.ready_ps += span * sum(node.stage >= READY for node in group.machines)
            group.used_ps += span * sum(
                group.kind.places * group.kind.gpus - node.free for node in group.machines
            )
            group.job_ps += span * self.held_by_jobs(group)
        self.gate.go(span)
        self.now_ps = t

    def run_before(self, t: int) -> None:
        """All that happens before t."""
        while (at_ps := self.next_ps()) < t:
            self.go(at_ps)
            self.settle()
        self.go(t)

    def settle(self) -> None:
        """All that happens at this instant, in its order."""
        while self.first():
            pass

    def end(self) -> None:
        """The end of the run: the cluster still acts, controllers do not; the time series gets its last row."""
        while self.first(is_end=True):
            pass
        if self.every_ps != FOREVER:
            self.sample()

    def first(self, is_end: bool = False) -> bool:
        """The first of what is due now; False where nothing is."""
        t = self.now_ps
        if self.faults and self.faults[0].at_ps <= t:
            self.strike(self.faults.pop(0))
            return True
        for i, strike_ps in enumerate(self.strike_ps):
            if strike_ps <= t:
                self.strike_again(i)
                return True
        for node in self.nodes:
            if node.due_ps <= t and node.is_doomed:
                self.why = node.why
                self.lose_with(node)
                return True
            if node.due_ps <= t and node.draining:
                self.why = node.why
                self.evict_all(node)
                return True
            if node.due_ps <= t:
                self.why = node.why
                self.enter(node)
                return True
        for replica in self.copies:
            if replica.stage not in (GONE, UP) and not replica.waits and replica.due_ps <= t:
                self.change(replica)
                return True
        for run in self.runs:
            if run.due_ps <= t:
                self.submit(run) if run.state == "new" else self.end_run(run, "finished", FINISHED)
                return True
        if self.is_due or self.gate.again_ps <= t:
            self.place()
            return True
        if self.scan_ps <= t:
            self.scan()
            self.scan_ps += self.policy.scan_ps
            return True
        return not is_end and self.control()

    def control(self) -> bool:
        """Samples, the mark at the end of warm-up, fixed pools that look at how many replicas they have."""
        t, was_due = self.now_ps, False
        if self.sample_ps <= t:
            was_due = True
            self.sample()
            self.sample_ps += self.every_ps
        if self.mark_ps <= t:
            was_due = True
            self.marks.append(self.sums())
            self.mark_ps = FOREVER
        for pool in self.pools:
            if pool.kind.tick is not None and pool.kind.tick[0] <= t:
                was_due = True
                wanted = pool.kind.tick[1]
                pool.kind = replace(pool.kind, tick=None)
                self.rescale(pool, wanted, Why(BY_AUTOSCALER, pool.number))
        return was_due

    def sums(self) -> list[tuple[int, ...]]:
        """Of each group."""
        return [
            (group.billed_ps, group.paid_ps, group.rounded_ps, group.ready_ps, group.used_ps, group.job_ps)
            for group in self.groups
        ]

    def sample(self) -> None:
        """A row a group of the time series."""
        for group in self.groups:
            stages = [sum(node.stage == stage for node in group.machines) for stage in range(1, 6)]
            ready = [card for node in group.machines if node.stage == READY for card in node.cards]
            useful = [
                {
                    s
                    for ask in group.kind.asks
                    for start in card.fits(ask)
                    for s in range(start, start + ask.memory)
                }
                for card in ready
            ]
            free = sum(card.free for card in ready)
            cards = (sum(not card.held for card in ready), sum(0 < card.free < card.places for card in ready))
            waiting = sum(
                one.waits and len(group.kind.asks[one.pool.number].starts) > 0 for one in self.everybody
            )
            used = sum(group.kind.places * group.kind.gpus - node.free for node in group.machines)
            if self.runs:
                self.sample_jobs(group)
            if group.number == 0:
                self.gate.sample()
            self.samples.append(
                (
                    *(
                        self.now_ps,
                        group.number,
                        *stages,
                        used,
                        free,
                        free - sum(map(len, useful)),
                        *cards,
                        waiting,
                    ),
                    *(group.requested, group.refused, group.lost, group.removed),
                    *(group.billed_ps, group.used_ps),
                )
            )

    # ---- replicas ----------------------------------------------------------------------------------------------------
    def start(self, replica: Copy) -> None:
        """A replica is wanted."""
        replica.start = replica.pool.started
        replica.pool.started += 1
        replica.crashes, replica.is_in_place = 0, False
        replica.started_ps = replica.since_ps = self.now_ps
        replica.stage, replica.waits, replica.was_tried = SLICE, True, False
        self.note(WAITS, -1, replica.number)
        self.is_due = True

    def set_out(self, replica: Copy, begin_ps: int) -> None:
        """The steps of its start begin then, or at once."""
        self.lay_out(replica, begin_ps)
        if begin_ps == self.now_ps:
            self.change(replica)

    def lay_out(self, replica: Copy, begin_ps: int) -> None:
        """When the steps of its start, which begin then, will end."""
        replica.ends = [begin_ps]
        for stage, stream, durations in replica.pool.kind.steps:
            word = dice(self.seed, STREAM_STEP + stream, replica.pool.number, replica.start)
            took_ps = 0 if replica.is_in_place and stage < IMAGE_IS_THERE else durations[word >> 53]
            replica.ends.append(replica.ends[-1] + took_ps)
        replica.due_ps = begin_ps

    def change(self, replica: Copy) -> None:
        """A step of its start ends, or its draining."""
        self.why = replica.why
        if replica.stage == DRAINS:
            self.remove(replica)
            if replica.pool.is_owed:
                self.why = replace(replica.pool.owed, after=self.last)
                self.seen["replaced when a place was free"] += 1
                self.replace(replica.pool)
            return
        for (stage, *_), end_ps in zip(replica.pool.kind.steps, replica.ends[1:], strict=True):
            if end_ps > self.now_ps:
                if stage != replica.stage:
                    self.note(MOVED_ON, -1, replica.number, stage)
                    self.why = replica.why
                replica.stage, replica.due_ps = stage, end_ps
                return
        self.make_ready(replica)

    def make_ready(self, replica: Copy) -> None:
        """It takes requests, unless its GPU has no memory left."""
        if self.lacks_memory(replica):
            self.crash(replica)
            return
        replica.stage, replica.ready_ps = UP, self.now_ps
        self.note(REPLICA_READY, -1, replica.number)

    def lacks_memory(self, replica: Copy) -> bool:
        """Whether those that run on its shared GPU leave too little."""
        node, i, _ = replica.members[0][0]
        if not node.group.kind.is_shared:
            return False
        there = [one for one in self.copies if one.members and one.members[0][0][:2] == (node, i)]
        running = [one for one in there if one.stage in (UP, DRAINS) and one is not replica]
        return replica.pool.kind.memory + sum(one.pool.kind.memory for one in running) > 10**6

    def crash(self, replica: Copy) -> None:
        """Its process ends, and starts again where it is."""
        self.why = Why(FOR_MEMORY, 0, replica.why.after)
        self.note(CRASHED, -1, replica.number, replica.crashes)
        waits_s = [0, 10, 20, 40, 80, 160, 300]
        begin_ps = self.now_ps + 10**12 * waits_s[min(replica.crashes, 6)]
        replica.crashes += 1
        replica.is_in_place = True
        replica.start = (1 << 40) + replica.pool.crashes
        replica.pool.crashes += 1
        replica.started_ps, replica.placed_ps, replica.stage = self.now_ps, begin_ps, ENGINE
        self.seen["out of memory"] += 1
        self.lay_out(replica, begin_ps)

    def remove(self, replica: Copy) -> None:
        """It is gone, or does not wait any longer."""
        self.note(REPLICA_GONE, -1, replica.number)
        self.leave(replica)

    def leave(self, replica: Copy) -> None:
        """Its slices are free, and its quota."""
        self.gate.give_back(replica)
        ask_of = replica.pool.number
        for member in replica.members:
            for node, i, start in member:
                node.cards[i].give(node.group.kind.asks[ask_of], start)
            node.n_member -= 1
            node.changed_ps = self.now_ps
            node.room_since = replica.why.after
            if node.n_member == 0:
                node.idle_ps = self.now_ps
        if replica.members and self.anyone_waits:
            self.is_due = True
        if replica.waits:
            self.seen["gave up waiting"] += 1
            self.waited(replica)
            self.is_due = self.is_due or (self.gate.quotas is not None and self.anyone_waits)
        replica.members = []
        if isinstance(replica, Copy):
            replica.stage = GONE

    def waited(self, replica: Copy) -> None:
        """Its wait is over, whether it has slices or is not wanted any longer."""
        took_ps, pool = self.now_ps - replica.since_ps, replica.pool
        pool.waited_ps, pool.longest_ps = pool.waited_ps + took_ps, max(pool.longest_ps, took_ps)
        replica.waits, replica.promised = False, None

    @property
    def anyone_waits(self) -> bool:
        """Whether a replica waits."""
        return any(one.waits for one in self.everybody)

    def scale(self, pool: Pool, wanted: int) -> None:
        """A user wants so many replicas."""
        self.rescale(pool, wanted, Why(BY_USER))

    def rescale(self, pool: Pool, wanted: int, why: Why) -> None:
        """So many replicas are wanted."""
        self.why = why
        wanted = min(max(wanted, pool.kind.least), pool.kind.most)
        if wanted != pool.wanted:
            self.note(SCALED, -1, pool.copies[0].number, wanted)
            self.why = replace(why, after=self.last)
        pool.wanted = wanted
        self.top_up(pool)
        while len(self.active(pool)) > wanted:
            going = max(
                self.active(pool),
                key=lambda one: (
                    one.stage != UP,
                    one.ready_ps if one.stage == UP else one.started_ps,
                    one.number,
                ),
            )
            self.stop(going)

    def stop(self, replica: Copy) -> None:
        """A ready replica drains, one that starts or waits is removed."""
        if replica.stage == UP:
            replica.stage, replica.due_ps = DRAINS, self.now_ps + 1
            self.note(DRAIN, -1, replica.number)
        else:
            self.remove(replica)

    def active(self, pool: Pool) -> list[Copy]:
        """Replicas that are there or start."""
        return [one for one in pool.copies if one.stage not in (GONE, DRAINS)]

    def top_up(self, pool: Pool) -> None:
        """Start as many as are missing, as far as there are places."""
        free = [one for one in pool.copies if one.stage == GONE]
        for replica in free[: max(0, pool.wanted - len(self.active(pool)))]:
            self.start(replica)

    # ---- placement ---------------------------------------------------------------------------------------------------
    def find(self, replica: Copy) -> list[list[Hold]] | None:
        """What each member would hold, tried on a copy of all nodes; None where there is no room for the whole gang."""
        kind = replica.pool.kind
        zones = sorted({group.kind.zone for group in self.groups})
        for zone in zones if kind.members > 1 else [None]:
            tried = {
                node.number: copy.deepcopy(node.cards)
                for node in self.nodes
                if node.stage == READY
                and zone in (None, node.group.kind.zone)
                and self.gate.allows(replica, node.group)
                and not self.is_promised(node, replica)
            }
            members: list[list[Hold]] = []
            for _ in range(kind.members):
                held = self.find_member(replica.pool, tried, members)
                if held is None:
                    break
                members.append(held)
            if len(members) == kind.members:
                self.seen["a zone was passed over"] += zone is not None and zone != zones[0]
                return members
            self.seen["part of a gang found room"] += len(members) > 0
        return None

    def find_member(
        self, pool: Pool, tried: dict[int, list[Card]], earlier: list[list[Hold]]
    ) -> list[Hold] | None:
        """What a member takes of the best node, which is taken there; None where there is none. `earlier` members of its
        gang have found theirs.
        """
        able = []
        for number, cards in tried.items():
            node = Machine(number, self.nodes[number].group)
            node.cards = cards
            ask = node.group.kind.asks[pool.number]
            if ask.starts and node.pick(ask, pool.kind.gpus) is not None:
                able.append(node)
        if not able:
            return None
        how = self.policy.placement
        if how < 2:
            best = min(able, key=lambda node: (how * node.free, node.number))
        else:
            counts = {
                node.group.kind.zone: self.n_in_zone(pool, node.group.kind.zone, earlier) for node in able
            }
            scores = {node.number: self.score(node, pool, counts) for node in able}
            best = min(able, key=lambda node: (-scores[node.number], node.number))
            self.seen["scores differ"] += len(set(scores.values())) > 1
        return self.take(self.nodes[best.number], tried[best.number], pool)

    def n_in_zone(self, pool: Pool, zone: int, earlier: list[list[Hold]]) -> int:
        """Members of a pool in a zone that do not drain."""
        members = [
            member
            for one in self.everybody
            if one.pool is pool and one.stage != DRAINS
            for member in one.members
        ]
        return sum(member[0][0].group.kind.zone == zone for member in members + earlier)

    def score(self, node: Machine, pool: Pool, counts: dict[int, int]) -> int:
        """The weighted sum of a node's scores for one more member of a pool."""
        asks, weights = node.group.kind.asks, self.policy.weights
        there = node.group.kind.places * len(node.cards)
        asked = there - node.free + pool.kind.gpus * asks[pool.number].memory
        scores = [
            least_allocated(asked, there),
            most_allocated(asked, there),
            by_shape(asked, there, list(self.policy.shape)),
            50,
            spread(counts[node.group.kind.zone], list(counts.values())),
        ]
        if weights[3]:
            then = Machine(node.number, node.group)
            then.cards = copy.deepcopy(node.cards)
            for i in node.pick(asks[pool.number], pool.kind.gpus) or []:
                card = then.cards[i]
                card.take(asks[pool.number], chosen_start(card, asks[pool.number], asks, self.policy.mig))
            weight = sum(ask.weight for ask in asks)
            scores[3] = fragmentation_change(
                self.fragments(node), self.fragments(then), weight, node.group.kind.places
            )
        return sum(weight * score for weight, score in zip(weights, scores, strict=True))

    def fragments(self, node: Machine) -> int:
        """A node's free slices that pools cannot use, by weight."""
        total = 0
        for pool, ask in zip([*self.pools, *self.jobs], node.group.kind.asks, strict=True):
            if ask.starts and node.pick(ask, pool.kind.gpus) is not None:
                total += sum(card.useless([ask]) for card in node.cards)
            else:
                total += ask.weight * node.free
        return total

    def take(self, real: Machine, cards: list[Card], pool: Pool) -> list[Hold] | None:
        """A member takes slices of a node's GPUs; None where there is no room."""
        node = Machine(real.number, real.group)
        node.cards = cards
        asks = real.group.kind.asks
        ask = asks[pool.number]
        picked = node.pick(ask, pool.kind.gpus)
        if picked is None:
            return None
        held: list[Hold] = []
        for i in picked:
            start = chosen_start(cards[i], ask, asks, self.policy.mig)
            self.seen["not at the lowest start"] += start != min(cards[i].fits(ask))
            cards[i].take(ask, start)
            held.append((real, i, start))
        return held

    def hold(self, replica: Copy, members: list[list[Hold]]) -> None:
        """A replica gets its slices."""
        for member in members:
            for node, i, start in member:
                node.cards[i].take(node.group.kind.asks[replica.pool.number], start)
            node.n_member += 1
            node.changed_ps = self.now_ps
        replica.members = members
        self.seen["gangs on several nodes"] += len({member[0][0].number for member in members}) > 1
        self.seen["members on one node"] += len(members) > len({member[0][0].number for member in members})
        self.seen["several GPUs"] += replica.pool.kind.gpus > 1
        self.seen["shared by configuration"] += members[0][0][0].group.kind.is_shared
        node, i, _ = members[0][0]
        self.seen["shared GPUs"] += node.cards[i].compute > node.group.kind.asks[replica.pool.number].compute

    def waiting(self) -> list[Copy]:
        """Who waits, in order."""
        return sorted((one for one in self.everybody if one.waits), key=lambda one: one.rank)

    def place(self) -> None:
        """Everybody who waits looks for slices."""
        self.is_due = False
        self.passes += 1
        self.gate.look()
        failed: set[tuple[int, int | None]] = set()
        waiting = [one for one in self.waiting() if self.gate.is_open(one)]
        while waiting:
            replica, kind = waiting[0], (waiting[0].pool.number, self.gate.flavor(waiting[0]))
            if kind not in failed:
                found = self.find(replica)
                if found is None and self.makes_room(replica):
                    found = self.find(replica)
                if found is not None:
                    self.seen["placed behind somebody who waits"] += len(failed) > 0
                    self.settle_down(replica, found)
                elif replica.promised is None:
                    failed.add(kind)
            after = [one for one in self.waiting() if one.rank > replica.rank]
            if replica.waits:
                self.gate.tell_unplaceable(replica)
                replica.was_tried = True
                self.seen["found nothing"] += 1
            waiting = [one for one in after if self.gate.is_open(one)]

    def settle_down(self, replica: Copy, members: list[list[Hold]]) -> None:
        """A replica that waited takes its slices, and its start goes on."""
        waited = self.now_ps - replica.since_ps
        earlier = [one for one in self.everybody if one.waits and one.since_ps < replica.since_ps]
        self.seen["overtook by priority"] += any(one.pool.priority < replica.pool.priority for one in earlier)
        self.seen["placed after a wait"] += waited > 0
        self.seen["placed"] += 1
        self.seen["placed where room was made"] += members[0][0][0] is replica.promised
        self.hold(replica, members)
        self.note_gang(replica, waited)
        self.waited(replica)
        replica.pool.placed += 1
        kind = members[0][0][0].group.kind
        took_ps = 0 if kind.asks[replica.pool.number].is_whole else kind.create_ps
        took_ps += self.switch(replica)
        if isinstance(replica, Work):
            self.work(replica, took_ps)
            return
        replica.placed_ps = self.now_ps + took_ps
        self.set_out(replica, replica.placed_ps)

    def switch(self, replica: Copy | Work) -> int:
        """MIG modes are switched where need be; how long that takes."""
        took_ps = 0
        for node, i, _ in (
            hold for member in replica.members for hold in sorted(member, key=lambda one: one[1])
        ):
            ask = node.group.kind.asks[replica.pool.number]
            if node.needs_switch(i, ask):
                node.cards[i].is_whole = ask.is_whole
                took_ps = max(took_ps, node.group.kind.mode_ps)
                self.seen["MIG modes switched"] += self.now_ps > 0
                if self.now_ps > 0:
                    self.note(MODE_SWITCHED, node.number, replica.number, i)
        return took_ps

    # ---- runs of jobs ------------------------------------------------------------------------------------------------
    def submit(self, run: Work) -> None:
        """A run comes."""
        word = dice(self.seed, STREAM_WORK, run.pool.index, run.nth)
        run.work_ps, run.due_ps = run.pool.kind.work[word >> 53], FOREVER
        self.why = Why(BY_JOB, run.pool.index)
        self.note(SUBMITTED, -1, run.number, run.nth)
        self.queue(run)

    def queue(self, run: Work) -> None:
        """It waits for slices."""
        run.state, run.waits, run.was_tried, run.since_ps = "waits", True, False, self.now_ps
        self.is_due = True

    def work(self, run: Work, create_ps: int) -> None:
        """It has its slices, and will have them until its work is done."""
        run.state, run.got_ps, run.placed_ps = "runs", self.now_ps, self.now_ps + create_ps
        run.starts += 1
        run.first_ps = run.got_ps if run.first_ps < 0 else run.first_ps
        rest = run.work_ps - run.safe_ps
        run.due_ps = max(self.now_ps + 1, run.placed_ps + run.pool.kind.startup_ps + rest)
        self.seen["runs that go on from a checkpoint"] += run.safe_ps > 0

    def end_run(self, run: Work, state: str, what: int) -> None:
        """It is over."""
        run.give_back(self.now_ps)
        self.why = run.why
        self.note(what, -1, run.number)
        self.leave(run)
        run.state, run.ended_ps, run.due_ps = state, self.now_ps, FOREVER
        self.seen["runs finished"] += 1

    def interrupt(self, run: Work, what: int, node: Machine | None) -> None:
        """It loses what it holds, and begins again if it may."""
        run.give_back(self.now_ps)
        run.due_ps = FOREVER
        run.n_lost += what == RUN_LOST
        run.n_preempted += what == RUN_PREEMPTED
        run.pool.preempted += what == RUN_PREEMPTED
        self.note(what, -1 if node is None else node.number, run.number)
        self.seen["runs lost" if what == RUN_LOST else "runs preempted"] += 1
        self.leave(run)
        if run.starts > run.pool.kind.most_restarts:
            run.state, run.ended_ps = "failed", self.now_ps
            self.note(FAILED, -1, run.number)
            self.seen["runs given up"] += 1
        else:
            self.queue(run)

    def held_by_jobs(self, group: Group) -> int:
        """Memory slices of a group."""
        return sum(
            group.kind.asks[run.pool.number].memory
            for run in self.runs
            for member in run.members
            for node, *_ in member
            if node.group is group
        )

    def sample_jobs(self, group: Group) -> None:
        """A row of what jobs hold and ask for of a group."""
        waiting = sum(run.waits and len(group.kind.asks[run.pool.number].starts) > 0 for run in self.runs)
        self.job_samples.append((self.now_ps, group.number, self.held_by_jobs(group), waiting))

    # ---- preemption --------------------------------------------------------------------------------------------------
    def promised_on(self, node: Machine, replica: Copy) -> list[Copy]:
        """The others for which room is made on a node and that matter at least as much as a replica, in order."""
        return [
            one
            for one in self.waiting()
            if one.promised is node and one is not replica and one.pool.priority >= replica.pool.priority
        ]

    def is_promised(self, node: Machine, replica: Copy) -> bool:
        """Whether a node is kept for others."""
        return replica.promised is not node and len(self.promised_on(node, replica)) > 0

    def on_node(self, node: Machine) -> list[tuple[Copy, int, list[Hold]]]:
        """(whose, its number in the gang, what it holds) of every member on a node."""
        return [
            (replica, i, member)
            for replica in self.everybody
            for i, member in enumerate(replica.members)
            if member[0][0] is node
        ]

    def makes_room(self, replica: Copy) -> bool:
        """Whether those of lower priority make room for a replica: it tries again, or waits until they have drained."""
        node, own = replica.promised, replica.pool.priority
        if node is not None and node.stage == READY:
            leaving = [one for one, *_ in self.on_node(node) if one.stage == DRAINS]
            if any(one.pool.priority < own or replica.is_repartition for one in leaving):
                self.seen["waits for those that drain"] += 1
                return False
        if self.cut_anew(replica):
            return True
        replica.promised = None
        if not self.policy.preempts or replica.pool.kind.members > 1:
            return False
        if all(pool.priority >= own for pool in [*self.pools, *self.jobs]):
            return False
        options = []
        for node in self.nodes:
            if not self.gate.allows(replica, node.group):
                continue
            victims = self.victims_on(node, replica)
            if victims is not None:
                first = victims[0][0] if victims else None
                key = (-FOREVER, 0, 0, 0)
                if first is not None:
                    key = (first.pool.priority, len(victims), -first.placed_ps, 0)
                options.append((key, node.number, victims))
        if not options:
            return False
        _, number, victims = min(options, key=lambda option: option[:2])
        self.seen["preempted on one of several nodes"] += len(options) > 1 and len(victims) > 0
        self.seen["those that drain make room enough"] += len(victims) == 0
        for one in dict.fromkeys(
            one for one, *_ in victims
        ):  # once, though two of its members may be victims
            self.why = Why(BY_PREEMPTION, replica.number, replica.why.after)
            self.give_way(one, self.nodes[number])
        replica.promised, replica.is_repartition = self.nodes[number], False
        return True

    def give_way(self, one: Copy | Work, node: Machine | None) -> None:
        """Somebody has to go, from a node or from wherever it is."""
        if isinstance(one, Work):
            self.interrupt(one, RUN_PREEMPTED, node)
            return
        one.pool.preempted += 1
        self.note(PREEMPTED, -1 if node is None else node.number, one.number)
        self.why = replace(self.why, after=self.last)
        self.seen["preempted"] += 1
        self.seen["preempted on their way"] += one.stage != UP
        self.stop(one)
        self.replace(one.pool)

    def replace(self, pool: Pool) -> None:
        """A pool starts what it has lost to others; for what it has no place now it does so when it has."""
        self.top_up(pool)
        is_short = len(self.active(pool)) < pool.wanted
        if is_short and not pool.is_owed:
            pool.owed = self.why
        pool.is_owed = is_short

    def victims_on(self, node: Machine, replica: Copy) -> list[tuple[Copy, int, list[Hold]]] | None:
        """Who would have to leave a node for a replica, the most important first; None where that would not do."""
        ask, kind = node.group.kind.asks[replica.pool.number], replica.pool.kind
        if node.stage != READY or not ask.starts:
            return None
        tried = Machine(node.number, node.group)
        tried.cards = copy.deepcopy(node.cards)
        victims = []
        for one, i, member in self.on_node(node):
            is_victim = one.pool.priority < replica.pool.priority and one.stage != DRAINS
            if is_victim or one.stage == DRAINS:
                self.lift(tried, one, member)
            if is_victim:
                victims.append((one, i, member))
        for one in self.promised_on(node, replica):
            self.take(node, tried.cards, one.pool)
        if tried.pick(ask, kind.gpus) is None:
            return None
        victims.sort(
            key=lambda one: (
                *(-one[0].pool.priority, one[0].placed_ps),
                *(one[0].pool.number, one[0].number, one[1]),
            )
        )
        going = []
        for one, i, member in victims:
            kept = copy.deepcopy(tried.cards)
            if self.put_back(tried, one, member) and tried.pick(ask, kind.gpus) is not None:
                self.seen["spared"] += 1
            else:
                tried.cards = kept
                going.append((one, i, member))
        return going

    def lift(self, tried: Machine, one: Copy, member: list[Hold]) -> None:
        """What a member holds is free."""
        for node, i, start in member:
            tried.cards[i].give(node.group.kind.asks[one.pool.number], start)

    def put_back(self, tried: Machine, one: Copy, member: list[Hold]) -> bool:
        """A member holds again what it held; False where somebody else was promised it."""
        for node, i, start in member:
            ask = node.group.kind.asks[one.pool.number]
            if start not in tried.cards[i].fits(ask):
                return False
            tried.cards[i].take(ask, start)
        return True

    # ---- nodes -------------------------------------------------------------------------------------------------------
    def request(self, node: Machine, wanted_by: Copy, why: Why | None = None) -> bool:
        """Ask for a node for a replica that waits; whether the provider has one."""
        self.why = why or Why(BY_NODES, 0, wanted_by.why.after)
        group, kind, t = node.group, node.group.kind, self.now_ps
        number = group.requested
        group.requested += 1
        is_dry = any(begin <= t < end for begin, end in kind.droughts)
        if is_dry or dice(self.seed, STREAM_NODE, group.number, number) >> 43 < kind.refused_q20:
            group.refused += 1
            group.retry_ps = t + kind.retry_ps
            self.note(REFUSED, node.number, wanted_by.number, number)
            self.seen["drought"] += is_dry
            self.seen["refused"] += not is_dry
            return False
        self.note(REQUESTED, node.number, wanted_by.number, number)
        self.why = node.why
        node.request, node.step = number, -1
        self.enter(node)
        return True

    def enter(self, node: Machine) -> None:
        """A node goes on to its next step that takes time, or is ready."""
        steps = node.group.kind.steps
        for i in range(node.step + 1, len(steps)):
            stage, durations = steps[i]
            word = dice(self.seed, STREAM_NODE + 1 + i, node.group.number, node.request)
            if durations[word >> 53] > 0:
                node.stage, node.step, node.due_ps = stage, i, self.now_ps + durations[word >> 53]
                self.note(STAGED, node.number, -1, stage)
                break
        else:
            node.stage, node.due_ps, node.idle_ps = READY, FOREVER, self.now_ps
            node.changed_ps, node.unneeded_ps = self.now_ps, None
            self.note(NODE_READY, node.number, -1, node.request)
            if self.anyone_waits:
                self.is_due = True
        node.group.peak = max(node.group.peak, node.group.billed)

    def drop(self, node: Machine) -> None:
        """A node is not there any longer."""
        self.seen["lost on their way"] += node.is_coming
        kind = node.group.kind
        if node.stage >= kind.paid_from:
            begun, over = divmod(node.bill_ps, kind.unit_ps)
            asked_ps = max((begun + (over > 0)) * kind.unit_ps, kind.least_ps)
            node.group.rounded_ps += asked_ps - node.bill_ps
            self.seen["bills rounded up"] += asked_ps > node.bill_ps
        node.bill_ps = 0
        node.stage, node.due_ps, node.is_doomed = ABSENT, FOREVER, False
        node.draining, node.awaits = 0, None
        for card in node.cards:
            card.is_whole = False

    def cordon(self, number: int) -> None:
        """It takes nobody new."""
        self.why = Why(BY_USER)
        self.close(self.nodes[number])

    def close(self, node: Machine) -> None:
        """It is cordoned."""
        number = node.number
        if node.stage == READY:
            node.stage = CORDONED
            self.note(CORDON, number)
            self.seen["cordoned"] += 1

    def uncordon(self, number: int) -> None:
        """It takes new ones again."""
        node = self.nodes[number]
        self.seen["uncordoned"] += node.stage == CORDONED and not node.is_doomed
        self.why = Why(BY_USER)
        self.open(node)

    def lose(self, node: Machine) -> None:
        """A node is lost with all that it holds."""
        node.group.lost += 1
        self.seen["nodes lost"] += 1
        for replica in self.everybody:
            if any(hold[0] is node for member in replica.members for hold in member):
                if isinstance(replica, Work):
                    self.interrupt(replica, RUN_LOST, node)
                    continue
                self.seen["replicas lost"] += 1
                self.seen["starts lost"] += replica.stage < UP
                self.note(REPLICA_LOST, node.number, replica.number)
                self.remove(replica)
        self.note(LOST, node.number)
        self.drop(node)

    def lose_node(self, number: int) -> None:
        """A user takes a node away."""
        self.why = Why(BY_USER)
        self.lose_with(self.nodes[number])

    def lose_with(self, node: Machine) -> None:
        """A node is lost, and pools replace what they lost with it."""
        if node.stage != ABSENT:
            self.lose(node)
            for pool in self.pools:
                self.replace(pool)

    def strike(self, fault: NodesLost) -> None:
        """A scripted fault."""
        number = self.n_scripted - len(self.faults) - 1
        self.why = Why(BY_FAULT, number)
        self.note(STRUCK, -1, -1, number)
        self.why = replace(self.why, after=self.last)
        left = fault.most
        for group in self.groups:
            if fault.group not in (None, group.number) or fault.zone not in (None, group.kind.zone):
                continue
            for node in group.machines:
                if node.stage != ABSENT and left > 0:
                    left -= 1
                    self.lose(node)
            if fault.outage_ps > 0:
                group.retry_ps = max(group.retry_ps, self.now_ps + fault.outage_ps)
                self.seen["outages"] += 1
        for pool in self.pools:
            self.replace(pool)

    def strike_again(self, number: int) -> None:
        """A fault that strikes again and again strikes: what it strikes is drawn."""
        chance, n, t = self.chances[number], self.struck[number], self.now_ps
        outage_ps = chance.outages[dice(self.seed, STREAM_OUTAGE, number, n) >> 53]
        self.why = Why(BY_CHANCE, number)
        self.note(STRUCK, -1, -1, n)
        struck = replace(self.why, after=self.last)
        groups = [
            group
            for group in self.groups
            if chance.group in (None, group.number) and chance.zone in (None, group.kind.zone)
        ]
        for group in groups:
            if outage_ps > 0:
                group.retry_ps = max(group.retry_ps, t + outage_ps)
        for i in range(min(chance.most, len(self.nodes))):
            there = [
                node
                for group in groups
                for node in group.machines
                if node.stage != ABSENT and not node.is_doomed
            ]
            if not there:
                break
            which = 0
            if chance.most != FOREVER:
                which = draw_below(self.seed, STREAM_VICTIM, number, (n << 16) + i, len(there))
            self.why = struck
            self.take_away(there[which], chance.notice_ps)
        self.why = struck
        for pool in self.pools:
            self.replace(pool)
        self.struck[number] += 1
        gap_ps = chance.gaps[dice(self.seed, STREAM_GAP, number, n + 1) >> 53]
        self.strike_ps[number] = t + outage_ps + max(1, gap_ps)

    def take_away(self, node: Machine, notice_ps: int) -> None:
        """A node is lost, or told that it will be."""
        if notice_ps == 0 or node.stage < READY:
            self.lose(node)
            return
        self.close(node)
        node.is_doomed, node.due_ps, node.draining = True, self.now_ps + notice_ps, 0
        self.note(NOTICE, node.number, -1, notice_ps)
        self.why = node.why
        self.seen["told before"] += 1
        for replica in self.everybody:
            if replica.stage != DRAINS and any(member[0][0] is node for member in replica.members):
                if isinstance(replica, Work):
                    self.interrupt(replica, RUN_LOST, node)
                else:
                    self.stop(replica)

    # ---- the node autoscaler -----------------------------------------------------------------------------------------
    def pack(self, waiting: list[Copy], nodes: list[Machine]) -> tuple[list[Copy], dict[int, Copy], int]:
        """(who finds room on such nodes while they hold nothing, for whom each node is needed, of how many slices)."""
        self.passes += 1
        cards = {node.number: [Card(card.places) for card in node.cards] for node in nodes}
        found, failed, slices, used = [], set(), 0, {}
        for replica in waiting:
            pool, like = replica.pool, (replica.pool.number, self.gate.flavor(replica))
            if like in failed:
                continue
            tried = copy.deepcopy(cards)
            members = []
            for _ in range(pool.kind.members):
                for node in (node for node in nodes if self.gate.allows(replica, node.group)):
                    if held := self.take(node, tried[node.number], pool):
                        members.append(held)
                        break
            if len(members) < pool.kind.members:
                failed.add(like)
                continue
            cards = tried
            found.append(replica)
            for member in members:
                used.setdefault(member[0][0].number, replica)
            slices += sum(
                node.group.kind.asks[pool.number].memory for member in members for node, _, _ in member
            )
        return found, used, slices

    def scan(self) -> None:
        """The node autoscaler looks."""
        tried = [one for one in self.waiting() if one.was_tried]
        planned, _, _ = self.pack(tried, [node for node in self.nodes if node.is_coming])
        if tried:
            self.seen["nodes on their way will do"] += len(planned) == len(tried)
            rest = [one for one in tried if one not in planned]
            if rest:
                self.grow(rest)
        if self.policy.scaling.karpenter:
            self.consolidate()
        else:
            self.shrink()

    def grow(self, rest: list[Copy]) -> None:
        """Ask for nodes for those that will find no room otherwise."""
        options: list[tuple[Group, int, int]] = []
        wanted_by: dict[int, Copy] = {}
        for group in self.groups:
            if group.retry_ps > self.now_ps:
                self.seen["left alone for now"] += 1
                continue
            absent = [node for node in group.machines if node.stage == ABSENT]
            _, used, slices = self.pack(rest, absent)
            if used:
                options.append((group, len(used), slices))
                wanted_by |= used
        if not options:
            return
        self.seen[f"expander {self.policy.expander} chose of several"] += len(options) > 1
        group, n, _ = self.expand(options)
        self.seen["not the first option"] += group is not options[0][0]
        for node in [node for node in group.machines if node.stage == ABSENT][:n]:
            self.added_ps = self.now_ps
            if not self.request(node, wanted_by[node.number]):
                break

    def expand(self, options: list[tuple[Group, int, int]]) -> tuple[Group, int, int]:
        """Which group gets nodes: min takes the first of equals."""
        how = self.policy.expander
        if how == 0:
            return min(
                options, key=lambda one: 1 - Fraction(one[2], one[0].kind.places * one[0].kind.gpus * one[1])
            )
        if how == 1:
            return min(options, key=lambda one: -one[0].kind.priority)
        if how == 2:
            return min(options, key=lambda one: Fraction(one[0].kind.price // 1000 * one[1], one[2]))
        return options[draw_below(self.seed, STREAM_EXPANDER, 0, self.passes, len(options))]

    def shrink(self) -> None:
        """Nodes that hold nothing go."""
        t = self.now_ps
        if self.policy.scaling.below_milli:
            self.look_for_unneeded()
        if self.added_ps is not None and t - self.added_ps < self.policy.delay_ps:
            self.seen["too soon to go"] += 1
            return
        left = self.policy.bulk
        for node in self.nodes:
            idle = node.stage == READY and node.n_member == 0 and t - node.idle_ps >= self.policy.unneeded_ps
            if not idle:
                continue
            if self.spare(node.group) <= 0:
                self.seen["kept for the minimum"] += 1
            elif left == 0:
                self.seen["kept for another scan"] += 1
            else:
                left -= 1
                self.why = Why(BY_NODES, 0, node.room_since)
                self.give_back(node)
        if self.policy.scaling.below_milli:
            self.drain_unneeded()
