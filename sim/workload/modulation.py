"""Random factors on a rate: step functions of time with long-run mean one."""

from __future__ import annotations

import functools
from bisect import bisect_right
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError
from sim.scenario.arrivals import Drift, Markov, Modulation
from sim.workload.rate import Rate, steps
from sim.workload.streams import passing_generator

Floats = NDArray[np.float64]
Generator = np.random.Generator
N_STEP_MAX = 20_000_000
CHUNK_MIN, CHUNK_MAX = 64, 65_536


def modulation_path(modulation: Modulation, end_s: float, seed: int, name: str) -> Rate:
    """One path on [0, end_s]; a longer horizon only adds to it. Raise InputError on too many steps."""
    if isinstance(modulation, Markov):
        stays, choices = (
            passing_generator(seed, stream, name) for stream in ("markov_stay", "markov_choice")
        )
        return markov_path(modulation, end_s, stays, choices)
    if isinstance(modulation, Drift):
        return drift_path(modulation, end_s, passing_generator(seed, "drift", name))
    raise TypeError(f"no path for {type(modulation).__name__}")


@functools.lru_cache  # the same for all seeds of a sweep
def stationary_time(chain: Markov) -> Floats:
    """(state,) the long-run share of time in each state; read only."""
    jumps = jump_matrix(chain)
    n_state = len(jumps)
    equations = np.vstack([jumps.T - np.eye(n_state), np.ones(n_state)])
    visits = np.linalg.lstsq(equations, np.append(np.zeros(n_state), 1.0), rcond=None)[0]
    time = np.maximum(visits, 0.0) * np.asarray(chain.sojourn_s)
    time /= time.sum()
    time.flags.writeable = False
    return time


def jump_matrix(chain: Markov) -> Floats:
    """(state, state) probabilities of the next state; a ring when the chain does not say."""
    if chain.jumps is None:
        return np.roll(np.eye(len(chain.rates)), 1, axis=1)
    jumps = np.asarray(chain.jumps, dtype=np.float64)
    return jumps / jumps.sum(axis=1, keepdims=True)


class _Constants(NamedTuple):
    """What is the same for all paths of a chain; read only."""

    cumulated: Floats  # (state,) long-run shares of time
    rates: Floats  # (state,) scaled to a mean of one
    sojourn_s: Floats
    mean_stay_s: float


@functools.lru_cache
def _constants(chain: Markov) -> _Constants:
    share = stationary_time(chain)
    rates = np.asarray(chain.rates) / float(share @ np.asarray(chain.rates))
    sojourn_s = np.asarray(chain.sojourn_s)
    return _Constants(np.cumsum(share), rates, sojourn_s, float(1.0 / (share / sojourn_s).sum()))


def markov_path(chain: Markov, end_s: float, stays: Generator, choices: Generator) -> Rate:
    """The chain's relative rates over time, started from its long-run shares and scaled to mean one."""
    cumulated, rates, sojourn_s, mean_stay_s = _constants(chain)
    _check_steps(end_s / mean_stay_s)
    state = int(np.searchsorted(cumulated, choices.random(), side="right"))
    state = min(state, len(rates) - 1)
    clock, size = 0.0, CHUNK_MIN
    starts, states = [np.zeros(1)], []
    while clock < end_s:
        visited, state = _visit(chain, state, size, choices)
        ends = clock + np.cumsum(sojourn_s[visited] * stays.standard_exponential(size))
        starts.append(ends)
        states.append(visited)
        clock = float(ends[-1])
        size = min(2 * size, CHUNK_MAX)
    return _cut(np.concatenate(starts), rates[np.concatenate(states)], end_s)


def _visit(chain: Markov, state: int, n: int, rng: Generator) -> tuple[NDArray[np.intp], int]:
    """The next `n` states from `state` on (it is the first of them), and the one after."""
    n_state = len(chain.rates)
    if chain.jumps is None:
        visited = (state + np.arange(n)) % n_state
        return visited, (state + n) % n_state
    cumulated = [list(row) for row in np.cumsum(jump_matrix(chain), axis=1)]
    visited = np.empty(n, dtype=np.intp)
    for i, u in enumerate(rng.random(n)):
        visited[i] = state
        state = min(bisect_right(cumulated[state], u), n_state - 1)
    return visited, state


def drift_path(drift: Drift, end_s: float, rng: Generator) -> Rate:
    """exp of a stationary AR(1) of standard deviation `log_sigma`, scaled to mean one."""
    _check_steps(end_s / drift.window_s)
    n = int(np.ceil(end_s / drift.window_s))
    noise = rng.standard_normal(n)
    noise[1:] *= np.sqrt(1.0 - drift.correlation**2)
    level = np.empty(n)
    last = 0.0
    for i in range(n):
        last = drift.correlation * last + noise[i]
        level[i] = last
    values = np.exp(drift.log_sigma * level - 0.5 * drift.log_sigma**2)
    starts = np.arange(n + 1, dtype=np.float64) * drift.window_s
    return _cut(starts, values, end_s)


def _cut(starts: Floats, values: Floats, end_s: float) -> Rate:
    """Steps that stop exactly at `end_s`; steps of no length are left out."""
    n = int(np.searchsorted(starts, end_s, side="left"))
    starts, values = np.append(starts[:n], end_s), values[:n]
    kept = starts[1:] > starts[:-1]
    if kept.all():
        return steps(starts, values)
    return steps(np.append(starts[:-1][kept], end_s), values[kept])


def _check_steps(n_step: float) -> None:
    if n_step > N_STEP_MAX:
        raise InputError(
            f"arrivals: a modulation would change its state {n_step:.3g} times in this run; allowed: at most"
            f" {N_STEP_MAX:,}; lengthen sojourn_s or window_s"
        )
