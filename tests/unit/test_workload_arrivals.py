"""Arrival processes against theory: rate, CV, index of dispersion, and time rescaling."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from traffic_figures import cv, index_of_dispersion

from sim.errors import InputError
from sim.scenario import arrivals as a
from sim.scenario.dist import Constant, Exponential
from sim.scenario.traffic import Curves, Spike, TrafficClass
from sim.workload.arrivals import arrival_times_s, rate_path
from sim.workload.clients import client_shares
from sim.workload.modulation import markov_path, stationary_time
from sim.workload.rate import integral, integral_at
from sim.workload.renewal import gamma_times, renewal_times, weibull_shape, weibull_times
from sim.workload.streams import generator

SPAN_S = 20_000.0
RATE = 10.0


def times(arrivals: a.Arrivals, span_s: float = SPAN_S, seed: int = 1, **more: object) -> np.ndarray:
    return arrival_times_s(TrafficClass(arrivals=arrivals, **more), span_s, seed)


@pytest.mark.parametrize(
    ("process", "expected_cv"),
    [
        (a.Poisson(rate_per_s=RATE), 1.0),
        (a.GammaRenewal(rate_per_s=RATE, cv=0.5), 0.5),
        (a.GammaRenewal(rate_per_s=RATE, cv=2.0), 2.0),
        (a.GammaRenewal(rate_per_s=RATE, shape=4.0), 0.5),
        (a.WeibullRenewal(rate_per_s=RATE, cv=0.5), 0.5),
        (a.WeibullRenewal(rate_per_s=RATE, cv=2.0), 2.0),
        (a.WeibullRenewal(rate_per_s=RATE, shape=1.0), 1.0),
    ],
)
def test_renewal_processes_have_their_rate_cv_and_dispersion(process: a.Arrivals, expected_cv: float) -> None:
    t = times(process)
    assert len(t) / SPAN_S == pytest.approx(RATE, rel=0.02)
    assert cv(np.diff(t)) == pytest.approx(expected_cv, rel=0.03)
    assert index_of_dispersion(t, 100.0, SPAN_S * 0.999) == pytest.approx(expected_cv**2, rel=0.25)


@pytest.mark.parametrize("times_of", [gamma_times, weibull_times])
def test_renewals_start_in_equilibrium(times_of: object) -> None:
    """The mean wait for the first event is (1 + cv²)/2 mean gaps: a start at an event would give 1."""
    shape, squared_cv = 0.5, {"gamma_times": 2.0, "weibull_times": 5.0}[times_of.__name__]  # type: ignore[attr-defined]
    first = [times_of(shape, 500.0, generator(seed, "t", "x"))[0] for seed in range(4000)]  # type: ignore[operator]
    assert np.mean(first) == pytest.approx((1 + squared_cv) / 2, rel=0.1)


@pytest.mark.parametrize("expected", [0.1, 0.5, 1.0, 3.0, 10.0])
def test_the_weibull_shape_gives_the_cv(expected: float) -> None:
    from scipy import stats

    mean, variance = stats.weibull_min(weibull_shape(expected)).stats("mv")
    assert np.sqrt(variance) / mean == pytest.approx(expected, rel=1e-6)


def mmpp2_idc(low: float, high: float, low_s: float, high_s: float, t: float) -> float:
    """Index of dispersion of a two-state MMPP over t (Heffes and Lucantoni, IEEE JSAC 1986, eq. 3)."""
    r1, r2 = 1 / low_s, 1 / high_s
    r = r1 + r2
    numerator = 2 * (low - high) ** 2 * r1 * r2
    factor = r**2 * (low * r2 + high * r1)
    return 1 + numerator / factor - numerator / (factor * r * t) * (1 - np.exp(-r * t))


@pytest.mark.parametrize("t", [1.0, 10.0, 60.0])
def test_an_mmpp_has_its_index_of_dispersion(t: float) -> None:
    span_s = 400_000.0
    seen = times(a.Mmpp(rates=(2.0, 12.0), sojourn_s=(30.0, 10.0)), span_s)
    assert len(seen) / span_s == pytest.approx((2 * 30 + 12 * 10) / 40, rel=0.03)
    assert index_of_dispersion(seen, t, span_s) == pytest.approx(mmpp2_idc(2, 12, 30, 10, t), rel=0.06)


def test_an_on_off_process_is_silent_its_share_of_the_time() -> None:
    span_s = 200_000.0
    t = times(a.OnOff(rate_per_s=RATE, on_s=10.0, off_s=30.0), span_s)
    busy = np.bincount(t.astype(int), minlength=int(span_s)) > 0
    assert len(t) / span_s == pytest.approx(RATE, rel=0.03)
    assert busy.mean() == pytest.approx(0.25 + 1.0 / 40.0, abs=0.02)  # a partly busy second counts as busy


def test_mmpp_rates_are_relative_when_the_mean_is_given() -> None:
    absolute = a.Mmpp(rates=(2.0, 12.0), sojourn_s=(30.0, 10.0))
    relative = a.Mmpp(rates=(1.0, 6.0), sojourn_s=(30.0, 10.0), rate_per_s=4.5)
    assert times(absolute) == pytest.approx(times(relative), rel=1e-9)


def test_three_states_spend_their_time_as_the_chain_says() -> None:
    jumps = ((0.0, 1.0, 0.0), (0.5, 0.0, 0.5), (0.0, 1.0, 0.0))
    chain = a.Markov(rates=(0.0, 1.0, 4.0), sojourn_s=(10.0, 5.0, 20.0), jumps=jumps)
    share = stationary_time(chain)
    assert share == pytest.approx([0.25, 0.25, 0.5])  # visits ¼, ½, ¼
    path = markov_path(chain, 500_000.0, generator(1, "s", "x"), generator(1, "c", "x"))
    assert integral(path)[-1] / 500_000.0 == pytest.approx(1.0, rel=0.02)
    lengths = np.diff(path.start_s)
    for value, expected in zip(np.unique(path.left), share, strict=True):
        assert lengths[path.left == value].sum() / 500_000.0 == pytest.approx(expected, abs=0.01)


def test_a_drift_has_mean_one_and_its_spread() -> None:
    drift = a.Drift(log_sigma=0.3, correlation=0.8, window_s=10.0)
    (path,) = rate_path(TrafficClass(arrivals=a.Poisson(rate_per_s=1.0, modulations=(drift,))), 1e6, 1)
    log_rate = np.log(path.left)
    assert path.left.mean() == pytest.approx(1.0, abs=0.01)
    assert log_rate.std() == pytest.approx(0.3, rel=0.03)
    assert np.corrcoef(log_rate[:-1], log_rate[1:])[0, 1] == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(
    "process",
    [
        a.Poisson(rate_per_s=RATE),
        a.Mmpp(rate_per_s=RATE, rates=(0.2, 3.0), sojourn_s=(60.0, 20.0)),
        a.Poisson(rate_per_s=RATE, modulations=(a.Drift(log_sigma=0.5, window_s=100.0),)),
    ],
    ids=lambda p: p.kind,
)
def test_time_rescaled_by_their_rate_arrivals_are_poisson_of_rate_one(process: a.Arrivals) -> None:
    """Gaps of the integral of the rate at the arrivals are exponential: KS against the exponential."""
    from scipy import stats

    traffic = TrafficClass(
        arrivals=process,
        curves=Curves(day=tuple(1.0 + 0.5 * (h % 2) for h in range(24))),
        spikes=(Spike(at_s=2000.0, height=8.0, ramp_s=300.0, length_s=600.0),),
    )
    t = arrival_times_s(traffic, SPAN_S, 3)
    (rate,) = rate_path(traffic, SPAN_S, 3)
    gaps = np.diff(integral_at(rate, t))
    assert stats.kstest(-np.expm1(-gaps), "uniform").pvalue > 0.01
    assert stats.kstest(t / SPAN_S, "uniform").pvalue < 1e-6  # the raw times are far from uniform


def test_modulation_keeps_the_gaps_of_a_renewal_process_in_its_own_time() -> None:
    from scipy import stats

    traffic = TrafficClass(
        arrivals=a.GammaRenewal(rate_per_s=RATE, cv=0.5),
        spikes=(Spike(at_s=500.0, height=6.0, length_s=900.0),),
    )
    (rate,) = rate_path(traffic, SPAN_S, 3)
    gaps = np.diff(integral_at(rate, arrival_times_s(traffic, SPAN_S, 3)))
    assert stats.kstest(gaps, stats.gamma(4.0, scale=0.25).cdf).pvalue > 0.01


def test_a_spike_brings_height_times_the_requests() -> None:
    flat = times(a.Poisson(rate_per_s=RATE))
    spiky = times(a.Poisson(rate_per_s=RATE), spikes=(Spike(at_s=5000.0, height=8.0, length_s=1000.0),))
    inside = [((t >= 5000.0) & (t < 6000.0)).sum() for t in (flat, spiky)]
    assert inside[0] == pytest.approx(10_000, rel=0.04)
    assert inside[1] == pytest.approx(80_000, rel=0.02)
    assert np.array_equal(flat[flat < 5000.0], spiky[spiky < 5000.0])


def test_superposed_processes_add_up_and_are_independent_of_each_other() -> None:
    parts = (a.Poisson(rate_per_s=3.0), a.GammaRenewal(rate_per_s=1.0, cv=3.0))
    both = times(a.Superposition(components=parts))
    assert len(both) / SPAN_S == pytest.approx(4.0, rel=0.05)
    assert np.all(np.diff(both) >= 0)
    scaled = times(a.Superposition(rate_per_s=40.0, components=parts))
    assert len(scaled) / SPAN_S == pytest.approx(40.0, rel=0.05)
    other = times(a.Superposition(components=(parts[0], a.Poisson(rate_per_s=0.0))))
    assert set(other) <= set(both)


def test_a_batch_comes_at_once_and_again() -> None:
    once = times(a.Batch(requests=5, at_s=3.0), 10.0)
    assert once.tolist() == [3.0] * 5
    assert times(a.Batch(requests=2, at_s=1.0, every_s=4.0), 10.0).tolist() == [1.0, 1.0, 5.0, 5.0, 9.0, 9.0]
    assert len(times(a.Batch(requests=2, at_s=20.0), 10.0)) == 0


def test_clients_share_the_rate_and_keep_their_cv() -> None:
    one = a.Clients(rate_per_s=RATE, n_clients=1, client_rate=Constant(value=1), cv=Constant(value=0.5))
    assert cv(np.diff(times(one))) == pytest.approx(0.5, rel=0.05)
    many = replace(one, n_clients=50, client_rate=Exponential(mean=1.0), cv=Constant(value=3.0))
    shares = client_shares(many)
    assert shares.sum() == pytest.approx(1.0)
    assert np.all(np.diff(shares) > 0)
    seen = [len(times(many, seed=seed)) / SPAN_S for seed in range(5)]
    assert np.mean(seen) == pytest.approx(RATE, rel=0.03)


@pytest.mark.parametrize(
    "process",
    [
        a.GammaRenewal(rate_per_s=RATE, cv=3.0),
        a.WeibullRenewal(rate_per_s=RATE, cv=0.3),
        a.Mmpp(rate_per_s=RATE, rates=(0.0, 1.0, 5.0), sojourn_s=(5.0, 9.0, 2.0)),
        a.Poisson(rate_per_s=RATE, modulations=(a.Drift(log_sigma=0.5, window_s=100.0),)),
    ],
    ids=lambda p: p.kind,
)
def test_a_longer_run_only_adds_arrivals(process: a.Arrivals) -> None:
    short, long = times(process, 1000.0), times(process, 5000.0)
    assert np.array_equal(short, long[: len(short)])
    assert np.all(long[len(short) :] >= 1000.0)


def test_no_rate_makes_no_requests() -> None:
    assert len(times(a.Poisson(rate_per_s=0.0))) == 0
    assert len(times(a.OnOff(rate_per_s=0.0, on_s=1.0, off_s=1.0))) == 0


def test_too_many_requests_are_refused_before_they_are_made() -> None:
    with pytest.raises(InputError, match=r"about 1e\+09 requests; allowed: at most 200,000,000"):
        times(a.Poisson(rate_per_s=1e6), 1000.0)


def test_too_many_states_are_refused() -> None:
    with pytest.raises(InputError, match="a modulation would change its state"):
        times(a.OnOff(rate_per_s=1.0, on_s=1e-3, off_s=1e-3), 1e6)


def test_renewal_chunks_do_not_show() -> None:
    def unit(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.ones(n)

    assert renewal_times(unit, unit, 1000.0, generator(1, "a", "b")).tolist() == list(range(1, 1000))


@pytest.mark.parametrize("shape", [0.02, 0.9, 50.0])
def test_gaps_that_are_not_drawn_change_no_event(shape: float) -> None:
    """Also where a few long gaps pass the end at once, and where many short ones need a second draw."""
    for seed in range(20):
        for end in (0.01, 1.0, 63.0, 500.0, 4032.0, 4100.0):
            whole, cut = (
                gamma_times(shape, end, generator(seed, "a", "b"), alone=alone) for alone in (False, True)
            )
            assert whole.tolist() == cut.tolist()


def test_a_generator_is_keyed_by_a_hash() -> None:
    key = int.from_bytes(hashlib.blake2b(b"7\x1farrivals\x1fchat", digest_size=16).digest(), "little")
    known = np.random.Generator(np.random.Philox(key=key))
    assert generator(7, "arrivals", "chat").random(9).tolist() == known.random(9).tolist()
