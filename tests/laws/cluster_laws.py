"""What holds of a cluster after every event: slices, gangs, who waits, counts; events retold are the cluster as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from oracle.naive_cluster import Ask, Card, chosen_start
from parity.engines import laws_of
from parity.fleets import Fleet

from sim.engine import simpy
from sim.model.tables import node as codes
from sim.model.tables.cause import (
    CAUSE_AUTOSCALER,
    CAUSE_BEGIN,
    CAUSE_CONSOLIDATION,
    CAUSE_DEPLOYMENT,
    CAUSE_FAULT,
    CAUSE_JOB,
    CAUSE_LASTING_FAULT,
    CAUSE_NAMES,
    CAUSE_NODE_AUTOSCALER,
    CAUSE_OUT_OF_MEMORY,
    CAUSE_PREEMPTION,
    CAUSE_QUOTA,
    CAUSE_RANDOM_FAULT,
    CAUSE_REPARTITION,
    CAUSE_USER,
    NO_CAUSE,
)
from sim.model.tables.codes import STAGE_DRAINING, STAGE_ENGINE, STAGE_GONE, STAGE_READY, STAGE_SLICE
from sim.model.tables.job import RUN_FAILED, RUN_FINISHED
from sim.model.tables.node import BY_USER, NODE_ABSENT, NODE_CORDONED, NODE_READY, NODE_STAGES
from sim.model.tables.run import Params, State
from sim.model.tables.sample import MARK_RUN, N_MARK

from .quota_laws import QuotaLaws

ANY_FLAVOR = -1
WAITING, STARTING = -1, -2  # what a replica is retold as before it is ready
OF_NODES = {
    codes.EVENT_NODE_READY: NODE_READY,
    codes.EVENT_NODE_REMOVED: NODE_ABSENT,
    codes.EVENT_NODE_LOST: NODE_ABSENT,
    codes.EVENT_NODE_CORDONED: NODE_CORDONED,
    codes.EVENT_NODE_UNCORDONED: NODE_READY,
}
OF_REPLICAS = {
    codes.EVENT_REPLICA_WAITS: WAITING,
    codes.EVENT_REPLICA_PLACED: STARTING,
    codes.EVENT_REPLICA_READY: STAGE_READY,
    codes.EVENT_REPLICA_DRAINS: STAGE_DRAINING,
    codes.EVENT_REPLICA_GONE: STAGE_GONE,
    codes.EVENT_JOB_SUBMITTED: WAITING,
    codes.EVENT_JOB_PLACED: STARTING,
    codes.EVENT_REPLICA_CRASHED: STARTING,
    codes.EVENT_JOB_PREEMPTED: WAITING,
    codes.EVENT_JOB_LOST: WAITING,
    codes.EVENT_JOB_FINISHED: STAGE_GONE,
    codes.EVENT_JOB_FAILED: STAGE_GONE,
}
BEGIN_TO_WAIT = (
    codes.EVENT_REPLICA_WAITS,
    codes.EVENT_JOB_SUBMITTED,
    codes.EVENT_JOB_PREEMPTED,
    codes.EVENT_JOB_LOST,
)
PLACED = (codes.EVENT_REPLICA_PLACED, codes.EVENT_JOB_PLACED)
#: What an event finds its node or replica as.
COMES_FROM = {
    codes.EVENT_NODE_REMOVED: {NODE_READY, NODE_CORDONED},  # the latter by a drain
    codes.EVENT_NODE_CORDONED: {NODE_READY},
    codes.EVENT_NODE_UNCORDONED: {NODE_CORDONED},
    codes.EVENT_NODE_REQUESTED: {NODE_ABSENT},
    codes.EVENT_NODE_REFUSED: {NODE_ABSENT},
    codes.EVENT_NODE_LOST: set(range(1, len(NODE_STAGES))),
    codes.EVENT_REPLICA_WAITS: {STAGE_GONE},
    codes.EVENT_REPLICA_PLACED: {WAITING, STAGE_GONE},  # GONE: those that are there from the beginning
    codes.EVENT_REPLICA_READY: {STARTING},
    codes.EVENT_REPLICA_CRASHED: {STAGE_READY, STARTING},  # the latter for want of memory
    codes.EVENT_REPLICA_DRAINS: {STAGE_READY},
    codes.EVENT_REPLICA_GONE: {WAITING, STARTING, STAGE_READY, STAGE_DRAINING},
    codes.EVENT_REPLICA_LOST: {STARTING, STAGE_READY, STAGE_DRAINING},
    codes.EVENT_JOB_SUBMITTED: {STAGE_GONE},
    codes.EVENT_JOB_PLACED: {WAITING},
    codes.EVENT_JOB_PREEMPTED: {STARTING},
    codes.EVENT_JOB_LOST: {STARTING},
    codes.EVENT_JOB_FINISHED: {STARTING},
    codes.EVENT_JOB_FAILED: {WAITING},
}


CEDES = {codes.EVENT_JOB_PREEMPTED, codes.EVENT_JOB_LOST}
ROOM = {
    codes.EVENT_NODE_READY,
    codes.EVENT_NODE_UNCORDONED,
    codes.EVENT_REPLICA_GONE,
    codes.EVENT_JOB_FINISHED,
    *CEDES,
}
ASKS = {codes.EVENT_REPLICA_WAITS, codes.EVENT_JOB_SUBMITTED, *CEDES, codes.EVENT_ADMITTED}
WANTS = ASKS - {codes.EVENT_ADMITTED} | {codes.EVENT_QUOTA_TAKEN}
LOSES = {codes.EVENT_FAULT_STRUCK, codes.EVENT_NODE_NOTICE, codes.EVENT_FAULT_BEGINS}
STRIKES = (
    codes.EVENT_REPLICA_CRASHED,
    codes.EVENT_REPLICA_HANGS,
    codes.EVENT_GPU_LOST,
    codes.EVENT_GPU_REPAIRED,
)
STARTS = {codes.EVENT_REPLICA_PLACED, codes.EVENT_REPLICA_STAGE, codes.EVENT_REPLICA_CRASHED}
GATES = set(range(codes.EVENT_GATE_PASSED, codes.EVENT_GATE_ERROR + 1))
STOPS = GATES - {codes.EVENT_GATE_PASSED}  # a measurement by which a gate may fail or be inconclusive
GOES_ON = {codes.EVENT_ROLLOUT_STARTED, codes.EVENT_ROLLOUT_PROMOTED, codes.EVENT_ROLLOUT_LATE}
ROLLS = GOES_ON | {codes.EVENT_ROLLOUT_BACK}
SCALES = {codes.EVENT_POOL_SCALED, *ROLLS}
LEAVES = {
    codes.EVENT_REPLICA_LOST,
    codes.EVENT_REPLICA_PREEMPTED,
    codes.EVENT_REPLICA_DRAINS,
    codes.EVENT_REPLICA_EVICTED,
}
#: What lets a node be drained: a fault, its cordon, a lost GPU, or that room was made on it or elsewhere.
DRAINS = ROOM | {codes.EVENT_FAULT_STRUCK, codes.EVENT_NODE_CORDONED, codes.EVENT_GPU_LOST}
#: Which events set an event off, in the course of things.
SET_OFF_BY = {
    codes.EVENT_NODE_REQUESTED: ASKS | ROOM | {codes.EVENT_NODE_REMOVED},
    codes.EVENT_NODE_REFUSED: ASKS | ROOM | {codes.EVENT_NODE_REMOVED},
    codes.EVENT_NODE_STAGE: {codes.EVENT_NODE_REQUESTED, codes.EVENT_NODE_STAGE},
    codes.EVENT_NODE_READY: {codes.EVENT_NODE_REQUESTED, codes.EVENT_NODE_STAGE},
    codes.EVENT_NODE_REMOVED: DRAINS,
    codes.EVENT_NODE_LOST: LOSES,
    codes.EVENT_NODE_NOTICE: {codes.EVENT_FAULT_STRUCK},
    codes.EVENT_NODE_CORDONED: DRAINS | {codes.EVENT_NODE_REQUESTED, codes.EVENT_NODE_STAGE},
    codes.EVENT_NODE_UNCORDONED: LOSES
    | {codes.EVENT_NODE_LOST, codes.EVENT_NODE_REMOVED, codes.EVENT_NODE_CORDONED},
    codes.EVENT_REPLICA_WAITS: SCALES | LOSES | LEAVES | {codes.EVENT_REPLICA_GONE},
    codes.EVENT_REPLICA_PLACED: ROOM | {codes.EVENT_REPLICA_WAITS, codes.EVENT_ADMITTED},
    codes.EVENT_QUOTA_SHORT: WANTS,
    codes.EVENT_ADMITTED: WANTS | ROOM,
    codes.EVENT_UNPLACEABLE: {codes.EVENT_ADMITTED, codes.EVENT_REPLICA_WAITS},
    codes.EVENT_QUOTA_TAKEN: WANTS,
    codes.EVENT_MEMBER_PLACED: set(PLACED),
    codes.EVENT_JOB_PLACED: ROOM | ASKS,
    codes.EVENT_JOB_PREEMPTED: ASKS | DRAINS | {codes.EVENT_QUOTA_TAKEN},
    codes.EVENT_MIG_MODE_SWITCHED: set(PLACED),
    codes.EVENT_JOB_LOST: LOSES,
    codes.EVENT_JOB_FINISHED: {codes.EVENT_JOB_PLACED},
    codes.EVENT_JOB_FAILED: CEDES,
    codes.EVENT_REPLICA_STAGE: STARTS,
    codes.EVENT_REPLICA_READY: STARTS,
    codes.EVENT_REPLICA_PREEMPTED: ASKS | {codes.EVENT_QUOTA_TAKEN},
    codes.EVENT_REPLICA_DRAINS: SCALES | LOSES | {codes.EVENT_REPLICA_EVICTED, codes.EVENT_REPLICA_PREEMPTED},
    codes.EVENT_REPLICA_LOST: LOSES | LEAVES,
    codes.EVENT_REPLICA_GONE: SCALES | LOSES | LEAVES | {codes.EVENT_REPLICA_GONE, codes.EVENT_REPLICA_HANGS},
    codes.EVENT_POOL_SCALED: {*ROLLS, codes.EVENT_FAULT_STRUCK},
    codes.EVENT_NODE_DRAINED: DRAINS,
    codes.EVENT_REPLICA_EVICTED: DRAINS | ASKS,
    codes.EVENT_EVICTION_REFUSED: DRAINS,
    **{event: {codes.EVENT_FAULT_BEGINS, codes.EVENT_REPLICA_HANGS} for event in STRIKES},
    codes.EVENT_REPLICA_CRASHED: {codes.EVENT_FAULT_BEGINS, codes.EVENT_REPLICA_HANGS, *STARTS},
    codes.EVENT_FAULT_ENDS: {codes.EVENT_FAULT_BEGINS},
    codes.EVENT_ROLLOUT_ENDED: GOES_ON,
    codes.EVENT_ROLLOUT_BACK: STOPS | GOES_ON,
    codes.EVENT_ROLLOUT_PAUSED: STOPS,
    codes.EVENT_ROLLOUT_PROMOTED: GOES_ON,
    codes.EVENT_ROLLOUT_LATE: ROLLS,
    codes.EVENT_ROLLOUT_ROLLED_BACK: {codes.EVENT_ROLLOUT_BACK, codes.EVENT_ROLLOUT_LATE},
    **dict.fromkeys(GATES, ROLLS),
    **{
        event: STARTS | {codes.EVENT_NODE_REQUESTED, codes.EVENT_NODE_STAGE, codes.EVENT_MEMBER_PLACED}
        for event in range(codes.EVENT_CACHE_FILLED, codes.EVENT_CACHE_EVICTED + 1)
    },
    # a peer serves a start, or stops with its node, and then another one goes on
    **{
        event: {*LOSES, *LEAVES, *STARTS, codes.EVENT_MEMBER_PLACED, codes.EVENT_NODE_CORDONED}
        for event in (codes.EVENT_PEER_SERVES, codes.EVENT_PEER_STOPS)
    },
}
#: Who may decide something without an earlier event.
FIRST = {CAUSE_JOB, CAUSE_BEGIN, CAUSE_AUTOSCALER, CAUSE_DEPLOYMENT, CAUSE_USER}
#: Who decides something in answer to what another one decided.
GIVES_BACK = {
    *(codes.EVENT_NODE_REQUESTED, codes.EVENT_NODE_REFUSED, codes.EVENT_NODE_REMOVED),
    *(codes.EVENT_NODE_CORDONED, codes.EVENT_NODE_UNCORDONED, codes.EVENT_NODE_DRAINED),
    *(codes.EVENT_REPLICA_EVICTED, codes.EVENT_EVICTION_REFUSED, codes.EVENT_JOB_PREEMPTED),
}
ANSWERS = {
    CAUSE_NODE_AUTOSCALER: GIVES_BACK,
    CAUSE_CONSOLIDATION: GIVES_BACK,
    CAUSE_REPARTITION: {codes.EVENT_REPLICA_EVICTED},
    CAUSE_OUT_OF_MEMORY: {codes.EVENT_REPLICA_CRASHED},
}
ANSWERS[CAUSE_PREEMPTION] = {codes.EVENT_REPLICA_PREEMPTED, codes.EVENT_JOB_PREEMPTED}
ANSWERS[CAUSE_QUOTA] = {codes.EVENT_QUOTA_TAKEN}


class Group(NamedTuple):
    """A group of nodes as the laws read it."""

    first: int
    n_node: int
    least: int
    gpus: int
    first_gpu: int
    zone: int
    asks: list[Ask]
    places: int
    flavor: int


def ask_of(p: Params, number: int) -> Ask:
    """A row of the table of what pools ask of groups."""
    row = p.slice_ask[number]
    starts = frozenset(s for s in range(8) if int(row.starts) >> s & 1)
    return Ask(int(row.memory_slices), int(row.compute_slices), starts, int(row.media), int(row.weight))


class ClusterWalk:
    """One run on SimPy, looked at after every event."""

    def __init__(self, made: Fleet) -> None:
        self.fleet = simpy.Fleet(made.params, laws_of(made))
        self.p = p = self.fleet.params
        self.asks_user = (
            int(p.cluster[0].placement) == BY_USER
        )  # who may leave anybody waiting, whatever there is
        n_pool, n_place = int(p.n_pool), int(p.n_pool_place)
        job_of = [int(p.job_run[i].job) for i in range(int(p.n_job_run))]
        self.groups = [
            Group(
                *(int(row.first_node), int(row.n_node), int(row.min_nodes), int(row.gpus)),
                *(int(row.first_gpu), int(row.zone)),
                [ask_of(p, g * n_place + place) for place in range(n_place)],
                int(row.slices),
                int(row.flavor),
            )
            for g in range(int(p.n_node_group))
            for row in [p.node_group[g]]
        ]
        self.group_of = [g for g, group in enumerate(self.groups) for _ in range(group.n_node)]
        rows = [(p.pool[i], p.pool_place[i]) for i in range(n_pool)]
        self.pool_of = [i for i, (pool, _) in enumerate(rows) for _ in range(int(pool.n_replica))]
        self.pool_of += [n_pool + job for job in job_of]
        places = [p.pool_place[i] for i in range(n_place)]
        self.n_member = [int(place.n_member) for place in places]
        self.member_gpus = [int(place.member_gpus) for place in places]
        self.priority = [int(place.priority) for place in places]
        self.first_member = [
            int(place.first_member) + i * int(place.n_member)
            for pool, place in rows
            for i in range(int(pool.n_replica))
        ]
        for i, job in enumerate(job_of):
            place = places[n_pool + job]
            self.first_member.append(int(place.first_member) + int(p.job_run[i].number) * int(place.n_member))
        self.quotas = QuotaLaws(p)
        self.nodes = [NODE_ABSENT] * int(p.n_node)
        self.replicas = [STAGE_GONE] * int(p.n_workload)  # then the runs of jobs
        self.told = 0
        self.since: dict[int, int] = {}
        self.waits_event: dict[int, int] = {}
        self.now_ps = self.last_event_ps = 0
        self.areas: Counter[tuple[str, int]] = Counter()
        self.seen: Counter[str] = Counter()

    @property
    def st(self) -> State:
        """The state; it moves when it grows."""
        return self.fleet.state

    def run(self) -> ClusterWalk:
        """Walk to the end."""
        self.retell()
        self.check()
        while not self.fleet.is_over:
            next_ps = int(self.fleet.env.peek())
            if next_ps > self.now_ps:
                self.check_instant()
                self.add_areas(next_ps - self.now_ps)
                self.now_ps = next_ps
            before = self.told
            self.fleet.step()
            self.retell()
            if self.told > before:
                self.check()
        self.check_sums()
        return self

    # ---- events ------------------------------------------------------------------------------------------------------
    def retell(self) -> None:
        """Follow the events that are new: each finds what it changes as it should."""
        n = int(self.st.n_event)
        assert n < int(self.p.n_event), "there is no room for more"
        rows = self.st.rows("event", n)
        for number in range(self.told, n):
            row = rows[number].tolist()
            time_ps, event, node, replica, value = row[:5]
            assert time_ps == self.now_ps
            self.check_cause(rows, number)
            self.seen[codes.EVENT_NAMES[event]] += 1
            is_replica = event in OF_REPLICAS or event == codes.EVENT_REPLICA_LOST
            of, told = (replica, self.replicas) if is_replica else (node, self.nodes)
            was = told[of] if of >= 0 else None
            assert event not in COMES_FROM or was in COMES_FROM[event], (row, was)
            if event == codes.EVENT_NODE_STAGE:
                self.nodes[node] = value
            elif event in OF_NODES:
                self.nodes[node] = OF_NODES[event]
            elif event in OF_REPLICAS:
                self.replicas[replica] = OF_REPLICAS[event]
            if event == codes.EVENT_NODE_REMOVED and was == NODE_READY:  # not by a drain
                self.check_removed(node)
            elif event in BEGIN_TO_WAIT:
                self.since[replica] = time_ps
                self.waits_event[replica] = number
            elif event == codes.EVENT_QUOTA_TAKEN:
                self.waits_event[replica] = number
            elif event in PLACED:
                assert value == time_ps - self.since.get(replica, time_ps)
                self.seen["waited"] += value > 0 and not self.asks_user
        self.told = n

    def check_cause(self, rows: np.ndarray, number: int) -> None:
        """An event has a cause, and an earlier event set it off, unless somebody decided it of his own accord."""
        row = rows[number]
        event, cause, after = int(row["event"]), int(row["cause"]), int(row["because"])
        told = (codes.EVENT_NAMES[event], CAUSE_NAMES[cause], after)
        assert cause != NO_CAUSE, told
        many = {
            CAUSE_AUTOSCALER: self.p.n_pool,
            CAUSE_DEPLOYMENT: self.p.n_rollout,
            CAUSE_FAULT: self.p.n_fault,
        }
        many |= {
            CAUSE_LASTING_FAULT: self.p.n_episode,
            CAUSE_RANDOM_FAULT: self.p.n_random_fault,
            CAUSE_JOB: self.p.n_job,
            CAUSE_PREEMPTION: self.p.n_workload,
            CAUSE_QUOTA: self.p.n_workload,
            CAUSE_REPARTITION: self.p.n_workload,
        }
        assert 0 <= row["cause_id"] < int(many.get(cause, 1)), told
        if after < 0:
            assert event in (codes.EVENT_FAULT_STRUCK, codes.EVENT_FAULT_BEGINS) or cause in FIRST, told
            self.seen["decided first"] += 1
            return
        assert after < number, told
        earlier = rows[after]
        assert int(earlier["event"]) in SET_OFF_BY[event], (*told, codes.EVENT_NAMES[earlier["event"]])
        self.seen["set off"] += 1
        same = tuple(earlier[["cause", "cause_id"]]) == (cause, row["cause_id"])
        if event in ANSWERS.get(cause, ()):
            self.seen["answered"] += 1
        elif event in (*PLACED, codes.EVENT_ADMITTED):
            waits = rows[max(self.waits_event.get(int(row["replica"]), after), 0)]
            assert cause in (CAUSE_BEGIN, int(waits["cause"])), told
            assert after >= self.waits_event.get(int(row["replica"]), 0), told
            names = int(earlier["event"]) in ROOM | {codes.EVENT_ADMITTED}
            self.seen["names what it waited for"] += (
                event in PLACED and names and row["value"] > 0 and not self.asks_user
            )
        elif event != codes.EVENT_REPLICA_WAITS or int(earlier["event"]) != codes.EVENT_REPLICA_GONE:
            assert same, told  # but for those that are replaced when a place is free

    def check_removed(self, node: int) -> None:
        """The node autoscaler keeps the minimum."""
        group = self.groups[self.group_of[node]]
        left = sum(stage != NODE_ABSENT for stage in self.nodes[group.first : group.first + group.n_node])
        assert left >= group.least

    # ---- after every event -------------------------------------------------------------------------------------------
    def check(self) -> None:
        """Whatever holds at any time."""
        stages = self.st.rows("node", len(self.nodes))["stage"].tolist()
        assert stages == self.nodes, "a node has changed its stage, and no event tells of it"
        self.check_replicas(self.st.rows("replica", int(self.p.n_replica))["stage"].tolist())
        self.check_gangs()
        self.check_waiting()
        self.check_counts()
        self.quotas.check(self.st)

    def check_replicas(self, stages: list[int]) -> None:
        """The events of replicas tell what they are."""
        for stage, told in zip(stages, self.replicas[: len(stages)], strict=True):
            if told == WAITING:
                assert stage == STAGE_SLICE
            elif told == STARTING:
                assert STAGE_SLICE <= stage <= STAGE_ENGINE
            else:
                assert stage == told

    def check_gangs(self) -> None:
        """A gang is whole or absent and in one zone; what all hold together is what the GPUs say, and nothing twice."""
        members = self.st.rows("member", int(self.p.n_member)).tolist()
        at = {name: i for i, name in enumerate(codes.Member.FIELDS)}
        cards = [Card() for _ in range(int(self.p.n_gpu))]
        held = [0] * len(self.nodes)
        for r, pool in enumerate(self.pool_of):
            first = self.first_member[r]
            mine = members[first : first + self.n_member[pool]]
            places = [member[at["node"]] for member in mine]
            holds = self.replicas[r] not in (WAITING, STAGE_GONE)
            assert all((node >= 0) == holds for node in places), f"replica {r} is neither whole nor absent"
            if not holds:
                continue
            assert len({self.groups[self.group_of[node]].zone for node in places}) == 1
            self.seen["over several nodes"] += len(set(places)) > 1
            for member, node in zip(mine, places, strict=True):
                assert self.nodes[node] in (NODE_READY, NODE_CORDONED)
                held[node] += 1
                self.take(cards, node, pool, member[at["gpus"]], member[at["starts"]])
        rows = self.st.rows("gpu", len(cards))
        found = []
        for card, is_lost in zip(cards, rows["is_lost"].tolist(), strict=True):
            assert not (is_lost and card.held), "a lost GPU holds nobody"
            held_slices = 255 if is_lost else sum(1 << s for s in card.held)
            found.append((held_slices, card.compute, card.media))
            self.seen["lost GPUs"] += is_lost
        gpus = list(zip(*(rows[name].tolist() for name in ("busy", "compute", "media")), strict=True))
        assert gpus == found
        assert self.st.rows("node", len(held))["n_member"].tolist() == held

    def take(self, cards: list[Card], node: int, pool: int, gpus: int, starts: int) -> None:
        """A member's slices: where its profile may start, and free (a card sees to that)."""
        group = self.groups[self.group_of[node]]
        first = group.first_gpu + (node - group.first) * group.gpus
        taken = [i for i in range(group.gpus) if gpus >> i & 1]
        assert len(taken) == self.member_gpus[pool]
        for i in taken:
            start = starts >> 3 * i & 7
            assert start in group.asks[pool].starts
            cards[first + i].take(group.asks[pool], start)
            assert cards[first + i].compute <= 7
            assert cards[first + i].media <= 1

    def waiting(self) -> Iterator[int]:
        """The waiting list."""
        r = int(self.st.first_waiting)
        while r >= 0:
            yield r
            r = int(self.st.workload[r].next)

    def check_waiting(self) -> None:
        """The list has whoever waits, once, in its order."""
        listed = list(self.waiting())
        assert sorted(listed) == [r for r, told in enumerate(self.replicas) if told == WAITING]
        assert len(listed) == int(self.st.n_waiting)
        ranks = [(-self.priority[self.pool_of[r]], self.since[r], r) for r in listed]
        assert ranks == sorted(ranks)

    def check_counts(self) -> None:
        """Counts of groups are those of their nodes; there are never more than they may have."""
        nodes = self.st.rows("node", len(self.nodes))
        for g, row in enumerate(self.st.rows("node_group", len(self.groups))):
            group = self.groups[g]
            mine = nodes[group.first : group.first + group.n_node]
            assert row["n_billed"] == (mine["stage"] != NODE_ABSENT).sum() <= row["peak_nodes"]
            assert row["n_ready"] == (mine["stage"] >= NODE_READY).sum()
            assert row["used_slices"] == mine["used_slices"].sum()
            assert not (mine["used_slices"][mine["n_member"] == 0]).any()

    # ---- at the end of every instant ---------------------------------------------------------------------------------
    def check_instant(self) -> None:
        """Nobody waits while ready nodes have room for the whole gang, unless the room is promised to somebody else."""
        if not list(self.waiting()):
            return
        assert int(self.st.placement_ps) > self.now_ps
        self.seen["wait for quota"] += self.quotas.check_waiting(self.st, self.now_ps)
        pools = {(self.pool_of[r], flavor) for r in self.waiting() if (flavor := self.flavor(r)) is not None}
        if self.asks_user:
            return  # a user's function may leave anybody waiting
        nodes = self.st.rows("node", len(self.nodes))
        for pool, flavor in pools:
            self.seen["looked for room"] += 1
            room: Counter[int] = Counter()
            for number in np.flatnonzero((nodes["stage"] == NODE_READY) & (nodes["n_promised"] == 0)):
                group = self.groups[self.group_of[int(number)]]
                zone = group.zone if self.n_member[pool] > 1 else 0
                if flavor in (ANY_FLAVOR, group.flavor):
                    room[zone] += self.room_on(int(number), pool)
            assert max(room.values(), default=0) < self.n_member[pool], (
                f"pool {pool} waits though there is room"
            )

    def flavor(self, r: int) -> int | None:
        """1 + the flavour of the slices that a workload waits for; ANY_FLAVOR: it needs no quota, None: it has none."""
        if self.p.pool_place[self.pool_of[r]].queue == 0:
            return ANY_FLAVOR
        row = self.st.quota_workload[r]
        return None if row.queue < 0 else 1 + int(row.flavor)

    def n_used(self, node: int) -> int:
        """Slices of a node that are in use."""
        return int(self.st.node[int(node)].used_slices)

    def room_on(self, node: int, pool: int) -> int:
        """How many members of a pool's gangs a node would take one after the other."""
        group = self.groups[self.group_of[node]]
        first = group.first_gpu + (node - group.first) * group.gpus
        ask, cards = group.asks[pool], []
        row_of_group, places = self.p.node_group[int(self.group_of[node])], int(self.p.n_pool_place)
        wants_whole = int(self.p.slice_ask[int(self.group_of[node]) * places + pool].is_whole)
        by_node = row_of_group.mode_of_node == 1 and row_of_group.switches == 1
        switched: set[int] = (
            set()
        )  # cards, by identity, whose mode can be switched on a node that holds nothing only
        for row in self.st.rows("gpu", int(self.p.n_gpu))[first : first + group.gpus]:
            card = Card(group.places)
            card.held = {s for s in range(8) if int(row["busy"]) >> s & 1}
            card.compute, card.media = int(row["compute"]), int(row["media"])
            cards.append(card)
            if by_node and int(row["is_whole"]) != wants_whole:
                switched.add(id(card))
        n = 0
        while n < self.n_member[pool]:
            if n > 0 or self.n_used(node) > 0:
                cards = [card for card in cards if id(card) not in switched]
            able = sorted((card for card in cards if card.fits(ask)), key=lambda card: card.free)
            if len(able) < self.member_gpus[pool]:
                break
            for card in able[: self.member_gpus[pool]]:
                card.take(ask, chosen_start(card, ask, group.asks, int(self.p.cluster[0].mig_placement)))
            n += 1
        return n

    # ---- sums --------------------------------------------------------------------------------------------------------
    def add_areas(self, span_ps: int) -> None:
        """What is counted in node·time, over a span in which nothing happens."""
        used = self.st.rows("node", len(self.nodes))["used_slices"].tolist()
        for number, stage in enumerate(self.nodes):
            g = self.group_of[number]
            self.areas[NODE_STAGES[stage], g] += span_ps
            self.areas["used", g] += span_ps * used[number]
        for i in range(int(self.p.n_job_run)):
            self.add_run(int(self.p.n_replica) + i, span_ps)

    def add_run(self, w: int, span_ps: int) -> None:
        """What a run of a job holds, over a span in which nothing happens."""
        if self.replicas[w] != STARTING:
            return
        self.areas["held", w] += span_ps
        for number in range(self.first_member[w], self.first_member[w] + self.n_member[self.pool_of[w]]):
            g = self.group_of[int(self.st.member[number].node)]
            slices = self.groups[g].asks[self.pool_of[w]].memory * self.member_gpus[self.pool_of[w]]
            self.areas["jobs", g] += span_ps * slices

    def check_runs(self) -> None:
        """A run has held its slices as long as its events say; what it held them for is work, work lost, or a start-up."""
        rows = [self.p.node_group[g] for g in range(len(self.groups))]
        create_ps = max(int(row.create_ps) + int(row.mode_ps) for row in rows)  # and to switch the GPU's mode
        for i, row in enumerate(self.st.rows("job_run", int(self.p.n_job_run))):
            job = self.p.job[int(self.p.job_run[i].job)]
            assert row["held_ps"] == self.areas["held", int(self.p.n_replica) + i]
            assert row["n_placed"] <= 1 + min(int(job.max_restarts), row["n_placed"])
            if row["stage"] in (RUN_FINISHED, RUN_FAILED):
                own = row["kept_ps"] + row["lost_ps"]
                assert own <= row["held_ps"] <= own + row["n_placed"] * (1 + job.startup_ps + create_ps)
                assert row["stage"] == RUN_FAILED or row["kept_ps"] == row["work_ps"]

    def check_sums(self) -> None:
        """Every node is in one stage at any time; what its group counts is the sum of the stages that cost money."""
        self.check_runs()
        rows = self.st.rows("group_mark", N_MARK * len(self.groups)).reshape(N_MARK, -1)[MARK_RUN]
        for g, row in enumerate(rows):
            assert big(row["job_ps"]) == self.areas["jobs", g]
            of = {name: self.areas[name, g] for name in (*NODE_STAGES, "used")}
            assert sum(of[name] for name in NODE_STAGES) == self.groups[g].n_node * int(self.st.now_ps)
            assert big(row["billed_ps"]) == sum(of[name] for name in NODE_STAGES[1:])
            assert big(row["paid_ps"]) == sum(
                of[name] for name in NODE_STAGES[int(self.p.node_group[g].paid_from) :]
            )
            assert big(row["rounded_ps"]) >= 0
            assert big(row["ready_ps"]) == of["ready"] + of["cordoned"]
            assert (
                big(row["used_ps"])
                == of["used"]
                <= self.groups[g].places * self.groups[g].gpus * big(row["ready_ps"])
            )


def big(pair: np.ndarray) -> int:
    """A sum of two words."""
    return int(pair[0]) + (int(pair[1]) << 62)
