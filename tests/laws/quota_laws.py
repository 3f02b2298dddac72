"""What holds of queues with quotas after every event: usage is that of who has quota, no limit is passed, who waits has a
reason.
"""

from __future__ import annotations

from collections.abc import Iterator

from sim.model.tables.codes import STAGE_DRAINING
from sim.model.tables.run import Params, State


class QuotaLaws:
    """The queues of one run, as the product's tables tell them."""

    def __init__(self, p: Params) -> None:
        self.p = p
        self.n_pair, self.n_node = int(p.n_quota_pair), int(p.n_quota_node)
        self.n_queue = int(p.n_quota_queue)
        self.parent = [int(p.quota_node[i].parent) for i in range(self.n_node)]
        self.depth = [len(list(self.path(i))) for i in range(self.n_node)]

    def path(self, node: int) -> Iterator[int]:
        """A node, and the cohorts above it."""
        while node >= 0:
            yield node
            node = self.parent[node]

    def local(self, node: int, pair: int) -> int:
        """What a node has and does not lend."""
        quota = self.p.quota[node * self.n_pair + pair]
        return 0 if quota.lend_max < 0 else max(0, int(quota.subtree) - int(quota.lend_max))

    def held(self, st: State) -> dict[tuple[int, int], int]:
        """(queue, pair) → quota of those that have some, each of which waits, or has slices."""
        found: dict[tuple[int, int], int] = {}
        for w in range(int(self.p.n_quota_workload)):
            row = st.quota_workload[w]
            if row.queue < 0:
                continue
            place = self.p.pool_place[int(st.workload[w].place)]
            key = (int(row.queue), int(row.flavor))
            assert int(place.queue) == 1 + key[0]
            assert int(place.flavors) >> key[1] & 1
            found[key] = found.get(key, 0) + int(place.quota_units)
            node = int(st.member[int(st.workload[w].first_member)].node)
            assert (node >= 0) != (st.workload[w].is_waiting == 1), f"workload {w} has quota and nothing else"
            if node >= 0:
                group = self.p.node_group[int(st.node[node].group)]
                assert group.flavor == 1 + key[1], f"workload {w} is where it has no quota"
        return found

    def used(self, st: State) -> dict[tuple[int, int], int]:
        """(node, pair) → what it uses: a cohort what passes its children's local quota."""
        held = self.held(st)
        used = {(i, pair): held.get((i, pair), 0) for i in range(self.n_node) for pair in range(self.n_pair)}
        for node in sorted(range(self.n_node), key=lambda i: -self.depth[i]):
            for pair in range(self.n_pair):
                if self.parent[node] >= 0:
                    used[self.parent[node], pair] += max(0, used[node, pair] - self.local(node, pair))
        return used

    def check(self, st: State) -> None:
        """Usage is what follows from who has quota; no queue or cohort uses more than it may."""
        for (node, pair), amount in self.used(st).items():
            at = node * self.n_pair + pair
            quota = self.p.quota[at]
            assert int(st.quota_used[at]) == amount
            most = int(quota.subtree) if self.parent[node] < 0 else None
            if self.parent[node] >= 0 and quota.borrow_max >= 0:
                most = int(quota.subtree) + int(quota.borrow_max)
            assert most is None or amount <= most, (
                f"queue or cohort {node} uses {amount} of {pair}, at most {most}"
            )

    def check_waiting(self, st: State, now_ps: int) -> int:
        """Who waits for quota has been told why, or was just made to give its own up; who has quota and waits for slices
        has been told so. Unless something is kept for others, none of them would fit. How many wait for quota.
        """
        used, pending = self.used(st), []
        is_kept = any(st.queue_head[q].blocked == st.n_look for q in range(self.n_queue))
        w = int(st.first_waiting)
        while w >= 0:
            place, row = self.p.pool_place[int(st.workload[w].place)], st.quota_workload[w]
            if place.queue > 0:
                rests = row.taken_ps >= 0 and now_ps < row.taken_ps + 10**12
                assert row.is_told == 1 or (rests and row.queue < 0), f"workload {w} waits without a reason"
                if row.queue < 0 and not rests:
                    pending.append(w)
            w = int(st.workload[w].next)
        for w in pending if not is_kept else ():
            place = self.p.pool_place[int(st.workload[w].place)]
            queue = self.p.quota_node[int(place.queue) - 1]
            for i in range(int(queue.first_flavor), int(queue.first_flavor) + int(queue.n_flavor)):
                flavor = int(self.p.queue_flavor[i].flavor)
                if int(place.flavors) >> flavor & 1:
                    free = self.free(used, int(place.queue) - 1, flavor)
                    assert free < place.quota_units, f"workload {w} waits though its queue has quota"
        leaving = any(st.replica[r].stage == STAGE_DRAINING for r in range(int(self.p.n_replica)))
        strict = any(self.p.quota_node[q].is_strict == 1 for q in range(self.n_queue))
        assert not is_kept or leaving or strict
        return len(pending)

    def free(self, used: dict[tuple[int, int], int], node: int, pair: int) -> int:
        """What a node could use more of a pair."""
        quota = self.p.quota[node * self.n_pair + pair]
        if self.parent[node] < 0:
            return int(quota.subtree) - used[node, pair]
        above = self.free(used, self.parent[node], pair)
        if quota.borrow_max >= 0:
            passed = max(0, used[node, pair] - self.local(node, pair))
            above = min(above, int(quota.subtree) - self.local(node, pair) - passed + int(quota.borrow_max))
        return max(0, self.local(node, pair) - used[node, pair]) + above
