"""GPUs that are cut anew for who waits: the other third of the plain cluster. Whatever is tried is tried on copies."""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING

from .naive_jobs import Work
from .naive_scaling import DRAINS, READY, Trial

if TYPE_CHECKING:
    from .naive_cluster import Cluster, Copy, Machine

BY_REPARTITION = 13


class Repartition:
    """What `Cluster` does about instances that would fit if others were elsewhere."""

    def cut_anew(self: Cluster, replica: Copy | Work) -> bool:
        """Evict the fewest who would fit elsewhere; whether there are any."""
        from .naive_cluster import Why

        kind = replica.pool.kind
        if kind.members > 1 or kind.gpus > 1:
            return False
        found = self.fewest_that_would_do(replica)
        if found is None:
            return False
        node, going = found
        for one in going:
            self.why = Why(BY_REPARTITION, replica.number, replica.why.after)
            self.evict(one, node)
            self.seen["went for another instance"] += 1
        replica.promised, replica.is_repartition = node, True
        self.seen["GPUs cut anew"] += 1
        self.seen["GPUs cut anew for more than one"] += len(going) > 1
        return True

    def fewest_that_would_do(self: Cluster, replica: Copy | Work) -> tuple[Machine, list[Copy]] | None:
        """(where, who goes): as few as possible, who matter least, on the first GPU, the first of them."""
        gpus = [
            (node, i)
            for node in self.nodes
            if node.group.kind.repartitions and node.stage == READY
            if node.group.kind.asks[replica.pool.number].starts and self.gate.allows(replica, node.group)
            if not any(one.promised is node for one in self.everybody)
            for i in range(len(node.cards))
        ]
        able = [(node, i, self.movable(node, i, replica)) for node, i in gpus]
        for n in range(1, 8):
            options = []
            for place, (node, i, there) in enumerate(able):
                for going in itertools.combinations(there, n):
                    mask = sum(1 << there.index(one) for one in going)
                    if self.would_do(replica, node, i, list(going)):
                        options.append(
                            (sum(one.pool.priority for one in going), place, mask, node, list(going))
                        )
            if options:
                *_, node, going = min(options, key=lambda option: option[:3])
                return node, going
        return None

    def movable(self: Cluster, node: Machine, i: int, replica: Copy | Work) -> list[Copy]:
        """Who could go from a GPU, by number."""
        return [
            one
            for one in self.holders(node)
            if not isinstance(one, Work)
            and one.stage != DRAINS
            and one.pool.kind.members == one.pool.kind.gpus == 1
            and one.members[0][0][1] == i
            and one.pool.priority <= replica.pool.priority
        ]

    def would_do(self: Cluster, replica: Copy | Work, node: Machine, i: int, going: list[Copy]) -> bool:
        """Whether there would be room, for the replica and then for those who go."""
        from .naive_cluster import Machine

        trial: Trial = self.new_trial()
        for one in going:
            if self.counts(one):
                trial.left[one.pool.number] -= 1
            ((machine, gpu, start),) = one.members[0]
            trial.cards[machine.number][gpu].give(machine.group.kind.asks[one.pool.number], start)
        if any(left < 0 for left in trial.left.values()):
            return False
        ask = node.group.kind.asks[replica.pool.number]
        after = Machine(node.number, node.group)
        after.cards = trial.cards[node.number]
        if i not in after.able(ask):
            return False
        assert self.take(node, trial.cards[node.number], replica.pool) is not None
        return all(self.moves_to(trial, one, None, None) for one in copy.copy(going))
