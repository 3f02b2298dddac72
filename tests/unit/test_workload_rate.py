"""Rates over time: integrals, the way back from them, and the shapes people draw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.scenario.traffic import Curves, Spike, TrafficClass
from sim.workload.clock import clock_shape, periodic, spike_shape
from sim.workload.rate import (
    Rate,
    evaluate,
    integral,
    integral_at,
    lines,
    multiply,
    scale,
    steps,
    times_at,
)

heights = st.floats(0.0, 50.0).map(lambda x: 0.0 if x < 1e-3 else x)
lengths = st.floats(0.01, 1000.0)


@st.composite
def rates(draw: st.DrawFn) -> Rate:
    """Up to ten straight pieces, with jumps, zeros and slopes."""
    pieces = draw(st.lists(st.tuples(lengths, heights, heights), min_size=1, max_size=10))
    start = np.concatenate([[0.0], np.cumsum([p[0] for p in pieces])])
    return Rate(start, np.array([p[1] for p in pieces]), np.array([p[2] for p in pieces]))


@given(rates(), st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=1, max_size=30))
def test_times_at_is_the_way_back_of_the_integral(rate: Rate, shares: list[float]) -> None:
    whole = integral(rate)[-1]
    if whole < 1e-3:
        return
    areas = np.sort(np.array(shares)) * whole
    times = times_at(rate, areas)
    assert np.all(np.diff(times) >= -1e-9 * times[-1])
    assert np.all((times >= 0) & (times <= rate.start_s[-1] * (1 + 1e-12)))
    assert integral_at(rate, times) == pytest.approx(areas, rel=1e-7, abs=1e-7 * whole)


@given(rates(), rates(), st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20))
def test_a_product_is_the_product_where_one_side_is_flat(a: Rate, b: Rate, shares: list[float]) -> None:
    end_s = min(a.start_s[-1], b.start_s[-1])
    flat = steps(b.start_s, b.left)
    product = multiply(cut(a, end_s), cut(flat, end_s))
    at_s = np.array(shares) * end_s * 0.999999
    assert value(product, at_s) == pytest.approx(value(a, at_s) * value(flat, at_s), rel=1e-6, abs=1e-6)


def cut(rate: Rate, end_s: float) -> Rate:
    """The rate on [0, end_s]."""
    n = int(np.searchsorted(rate.start_s, end_s, side="left"))
    last = np.array([n - 1])
    right = np.append(rate.right[: n - 1], evaluate(rate, np.array([end_s]), last))
    return Rate(np.append(rate.start_s[:n], end_s), rate.left[:n], right)


def value(rate: Rate, at_s: np.ndarray) -> np.ndarray:
    """The rate at some times."""
    return evaluate(rate, at_s, np.searchsorted(rate.start_s, at_s, side="right") - 1)


def test_two_slopes_multiply_closely() -> None:
    rising = lines(np.array([0.0, 100.0]), np.array([0.0, 1.0]))
    assert integral(multiply(rising, rising))[-1] == pytest.approx(100.0 / 3.0, rel=1e-3)


def test_scale_and_steps() -> None:
    rate = scale(steps(np.array([0.0, 10.0, 30.0]), np.array([1.0, 2.0])), 3.0)
    assert integral(rate).tolist() == [0.0, 30.0, 150.0]


def test_a_silent_piece_gets_no_times() -> None:
    rate = steps(np.array([0.0, 10.0, 20.0, 30.0]), np.array([1.0, 0.0, 1.0]))
    times = times_at(rate, np.arange(0.5, 20.0))
    assert len(times) == 20
    assert not np.any((times > 10.0) & (times < 20.0))


def test_a_spike_is_a_trapezoid() -> None:
    spike = Spike(at_s=1200.0, height=8.0, ramp_s=60.0, length_s=300.0)
    rate = spike_shape(spike, 3600.0)
    assert rate.start_s.tolist() == [0.0, 1200.0, 1260.0, 1560.0, 1620.0, 3600.0]
    assert integral(rate)[-1] == pytest.approx(3600.0 + 7.0 * (300.0 + 60.0))


def test_a_spike_may_fall_more_slowly_and_be_cut_by_the_end() -> None:
    spike = Spike(at_s=10.0, height=3.0, length_s=5.0, ramp_down_s=20.0)
    assert integral(spike_shape(spike, 100.0))[-1] == pytest.approx(100.0 + 2.0 * 5.0 + 2.0 * 10.0)
    assert integral(spike_shape(spike, 25.0))[-1] == pytest.approx(25.0 + 2.0 * 5.0 + (2.0 + 1.0) / 2 * 10.0)


@given(
    st.lists(st.floats(0.0, 5.0), min_size=24, max_size=24),
    st.floats(0.0, 23.99),
    st.sampled_from(["step", "linear"]),
)
def test_a_day_has_the_mean_of_its_hours(hours: list[float], start_hour: float, shape: str) -> None:
    rate = periodic(np.array(hours), 86_400.0, start_hour * 3600.0, 86_400.0 * 2, shape)
    assert rate.start_s[0] == 0.0
    assert rate.start_s[-1] == 86_400.0 * 2
    assert integral(rate)[-1] == pytest.approx(2 * 3600.0 * sum(hours), rel=1e-9, abs=1e-6)


def test_step_curves_hold_their_hour() -> None:
    hours = tuple(float(h) for h in range(24))
    traffic = TrafficClass(curves=Curves(day=hours, shape="step", start_hour=22.5))
    hourly = np.diff(integral_at(clock_shape(traffic, 7200.0), np.array([0.0, 1800.0, 5400.0, 7200.0])))
    assert hourly.tolist() == pytest.approx([22.0 * 1800, 23.0 * 3600, 0.0])


def test_a_week_starts_on_its_day_and_hour() -> None:
    week = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
    traffic = TrafficClass(curves=Curves(week=week, shape="step", start_day=6, start_hour=12.0))
    days = np.diff(
        integral_at(clock_shape(traffic, 172_800.0), np.array([0.0, 43_200.0, 129_600.0, 172_800.0]))
    )
    assert days.tolist() == pytest.approx([7.0 * 43_200, 1.0 * 86_400, 2.0 * 43_200])


def test_curves_that_are_not_active_change_nothing() -> None:
    traffic = TrafficClass(curves=Curves(day=(2.0,) * 24, active=False))
    assert integral(clock_shape(traffic, 100.0))[-1] == 100.0


def test_curve_and_spike_multiply() -> None:
    traffic = TrafficClass(
        curves=Curves(day=(2.0,) * 24, shape="step"), spikes=(Spike(at_s=10.0, height=5.0, length_s=10.0),)
    )
    assert integral(clock_shape(traffic, 100.0))[-1] == pytest.approx(2.0 * (100.0 + 4.0 * 10.0))
