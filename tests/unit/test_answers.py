"""Answers over seeds: the cheapest setting that keeps limits, the most traffic, against trying everything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sim
from sim import cli
from sim.answers.bench import Bench, Setting, Sheet, Trial
from sim.answers.bisection import Found, Row, cheapest
from sim.answers.capacity import Climb, Standing, margin_of
from sim.answers.load import with_load
from sim.answers.measured import Measured, cost_measure, measured
from sim.errors import InputError
from sim.runner import simulate
from sim.scenario.slo import parse_slo

SHORT = ["duration_s=40", "drain_s=40", "slo=none", "traffic.arrivals.rate_per_s=16"]
LOOKS = (10, 20, 40)


def row_of(
    n: int,
    cost: Callable[[int], float],
    seen: dict[str, Callable[[int], float]],
    noise: float = 0.01,
    share: float = 0.0,
) -> Row:
    """A row of made-up settings: their mean cost and what each limit observes, seeds scattered around them."""
    limits = [parse_slo(text) for text in seen]
    measure = cost_measure("usd")
    rng = np.random.default_rng(3)
    luck = rng.normal(size=(LOOKS[-1], 1 + len(limits)))
    done: dict[int, list[Trial]] = {}

    def try_one(place: int, look: int) -> Measured:
        values = [f(place) for f in seen.values()]
        done[place] = [
            Trial(
                {"usd": cost(place) * (1 + share * noise * luck[i, 0])},
                tuple(v * (1 + noise * luck[i, 1 + k]) for k, v in enumerate(values)),
            )
            for i in range(LOOKS[look])
        ]
        return measured(Setting((str(place),)), {"x": place}, done[place], measure, limits, len(LOOKS))

    return Row(n, len(LOOKS), try_one, lambda p: done[p], lambda t: t.row["usd"], list(seen))


def exhaustive(n: int, cost: Callable[[int], float], seen: dict[str, Callable[[int], float]]) -> int | None:
    """The cheapest place by the means, of all of them."""
    limits = [parse_slo(text) for text in seen]
    good = [
        i for i in range(n) if all(limit.is_met(f(i)) for limit, f in zip(limits, seen.values(), strict=True))
    ]
    return min(good, key=cost, default=None)


@pytest.mark.parametrize("border", [0, 1, 2, 17, 31, 62, 63])
def test_bisection_finds_the_cheapest_with_few_tries(border: int) -> None:
    seen = {"ttft.p99 < 1 s": lambda i: 2.0 if i < border else 0.5}
    row = row_of(64, lambda i: 10.0 + i, seen)
    assert cheapest(row).best == border == exhaustive(64, lambda i: 10.0 + i, seen)
    assert len(row.seen) <= 14


def test_two_limits_leave_a_window() -> None:
    """One limit needs many replicas, the other few."""
    for low, high in ((10, 20), (30, 31), (0, 5), (60, 63), (40, 40)):
        seen = {
            "ttft.p99 < 1 s": lambda i, low=low: 1.0 + 0.05 * (low - i - 0.5),
            "usd_per_hour < 100": lambda i, high=high: 100 + 2.0 * (i - high - 0.5),
        }
        row = row_of(64, lambda i: 5.0 + i, seen, noise=1e-5)
        assert cheapest(row).best == low
        assert len(row.seen) < 30
        falling = row_of(64, lambda i: 500.0 - i, seen, noise=1e-5)
        assert cheapest(falling).best == high


def test_no_answer_says_which_limit_is_kept_nowhere() -> None:
    row = row_of(64, lambda i: 1.0 + i, {"ttft.p99 < 1 s": lambda i: 9.0, "e2e.p99 < 9 s": lambda i: 1.0})
    assert cheapest(row) == Found(None, False, conflict="ttft.p99 < 1 s")
    both = {"ttft.p99 < 1 s": lambda i: 2.0 - i / 32, "usd_per_hour < 20": lambda i: 1.0 + i}
    found = cheapest(row_of(64, lambda i: 1.0 + i, both))
    assert (found.best, found.conflict) == (None, "")


def test_what_rises_and_falls_is_searched_value_by_value() -> None:
    """Two ways to keep the limit: few large replicas, many small ones; and cost that dips."""
    seen = {"ttft.p99 < 1 s": lambda i: 0.5 + 0.002 * (i - 12) * (i - 52) / 1.0}
    row = row_of(64, lambda i: 100.0 - i + 4 * (i == 33), seen)
    found = cheapest(row)
    assert found.why_whole
    assert found.is_whole
    assert found.best == exhaustive(64, lambda i: 100.0 - i + 4 * (i == 33), seen)
    dip = row_of(64, lambda i: 50.0 + abs(i - 40), {"ttft.p99 < 1 s": lambda i: 2.0 if i < 20 else 0.5})
    assert cheapest(dip).best == 40
    assert "cost" in cheapest(dip).why_whole


def test_settings_near_a_limit_get_more_seeds() -> None:
    seen = {"ttft.p99 < 1 s": lambda i: 1.12 - 0.01 * i}
    row = row_of(30, lambda i: 10.0 + i, seen, noise=0.05)
    found = cheapest(row)
    assert found.best is not None
    assert row.seen[found.best].n_seed > LOOKS[0]
    assert row.seen[29].n_seed == LOOKS[0], "one far from it does not"
    assert row.seen[found.best].is_met
    assert not row.seen[found.best - 1].is_met


def test_limits_on_shares_are_judged_by_the_mean_and_what_is_not_seen_is_in_the_share_of_runs() -> None:
    """As docs/statistics.md says: the bound of shares, of fifty good seeds, would decide no limit above 93 %."""
    limit = parse_slo("slo_attainment >= 99%")
    trials = [Trial({"rejected_share": x}, (1.0,)) for x in (0.0, 0.01) * 25]
    found = measured(Setting(), {}, trials, cost_measure("usd"), [limit])
    assert (found.status, found.limits[0].observed.low) == ("kept", 1.0)
    assert found.share.low == pytest.approx(0.025 ** (1 / 50), abs=0.01)
    scattered = [Trial({}, (x,)) for x in (0.999, 1.0) * 5]
    of = measured(Setting(), {}, scattered, cost_measure("usd"), [limit]).limits[0].observed
    assert of.low is not None
    assert of.high is not None
    assert 0.99 < of.low < of.high <= 1.0


def test_few_settings_are_all_tried() -> None:
    row = row_of(4, lambda i: 1.0 + i, {"ttft.p99 < 1 s": lambda i: 0.5 if i > 1 else 2.0})
    found = cheapest(row)
    assert (found.best, found.is_whole, len(row.seen)) == (2, True, 4)


def test_a_setting_is_near_its_limit_where_the_interval_reaches_over_it() -> None:
    limit, cost = parse_slo("ttft.p99 < 1 s"), cost_measure("usd")

    def status(*observed: float | None) -> tuple[str, bool]:
        trials = [Trial({"usd": 1.0}, (value,)) for value in observed]
        found = measured(Setting(), {}, trials, cost, [limit])
        return found.status, found.is_met

    assert status(0.5, 0.6, 0.55, 0.52) == ("kept", True)
    assert status(1.5, 1.6, 1.55, 1.52) == ("broken", False)
    assert status(0.2, 1.4, 0.9, 0.6) == ("near", True)
    assert status(0.5, float("inf"), 0.5) == ("broken", False)
    assert status(0.5, None, 0.5) == ("broken", False)
    assert status(0.5) == ("near", True)


def test_whatif_agrees_with_trying_everything() -> None:
    words = {
        "vary": {"pool.min_replicas": "1..7"},
        "keep": ["e2e.p99 < 6.2 s"],
        "overrides": [*SHORT, "pool.max_replicas=7"],
    }
    found = sim.whatif("first_run", **words, seeds=20)
    whole = sim.whatif("first_run", **words, seeds=20, every=True)
    assert found.best is not None
    assert whole.best is not None
    assert found.best.values == whole.best.values
    assert len(whole.tried) == 7 >= len(found.tried)
    assert found.n_run <= whole.n_run
    rows = sim.sweep(
        "first_run",
        range(1, found.best.n_seed + 1),
        {"it": [*words["overrides"], f"pool.min_replicas={found.best.values['pool.min_replicas']}"]},
    ).rows
    assert found.best.limits[0].observed.mean == pytest.approx(np.mean([row["e2e_p99_s"] for row in rows]))
    assert found.best.cost.mean == pytest.approx(np.mean([row["usd_per_hour"] for row in rows]))


def test_several_keys_are_a_row_for_each_combination() -> None:
    found = sim.whatif(
        "first_run",
        keep=["ttft.p99 < 1 s"],
        vary=["pool.min_replicas=1..3", "autoscaler=fixed,hpa"],
        overrides=[*SHORT, "pool.max_replicas=3"],
        seeds=10,
    )
    assert found.searched == "pool.min_replicas"
    assert [line.fixed for line in found.lines] == [{"autoscaler": "fixed"}, {"autoscaler": "hpa"}]
    assert found.best is not None
    assert len(found.rivals) == 1
    assert found.rivals[0][1].verdict in ("same", "worse", "unclear")


def test_settings_that_cannot_be_are_left_out_and_told() -> None:
    found = sim.whatif(
        "first_run",
        ["e2e.p99 < 60 s"],
        {"pool.min_replicas": "1..4"},
        overrides=[*SHORT, "pool.max_replicas=2"],
        seeds=4,
    )
    assert found.n_setting == 2
    assert "2 of 4 settings cannot be and were left out: pool.min_replicas: 3 is not valid" in found.notes[0]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--vary", "pool.min_replicas=1..4"], "--keep: the scenario sets no limit"),
        (["--keep", "ttft.p99 < 1 s"], "--vary: nothing is varied; write --vary pool.min_replicas=1..64"),
        (["--keep", "tft.p99 < 1 s", "--vary", "pool.min_replicas=1..4"], "did you mean 'ttft'?"),
        (["--keep", "ttft.p99 < 1", "--vary", "pool.min_replicas=1..4"], "is a time and needs a unit"),
        (["--keep", "ttft.p99 < 1 s", "--vary", "pol.min_replicas=1..4"], "did you mean 'pool'?"),
        (["--keep", "ttft.p99 < 1 s", "--vary", "pool.min_replicas"], "a key and its values"),
        (
            ["--keep", "ttft.p99 < 1 s", "--vary", "pool.min_replicas=8..4"],
            "a range whose first number is at most its last",
        ),
        (
            ["--keep", "ttft.p99 < 1 s", "--vary", "pool.min_replicas=17..40"],
            "pool.min_replicas: 17 is not valid",
        ),
        (
            ["--keep", "ttft.p99 < 1 s", "--vary", "pool.min_replicas=1..2", "--minimise", "usb"],
            "--minimise: 'usb': 'usb' is no metric",
        ),
        (
            ["--keep", "ttft.p99 < 1 s", "--vary", "pool.min_replicas=1..2", "--minimise", "goodput"],
            "more of it is better; allowed: a measure of which less is better",
        ),
        (
            ["--keep", "ttft.p99 < 1 s", "--vary", "pool.min_replicas=1..2", "--seeds", "1"],
            "from 2 to 100000",
        ),
        (["--keep", "ttft.p99 < 1 s", "--vry", "pool.min_replicas=1..2"], "did you mean '--vary'?"),
        (["--keep"], "--keep needs a value"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str],
    line: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["whatif", "first_run", *SHORT, *words]) == 2
    said = capsys.readouterr()
    assert line in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not list(tmp_path.iterdir())


def test_the_command_line_says_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "first_run",
        *SHORT,
        "pool.max_replicas=3",
        "--keep",
        "e2e.p99 < 6.2 s",
        "--vary",
        "pool.min_replicas=1..3",
        "--seeds=10",
    ]
    code = cli.main(["whatif", *words, "--json"])
    data = json.loads(capsys.readouterr().out)
    assert cli.main(["whatif", *words]) == code == 0
    text = capsys.readouterr().out
    assert f"pool.min_replicas={data['answer']['values']['pool.min_replicas']}: cost" in text
    assert data["rows"][0]["tried"][0]["limits"][0]["limit"] == "e2e.p99 < 6.2 s"
    words[words.index("e2e.p99 < 6.2 s")] = "e2e.p99 < 1 ms"
    assert cli.main(["whatif", *words]) == 3
    assert "No setting keeps e2e.p99 < 1 ms." in capsys.readouterr().out


def test_a_bench_runs_each_pair_once_and_as_alone() -> None:
    sheet = Sheet("first_run", tuple(SHORT), ("ttft.p99 < 1 s",))
    with Bench(sheet, threads=1) as bench:
        two = Setting(("pool.min_replicas=2",))
        first = bench.trials(two, [1, 2])
        assert bench.trials(two, [2, 1]) == first[::-1]
        assert len(bench.done) == 2
        run = sim.run("first_run", [*SHORT, "pool.min_replicas=2", "seed=2"])
        assert first[1].observed == (run.summary["ttft"]["p99_s"],)
        assert first[1].row["usd_per_hour"] == run.summary["usd_per_hour"]


def test_processes_beside_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sheet = Sheet("first_run", tuple(SHORT), ("ttft.p99 < 1 s",))
    settings = [Setting((f"pool.min_replicas={n}",)) for n in (1, 2)]
    with Bench(sheet, threads=1) as alone:
        alone.run(settings, range(1, 7))
    monkeypatch.setattr("sim.answers.bench.PROCESS_PAYS_S", 0.0)
    with Bench(sheet, threads=2) as both:
        both.run(settings, range(1, 7))
    assert both.done == alone.done


# ---- how much a fleet carries


@pytest.mark.parametrize("true", [0.013, 0.37, 1.0, 3.3, 41.0])
def test_the_boundary_of_loads_is_found(true: float) -> None:
    limit, cost = parse_slo("ttft.p99 < 1 s"), cost_measure("usd")
    luck = np.random.default_rng(1).normal(size=40)

    def try_one(factor: float, look: int) -> Measured:
        trials = [Trial({"usd": 1.0}, (factor / true * (1 + 0.03 * x),)) for x in luck[: LOOKS[look]]]
        return measured(Setting((), factor), {}, trials, cost, [limit], len(LOOKS))

    climb = Climb(try_one, len(LOOKS), 0.01)
    found = climb.boundary()
    assert found is not None
    assert found == pytest.approx(true, rel=0.03)
    low, high = climb.surely(found)
    assert low is not None
    assert high is not None
    assert low <= found < high
    assert low < true * 1.001
    assert high > true * 0.999
    assert high / low < 1.15


def test_nothing_is_carried_where_no_load_keeps_the_limits() -> None:
    limit, cost = parse_slo("ttft.p99 < 1 s"), cost_measure("usd")
    climb = Climb(
        lambda f, k: measured(Setting((), f), {}, [Trial({"usd": 1.0}, (2.0,))] * LOOKS[k], cost, [limit]),
        3,
        0.02,
    )
    assert climb.boundary() is None


def test_a_load_above_that_keeps_its_limits_is_not_the_one_that_breaks_them() -> None:
    """Means that luck puts on the wrong side: of the loads above, the least that breaks a limit says which."""
    limits, cost = [parse_slo("ttft.p99 < 1 s"), parse_slo("e2e.p99 < 5 s")], cost_measure("usd")
    seen = {1.0: (0.5, 1.0), 1.02: (0.9, 4.9), 1.05: (0.8, 6.0), 1.2: (2.0, 9.0)}
    climb = Climb(
        lambda f, k: measured(Setting((), f), {}, [Trial({"usd": 1.0}, seen[f])] * LOOKS[k], cost, limits),
        3,
        0.02,
    )
    for factor in seen:
        climb.look(factor)
    assert climb.broken_above(1.0) == ("e2e.p99 < 5 s",)
    assert climb.broken_above(1.05) == ("ttft.p99 < 1 s", "e2e.p99 < 5 s")
    assert climb.broken_above(1.2) == ()
    assert climb.broken_above(None) == ("e2e.p99 < 5 s",)


@pytest.mark.parametrize(("bound", "value"), [("FACTOR_MAX", 2.0), ("RUN_S_MAX", 0.0)])
def test_the_most_that_is_tried_may_be_carried(
    bound: str, value: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then it says "at least", and no limit is broken above; the load itself gets its seeds."""
    monkeypatch.setattr(f"sim.answers.capacity.{bound}", value)
    words = ["--keep", "e2e.p99 < 500 s", "--seeds", "10", "--json"]
    assert cli.main(["capacity", "first_run", *SHORT, *words]) == 0
    found = json.loads(capsys.readouterr().out)
    most = 2.0 if bound == "FACTOR_MAX" else 1.0
    assert (found["is_bound"], found["first_broken"]) == (True, [])
    assert any("the most that was tried is carried" in note for note in found["notes"])
    assert found["factor"] == {"value": most, "low": most, "high": None}


def test_capacity_of_a_scenario() -> None:
    found = sim.capacity("first_run", ["e2e.p99 < 7 s"], SHORT, seeds=10, precision=0.1)
    assert found.factor is not None
    assert found.best is not None
    assert found.best.is_met
    assert found.rate_per_s[0] == pytest.approx(16 * found.factor, rel=0.1)
    assert found.first_broken == ("e2e.p99 < 7 s",)
    assert not found.is_bound
    above = next(one for one in found.tried if one.setting.load > found.factor)
    assert not above.is_met
    assert above.setting.load / found.factor <= 1.1 + 1e-9


@pytest.mark.parametrize(
    ("story", "words"),
    [
        ("first_run", []),
        ("first_run", ["traffic.arrivals={kind: mmpp, rates: [2, 20], sojourn_s: [5, 5]}"]),
        (
            "first_run",
            [
                "traffic.arrivals={kind: superposition, components: [{kind: poisson, rate_per_s: 3},"
                " {kind: batch, requests: 50, at_s: 3}]}"
            ],
        ),
        ("first_run", ["traffic.arrivals={kind: batch, requests: 100}"]),
        ("batch_and_chat", []),
        ("noisy_tenant", []),
    ],
)
def test_twice_the_load_is_twice_the_requests(story: str, words: list[str]) -> None:
    base = sim.load(story, ["duration_s=200", "drain_s=0", *words])
    n = [simulate(with_load(base, factor)).summary["offered"] for factor in (1.0, 2.0)]
    assert n[1] == pytest.approx(2 * n[0], rel=0.35)
    assert with_load(base, 1.0) is base


def test_clients_of_a_closed_loop_are_whole() -> None:
    base = sim.load("first_run", ["traffic.arrivals={kind: concurrency, max: 10, requests: 100}"])
    assert with_load(base, 0.26).classes[0].arrivals.max == 3
    with pytest.raises(InputError, match="1e\\+09 times as much cannot be"):
        with_load(base, 1e9)


@pytest.mark.slow
def test_whatif_on_spiky_hour_is_what_an_exhaustive_sweep_says() -> None:
    keep = ["ttft.p99 < 500 ms"]
    found = sim.whatif("spiky_hour", keep, {"pool.min_replicas": "1..8"}, "usd")
    assert found.best is not None
    assert len(found.tried) < 8
    variants = {str(n): [f"pool.min_replicas={n}"] for n in range(1, 9)}
    rows = sim.sweep("spiky_hour", range(1, 51), variants).rows
    means: dict[str, Any] = {
        n: [np.mean([row[key] for row in rows if row["variant"] == n]) for key in ("ttft_p99_s", "usd")]
        for n in variants
    }
    best = min((n for n in variants if means[n][0] < 0.5), key=lambda n: means[n][1])
    assert str(found.best.values["pool.min_replicas"]) == best


def test_a_run_that_cannot_be_stops_the_others_and_the_bench_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.answers.bench.PROCESS_PAYS_S", 0.0)
    good, bad = Setting(("pool.min_replicas=2",)), Setting(("pool.min_replicas=99",))
    with Bench(Sheet("first_run", tuple(SHORT), ()), threads=2) as bench:
        bench.run([good], range(1, 5))
        assert len(bench._beside) == 1
        with pytest.raises(InputError, match="min_replicas: 99"):
            bench.run([bad, good], range(1, 40))
        n = len(bench.done)
        assert n < 40
        assert bench.trials(good, range(1, 9)) == [bench.done[good, seed] for seed in range(1, 9)]


@pytest.mark.parametrize(
    "vary", [{"pool.min_replicas": [1, 2, 3]}, {"pool.min_replicas": range(1, 4)}, ["pool.min_replicas=1..3"]]
)
def test_values_may_be_said_in_many_ways(vary: Any) -> None:
    found = sim.whatif(
        "first_run", ["e2e.p99 < 60 s"], vary, overrides=[*SHORT, "pool.max_replicas=3"], seeds=2
    )
    assert [one.values["pool.min_replicas"] for one in found.tried] == [1, 2, 3]
    assert any("at an end" in note for note in found.notes)
    names = sim.whatif("first_run", ["e2e.p99 < 60 s"], {"autoscaler": "fixed,hpa"}, overrides=SHORT, seeds=2)
    assert not any("at an end" in note for note in names.notes), "names have no order"


def test_capacity_without_traffic_and_with_little_says_so() -> None:
    with pytest.raises(InputError, match="no request came in 10 runs of 40 s"):
        sim.capacity("first_run", ["ttft.p99 < 1 s"], [*SHORT[:3], "traffic.arrivals.rate_per_s=0"])
    found = sim.capacity("first_run", ["ttft.p99 < 1 us"], SHORT)
    assert found.factor is None
    assert any("there are runs without a request" in note for note in found.notes)
    from sim.report.answer_terminal import capacity_sentence

    assert capacity_sentence(found) == (
        "None of the traffic that was tried, 0.000244 to 1 times its own, keeps ttft.p99 < 1 us."
    )


def test_a_limit_that_more_traffic_brings_closer_is_told() -> None:
    found = sim.capacity("first_run", ["usd_per_million_output_tokens < 0.001"], SHORT)
    assert found.factor is None
    assert (
        "more traffic brings usd_per_million_output_tokens < 0.001 closer: where its own breaks a limit, only less is tried"
        in found.notes
    )


@pytest.mark.parametrize("limit", ["usd_per_hour < 100", "step_busy > 1 %"])
def test_limits_that_traffic_does_not_move_end_the_climb(limit: str) -> None:
    found = sim.capacity("first_run", [limit], SHORT, seeds=10)
    assert found.is_bound
    assert found.factor is not None
    assert 4 <= found.factor <= 256
    assert len(found.tried) < 10
    assert any(f"more traffic does not break {limit}" in note for note in found.notes)
    assert not any("may carry more" in note for note in found.notes)


def test_a_fleet_that_is_full_but_closer_to_a_limit_is_tried_further() -> None:
    """Waits grow on after the fleet is full: here it takes eight times of what fills it to break the limit."""
    limit, cost = parse_slo("ttft.p99 < 100 s"), cost_measure("usd")

    def try_one(factor: float, look: int) -> Measured:
        trials = [Trial({"usd": 1.0, "completed_per_s": min(factor, 2.0)}, (3.0 * factor,))] * LOOKS[look]
        return measured(Setting((), factor), {}, trials, cost, [limit], len(LOOKS))

    def standing(one: Measured) -> Standing:
        observed = one.limits[0].observed.mean
        return Standing(min(one.setting.load, 2.0), [margin_of(limit, observed)])

    climb = Climb(try_one, len(LOOKS), 0.01, standing)
    assert climb.boundary() == pytest.approx(100 / 3, rel=0.02)
    assert not climb.is_unmoved


def test_a_limit_on_what_no_run_has_is_told_as_that() -> None:
    answer = sim.whatif(
        "first_run", ["prefix_hit_ratio >= 5 %"], ["pool.min_replicas=1..2"], overrides=SHORT, seeds=2
    )
    assert answer.best is None
    assert answer.notes == ["prefix_hit_ratio >= 5 %: has no value in any run: nothing was there to measure"]
    assert answer.tried[0].limits[0].observed.mean is None


@pytest.mark.parametrize(
    ("vary", "words", "line"),
    [
        (["gpu=h10,h100"], [], r"--vary.gpu: 'h10' is not one of .*; did you mean 'h100'"),
        (["autoscaler=hpa{target: 4,8},quue"], [], r"--vary.autoscaler: 'quue' is not one of .*'queue'"),
        (["pool.min_replicas=1..2"], ["pool.min_replicas=1"], "pool.min_replicas: is set and is varied too"),
    ],
)
def test_a_misspelt_option_or_a_key_said_twice_is_refused(
    vary: list[str], words: list[str], line: str
) -> None:
    with pytest.raises(InputError, match=line):
        sim.whatif("first_run", ["ttft.p99 < 1 s"], vary, overrides=[*SHORT, *words])
