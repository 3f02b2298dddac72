"""Runs that are packed, run and summed up together come to what each comes to alone, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sim
from sim.analysis.latency import histograms, n_lost
from sim.analysis.summary import fleet_summary
from sim.analysis.verdicts import limits_of, verdicts, with_verdicts
from sim.engine.host import Policies, run_plan
from sim.engine.many import Reader
from sim.engine.result import RESULT_METRICS, Result, make_result
from sim.fill.params import World
from sim.fill.series import Memory, Series
from sim.fill.state import new_state, slot_start
from sim.model.tables.run import Params, State
from sim.pack.closed_loop import check_sent
from sim.pack.scenario import Outline, outline, with_seed
from sim.records.summary import flat_summary
from sim.runner import policies_for
from sim.studies.estimate import trial
from sim.studies.planning import make_plan
from sim.studies.reading import load_study
from sim.studies.running import Kept, quiet
from sim.sweeps.batch import Prepared, SharedRequests, Summed, run_part
from sim.workload.lengths import lengths_of_seeds, make_lengths
from sim.workload.requests import make_requests, requests_of_seeds
from sim.workload.streams import generator, passing_generator
from tests.parity.engines import laws_of as fleet_laws
from tests.parity.fleets import Fleet, fleet

Row = dict[str, Any]
SHORT = ["duration_s=40", "drain_s=60", "warmup_s=2"]
#: Scenarios, each with what makes it short and what makes it hard.
STORIES: dict[str, tuple[str, list[str]]] = {
    "plain": ("first_run", SHORT),
    "hardly any request": ("first_run", ["duration_s=0.4"]),
    "nobody is served": ("first_run", [*SHORT, "pool.min_replicas=0", "coldstart=cloud_disk", "drain_s=0"]),
    "limits of the fleet": (
        "first_run",
        [*SHORT, "slo=['ttft.p99 < 80 ms', 'itl.p99.9_served < 1 s', 'usd_per_hour < 9']"],
    ),
    "limits of a class": (
        "noisy_tenant",
        [*SHORT, "slo=['loud.ttft.p90 < 1 s', 'slo_attainment > 10 %', 'steady.e2e.mean_served < 3 s']"],
    ),
    "closed loop": ("first_run", [*SHORT, "traffic.arrivals={kind: concurrency, max: 8}"]),
    "a list that ends": ("first_run", ["traffic.arrivals={kind: concurrency, max: 8, requests: 50}"]),
    "clients that come back": ("retry_storm", ["duration_s=320", "drain_s=60"]),
    "sessions and prefixes": ("agents_at_nine", ["duration_s=310", "drain_s=60"]),
    "hashed": ("agents_at_nine", ["duration_s=310", "drain_s=60", "router=consistent_hash"]),
    "two models": ("two_models", SHORT),
    "two pools": ("fast_and_slow_pool", SHORT),
    "CPU stations": ("slow_tokeniser", SHORT),
    "embeddings": ("embedding_service", SHORT),
    "links": ("weights_from_one_store", SHORT),
    "autoscaled": ("quiet_day", [*SHORT, "autoscaler=queue"]),
    "a cluster": ("spiky_hour", ["warmup_s=60", "coldstart=local_nvme", "cluster=three_zones", "pool.tp=4"]),
    "slices": ("mig_packing", ["duration_s=400", "warmup_s=300"]),
    "shared GPUs": ("noisy_neighbour", ["duration_s=700", "warmup_s=500"]),
    "long without samples": ("first_run", [*SHORT, "output.sample_interval_s=1000"]),
}


def row_alone(of: Outline, seed: int) -> tuple[Row, Result]:
    """What `sim.run` does of a run, without its sections."""
    packed = with_seed(of, seed)
    state = run_plan(packed.params, policies_for(packed))
    named = {limit.scope for limit in limits_of(packed.scenario) if limit.scope is not None}
    check_sent(packed.scenario, packed.params, state)
    result = make_result(packed.params, state, records=False, classes=bool(named))
    summary = fleet_summary(packed.scenario, result, packed.tables, "cpu", named)
    return flat_summary(with_verdicts(summary, verdicts(packed.scenario, summary))), result


def outline_of(name: str, words: list[str]) -> Outline:
    return outline(quiet(sim.load(name, words)))


def assert_as_alone(of: Outline, found: list[Summed], seeds: range) -> None:
    """The rows, types and all, and the histograms."""
    assert [seed for summed in found for seed in summed.seeds] == list(seeds)
    for summed in found:
        whole = np.zeros_like(summed.latencies.counts(0))
        for run, seed in enumerate(summed.seeds):
            alone, result = row_alone(of, seed)
            together = dict(zip(summed.names, summed.rows[run], strict=True))
            assert [(k, type(v), v) for k, v in together.items()] == [
                (k, type(v), v) for k, v in alone.items()
            ]
            counts = histograms(result, 0)
            lost = [
                n_lost(result, name, 0, int(n))
                for name, n in zip(RESULT_METRICS, counts.sum(axis=1), strict=True)
            ]
            assert (summed.latencies.counts(run) == counts).all()
            assert summed.latencies.n_lost[run].tolist() == lost
            whole += counts
        assert (summed.latencies.counts() == whole).all()


@pytest.mark.parametrize("name", STORIES)
def test_rows_are_those_of_single_runs(name: str) -> None:
    of, seeds = outline_of(*STORIES[name]), range(1, 5)
    (found,) = run_part([(Prepared(of), seeds)], "cpu")
    assert_as_alone(of, found, seeds)


def generated(seed: int) -> list[str]:
    """Words for `first_run`, drawn at random."""
    rng = np.random.default_rng(seed)
    arrivals = {
        "poisson": "{kind: poisson, rate_per_s: %.1f}",
        "gamma": "{kind: gamma, rate_per_s: %.1f, cv: 3}",
        "weibull": "{kind: weibull, rate_per_s: %.1f, cv: 0.4}",
        "on_off": "{kind: on_off, rate_per_s: %.1f, on_s: 3, off_s: 5}",
    }
    lengths = ["32", "{kind: lognormal, median: 90, p99: 3000}", "{kind: gamma, shape: 2, scale: 60}"]
    choices: dict[str, list[str]] = {
        "traffic.arrivals": [text % rng.uniform(0.2, 40) for text in arrivals.values()],
        "traffic.prompt_tokens": lengths,
        "traffic.output_tokens": ["1", *lengths],
        "duration_s": ["1", "20", "90"],
        "warmup_s": ["0", "0.5"],
        "drain_s": ["0", "5", "600"],
        "pool.max_replicas": ["1", "3"],
        "pool.min_replicas": ["1"],
        "autoscaler": ["fixed", "hpa", "queue"],
        "coldstart": ["none", "snapshot"],
        "router": ["round_robin", "least_outstanding", "power_of_two"],
        "retry": ["none", "aggressive"],
        "gpu": ["h100", "l40s"],
        "pool.price.usd_fixed_per_hour": ["0", "1.37"],
        "traffic.objectives.ttft_s": ["null", "0.05"],
        "output.sample_interval_s": ["null", "0.07", "11"],
        "slo": ["[]", "['ttft.p99 < 100 ms']", "['ttft.p50 < 1 s', 'e2e.mean < 9 s', 'usd < 1']"],
    }
    return [f"{key}={rng.choice(values)}" for key, values in choices.items()]


@pytest.mark.parametrize("seed", range(12))
def test_rows_of_generated_scenarios_are_those_of_single_runs(seed: int) -> None:
    seeds = range(3 * seed, 3 * seed + 3)
    of = outline_of("first_run", generated(seed))
    (found,) = run_part([(Prepared(of), seeds)], "cpu")
    assert_as_alone(of, found, seeds)


def test_scenarios_share_requests_but_no_results() -> None:
    asked = [
        (Prepared(outline_of(*STORIES[name])), range(5, 8))
        for name in ("plain", "closed loop", "limits of the fleet", "plain")
    ]
    shared = SharedRequests()
    for (prepared, seeds), found in zip(asked, run_part(asked, "cpu", shared), strict=True):
        assert_as_alone(prepared.of, found, seeds)
    assert shared.mean > 0


def test_a_users_policy_is_read_anew_for_every_run(tmp_path: Path) -> None:
    law = tmp_path / "law.py"
    law.write_text(
        "seen = []\ndef desired(obs):\n    seen.append(1)\n    return [1 + len(seen) // 3] * len(obs.wanted)\n"
    )
    words = [*SHORT, "autoscaler=user", f"autoscaler.law={law}:desired", "pool.max_replicas=5"]
    of, seeds = outline_of("first_run", words), range(3)
    (found,) = run_part([(Prepared(of), seeds)], "cpu")
    assert_as_alone(of, found, seeds)


def test_simpy_leaves_the_same() -> None:
    of, seeds = outline_of("first_run", ["duration_s=5"]), range(2)
    (here,), (there,) = (
        next(run_part([(Prepared(of), seeds)], "cpu")),
        next(run_part([(Prepared(of), seeds)], "simpy")),
    )
    assert here.rows == there.rows


def test_a_device_gets_all_runs_at_once_and_gives_them_back_in_any_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A device of the host's: as many runs as there are, the last one first."""
    asked = [(Prepared(outline_of(*STORIES[name])), range(2, 5)) for name in ("plain", "closed loop")]
    called: list[int] = []

    def run_each(params: list[Params], policies: list[Policies]) -> Iterator[tuple[int, State]]:
        called.append(len(params))
        for i in reversed(range(len(params))):
            yield i, run_plan(params[i], policies[i])

    monkeypatch.setattr("sim.engine.cuda.run_each", run_each)
    for (prepared, seeds), (there,), (here,) in zip(
        asked, run_part(asked, "cuda"), run_part(asked, "cpu"), strict=True
    ):
        assert there.seeds == list(reversed(seeds))
        assert there.rows[::-1] == here.rows
        assert (there.latencies.counts() == here.latencies.counts()).all()
        assert prepared.summaries.names == there.names
    assert called == [6]


# ---- below: fleets without a scenario ----------------------------------------------------------------------
def quiet_fleets(seeds: range) -> Iterator[tuple[Fleet, Series, Params]]:
    """Generated fleets without records, each with a series of its runs."""
    for seed in seeds:
        made = fleet(seed)
        made = made._replace(run=made.run._replace(records=0))
        params = made.params
        yield made, Series(World(params.m, len(made.classes))), params


def test_a_header_that_is_kept_is_the_one_that_is_made_anew() -> None:
    n = 0
    for made, series, params in quiet_fleets(range(40)):
        if series.is_plain(made.traffic):
            for _ in range(2):
                again = series.params(made.run.seed, made.traffic)
                assert (again.m == params.m).all()
                assert (again.trace == params.trace).all()
            n += 1
    assert n > 5


def test_memory_that_was_used_is_as_fresh_as_any() -> None:
    memory, n = Memory(), 0
    fleets = [made for made in quiet_fleets(range(4000, 4040)) if made[1].is_plain(made[0].traffic)]
    for made, series, params in [*fleets, *fleets[:3], *fleets[:3]]:
        alone = run_plan(params, fleet_laws(made))
        for _ in range(2):
            fresh = series.fresh(params, made.traffic, memory)
            header = Params(params.m.copy(), params.trace)
            header.n_request = fresh.n_slot
            assert (fresh.m == new_state(header).m).all()
            found = run_plan(params, fleet_laws(made), fresh=fresh)
            rest = slice(State.SIZE, slot_start(alone))
            assert (found.m[rest] == alone.m[rest]).all()
            assert make_result(params, found).digest == make_result(params, alone).digest
            n += 1
    assert n > 10


def test_what_many_runs_left_is_what_each_left() -> None:
    for made, _, params in quiet_fleets(range(4000, 4030)):
        state = run_plan(params, fleet_laws(made))
        result = make_result(params, state, records=False)
        reader = Reader(params, scopes=(0, 1))
        for _ in range(2):
            reader.add(state)
        many = reader.read()
        assert many.digest == [result.digest] * 2
        assert many.end_ps == [result.end_ps] * 2
        assert many.window_end_ps == [result.window_end_ps] * 2
        for name, column in result.counts.items():
            assert many.counts[name].tolist() == [column.tolist()] * 2, name
        for scope, sums in many.sums.items():
            assert sums.tolist() == [[result.sums[name][scope] for name in RESULT_METRICS]] * 2
        for pool, row in zip(many.pools, result.pools, strict=True):
            assert {name: column.tolist() for name, column in pool.items()} == {
                k: [v] * 2 for k, v in row.items()
            }
        for name in ("time_ps", "kv_blocks_used", "kv_blocks_total", "ready", "wanted"):
            assert many.samples[name].tolist() == result.samples[name].tolist() * 2


# ---- below: requests ----------------------------------------------------------------------
def test_a_generator_that_is_keyed_anew_draws_as_a_new_one() -> None:
    for seed in range(20):
        new, passing = generator(seed, "some stream", "chat"), passing_generator(seed, "some stream", "chat")
        for n in (1, 3, 64, 5):
            assert (new.random(n) == passing.random(n)).all()
            assert (new.standard_gamma(0.7, n) == passing.standard_gamma(0.7, n)).all()
            assert (
                new.integers(9, size=n, dtype=np.int32) == passing.integers(9, size=n, dtype=np.int32)
            ).all()


@pytest.mark.parametrize("name", ["plain", "two models", "sessions and prefixes", "limits of a class"])
def test_requests_of_many_seeds_are_those_of_each(name: str) -> None:
    story = sim.load(STORIES[name][0], STORIES[name][1])
    for seed, together in enumerate(requests_of_seeds(story, range(6))):
        alone = make_requests(story, seed)
        for a, b in zip(together[:5], alone[:5], strict=True):
            assert (a is None and b is None) or (a == b).all()


def test_lengths_do_not_depend_on_what_stands_beside_them() -> None:
    traffic = sim.load("first_run").classes[0]
    numbers = [5, 0, 9000, 9000, 1, 20_000]
    found = lengths_of_seeds(traffic, numbers, range(6))
    for seed, (n, (prompt, output)) in enumerate(zip(numbers, found, strict=True)):
        alone = make_lengths(traffic, n, seed)
        assert (prompt == alone[0]).all()
        assert (output == alone[1]).all()
        assert len(prompt) == n


def test_a_trial_tells_short_runs_from_many_seeds_and_long_ones_from_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = make_plan(load_study("first_run", ["duration_s=2", "seed=1..40"]))
    monkeypatch.setattr("sim.studies.estimate.TRIAL_RUNS_S", 1e9)
    _, table, n = trial(plan, 0, Kept(plan))
    assert (n, table.runs.num_rows) == (41, 40)
    monkeypatch.setattr("sim.studies.estimate.TRIAL_RUNS_S", 0.0)
    monkeypatch.setattr("sim.studies.estimate.COLD_S", 0.0)
    _, table, n = trial(plan, 0, Kept(plan))
    assert (n, table.runs.num_rows) == (1, 1)
    monkeypatch.setattr("sim.studies.estimate.COLD_S", 1e9)
    _, table, n = trial(plan, 0, Kept(plan))
    assert (n, table.runs.num_rows) == (2, 1)
