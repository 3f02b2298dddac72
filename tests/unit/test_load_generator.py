"""Load generators in closed loop: what is sent when, what a benchmark client would report, and what is refused."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import sim
from sim.errors import InputError
from sim.pack.scenario import plan
from sim.scenario.compose import load_scenario
from sim.workload.requests import make_requests

BENCH = [
    "traffic=chat",
    "autoscaler=fixed",
    "slo=none",
    "traffic.prompt_tokens={kind: uniform, low: 20, high: 200}",
    "traffic.output_tokens={kind: uniform, low: 1, high: 40}",
    "traffic.prompt_output_spearman=0",
    "traffic.objectives={}",
    "pool.min_replicas=2",
    "runtime.request_overhead_ms=0",
]
LOOP = "traffic.arrivals={kind: concurrency, max: 8, requests: 60}"


def bench(*overrides: str) -> Any:
    return sim.run("first_run", [*BENCH, LOOP, *overrides])


def columns(run: Any) -> dict[str, np.ndarray]:
    """Columns of the requests by number."""
    table = run.requests.sort_by("request_id")
    names = ("request_id", "arrival_ps", "first_token_ps", "last_token_ps", "prompt_tokens", "output_tokens")
    return {name: np.array(table[name].to_pylist()) for name in names}


def test_never_more_than_max_are_in_flight_and_each_is_sent_when_a_client_is_free() -> None:
    run = bench("traffic.arrivals.jitter_s=0")
    found = columns(run)
    assert found["request_id"].tolist() == list(range(60))
    assert (found["arrival_ps"][:8] == 0).all()
    sent, ended = found["arrival_ps"], np.sort(found["last_token_ps"])
    assert (np.diff(sent) >= 0).all()  # in the order of the list
    assert np.array_equal(sent[8:], ended[:52] + 1)  # a picosecond after the k-th answer comes request 8 + k


def test_what_a_benchmark_client_reports_is_in_the_summary() -> None:
    run = bench()
    found, said = columns(run), run.summary
    took_s = (found["last_token_ps"].max() + 1) / 1e12
    assert said["window_s"] == said["duration_s"] == said["end_s"] == pytest.approx(took_s, rel=1e-12)
    assert said["completed"] == said["offered"] == 60
    assert said["completed_per_s"] == pytest.approx(60 / took_s)
    assert said["output_tokens_per_s"] == pytest.approx(found["output_tokens"].sum() / took_s)
    ttft_s = (found["first_token_ps"] - found["arrival_ps"]) / 1e12
    assert said["ttft"]["mean_s"] == pytest.approx(ttft_s.mean())
    assert said["usd"] == pytest.approx(2 * took_s / 3600 * said["usd_lines"][0]["unit_usd_per_hour"])
    assert 0 < said["step_busy"] <= 1


def test_requests_are_the_same_whoever_sends_them() -> None:
    few, many = (columns(bench(f"traffic.arrivals.max={n}")) for n in (1, 60))
    for name in ("prompt_tokens", "output_tokens"):
        assert np.array_equal(few[name], many[name])
    longer = columns(bench("traffic.arrivals.requests=90"))
    assert np.array_equal(longer["prompt_tokens"][:60], few["prompt_tokens"])


def test_clients_pause_for_a_moment_of_their_own() -> None:
    scenario = load_scenario(
        "first_run", [*BENCH, LOOP, "traffic.arrivals={requests: 20000, jitter_s: 0.01}"]
    )
    turns = make_requests(scenario, 1).turns
    assert turns is not None
    assert turns.pause_ps.mean() == pytest.approx(1e10, rel=0.05)
    assert np.std(turns.pause_ps) == pytest.approx(1e10, rel=0.05)


def test_a_ramp_spreads_the_first_requests() -> None:
    sent = columns(bench("traffic.arrivals.ramp_s=4"))["arrival_ps"]
    assert np.array_equal(np.sort(sent)[:3], [0, 5 * 10**11, 10**12]) or sent[1] == 5 * 10**11


def test_without_a_number_of_requests_they_go_on_until_the_end() -> None:
    run = bench("traffic.arrivals.requests=null", "duration_s=20", "warmup_s=5", "drain_s=60")
    found = columns(run)
    assert run.summary["window_s"] == 15
    assert found["arrival_ps"].max() < 20e12
    in_flight = [
        int(np.count_nonzero((found["arrival_ps"] <= t) & (found["last_token_ps"] > t)))
        for t in np.linspace(1e12, 19e12, 50)
    ]
    assert max(in_flight) == 8
    assert np.mean(in_flight) > 7.5


def test_a_run_that_is_not_done_by_its_duration_is_cut_there() -> None:
    run = bench("duration_s=0.5", "traffic.arrivals.max=2")
    assert run.summary["window_s"] == 0.5
    assert 0 < run.summary["offered"] < 60
    assert columns(run)["arrival_ps"].max() < 5e11
    assert run.summary["unsent"] == {"chat": 60 - run.summary["offered"]}
    assert bench().summary["unsent"] == {}


def test_a_slot_is_free_when_its_request_is_given_up_or_refused() -> None:
    gone = bench("traffic.patience.total_s=0.05", "retry=none", "traffic.output_tokens=400")
    assert gone.summary["timed_out"] == gone.summary["offered"] == 60
    refused = bench("traffic.caps={output_tokens: 10, long_output: reject}")
    assert refused.summary["offered"] == 60
    assert 0 < refused.summary["rejected"] < 60


def test_retries_keep_their_slot() -> None:
    run = bench(
        "traffic.patience.first_token_s=0.004",
        "traffic.retry={attempts: 3, on: [timed_out], backoff: {kind: constant, base_s: 0.5}}",
        "traffic.arrivals.jitter_s=0",
    )
    assert run.summary["retries"] > 0
    found = columns(run)
    for t in found["arrival_ps"]:
        rows = run.requests.to_pylist()
        inside = sum(row["arrival_ps"] <= t for row in rows) - sum(
            row["last_token_ps"] is not None and row["last_token_ps"] < t for row in rows
        )
        assert inside <= 8 + run.summary["timed_out"]


def test_classes_may_share_a_list_or_have_their_own() -> None:
    share = ["+classes.short.share=0.5", "+classes.long.share=0.5", "+classes.long.output_tokens=80"]
    run = sim.run("first_run", [*BENCH, LOOP, *share])
    found = run.requests.sort_by("request_id").to_pylist()
    assert len(found) == 60
    assert {row["class"] for row in found} == {"short", "long"}
    assert all(a["arrival_ps"] <= b["arrival_ps"] for a, b in pairwise(found))
    own = ["+classes.a.arrivals={kind: concurrency, max: 3, requests: 20}", "+classes.b={}"]
    run = sim.run("first_run", [*BENCH, LOOP, *own])
    assert {name: c["offered"] for name, c in run.summary["classes"].items()} == {"a": 20, "b": 60}
    mixed = ["+classes.a={}", "+classes.b.arrivals={kind: poisson, rate_per_s: 2}", "duration_s=30"]
    run = sim.run("first_run", [*BENCH, LOOP, *mixed])
    assert run.summary["window_s"] == 30  # Poisson arrivals go on: the run does not end with the list


def test_a_trace_is_sent_in_its_order(tmp_path: Any) -> None:
    file = tmp_path / "t.csv"
    file.write_text(
        "arrival_s,prompt_tokens,output_tokens\n" + "".join(f"{i},{10 + i},{i + 1}\n" for i in range(30))
    )
    run = bench(f"traffic.trace={{file: {file}}}", "traffic.arrivals={max: 4, requests: null}")
    found = columns(run)
    assert found["prompt_tokens"].tolist() == list(range(10, 40))
    assert found["arrival_ps"][4:].min() > 0
    with pytest.raises(InputError, match="speed_up"):
        bench(f"traffic.trace={{file: {file}, speed_up: 2}}")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["traffic.sessions={turns: 3}"], "traffic.sessions: cannot go with arrivals of kind concurrency"),
        (
            ["traffic.spikes=[{at_s: 1, height: 2, length_s: 5}]"],
            "traffic.spikes: arrivals of kind concurrency have no rate",
        ),
        (
            [f"traffic.curves={{active: true, week: {[1.0] * 7}}}"],
            "traffic.curves.week: arrivals of kind concurrency have no rate",
        ),
        (["traffic.arrivals.ramp_s=600"], "traffic.arrivals.ramp_s: 600"),
        (["traffic.arrivals.max=0"], "traffic.arrivals.max"),
        (["traffic.arrivals.rate_per_s=3"], "traffic.arrivals.rate_per_s: no such key"),
    ],
)
def test_what_makes_no_sense_is_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario("first_run", [*BENCH, LOOP, *overrides])
    assert said in str(caught.value)


def test_clients_that_nobody_can_count_are_asked_for_a_number() -> None:
    free = [
        "traffic.arrivals={kind: concurrency, max: 100000}",
        "traffic.output_tokens=1",
        "traffic.prompt_tokens=1",
    ]
    with pytest.raises(InputError, match=r"arrivals\.requests is missing"):
        plan(load_scenario("first_run", [*BENCH, *free, "duration_s=100000"]))


def test_clients_that_fail_at_once_run_out_of_requests() -> None:
    refused = [
        "traffic.arrivals={kind: concurrency, max: 8, jitter_s: 0}",
        "traffic.caps={output_tokens: 1, long_output: reject}",
    ]
    with pytest.raises(InputError, match=r"arrivals\.requests"):
        sim.run("first_run", [*BENCH, *refused, "duration_s=2"])


@pytest.mark.parametrize("engine", ["cpu", "simpy"])
def test_engines_agree(engine: str) -> None:
    run = bench(f"engine={engine}", "output.sample_interval_s=0.1")
    assert run.digest == bench("output.sample_interval_s=0.1").digest
    assert run.summary["end_s"] == run.timeseries["time_s"].to_pylist()[-1]


def test_a_sweep_sees_the_same_runs() -> None:
    sweep = sim.sweep(load_scenario("first_run", [*BENCH, LOOP]), seeds=[1, 2])
    assert {row["seed"]: row["completed"] for row in sweep.rows} == {1: 60, 2: 60}
    assert sweep.rows[0]["window_s"] == pytest.approx(bench("seed=1").summary["window_s"])
