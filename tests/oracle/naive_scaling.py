"""Nodes that are drained, and nodes that the autoscaler lets go because what they hold fits elsewhere: as the cluster
autoscaler does it and as Karpenter does. The other half of the plain cluster; trials are made on copies.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .naive_jobs import RUN_PREEMPTED, Work

if TYPE_CHECKING:
    from .naive_cluster import Card, Cluster, Copy, Group, Machine

    Whoever = Copy | Work

FOREVER = 2**63 - 1
ABSENT, READY, CORDONED = 0, 4, 5
WEIGHTS, UP, DRAINS = 4, 6, 7  # stages of a replica: an image is there from the first on
REMOVED, UNCORDON, DRAINED, EVICTED, EVICTION_REFUSED = 4, 7, 25, 26, 27
STAYS, GIVEN_BACK, FOR_WANT_OF_USE = 1, 2, 3
BY_NODES, BY_USER, BY_CONSOLIDATION = 6, 8, 12
EMPTY_ONLY = 1
PER_EVICTION = 2**25


@dataclass(frozen=True)
class Scaling:
    """How nodes are let go."""

    below_milli: int = 0
    drains_max: int = 1
    retry_ps: int = 5 * 10**12
    karpenter: int = 0
    after_ps: int = 0
    disrupted: int = 10
    is_percent: bool = True


@dataclass(frozen=True)
class Budget:
    """So many stay ready, or so many may be missing."""

    is_max: bool
    bound: int
    is_percent: bool

    def allows(self, pool: Any) -> tuple[int, bool]:
        """(how many ready ones may go, whether those that are not ready may)."""
        ready = sum(one.stage == UP for one in pool.copies)
        there = sum(one.stage not in (0, DRAINS) for one in pool.copies)
        of = self.bound
        if self.is_percent:
            of = (self.bound * pool.wanted + 99) // 100
        stay = max(0, pool.wanted - of) if self.is_max else of
        counted = pool.wanted if self.is_max or self.is_percent else there
        left = max(0, ready - stay) if counted > 0 else 0
        return left, stay > 0 and ready >= stay


@dataclass
class Trial:
    """What would be if some nodes went."""

    cards: dict[int, list[Card]]
    gone: set[int]
    filled: set[int]
    moved: set[int]
    left: dict[int, int]


class NodeScaling:
    """What `Cluster` does about drains, and about nodes that are needed no longer."""

    # ---- drains ----------------------------------------------------------------------------------------------------
    def drain(self: Cluster, number: int) -> None:
        """A user empties a node."""
        from .naive_cluster import Why

        self.why = Why(BY_USER)
        self.empty(self.nodes[number], STAYS)

    def empty(self: Cluster, node: Machine, then: int) -> None:
        """What a node holds is evicted."""
        if node.stage >= READY and not node.is_doomed:
            self.close(node)
            node.draining = max(node.draining, then)
            self.seen["nodes drained"] += 1
            self.evict_all(node)

    def holders(self: Cluster, node: Machine) -> list[Whoever]:
        """Who has something on a node, by number."""
        return [one for one in self.everybody if any(member[0][0] is node for member in one.members)]

    def evict_all(self: Cluster, node: Machine) -> None:
        """One look at a node that is drained."""
        for one in self.holders(node):
            if isinstance(one, Work):
                self.interrupt(one, RUN_PREEMPTED, node)
            elif one.stage != DRAINS:
                self.evict(one, node)
        if node.n_member > 0:
            node.due_ps = self.now_ps + max(1, self.policy.scaling.retry_ps)
        else:
            self.note(DRAINED, node.number)
            goes, node.draining, node.due_ps = node.draining >= GIVEN_BACK, 0, FOREVER
            if goes:
                self.give_back(node)

    def give_back(self: Cluster, node: Machine) -> None:
        """An empty node goes."""
        node.group.removed += 1
        self.note(REMOVED, node.number, -1, self.now_ps - node.idle_ps)
        self.drop(node)
        self.seen["removed"] += 1

    def open(self: Cluster, node: Machine) -> None:
        """It takes new ones again."""
        if node.stage == CORDONED and not node.is_doomed:
            self.note(UNCORDON, node.number)
            node.stage, node.draining, node.awaits, node.unneeded_ps = READY, 0, None, None
            node.due_ps = FOREVER
            if self.anyone_waits:
                self.is_due = True

    def evict(self: Cluster, one: Copy, node: Machine) -> None:
        """A replica has to go, if its budget allows it."""
        if not self.has_leave(one):
            self.note(EVICTION_REFUSED, node.number, one.number)
            self.seen["evictions refused"] += 1
            return
        self.note(EVICTED, node.number, one.number)
        self.seen["evicted"] += 1
        before, self.why = self.why, replace(self.why, after=self.last)
        self.stop(one)
        self.replace(one.pool)
        self.why = replace(self.why, after=before.after)

    def has_leave(self: Cluster, one: Copy) -> bool:
        """Whether a budget allows that one replica goes now."""
        budget = one.pool.kind.budget
        if budget is None or one.stage < WEIGHTS:
            return True
        left, others_may = budget.allows(one.pool)
        return left > 0 or (one.stage != UP and others_may)

    # ---- trials ----------------------------------------------------------------------------------------------------
    def new_trial(self: Cluster) -> Trial:
        """Nothing has moved."""
        budgets = [(pool, pool.kind.budget) for pool in self.pools]
        left = {pool.number: budget.allows(pool)[0] for pool, budget in budgets if budget is not None}
        cards = {node.number: copy.deepcopy(node.cards) for node in self.nodes}
        return Trial(cards, set(), set(), set(), left)

    def without(self: Cluster, trial: Trial, node: Machine, fresh: Machine | None = None) -> Trial | None:
        """What would be if a node went too; None where something would find no room."""
        after = copy.deepcopy(trial)
        after.gone.add(node.number)
        for one in self.holders(node):
            if one.number in after.moved or one.stage == DRAINS:
                continue
            if self.counts(one):
                after.left[one.pool.number] -= 1
                if after.left[one.pool.number] < 0:
                    self.seen["budgets keep a node"] += 1
                    return None
            for member in one.members:
                for machine, i, start in member:
                    ask = machine.group.kind.asks[one.pool.number]
                    after.cards[machine.number][i].give(ask, start)
            zones = range(len(self.groups)) if one.pool.kind.members > 1 else [None]
            if not any(self.moves_to(after, one, zone, fresh) for zone in zones):
                return None
            after.moved.add(one.number)
        return after

    def counts(self: Cluster, one: Whoever) -> bool:
        """Whether a budget is used up by one's going."""
        if isinstance(one, Work) or one.pool.kind.budget is None or one.stage < WEIGHTS:
            return False
        return one.stage == UP or not one.pool.kind.budget.allows(one.pool)[1]

    def moves_to(self: Cluster, trial: Trial, one: Whoever, zone: int | None, fresh: Machine | None) -> bool:
        """Let a workload take room on the first nodes that have it; whether all of it found some."""
        cards, filled = copy.deepcopy(trial.cards), set(trial.filled)
        for _ in range(one.pool.kind.members):
            able = [node for node in self.nodes if self.may_take(node, trial)]
            for node in able + ([fresh] if fresh else []):
                is_for = zone in (None, node.group.kind.zone) and self.gate.allows(one, node.group)
                if is_for and self.take(node, cards[node.number], one.pool):
                    filled.add(node.number)
                    break
            else:
                return False
        trial.cards, trial.filled = cards, filled
        return True

    def may_take(self: Cluster, node: Machine, trial: Trial) -> bool:
        """Whether what goes elsewhere may go to a node."""
        is_promised = any(one.promised is node for one in self.everybody)
        return node.stage == READY and node.number not in trial.gone and not is_promised

    # ---- the cluster autoscaler's way ------------------------------------------------------------------------------
    def is_going(self: Cluster, node: Machine) -> bool:
        """Whether it is on its way out."""
        return node.draining >= GIVEN_BACK or node.awaits is not None

    def spare(self: Cluster, group: Group) -> int:
        """How many more may go."""
        scaling = self.policy.scaling
        going = sum(self.is_going(node) for node in group.machines)
        return group.billed - group.kind.least - (going if scaling.below_milli or scaling.karpenter else 0)

    def look_for_unneeded(self: Cluster) -> None:
        """Which nodes could go, all of them together."""
        trial, little = self.new_trial(), []
        for node in self.nodes:
            there = node.group.kind.places * len(node.cards)
            is_promised = any(one.promised is node for one in self.everybody)
            is_little = 1000 * (there - node.free) < self.policy.scaling.below_milli * there
            if node.stage == READY and node.n_member > 0 and not is_promised and is_little:
                little.append(node)
        for node in self.nodes:
            after = None
            if node in little and node.number not in trial.filled:
                after = self.without(trial, node)
                self.seen["little used"] += 1
            if after is None:
                node.unneeded_ps = None
            else:
                trial = after
                node.unneeded_ps = self.now_ps if node.unneeded_ps is None else node.unneeded_ps
                self.seen["unneeded"] += 1

    def drain_unneeded(self: Cluster) -> None:
        """Those that have been unneeded long enough."""
        from .naive_cluster import Why

        busy = sum(node.draining == FOR_WANT_OF_USE for node in self.nodes)
        left = self.policy.scaling.drains_max - busy
        for node in self.nodes:
            if node.stage != READY or node.unneeded_ps is None or left <= 0:
                continue
            if self.now_ps - node.unneeded_ps >= self.policy.unneeded_ps and self.spare(node.group) > 0:
                left -= 1
                self.why = Why(BY_NODES, 0, node.room_since)
                self.empty(node, FOR_WANT_OF_USE)
                self.seen["drained for want of use"] += 1

    # ---- Karpenter's way -------------------------------------------------------------------------------------------
    def consolidate(self: Cluster) -> None:
        """One look."""
        from .naive_cluster import Why

        scaling, t = self.policy.scaling, self.now_ps
        awaited = self.follow()
        total = sum(group.billed for group in self.groups)
        most = (scaling.disrupted * total + 99) // 100 if scaling.is_percent else scaling.disrupted
        left = most - sum(self.is_going(node) for node in self.nodes)
        if left <= 0:
            self.seen["as many as may be going"] += 1
            return
        empty = 0
        for node in self.nodes:
            is_empty = node.stage == READY and node.n_member == 0 and node not in awaited
            if (
                is_empty
                and t - node.idle_ps >= scaling.after_ps
                and empty < left
                and self.spare(node.group) > 0
            ):
                self.why = Why(BY_CONSOLIDATION, 0, node.room_since)
                self.give_back(node)
                empty += 1
        self.seen["empty nodes consolidated"] += empty
        if empty or scaling.karpenter == EMPTY_ONLY or self.anyone_waits:
            return
        rated = self.rated(awaited)
        low, high, most = 1, min(len(rated), left, 100) - 1, 0
        while low <= high:
            mid = (low + high) // 2
            if self.stand_in(rated[: mid + 1]) is not None:
                most, low = mid + 1, mid + 1
            else:
                high = mid - 1
        if most >= 2:
            self.seen["several nodes consolidated"] += 1
            self.let_go(rated[:most])
            return
        for node in rated:
            if self.stand_in([node]) is not None:
                self.let_go([node])
                return

    def rated(self: Cluster, awaited: list[Machine]) -> list[Machine]:
        """Who may go, the least disruption first."""
        found = []
        for node in self.nodes:
            is_promised = any(one.promised is node for one in self.everybody)
            is_settled = self.now_ps - node.changed_ps >= self.policy.scaling.after_ps
            if node.stage != READY or is_promised or node in awaited or not is_settled:
                continue
            stays = [one for one in self.holders(node) if one.stage != DRAINS]
            if stays and not node.group.kind.is_prepaid and self.spare(node.group) > 0:
                found.append((sum(PER_EVICTION + one.pool.priority for one in stays), node.number, node))
        return [node for *_, node in sorted(found, key=lambda one: one[:2])]

    def stand_in(self: Cluster, going: list[Machine]) -> list[Machine] | None:
        """The fresh node that is needed for those who go, none, or None where that would not do."""
        price = 0
        for group in self.groups:
            n = sum(node.group is group for node in going)
            if n > 0 and n > self.spare(group):
                return None
            price += n * self.price(group)
        if self.all_go(going, None):
            return []
        groups = [g for g in self.groups if self.price(g) < price and g.retry_ps <= self.now_ps]
        for group in sorted(groups, key=lambda one: (self.price(one), one.number)):
            absent = [node for node in group.machines if node.stage == ABSENT]
            is_new = not any(node.group is group for node in going)
            if absent and is_new and self.all_go(going, absent[0]):
                return absent[:1]
        return None

    def price(self: Cluster, group: Group) -> int:
        """Of one node more."""
        return 0 if group.kind.is_prepaid else group.kind.price

    def all_go(self: Cluster, going: list[Machine], fresh: Machine | None) -> bool:
        """Whether all that they hold finds room."""
        trial: Trial | None = self.new_trial()
        assert trial is not None
        trial.gone |= {node.number for node in going}
        for node in going:
            trial = self.without(trial, node, fresh)
            if trial is None:
                return False
        return True

    def let_go(self: Cluster, going: list[Machine]) -> None:
        """They go, or wait for the fresh one."""
        from .naive_cluster import Why

        fresh = self.stand_in(going) or []
        if fresh:
            self.why = Why(BY_CONSOLIDATION, 0, going[0].room_since)
            if not self.request(fresh[0], self.holders(going[0])[0], self.why):
                self.seen["no fresh node to be had"] += 1
                return
            self.seen["replaced by a fresh node"] += 1
        for node in going:
            self.why = Why(BY_CONSOLIDATION, 0, fresh[0].why.after if fresh else node.room_since)
            if fresh:
                self.close(node)
                node.awaits = fresh[0]
            else:
                self.empty(node, GIVEN_BACK)
                self.seen["drained as they fit elsewhere"] += 1

    def follow(self: Cluster) -> list[Machine]:
        """Nodes whose fresh one is ready are drained; those whose fresh one is gone stay. The fresh ones."""
        from .naive_cluster import Why

        awaited = []
        for node in self.nodes:
            if node.awaits is None or node.is_doomed:
                continue
            fresh, is_drained = node.awaits, node.draining >= GIVEN_BACK
            self.why = Why(BY_CONSOLIDATION, 0, fresh.why.after)
            if not is_drained and fresh.stage in (ABSENT, CORDONED):
                self.open(node)
                self.seen["stays, for the fresh one is gone"] += 1
                continue
            awaited.append(fresh)
            if not is_drained and fresh.stage == READY:
                self.empty(node, GIVEN_BACK)
                self.seen["gave way to a fresh node"] += 1
        return awaited
