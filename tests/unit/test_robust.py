"""Rankings over worlds: times that are off change what they should, and shares are what counting gives."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import sim
from sim import cli
from sim.answers.bench import Bencher, OneSeed, Setting, Sheet, Trial
from sim.answers.measured import cost_measure
from sim.answers.robust import OFF, compared_with, draw_worlds, robust, score, spans_of
from sim.answers.worlds import times, with_times
from sim.engine.host import run_plan
from sim.engine.starts import all_starts
from sim.errors import InputError
from sim.model.tables.pool import StartStep
from sim.model.tables.run import Params
from sim.pack.scenario import outline
from sim.runner import policies_for
from sim.scenario.slo import parse_slo

LIGHT = ["duration_s=200", "drain_s=60", "slo=none", "traffic.arrivals.rate_per_s=0.2"]
SPIKE = [
    *(
        "duration_s=200",
        "drain_s=60",
        "slo=none",
        "coldstart=snapshot",
        "autoscaler=hpa_fast",
        "pool.min_replicas=1",
    ),
    *("pool.max_replicas=6", "traffic.arrivals.rate_per_s=20"),
]


def run(words: list[str], **changed: float) -> Trial:
    found = Bencher(Sheet("first_run", tuple(words), ()))((Setting((), **changed), 1))
    assert isinstance(found, Trial)
    return found


def test_nothing_changes_in_the_world_as_it_is() -> None:
    of = outline(sim.load("first_run"))
    assert with_times(of, 1.0, 1.0) is of
    assert np.array_equal(with_times(of, 1.0, 1.0000001).world.m[:50], of.world.m[:50])
    alone = sim.run("first_run", [*SPIKE, "seed=1"])
    assert run(SPIKE).row["digest"] == alone.digest


def test_steps_that_take_longer_make_answers_later_by_as_much() -> None:
    """Hardly any request meets another one: its time is that of its own steps."""
    base, slow, fast = (run(LIGHT, step_time=factor) for factor in (1.0, 1.5, 0.5))
    for key in ("tpot_p50_s", "itl_p50_s"):
        assert slow.row[key] / base.row[key] == pytest.approx(1.5, rel=0.05)
        assert fast.row[key] / base.row[key] == pytest.approx(0.5, rel=0.05)
    assert slow.row["offered"] == base.row["offered"]


def test_only_the_times_of_steps_are_changed() -> None:
    of = outline(sim.load("two_models"))
    changed = with_times(of, 1.1, 1.0).world.m
    moved = np.flatnonzero(changed != of.world.m)
    assert len(moved) > 100
    ratio = changed[moved] / of.world.m[moved]
    assert ratio == pytest.approx(np.full(len(moved), 1.1), rel=0.01, abs=0.05)
    starts = with_times(of, 1.0, 1.25).world.m
    where = np.flatnonzero(starts != of.world.m)
    assert len(where) > 100
    assert not set(where) & set(moved)


def test_cold_starts_that_take_longer_bring_replicas_later() -> None:
    base, slow = run(SPIKE), run(SPIKE, cold_start=3.0)
    assert slow.row["offered"] == base.row["offered"]
    assert slow.row["ttft_p99_s"] > base.row["ttft_p99_s"]
    assert slow.row["replicas_ready_mean"] < base.row["replicas_ready_mean"]


@pytest.mark.parametrize("factor", [0.5, 1.25])
def test_starts_that_share_a_link_take_so_many_times_as_long(factor: float) -> None:
    """Four replicas wake at once and read their weights from one store, which holds them back, after a setup that is
    longer than half of what the step takes alone.
    """
    words = ["duration_s=60", "drain_s=600", "pool.max_replicas=4", "traffic.arrivals.rate_per_s=20"]
    words += ["links.0.bandwidth_gb_s=5", "slo=none", "coldstart.stages.1.setup_s=40"]
    of = outline(sim.load("weights_from_one_store", words))
    steps = StartStep.rows(Params(of.world.m.copy(), np.zeros(0, np.int64)).extent("start_step"))
    moves = steps["links"] > 0
    assert steps["setup_ps"][moves].tolist() == [40 * 10**12]
    lengths = []
    for times_as_long in (1.0, factor):
        packed = OneSeed()(with_times(of, 1.0, times_as_long), 1)
        state = run_plan(packed.params, policies_for(packed))
        (starts,) = all_starts(packed.params, state)
        lengths.append(starts.total_ps)
        assert np.any(state.link[0].full_ps)
        own = StartStep.rows(packed.params.extent("start_step"))
        assert own["quantile_ps"][moves].min() >= own["setup_ps"][moves].max()
    assert len(lengths[0]) == len(lengths[1]) == 4
    assert lengths[1] / lengths[0] == pytest.approx(np.full(4, factor), rel=0.02)


def test_what_is_never_stays_so() -> None:
    values = np.array([0, 5, 1000, 2**63 - 1])
    assert times(values, 1.5).tolist() == [0, 8, 1500, 2**63 - 1]


def test_worlds_fill_their_ranges_and_are_the_same_at_every_call() -> None:
    worlds = draw_worlds(40, OFF)
    assert worlds == draw_worlds(40, OFF)
    assert [world.seed for world in worlds] == list(range(1, 41))
    for key, off in OFF.items():
        values = np.sort([getattr(world, key) for world in worlds])
        assert np.all(np.abs(values - 1) <= off)
        cells = np.floor((values - (1 - off)) / (2 * off) * 40).astype(int)
        assert cells.tolist() == list(range(40)), "one in each of forty parts"
    assert {world.load for world in draw_worlds(9, {**OFF, "load": 0.0})} == {1.0}


def test_fewer_broken_limits_come_before_less_cost() -> None:
    limits, cost = [parse_slo("ttft.p99 < 1 s"), parse_slo("e2e.p99 < 9 s")], cost_measure("usd")
    scores = [
        score(Trial({"usd": usd}, seen), limits, cost)
        for usd, seen in ((9.0, (0.5, 5.0)), (5.0, (2.0, 5.0)), (1.0, (None, math.inf)), (9.0, (0.9, 8.0)))
    ]
    assert scores == [(0, 9), (1, 5), (2, 1), (0, 9)]
    found = [compared_with(np.array([scores[0]]), np.array([other]))[0] for other in scores]
    assert found == [0, 1, 1, 0]
    assert compared_with(np.array([(0, math.inf)]), np.array([(0, math.inf)]))[0] == 0


def test_a_ranking_is_what_counting_gives() -> None:
    variants = {
        "two": [*SPIKE, "pool.max_replicas=2"],
        "four": [*SPIKE, "pool.max_replicas=4"],
        "again": [*SPIKE, "pool.max_replicas=4"],
    }
    found = robust("first_run", variants, ["ttft.p99 < 2 s"], worlds=12)
    assert found.n_run == 12 * 2, "the same settings are run once"
    by_name = {one.name: one for one in found.standings}
    assert by_name["four"].best == by_name["again"].best
    (same,) = [duel for duel in found.duels if {duel.name, duel.other} == {"four", "again"}]
    assert (same.wins.mean, same.ties) == (0, 1)
    wins = 0
    for world in found.worlds:
        pair = []
        for name in ("two", "four"):
            one = Bencher(Sheet("first_run", (), ("ttft.p99 < 2 s",)))(
                (Setting(tuple(variants[name]), world.load, world.step_time, world.cold_start), world.seed)
            )
            assert isinstance(one, Trial)
            pair.append((not (one.observed[0] or 0) < 2, one.row["usd_per_hour"]))
        wins += pair[1] < pair[0]
    (duel,) = [one for one in found.duels if {one.name, one.other} == {"two", "four"}]
    assert duel.wins.mean == pytest.approx((wins if duel.name == "four" else 12 - wins) / 12)
    assert set(duel.halves) == set(OFF)


def test_nothing_is_ranked_where_no_request_comes(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["duration_s=20", "traffic.arrivals={kind: poisson, rate_per_s: 0}", "--worlds", "4"]
    assert cli.main(["robust", "first_run", "pool.max_replicas=2,3", *words]) == 2
    said = capsys.readouterr()
    assert "no request came in 8 runs of 20 s, so there is nothing to compare" in said.err
    assert said.out == ""


def test_the_verb_prints_and_says_json(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "robust",
        "first_run",
        *SPIKE,
        "autoscaler.target=4,8",
        "--worlds",
        "6",
        "--load=0%",
        "--keep",
        "ttft.p99 < 1 s",
    ]
    assert cli.main([*words, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["off"] == {"step_time": 0.15, "cold_start": 0.25, "load": 0.0}
    assert cli.main(words) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"{data['standings'][0]['variant']} is best in" in text
    assert "of 6 worlds" in text
    assert "traffic ±" not in text


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "robust: 1 variants; allowed: 2 to 50"),
        (["autoscaler=fixed,hpa", "--worlds", "1"], "a whole number from 2"),
        (
            ["autoscaler=fixed,hpa", "--step-time", "150%"],
            "--step-time: 1.5 is not valid; allowed: a share from 0 to below 100 %",
        ),
        (["autoscaler=fixed,hpa", "--step", "5%"], "did you mean '--step-time'?"),
        (["autoscaler=fixed,hpaa"], "did you mean 'hpa'?"),
    ],
)
def test_mistakes_are_one_line(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["robust", "first_run", *words]) == 2
    said = capsys.readouterr()
    assert line in said.err
    assert said.err.count("\n") == 1


def test_what_may_be_off_is_checked() -> None:
    with pytest.raises(InputError, match="'weather' is not valid; allowed: step_time"):
        spans_of({"weather": 0.1})
