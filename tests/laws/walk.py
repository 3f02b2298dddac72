"""A run taken apart: walked event by event, everything that must hold checked after each, areas measured by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
from parity.engines import laws_of
from parity.fleets import Fleet

from laws import users
from sim.fill.params import group_rows, pool_rows
from sim.engine import simpy
from sim.engine.act import ACT_BLOCKS, ACT_METRIC
from sim.engine.cpu import compiled_act
from sim.model import layout as a# TODO# TODO
from sim.model.tables.codes import (
    DYNAMIC,
    LEAST_OUTSTANDING,
    POWER_OF_TWO,
    SEQ_AWAY,
    SEQ_BEFORE,
    SEQ_DECODE,
    SEQ_HELD,
    SEQ_SINGLE,
    SEQ_THINKING,
    SEQ_WAITING,
    SRC_ARRIVAL_RATE,
    SRC_BACKLOG,
    SRC_KV_USE,
    SRC_OUTSTANDING,
    SRC_RUNNING,
    SRC_WAITING,
    STAGE_DRAINING,
    STAGE_ENGINE,
    STAGE_GONE,
    STAGE_READY,
    STAGE_SLICE,
    STATIC,
    WANTED,
)
from sim.model.tables.run import State
from sim.fill.state import slot_rows, state_sizes, table
from sim.units import NEVER, PS_PER_S

from .front_laws import Fronts
from .prefix_laws import check_cache

IN_USE = (STAGE_READY, STAGE_DRAINING)


class Before:
    """What the next event finds: clocks of the controllers, what they would scrape, the replicas' stages."""

    def __init__(self, walk: Walk) -> None:
        pools = walk.rows("pool", a.Q_SIZE)
        self.scrapes_ps = [int(t) for t in pools[:, a.Q_NEXT_SCRAPE]]
        self.ticks_ps = [int(t) for t in pools[:, a.Q_NEXT_TICK]]
        due = [t == walk.now_ps for t in self.scrapes_ps]
        self.metrics = [walk.metric_now(pool) if due[pool] else 0 for pool in range(len(pools))]
        self.stages = walk.replicas[:, a.R_STAGE].copy()
        self.ready_ps = walk.replicas[:, a.R_READY_PS].copy()
        self.started_ps = walk.replicas[:, a.R_STARTED_PS].copy()
        self.outstanding = walk.outstanding()
        self.cursor = int(walk.st.cursor)


class Walk:
    """One run on SimPy, stopped after every event."""

    def __init__(self, made: Fleet) -> None:
        self.made = made
        self.fleet = simpy.Fleet(made.params, laws_of(made))
        self.p = self.fleet.params
        self.sizes = state_sizes(self.p)
        self.pools, self.groups = pool_rows(self.p), group_rows(self.p)
        self.home = np.repeat(np.arange(len(self.pools)), self.pools[:, a.L_N])
        self.group_of = self.pools[self.home, a.L_GROUP]
        self.now_ps = 0
        self.areas: Counter[tuple[str, int]] = Counter()  # (what, pool or group or 0) → ps
        self.starts: dict[tuple[int, int], int] = {}  # (pool, n-th cold start) → how long it took, ps
        self._begun: dict[int, tuple[int, int]] = {}
        self.fronts = Fronts(self)
        self.scraped: list[list[tuple[int, int]]] = [[] for _ in self.pools]

    # ---- what there is -----------------------------------------------------------------------------------------------
    @property
    def st(self) -> State:
        """The state; it moves when it grows."""
        return self.fleet.state

    def rows(self, name: str, width: int) -> np.ndarray:
        """A table of the state."""
        return table(self.st, name, self.sizes, width)

    @property
    def replicas(self) -> np.ndarray:
        """(replica, R_SIZE)."""
        return self.rows("rep", a.R_SIZE)

    def outstanding(self) -> np.ndarray:
        """Requests waiting or running at each replica."""
        return np.asarray(self.replicas[:, a.R_N_RUN] + self.replicas[:, a.R_N_WAIT])

    def held(self, group: int) -> list[int]:
        """The slots that the gateway holds for a group, lane by lane."""
        n_lane = int(self.p.n_queue)
        lanes = self.rows("lane", a.N_SIZE)[group * n_lane : (group + 1) * n_lane]
        return [slot for lane in lanes if lane[a.N_HELD] for slot in self.chain(lane[a.N_HEAD])]

    def act(self, what: int, which: int) -> int:
        """Ask the model something at this instant."""
        return int(compiled_act()(self.p, self.st, what, which, 0, self.now_ps))

    def chain(self, slot: int, link: int = a.F_NEXT) -> list[int]:
        """The slots of a list."""
        found = []
        while slot >= 0:
            found.append(int(slot))
            slot = self.st.m[self.st.slot + slot * a.F_SIZE + link]
        return found

    # ---- walking -----------------------------------------------------------------------------------------------------
    def run(self) -> Walk:
        """Walk to the end."""
        self.note_starts()
        while not self.fleet.is_over:
            next_ps = self.fleet.env.peek()
            assert next_ps >= self.now_ps, "the clock went back"
            if next_ps > self.now_ps:
                self.check_instant()
                self.add_areas(int(next_ps) - self.now_ps)
                self.now_ps = int(next_ps)
            before = Before(self)
            self.fleet.step()
            self.check_scrapes(before)
            self.check_scaling(before)
            self.check_routing(before)
            if not self.fleet.is_over:
                self.note_starts()
                self.check_event()
        return self

    def note_starts(self) -> None:
        """When cold starts begin and end; the n-th of a pool is known by its number."""
        for r, row in enumerate(self.replicas):
            stage, index = row[a.R_STAGE], int(row[a.R_INDEX])
            if STAGE_SLICE <= stage <= STAGE_ENGINE:
                self._begun[r] = (index, int(row[a.R_STARTED_PS]))
            elif stage == STAGE_READY and index >= 0:
                key = (int(self.home[r]), index)
                self.starts.setdefault(key, int(row[a.R_READY_PS] - row[a.R_STARTED_PS]))

    def add_areas(self, span_ps: int) -> None:
        """Everything that is counted in replica·time or request·time, over a span in which nothing happens."""
        for r, row in enumerate(self.replicas):
            pool = int(self.home[r])
            self.areas["billed_ps", pool] += span_ps * int(row[a.R_STAGE] > STAGE_SLICE)
            self.areas["ready_ps", pool] += span_ps * int(row[a.R_STAGE] == STAGE_READY)
            self.areas["serving_ps", pool] += span_ps * int(row[a.R_STAGE] in IN_USE)
            self.areas["busy_ps", pool] += span_ps * int(row[a.R_JUMP_K] > 0)
            self.areas["slot_ps", pool] += span_ps * int(row[a.R_N_RUN]) * int(row[a.R_JUMP_K] > 0)
            self.areas["waiting", 0] += span_ps * int(row[a.R_N_WAIT])
        held, used = int(self.rows("group", a.H_SIZE)[:, a.H_HELD].sum()), int(self.st.in_flight)
        self.areas["held", 0] += span_ps * held
        self.areas["in_flight", 0] += span_ps * used
        if used > held + self.outstanding().sum():
            states = self.slots[self.used_slots(), a.F_STATE]
            self.areas["in_flight", 0] -= span_ps * int((states == SEQ_THINKING).sum())
            self.areas["away", 0] += span_ps * int(np.isin(states, (SEQ_AWAY, SEQ_BEFORE)).sum())

    # ---- control -----------------------------------------------------------------------------------------------------
    def check_scrapes(self, before: Before) -> None:
        """A scrape that was due just now has written what the world was, and a controller reads what it should."""
        pools = self.rows("pool", a.Q_SIZE)
        ring = self.rows("ring", 2).reshape(len(self.pools), -1, 2)
        for pool, t in enumerate(before.scrapes_ps):
            if pools[pool, a.Q_NEXT_SCRAPE] == t:
                continue
            n = int(pools[pool, a.Q_RING_N])
            time_ps, value = (int(x) for x in ring[pool, (n - 1) % ring.shape[1]])
            assert (time_ps, n) == (t, len(self.scraped[pool]) + 1)
            # a rate is rounded down to thousandths, its period to microseconds
            rate = self.pools[pool, a.L_SOURCE] == SRC_ARRIVAL_RATE
            slack = 1 + value * 10**6 // int(self.pools[pool, a.L_SCRAPE_PS]) if rate else 0
            assert abs(value - before.metrics[pool]) <= slack, (
                f"pool {pool} scraped {value} for {before.metrics[pool]}"
            )
            self.scraped[pool].append((time_ps, value))
            assert pools[pool, a.Q_NEXT_SCRAPE] == t + self.pools[pool, a.L_SCRAPE_PS]
            assert self.act(ACT_METRIC, pool) == self.read_metric(pool, t)

    def metric_now(self, pool: int) -> int:
        """What a scrape of the pool would find now, in thousandths."""
        source, limits = int(self.pools[pool, a.L_SOURCE]), self.pools[pool]
        group = self.rows("group", a.H_SIZE)[limits[a.L_GROUP]]
        if source == SRC_ARRIVAL_RATE:
            new = int(group[a.H_ARRIVALS] - self.rows("pool", a.Q_SIZE)[pool, a.Q_LAST_ARRIVALS])
            return new * 1000 * PS_PER_S // int(limits[a.L_SCRAPE_PS])
        ready = [r for r in np.flatnonzero(self.home == pool) if self.replicas[r, a.R_STAGE] == STAGE_READY]
        if source == SRC_KV_USE:
            return sum(1000 * self.act(ACT_BLOCKS, int(r)) // int(limits[a.L_BLOCKS]) for r in ready)
        waiting = int(self.replicas[ready, a.R_N_WAIT].sum())
        running = int(self.replicas[ready, a.R_N_RUN].sum())
        return (
            1000
            * {
                SRC_OUTSTANDING: waiting + running,
                SRC_WAITING: waiting,
                SRC_RUNNING: running,
                SRC_BACKLOG: waiting + int(group[a.H_HELD]),
            }[source]
        )

    def check_scaling(self, before: Before) -> None:
        """A tick starts replicas in the lowest free places, and stops starting ones before the youngest ready ones."""
        pools = self.rows("pool", a.Q_SIZE)
        for pool, due_ps in enumerate(before.ticks_ps):
            if pools[pool, a.Q_NEXT_TICK] == due_ps or due_ps != self.now_ps:
                continue
            mine = np.flatnonzero(self.home == pool)
            was, stage = before.stages[mine], self.replicas[mine, a.R_STAGE]
            active = (stage >= STAGE_SLICE) & (stage <= STAGE_READY)
            was_active = (was >= STAGE_SLICE) & (was <= STAGE_READY)
            wanted = int(pools[pool, a.Q_WANTED])
            assert active.sum() == wanted or (active.sum() < wanted and np.all(stage != STAGE_GONE))
            started, left = np.flatnonzero(active & ~was_active), np.flatnonzero(was_active & ~active)
            assert started.tolist() == np.flatnonzero(was == STAGE_GONE)[: len(started)].tolist()
            since = np.where(was == STAGE_READY, before.ready_ps[mine], before.started_ps[mine])
            order = sorted(np.flatnonzero(was_active), key=lambda i: (was[i] == STAGE_READY, -since[i], -i))
            assert sorted(order[: len(left)]) == left.tolist()
            assert len(started) == 0 or len(left) == 0

    def check_routing(self, before: Before) -> None:
        """A request that arrived went to one ready replica, not to the fullest where the router looks at several."""
        if self.st.cursor == before.cursor:
            return
        changed = np.flatnonzero(self.outstanding() != before.outstanding)
        assert len(changed) <= 1
        for r in changed:
            assert before.stages[r] == STAGE_READY
            assert self.outstanding()[r] == before.outstanding[r] + 1
            group = int(self.group_of[r])
            router = self.groups[group, a.G_ROUTER]
            others = np.flatnonzero((before.stages == STAGE_READY) & (self.home == self.home[r]))
            load = before.outstanding[others[others != r]]
            if len(load) and router in (POWER_OF_TWO, LEAST_OUTSTANDING):
                limit = load.min() if router == LEAST_OUTSTANDING else load.max()
                mixed = len(set(self.home[self.group_of == group].tolist())) > 1
                assert before.outstanding[r] <= limit or (mixed and router == POWER_OF_TWO)

    def read_metric(self, pool: int, t: int) -> int:
        """What the controller of a pool may know at t, from every sample there ever was."""
        until = t - int(self.pools[pool, a.L_LAG_PS])
        since = until - int(self.pools[pool, a.L_WINDOW_PS])
        known = [sample for sample in self.scraped[pool] if sample[0] <= until]
        recent = [value for time_ps, value in known if time_ps > since] or [value for _, value in known[-1:]]
        return sum(recent) // len(recent) if recent else -1

    # ---- after every event -------------------------------------------------------------------------------------------
    def check_event(self) -> None:
        """What holds after every single event."""
        self.check_stages()
        self.check_engines()
        self.check_population()
        self.fronts.check_event()

    def check_stages(self) -> None:
        """Counts per stage are those of the replicas; the ready list is the ready replicas in order."""
        stage = self.replicas[:, a.R_STAGE]
        pools = self.rows("pool", a.Q_SIZE)
        for pool, row in enumerate(pools):
            mine = stage[self.home == pool]
            ready = int((mine == STAGE_READY).sum())
            starting = int(((mine >= STAGE_SLICE) & (mine <= STAGE_ENGINE)).sum())
            assert (row[a.Q_N_READY], row[a.Q_N_STARTING]) == (ready, starting)
            assert row[a.Q_N_BILLED] == (mine > STAGE_SLICE).sum()
            assert (
                self.pools[pool, a.L_MIN] <= row[a.Q_WANTED] <= self.pools[pool, a.L_MAX] or self.now_ps == 0
            )
            assert ready + starting <= max(
                row[a.Q_WANTED], self.pools[pool, a.L_INITIAL] * (row[a.Q_SCALED_DOWN] == 0)
            )
        listed = self.st.m[self.st.ready : self.st.ready + len(stage)]
        for g, row in enumerate(self.groups):
            n = int(self.rows("group", a.H_SIZE)[g, a.H_N_READY])
            found = listed[row[a.G_FIRST] : row[a.G_FIRST] + n]
            assert found.tolist() == np.flatnonzero((stage == STAGE_READY) & (self.group_of == g)).tolist()

    def check_engines(self) -> None:
        """Batches, queues and KV blocks keep their limits; nothing is left in a replica that is not in use."""
        for r, row in enumerate(self.replicas):
            limits = self.pools[self.home[r]]
            running, waiting = self.chain(row[a.R_RUN_HEAD]), self.chain(row[a.R_WAIT_HEAD])
            assert len(running) == row[a.R_N_RUN] <= limits[a.L_MAX_SEQS]
            assert len(waiting) == row[a.R_N_WAIT]
            assert row[a.R_N_DECODE] <= row[a.R_N_RUN]
            if row[a.R_STAGE] in IN_USE and row[a.R_PREFIX] > 0:
                check_cache(self.p, self.st, r, running)
            if row[a.R_STAGE] in IN_USE:
                assert 0 <= self.act(ACT_BLOCKS, r) <= limits[a.L_BLOCKS]
                assert row[a.R_N_RUN] > 0 or row[a.R_FREE_BLOCKS] == limits[a.L_BLOCKS]
            else:
                assert not running
                assert not waiting
                assert row[a.R_JUMP_K] == 0

    def check_population(self) -> None:
        """Whoever arrived is done, turned away, has given up, is lost, held, away or at exactly one replica."""
        counts = self.rows("counts", a.C_SIZE)
        ends = [a.C_ALL_COMPLETED, a.C_ALL_REJECTED, a.C_ALL_TIMED_OUT, a.C_ALL_FAILED]
        at_replicas = self.replicas[:, [a.R_N_RUN, a.R_N_WAIT]].sum()
        held = self.rows("group", a.H_SIZE)[:, a.H_HELD].sum()
        used = self.used_slots()
        state = self.slots[used, a.F_STATE]
        inside = used[self.slots[used, a.F_GHOST] == WANTED] if self.p.has_attempts else used
        of = self.slots[np.setdiff1d(inside, self.thinking())][:, [a.F_CLASS, a.F_REQUEST]]
        assert self.st.in_flight == len(used)
        assert held == (state == SEQ_HELD).sum()
        assert at_replicas == np.isin(state, (SEQ_WAITING, SEQ_SINGLE, SEQ_DECODE)).sum()
        for k, row in enumerate(counts):
            waits = len(set(of[of[:, 0] == k, 1].tolist()))
            assert row[ends].sum() + waits == row[a.C_ALL_OFFERED]
        if self.p.keeps_records or not self.p.turn_at:
            turns = (self.rows("arrived", 1) > 0).sum()
            assert self.st.cursor + turns == counts[:, a.C_ALL_OFFERED].sum()
        if self.p.has_attempts:
            thinking = self.thinking()
            users.check_attempts(self, np.setdiff1d(used, thinking), np.setdiff1d(inside, thinking))
            users.check_limits(self, used)
            users.check_timers(self, used)
            users.check_hedges(self, used)

    def thinking(self) -> np.ndarray:
        """The slots of turns that have not come yet."""
        used = np.setdiff1d(np.arange(len(self.slots)), self.chain(int(self.st.free_slot)))
        return used[self.slots[used, a.F_STATE] == SEQ_THINKING]

    @property
    def slots(self) -> np.ndarray:
        """(slot, F_SIZE)."""
        return slot_rows(self.st)

    def used_slots(self) -> np.ndarray:
        """The slots that hold an attempt: all that are not free, each in one list at most."""
        lists = [self.chain(row[link]) for row in self.replicas for link in (a.R_RUN_HEAD, a.R_WAIT_HEAD)]
        free = self.chain(int(self.st.free_slot))
        listed = [slot for chain in (*lists, free) for slot in chain]
        assert len(set(listed)) == len(listed), "a slot is in two lists"
        used = np.setdiff1d(np.arange(len(self.slots)), free)
        elsewhere = ~np.isin(self.slots[used, a.F_STATE], (SEQ_WAITING, SEQ_SINGLE, SEQ_DECODE))
        assert sorted(used[~elsewhere]) == sorted(slot for chain in lists for slot in chain)
        return used

    # ---- at the end of every instant -----------------------------------------------------------------------------------
    def check_instant(self) -> None:
        """What holds when time moves on: nobody idles while there is work that fits."""
        for r, row in enumerate(self.replicas):
            if row[a.R_N_RUN] > 0:
                assert row[a.R_JUMP_K] > 0, f"replica {r} holds a batch and stands still"
            elif row[a.R_N_WAIT] > 0 and row[a.R_STAGE] in IN_USE:
                assert self.waits_for_a_batch(row, self.pools[self.home[r]]), (
                    f"replica {r} idles with work that fits"
                )
            assert (row[a.R_JUMP_K] == 0) == (row[a.R_N_RUN] == 0)
        ready = self.replicas[:, a.R_STAGE] == STAGE_READY
        for g in range(len(self.rows("group", a.H_SIZE))):
            for slot in self.held(g):
                asked = self.st.m[self.st.slot + slot * a.F_SIZE :]
                has_room = self.outstanding() < self.groups[g, a.G_OUTSTANDING_MAX]
                if has_room.any() and self.st.release_ps != NEVER:
                    continue  # they are about to go
                pools = set(self.home[ready & (self.group_of == g) & has_room].tolist())
                pools &= set(self.made.classes[int(asked[a.F_CLASS])].pools or pools)
                assert not any(self.fits(pool, asked) for pool in pools), "held while a replica could take it"

    def fits(self, pool: int, asked: np.ndarray) -> bool:
        """Whether a request fits an empty replica."""
        limits = self.pools[pool]
        tokens = asked[a.F_PROMPT] + max(asked[a.F_OUTPUT], 1) - 1
        blocks = -(-tokens // limits[a.L_BLOCK])
        return bool(
            asked[a.F_PROMPT] + asked[a.F_OUTPUT] <= limits[a.L_MAX_LEN] and blocks <= limits[a.L_BLOCKS]
        )

    def waits_for_a_batch(self, row: np.ndarray, limits: np.ndarray) -> bool:
        """Whether static or dynamic batching still waits for more requests or for its delay."""
        if row[a.R_STAGE] == STAGE_DRAINING or row[a.R_N_WAIT] >= limits[a.L_MAX_SEQS]:
            return False
        slots = self.chain(row[a.R_WAIT_HEAD])
        oldest_ps = min(self.st.m[self.st.slot + slot * a.F_SIZE + a.F_ROUTED_PS] for slot in slots)
        if limits[a.L_BATCHING] == DYNAMIC:
            return bool(oldest_ps + limits[a.L_DELAY_PS] > self.now_ps)
        return bool(limits[a.L_BATCHING] == STATIC)


def walked(made: Fleet) -> Walk:
    """A fleet walked to its end."""
    return Walk(made).run()
