"""Shares over seeds: intervals that hold near 0 and 1, whoever is held against whom, promises kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta

from sim.analysis.replicate import difference, estimate, replicate
from sim.report.sweep_terminal import _cells, limits_line
from sim.scenario.compose import load_scenario
from sim.scenario.resolved import plain, traffic_key
from sim.statistics import shares
from sim.statistics.shares import share_interval

Draw = Callable[[np.random.Generator, int], np.ndarray]
#: how the share of a seed is distributed, and its mean
POPULATIONS: dict[str, tuple[Draw, float]] = {
    "rare misses": (lambda rng, n: rng.binomial(2000, 0.9999, n) / 2000, 0.9999),
    "one seed in fifty is bad": (lambda rng, n: np.where(rng.random(n) < 0.02, 0.7, 1.0), 0.994),
    "one seed in ten is anything": (lambda rng, n: np.where(rng.random(n) < 0.1, rng.random(n), 1.0), 0.95),
    "all or nothing": (lambda rng, n: (rng.random(n) < 0.8) * 1.0, 0.8),
    "few are served": (lambda rng, n: rng.beta(0.2, 9.8, n), 0.02),
    "somewhere": (lambda rng, n: rng.beta(41.5, 8.5, n), 0.83),
}


def coverage(draw: Draw, mean: float, n_seed: int, n_repeat: int) -> float:
    """How often the interval of so many seeds covers the mean."""
    rng = np.random.default_rng(n_seed)
    ends = [share_interval(draw(rng, n_seed).tolist()) for _ in range(n_repeat)]
    return float(np.mean([low <= mean <= high for low, high in ends]))


@pytest.fixture
def coarse() -> Iterator[None]:
    """Fewer draws: an interval is as wide, and its ends shake a little more."""
    kept, shares.N_DRAW = shares.N_DRAW, 1000
    yield
    shares.N_DRAW = kept


@pytest.mark.usefixtures("coarse")
@pytest.mark.parametrize("population", POPULATIONS)
def test_an_interval_of_shares_covers_what_it_says(population: str) -> None:
    assert coverage(*POPULATIONS[population], n_seed=10, n_repeat=150) >= 0.9


@pytest.mark.slow
@pytest.mark.usefixtures("coarse")
@pytest.mark.parametrize("n_seed", [5, 20, 100])
@pytest.mark.parametrize("population", POPULATIONS)
def test_an_interval_of_shares_covers_what_it_says_in_many_repetitions(population: str, n_seed: int) -> None:
    assert coverage(*POPULATIONS[population], n_seed=n_seed, n_repeat=1000) >= 0.935


@pytest.mark.parametrize("n", [2, 10, 100, 1000])
def test_seeds_that_all_show_everything_leave_room_for_those_not_seen(n: int) -> None:
    low, high = share_interval([1.0] * n)
    assert high == 1
    assert 1 - low == pytest.approx(1 - 0.025 ** (1 / n), rel=0.1)
    assert share_interval([0.0] * n)[0] == 0
    assert share_interval([0.0] * n)[1] == pytest.approx(1 - 0.025 ** (1 / n), rel=0.1)


@pytest.mark.parametrize(("k", "n"), [(1, 20), (70, 100), (95, 100)])
def test_seeds_of_all_or_nothing_have_clopper_and_pearsons_interval(k: int, n: int) -> None:
    low, high = share_interval([1.0] * k + [0.0] * (n - k))
    assert low == pytest.approx(beta.ppf(0.025, k, n - k + 1), abs=0.012)
    assert high == pytest.approx(beta.ppf(0.975, k + 1, n - k), abs=0.01)


def test_an_interval_holds_its_mean_and_is_the_same_every_time() -> None:
    rng = np.random.default_rng(3)
    for n in (1, 2, 7, 300, 3000):
        for values in (rng.random(n), rng.beta(50, 0.5, n), np.full(n, 0.3)):
            low, high = share_interval(values.tolist())
            assert 0 <= low <= values.mean() + 1e-12
            assert values.mean() - 1e-12 <= high <= 1
            assert (low, high) == share_interval(values.tolist()[::-1])


def row(variant: str, seed: int, **values: Any) -> dict[str, Any]:
    return {"variant": variant, "seed": seed, **values}


def test_pairs_with_an_infinite_side_are_counted() -> None:
    found = difference([(1.0, 2.0), (math.inf, 2.0), (3.0, math.inf), (5.0, 4.0), (None, 1.0)])
    assert (found.mean, found.n_left_out) == (0.0, 2)
    assert difference([(math.inf, 1.0)])._replace(half=None) == (None, None, 0, None, None, 1)
    rows = [row(v, i, ttft_p99_s=math.inf if (v, i) == ("b", 1) else i + 1.0) for v in "ab" for i in range(4)]
    told = replicate(rows, ["a", "b"])
    assert "1 seeds left out" in _cells(told.measures[0], told.rows[1], 0, False)[-2]


def test_sweeps_hold_against_each_other_what_shares_its_traffic() -> None:
    rows = [row(v, i, usd_per_hour=x + i) for v, x in (("a", 1.0), ("b", 10.0), ("c", 3.0)) for i in range(3)]
    found = replicate(rows, ["a", "b", "c"], traffic={"a": "x", "b": "y", "c": "x"})
    assert [(r.name, r.baseline) for r in found.rows] == [("a", None), ("c", "a"), ("b", None)]
    assert found.rows[1].differences[0] is not None
    assert found.rows[1].differences[0].mean == 2.0
    assert found.rows[2].differences == [None]


def test_limits_kept_are_a_share_with_an_interval() -> None:
    rows = [row("a", i, usd_per_hour=1.0, slo_ok=i > 2) for i in range(10)]
    (found,) = replicate(rows, ["a"]).rows
    assert found.slo_share == 0.7
    assert found.slo_interval == share_interval([0.0] * 3 + [1.0] * 7)
    assert limits_line(found).startswith("every limit held in 70 % of the runs (95 %: 3")


def test_an_estimate_of_a_share_says_both_ends() -> None:
    found = estimate([1.0] * 20, is_share=True)
    assert found.mean == found.high == 1
    assert found.low is not None
    assert found.half == 1 - found.low > 0.1
    plain_one = estimate([1.0, 3.0])
    assert (plain_one.low, plain_one.high) == pytest.approx((2.0 - plain_one.half, 2.0 + plain_one.half))  # type: ignore[operator]


def test_an_estimate_holds_at_its_confidence_and_within_its_ends() -> None:
    values = [0.0, 0.1, 3.0, 0.2]
    wide, narrow = estimate(values, confidence=0.99), estimate(values)
    assert wide.low < narrow.low < 0 < narrow.high < wide.high  # type: ignore[operator]
    cut = estimate(values, least=0.0, most=1.5)
    assert (cut.low, cut.high) == (0.0, 1.5)
    assert estimate([1.0, -math.inf]).mean == -math.inf


@pytest.mark.parametrize(
    ("overrides", "same"),
    [
        (["autoscaler=fixed", "gpu=l4", "retry=aggressive", "traffic.shed_above=9"], True),
        (["traffic.objectives.ttft_s=9", "model=qwen3_30b_a3b", "drain_s=1", "slo=[]"], True),
        (["traffic.arrivals.rate_per_s=9"], False),
        (["seed=2"], False),
        (["warmup_s=9"], False),
        (["traffic.output_tokens={kind: constant, value: 9}"], False),
    ],
)
def test_runs_share_their_traffic_whatever_is_done_with_it(overrides: list[str], same: bool) -> None:
    base = load_scenario("spiky_hour", [])
    other = load_scenario("spiky_hour", overrides)
    assert (traffic_key(base) == traffic_key(other)) is same
    assert traffic_key(other) == traffic_key(plain(other))
