"""A running deployment's own step time: the modelled one, corrected by a few operating points.

    step = scale·GPU(n, kv) + the engine's CPU time + offset + host·n,   then times measured/fitted between the points

docs/step-time.md ("Calibrate to your deployment") says how good that is on measured deployments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sim.errors import InputError
from sim.scenario.hardware import Grid
from sim.steptime.points import Point, Points
from sim.steptime.states import Lengths, PoolLaw, State, starved, state_of
from sim.steptime.table import work_s_at

POINTS_MIN = 2  # different numbers of running sequences
POINTS_FOR_SCALE = 5
OFFSET_SPREAD_MS, HOST_SPREAD_US, SCALE_SPREAD = (
    5.0,
    30.0,
    0.3,
)  # how far the corrections usually lie from none
PRIOR_WEIGHT = 0.1  # a correction as unusual as that weighs as much as an error of a tenth
SAME = 1.02  # numbers of sequences closer than this factor are one
USELESS = 50.0  # percent
ABSURD = 20.0  # measured over modelled, or the other way round
GRID_STEPS = (
    1,
    2,
    4,
    8,
    12,
    16,
    24,
    32,
    48,
    64,
    96,
    128,
    192,
    256,
    384,
    512,
    768,
    1024,
    1536,
    2048,
    4096,
    8192,
)
PROMPT_STEPS = tuple(sorted({2**k for k in range(21)} | {3 * 2**k for k in range(3, 19)}))


class Correction(NamedTuple):
    """What is added to the law."""

    scale: float = 1.0
    offset_ms: float = 0.0
    host_us: float = 0.0
    at: np.ndarray = np.ones(1)  # running sequences of the points, increasing
    ratio: np.ndarray = np.ones(1)  # measured over fitted there

    def ratio_at(self, n: np.ndarray | float) -> np.ndarray:
        """The factor at a number of running sequences: between points by log n, beyond them the nearest."""
        return np.exp(np.interp(np.log(np.maximum(n, 1.0)), np.log(self.at), np.log(self.ratio)))


class Calibrated(NamedTuple):
    """A deployment's step time and how far it is off, in percent of median gap or mean step."""

    grid: Grid
    correction: Correction
    used: tuple[Point, ...]
    refused: tuple[str, ...]  # points left out, each with its reason
    law_error: float  # mean, of the law alone
    error: float  # mean, of the result on the points it was fitted to
    left_out: float  # mean, each point predicted from the others; NaN: too few
    largest_left_out: float


def calibrate_points(points: Points, law: PoolLaw, lengths: Lengths, today: str) -> Calibrated:
    """Fit the corrections to the points; raises InputError where too few are sound or the result is no step time."""
    states = [state_of(point, law, lengths) for point in points.points]
    reasons = [starved(state) for state in states]
    refused = tuple(f"{s.point.where}: {why}" for s, why in zip(states, reasons, strict=True) if why)
    sound = [state for state, why in zip(states, reasons, strict=True) if not why]
    groups = by_running(sound)
    if len(groups) < POINTS_MIN:
        found = f"{len(groups)} number{'s' if len(groups) != 1 else ''} of running sequences"
        raise InputError(
            [
                f"{points.source}: {found} in its sound points, at least {POINTS_MIN} different ones are needed; "
                "three, as 8, 64 and the most, are a good choice",
                *(f"{line}: left out" for line in refused),
            ]
        )
    _check_units(points.source, sound, law)
    correction = fit(sound)
    left_out = np.array([error for error, _ in left_out_errors(sound, groups)])
    if np.median(left_out) > USELESS:
        raise InputError(
            f"{points.source}: points predicted from the others are {np.median(left_out):.0f} % off in the median, more "
            f"than {USELESS:.0f} %: they are not of one deployment, or not in the units their columns name"
        )
    source = f"{points.source}: {len(sound)} points, {today}, on top of {law.label}"
    grid = to_grid(law, correction, source)
    return Calibrated(
        grid,
        correction,
        tuple(state.point for state in sound),
        refused,
        float(np.mean([abs(off(state, Correction())) for state in sound])),
        float(np.mean([abs(off(state, correction)) for state in sound])),
        float(left_out.mean()),
        float(left_out.max()),
    )


def _check_units(source: str, states: Sequence[State], law: PoolLaw) -> None:
    """Raise InputError where the law is so far off that the points are of another deployment or in other units."""
    times = float(np.median([1.0 / (1.0 + off(state, Correction()) / 100.0) for state in states]))
    if not 1.0 / ABSURD <= times <= ABSURD:
        raise InputError(
            f"{source}: the measured steps are {times:.3g} times the modelled ones of {law.label}: not this deployment, "
            "or not in the units that the columns name"
        )


# ---- fitting -------------------------------------------------------------------------------------


def by_running(states: Sequence[State]) -> list[list[int]]:
    """Groups of indices of states, a group for each number of running sequences (within SAME), rising."""
    groups: list[list[int]] = []
    for i in sorted(range(len(states)), key=lambda i: states[i].n):
        if groups and states[i].n <= SAME * states[groups[-1][0]].n:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def predicted(state: State, c: Correction) -> tuple[float, float]:
    """(median gap, mean step) in ms."""
    added = c.offset_ms + c.host_us * 1e-3 * state.n
    ratio = float(c.ratio_at(state.n))
    _, median, mean = (
        ratio * (c.scale * gpu + host + added) for gpu, host in zip(state.gpu_ms, state.fixed_ms, strict=True)
    )
    return median, mean


def off(state: State, c: Correction) -> float:
    """How far a corrected law is from a point's median gap, or where there is none its mean step, in percent."""
    median, mean = predicted(state, c)
    measured, said = (state.point.p50_ms, median) if state.point.p50_ms else (state.point.mean_ms, mean)
    assert measured is not None
    return 100.0 * (said / measured - 1.0)


def fit(states: Sequence[State]) -> Correction:
    """The corrections of the least error in logarithms; scale from five numbers of running sequences on."""
    from scipy.optimize import least_squares

    groups = by_running(states)
    with_scale = len(groups) >= POINTS_FOR_SCALE
    least = min(min(state.fixed_ms) / max(state.n, 1.0) for state in states)

    def unpacked(v: np.ndarray) -> Correction:
        return Correction(float(np.exp(v[2])) if with_scale else 1.0, float(v[0]), float(v[1]))

    def residuals(v: np.ndarray) -> np.ndarray:
        errors = []
        for state in states:
            said = predicted(state, unpacked(v))
            known = (state.point.p50_ms, state.point.mean_ms)
            errors += [np.log(max(s, 1e-3) / m) for s, m in zip(said, known, strict=True) if m]
        unusual = np.array([v[0] / OFFSET_SPREAD_MS, v[1] / HOST_SPREAD_US, *(v[2:] / SCALE_SPREAD)])
        return np.concatenate([errors, PRIOR_WEIGHT * unusual])

    size = 3 if with_scale else 2
    low, high = np.array([-10.0, -1e3 * least - 1e-9, -1.5])[:size], np.array([200.0, 2000.0, 1.5])[:size]
    found = least_squares(
        residuals, np.zeros(size), bounds=(low, high), x_scale=np.array([1.0, 10.0, 0.1])[:size]
    )
    rough = unpacked(found.x)
    ratios = [_ratio(states[i], rough) for i in range(len(states))]
    at = np.array([np.exp(np.mean([np.log(states[i].n) for i in group])) for group in groups])
    ratio = np.array([np.exp(np.mean([np.log(ratios[i]) for i in group])) for group in groups])
    return rough._replace(at=at, ratio=ratio)


def _ratio(state: State, c: Correction) -> float:
    """Measured over fitted, of the median gap where there is one."""
    return 1.0 / (1.0 + off(state, c) / 100.0)


def left_out_errors(states: Sequence[State], groups: list[list[int]]) -> list[tuple[float, float]]:
    """(percent off, of the law alone) of each state, predicted from those with other numbers of sequences."""
    errors = []
    for group in groups:
        rest = fit([states[i] for i in range(len(states)) if i not in group])
        errors += [(abs(off(states[i], rest)), abs(off(states[i], Correction()))) for i in group]
    return errors


# ---- the result ----------------------------------------------------------------------------------


def to_grid(law: PoolLaw, c: Correction, source: str) -> Grid:
    """The corrected law as a scenario's step time."""
    last = len(law.curve.base_s) - 1
    sizes = sorted({n for n in (*GRID_STEPS, *(round(n) for n in c.at), last) if 1 <= n <= last})
    n = np.array(sizes)
    host = law.host_ms[n]
    gpu = 1e3 * law.curve.base_s[n] - host
    ratio = c.ratio_at(n)
    base = ratio * (c.scale * gpu + host + c.offset_ms + c.host_us * 1e-3 * n)
    knots = np.array([t for t in PROMPT_STEPS if t <= 4 * law.max_num_batched_tokens] or [1])
    curve = law.curve
    work = 1e3 * work_s_at(curve, knots.astype(float))
    return Grid(
        batch_size=tuple(sizes),
        base_ms=tuple(float(b) for b in np.maximum.accumulate(np.maximum(base, 1e-3))),
        slope_ms=tuple(float(s) for s in ratio * c.scale * 1e3 * curve.slope_s[n]),
        p0_ms=max(0.0, float(c.scale * 1e3 * curve.base_s[0] + c.offset_ms)),
        p1_ms=0.0,
        p2_ms=float(c.scale * 1e3 * curve.attention_s_per_token2),
        prompt_tokens=tuple(int(t) for t in knots),
        prompt_ms=tuple(float(w) for w in c.scale * np.maximum.accumulate(work)),
        mixed_ms=float(1e3 * curve.mixed_s),
        source=source,
    )
