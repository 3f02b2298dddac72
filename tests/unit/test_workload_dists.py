"""Inverse CDFs against scipy's, and the tables taken from them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.scenario import dist as d
from sim.workload import normal
from sim.workload.dists import quantile_table, sample
from sim.workload.lengths import correlated

U = np.array([0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999])
FAMILIES = [
    d.Constant(value=3.0),
    d.Exponential(mean=2.0),
    d.Uniform(low=-1.0, high=4.0),
    d.Lognormal(mu=1.0, sigma=0.5),
    d.LognormalMixture(w=(0.7, 0.3), mu=(4.5, 6.0), sigma=(0.6, 0.14)),
    d.Gamma(shape=0.5, scale=3.0),
    d.Weibull(shape=1.7, scale=10.0),
    d.Geometric(p=0.28),
    d.Quantiles(q=(0.0, 50.0, 100.0), v=(1.0, 5.0, 100.0)),
]


def test_families_agree_with_scipy() -> None:
    from scipy import stats

    pairs = [
        (d.Exponential(mean=2.0), stats.expon(scale=2.0)),
        (d.Uniform(low=-1.0, high=4.0), stats.uniform(-1.0, 5.0)),
        (d.Lognormal(mu=1.0, sigma=0.5), stats.lognorm(0.5, scale=np.e)),
        (d.Gamma(shape=0.5, scale=3.0), stats.gamma(0.5, scale=3.0)),
        (d.Gamma(shape=20.0, scale=0.1), stats.gamma(20.0, scale=0.1)),
        (d.Weibull(shape=1.7, scale=10.0), stats.weibull_min(1.7, scale=10.0)),
        (d.Geometric(p=0.28), stats.geom(0.28)),
    ]
    for dist, oracle in pairs:
        assert sample(dist, U) == pytest.approx(oracle.ppf(U), rel=1e-4), dist


def test_a_mixture_has_its_cdf() -> None:
    from scipy import stats

    mixture = d.LognormalMixture(w=(0.7, 0.3), mu=(4.5, 6.0), sigma=(0.6, 0.14))
    x = sample(mixture, U)
    cdf = 0.7 * stats.norm.cdf(np.log(x), 4.5, 0.6) + 0.3 * stats.norm.cdf(np.log(x), 6.0, 0.14)
    assert cdf == pytest.approx(U, rel=1e-4)


def test_a_lognormal_can_be_said_by_median_and_p99() -> None:
    by_quantiles = sample(d.Lognormal(median=50.0, p99=400.0), np.array([0.5, 0.99]))
    assert by_quantiles == pytest.approx([50.0, 400.0])


def test_quantiles_are_read_off_the_curve() -> None:
    curve = d.Quantiles(q=(10.0, 50.0, 90.0), v=(1.0, 5.0, 25.0))
    assert sample(curve, np.array([0.0, 0.1, 0.3, 0.7, 0.9, 0.99])).tolist() == pytest.approx(
        [1, 1, 3, 15, 25, 25]
    )


@pytest.mark.parametrize("dist", FAMILIES, ids=lambda x: x.kind)
def test_tables_rise_and_have_the_middle_quantiles(dist: d.Dist) -> None:
    table = quantile_table(dist, 1000)
    assert len(table) == 1000
    assert np.all(np.diff(table) >= 0)
    assert table[249] == sample(dist, np.array([0.2495]))[0]
    assert np.all(np.isfinite(table))


@pytest.mark.parametrize("dist", FAMILIES, ids=lambda x: x.kind)
@given(st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=1, max_size=20))
def test_draws_are_finite_and_inside_their_clamp(dist: d.Dist, u: list[float]) -> None:
    from dataclasses import replace

    values = sample(replace(dist, min=2.0, max=4.0), np.array(u))
    assert np.all((values >= 2.0) & (values <= 4.0))
    assert np.all(np.isfinite(sample(dist, np.array(u))))


@pytest.mark.parametrize("rho", [-0.9, -0.467, 0.1, 0.408, 0.95])
def test_the_copula_has_the_asked_rank_correlation_and_keeps_uniforms(rho: float) -> None:
    rng = np.random.default_rng(7)
    u, v = rng.random(200_000), rng.random(200_000)
    w = correlated(u, v, rho)
    assert np.corrcoef(u, w)[0, 1] == pytest.approx(rho, abs=0.01)  # Pearson of uniforms is Spearman
    assert np.quantile(w, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.005)
    assert np.all((w >= 0) & (w < 1))


def test_many_draws_from_quantiles_are_those_of_few() -> None:
    rng = np.random.default_rng(4)
    for n in (0, 1, 26, 500):
        q = np.unique(
            np.concatenate([[0.0], 100 * rng.random(n), 100 * rng.integers(1, 2048, n) / 2048, [100.0]])
        )
        curve = d.Quantiles(q=tuple(q), v=tuple(np.sort(rng.exponential(1000, len(q)))))
        u = np.concatenate([rng.random(5000), q[:-1] / 100, np.arange(2048) / 2048, [1 - 2.0**-53]])
        one_by_one = np.concatenate([sample(curve, part) for part in np.array_split(u, 20)])
        assert (sample(curve, u) == one_by_one).all()


def bits(values: np.ndarray) -> np.ndarray:
    """Every bit of float64 values."""
    return np.ascontiguousarray(values).view(np.int64)


def test_normal_quantiles_are_scipys_to_the_last_bit() -> None:
    from scipy import special

    rng = np.random.default_rng(5)
    edges = [
        0.0,
        5e-324,
        2.0**-54,
        normal.TAIL,
        np.nextafter(normal.TAIL, 1),
        0.5,
        1 - normal.TAIL,
        1 - 2.0**-53,
        1.0,
    ]
    deep = 10.0 ** -rng.uniform(0, 300, 20_000)
    u = np.concatenate(
        [rng.random(100_000), deep, 1 - deep, np.exp(-32.0) * rng.uniform(0.9, 1.1, 999), edges]
    )
    z = rng.normal(scale=6, size=20_000)
    assert (bits(normal.own_ndtri(u)) == bits(special.ndtri(u))).all()
    assert (bits(normal.ndtr(z)) == bits(special.ndtr(z))).all()
    assert (bits(normal.gammaincinv(0.7, u[:500])) == bits(special.gammaincinv(0.7, u[:500]))).all()


@pytest.mark.parametrize("is_whole", [False, True])
def test_scipys_functions_are_found_alone_or_with_the_package(is_whole: bool) -> None:
    """Alone they leave scipy.special out; where scipy looks otherwise, all of it is imported, and values are equal."""
    code = "import sys, numpy as np; from sim.workload import normal\n"
    code += "normal.EXTENSION = '_not_there'\n" if is_whole else ""
    code += "print(float(normal.ndtri(np.array([0.01]))[0]).hex(), 'scipy.special' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [float(normal.ndtri(np.array([0.01]))[0]).hex(), str(is_whole)]
