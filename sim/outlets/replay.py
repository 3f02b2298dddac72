"""A run that was kept, run again and watched: what its files do not hold, exact to the picosecond.

The files of a run have its requests and its samples, but not when each replica changed its stage or which request was
preempted when. A run is a function of its configuration, so it is repeated on the SimPy engine, event by event, and
the digest says that it is the same run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from sim.engine.act import ACT_BLOCKS, ACT_BOUNDARY, ACT_CONTROL, ACT_INPUT
from sim.engine.host import signals
from sim.engine.result import make_digest
from sim.engine.simpy import Fleet
from sim.errors import InputError, problem
from sim.fill.state import pool_rows, slot_rows, table
from sim.model.base.histogram import N_BUCKET, bucket_edges_ps
from sim.model.tables.codes import COMPLETED, M_ITL, N_METRIC, STAGE_GONE, STAGE_READY
from sim.model.tables.run import Params
from sim.outlets.families import VLLM_GAPS
from sim.pack.scenario import plan
from sim.runner import policies_for
from sim.scenario.build import from_dict
from sim.scenario.scenario import Scenario
from sim.units import PS_PER_S

GAP_BOUNDS_S = VLLM_GAPS[0].buckets
LATE_ENDS = ("all_rejected", "all_timed_out", "all_failed")
TELL_EVERY = 2000  # rules between two words to a progress bar


class Stage(NamedTuple):
    """A replica was in a stage from `begin_ps` to `end_ps`; `start` numbers the pool's cold starts, −1: none."""

    pool: int
    replica: int  # inside the pool
    stage: int  # STAGE_…, never gone
    start: int
    begin_ps: int
    end_ps: int


class Decision(NamedTuple):
    """A pool was asked for another number of replicas."""

    pool: int
    time_ps: int
    before: int
    after: int
    ready: int
    starting: int
    metrics: tuple[float, ...]  # the pool's signals, NaN before their first sample


class Moment(NamedTuple):
    """Something happened to a request: preempted at a replica (−1: at none), or sent again as attempt `number`."""

    time_ps: int
    request: int
    replica: int  # of all pools
    number: int


class Replay(NamedTuple):
    """What was seen; arrays are (sample, replica of all pools) at the instants of the time series."""

    scenario: Scenario
    pool_of: np.ndarray  # (replica,) its pool
    first_replica: np.ndarray  # (pool,)
    stages: list[Stage]
    decisions: list[Decision]
    preemptions: list[Moment]
    attempts: list[Moment]  # after the first of each request
    ends_ps: dict[int, int]  # request that was not completed → when it was over
    sample_ps: np.ndarray  # (sample,)
    stage: np.ndarray
    waiting: np.ndarray
    running: np.ndarray
    used_blocks: np.ndarray
    n_blocks: np.ndarray  # (replica,)
    max_model_len: np.ndarray  # (pool,) tokens
    itl: (
        np.ndarray
    )  # (sample, class, bound + 1) gaps between tokens so far up to each of GAP_BOUNDS_S, then all: measured
    itl_sum_ps: np.ndarray  # (sample, class) float
    end_ps: int


def scenario_of(config: Mapping[str, Any]) -> Scenario:
    """The scenario that a run's config.json holds; raises InputError where this version does not take it."""
    data = dict(config["config"])
    for group in ("pools", "classes", "tenants"):
        entries = data.get(group)
        if not isinstance(entries, list) or not all(isinstance(e, dict) and "name" in e for e in entries):
            raise InputError(
                problem("run", "config.json", f"a resolved scenario with {group}, as a run leaves it")
            )
        data[group] = {entry["name"]: entry for entry in entries}
    return from_dict(data)


def replay(config: Mapping[str, Any], digest: str, progress: Callable[..., None] | None = None) -> Replay:
    """Repeat a run from its config.json and watch it. Raises InputError where it does not come out the same."""
    scenario = scenario_of(config)
    packed = plan(scenario)
    watch = Watch(packed.params, scenario, progress)
    fleet = Fleet(packed.params, policies_for(packed))
    watch.begin(fleet)
    fleet._act = watch  # every rule that the engine calls goes through it
    fleet.run()
    seen = watch.finished(fleet)
    again = f"{make_digest(fleet.state):016x}"
    if again != digest:
        raise InputError(
            f"run: repeating it gives digest {again}, it was {digest}: its files were changed, or a trace or policy file "
            "that it read, or another version made it; run it again"
        )
    return seen


class Watch:
    """Stands where the engine calls a rule, and looks at what the rule has changed."""

    def __init__(self, params: Params, scenario: Scenario, progress: Callable[..., None] | None) -> None:
        self.params, self.scenario, self.progress = params, scenario, progress
        pools = pool_rows(params)
        self.pool_of = np.repeat(np.arange(len(pools)), pools["n_replica"])
        self.first_replica = pools["first_replica"].copy()
        self.n_blocks = pools["n_blocks"][self.pool_of]
        self.max_model_len = pools["max_model_len"].copy()
        self.stages: list[Stage] = []
        self.decisions: list[Decision] = []
        self.preemptions: list[Moment] = []
        self.attempts: list[Moment] = []
        self.ends_ps: dict[int, int] = {}
        self.is_over = np.zeros(int(params.n_request), dtype=bool)  # of those that were not completed
        self.samples: list[tuple[Any, ...]] = []
        self.known: dict[tuple[int, int], int] = {}  # (request, attempt) → preemptions seen
        self.n_called = 0
        bounds_ps = np.array(GAP_BOUNDS_S) * PS_PER_S
        self.gap_places = [*np.searchsorted(bucket_edges_ps(), bounds_ps, side="right") - 1, -1]

    # ---- views of the state --------------------------------------------------------------
    def look_at(self, state: Any) -> None:
        """View the tables of a state, which is another one after it has grown."""
        params = self.params
        self.state = state
        replicas, pools = table(params, state, "replica"), table(params, state, "pool")
        self.stage_now, self.start_now = replicas["stage"], replicas["start"]
        self.n_wait, self.n_run = replicas["n_wait"], replicas["n_run"]
        self.wanted, self.preempted = pools["wanted"], pools["preempted"]
        self.pools = pools
        self.retried = table(params, state, "served_model")["retries"]
        self.counts = table(params, state, "counts")
        self.late = [self.counts[name] for name in LATE_ENDS]
        self.outcome = table(params, state, "record")["outcome"]

    def begin(self, fleet: Fleet) -> None:
        """Take down how the fleet stands at time 0."""
        self.fleet, self.act = fleet, fleet._act
        self.look_at(fleet.state)
        self.was_stage, self.was_wanted = self.stage_now.copy(), self.wanted.copy()
        self.was_preempted, self.was_retried = self.preempted.copy(), self.retried.copy()
        self.was_late = self.was_in_flight = 0
        self.since_ps = np.zeros(len(self.was_stage), dtype=np.int64)
        self.start = self.start_now.copy()

    def __call__(self, params: Params, state: Any, what: int, which: int, value: int, t: int) -> int:
        """Call a rule as the engine would, and look."""
        if state is not self.state:
            self.look_at(state)
        before = self.reading(t) if what == ACT_CONTROL else None
        n_sample = int(state.n_sample)
        found = self.act(params, state, what, which, value, t)
        if before is not None and int(state.n_sample) > n_sample:
            self.samples.append(before)
        self.changed(what, t)
        self.n_called += 1
        if self.progress is not None and self.n_called % TELL_EVERY == 0:
            self.progress(min(0.99, t / max(1, int(params.duration_ps))), 1.0, "repeating the run")
        return int(found)

    def reading(self, t: int) -> tuple[Any, ...]:
        """What a sample at t sees of each replica: stage changes at t have happened, ticks have not."""
        serves = self.stage_now >= STAGE_READY
        used = np.zeros(len(serves), dtype=np.int64)
        for r in np.flatnonzero(serves):
            used[r] = self.act(self.params, self.state, ACT_BLOCKS, int(r), 0, t)
        n_class = int(self.params.n_class)
        hist = self.state.rows("hist", n_class * N_METRIC * N_BUCKET).reshape(n_class, N_METRIC, N_BUCKET)
        sums = self.counts["sums"][:, 2 * M_ITL : 2 * M_ITL + 2].astype(float)
        return (
            t,
            self.stage_now.copy(),
            np.where(serves, self.n_wait, 0),
            np.where(serves, self.n_run, 0),
            used,
            np.pad(hist[:, M_ITL].cumsum(axis=1), ((0, 0), (1, 0)))[:, self.gap_places],
            sums[:, 0] + sums[:, 1] * 2.0**62,
        )

    # ---- changes --------------------------------------------------------------
    def changed(self, what: int, t: int) -> None:
        """Take down what a rule at t has changed. Boundaries and inputs, which are nearly all, change no replica's stage;
        only boundaries preempt, and only inputs and boundaries after which fewer requests are in flight refuse or lose one.
        """
        if what == ACT_BOUNDARY:
            if (self.preempted != self.was_preempted).any():
                self.preempted_changed(t)
        elif what == ACT_INPUT:
            if (self.retried != self.was_retried).any():
                self.retried_changed(t)
        else:
            self.fleet_changed(t)
        in_flight = int(self.state.in_flight)
        if in_flight < self.was_in_flight or what != ACT_BOUNDARY:
            late = sum(int(column.sum()) for column in self.late)
            if late != self.was_late:
                self.was_late = late
                self.ended(t)
        self.was_in_flight = in_flight

    def fleet_changed(self, t: int) -> None:
        """Take down stages of replicas and numbers asked for."""
        if (self.stage_now != self.was_stage).any() or (self.start_now != self.start).any():
            self.stage_changed(t)
        if (self.wanted != self.was_wanted).any():
            self.wanted_changed(t)

    def stage_changed(self, t: int) -> None:
        """Replicas have gone into other stages."""
        moved = (self.stage_now != self.was_stage) | (self.start_now != self.start)
        for r in np.flatnonzero(moved):
            self.keep_stage(int(r), t)
        self.was_stage[:] = self.stage_now
        self.start[:] = self.start_now

    def keep_stage(self, r: int, t: int) -> None:
        """The stage that replica r has been in is over at t; one that took no time is not kept."""
        if self.was_stage[r] != STAGE_GONE and t > self.since_ps[r]:
            pool = int(self.pool_of[r])
            place, stage, start = (
                r - int(self.first_replica[pool]),
                int(self.was_stage[r]),
                int(self.start[r]),
            )
            self.stages.append(Stage(pool, place, stage, start, int(self.since_ps[r]), t))
        self.since_ps[r] = t

    def wanted_changed(self, t: int) -> None:
        """Pools are asked for another number of replicas."""
        seen = signals(self.params, self.state, t)
        for pool in np.flatnonzero(self.wanted != self.was_wanted):
            row = self.pools[pool]
            own = seen[pool][: int(pool_rows(self.params)["n_signal"][pool])]
            before, after = int(self.was_wanted[pool]), int(row["wanted"])
            counts = int(row["n_ready"]), int(row["n_starting"])
            self.decisions.append(Decision(int(pool), t, before, after, *counts, tuple(map(float, own))))
        self.was_wanted[:] = self.wanted

    def preempted_changed(self, t: int) -> None:
        """Sequences have lost their KV blocks."""
        slots = slot_rows(self.state)
        mine = np.flatnonzero((slots["preemptions"] > 0) & (slots["replica"] >= 0))
        for s in mine:
            row = slots[s]
            key = int(row["request"]), int(row["attempt"])
            times, seen = int(row["preemptions"]), self.known.get(key, 0)
            self.preemptions += [Moment(t, key[0], int(row["replica"]), i + 1) for i in range(seen, times)]
            if times > seen:
                self.known[key] = times
        self.was_preempted[:] = self.preempted

    def retried_changed(self, t: int) -> None:
        """Clients have sent further attempts."""
        slots = slot_rows(self.state)
        for s in np.flatnonzero((slots["attempt"] > 1) & (slots["taken_ps"] == t)):
            row = slots[s]
            key = int(row["request"]), -int(row["attempt"])
            if key not in self.known:
                self.known[key] = t
                self.attempts.append(Moment(t, key[0], -1, -key[1]))
        self.was_retried[:] = self.retried

    def ended(self, t: int) -> None:
        """Requests are over that were not completed."""
        if not len(self.outcome):
            return
        slots = slot_rows(self.state)["request"]
        newest = max(0, int(self.state.cursor) - 1)
        near = np.append(slots, newest)
        for i in np.unique(near[(self.outcome[near] > COMPLETED) & ~self.is_over[near]]):
            self.ends_ps[int(i)] = t
            self.is_over[i] = True

    def finished(self, fleet: Fleet) -> Replay:
        """All that was seen."""
        end_ps = int(fleet.state.now_ps)
        if fleet.state is not self.state:
            self.look_at(fleet.state)
        for r in range(len(self.was_stage)):
            self.keep_stage(r, end_ps)
        columns = list(zip(*self.samples, strict=True)) if self.samples else [()] * 7
        times, stage, waiting, running, used, itl, itl_sum = (np.array(column) for column in columns)
        order = sorted(self.stages, key=lambda s: (s.pool, s.replica, s.begin_ps))
        return Replay(
            scenario=self.scenario,
            pool_of=self.pool_of,
            first_replica=self.first_replica,
            stages=order,
            decisions=self.decisions,
            preemptions=self.preemptions,
            attempts=self.attempts,
            ends_ps=self.ends_ps,
            sample_ps=times,
            stage=stage,
            waiting=waiting,
            running=running,
            used_blocks=used,
            n_blocks=self.n_blocks,
            max_model_len=self.max_model_len,
            itl=itl,
            itl_sum_ps=itl_sum,
            end_ps=end_ps,
        )
