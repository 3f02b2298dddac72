"""Sobol indices against a function whose indices are known, and over a fleet."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import sim
from sim import cli
from sim.answers.sensitivity import indices, points_of, setting_at
from sim.answers.varied import axes_of
from sim.errors import InputError

SHORT = ["duration_s=30", "drain_s=30", "slo=none", "traffic.arrivals.rate_per_s=12", "pool.max_replicas=4"]


def test_indices_of_a_known_function() -> None:
    """Ishigami and Homma 1990: sin x + 7 sin² y + 0.1 z⁴ sin x over (−π, π)³."""
    n = 1024
    a, b = points_of(n, 3)

    def f(u: np.ndarray) -> np.ndarray:
        x, y, z = ((2 * u - 1) * np.pi).T
        return np.asarray(np.sin(x) + 7 * np.sin(y) ** 2 + 0.1 * z**4 * np.sin(x))

    mixed = np.stack([f(np.where(np.arange(3) == i, b, a)) for i in range(3)])
    found = indices(["x", "y", "z"], f(a), f(b), mixed)
    variance = 0.5 + 49 / 8 + 0.1 * math.pi**4 / 5 + 0.01 * math.pi**8 / 18
    first = [(0.5 * (1 + 0.1 * math.pi**4 / 5) ** 2) / variance, 49 / 8 / variance, 0.0]
    mixed_part = 0.01 * math.pi**8 * (1 / 18 - 1 / 50) / variance
    total = [first[0] + mixed_part, first[1], mixed_part]
    for one, s1, st in zip(found, first, total, strict=True):
        assert one.first == pytest.approx(s1, abs=0.06)
        assert one.total == pytest.approx(st, abs=0.04)
        assert one.total_low <= st + 0.02
        assert one.total_high >= st - 0.02
        assert one.first_low <= one.first <= one.first_high


def test_indices_are_those_of_scipy() -> None:
    from scipy.stats import sobol_indices

    draw = np.random.default_rng(4)
    a, b, mixed = draw.random(16), draw.random(16), draw.random((2, 16))
    theirs = sobol_indices(func={"f_A": a[None], "f_B": b[None], "f_AB": mixed[:, None]}, n=16)
    ours = indices(["x", "y"], a, b, mixed)
    assert [one.first for one in ours] == pytest.approx(np.ravel(theirs.first_order).tolist())
    assert [one.total for one in ours] == pytest.approx(np.ravel(theirs.total_order).tolist())


def test_the_same_values_have_the_same_intervals() -> None:
    draw = np.random.default_rng(3)
    a, b, mixed = draw.random(16), draw.random(16), draw.random((2, 16))
    assert indices(["x", "y"], a, b, mixed) == indices(["x", "y"], a, b, mixed)


def test_a_measure_without_values_is_refused_for_what_it_is() -> None:
    with pytest.raises(InputError, match="prefix hits has no value at"):
        sim.sensitivity("first_run", "prefix_hit_ratio", [], SHORT, samples=4, seeds=2)


def test_a_key_that_few_samples_never_change_is_no_key_that_does_not_matter() -> None:
    a, b = points_of(4, 4)
    assert ((a[:, 0] < 0.5) == (b[:, 0] < 0.5)).all()  # what the test rests on
    with pytest.raises(InputError, match=r"--samples: 4 .* so that pool.min_replicas takes several"):
        sim.sensitivity("first_run", "ttft.p99", ["pool.min_replicas=1..2"], SHORT, samples=4, seeds=2)


def test_what_does_not_vary_hangs_on_nothing() -> None:
    found = indices(["x"], np.ones(8), np.ones(8), np.ones((1, 8)))
    assert (found[0].first, found[0].total) == (0, 0)


def test_a_point_of_the_cube_is_a_setting() -> None:
    axes = axes_of(
        ["pool.min_replicas=1..4", "traffic.arrivals.rate_per_s=log 1..100", "autoscaler=fixed,hpa"]
    )
    spans = {"step_time": 0.2, "cold_start": 0.0, "load": 0.5}
    setting = setting_at(np.array([0.99, 0.5, 0.2, 0.75, 0.0]), axes, ["step_time", "load"], spans)
    words = dict(word.split("=") for word in setting.words)
    assert words["pool.min_replicas"] == "4"
    assert float(words["traffic.arrivals.rate_per_s"]) == pytest.approx(10)
    assert words["autoscaler"] == "fixed"
    assert (setting.step_time, setting.cold_start, setting.load) == (1.1, 1.0, 0.5)


def test_cost_hangs_on_how_many_replicas_are_paid_and_on_nothing_else() -> None:
    found = sim.sensitivity(
        "first_run",
        "usd_per_hour",
        ["pool.min_replicas=1..4"],
        [*SHORT, "autoscaler=fixed"],
        samples=16,
        seeds=2,
    )
    first = found.indices[0]
    assert first.name == "pool.min_replicas"
    assert first.total > 0.9
    assert all(abs(one.total) < 1e-6 for one in found.indices[1:])
    assert found.n_run <= 16 * (4 + 2) * 2


def test_what_is_not_off_is_no_thing() -> None:
    off = {"step_time": 0.5, "cold_start": 0.0, "load": 0.0}
    found = sim.sensitivity("first_run", "tpot.p50", (), SHORT, off, samples=8, seeds=1)
    assert [one.name for one in found.indices] == ["step_time"]
    assert found.indices[0].total > 0.5


def test_the_verb_prints_and_says_json(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "sensitivity",
        "first_run",
        *SHORT,
        "--vary",
        "pool.min_replicas=1..4",
        "--measure=e2e.p99",
        "--samples",
        "8",
        "--seeds=1",
    ]
    assert cli.main([*words, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["measure"] == "e2e_p99_s"
    assert len(data["indices"]) == 4
    assert cli.main(words) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "e2e p99 is" in text
    assert "step times ±15 %" in text


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--samples", "60"], "a power of two from 4"),
        (["--measure", "tft"], "did you mean 'ttft'?"),
        (
            ["--vary", "autoscaler=fixed,hpa{target: 4,8}"],
            "options with keys of their own are not allowed here",
        ),
        (["--step-time", "0%", "--cold-start", "0%", "--load", "0%"], "0 things differ; allowed: 1 to 30"),
        (["--load", "200%"], "--load: 2.0 is not valid"),
    ],
)
def test_mistakes_are_one_line(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sensitivity", "first_run", *SHORT, *words]) == 2
    said = capsys.readouterr()
    assert line in said.err
    assert said.err.count("\n") == 1


def test_a_measure_that_is_infinite_somewhere_is_refused() -> None:
    words = [
        "duration_s=20",
        "drain_s=0",
        "slo=none",
        "traffic.arrivals.rate_per_s=200",
        "pool.max_replicas=1",
    ]
    with pytest.raises(InputError, match="ttft p99 is infinite at"):
        sim.sensitivity("first_run", "ttft.p99", (), [*words, "pool.min_replicas=1"], samples=4, seeds=1)
