"""The rate's known shape over a run: day and week curves and spikes, as multipliers."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from sim.scenario.traffic import Curves, Spike, TrafficClass
from sim.workload.rate import Rate, constant_rate, lines, multiply, steps

Floats = NDArray[np.float64]
HOUR_S, DAY_S, WEEK_S = 3600.0, 86_400.0, 604_800.0


def clock_shape(traffic: TrafficClass, end_s: float) -> Rate:
    """The product of the class's curves and spikes on [0, end_s]; read only."""
    return _shape(traffic.curves, traffic.spikes, end_s)


@functools.lru_cache  # the same for all seeds of a sweep
def _shape(curves: Curves, spikes: tuple[Spike, ...], end_s: float) -> Rate:
    shape = constant_rate(1.0, end_s)
    if curves.active and curves.day is not None:
        begin_s = curves.start_hour * HOUR_S
        shape = multiply(shape, periodic(np.asarray(curves.day), DAY_S, begin_s, end_s, curves.shape))
    if curves.active and curves.week is not None:
        begin_s = curves.start_day * DAY_S + curves.start_hour * HOUR_S
        shape = multiply(shape, periodic(np.asarray(curves.week), WEEK_S, begin_s, end_s, curves.shape))
    for spike in spikes:
        if spike.at_s < end_s:
            shape = multiply(shape, spike_shape(spike, end_s))
    return shape


def periodic(values: Floats, period_s: float, begin_s: float, end_s: float, shape: str) -> Rate:
    """`values` spread evenly over a period, seen from `begin_s` into it for `end_s` seconds.

    `step`: each value for its slot. `linear`: straight lines between the middles of the slots.
    """
    slot_s = period_s / len(values)
    middle = 0.5 if shape == "linear" else 0.0
    first = int(np.floor(begin_s / slot_s - middle))
    n = int(np.ceil(end_s / slot_s)) + 2
    slot = np.arange(first, first + n + 1)
    at_s = (slot.astype(np.float64) + middle) * slot_s - begin_s
    height = values[slot % len(values)]
    if shape == "linear":
        return _clip(lines(at_s, height), end_s)
    return _clip(steps(at_s, height[:-1]), end_s)


def spike_shape(spike: Spike, end_s: float) -> Rate:
    """1 before and after; up over `ramp_s`, at `height` for `length_s`, down over `ramp_down_s`."""
    down_s = spike.ramp_s if spike.ramp_down_s is None else spike.ramp_down_s
    corners = np.cumsum([0.0, spike.at_s, spike.ramp_s, spike.length_s, down_s])
    starts = np.append(corners, max(end_s, corners[-1]) + 1.0)
    left = np.array([1.0, 1.0, spike.height, spike.height, 1.0])
    right = np.array([1.0, spike.height, spike.height, 1.0, 1.0])
    kept = np.diff(starts) > 0
    return _clip(Rate(np.append(starts[:-1][kept], starts[-1]), left[kept], right[kept]), end_s)


def _clip(rate: Rate, end_s: float) -> Rate:
    """The part of a rate on [0, end_s]."""
    begin = np.clip(rate.start_s[:-1], 0.0, end_s)
    end = np.clip(rate.start_s[1:], 0.0, end_s)
    kept = np.flatnonzero(end > begin)
    slope = (rate.right - rate.left) / np.diff(rate.start_s)
    left = rate.left + slope * (begin - rate.start_s[:-1])
    right = np.where(end < rate.start_s[1:], rate.left + slope * (end - rate.start_s[:-1]), rate.right)
    return Rate(np.append(begin[kept], end_s), left[kept], right[kept])
