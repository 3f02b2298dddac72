"""Percentiles from histograms against exact ones, and what lost requests do to them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fake_result import PS, durations_ps, spiky_run
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.analysis.latency import population
from sim.analysis.overtime import percentiles_over_time
from sim.analysis.percentiles import (
    Histograms,
    Population,
    lost_in_proportion,
    quantile_ps,
    statistics,
    statistics_of,
)
from sim.measures.levels import PERMILLES, key_of
from sim.model.base.histogram import N_BUCKET, bucket_edges_ps

EDGES = bucket_edges_ps()
RESOLVED_PS = int(EDGES[128])  # above, a bucket is narrower than 1/64 of its values


def histogram(values: np.ndarray) -> np.ndarray:
    """Counts of values by bucket."""
    return np.bincount(np.searchsorted(EDGES, values, side="right") - 1, minlength=N_BUCKET)


def exact(values: list[float], permille: int) -> float:
    """Nearest-rank quantile of a list, by its definition."""
    rank = max(1, -(-permille * len(values) // 1000))
    return sorted(values)[rank - 1]


durations = st.lists(st.integers(RESOLVED_PS, 2**60), min_size=1, max_size=60)


@settings(max_examples=200, deadline=None)
@given(durations, st.sampled_from(list(PERMILLES.values())), st.integers(0, 60))
def test_quantile_is_within_one_percent_of_exact(values: list[int], permille: int, n_lost: int) -> None:
    found = quantile_ps(histogram(np.array(values)), EDGES, permille, n_lost)
    wanted = exact([*map(float, values), *([math.inf] * n_lost)], permille)
    assert found == wanted if math.isinf(wanted) else found == pytest.approx(wanted, rel=0.01)


@settings(max_examples=100, deadline=None)
@given(durations, st.integers(0, 60))
def test_percentiles_grow_with_their_rank_and_with_what_is_lost(values: list[int], n_lost: int) -> None:
    counts = histogram(np.array(values))
    plain = [quantile_ps(counts, EDGES, p) for p in PERMILLES.values()]
    lossy = [quantile_ps(counts, EDGES, p, n_lost) for p in PERMILLES.values()]
    assert plain == sorted(plain)
    assert lossy == sorted(lossy)
    assert all(b >= a for a, b in zip(plain, lossy, strict=True))


@pytest.mark.parametrize("measure", ["ttft", "e2e", "tpot", "queue_wait"])
def test_summary_percentiles_match_the_requests_themselves(measure: str) -> None:
    _, result = spiky_run(n=20_000)
    taken = durations_ps(result.requests, measure)
    taken = taken[taken >= RESOLVED_PS]
    found = statistics(population(result, measure, 0), EDGES)
    for name, permille in PERMILLES.items():
        wanted = np.quantile(taken, permille / 1000, method="inverted_cdf") / PS
        assert found[key_of(name)] == pytest.approx(wanted, rel=0.01), name


def test_a_fleet_that_loses_two_percent_has_an_infinite_p99_and_a_finite_p95() -> None:
    _, result = spiky_run(n=10_000, lost=0.02)
    everybody = population(result, "ttft", 0)
    found = statistics(everybody, EDGES)
    assert found["p99_s"] == found["p99_9_s"] == found["mean_s"] == math.inf
    finite = ["p50_s", "p90_s", "p95_s", "mean_served_s", *(key_of(f"{name}_served") for name in PERMILLES)]
    assert all(math.isfinite(found[name] or math.inf) for name in finite)
    assert found["p99_served_s"] == statistics(everybody._replace(n_lost=0), EDGES)["p99_s"]


@pytest.mark.parametrize(("n_lost", "is_infinite"), [(10, False), (11, True)])
def test_infinity_begins_exactly_past_the_rank(n_lost: int, is_infinite: bool) -> None:
    counts = histogram(np.full(1000 - n_lost, 10**12))
    assert math.isinf(quantile_ps(counts, EDGES, 990, n_lost)) is is_infinite


def test_lost_requests_take_their_share_of_token_gaps() -> None:
    _, result = spiky_run(n=10_000, lost=0.02)
    gaps = population(result, "itl", 0)
    share_lost = gaps.n_lost / (gaps.n_lost + gaps.n_served)
    assert share_lost == pytest.approx(int(result.counts["rejected"][0]) / 10_000, rel=1e-3)
    assert lost_in_proportion(0, 0, 7) == 7  # nothing was served: everything is lost
    assert lost_in_proportion(0, 5, 7) == 0  # embeddings: there are no gaps to lose


def test_of_nothing_there_is_no_quantile() -> None:
    counts = histogram(np.full(4, 2**61))
    assert quantile_ps(counts * 0, EDGES, 500) is None
    assert quantile_ps(counts * 0, EDGES, 500, n_lost=1) == math.inf


def test_no_wait_at_all_reads_as_zero() -> None:
    assert quantile_ps(histogram(np.zeros(5, dtype=np.int64)), EDGES, 990) == 0


def test_percentiles_over_time_are_those_of_each_bin() -> None:
    draw = np.random.default_rng(3)
    arrival_s = np.sort(draw.uniform(0, 1000, 5000))
    values = draw.exponential(1, 5000)
    values[draw.random(5000) < 0.02] = np.nan
    found = percentiles_over_time(arrival_s, values, 1000.0)
    width_s = 1000.0 / len(found.time_s)
    assert found.n.sum() == 5000
    for i, middle in enumerate(found.time_s):
        mine = values[(arrival_s >= middle - width_s / 2) & (arrival_s < middle + width_s / 2)]
        inf = [math.inf if math.isnan(v) else float(v) for v in mine]
        assert found.value["p50"][i] == exact(inf, 500)
        assert found.value["p99"][i] == exact(inf, 990)


def test_many_populations_at_once_are_each_of_them_alone() -> None:
    draw = np.random.default_rng(5)
    values = [draw.integers(0, 10**13, n) for n in (0, 1, 7, 3000)]
    people = [Population(histogram(v), int(v.sum()), n_lost) for v in values for n_lost in (0, 1, 40, 5000)]
    seen = Histograms(np.stack([one.counts for one in people]))
    assert statistics_of(people, seen, EDGES) == [statistics(one, EDGES) for one in people]
    for one in people:
        found = statistics(one, EDGES)
        for name, permille in PERMILLES.items():
            for key, n_lost in ((key_of(name), one.n_lost), (key_of(f"{name}_served"), 0)):
                alone = quantile_ps(one.counts, EDGES, permille, n_lost)
                assert found[key] == (None if alone is None else alone / PS)
