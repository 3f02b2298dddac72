"""What queueing theory says a queue must do, and how far a simulated mean may lie from it.

Rates are per unit of time and times in that unit, whichever it is: λ `arrival_rate`, 1/μ `mean_service`.
Every queue is open, unlimited, first come first served unless it says otherwise, and stable: ρ < 1 or
ValueError. Sources: Gross, Shortle, Thompson, Harris, Fundamentals of Queueing Theory, 4th ed. (ch. 2,
3.2, 5.1); Cobham 1954; Law, Simulation Modeling, ch. 9.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


def utilisation(arrival_rate: float, mean_service: float, servers: int = 1) -> float:
    """ρ = λ / (c μ); ValueError if the queue is not stable."""
    rho = arrival_rate * mean_service / servers
    if not 0 <= rho < 1:
        raise ValueError(f"utilisation {rho} is not in [0, 1)")
    return rho


def little_number(arrival_rate: float, mean_time: float) -> float:
    """L = λ W: how many are there on average, if each stays `mean_time`."""
    return arrival_rate * mean_time


def mg1_wait(arrival_rate: float, mean_service: float, scv: float) -> float:
    """Mean wait in M/G/1 (Pollaczek-Khinchine); `scv`: the service time's variance over its squared mean."""
    rho = utilisation(arrival_rate, mean_service)
    return rho / (1 - rho) * (1 + scv) / 2 * mean_service


def mm1_wait(arrival_rate: float, mean_service: float) -> float:
    """Mean wait in M/M/1: ρ / (μ - λ)."""
    return mg1_wait(arrival_rate, mean_service, 1.0)


def md1_wait(arrival_rate: float, mean_service: float) -> float:
    """Mean wait in M/D/1, half of that in M/M/1."""
    return mg1_wait(arrival_rate, mean_service, 0.0)


def mm1_sojourn(arrival_rate: float, mean_service: float) -> float:
    """Mean time in an M/M/1, waiting and served: 1 / (μ - λ)."""
    return mean_service / (1 - utilisation(arrival_rate, mean_service))


def mm1_sojourn_quantile(arrival_rate: float, mean_service: float, share: float) -> float:
    """The time in an M/M/1 that `share` (0 to 1) of the customers stay below; it is exponential."""
    return -math.log1p(-share) * mm1_sojourn(arrival_rate, mean_service)


def mm1_wait_quantile(arrival_rate: float, mean_service: float, share: float) -> float:
    """The wait in an M/M/1 that `share` (0 to 1) stay at or below: 0 for the 1 - ρ who do not wait."""
    return mmc_wait_quantile(arrival_rate, mean_service, 1, share)


def erlang_b(servers: int, load: float) -> float:
    """The share lost in M/G/c/c with `load` = λ / μ erlangs (a recursion that cannot overflow)."""
    lost = 1.0
    for count in range(1, servers + 1):
        lost = load * lost / (count + load * lost)
    return lost


def erlang_c(servers: int, load: float) -> float:
    """The share that has to wait in M/M/c with `load` = λ / μ erlangs."""
    rho = utilisation(load, 1.0, servers)
    lost = erlang_b(servers, load)
    return lost / (1 - rho * (1 - lost))


def mmc_wait(arrival_rate: float, mean_service: float, servers: int) -> float:
    """Mean wait in M/M/c: C(c, λ/μ) / (c μ - λ)."""
    waiting = erlang_c(servers, arrival_rate * mean_service)
    return waiting / (servers / mean_service - arrival_rate)


def mmc_wait_quantile(arrival_rate: float, mean_service: float, servers: int, share: float) -> float:
    """The wait in M/M/c that `share` (0 to 1) stay at or below: P(wait > t) = C e^-(cμ-λ)t."""
    waiting = erlang_c(servers, arrival_rate * mean_service)
    if share <= 1 - waiting:
        return 0.0
    return math.log(waiting / (1 - share)) / (servers / mean_service - arrival_rate)


def priority_waits(
    arrival_rates: Sequence[float], mean_services: Sequence[float], scvs: Sequence[float]
) -> list[float]:
    """Mean wait of each class in M/G/1 whose priorities do not interrupt, most urgent first (Cobham)."""
    classes = list(zip(arrival_rates, mean_services, scvs, strict=True))
    residual = sum(rate * mean**2 * (1 + scv) / 2 for rate, mean, scv in classes)
    loads = np.cumsum([0.0] + [rate * mean for rate, mean, _ in classes])
    utilisation(float(loads[-1]), 1.0)
    return [float(residual / (1 - before) / (1 - upto)) for before, upto in pairwise(loads)]


class Interval(NamedTuple):
    """A confidence interval of a mean."""

    mean: float
    half_width: float

    def holds(self, value: float) -> bool:
        """Whether `value` lies inside."""
        return abs(value - self.mean) <= self.half_width


def replication_interval(means: ArrayLike, confidence: float = 0.95) -> Interval:
    """Student's interval from the means of independent replications; ValueError for fewer than two."""
    from scipy import stats

    values = np.asarray(means, dtype=float)  # (replications,)
    if values.size < 2:
        raise ValueError("an interval needs two replications or more")
    quantile = stats.t.ppf((1 + confidence) / 2, values.size - 1)
    return Interval(float(values.mean()), float(quantile * values.std(ddof=1) / math.sqrt(values.size)))


def batch_interval(series: ArrayLike, batches: int = 20, confidence: float = 0.95) -> Interval:
    """The interval of one long, correlated series from equal batches' means; the rest is cut in front."""
    values = np.asarray(series, dtype=float)  # (observations,)
    size = values.size // batches
    if size < 1:
        raise ValueError(f"{values.size} observations do not make {batches} batches")
    kept = values[values.size - size * batches :].reshape(batches, size)
    return replication_interval(kept.mean(axis=1), confidence)


def closed_throughput(clients: int, mean_service: float, mean_think: float) -> float:
    """Answers per unit of time of one exponential server and `clients` that think between an answer and the next
    request (M/M/1//N, the machine repairman): exact mean value analysis, Reiser and Lavenberg 1980.
    """
    waiting = rate = 0.0
    for n in range(1, clients + 1):
        rate = n / (mean_service * (1 + waiting) + mean_think)
        waiting = rate * mean_service * (1 + waiting)
    return rate


def modulated_mm1_wait(rate: float, speeds: tuple[float, float], leaves: tuple[float, float]) -> float:
    """Mean wait in an M/M/1 whose service rate depends on the state of a two-state Markov chain.

    `speeds` are the service rates in either state, `leaves` the rates at which the chain leaves them. Matrix-geometric
    solution of the quasi-birth-death process (Neuts 1981): π_k = π_0 R^k, R the least solution of A_0 + R A_1 + R² A_2 = 0.
    """
    chain = np.array([[-leaves[0], leaves[0]], [leaves[1], -leaves[1]]])
    up, down, one = rate * np.eye(2), np.diag(speeds), np.eye(2)
    stay = chain - up - down
    ratio = np.zeros((2, 2))
    for _ in range(100_000):
        better = -(up + ratio @ ratio @ down) @ np.linalg.inv(stay)
        if np.allclose(better, ratio, rtol=0, atol=1e-15):
            break
        ratio = better
    inverse = np.linalg.inv(one - ratio)
    boundary = chain - up + ratio @ down
    system = np.vstack([boundary.T, inverse.sum(axis=1)])
    empty = np.linalg.lstsq(system, np.array([0.0, 0.0, 1.0]), rcond=None)[0]
    inside = float(empty @ ratio @ inverse @ inverse @ np.ones(2))
    waiting = inside - (1 - float(empty.sum()))
    return waiting / rate


def breakdown_mmc_wait(
    rate: float, servers: int, speeds: tuple[float, float], leaves: tuple[float, float]
) -> float:
    """Mean wait in an M/M/c whose servers break down and are repaired, each by itself, busy or idle.

    A server works at `speeds[0]` while it is up and at `speeds[1]` while it is down, and leaves these states at the rates
    `leaves`; nobody changes servers. Who finds several idle takes the first of them behind a server that is drawn at random
    (that one included), round and round. The waiting line has the matrix-geometric solution of a quasi-birth-death process,
    π_q = π_0 R^q; the states with an idle server, its boundary, and π_0 are one linear system.
    """
    free, full = [], []
    for state in product((0, 1), repeat=2 * servers):
        (full if all(state[servers:]) else free).append(state)  # down of each, then busy of each
    every = {state: i for i, state in enumerate([*free, *full])}
    inside, n_free = np.zeros((len(every), len(every))), len(free)
    ends = np.zeros((len(full), len(full)))  # an answer ends and the next in line begins
    for state, i in every.items():
        down, busy = state[:servers], state[servers:]
        for k in range(servers):
            turned = (*down[:k], 1 - down[k], *down[k + 1 :], *busy)
            inside[i, every[turned]] += leaves[down[k]]
            if busy[k]:
                inside[i, every[(*down, *busy[:k], 0, *busy[k + 1 :])]] += speeds[down[k]]
                if i >= n_free:
                    ends[i - n_free, i - n_free] += speeds[down[k]]
            if i < n_free:
                idle = next(j % servers for j in range(k, k + servers) if not busy[j % servers])
                inside[i, every[(*down, *busy[:idle], 1, *busy[idle + 1 :])]] += rate / servers
    local = inside[n_free:, n_free:]
    stay = local - np.diag(local.sum(axis=1) + ends.sum(axis=1) + rate)
    up, one = rate * np.eye(len(full)), np.eye(len(full))
    ratio = np.zeros_like(ends)
    for _ in range(100_000):
        better = -(up + ratio @ ratio @ ends) @ np.linalg.inv(stay)
        if np.allclose(better, ratio, rtol=0, atol=1e-15):
            break
        ratio = better
    inverse = np.linalg.inv(one - ratio)
    whole = inside - np.diag(inside.sum(axis=1))
    whole[n_free:, n_free:] += ratio @ ends - up
    weights = np.concatenate([np.ones(n_free), inverse.sum(axis=1)])
    found = np.linalg.lstsq(np.vstack([whole.T, weights]), np.append(np.zeros(len(every)), 1.0), rcond=None)[
        0
    ]
    return float(found[n_free:] @ ratio @ inverse @ inverse @ np.ones(len(full))) / rate
