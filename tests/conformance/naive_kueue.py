"""Preemption between queues as Kueue's documentation and source tell it, in Python that shares nothing with the rules.

Trees are walked by recursion, usage is counted anew each time, shares are fractions.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

Vector = dict[str, Any]
Pair = tuple[str, str]


class Node:
    """A queue or a cohort."""

    def __init__(self, name: str, about: Vector, quotas: list[Vector]) -> None:
        self.name, self.about = name, about
        self.parent: Node | None = None
        self.cohorts: list[Node] = []
        self.queues: list[Node] = []
        self.living: list[Vector] = []
        self.more: dict[Pair, int] = {}  # what is asked for, while it counts as used
        self.kept: dict[Pair, int] = about.get("kept", {})  # what counts as used for others that wait
        self.quota = {(o["flavor"], r): q for o in quotas for r, q in o["quotas"].items()}
        self.weight = Fraction(about.get("fair_weight", 1.0)).limit_denominator(10**6)

    def path(self) -> Iterator[Node]:
        """The cohorts above it."""
        if self.parent:
            yield self.parent
            yield from self.parent.path()

    def own(self, pair: Pair) -> int:
        return self.quota[pair]["nominal"] if pair in self.quota else 0

    def limit(self, pair: Pair, key: str) -> int | None:
        return self.quota[pair][key] if pair in self.quota else None

    def has(self, pair: Pair) -> int:
        return self.own(pair) + sum(
            child.has(pair) - child.local(pair) for child in self.cohorts + self.queues
        )

    def local(self, pair: Pair) -> int:
        lend = self.limit(pair, "lending_limit")
        return 0 if lend is None else max(0, self.has(pair) - lend)

    def used(self, pair: Pair) -> int:
        inside = sum(max(0, child.used(pair) - child.local(pair)) for child in self.cohorts + self.queues)
        living = sum(
            u["amount"] for w in self.living for u in w["usage"] if (u["flavor"], u["resource"]) == pair
        )
        return inside + living + self.more.get(pair, 0) + self.kept.get(pair, 0)

    def free(self, pair: Pair) -> int:
        if not self.parent:
            return self.has(pair) - self.used(pair)
        above, borrow = self.parent.free(pair), self.limit(pair, "borrowing_limit")
        if borrow is not None:
            stored = self.has(pair) - self.local(pair)
            above = min(above, stored - max(0, self.used(pair) - self.local(pair)) + borrow)
        return max(0, self.local(pair) - self.used(pair)) + above

    def most(self, pair: Pair) -> int:
        if not self.parent:
            return self.has(pair)
        found, borrow = self.local(pair) + self.parent.most(pair), self.limit(pair, "borrowing_limit")
        return found if borrow is None else min(found, self.has(pair) + borrow)

    def height(self) -> int:
        return max((1 + child.height() for child in self.cohorts + self.queues), default=0)

    def knows(self) -> set[Pair]:
        """The pairs that it or a node in it names."""
        return set(self.quota).union(*(child.knows() for child in self.cohorts + self.queues))

    def share(self) -> tuple[bool, Fraction]:
        """(whether it borrows with weight 0, its share)."""
        if not self.parent:
            return False, Fraction(0)
        over = {pair: max(0, self.used(pair) - self.has(pair)) for pair in self.knows()}
        if not any(over.values()):
            return False, Fraction(0)
        ratio = Fraction(0)
        root = [self, *self.path()][-1]
        for resource in {pair[1] for pair in over}:
            borrowed = sum(n for pair, n in over.items() if pair[1] == resource)
            lendable = sum(self.parent.most(pair) for pair in root.knows() if pair[1] == resource)
            if borrowed and lendable > 0:
                ratio = max(ratio, Fraction(borrowed, lendable))
        return (True, ratio) if self.weight == 0 else (False, ratio / self.weight)


class Preemptor:
    """One workload that wants room."""

    def __init__(self, inputs: Vector, wanting: Vector) -> None:
        self.wanting = wanting
        cohorts = {c["name"]: Node(c["name"], c, c["quotas"]) for c in inputs["cohorts"]}
        for one in inputs["cohorts"]:
            if one["parent"]:
                cohorts[one["name"]].parent = cohorts[one["parent"]]
                cohorts[one["parent"]].cohorts.append(cohorts[one["name"]])
        self.cohorts = cohorts
        self.queues = {}
        for queue in inputs["cluster_queues"]:
            made = Node(queue["name"], queue, [o for g in queue["resource_groups"] for o in g])
            made.parent = cohorts[queue["cohort"]]
            made.parent.queues.append(made)
            self.queues[queue["name"]] = made
        for workload in inputs["admitted"]:
            self.queues[workload["cluster_queue"]].living.append(workload)
        self.queue = self.queues[wanting["cluster_queue"]]
        self.asked = {
            (a["flavor"], a["resource"]): wanting["podsets"][0]["requests"][a["resource"]]
            for a in wanting["flavor_assignment"]
        }
        self.rules = self.queue.about["preemption"]

    # ---- who ----------------------------------------------------------------------
    def uses(self, other: Vector) -> bool:
        """Whether a workload uses anything of what is asked for."""
        return any((u["flavor"], u["resource"]) in self.asked for u in other["usage"])

    def allowed(self, policy: str, other: Vector) -> bool:
        if not self.uses(other):
            return False
        lower = other["priority"] < self.wanting["priority"]
        newer = (
            other["priority"] == self.wanting["priority"] and other["created_s"] > self.wanting["created_s"]
        )
        return {
            "Never": False,
            "Any": True,
            "LowerPriority": lower,
            "LowerOrNewerEqualPriority": lower or newer,
        }[policy]

    def exceeds(self, node: Node) -> bool:
        return any(node.used(pair) > node.has(pair) for pair in self.asked)

    def fits(self, may_borrow: bool) -> bool:
        for pair, amount in self.asked.items():
            if not may_borrow and self.queue.used(pair) + amount > self.queue.own(pair):
                return False
            if amount > self.queue.free(pair):
                return False
        return True

    def order(self, other: Vector) -> tuple[Any, ...]:
        return (
            not other["evicted"],
            other["cluster_queue"] == self.queue.name,
            other["priority"],
            -other["quota_reserved_s"],
            other["name"],
        )

    def below(self, queue: Node) -> tuple[list[Node], Node]:
        """(a queue and the cohorts above it that are not above ours, the lowest that is)."""
        ours, found = list(self.queue.path()), [queue]
        for node in queue.path():
            if node in ours:
                return found, node
            found.append(node)
        raise LookupError

    def same_tree(self, queue: Node) -> bool:
        return list(queue.path())[-1] is list(self.queue.path())[-1]

    def spare(self, taken: list[tuple[Vector, str]], may_borrow: bool) -> list[tuple[str, str]]:
        """Put back those that can be, the last but one first; the others go."""
        keep = [taken[-1]]
        for one in reversed(taken[:-1]):
            self.queues[one[0]["cluster_queue"]].living.append(one[0])
            if not self.fits(may_borrow):
                self.take(one[0])
                keep.append(one)
        return sorted((workload["name"], reason) for workload, reason in keep)

    def take(self, workload: Vector) -> None:
        self.queues[workload["cluster_queue"]].living.remove(workload)

    def level(self, pair: Pair, amount: int) -> tuple[int, bool]:
        """(the height of the lowest part of the tree that has so much for the queue, whether there is more above it)."""
        if self.queue.used(pair) + amount <= self.queue.own(pair):
            return 0, True
        left = amount - max(0, self.queue.local(pair) - self.queue.used(pair))
        for node in self.queue.path():
            if node.used(pair) + left <= node.has(pair):
                return node.height(), node.parent is not None
            left -= max(0, node.local(pair) - node.used(pair))
        return list(self.queue.path())[-1].height(), False

    def mode(self, is_fair: bool) -> tuple[str, int]:
        """(no_fit, preempt or fit, the level from which it borrows then), of a workload that asks for one pair."""
        ((pair, amount),) = self.asked.items()
        level, may_reclaim = self.level(pair, amount)
        if amount > self.queue.most(pair):
            return "no_fit", 0
        if amount <= self.queue.free(pair):
            return "fit", level
        while_borrowing = self.rules["borrow_within_cohort"] or (
            is_fair and self.rules["reclaim_within_cohort"] != "Never"
        )
        if not (self.queue.own(pair) >= amount or may_reclaim or while_borrowing):
            return "no_fit", 0
        for name, _ in self.fair() if is_fair else self.classical():
            for queue in self.queues.values():
                queue.living = [w for w in queue.living if w["name"] != name]
        return "preempt", self.level(pair, amount)[0]

    # ---- by priority and place ----------------------------------------------------------------------
    def has_advantage(self, ancestor: Node) -> bool:
        """Whether what is asked for fits in the queue, or in a cohort below an ancestor on the way to it."""
        left = dict(self.asked)
        for node in [self.queue, *self.queue.path()]:
            if node is ancestor:
                return False
            if all(node.used(pair) + left[pair] <= node.has(pair) for pair in left):
                return True
            for pair in left:
                left[pair] = max(0, left[pair] - max(0, node.local(pair) - node.used(pair)))
        raise LookupError

    def groups(self) -> dict[str, list[Vector]]:
        """Candidates by why: of the own queue, by place, without borrowing, while borrowing."""
        found: dict[str, list[Vector]] = {"own": [], "place": [], "without": [], "while": []}
        found["own"] = [w for w in self.queue.living if self.allowed(self.rules["within_cluster_queue"], w)]
        threshold = self.rules["borrow_within_cohort"]
        for queue in self.queues.values():
            if queue is self.queue or not self.same_tree(queue):
                continue
            chain, ancestor = self.below(queue)
            if not all(self.exceeds(node) for node in chain):
                continue
            for workload in queue.living:
                if not self.allowed(self.rules["reclaim_within_cohort"], workload):
                    continue
                is_low = workload["priority"] < self.wanting["priority"]
                if self.has_advantage(ancestor):
                    found["place"].append(workload)
                elif threshold and is_low and workload["priority"] <= threshold["max_priority_threshold"]:
                    found["while"].append(workload)
                else:
                    found["without"].append(workload)
        return found

    def classical(self) -> list[tuple[str, str]]:
        """(name, reason) of those that go."""
        found = self.groups()
        others = found["without"] + found["while"]
        ordered = [(w, kind) for kind, group in found.items() for w in group]
        rank = {"place": 0, "without": 1, "while": 1, "own": 2}
        ordered.sort(key=lambda one: (not one[0]["evicted"], rank[one[1]], *self.order(one[0])[2:]))
        forbidden = not self.rules["borrow_within_cohort"]
        under = all(self.queue.used(pair) < self.queue.own(pair) for pair in self.asked)
        if not found["place"] + others or (forbidden and not under):
            tries = [True]
        elif forbidden and not found["place"]:
            tries = [False, True]
        else:
            tries = [True, False]
        for may_borrow in tries:
            taken = self.taken(ordered, may_borrow)
            if taken is not None:
                return self.spare(taken, may_borrow)
        return []

    def taken(self, ordered: list[tuple[Vector, str]], may_borrow: bool) -> list[tuple[Vector, str]] | None:
        """Those taken out until it fits; None, with nobody taken out, where it never does."""
        reasons = {
            "own": "InClusterQueue",
            "place": "InCohortReclamation",
            "without": "InCohortReclamation",
            "while": "InCohortReclaimWhileBorrowing",
        }
        taken: list[tuple[Vector, str]] = []
        for workload, kind in ordered:
            if kind != "own":
                chain, _ = self.below(self.queues[workload["cluster_queue"]])
                if (may_borrow and kind == "without") or not all(self.exceeds(node) for node in chain):
                    continue
            self.take(workload)
            taken.append((workload, reasons[kind]))
            if self.fits(may_borrow):
                return taken
        for workload, _ in taken:
            self.queues[workload["cluster_queue"]].living.append(workload)
        return None

    # ---- by shares ----------------------------------------------------------------------
    def fits_without_asked(self) -> bool:
        self.queue.more = {}
        found = self.fits(True)
        self.queue.more = dict(self.asked)
        return found

    def next_queue(self, node: Node, waiting: dict[str, list[Vector]]) -> Node | None:
        """The queue below a cohort whose turn it is; None = none of them has anybody."""
        queues = [q for q in node.queues if waiting.get(q.name) and (q is self.queue or q.share()[1] > 0)]
        cohorts = [
            (c, found)
            for c in node.cohorts
            if (c in list(self.queue.path()) or c.share()[1] > 0)
            and (found := self.next_queue(c, waiting)) is not None
        ]
        queues.sort(key=lambda queue: self.order(waiting[queue.name][0]))
        best = max(queues, key=lambda queue: queue.share(), default=None)  # the first of equals
        top = max(cohorts, key=lambda one: one[0].share(), default=None)
        if top and (best is None or top[0].share() >= best.share()):
            return max((c for c in cohorts if c[0].share() == top[0].share()), key=lambda c: c[0].name)[1]
        return best

    def shares(self, workload: Vector, without: bool) -> tuple[Any, Any]:
        """(our part's share, the other's, with the workload or without it)."""
        queue = self.queues[workload["cluster_queue"]]
        chain, ancestor = self.below(queue)
        ours = next(n for n in [self.queue, *self.queue.path()] if n.parent is ancestor)
        mine = ours.share()
        if without:
            queue.living.remove(workload)
        other = chain[-1].share()
        if without:
            queue.living.append(workload)
        return mine, other

    def fair(self) -> list[tuple[str, str]]:
        """(name, reason) of those that go."""
        waiting: dict[str, list[Vector]] = {}
        for queue in self.queues.values():
            own = queue is self.queue
            policy = self.rules["within_cluster_queue" if own else "reclaim_within_cohort"]
            if own or (self.same_tree(queue) and self.exceeds(queue)):
                found = [w for w in queue.living if self.allowed(policy, w)]
                waiting[queue.name] = sorted(found, key=self.order)
        self.queue.more = dict(self.asked)
        entitled = not self.exceeds(self.queue)
        root = list(self.queue.path())[-1]
        taken: list[tuple[Vector, str]] = []
        spared: dict[str, list[Vector]] = {}
        done = False
        while not done and (queue := self.next_queue(root, waiting)) is not None:
            while waiting[queue.name]:
                workload = waiting[queue.name].pop(0)
                reason = "InClusterQueue" if queue is self.queue else "InCohortReclamation"
                if queue is not self.queue and not entitled:
                    mine, other = self.shares(workload, without=True)
                    if mine > other:
                        spared.setdefault(queue.name, []).append(workload)
                        continue
                    reason = "InCohortFairSharing"
                self.take(workload)
                taken.append((workload, reason))
                done = self.fits_without_asked()
                break
        while not done and (queue := self.next_queue(root, spared)) is not None:
            workload = spared.pop(queue.name)[0]
            mine, other = self.shares(workload, without=False)
            if mine < other:
                self.take(workload)
                taken.append((workload, "InCohortFairSharing"))
                done = self.fits_without_asked()
        self.queue.more = {}
        return self.spare(taken, True) if done else []
