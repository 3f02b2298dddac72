"""What seeds say: intervals that cover, verdicts that are seldom wrong, studies that may stop when they like."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

import sim
from sim.analysis.control import HELPS
from sim.statistics.controls import controlled
from sim.statistics.judging import Paired, holm, judge
from sim.statistics.means import mean_interval, p_of_mean
from sim.statistics.percentiles import pooled_percentile
from sim.statistics.sequences import interval_at_any_time, p_at_any_time, rounds
from sim.workload.counts import n_arrivals

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def covers(ends: tuple[np.ndarray, np.ndarray], mean: float) -> float:
    """How often the mean lies within."""
    return float(((ends[0] <= mean) & (mean <= ends[1])).mean())


def test_values_without_a_tail_get_students_interval() -> None:
    values = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]) + 7
    wanted = stats.t.interval(0.95, 4, 7, stats.sem(values))
    assert np.ravel(mean_interval(values)) == pytest.approx(wanted)
    assert float(p_of_mean(values, 6.0)) == pytest.approx(stats.ttest_1samp(values, 6.0).pvalue)


def test_a_tail_makes_an_interval_reach_further_on_its_side() -> None:
    values = np.array([1.0] * 12 + [2, 3, 4, 9.0])
    low, high = (float(end) for end in mean_interval(values))
    assert high - values.mean() > 1.2 * (values.mean() - low)
    mirrored = mean_interval(-values)
    assert np.ravel(mirrored) == pytest.approx([-high, -low])
    assert np.ravel(mean_interval(values * 1e-3)) == pytest.approx([low / 1000, high / 1000])


def test_an_interval_leaves_out_what_its_p_value_refuses() -> None:
    rng = np.random.default_rng(3)
    values = rng.exponential(size=(500, 15)) - 0.7
    low, high = mean_interval(values)
    assert np.array_equal((low > 0) | (high < 0), p_of_mean(values) < 0.05)
    assert 0.05 < (p_of_mean(values) < 0.05).mean() < 0.95


@pytest.mark.parametrize(
    ("draw", "mean"),
    [
        (lambda rng, shape: rng.normal(3, 2, shape), 3.0),
        (lambda rng, shape: rng.uniform(0, 1, shape), 0.5),
        (lambda rng, shape: rng.exponential(size=shape), 1.0),
        (lambda rng, shape: rng.gamma(3, size=shape), 3.0),
    ],
)
@pytest.mark.parametrize("n", [10, 20, 30])
def test_intervals_of_means_cover_more_than_students_where_there_is_a_tail(
    draw: Draw, mean: float, n: int
) -> None:
    values = draw(np.random.default_rng(n), (4000, n))
    found = covers(mean_interval(values), mean)
    student = stats.t.interval(0.95, n - 1, values.mean(axis=1), stats.sem(values, axis=1))
    assert 0.905 < found < 0.975
    assert abs(found - 0.95) <= abs(covers(student, mean) - 0.95) + 0.012


def test_one_value_says_nothing_and_equal_ones_have_no_spread() -> None:
    assert np.ravel(mean_interval(np.array([4.0]))) == pytest.approx([-math.inf, math.inf])
    assert float(p_of_mean(np.array([4.0]))) == 1
    assert np.ravel(mean_interval(np.array([0.1] * 7))) == pytest.approx([0.1, 0.1])
    assert float(p_of_mean(np.array([0.1] * 4))) == pytest.approx(2 / 2**4), "their signs"
    assert float(p_of_mean(np.array([0.1] * 5))) == 0
    assert p_at_any_time([0.1] * 10, [10]) == 0
    assert float(p_of_mean(np.zeros(7))) == 1


def test_holm_is_what_it_says() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.2, math.nan, 0.9]) == pytest.approx([0.4, 1, 0.9])
    assert holm([]) == []


def pairs(differences: np.ndarray, better: str = "low", margin: float = 0.0) -> Paired:
    theirs = np.full(len(differences), 10.0)
    return Paired((theirs + differences).tolist(), theirs.tolist(), better, margin)


def test_verdicts_say_who_is_better() -> None:
    rng = np.random.default_rng(1)
    less, noise = rng.normal(-2, 1, 20), rng.normal(0, 1, 20)
    found = judge(
        [
            pairs(less),
            pairs(less, "high"),
            pairs(noise),
            pairs(noise * 0),
            pairs(noise, "low", 5.0),
            pairs(less, ""),
        ]
    )
    assert [one.verdict for one in found] == ["better", "worse", "unclear", "same", "same", "unclear"]
    assert found[0].p < 1e-5
    assert found[0].low is not None
    assert found[0].high is not None
    assert found[0].low < found[0].mean < found[0].high < 0  # type: ignore[operator]
    assert found[0].p_holm > found[0].p


def test_what_differs_by_rounding_alone_is_the_same() -> None:
    ours = [0.1 + 0.2] * 20
    (found,) = judge([Paired(ours, [0.3] * 20, "low")])
    assert ours[0] != 0.3
    assert (found.verdict, found.mean) == ("same", 0.0)


def test_what_was_never_served_is_judged_by_signs() -> None:
    ours: list[float | None] = [1.0] * 12
    theirs: list[float | None] = [math.inf] * 11 + [0.5]
    (found,) = judge([Paired(ours, theirs, "low")])
    assert (found.verdict, found.n, found.n_infinite) == ("better", 12, 11)
    assert found.p == pytest.approx(stats.binomtest(1, 12).pvalue)
    assert judge([Paired(theirs, ours, "low")])[0].verdict == "worse"
    assert judge([Paired([math.inf] * 9, [math.inf] * 9, "low")])[0].verdict == "same"
    assert judge([Paired([None] * 9, [1.0] * 9, "low")])[0].verdict == "unclear"
    assert judge([Paired(ours, theirs, "low")], looks=[10, 20])[0].verdict == "better"


def test_a_table_has_one_rate_of_error() -> None:
    """Of a hundred comparisons of nothing with nothing, five alone look sure; together hardly ever one."""
    rng = np.random.default_rng(7)
    wrong_tables = wrong_alone = 0
    for _ in range(200):
        found = judge([pairs(rng.normal(size=12)) for _ in range(20)])
        wrong_tables += any(one.verdict in ("better", "worse") for one in found)
        wrong_alone += sum(one.p < 0.05 for one in found)
    assert 0.03 < wrong_alone / 4000 < 0.07
    assert wrong_tables / 200 <= 0.08


def test_rounds_grow_by_half() -> None:
    assert rounds(200) == [10, 20, 30, 50, 80, 120, 180, 200]
    assert rounds(10) == [10]
    assert rounds(7) == [7]
    assert rounds(200)[:4] == rounds(60)[:4] == [10, 20, 30, 50], "a higher bound keeps what was run"


def test_looking_after_every_seed_does_not_make_more_mistakes() -> None:
    rng = np.random.default_rng(11)
    looks = range(10, 201, 5)
    wrong = peeked = missed = 0
    for _ in range(300):
        values = rng.normal(size=200)
        wrong += p_at_any_time(values.tolist(), looks) <= 0.05
        peeked += min(stats.ttest_1samp(values[:n], 0).pvalue for n in looks) <= 0.05
        ends = [interval_at_any_time(values[:n], 0.05) for n in looks]
        missed += not all(low <= 0 <= high for low, high in ends)
    assert wrong / 300 <= 0.05
    assert missed == wrong, "the intervals and the p-values are the same test"
    assert peeked / 300 > 0.15, "which a plain test at every look does"


def test_a_difference_that_is_there_is_found() -> None:
    rng = np.random.default_rng(5)
    found = [p_at_any_time((rng.normal(size=60) + 0.8).tolist(), rounds(60)) <= 0.05 for _ in range(200)]
    assert np.mean(found) > 0.9


def test_a_percentile_of_all_requests_is_covered_though_runs_hang_together() -> None:
    """Requests of a seed share its luck: an interval that takes them for independent would be far too short."""
    rng = np.random.default_rng(2)
    edges = np.geomspace(0.01, 100, 200)

    def population(n: int) -> np.ndarray:
        luck = rng.lognormal(0, 0.4, n)[:, None]
        return np.array(
            [
                np.bincount(np.searchsorted(edges, row), minlength=201)
                for row in luck * rng.exponential(size=(n, 300))
            ]
        )

    upper = np.append(edges, np.inf)
    truth = pooled_percentile(population(4000), upper, 0.9).value
    held = naive = 0
    for _ in range(300):
        counts = population(15)
        found = pooled_percentile(counts, upper, 0.9)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= truth <= found.high
        up_to, n = counts.sum(axis=0).cumsum(), counts.sum()
        ranks = 0.9 * n + np.array([-1.96, 1.96]) * math.sqrt(0.9 * 0.1 * n)
        ends = upper[np.searchsorted(up_to, ranks)]
        naive += ends[0] <= truth <= ends[1]
    assert held / 300 > 0.92
    assert naive / 300 < 0.7
    one = pooled_percentile(population(1), upper, 0.9)
    assert (one.low, one.high) == (None, None)


def test_a_percentile_is_infinite_above_where_some_were_never_served() -> None:
    counts = np.array([[90, 5, 5], [97, 3, 0], [99, 0, 1], [92, 2, 6], [96, 1, 3], [95, 5, 0]])
    found = pooled_percentile(counts, np.array([1.0, 2.0, math.inf]), 0.97)
    assert (found.value, found.low, found.high) == (2.0, 1.0, math.inf)


def test_a_control_takes_out_the_luck_that_it_explains() -> None:
    """y = 3 x + noise: of the variance of the mean the part of x is gone, and the interval covers as it says."""
    rng = np.random.default_rng(6)
    held, widths, saved = 0, [], []
    for _ in range(500):
        x = rng.normal(10, 1, 20)
        y = 3 * x + rng.normal(0, 1, 20)
        found = controlled(y.tolist(), x.tolist(), 10.0)
        assert found is not None
        held += found.low <= 30 <= found.high
        low, high = mean_interval(y)
        widths.append((found.high - found.low) / float(high - low))
        saved.append(found.saved)
    assert 0.93 < held / 500 < 0.97
    assert np.mean(widths) == pytest.approx(math.sqrt(1 / 10), rel=0.15)
    assert np.median(saved) == pytest.approx(0.9, abs=0.04)


def test_a_control_whose_mean_is_unsure_saves_less_and_covers_still() -> None:
    rng = np.random.default_rng(8)
    held = 0
    for _ in range(500):
        x = rng.normal(10, 1, 20)
        y = 3 * x + rng.normal(0, 1, 20)
        found = controlled(y.tolist(), x.tolist(), 10 + rng.normal(0, 0.1), 0.1)
        sure = controlled(y.tolist(), x.tolist(), 10.0)
        assert found is not None
        assert sure is not None
        held += found.low <= 30 <= found.high
        assert found.saved < sure.saved
    assert 0.93 < held / 500 < 0.98


def test_a_control_that_does_not_vary_or_explain_is_none_or_no_help() -> None:
    assert controlled([1.0, 2, 3, 4, 5], [7.0] * 5, 7.0) is None
    assert controlled([1.0, 2, 3, 4], [1.0, 2, 3, 4], 2.0) is None, "four values tell no slope"
    rng = np.random.default_rng(2)
    found = [controlled(rng.normal(size=20).tolist(), rng.normal(size=20).tolist(), 0.0) for _ in range(50)]
    assert abs(np.median([one.saved for one in found if one is not None])) < 0.1


@pytest.mark.parametrize(
    ("story", "words"),
    [
        ("first_run", ["warmup_s=10"]),
        ("spiky_hour", ["duration_s=600", "traffic.spikes=[]"]),
        ("batch_and_chat", []),
        ("noisy_tenant", []),
        ("two_models", []),
    ],
)
def test_arrivals_are_counted_without_a_run(story: str, words: list[str]) -> None:
    scenario = sim.load(story, [*words, "seed=3"])
    assert n_arrivals(scenario, 3) == sim.run(scenario).summary["offered"]


def test_clients_of_a_closed_loop_have_no_arrivals_to_count() -> None:
    words = ["traffic.arrivals={kind: concurrency, max: 10, requests: 100}"]
    assert n_arrivals(sim.load("first_run", words), 1) is None


# ---- measured on runs of a fleet: the numbers of docs/studies.md

SPIKE = (
    "duration_s=300",
    "slo=none",
    "coldstart=snapshot",
    "pool.min_replicas=2",
    "traffic.spikes=[{at_s: 60, height: 6, length_s: 60, ramp_s: 10}]",
)
POLICIES = ("hpa", "queue")
N_POOL = 1000
N_REPEAT = 4000
FIVE = ("ttft_p50_s", "ttft_p99_s", "e2e_p99_s", "itl_p99_s", "usd_per_hour")


@functools.cache
def pool() -> dict[tuple[str, str], np.ndarray]:
    """Many runs of five minutes with a spike under two autoscalers: the truth that few seeds are to tell. Waiting times
    have tails, and of costs there are some twenty different ones.
    """
    variants = {name: [*SPIKE, f"autoscaler={name}"] for name in POLICIES}
    rows = sim.sweep("spiky_hour", range(1, N_POOL + 1), variants).rows
    return {
        (name, key): np.array([row[key] for row in rows if row["variant"] == name], dtype=float)
        for name in POLICIES
        for key in (*FIVE, "offered")
    }


def drawn(policy: str, key: str, n: int, seed: int, n_repeat: int) -> np.ndarray:
    """Seeds of the pool, (repetition, n)."""
    return pool()[policy, key][np.random.default_rng(seed).integers(0, N_POOL, (n_repeat, n))]


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 20, 30])
@pytest.mark.parametrize("key", FIVE)
@pytest.mark.parametrize("policy", POLICIES)
def test_intervals_of_runs_cover_what_they_say(policy: str, key: str, n: int) -> None:
    values = drawn(policy, key, n, n, N_REPEAT)
    share = covers(mean_interval(values), float(pool()[policy, key].mean()))
    print(f"{policy} {key} {n} seeds: {share:.3f}")
    assert len(set(pool()[policy, key].tolist())) > 5
    assert 0.93 <= share <= 0.97 if n > 10 else 0.92 <= share <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("looks", [None, tuple(rounds(60))])
def test_a_fleet_is_not_better_than_itself(policy: str, looks: tuple[int, ...] | None) -> None:
    """A table of five measures, of a fleet against itself with other seeds: a verdict in any line is false."""
    n = 60 if looks else 20
    ours = {key: drawn(policy, key, n, 100, 1000) for key in FIVE}
    theirs = {key: drawn(policy, key, n, 200, 1000) for key in FIVE}
    wrong = 0
    for i in range(1000):
        table = [Paired(ours[key][i].tolist(), theirs[key][i].tolist(), "low") for key in FIVE]
        wrong += any(one.verdict in ("better", "worse") for one in judge(table, looks))
    print(f"{policy} looks={looks}: {wrong / 1000:.3f}")
    assert wrong / 1000 <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("key", FIVE)
@pytest.mark.parametrize("policy", POLICIES)
def test_arrivals_as_a_control_save_what_they_say(policy: str, key: str) -> None:
    """Twenty seeds, the mean of arrivals known from two hundred lists."""
    y, x = pool()[policy, key], pool()[policy, "offered"]
    rng = np.random.default_rng(5)
    error = float(x.std()) / math.sqrt(200)
    held, saved, true = 0, [], []
    for _ in range(1000):
        chosen = rng.integers(0, N_POOL, 20)
        expected = float(x.mean() + rng.normal() * error)
        found = controlled(y[chosen].tolist(), x[chosen].tolist(), expected, error)
        assert found is not None
        held += found.low <= y.mean() <= found.high
        saved.append(found.saved)
        true.append(found.mean)
    told, real = float(np.median(saved)), 1 - float(np.var(true)) / (float(y.var()) / 20)
    print(f"{policy} {key}: saves {told:.0%}, really {real:.0%}, covers {held / 1000:.3f}")
    assert told == pytest.approx(real, abs=0.15)
    assert told < HELPS or 0.92 <= held / 1000 <= 0.98, "where it saves less it is not used"
