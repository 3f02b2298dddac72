"""Arrival times of one class: a unit-rate process, sent through the integral of the class's rate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError
from sim.scenario import arrivals as a
from sim.scenario.traffic import TrafficClass
from sim.workload.clients import client_times
from sim.workload.clock import clock_shape
from sim.workload.modulation import modulation_path, stationary_time
from sim.workload.rate import Rate, integral, multiply, scale, times_at
from sim.workload.renewal import gamma_times, poisson_times, weibull_shape, weibull_times
from sim.workload.streams import passing_generator

Floats = NDArray[np.float64]
REQUESTS_MAX = 200_000_000


def arrival_times_s(traffic: TrafficClass, end_s: float, seed: int) -> Floats:
    """Rising arrival times in [0, end_s); raise InputError when there would be more than REQUESTS_MAX."""
    shape = clock_shape(traffic, end_s)
    parts = [_times(process, shape, seed, name) for name, process in _components(traffic)]
    return parts[0] if len(parts) == 1 else np.sort(np.concatenate(parts))


def rate_path(traffic: TrafficClass, end_s: float, seed: int) -> list[Rate]:
    """The rate over time of each component of the arrivals, in requests per second, random factors in."""
    shape = clock_shape(traffic, end_s)
    return [_rate(p, shape, seed, name) for name, p in _components(traffic) if not isinstance(p, a.Batch)]


def _components(traffic: TrafficClass) -> list[tuple[str, a.Simple]]:
    """The processes that are laid over each other, each with the name its draws are keyed by."""
    whole = traffic.arrivals
    assert not isinstance(whole, a.Concurrency), "a closed loop has no times of its own"
    if not isinstance(whole, a.Superposition):
        return [(traffic.name, whole)]
    named = [(f"{traffic.name}/{i}", part) for i, part in enumerate(whole.components)]
    if whole.rate_per_s is None:
        return named
    factor = whole.rate_per_s / sum(_mean_rate(part) for _, part in named)
    return [(name, _scaled(part, factor)) for name, part in named]


def _mean_rate(process: a.Simple) -> float:
    """Requests per second in the long run, curves and spikes aside."""
    if isinstance(process, a.Batch):
        return 0.0
    if isinstance(process, a.Mmpp) and process.rate_per_s is None:
        return float(stationary_time(_chain(process)) @ np.asarray(process.rates))
    assert process.rate_per_s is not None
    return process.rate_per_s


def _scaled(process: a.Simple, factor: float) -> a.Simple:
    if isinstance(process, a.Batch):
        return process
    return replace(process, rate_per_s=_mean_rate(process) * factor)


def _chain(process: a.Mmpp | a.OnOff) -> a.Markov:
    """The Markov factor inside an MMPP or an ON-OFF process."""
    if isinstance(process, a.OnOff):
        return a.Markov(rates=(0.0, 1.0), sojourn_s=(process.off_s, process.on_s))
    return a.Markov(rates=process.rates, sojourn_s=process.sojourn_s, jumps=process.jumps)


def _rate(process: a.Simple, shape: Rate, seed: int, name: str) -> Rate:
    """The process's rate over time: mean · curves · spikes · one path of each random factor."""
    assert not isinstance(process, a.Batch)
    factors: list[a.Modulation] = list(process.modulations)
    if isinstance(process, a.Mmpp | a.OnOff):
        factors.insert(0, _chain(process))
    rate = scale(shape, _mean_rate(process))
    for i, factor in enumerate(factors):
        path = modulation_path(factor, float(shape.start_s[-1]), seed, f"{name}/{i}")
        rate = multiply(rate, path)
    return rate


def _times(process: a.Simple, shape: Rate, seed: int, name: str) -> Floats:
    if isinstance(process, a.Batch):
        return _batch_times(process, float(shape.start_s[-1]))
    rate = _rate(process, shape, seed, name)
    cumulated = integral(rate)
    expected = float(cumulated[-1])
    if expected > REQUESTS_MAX:
        raise InputError(
            f"traffic {name!r}: arrivals would make about {expected:.3g} requests;"
            f" allowed: at most {REQUESTS_MAX:,}"
        )
    if expected <= 0:
        return np.empty(0)
    return times_at(rate, _unit_times(process, rate, expected, seed, name), cumulated)


def _unit_times(process: a.Simple, rate: Rate, end: float, seed: int, name: str) -> Floats:
    """Events in [0, end) of the process with its rate taken out."""
    rng = passing_generator(seed, "arrivals", name)
    if isinstance(process, a.Poisson | a.Mmpp | a.OnOff):
        return poisson_times(end, rng, alone=True)
    if isinstance(process, a.GammaRenewal):
        return gamma_times(process.shape or (process.cv or 1.0) ** -2, end, rng, alone=True)
    if isinstance(process, a.WeibullRenewal):
        return weibull_times(process.shape or weibull_shape(process.cv or 1.0), end, rng, alone=True)
    if isinstance(process, a.Clients):
        return client_times(process, rate, seed, name)
    raise TypeError(f"no arrivals for {type(process).__name__}")


def _batch_times(batch: a.Batch, end_s: float) -> Floats:
    if batch.every_s is None:
        at_s = np.array([batch.at_s])
    else:
        at_s = np.arange(batch.at_s, end_s, batch.every_s)
    return np.repeat(at_s[at_s < end_s], batch.requests)
