"""What a limit costs: curves and surfaces of the least cost, with intervals over seeds."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import sim
from sim import cli
from sim.answers.price import priced, read_curves, weighted
from sim.errors import InputError
from sim.scenario.slo import parse_slo

SHORT = ["duration_s=40", "drain_s=40", "slo=none", "traffic.arrivals.rate_per_s=16", "pool.max_replicas=4"]


def test_weighted_means_are_infinite_where_a_seed_that_counts_is() -> None:
    weights = np.array([[0.5, 0.5], [1.0, 0.0]])
    found = weighted(weights, np.array([[1.0, 3.0], [math.inf, 5.0]]))
    assert found.tolist() == [[math.inf, 4.0], [1.0, 3.0]]


def test_each_limit_takes_its_cheapest_setting() -> None:
    """Four settings, the dearer the faster, and one that is dear and slow."""
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(30, 1))
    costs = np.array([[10.0, 20.0, 30.0, 40.0, 45.0]]) * (1 + 0.01 * noise)
    ttft = np.array([[4.0, 2.0, 1.0, 0.5, 3.0]]) * (1 + 0.02 * rng.normal(size=(30, 5)))
    (objective,) = read_curves({"ttft.p99": "200,700,1500,3000,9000 ms"}, [])
    points = priced(costs, [ttft], [objective], [], [{"x": i} for i in range(5)])
    assert [p.values and p.values["x"] for p in points] == [None, 3, 2, 1, 0]
    assert points[0].cost is None
    assert points[0].share == 0
    for point, cost in zip(points[1:], (40, 30, 20, 10), strict=True):
        assert point.cost == pytest.approx(cost, rel=0.01)
        assert point.low is not None
        assert point.high is not None
        assert point.low < point.cost < point.high < 1.02 * cost
    beside = priced(
        costs, [ttft, costs], [objective], [parse_slo("usd_per_hour < 25")], [{"x": i} for i in range(5)]
    )
    assert [p.values and p.values["x"] for p in beside] == [None, None, None, 1, 0]


def test_an_interval_holds_which_setting_it_is_too() -> None:
    """A limit on the edge: some draws of the seeds need the dearer setting; where none is left there is no end."""
    rng = np.random.default_rng(2)
    ttft = np.array([[1.0, 0.5]]) + 0.2 * rng.normal(size=(20, 2))
    mean = float(ttft[:, 0].mean())
    (objective,) = read_curves([f"ttft.p99={mean + 0.001:.4f} s"], [])
    (point,) = priced(np.tile([10.0, 20.0], (20, 1)), [ttft], [objective], [], [{"x": 0}, {"x": 1}])
    assert (point.cost, point.low, point.high) == (10.0, 10.0, 20.0)
    (alone,) = priced(np.full((20, 1), 10.0), [ttft[:, :1]], [objective], [], [{"x": 0}])
    assert (alone.low, alone.high) == (10.0, math.inf)
    assert 0.3 < alone.share < 0.7


def test_intervals_of_prices_cover_what_they_say() -> None:
    """Costs and latencies of five settings, drawn anew three hundred times."""
    rng = np.random.default_rng(3)
    (objective,) = read_curves({"ttft.p99": "1500 ms"}, [])
    held = 0
    for _ in range(300):
        shared = rng.normal(size=(20, 1))
        costs = np.array([[10.0, 20.0, 30.0]]) + 3 * shared + rng.normal(size=(20, 3))
        ttft = np.array([[4.0, 1.0, 0.5]]) * (1 + 0.1 * rng.normal(size=(20, 3)))
        (point,) = priced(costs, [ttft], [objective], [], [{}, {}, {}])
        assert point.low is not None
        assert point.high is not None
        held += point.low <= 20.0 <= point.high
    assert 0.88 < held / 300 < 0.98


def test_limits_are_read() -> None:
    (one,) = read_curves(["ttft.p99=200..2000ms"], [])
    assert [limit.value for limit in one.limits][0::9] == [0.2, 2.0]
    assert len(one.limits) == 10
    ratios = np.diff(np.log([limit.value for limit in one.limits]))
    assert ratios == pytest.approx(ratios[0], rel=0.05)
    (two,) = read_curves({"slo_attainment": "90..99 % x 4"}, [])
    assert [(limit.op, limit.value) for limit in two.limits] == [
        (">=", pytest.approx(v)) for v in (0.9, 0.93, 0.96, 0.99)
    ]
    (three,) = read_curves(["chat.e2e.mean=3,1 s"], ["chat"])
    assert [(limit.scope, limit.value) for limit in three.limits] == [("chat", 3.0), ("chat", 1.0)]


@pytest.mark.parametrize(
    ("said", "texts"),
    [
        ("99.9..99.99 %", [f"99.{n}" for n in ["9", *range(91, 100)]]),
        ("99.9..99.99 % x 4", ["99.9", "99.93", "99.96", "99.99"]),
        ("0.99990..0.99991 x 3", ["0.99990", "0.999905", "0.99991"]),
        ("log 90..99 % x 3", ["90", "94.4", "99"]),
    ],
)
def test_limits_of_a_range_have_the_digits_that_tell_them_apart(said: str, texts: list[str]) -> None:
    """The ends are as they are written."""
    (one,) = read_curves({"slo_attainment": said}, [])
    assert [limit.text.split()[2] for limit in one.limits] == texts
    assert len({limit.value for limit in one.limits}) == len(texts)


def test_a_range_of_many_limits_keeps_each_apart() -> None:
    (one,) = read_curves({"ttft.p99": "1234567..1234568 ms x 200"}, [])
    values = [limit.value for limit in one.limits]
    assert np.diff(values) == pytest.approx(1e-3 / 199, rel=0.05)
    assert (one.limits[0].text, one.limits[-1].text) == ("ttft.p99 < 1234567 ms", "ttft.p99 < 1234568 ms")


def test_a_whole_range_has_whole_limits() -> None:
    (one,) = read_curves({"ttft.p99": "whole 1..20 s x 8"}, [])
    assert [limit.value for limit in one.limits] == [1, 2, 4, 6, 8, 13, 20]
    (few,) = read_curves({"ttft.p99": "whole 4..6 s"}, [])
    assert [limit.value for limit in few.limits] == [4, 5, 6]


@pytest.mark.parametrize(
    ("curve", "line"),
    [
        (["ttft.p99"], "a measure and a range of limits, as ttft.p99=200..2000 ms"),
        (["ttft.p99=fast"], "a measure and a range of limits"),
        (["ttft.p99=200..2000"], "is a time and needs a unit"),
        (["tft.p99=200..2000 ms"], "did you mean 'ttft'?"),
        (["kv_use=0.1..0.9"], "neither more nor less of it is better"),
        (["ttft.p99=2..1 s"], "a range whose first number is at most its last"),
        (["ttft.p99=1..2 s x 1"], "at least two limits"),
        (["ttft.p99=1..2 s x 201"], "at most 200"),
        (["ttft.p99=2..2 s"], "two numbers that differ"),
        (["ttft.p99=whole 1.5..3 s"], "whole numbers at both ends"),
        (["ttft.p99=1..2 s", "ttft.p99=1..2 s"], "is given twice"),
        (
            ["ttft.p99=1..2 s", "e2e.p99=1..2 s", "itl.p99=1..2 s"],
            "3 measures; allowed: one, or two for a surface",
        ),
    ],
)
def test_mistakes_are_told(curve: list[str], line: str) -> None:
    with pytest.raises(InputError) as raised:
        read_curves(curve, [])
    assert line in str(raised.value)


def test_a_curve_falls_as_the_limit_loosens(capsys: pytest.CaptureFixture[str]) -> None:
    curve, vary = {"e2e.p99": "4..20 s x 6"}, {"pool.min_replicas": "1..4"}
    found = sim.price("first_run", curve, vary, overrides=SHORT, seeds=6)
    costs = [math.inf if point.cost is None else point.cost for point in found.points]
    assert costs == sorted(costs, reverse=True)
    assert len(set(costs)) > 2
    words = [
        "first_run",
        *SHORT,
        "--curve",
        "e2e.p99=4..20 s x 6",
        "--vary",
        "pool.min_replicas=1..4",
        "--seeds",
        "6",
    ]
    assert cli.main(["whatif", *words, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [point["cost"]["mean"] for point in data["points"]] == [point.cost for point in found.points]
    whatif = sim.whatif("first_run", ["e2e.p99 < 7 s"], vary, overrides=SHORT, seeds=6, every=True)
    (same,) = sim.price("first_run", {"e2e.p99": "7 s"}, vary, overrides=SHORT, seeds=6).points
    assert whatif.best is not None
    assert same.values == whatif.best.values
    assert same.cost == pytest.approx(whatif.best.cost.mean)


def test_a_surface_has_a_cost_for_each_pair(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["first_run", *SHORT, "--vary", "pool.min_replicas=1..4", "--seeds", "4"]
    words += ["--curve", "e2e.p99=6,9 s", "--curve", "ttft.p99=0.1,0.2,1 s"]
    assert cli.main(["whatif", *words]) == 0
    text = capsys.readouterr().out
    assert "e2e.p99 < 6 s" in text
    assert "ttft.p99 < 0.2 s" in text
    assert text.count("usd/h") >= 6
