"""Nodes that serve each other what they keep, against a model of their own in plain Python: who serves whom, over which
cards, who waits, and what becomes of the rest when a node that serves is lost.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sim.engine.simpy import Fleet
from sim.fill.params import ClassRow, PoolRow, RunRow, ServedModelRow, Traffic, make_params
from sim.fill.rows import StepRow
from sim.model.tables.link import THROUGH_NIC
from sim.model.tables.node import EVENT_PEER_SERVES, EVENT_PEER_STOPS
from sim.model.tables.pool import N_QUANTILE
from sim.model.tables.run import Params
from sim.units import NEVER

from .test_links import Going, Moved, share

SECOND_PS = 10**12
STAGE_WEIGHTS = 4
UNIT = 1 << 30  # about a GB/s, in 2⁴⁰ ps


class World(NamedTuple):
    """Nodes of one GPU each, and what each start on them fetches."""

    n_pool: list[int]  # replicas of each pool
    n_bytes: list[int]  # what a start of each pool fetches
    own_ps: list[int]  # how long alone, from the store
    peer_q40: list[int]
    uploads_max: list[int]
    seeds_max: list[int]
    store_q40: int
    nic_q40: int
    starts: list[tuple[int, int]]  # (when, which pool wants one more), in order
    losses: list[tuple[int, int]]  # (when, which node is lost)


def world(seed: int) -> World:
    """A few nodes, two artifacts, starts within a minute; most find neither the store nor the cards idle."""
    rng = np.random.default_rng([seed, 91])
    n_pool = [int(rng.integers(2, 6)), int(rng.integers(1, 4))]
    order = rng.permutation([0] * n_pool[0] + [1] * n_pool[1]).tolist()
    times = np.sort(rng.choice(np.arange(1, 400), len(order), replace=False)) * SECOND_PS // 8
    if rng.integers(2):
        times = np.arange(1, 1 + len(order)) * 7 * 10**9 + SECOND_PS  # all at about one time
    lost = rng.choice(len(order), int(rng.integers(0, min(4, len(order)))), replace=False).tolist()
    limit = [1, 2, 3]
    return World(
        n_pool,
        [int(rng.integers(20, 80)) * 10**9 for _ in n_pool],
        [int(rng.integers(10, 50)) * SECOND_PS for _ in n_pool],
        [int(rng.integers(1, 9)) * UNIT for _ in n_pool],
        [int(rng.choice(limit)) for _ in n_pool],
        [int(rng.choice(limit)) if rng.integers(3) else NEVER for _ in n_pool],
        int(rng.integers(1, 9)) * UNIT,
        int(rng.integers(1, 9)) * UNIT,
        list(zip(times.tolist(), order, strict=True)),
        [(int(times[-1]) + int(rng.integers(1, 25 * 10**9)) * 1001, node) for node in lost],
    )


# ---- the plain model ----------------------------------------------------------------------
class Fetch(Going):
    """A fetch: of what, by which replica, on which node."""

    def __init__(self, made: World, replica: int, pool: int, node: int) -> None:
        super().__init__((replica, 0), Moved(0, made.n_bytes[pool], 0), made.own_ps[pool])
        self.replica, self.pool, self.node = replica, pool, node
        self.store_cap, self.left_bytes = self.cap, made.n_bytes[pool]
        self.source: int | None = None  # a node; None: the store
        self.held_ps = [0] * 100


class Plain:
    """The whole of it: what every node has and serves, who moves, who waits."""

    def __init__(self, made: World) -> None:
        self.made, self.going, self.waiting = made, [], [[] for _ in made.n_pool]
        self.has: set[tuple[int, int]] = set()  # (node, artifact)
        self.gone: set[int] = set()
        self.ready: dict[int, int] = {}
        self.served: list[tuple[int, int]] = []
        self.now_ps = self.changed_ps = 0

    def uploads(self, node: int) -> int:
        """What a node serves now."""
        return sum(one.source == node for one in self.going)

    def begins(self, one: Fetch) -> bool:
        """Find a source for a fetch, if there is one."""
        made, pool = self.made, one.pool
        able = [n for n, what in self.has if what == pool and n not in self.gone]
        able = [n for n in able if self.uploads(n) < made.uploads_max[pool]]
        own_in = 1 + 3 * one.node
        if able:
            one.source = min(able, key=lambda n: (self.uploads(n), n))
            one.cap, one.over = made.peer_q40[pool], [own_in, 1 + 3 * one.source + 1]
            self.served.append((one.source, one.replica))
            one.left_ps = -(-one.left_bytes * 2**40 // one.cap)
        elif sum(other.pool == pool and other.source is None for other in self.going) < made.seeds_max[pool]:
            one.source, one.cap, one.over = None, one.store_cap, [0, own_in]
            is_whole = one.left_bytes == made.n_bytes[pool]
            one.left_ps = made.own_ps[pool] if is_whole else -(-one.left_bytes * 2**40 // one.cap)
        else:
            return False
        one.speed = 0
        self.settle()
        self.going.append(one)
        return True

    def asks(self, one: Fetch) -> None:
        """A fetch begins, or waits."""
        if not self.begins(one):
            self.waiting[one.pool].append(one)

    def serve(self) -> None:
        """Those that wait begin in order, as far as they can."""
        for queue in self.waiting:
            while queue and self.begins(queue[0]):
                queue.pop(0)

    def lose(self, node: int) -> None:
        """A node is gone, with its own fetch and all that it served."""
        mine = [one for one in self.going if one.node == node]
        self.gone.add(node)
        for one in mine:
            self.stop(one)
        for queue in self.waiting:
            queue[:] = [one for one in queue if one.node != node]
        self.serve()
        for one in sorted((one for one in self.going if one.source == node), key=lambda one: one.replica):
            self.stop(one)
            one.left_bytes = min(one.left_bytes, -(-one.left_ps * one.cap // 2**40))
            self.asks(one)

    def stop(self, one: Fetch) -> None:
        """A fetch moves no longer."""
        self.settle()
        self.going.remove(one)

    def settle(self) -> None:
        """All clocks run until now: they are brought up to date when what moves changes, as the documentation says."""
        for one in self.going:
            one.moves_on(self.now_ps - self.changed_ps)
        self.changed_ps = self.now_ps

    def run(self) -> dict[int, int]:
        """Replica → when it was ready."""
        made = self.made
        first, nodes = [0, made.n_pool[0]], 0
        deeds = sorted([(t, 0, pool) for t, pool in made.starts] + [(t, 1, node) for t, node in made.losses])
        while deeds or self.going:
            ends = [self.changed_ps + one.time_left() for one in self.going]
            self.now_ps = int(min([*ends, *(deed[0] for deed in deeds[:1])]))
            is_loss = bool(deeds) and deeds[0][0] == self.now_ps and deeds[0][1] == 1
            due = [one for one, at in zip(self.going, ends, strict=True) if at <= self.now_ps]
            if is_loss:
                self.lose(deeds.pop(0)[2])
            elif due:
                for one in sorted(due, key=lambda one: one.replica):
                    self.stop(one)
                    self.has.add((one.node, one.pool))
                    self.ready[one.replica] = self.now_ps
                    self.serve()
            else:
                _, _, pool = deeds.pop(0)
                self.asks(Fetch(made, first[pool], pool, nodes))
                first[pool], nodes = first[pool] + 1, nodes + 1
            n_link = 1 + 3 * sum(made.n_pool)
            share(self.going, [made.store_q40, *[made.nic_q40] * (n_link - 1)], [False] * n_link)
        return self.ready


# ---- the product ----------------------------------------------------------------------
def params_of(made: World) -> Params:
    """The same for the product; nobody brings nodes back that are lost."""
    end_ps, speed = 10_000 * SECOND_PS, np.full(9, SECOND_PS)
    pools = [
        PoolRow(speed, 0 * speed, 0, 0, 1000, 8, 64, 1000)._replace(
            min_replicas=0,
            max_replicas=n,
            initial_replicas=0,
            target_milli=0,
            stage_ps=np.full((1, N_QUANTILE), made.own_ps[i]),
            steps=(
                StepRow(
                    STAGE_WEIGHTS,
                    1,
                    0,
                    1,
                    made.n_bytes[i],
                    artifact=1 + i,
                    through=THROUGH_NIC,
                    peers=1,
                    peer_q40=made.peer_q40[i],
                    uploads_max=made.uploads_max[i],
                    seeds_max=made.seeds_max[i],
                ),
            ),
        )
        for i, n in enumerate(made.n_pool)
    ]
    n_node = sum(made.n_pool)
    group: dict[str, Any] = {"n_node": n_node, "initial_nodes": n_node, "gpus": 1, "cache_bytes": 10**12}
    return make_params(
        RunRow(1, end_ps, 0, end_ps, 0),
        Traffic(*np.array([[end_ps - 1], [1], [1], [0]])),
        [ClassRow()],
        [ServedModelRow()],
        pools,
        things={
            "link": [{"bandwidth_q40": made.store_q40}],
            "cluster": [{"scan_ps": NEVER}],
            "node_group": [group | {"nic_q40": made.nic_q40}],
            "slice_ask": [{"memory_slices": 8, "compute_slices": 7, "starts": 1}] * len(pools),
            "artifact": [{"size_bytes": n} for n in made.n_bytes],
        },
    )


def test_fetches_end_when_they_should() -> None:
    served = stopped = waited = 0
    for seed in range(40):
        made = world(seed)
        plain, fleet, wanted = Plain(made), Fleet(params_of(made)), [0, 0]
        deeds = sorted([(t, 0, pool) for t, pool in made.starts] + [(t, 1, node) for t, node in made.losses])
        for at_ps, kind, what in deeds:
            fleet.run(at_ps / SECOND_PS)
            if kind == 1:
                fleet.lose_node(what)
                continue
            wanted[what] += 1
            fleet.scale(what, wanted[what])
            waited += int(fleet.state.n_queued) > 0
        state = fleet.run()
        found = state.rows("taken", int(state.n_taken))
        ready = plain.run()
        assert {int(row["replica"]): int(row["end_ps"]) for row in found} == ready, seed
        events = state.rows("event", int(state.n_event))
        serves = events[events["event"] == EVENT_PEER_SERVES]
        assert [(int(row["node"]), int(row["replica"])) for row in serves] == plain.served, seed
        served += len(plain.served)
        stopped += int((events["event"] == EVENT_PEER_STOPS).sum())
    assert served > 40
    assert waited > 8
    assert stopped > 1
