"""The clock of a transfer over links: whole numbers, rounded so that nothing ends before its last byte is there."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sim.compile.jit import plain
from sim.engine.simpy import Fleet
from sim.fill.params import ClassRow, PoolRow, RunRow, ServedModelRow, Traffic, make_params
from sim.fill.rows import StepRow
from sim.model.tables.pool import N_QUANTILE
from sim.model.transfers import clock
from sim.model.transfers.clock import BRIEF_PS, CAP_BITS, FULL_SPEED
from sim.units import NEVER

progress_ps, time_left = plain(clock.progress_ps), plain(clock.time_left)
speed_of, cap_of = plain(clock.speed_of), plain(clock.cap_of)

SPEEDS = st.one_of(st.just(FULL_SPEED), st.integers(1, FULL_SPEED))
DAY_PS = 86_400 * 10**12


@given(st.integers(0, 45 * DAY_PS), SPEEDS)
def test_a_clock_runs_at_its_speed_rounded_down(span_ps: int, speed: int) -> None:
    assert progress_ps(span_ps, speed) == span_ps * speed // FULL_SPEED


@given(st.integers(1, DAY_PS), SPEEDS)
def test_what_is_left_takes_the_shortest_time_in_which_the_clock_gets_there(left_ps: int, speed: int) -> None:
    span_ps = time_left(left_ps, speed)
    exact = -(-left_ps * FULL_SPEED // speed)
    if span_ps == NEVER:
        assert exact > 45 * DAY_PS
        return
    assert span_ps == exact
    assert progress_ps(span_ps, speed) >= left_ps
    assert progress_ps(span_ps - 1, speed) < left_ps


@given(st.integers(1, (1 << CAP_BITS) - 1), st.data())
def test_a_speed_is_the_rate_over_the_cap_and_never_nothing(cap: int, data: st.DataObject) -> None:
    rate = data.draw(st.integers(1, cap))
    speed = speed_of(rate, cap)
    assert speed == max(1, rate * FULL_SPEED // cap)
    assert (speed == FULL_SPEED) == (rate == cap)


@given(st.integers(1, 2**46), st.integers(BRIEF_PS, 45 * DAY_PS))
def test_a_cap_is_the_bytes_over_the_time_within_what_the_time_is_cut_to(n_bytes: int, own_ps: int) -> None:
    cap = cap_of(n_bytes, own_ps)
    exact = Fraction(n_bytes * 2**40, own_ps)
    assert 1 <= cap < 1 << CAP_BITS
    if 1 <= exact < 1 << (CAP_BITS - 2):
        cut = Fraction(BRIEF_PS, own_ps)  # of the time, what its last bits are
        assert exact - 1 <= cap <= exact * (1 + 2 * cut) + 1


def test_a_start_that_a_users_process_stops_at_the_instant_of_its_last_byte_has_not_ended() -> None:
    """The process acts before the cluster does: what was to end is gone, and the other goes on alone."""
    second_ps = 10**12
    speed = np.full(9, second_ps)
    pool = PoolRow(speed, 0 * speed, 0, 0, 1000, 8, 64, 1000)._replace(
        min_replicas=0,
        max_replicas=2,
        initial_replicas=0,
        target_milli=0,
        stage_ps=np.full((1, N_QUANTILE), 10 * second_ps),
        steps=(StepRow(4, 1, 0, links=1, moved_bytes=10**10),),
    )
    end_ps = 100 * second_ps
    p = make_params(
        RunRow(1, end_ps, 0, end_ps, 0),
        Traffic(*np.array([[end_ps - 1], [1], [1], [0]])),
        [ClassRow()],
        [ServedModelRow()],
        [pool],
        things={"link": [{"bandwidth_q40": 1 << 41}]},  # enough for both
    )
    fleet = Fleet(p)
    fleet.run(until_s=1)
    fleet.scale(0, 1)
    fleet.run(until_s=6)
    fleet.scale(0, 2)
    fleet.run(until_s=16)
    assert fleet.state.replica[0].ready_ps == 11 * second_ps
    assert int(fleet.state.transfer[1].due_ps) == 16 * second_ps
    fleet.scale(0, 1)
    state = fleet.run()
    assert state.transfer[1].end_ps == -1
    assert state.transfer[1].is_moving == 0
    assert state.link[0].n == 0
    assert state.link[0].moved_bytes[0] == 10**10, "the bytes of the start that came to its end"
