"""How a run is watched, cut up or stored changes nothing about it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest

from sim.engine import simpy
from sim.engine.result import make_result
from sim.fill.state import slot_start, table
from sim.model.tables.run import State

from .engines import first_difference, laws_of, repeat, run_from_slots, run_on_loop
from .fleets import Fleet, fleet

SEEDS = range(4300, 4360)
MORE_SEEDS = range(4360, 4960)
BLOCKS = 4
few = pytest.mark.parametrize("seeds", [SEEDS[block::BLOCKS] for block in range(BLOCKS)])
many = pytest.mark.parametrize("seeds", [MORE_SEEDS[block::BLOCKS] for block in range(BLOCKS)])


def told(made: Fleet, st: State) -> dict[str, np.ndarray]:
    """What a run says of its requests: their rows, and counts, sums and histograms per class."""
    tables = ("record", "attempt", "spent", "arrived", "counts", "hist", "more")
    return {name: table(made.params, st, name) for name in tables}


def assert_same_requests(seed: int, made: Fleet, one: State, other_made: Fleet, other: State) -> None:
    """Both runs say the same of every request."""
    ours, theirs = told(made, one), told(other_made, other)
    for name in ours:
        assert np.array_equal(ours[name], theirs[name]), f"{name} differs; {repeat(seed)}"


# ---- control stops ----------------------------------------------------------------------
def assert_stops_do_not_matter(seeds: range) -> None:
    for seed in seeds:
        made = fleet(seed, no_records=False)
        expected = run_on_loop(made)
        for sample_ps in (0, made.grid_ps, made.grid_ps * 3 // 2 + 1):
            other = made._replace(run=made.run._replace(sample_ps=sample_ps))
            assert_same_requests(seed, made, expected, other, run_on_loop(other))


@few
def test_a_finer_time_series_leaves_the_requests_as_they_are(seeds: range) -> None:
    assert_stops_do_not_matter(seeds)


@pytest.mark.slow
@many
def test_a_finer_time_series_leaves_the_requests_as_they_are_many_times(seeds: range) -> None:
    assert_stops_do_not_matter(seeds)


def test_a_finer_time_series_holds_the_rows_of_the_coarser_one() -> None:
    for seed in SEEDS:
        made = fleet(seed, sampled=True)
        fine = made._replace(run=made.run._replace(sample_ps=made.run.sample_ps // 2))
        if made.run.sample_ps % 2:
            continue
        coarse_rows, fine_rows = (make_result(f.params, run_on_loop(f)).samples for f in (made, fine))
        common = np.isin(fine_rows["time_ps"], coarse_rows["time_ps"])
        kept = (
            coarse_rows["time_ps"] <= fine_rows["time_ps"].max()
        )  # the finer series may see the end of the run sooner
        for name in coarse_rows:
            assert np.array_equal(coarse_rows[name][kept], fine_rows[name][common]), f"{name}; {repeat(seed)}"


# ---- storage ----------------------------------------------------------------------
@few
def test_room_for_requests_in_flight_may_grow_from_one(seeds: range) -> None:
    for seed in seeds:
        made = fleet(seed)
        one, other = run_on_loop(made), run_from_slots(made, 1)
        assert_same_requests(seed, made, one, made, other)
        ours, theirs = (st.m[State.TABLES["mark"].start_of(st) : slot_start(st)] for st in (one, other))
        assert np.array_equal(ours, theirs), repeat(seed)
        assert make_result(made.params, one).digest == make_result(made.params, other).digest, repeat(seed)


@few
def test_without_records_everything_else_is_the_same(seeds: range) -> None:
    for seed in seeds:
        on, off = fleet(seed, no_records=False), fleet(seed, no_records=True)
        one, other = (make_result(made.params, run_on_loop(made)) for made in (on, off))
        assert other.requests == {}
        assert one.digest == other.digest, repeat(seed)
        assert (one.pools, one.sums, one.end_ps) == (other.pools, other.sums, other.end_ps), repeat(seed)
        assert np.array_equal(one.hist, other.hist)
        for ours, theirs in ((one.counts, other.counts), (one.samples, other.samples)):
            assert all(np.array_equal(ours[name], theirs[name]) for name in ours), repeat(seed)


def test_a_result_needs_no_slots() -> None:
    """A device gives back a state without them. In these runs requests still wait for cheap hours at the end."""
    for seed in (124, 235, 348, 388, 439, 446):
        made = fleet(seed)
        st = run_on_loop(made)
        one, other = (make_result(made.params, x) for x in (st, State(st.m[: slot_start(st)])))
        assert one.digest == other.digest, repeat(seed)
        assert all(np.array_equal(one.counts[name], other.counts[name]) for name in one.counts), repeat(seed)


# ---- watching ----------------------------------------------------------------------
@few
def test_looking_at_every_step_changes_nothing(seeds: range) -> None:
    for seed in seeds[:8]:
        made = fleet(seed)
        watched = simpy.Fleet(made.params, laws_of(made))
        while not watched.is_over:
            watched.step()
            watched.see()
        assert first_difference(run_on_loop(made), watched.state) == "", repeat(seed)


@few
def test_running_in_pieces_changes_nothing(seeds: range) -> None:
    for seed in seeds:
        made = fleet(seed)
        pieces = simpy.Fleet(made.params, laws_of(made))
        for tenth in range(1, 10):
            until_s = made.run.end_ps * tenth / 10 / 1e12
            if not pieces.is_over and until_s > pieces.time_s:
                pieces.run(until_s=until_s)
        if not pieces.is_over:
            pieces.run()
        assert first_difference(run_on_loop(made), pieces.state) == "", repeat(seed)


def onlooker(seconds: float, seen: list[Any]) -> Any:
    """A user's process that looks at the fleet from time to time."""

    def look(watched: simpy.Fleet) -> Generator[Any, Any, None]:
        while True:
            yield watched.wait(seconds)
            seen.append(watched.see())

    return look


@few
def test_a_users_process_that_looks_on_changes_nothing(seeds: range) -> None:
    for seed in seeds:
        made = fleet(seed)
        watched = simpy.Fleet(made.params, laws_of(made))
        seen: list[Any] = []
        watched.add(onlooker(made.grid_ps * 7 / 1e12, seen))
        watched.run()
        assert first_difference(run_on_loop(made), watched.state) == "", repeat(seed)
        assert seen or make_result(made.params, watched.state).end_ps < made.grid_ps * 7


@few
def test_a_run_that_is_over_stays_as_it_is(seeds: range) -> None:
    for seed in seeds:
        made = fleet(seed, short_drain=True)
        over = simpy.Fleet(made.params, laws_of(made))
        before = over.run().m.copy()
        for _ in range(200):
            if over.env.peek() == float("inf"):
                break
            over.step()
        assert np.array_equal(before, over.state.m), repeat(seed)
