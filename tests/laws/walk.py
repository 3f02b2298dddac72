"""A run taken apart: walked event by event, everything that must hold checked after each, areas measured by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
from parity.engines import laws_of
from parity.fleets import Fleet

from laws import users
from sim.engine import simpy
from sim.engine.act import ACT_BLOCKS, ACT_SIGNAL
from sim.engine.cpu import compiled_act
from sim.fill.state import model_rows, pool_rows, slot_rows, slot_start, table
from sim.model.router.choose import LEAST_OUTSTANDING, POWER_OF_TWO
from sim.model.tables.codes import (
    DYNAMIC,
    LAST,
    MAX,
    MEAN,
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
from sim.model.tables.slot import Slot
from sim.units import NEVER, PS_PER_S

from .front_laws import Fronts
from .prefix_laws import check_cache

IN_USE = (STAGE_READY, STAGE_DRAINING)


class Before:
    """What the next event finds: clocks of the controllers, what they would scrape, the replicas' stages."""

    def __init__(self, walk: Walk) -> None:
        pools = walk.rows("pool")
        self.scrapes_ps = [int(t) for t in walk.rows("signal")["next_scrape_ps"]]
        self.ticks_ps = [int(t) for t in pools["next_tick_ps"]]
        due = [t == walk.now_ps for t in self.scrapes_ps]
        self.metrics = [walk.metric_now(i) if is_due else 0 for i, is_due in enumerate(due)]
        self.stages = walk.replicas["stage"].copy()
        self.ready_ps = walk.replicas["ready_ps"].copy()
        self.started_ps = walk.replicas["started_ps"].copy()
        self.outstanding = walk.outstanding()
        self.cursor = int(walk.st.cursor)


class Walk:
    """One run on SimPy, stopped after every event."""

    def __init__(self, made: Fleet) -> None:
        self.made = made
        self.fleet = simpy.Fleet(made.params, laws_of(made))
        self.p = self.fleet.params
        self.pools, self.groups = pool_rows(self.p), model_rows(self.p)
        self.signals = self.p.rows("signal", int(self.p.n_signal))
        self.home = np.repeat(np.arange(len(self.pools)), self.pools["n_replica"])
        self.group_of = self.pools["served_model"][self.home]
        # a deployment may take a pool below its bound, to nothing; whoever else scales it may not
        rollouts = self.p.rows("rollout", int(self.p.n_rollout))
        deployed = np.concatenate([rollouts["pool"], rollouts["to_pool"]])
        self.least = np.where(np.isin(np.arange(len(self.pools)), deployed), 0, self.pools["min_replicas"])
        self.now_ps = 0
        self.areas: Counter[tuple[str, int]] = Counter()  # (what, pool or group or 0) → ps
        # (pool, n-th cold start) → how long it took from when it had its slices, ps
        self.starts: dict[tuple[int, int], int] = {}
        self._begun: dict[int, tuple[int, int]] = {}
        self.fronts = Fronts(self)
        self.scraped: list[list[tuple[int, int]]] = [[] for _ in self.signals]

    # ---- what there is -----------------------------------------------------------------------------------------------
    @property
    def st(self) -> State:
        """The state; it moves when it grows."""
        return self.fleet.state

    def rows(self, name: str) -> np.ndarray:
        """A table of the state."""
        return table(self.p, self.st, name)

    @property
    def replicas(self) -> np.ndarray:
        """(replica,)."""
        return self.rows("replica")

    def outstanding(self) -> np.ndarray:
        """Requests waiting or running at each replica."""
        return np.asarray(self.replicas["n_run"] + self.replicas["n_wait"])

    def held(self, group: int) -> list[int]:
        """The slots that the gateway holds for a group, lane by lane."""
        n_lane = int(self.p.n_queue)
        lanes = self.rows("queue")[group * n_lane : (group + 1) * n_lane]
        return [slot for lane in lanes if lane["n"] for slot in self.chain(lane["head"])]

    def act(self, what: int, which: int) -> int:
        """Ask the model something at this instant."""
        return int(compiled_act()(self.p, self.st, what, which, 0, self.now_ps))

    def chain(self, slot: int) -> list[int]:
        """The slots of a list. Walked in the state's words: at every event there are hundreds of steps."""
        words, found = self.st.m, []
        at = slot_start(self.st) + Slot.FIELDS["next"].offset
        while slot >= 0:
            found.append(int(slot))
            slot = int(words[at + slot * Slot.SIZE])
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
            stage, index = row["stage"], int(row["start"])
            if STAGE_SLICE <= stage <= STAGE_ENGINE:
                self._begun[r] = (index, int(row["started_ps"]))
            elif stage == STAGE_READY and index >= 0:
                key = (int(self.home[r]), index)
                self.starts.setdefault(key, int(row["ready_ps"] - row["placed_ps"]))

    def add_areas(self, span_ps: int) -> None:
        """Everything that is counted in replica·time or request·time, over a span in which nothing happens."""
        for r, row in enumerate(self.replicas):
            pool = int(self.home[r])
            self.areas["billed_ps", pool] += span_ps * int(row["stage"] > STAGE_SLICE)
            self.areas["ready_ps", pool] += span_ps * int(row["stage"] == STAGE_READY)
            self.areas["serving_ps", pool] += span_ps * int(row["stage"] in IN_USE)
            self.areas["busy_ps", pool] += span_ps * int(row["jump_steps"] > 0)
            self.areas["slot_ps", pool] += span_ps * int(row["n_run"]) * int(row["jump_steps"] > 0)
            self.areas["waiting", 0] += span_ps * int(row["n_wait"])
        held, used = int(self.rows("served_model")["held"].sum()), int(self.st.in_flight)
        self.areas["held", 0] += span_ps * held
        self.areas["in_flight", 0] += span_ps * used
        if used > held + self.outstanding().sum():
            states = self.slots["state"][self.used_slots()]
            self.areas["in_flight", 0] -= span_ps * int((states == SEQ_THINKING).sum())
            self.areas["away", 0] += span_ps * int(np.isin(states, (SEQ_AWAY, SEQ_BEFORE)).sum())

    # ---- control -----------------------------------------------------------------------------------------------------
    def check_scrapes(self, before: Before) -> None:
        """A scrape that was due just now has written what the world was, and a controller reads what it should."""
        states, samples = self.rows("signal"), self.rows("signal_sample")
        for i, t in enumerate(before.scrapes_ps):
            signal, state = self.signals[i], states[i]
            if state["next_scrape_ps"] == t:
                continue
            n = int(state["n_scraped"])
            time_ps, value = samples[signal["first_sample"] + (n - 1) % signal["n_sample"]].tolist()
            assert (time_ps, n) == (t, len(self.scraped[i]) + 1)
            # a rate is rounded down to thousandths, its period to microseconds
            slack = (
                1 + value * 10**6 // int(signal["scrape_ps"]) if signal["source"] == SRC_ARRIVAL_RATE else 0
            )
            assert abs(value - before.metrics[i]) <= slack, (
                f"signal {i} scraped {value} for {before.metrics[i]}"
            )
            self.scraped[i].append((time_ps, value))
            assert state["next_scrape_ps"] == t + signal["scrape_ps"]
            assert self.act(ACT_SIGNAL, i) == self.read_signal(i, t)

    def metric_now(self, number: int) -> int:
        """What a scrape of the signal would find now, in thousandths."""
        signal = self.signals[number]
        source, pool = int(signal["source"]), int(signal["pool"])
        limits = self.pools[pool]
        group = self.rows("served_model")[limits["served_model"]]
        if source == SRC_ARRIVAL_RATE:
            new = int(group["arrivals"] - self.rows("signal")["last_arrivals"][number])
            return new * 1000 * PS_PER_S // int(signal["scrape_ps"])
        ready = [r for r in np.flatnonzero(self.home == pool) if self.replicas["stage"][r] == STAGE_READY]
        if source == SRC_KV_USE:
            return sum(1000 * self.act(ACT_BLOCKS, int(r)) // int(limits["n_blocks"]) for r in ready)
        waiting = int(self.replicas["n_wait"][ready].sum())
        running = int(self.replicas["n_run"][ready].sum())
        return (
            1000
            * {
                SRC_OUTSTANDING: waiting + running,
                SRC_WAITING: waiting,
                SRC_RUNNING: running,
                SRC_BACKLOG: waiting + int(group["held"]),
            }[source]
        )

    def check_scaling(self, before: Before) -> None:
        """A tick starts replicas in the lowest free places, and stops starting ones before the youngest ready ones."""
        pools = self.rows("pool")
        for pool, due_ps in enumerate(before.ticks_ps):
            if pools["next_tick_ps"][pool] == due_ps or due_ps != self.now_ps:
                continue
            mine = np.flatnonzero(self.home == pool)
            was, stage = before.stages[mine], self.replicas["stage"][mine]
            active = (stage >= STAGE_SLICE) & (stage <= STAGE_READY)
            was_active = (was >= STAGE_SLICE) & (was <= STAGE_READY)
            wanted = int(pools["wanted"][pool])
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
            router = self.groups["router"][group]
            others = np.flatnonzero((before.stages == STAGE_READY) & (self.home == self.home[r]))
            load = before.outstanding[others[others != r]]
            if len(load) and router in (POWER_OF_TWO, LEAST_OUTSTANDING):
                limit = load.min() if router == LEAST_OUTSTANDING else load.max()
                mixed = len(set(self.home[self.group_of == group].tolist())) > 1
                assert before.outstanding[r] <= limit or (mixed and router == POWER_OF_TWO)

    def read_signal(self, number: int, t: int) -> int:
        """What a controller may know of a signal at t, from every sample there ever was."""
        signal = self.signals[number]
        until = t - int(signal["lag_ps"])
        known = [sample for sample in self.scraped[number] if sample[0] <= until]
        recent = [value for time_ps, value in known if time_ps > until - int(signal["window_ps"])]
        recent = recent or [value for _, value in known[-1:]]
        if not recent:
            return -1
        return {MEAN: sum(recent) // len(recent), MAX: max(recent), LAST: recent[-1]}[
            int(signal["aggregation"])
        ]

    # ---- after every event -------------------------------------------------------------------------------------------
    def check_event(self) -> None:
        """What holds after every single event."""
        self.check_stages()
        self.check_engines()
        self.check_population()
        self.fronts.check_event()

    def check_stages(self) -> None:
        """Counts per stage are those of the replicas; the ready list is the ready replicas in order."""
        stage = self.replicas["stage"]
        pools = self.rows("pool")
        for pool, row in enumerate(pools):
            mine = stage[self.home == pool]
            ready = int((mine == STAGE_READY).sum())
            starting = int(((mine >= STAGE_SLICE) & (mine <= STAGE_ENGINE)).sum())
            assert (row["n_ready"], row["n_starting"]) == (ready, starting)
            assert row["n_billed"] == (mine > STAGE_SLICE).sum()
            assert self.least[pool] <= row["wanted"] <= self.pools["max_replicas"][pool] or self.now_ps == 0
            assert ready + starting <= max(
                row["wanted"], self.pools["initial_replicas"][pool] * (row["scaled_down"] == 0)
            )
        listed = self.rows("ready")
        for g, row in enumerate(self.groups):
            n = int(self.rows("served_model")["n_ready"][g])
            found = listed[row["first_replica"] : row["first_replica"] + n]
            assert found.tolist() == np.flatnonzero((stage == STAGE_READY) & (self.group_of == g)).tolist()

    def check_engines(self) -> None:
        """Batches, queues and KV blocks keep their limits; nothing is left in a replica that is not in use."""
        for r, row in enumerate(self.replicas):
            limits = self.pools[self.home[r]]
            running, waiting = self.chain(row["run_head"]), self.chain(row["wait_head"])
            assert len(running) == row["n_run"] <= limits["max_num_seqs"]
            assert len(waiting) == row["n_wait"]
            assert row["n_decode"] <= row["n_run"]
            if row["stage"] in IN_USE and row["prefix_at"] > 0:
                check_cache(self.p, self.st, r, running)
            if row["stage"] in IN_USE:
                assert 0 <= self.act(ACT_BLOCKS, r) <= limits["n_blocks"]
                assert row["n_run"] > 0 or row["free_blocks"] == limits["n_blocks"]
            else:
                assert not running
                assert not waiting
                assert row["jump_steps"] == 0

    def check_population(self) -> None:
        """Whoever arrived is done, turned away, has given up, is lost, held, away or at exactly one replica."""
        counts = self.rows("counts")
        ends = ["all_completed", "all_rejected", "all_timed_out", "all_failed"]
        at_replicas = self.outstanding().sum()
        held = self.rows("served_model")["held"].sum()
        used = self.used_slots()
        state = self.slots["state"][used]
        inside = used[self.slots["fate"][used] == WANTED] if self.p.has_attempts else used
        thinking = used[state == SEQ_THINKING]
        of = self.slots[np.setdiff1d(inside, thinking)]
        assert self.st.in_flight == len(used)
        assert held == (state == SEQ_HELD).sum()
        assert at_replicas == np.isin(state, (SEQ_WAITING, SEQ_SINGLE, SEQ_DECODE)).sum()
        for k, row in enumerate(counts):
            waits = len(set(of["request"][of["traffic_class"] == k].tolist()))
            assert sum(row[end] for end in ends) + waits == row["all_offered"]
        if self.p.keeps_records or not self.p.turn_at:
            turns = (self.rows("arrived") > 0).sum()
            assert self.st.cursor + turns == counts["all_offered"].sum()
        if self.p.has_attempts:
            users.check_attempts(self, np.setdiff1d(used, thinking), np.setdiff1d(inside, thinking))
            users.check_limits(self, used)
            users.check_timers(self, used)
            users.check_hedges(self, used)

    @property
    def slots(self) -> np.ndarray:
        """(slot,)."""
        return slot_rows(self.st)

    def used_slots(self) -> np.ndarray:
        """The slots that hold an attempt: all that are not free, each in one list at most."""
        lists = [self.chain(row[link]) for row in self.replicas for link in ("run_head", "wait_head")]
        free = self.chain(int(self.st.free_slot))
        listed = [slot for chain in (*lists, free) for slot in chain]
        assert len(set(listed)) == len(listed), "a slot is in two lists"
        used = np.setdiff1d(np.arange(len(self.slots)), free)
        elsewhere = ~np.isin(self.slots["state"][used], (SEQ_WAITING, SEQ_SINGLE, SEQ_DECODE))
        assert sorted(used[~elsewhere]) == sorted(slot for chain in lists for slot in chain)
        return used

    # ---- at the end of every instant -----------------------------------------------------------------------------------
    def check_instant(self) -> None:
        """What holds when time moves on: nobody idles while there is work that fits."""
        for r, row in enumerate(self.replicas):
            if row["n_run"] > 0:
                assert row["jump_steps"] > 0, f"replica {r} holds a batch and stands still"
            elif row["n_wait"] > 0 and row["stage"] in IN_USE:
                assert self.waits_for_a_batch(row, self.pools[self.home[r]]), (
                    f"replica {r} idles with work that fits"
                )
            assert (row["jump_steps"] == 0) == (row["n_run"] == 0)
        ready = self.replicas["stage"] == STAGE_READY
        for g in range(len(self.rows("served_model"))):
            if self.st.served_model[g].n_split > 0:
                continue  # a request waits for the version that it is for
            for slot in self.held(g):
                asked = self.slots[slot]
                has_room = self.outstanding() < self.groups["outstanding_max"][g]
                if has_room.any() and self.st.release_ps != NEVER:
                    continue  # they are about to go
                pools = set(self.home[ready & (self.group_of == g) & has_room].tolist())
                pools &= set(self.made.classes[int(asked["traffic_class"])].pools or pools)
                assert not any(self.fits(pool, asked) for pool in pools), "held while a replica could take it"

    def fits(self, pool: int, asked: np.void) -> bool:
        """Whether a request fits an empty replica."""
        limits = self.pools[pool]
        tokens = asked["prompt"] + max(asked["output"], 1) - 1
        blocks = -(-tokens // limits["block_size"])
        return bool(
            asked["prompt"] + asked["output"] <= limits["max_model_len"] and blocks <= limits["n_blocks"]
        )

    def waits_for_a_batch(self, row: np.void, limits: np.void) -> bool:
        """Whether static or dynamic batching still waits for more requests or for its delay."""
        if row["stage"] == STAGE_DRAINING or row["n_wait"] >= limits["max_num_seqs"]:
            return False
        slots = self.chain(row["wait_head"])
        oldest_ps = min(self.st.slot[slot].routed_ps for slot in slots)
        if limits["batching"] == DYNAMIC:
            return bool(oldest_ps + limits["batch_delay_ps"] > self.now_ps)
        return bool(limits["batching"] == STATIC)


def walked(made: Fleet) -> Walk:
    """A fleet walked to its end."""
    return Walk(made).run()
