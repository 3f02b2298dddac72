"""What stands around the GPU: stations, guardrail, response cache, deadlines, cheap hours: read, packed, refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sim import api
from sim.completion import candidates
from sim.errors import InputError
from sim.fill.rows import ClassRow, FrontRow, VisitRow
from sim.model.tables.traffic import CLASSES_MAX
from sim.pack.scenario import plan
from sim.pack.traffic import class_rows, front_row
from sim.scenario.build import from_dict
from sim.scenario.compose import load_scenario
from sim.scenario.popularity import Popularity
from sim.scenario.resolved import config_hash, resolved
from sim.scenario.station import Visit
from sim.units import NEVER, PS_PER_S
from sim.workload.popularity import OWN, first_asked, make_contents

MS, US = 10**9, 10**6
TOK = ["gateway.stations.tok={workers: 2, base_ms: 1, per_prompt_token_us: 2.5}", "traffic.before=[tok]"]
CHECK = [
    "gateway.stations.check={workers: 3, base_ms: 5, per_prompt_token_us: 1, per_output_token_us: 200}",
    "traffic.after=[check]",
]
CACHE = ["gateway.response_cache={entries: 10, lifetime_s: 60}", "traffic.popularity={catalogue: 100}"]
HOURS = ["traffic.cheap_hours=[12:05,06:00]"]  # the first run begins at 12:00
TWO = "two_models"


def row(overrides: list[str], story: str = "first_run") -> ClassRow:
    """The first class as a row."""
    return class_rows(load_scenario(story, overrides))[0]


# ---- read and packed -------------------------------------------------------------------------------------------
def test_a_scenario_that_says_nothing_has_nothing_around_its_gpus() -> None:
    scenario = load_scenario("first_run")
    assert front_row(scenario) == FrontRow()
    assert not row([]).has_attempts


def test_visits_in_numbers_take_their_stations_times_or_their_own() -> None:
    visits = "traffic.after=[check, {station: tok, base_ms: 7}, {station: check, per_output_token_us: 0}]"
    found = row([*TOK, *CHECK, visits])
    assert found.before == (VisitRow(0, MS, 5 * US // 2),)
    assert found.after == (
        VisitRow(1, 5 * MS, US, 200 * US),
        VisitRow(0, 7 * MS, 5 * US // 2),
        VisitRow(1, 5 * MS, US),
    )
    assert front_row(load_scenario("first_run", [*TOK, *CHECK])).workers == (2, 3)


def test_before_the_gpu_there_is_no_answer_to_read() -> None:
    assert row([*CHECK, "traffic.before=[check]"]).before == (VisitRow(0, 5 * MS, US),)


def test_a_station_can_be_an_option_of_the_catalogue() -> None:
    overrides = [
        "station@gateway.stations.tok=tokeniser",
        "gateway.stations.tok.workers=3",
        "traffic.before=[tok]",
    ]
    station = load_scenario("first_run", overrides).gateway.stations["tok"]
    assert (station.workers, station.base_ms, station.per_prompt_token_us) == (3, 1, 1.5)
    assert station.source


def test_a_guardrail_in_numbers() -> None:
    found = row(
        [
            *CHECK,
            "classes.chat.after=[check]",
            "classes.chat.guardrail={blocked: 0.25, fallback: qwen3_32b, withheld: true}",
        ],
        TWO,
    )
    assert (found.blocked_q20, found.fallback, found.is_withheld) == (1 << 18, 1, 1)
    assert row(["traffic.guardrail.blocked=1e-9"]).blocked_q20 == 1


def test_a_response_cache_in_numbers() -> None:
    scenario = load_scenario("first_run", [*CACHE, "gateway.response_cache.latency_s=0.002"])
    assert front_row(scenario) == FrontRow((), 10, 60 * PS_PER_S, 2 * MS)
    forever = load_scenario("first_run", [*CACHE, "gateway.response_cache.lifetime_s=null"])
    assert front_row(forever).cache_life_ps == NEVER


def test_deadlines_and_cheap_hours_in_numbers() -> None:
    found = row([*HOURS, "traffic.deadline_s=90000", "traffic.defer_max_s=7200"])
    assert found.deadline_ps == 90_000 * PS_PER_S
    assert found.window_ps == (300 * PS_PER_S, 18 * 3600 * PS_PER_S)  # t = 0 is at 12:00
    assert found.defer_max_ps == 7200 * PS_PER_S
    assert row(HOURS).defer_max_ps == 86_400 * PS_PER_S
    midnight = row([*HOURS, "traffic.curves.start_hour=0", "duration_s=80000"])
    assert midnight.window_ps == (43_500 * PS_PER_S, 21_600 * PS_PER_S)


def test_a_resolved_scenario_reads_back_and_its_hash_knows_the_order_of_visits() -> None:
    overrides = [*TOK, *CHECK, *CACHE, *HOURS, "traffic.guardrail.blocked=0.1", "traffic.deadline_s=90000"]
    scenario = load_scenario("first_run", overrides)
    assert from_dict(resolved(scenario)) == scenario
    (entry,) = scenario.classes
    visits = (Visit(station="tok"), Visit(station="check"))
    hashes = [
        config_hash(dataclasses.replace(scenario, classes=(dataclasses.replace(entry, after=order),)))
        for order in (visits, visits[::-1])
    ]
    assert hashes[0] != hashes[1]


def test_completion_knows_stations() -> None:
    assert "gateway.stations.tokeniser." in candidates(["run", "slow_tokeniser", "gateway.stations."])
    assert "gateway.stations.tokeniser.workers=" in candidates(
        ["run", "slow_tokeniser", "gateway.stations.tokeniser.w"]
    )
    assert candidates(["run", "slow_tokeniser", "station@g"]) == ["station@gateway.stations.tokeniser="]


# ---- what is asked ---------------------------------------------------------------------------------------------
def test_contents_follow_zipfs_law_and_are_numbered_as_they_come() -> None:
    n = 200_000
    contents = make_contents(Popularity(catalogue=50, exponent=1.0, cacheable=0.5), n, 1, "chat")
    shared = contents[contents != OWN]
    assert abs(len(shared) / n - 0.5) < 0.005
    assert set(shared.tolist()) == set(range(50))
    _, first = np.unique(shared, return_index=True)
    assert np.all(np.diff(first) > 0)
    counts = np.sort(np.bincount(shared))[::-1] / len(shared)
    law = 1 / np.arange(1, 51)
    assert np.allclose(counts, law / law.sum(), rtol=0.1)


def test_contents_are_a_function_of_seed_and_class_and_a_longer_run_begins_with_the_shorter() -> None:
    law = Popularity(catalogue=1000, exponent=0.8, cacheable=0.7)
    short, long = (make_contents(law, n, 5, "chat") for n in (500, 2000))
    assert np.array_equal(short, long[:500])
    assert not np.array_equal(long, make_contents(law, 2000, 6, "chat"))
    assert not np.array_equal(long, make_contents(law, 2000, 5, "code"))


def test_who_asks_the_same_is_as_long() -> None:
    assert first_asked(np.array([OWN, 0, 1, 0, OWN, 1])).tolist() == [0, 1, 2, 1, 4, 2]
    requests = plan(load_scenario("first_run", [*CACHE, "traffic.popularity.cacheable=0.5"])).params
    n = int(requests.n_request)
    words, contents = requests.trace[n : 2 * n], requests.trace[requests.content_at :][:n]
    for content in range(5):
        assert len(set(words[contents == content].tolist())) == 1
    assert len(set(words[contents == OWN].tolist())) > 0.9 * np.sum(contents == OWN)


def test_classes_ask_different_things_and_a_cache_of_nothing_keeps_no_contents() -> None:
    two = ["traffic.popularity={catalogue: 10}", "classes.chat.share=0.5", "classes.code.share=0.5"]
    params = plan(load_scenario("first_run", [*two, "gateway.response_cache.entries=5"])).params
    n = int(params.n_request)
    contents, classes = params.trace[params.content_at :][:n], params.trace[n : 2 * n] & CLASSES_MAX
    assert int(params.n_content) == 20
    assert [set(contents[classes == k].tolist()) for k in (0, 1)] == [set(range(10)), set(range(10, 20))]
    assert plan(load_scenario("first_run", [*two, "gateway.response_cache.entries=0"])).params.n_content == 0


# ---- refused ---------------------------------------------------------------------------------------------------
MISTAKES: list[tuple[list[str], str, str]] = [
    (["traffic.before=[tok]"], "traffic.before[0]: 'tok'", "there are no `gateway.stations`"),
    ([*TOK, "traffic.after=[tik]"], "traffic.after[0]: 'tik'", "did you mean 'tok'"),
    ([*TOK, "traffic.before=[3]"], "traffic.before[0]: 3", "a mapping"),
    ([*TOK, "traffic.before=tok"], "traffic.before: 'tok'", "a list"),
    ([*TOK, "traffic.before=[{base_ms: 3}]"], "traffic.before[0].station: is missing", "text"),
    ([*TOK, "traffic.before=[{station: tok, base: 3}]"], "traffic.before[0].base: no such", "mean 'base_ms'"),
    (
        [*TOK, "traffic.before=[{station: tok, per_output_token_us: 3}]"],
        "traffic.before[0].per_output_token_us: 3",
        "no answer is there yet",
    ),
    ([*TOK, "gateway.stations.tok.workers=0"], "gateway.stations.tok.workers: 0", "≥ 1 and ≤ 10000"),
    ([*TOK, "gateway.stations.tok.worker=1"], "gateway.stations.tok.worker: no such", "mean 'workers'"),
    ([*TOK, "gateway.stations.tok.base_ms=-1"], "gateway.stations.tok.base_ms: -1", "≥ 0"),
    (
        ["gateway.stations.tok={workers: 1}", "traffic.before=[tok]"],
        "traffic.before[0]: a visit to tok takes no time",
        "gateway.stations.tok",
    ),
    (
        ["gateway.stations.tok={base_ms: 1}", "traffic.before=[tok]"],
        "stations.tok.workers: is missing",
        "≥ 1",
    ),
    ([TOK[0]], "gateway.stations.tok: no class visits it", "traffic.before or traffic.after"),
    (
        [*TOK, "gateway.stations.tik.workers=9"],
        "gateway.stations.tik: no class visits it",
        "did you mean 'tok'",
    ),
    (["gateway.stations=3"], "gateway.stations: 3", "a mapping of names"),
    (["station=tokeniser"], "station:", "station@gateway.stations.NAME"),
    (["station@pools.a=tokeniser"], "station@pools.a:", "station@gateway.stations.NAME"),
    (["station@gateway.stations.a=tokenizer"], "station@gateway.stations.a:", "did you mean 'tokeniser'"),
    (["traffic.guardrail.blocked=1.5"], "traffic.guardrail.blocked: 1.5", "≥ 0 and ≤ 1"),
    (["traffic.guardrail.blocked=-0.1"], "traffic.guardrail.blocked: -0.1", "≥ 0 and ≤ 1"),
    (["traffic.guardrail.withheld=true"], "traffic.guardrail.withheld: true", "no station in `after`"),
    (
        ["traffic.guardrail={blocked: 0.1, fallback: qwen3_32b}"],
        "traffic.guardrail.fallback: 'qwen3_32b'",
        "null: no other is served",
    ),
    (
        [*CACHE, "traffic.popularity=null"],
        "gateway.response_cache: no class has a `popularity`",
        "asked again",
    ),
    ([CACHE[1]], "traffic.popularity: is of no use without a gateway.response_cache", "entries: 0"),
    ([*CACHE, "traffic.popularity.cacheable=1.5"], "traffic.popularity.cacheable: 1.5", "> 0 and ≤ 1"),
    ([*CACHE, "traffic.popularity.catalogue=0"], "traffic.popularity.catalogue: 0", "≥ 1"),
    ([*CACHE, "traffic.popularity.exponent=-1"], "traffic.popularity.exponent: -1", "≥ 0"),
    ([*CACHE, "traffic.sessions={turns: 3}"], "traffic.popularity: null with sessions", "said before"),
    ([*CACHE, "traffic.trace={file: x.csv}"], "traffic.popularity: null with a trace", "recordings"),
    ([*CACHE, "gateway.response_cache.lifetime_s=0"], "gateway.response_cache.lifetime_s: 0", "≥ 1e-06"),
    (["traffic.deadline_s=0"], "traffic.deadline_s: 0", "≥ 1e-06"),
    (["traffic.deadline_s=9", "patience.total_s=30"], "patience.total_s: 30", "less than deadline_s (9 s)"),
    (
        ["traffic.deadline_s=9", "patience.first_token_s=9"],
        "patience.first_token_s: 9",
        "less than deadline_s",
    ),
    (["traffic.deadline_s=0.4", "retry=sdk_default"], "retry.backoff.base_s: 0.5", "less than deadline_s"),
    (["traffic.defer_max_s=60"], "traffic.defer_max_s: 60", "null while there are no cheap_hours"),
    (["traffic.cheap_hours=[22:00]"], "traffic.cheap_hours: ['22:00']", "two different times of day"),
    (["traffic.cheap_hours=[06:00,06:00]"], "traffic.cheap_hours: ['06:00', '06:00']", "two different times"),
    (
        ["traffic.cheap_hours=[22:00,25:00]"],
        "traffic.cheap_hours[1]: '25:00'",
        'a time of day in quotes, as "22:00"',
    ),
    (["traffic.cheap_hours=22:00-06:00"], "traffic.cheap_hours: '22:00-06:00'", "a list"),
    (
        ["traffic.cheap_hours=[22:00,06:00]"],
        "traffic.cheap_hours: ['22:00', '06:00']",
        "1200 s from 12:00 on",
    ),
    ([*HOURS, "traffic.deadline_s=3600"], "traffic.defer_max_s: null", "less than deadline_s (3600 s)"),
    ([*HOURS, "traffic.defer_max_s=0"], "traffic.defer_max_s: 0", "≥ 1e-06"),
]


@pytest.mark.parametrize(
    ("overrides", "said", "allowed"), MISTAKES, ids=[" ".join(m[0])[-60:] for m in MISTAKES]
)
def test_one_line_names_the_key_and_what_is_allowed(overrides: list[str], said: str, allowed: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario("first_run", overrides)
    (line,) = caught.value.problems
    assert said in line
    assert allowed in line


@pytest.mark.parametrize(
    ("overrides", "allowed"),
    [
        (
            ["classes.chat.guardrail={blocked: 0.1, fallback: llama_3_1_8b}"],
            "another model that a pool serves: qwen3_32b",
        ),
        (["classes.chat.guardrail={blocked: 0.1, fallback: qwen3_3b}"], "did you mean 'qwen3_32b'"),
        (["classes.chat.guardrail.fallback=qwen3_32b"], "null while nothing is `blocked`"),
        (
            ["classes.chat.guardrail={blocked: 0.1, fallback: qwen3_32b}", "classes.chat.route_to=[chat]"],
            "null for a class that chooses among pools",
        ),
    ],
)
def test_a_fallback_is_another_model_that_is_served(overrides: list[str], allowed: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario(TWO, overrides)
    (line,) = caught.value.problems
    assert line.startswith("classes.chat.guardrail.fallback: ")
    assert allowed in line


def test_every_mistake_is_told_at_once() -> None:
    mistakes = [
        "traffic.before=[tok, tik]",
        "traffic.guardrail={withheld: true, fallback: x}",
        "traffic.defer_max_s=3",
    ]
    with pytest.raises(InputError) as caught:
        load_scenario("first_run", [*TOK, *mistakes, "gateway.stations.b={workers: 1}"])
    keys = [line.split(":")[0] for line in caught.value.problems]
    assert keys == [
        "traffic.before[1]",
        "traffic.guardrail.withheld",
        "traffic.guardrail.fallback",
        "traffic.defer_max_s",
        "gateway.stations.b",
    ]


def test_weeks_of_work_for_a_worker_are_refused_before_the_clock_overflows() -> None:
    with pytest.raises(
        InputError, match=r"stations.tok: \d+ days of work for 2 workers.*allowed: 50 days a worker"
    ):
        plan(load_scenario("first_run", [*TOK, "gateway.stations.tok.base_ms=3.6e6"]))


# ---- runs ------------------------------------------------------------------------------------------------------
SMALL = ["duration_s=60", "drain_s=60", "traffic.arrivals={kind: poisson, rate_per_s: 2}"]


def test_what_stations_did_is_in_the_summary() -> None:
    run = api.run("first_run", [*SMALL, *TOK, *CHECK])
    rows = run.result.requests
    prompt, output = (int(rows[name].sum()) for name in ("prompt_tokens", "output_tokens"))
    n = len(rows["prompt_tokens"])
    tok, check = run.summary["stations"]["tok"], run.summary["stations"]["check"]
    assert (tok["workers"], check["workers"]) == (2, 3)
    assert tok["run_visits"] == check["run_visits"] == n == run.summary["completed"]
    assert tok["run_busy_s"] * PS_PER_S == pytest.approx(n * MS + prompt * 5 * US // 2, abs=1)
    assert check["run_busy_s"] * PS_PER_S == pytest.approx(
        n * 5 * MS + prompt * US + output * 200 * US, abs=1
    )
    assert tok["run_use"] == pytest.approx(tok["run_busy_s"] / 2 / run.summary["end_s"])
    assert api.run("first_run", SMALL).summary["stations"] == {}


def test_a_station_is_never_busier_than_its_workers() -> None:
    run = api.run("first_run", [*SMALL, *TOK, "gateway.stations.tok={workers: 1, base_ms: 5000}"])
    station = run.summary["stations"]["tok"]
    assert run.summary["inside"] > 0
    assert 0.98 < station["run_use"] <= 1


def test_answers_from_the_cache_are_counted_and_marked() -> None:
    run = api.run("first_run", [*SMALL, *CACHE, "gateway.response_cache.latency_s=0.25"])
    table = run.requests.to_pydict()
    cached = np.array(table["from_cache"])
    assert 10 < run.summary["from_cache"] == run.summary["classes"]["chat"]["from_cache"] == cached.sum()
    assert set(np.array(table["e2e_s"])[cached]) == {0.25}
    assert {table["pool"][i] for i in np.flatnonzero(cached)} == {None}
    assert run.summary["completed"] == run.summary["offered"]
    nothing = api.run("first_run", [*SMALL, *CACHE, "gateway.response_cache.entries=0"])
    assert nothing.summary["from_cache"] == 0
    assert nothing.summary["offered"] == run.summary["offered"]


def test_answers_that_are_blocked_are_rejected_or_asked_of_another_model() -> None:
    alone = api.run("first_run", [*SMALL, "traffic.guardrail.blocked=0.2"])
    assert 5 < alone.summary["blocked"] == alone.summary["rejected"] == alone.summary["reasons"]["blocked"]
    guardrail = "classes.chat.guardrail={blocked: 0.2, fallback: qwen3_32b}"
    other = api.run(TWO, [*SMALL, guardrail, "coldstart=none"])
    table = other.requests.to_pydict()
    moved = [pool for name, pool in zip(table["class"], table["pool"], strict=True) if name == "chat"].count(
        "code"
    )
    assert 5 < moved == other.summary["blocked"] == other.summary["classes"]["chat"]["blocked"]
    assert other.summary["classes"]["code"]["blocked"] == 0
    assert other.summary["served_fraction"] == 1
    bills = [section["usd"] for section in other.summary["classes"].values()]
    assert sum(bills) + other.summary["usd_idle"] == pytest.approx(other.summary["usd"])


def test_gaps_of_blocked_answers_keep_no_promise() -> None:
    run = api.run("first_run", ["duration_s=20", "traffic.guardrail.blocked=1", "slo=['itl.p99 < 1 s']"])
    assert run.summary["completed"] == 0
    assert {run.summary[name]["p50_s"] for name in ("ttft", "itl", "itl_max", "tpot")} == {float("inf")}
    assert run.summary["itl"]["p50_served_s"] is None
    assert not run.ok


def test_what_is_withheld_comes_at_once_after_the_check() -> None:
    run = api.run("first_run", [*SMALL, *CHECK, "traffic.guardrail.withheld=true"])
    rows = run.result.requests
    assert np.array_equal(rows["first_token_ps"], rows["last_token_ps"])


def test_a_deadline_ends_what_is_late_and_cheap_hours_hold_back() -> None:
    late = api.run("first_run", [*SMALL, *TOK, "traffic.deadline_s=3", "gateway.stations.tok.base_ms=1500"])
    assert late.summary["reasons"]["in_cpu_stage"] > 0.9 * late.summary["timed_out"] > 10
    waits = api.run("first_run", [*SMALL, "drain_s=600", "traffic.cheap_hours=[12:05,06:00]"])
    taken = np.array(waits.requests.to_pydict()["taken_s"])
    assert set(taken) == {300.0}
    over = ["duration_s=120", "traffic.cheap_hours=[11:50,12:01]", "traffic.guardrail.blocked=0.2"]
    unbegun = api.run("first_run", [*SMALL, *over])  # who comes in the second minute waits for tomorrow
    assert unbegun.summary["inside"] > 50
    assert unbegun.summary["blocked"] == unbegun.summary["rejected"] > 5
