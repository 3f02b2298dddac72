"""The closed forms against textbook values, against each other, and the plain model against them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from . import closed_forms as theory
from .naive import simulate

REPLICATIONS = 24
CUSTOMERS = 1500
WARMUP = 300


def test_mm1_of_the_textbooks() -> None:
    # λ = 1/2, μ = 1: Wq = ρ/(μ-λ) = 1, W = 2, L = 1; median of W = 2 ln 2; half do not wait
    assert theory.mm1_wait(0.5, 1.0) == pytest.approx(1.0)
    assert theory.mm1_sojourn(0.5, 1.0) == pytest.approx(2.0)
    assert theory.little_number(0.5, theory.mm1_sojourn(0.5, 1.0)) == pytest.approx(1.0)
    assert theory.mm1_sojourn_quantile(0.5, 1.0, 0.5) == pytest.approx(2 * math.log(2))
    assert theory.mm1_wait_quantile(0.5, 1.0, 0.5) == 0.0
    assert theory.mm1_wait_quantile(0.5, 1.0, 0.75) == pytest.approx(2 * math.log(2))


def test_md1_and_mg1() -> None:
    # λ = 3/4, service 1: M/D/1 3/2, M/M/1 3; a service of 1 ± 1/2 (two points) has scv 1/4: 3 * 5/8
    assert theory.md1_wait(0.75, 1.0) == pytest.approx(1.5)
    assert theory.mm1_wait(0.75, 1.0) == pytest.approx(3.0)
    assert theory.mg1_wait(0.75, 1.0, 0.25) == pytest.approx(1.875)


@pytest.mark.parametrize(
    ("servers", "load", "share"),
    # Gross & Harris, M/M/c: c = 1 is ρ; (2, 1) 1/3; (3, 2) 4/9; the rest from tables of C
    [(1, 0.7, 0.7), (2, 1.0, 1 / 3), (3, 2.0, 4 / 9), (5, 4.0, 0.55411), (10, 8.0, 0.40918)],
)
def test_erlang_c(servers: int, load: float, share: float) -> None:
    assert theory.erlang_c(servers, load) == pytest.approx(share, abs=1e-5)


@pytest.mark.parametrize(("servers", "load", "share"), [(1, 1.0, 0.5), (2, 1.0, 0.2), (5, 3.0, 0.11005)])
def test_erlang_b(servers: int, load: float, share: float) -> None:
    assert theory.erlang_b(servers, load) == pytest.approx(share, abs=1e-5)


def test_erlang_forms_equal_the_sums_they_come_from() -> None:
    terms = [9.0**k / math.factorial(k) for k in range(13)]
    tail = terms[12] * 12 / (12 - 9)
    assert theory.erlang_b(12, 9.0) == pytest.approx(terms[12] / sum(terms))
    assert theory.erlang_c(12, 9.0) == pytest.approx(tail / (sum(terms[:12]) + tail))


def test_the_clinic_of_gross_and_harris() -> None:
    # 6 an hour, 3 served an hour by each of 3: Lq = 8/9, Wq = 8/54 h
    assert theory.mmc_wait(6.0, 1 / 3, 3) == pytest.approx(8 / 54)
    assert theory.little_number(6.0, theory.mmc_wait(6.0, 1 / 3, 3)) == pytest.approx(8 / 9)


def test_mmc_quantile_is_the_inverse_of_the_tail() -> None:
    at = theory.mmc_wait_quantile(6.0, 1 / 3, 3, 0.9)
    assert 4 / 9 * math.exp(-(9 - 6) * at) == pytest.approx(0.1)
    assert theory.mmc_wait_quantile(6.0, 1 / 3, 3, 0.5) == 0.0


def test_priority_waits_keep_the_work() -> None:
    # exponential, μ = 1, λ = 1/4 and 1/2: R = 3/4; 3/4 / (3/4) = 1; 3/4 / (3/4 * 1/4) = 4
    waits = theory.priority_waits([0.25, 0.5], [1.0, 1.0], [1.0, 1.0])
    assert waits == pytest.approx([1.0, 4.0])
    # conservation: Σ ρ W is what it is without priorities
    assert 0.25 * waits[0] + 0.5 * waits[1] == pytest.approx(0.75 * theory.mm1_wait(0.75, 1.0))


@pytest.mark.parametrize("rate", [1.0, 1.5, -0.1])
def test_an_unstable_queue_has_no_mean(rate: float) -> None:
    with pytest.raises(ValueError, match="utilisation"):
        theory.mm1_wait(rate, 1.0)


def test_intervals() -> None:
    # 1, 2, 3: mean 2, s = 1, t(0.975, 2) = 4.302653
    interval = theory.replication_interval([1.0, 2.0, 3.0])
    assert interval.mean == 2.0
    assert interval.half_width == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert interval.holds(4.0)
    assert not interval.holds(4.6)
    # 7 values in 3 batches of 2: the first is cut; batch means 1, 2, 3
    assert theory.batch_interval([99, 0, 2, 1, 3, 2, 4], batches=3) == interval
    with pytest.raises(ValueError, match="two"):
        theory.replication_interval([1.0])
    with pytest.raises(ValueError, match="batches"):
        theory.batch_interval([1.0], batches=2)


def waits(seed: int, rates: list[float], deterministic: bool = False, seats: int = 1) -> list[float]:
    """Mean wait of each class, in mean services, of one replica that serves whole prompts of 10 000 tokens on
    average, one ps a token, the lower class first."""
    rng = np.random.default_rng(seed)
    arrivals = rng.exponential(10_000 / sum(rates), CUSTOMERS).cumsum().astype(int)
    classes = rng.choice(len(rates), CUSTOMERS, p=np.array(rates) / sum(rates))
    lengths = [9_999] * CUSTOMERS if deterministic else rng.exponential(10_000, CUSTOMERS).astype(int) + 1
    pool = {
        "ready_at": [0],
        "base_ps": [1, 1],
        "slope_ps": [0, 0],
        "prefill_ps_per_token": 1,
        "n_kv_blocks": 1,
        "block_size": 10**6,
        "max_num_seqs": 1,
        "max_num_batched_tokens": 10**6,
        "scheduling": "priority",
        "batching": "none",
    }
    requests = [(int(at), int(n), 1, int(c)) for at, n, c in zip(arrivals, lengths, classes, strict=True)]
    told = simulate(requests, [pool], [{"priority": number} for number in range(len(rates))], [{}], 10**18)
    wait = np.array([answer["scheduled_ps"] for answer in told]) - arrivals
    return [float(wait[WARMUP:][classes[WARMUP:] == number].mean()) / 10_000 for number in range(len(rates))]


@pytest.mark.parametrize("deterministic", [True, False])
def test_the_plain_model_waits_as_theory_says(deterministic: bool) -> None:
    means = [waits(seed, [0.5], deterministic)[0] for seed in range(REPLICATIONS)]
    expected = theory.mg1_wait(0.5, 1.0, 0.0 if deterministic else 1.0)
    interval = theory.replication_interval(means, confidence=0.999)
    assert interval.holds(expected)
    assert interval.half_width < 0.25 * expected


def test_the_plain_model_serves_priorities_as_theory_says() -> None:
    means = np.array([waits(seed, [0.25, 0.4]) for seed in range(REPLICATIONS)])  # (replications, classes)
    for number, expected in enumerate(theory.priority_waits([0.25, 0.4], [1.0, 1.0], [1.0, 1.0])):
        interval = theory.replication_interval(means[:, number], confidence=0.999)
        assert interval.holds(expected)
        assert interval.half_width < 0.35 * expected


@pytest.mark.parametrize("servers", [1, 2, 3])
def test_servers_that_break_down(servers: int) -> None:
    """With nothing to tell up from down it is M/M/c; a single server is one in an environment of two states."""
    rate, mean = 0.7 * servers, 1.0
    alike = theory.breakdown_mmc_wait(rate, servers, (1 / mean, 1 / mean), (0.3, 0.9))
    assert alike == pytest.approx(theory.mmc_wait(rate, mean, servers), rel=1e-6)
    if servers == 1:
        one = theory.breakdown_mmc_wait(0.4, 1, (1.0, 0.3), (0.1, 0.25))
        assert one == pytest.approx(theory.modulated_mm1_wait(0.4, (1.0, 0.3), (0.1, 0.25)), rel=1e-6)
