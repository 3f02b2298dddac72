"""Many clients of unequal size, each a renewal process whose burstiness is redrawn window by window."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError
from sim.scenario.arrivals import Clients
from sim.workload.dists import quantile_table, sample
from sim.workload.lengths import correlated
from sim.workload.rate import Rate, integral_at
from sim.workload.renewal import gamma_times, weibull_shape, weibull_times
from sim.workload.streams import generator

Floats = NDArray[np.float64]
N_CLIENT_WINDOW_MAX = 5_000_000
CV_MIN, CV_MAX = 0.02, 100.0


def client_shares(clients: Clients) -> Floats:
    """(client,) shares of the whole rate, smallest first; they sum to one."""
    rates = np.maximum(quantile_table(clients.client_rate, clients.n_clients), 0.0)
    if rates.sum() <= 0:
        raise InputError("arrivals.client_rate: every client has rate 0; allowed: at least one above 0")
    return rates / rates.sum()


def client_cvs(clients: Clients, rng: np.random.Generator) -> Floats:
    """(client,) one window's coefficients of variation; bigger clients higher ones if correlated so."""
    n = clients.n_clients
    u = rng.random(n)
    if clients.cv_rate_spearman:
        u = correlated((np.arange(n) + 0.5) / n, u, clients.cv_rate_spearman)
    return np.clip(sample(clients.cv, u), CV_MIN, CV_MAX)


def client_times(clients: Clients, rate: Rate, seed: int, name: str) -> Floats:
    """Rising event times on the scale where the whole rate is one, from 0 to the integral of `rate`."""
    shares = client_shares(clients)
    windows = _window_areas(rate, clients.window_s, clients.n_clients)
    rng = generator(seed, "clients", name)
    parts: list[Floats] = []
    for w, (begin, end) in enumerate(pairwise(windows)):
        cvs = client_cvs(clients, rng)
        is_weibull = rng.random(clients.n_clients) < clients.weibull_share
        draws = generator(seed, f"arrivals/{w}", name)
        for share, cv, weibull in zip(shares, cvs, is_weibull, strict=True):
            if share > 0:
                parts.append(begin + _one_client(cv, weibull, share * (end - begin), draws) / share)
    return np.sort(np.concatenate(parts)) if parts else np.empty(0)


def _one_client(cv: float, is_weibull: bool, end: float, rng: np.random.Generator) -> Floats:
    if is_weibull:
        return weibull_times(weibull_shape(cv), end, rng)
    return gamma_times(cv**-2, end, rng)


def _window_areas(rate: Rate, window_s: float, n_clients: int) -> Floats:
    """The integral of the rate at every window's border."""
    end_s = float(rate.start_s[-1])
    n_window = int(np.ceil(end_s / window_s))
    if n_window * n_clients > N_CLIENT_WINDOW_MAX:
        raise InputError(
            f"arrivals: {n_clients} clients in {n_window} windows are too many; allowed: clients · windows"
            f" up to {N_CLIENT_WINDOW_MAX:,}; lengthen window_s"
        )
    return integral_at(rate, np.minimum(np.arange(n_window + 1) * window_s, end_s))
