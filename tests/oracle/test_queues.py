"""The product is M/M/1, M/M/c, M/D/1 and M/G/1 when it is set up as one, up to 95 % load.

Each queue twice: every single wait against the queue's own recursion, and the mean against the formula within the
99.9 % confidence interval of independent replications, which must itself be narrow for the comparison to mean much.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from sim.analysis.percentiles import quantile_ps
from sim.engine.result import RESULT_METRICS
from sim.model.base.histogram import bucket_edges_ps

from . import closed_forms as theory
from .queues import (
    MEAN_S,
    MEAN_TOKENS,
    STEP_PS,
    TWO_PHASE_SCV,
    Served,
    exponential_tokens,
    geometric_tokens,
    poisson_ps,
    serve_at_seats,
    serve_one_by_one,
    two_phase_tokens,
    waits_at_seats,
    waits_one_by_one,
)

CONFIDENCE = 0.999  # one formula in twenty files of this size would miss by chance
REPLICATIONS = 20
LOADS = (0.5, 0.8, 0.95)
MORE_LOADS = (0.1, 0.3, 0.6, 0.7, 0.85, 0.9, 0.93)
#: Requests of a replication, and how many of the first are left out: an M/M/1 forgets that it began empty after about
#: 1 / (1 − √ρ)² services.
SIZES = {0.95: (450_000, 30_000), 0.93: (300_000, 30_000), 0.9: (200_000, 20_000)}
SIZE = (80_000, 8_000)

Tokens = Callable[[np.random.Generator, int], np.ndarray]


def constant_tokens(_: np.random.Generator, n: int) -> np.ndarray:
    return np.full(n, MEAN_TOKENS)


ONE_SERVER: dict[str, tuple[Tokens, float]] = {
    "M/M/1": (exponential_tokens, 1.0),
    "M/D/1": (constant_tokens, 0.0),
    "M/G/1": (two_phase_tokens, TWO_PHASE_SCV),
}


def replications(load: float, servers: int, tokens: Tokens) -> list[Served]:
    """Independent runs of a queue at a load."""
    n = SIZES.get(load, SIZE)[0]
    runs = []
    for replication in range(REPLICATIONS):
        rng = np.random.default_rng([replication, round(load * 100), servers])
        arrival_ps = poisson_ps(rng, load * servers / MEAN_S, n)
        drawn = tokens(rng, n)
        runs.append(
            serve_one_by_one(arrival_ps, drawn)
            if servers == 1
            else serve_at_seats(arrival_ps, drawn, servers)
        )
    return runs


def assert_mean_wait(
    runs: list[Served], load: float, expected_s: float, error_s: float = 0.0, width: float = 0.1
) -> None:
    """The expected mean wait lies in the interval of the runs' means, widened by a known error; the interval is narrow."""
    first = SIZES.get(load, SIZE)[1]
    found = theory.replication_interval([run.wait_s[first:].mean() for run in runs], CONFIDENCE)
    assert found.half_width < width * expected_s + 1e-4 * MEAN_S, (
        f"too wide to tell: {found} for {expected_s}"
    )
    assert abs(found.mean - expected_s) <= found.half_width + error_s, f"{found}, expected {expected_s}"


# ---- one server ----------------------------------------------------------------------------------------------------
def check_one_server(name: str, load: float) -> None:
    tokens, scv = ONE_SERVER[name]
    runs = replications(load, 1, tokens)
    for run in runs:
        assert np.array_equal(run.wait_ps, waits_one_by_one(run.arrival_ps, run.service_ps))
    assert_mean_wait(runs, load, theory.mg1_wait(load / MEAN_S, MEAN_S, scv), width=0.2 if scv > 1 else 0.08)


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("name", ONE_SERVER)
def test_one_server(name: str, load: float) -> None:
    check_one_server(name, load)


@pytest.mark.slow
@pytest.mark.parametrize("load", MORE_LOADS)
@pytest.mark.parametrize("name", ONE_SERVER)
def test_one_server_at_more_loads(name: str, load: float) -> None:
    check_one_server(name, load)


def test_formulas_of_single_servers_agree() -> None:
    assert theory.mm1_wait(8, 0.1) == theory.mg1_wait(8, 0.1, 1.0)
    assert theory.md1_wait(8, 0.1) == theory.mg1_wait(8, 0.1, 0.0)


@pytest.mark.parametrize("load", [0.5, 0.9])
def test_sojourn_quantiles_of_a_single_server(load: float) -> None:
    """From the product's histograms: within the interval, and a bucket's 1 %."""
    permilles, edges_ps = (500, 900, 950, 990), bucket_edges_ps()
    shares = [permille / 1000 for permille in permilles]
    found = []
    for run in replications(load, 1, exponential_tokens):
        row = run.result.hist[0, RESULT_METRICS.index("e2e")]
        found.append([(quantile_ps(row, edges_ps, permille) or 0.0) / 1e12 for permille in permilles])
        exact_s = np.quantile(run.wait_s + run.service_ps / 1e12, shares, method="inverted_cdf")
        assert np.allclose(found[-1], exact_s, rtol=0.01)
    for share, column in zip(shares, np.array(found).T, strict=True):
        expected_s = theory.mm1_sojourn_quantile(load / MEAN_S, MEAN_S, share)
        seen = theory.replication_interval(column, CONFIDENCE)
        assert abs(seen.mean - expected_s) <= seen.half_width + 0.01 * expected_s, (share, seen, expected_s)
        assert seen.half_width < 0.1 * expected_s


# ---- several servers -----------------------------------------------------------------------------------------------
def check_seats(seats: int, load: float) -> None:
    runs = replications(load, seats, geometric_tokens)
    for run in runs[:3]:
        late_ps = run.wait_ps - waits_at_seats(run.arrival_ps, run.service_ps, seats)
        assert 0 <= late_ps.min() <= late_ps.max() < STEP_PS
    expected_s = theory.mmc_wait(load * seats / MEAN_S, MEAN_S, seats)
    # put off by less than a step; geometric service varies less than exponential by 1/MEAN_TOKENS
    error_s = STEP_PS / 1e12 + expected_s / MEAN_TOKENS
    assert_mean_wait(runs, load, expected_s, error_s, width=0.1)


@pytest.mark.parametrize(("seats", "load"), [(2, 0.8), (4, 0.95), (16, 0.8)])
def test_seats_of_a_batch_are_servers_of_one_queue(seats: int, load: float) -> None:
    check_seats(seats, load)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seats", "load"), [*product((2, 3, 8), (0.6, 0.7, 0.85, 0.9, 0.95)), (16, 0.9), (16, 0.95), (64, 0.95)]
)
def test_seats_of_a_batch_are_servers_of_one_queue_at_more_loads(seats: int, load: float) -> None:
    check_seats(seats, load)


# ---- priorities ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("load", [0.8, 0.95])
def test_priorities_that_do_not_interrupt(load: float) -> None:
    """Cobham's waits of three classes, the most urgent first."""
    n, first = SIZES.get(load, SIZE)
    rates = [share * load / MEAN_S for share in (0.2, 0.3, 0.5)]
    means: list[list[float]] = [[], [], []]
    for replication in range(REPLICATIONS):
        rng = np.random.default_rng([replication, 7])
        klass = rng.choice(3, n, p=[0.2, 0.3, 0.5])
        run = serve_one_by_one(poisson_ps(rng, sum(rates), n), exponential_tokens(rng, n), klass, 3)
        for k in range(3):
            means[k].append(float(run.wait_s[first:][klass[first:] == k].mean()))
    for found, expected_s in zip(means, theory.priority_waits(rates, [MEAN_S] * 3, [1.0] * 3), strict=True):
        interval = theory.replication_interval(found, CONFIDENCE)
        assert interval.holds(expected_s), (interval, expected_s)
        assert interval.half_width < 0.12 * expected_s
