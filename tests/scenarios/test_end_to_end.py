"""Whole stories from their file to their tables, on every engine that a machine without a GPU has."""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import shared_data

import sim
from sim.engine.host import run_plan
from sim.fill.state import LINE
from sim.model.router.choose import ROUTERS
from sim.model.tables.codes import COMPLETED
from sim.model.tables.record import RequestRecord
from sim.model.tables.slot import N_SPENT
from sim.pack.scenario import plan
from sim.scenario.catalogue import scenario_files
from sim.units import PS_PER_S

AZURE = "traces/azure_llm_2023/original/AzureLLMInferenceTrace_{}.head.csv"
#: What makes a story short. A day that begins at midnight has nobody in its first minutes.
SHORT = {
    "quiet_day": ["duration_s=600", "drain_s=300", "traffic.curves.start_hour=9"],
    "spiky_hour": [
        "duration_s=240",
        "drain_s=60",
        "traffic.spikes=[{at_s:60,height:8,length_s:60,ramp_s:10}]",
    ],
    "retry_storm": ["duration_s=90", "drain_s=60", "traffic.spikes=[{at_s:10,height:6,length_s:30}]"],
    "black_friday": [
        "duration_s=90",
        "drain_s=60",
        "traffic.spikes=[{at_s:10,height:10,ramp_s:5,length_s:60}]",
    ],
    "batch_and_chat": ["duration_s=90", "drain_s=60", "classes.batch.arrivals={requests:60,at_s:10}"],
    "replicas_lost": ["duration_s=60", "drain_s=60", "faults=[{at_s:20,replicas:1}]"],
    "brown_out": ["duration_s=90", "drain_s=60", "faults.0.at_s=20", "faults.0.lasts=30"],
    "noisy_neighbour": ["duration_s=900", "warmup_s=600", "drain_s=120"],
    "mig_packing": ["duration_s=900", "warmup_s=600", "drain_s=60"],
    "bad_version": ["duration_s=400", "drain_s=60", "deployments.0.at_s=20"],
    "gpu_drought": [
        "duration_s=300",
        "drain_s=60",
        "traffic.spikes.0.at_s=60",
        "traffic.spikes.0.length_s=120",
        "cluster.node_groups.0.no_capacity.windows=[{from_s: 60, to_s: 200}]",
    ],
    "monday_morning": [
        "duration_s=600",
        "warmup_s=60",
        "drain_s=60",
        "traffic.spikes=[{at_s: 60, height: 12, length_s: 500}]",
    ],
    "after_the_rush": [
        "duration_s=300",
        "drain_s=60",
        *(f"classes.{c}.spikes=[]" for c in ("chat", "search", "support")),
    ],
    "zone_loss": ["duration_s=300", "drain_s=60", "faults.0.at_s=60"],
    "scale_to_zero_fleet": ["duration_s=300", "warmup_s=60", "drain_s=60"],
    "rolling_upgrade_under_load": ["duration_s=90", "drain_s=60", "deployments.0.at_s=20"],
}
SHORT["weights_from_one_store"] = [
    "duration_s=240",
    "drain_s=600",
    "pool.max_replicas=4",
    "traffic.arrivals.rate_per_s=8",
]  # its first replica is there after two minutes
SHORTER = ["duration_s=90", "drain_s=60"]
SHORT["agents_at_nine"] = [*SHORTER, "traffic.spikes=[{at_s:20,height:20,length_s:60}]"]


def short(name: str) -> list[str]:
    """Overrides that make a scenario of the catalogue short; skips where its trace is not there."""
    if name.startswith("azure_"):
        path = shared_data(AZURE.format(name.removeprefix("azure_")))
        return [*SHORTER, f"traffic.trace.file={path}"]
    return SHORT.get(name, SHORTER)


# ---- the catalogue -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", sorted(scenario_files()))
def test_every_scenario_runs_and_adds_up(name: str, tmp_path: Path) -> None:
    run = sim.run(name, short(name), out=tmp_path)
    counts = run.result.counts
    assert counts["completed"][0] > 0
    ends = sum(counts[key] for key in ("completed", "rejected", "timed_out", "failed", "inside"))
    assert np.array_equal(counts["offered"], ends)
    assert run.requests.num_rows == counts["all_offered"][0]
    assert run.timeseries.num_rows == len(run.result.samples["time_ps"]) > 0
    assert run.path is not None
    assert {path.name for path in run.path.iterdir()} >= {
        "requests.parquet",
        "timeseries.parquet",
        "summary.json",
    }


@pytest.mark.parametrize("name", sorted(scenario_files()))
def test_two_engines_agree_on_every_scenario(name: str) -> None:
    compiled, stepped = (sim.run(name, [*short(name), f"engine={engine}"]) for engine in ("cpu", "simpy"))
    assert compiled.digest == stepped.digest
    assert compiled.requests.equals(stepped.requests)
    assert compiled.timeseries.equals(stepped.timeseries)


def test_two_engines_agree_on_the_whole_first_run() -> None:
    compiled, stepped = (sim.run("first_run", [f"engine={engine}"]) for engine in ("cpu", "simpy"))
    assert compiled.digest == stepped.digest
    assert {**compiled.summary, "engine": ""} == {**stepped.summary, "engine": ""}


@pytest.mark.parametrize("autoscaler", ["fixed", "hpa", "hpa_fast", "queue", "queue_to_zero", "fixed_max"])
def test_two_engines_agree_on_a_spike_under_every_autoscaler(autoscaler: str) -> None:
    overrides = [*short("spiky_hour"), f"autoscaler={autoscaler}", "coldstart=warm_cache"]
    compiled, stepped = (
        sim.run("spiky_hour", [*overrides, f"engine={engine}"]) for engine in ("cpu", "simpy")
    )
    assert compiled.digest == stepped.digest


@pytest.mark.parametrize("router", ROUTERS)
def test_two_engines_agree_on_a_spike_under_every_router(router: str) -> None:
    overrides = [*short("spiky_hour"), f"router={router}", "runtime=vllm_prefix_cache"]
    compiled, stepped = (
        sim.run("spiky_hour", [*overrides, f"engine={engine}"]) for engine in ("cpu", "simpy")
    )
    assert compiled.digest == stepped.digest


AROUND = [  # stations, a guardrail with another model to ask, a cache, a deadline and cheap hours, all at once
    "duration_s=240",
    "drain_s=120",
    "coldstart=none",
    "pools.code.min_replicas=2",
    "station@gateway.stations.tokeniser=tokeniser_python",
    "station@gateway.stations.check=guardrail_check",
    "gateway.response_cache={entries: 40, lifetime_s: 45, latency_s: 0.002}",
    "gateway.stations.check.workers=2",
    "classes.chat.before=[tokeniser]",
    "classes.chat.after=[check, {station: tokeniser, base_ms: 0.5}]",
    "classes.chat.guardrail={blocked: 0.1, fallback: qwen3_32b, withheld: true}",
    "classes.chat.popularity={catalogue: 200, exponent: 1, cacheable: 0.7}",
    "classes.chat.patience={first_token_s: 6, total_s: 20}",
    "classes.chat.retry={attempts: 3, on: [timed_out], backoff: {kind: constant, base_s: 0.5}, hedge_after_s: 0.3}",
    "classes.code.before=[{station: tokeniser, per_prompt_token_us: 30}]",
    "classes.code.guardrail.blocked=0.05",
    "classes.code.popularity={catalogue: 30}",
    "classes.code.deadline_s=200",
    "classes.code.cheap_hours=[12:01,12:03]",
    "classes.code.curves.start_hour=12",
    "classes.code.defer_max_s=100",
]


def test_two_engines_agree_with_all_that_stands_around_the_gpus() -> None:
    compiled, stepped = (sim.run("two_models", [*AROUND, f"engine={engine}"]) for engine in ("cpu", "simpy"))
    assert compiled.digest == stepped.digest
    assert compiled.requests.equals(stepped.requests)
    assert {**compiled.summary, "engine": ""} == {**stepped.summary, "engine": ""}
    chat, code = (compiled.summary["classes"][name] for name in ("chat", "code"))
    assert min(chat["from_cache"], chat["blocked"], code["from_cache"], code["blocked"], chat["retries"]) > 0
    assert chat["hedges"] > 0
    assert min(station["run_visits"] for station in compiled.summary["stations"].values()) > 100


# ---- recorded traffic ----------------------------------------------------------------------------------------------
def recorded(path: Path) -> list[tuple[float, int, int]]:
    """(seconds since the first row, prompt tokens, output tokens) of an Azure file, read without the product."""
    with path.open() as file:
        rows = [
            (datetime.fromisoformat(row["TIMESTAMP"][:26]), row["TIMESTAMP"][26:], row)
            for row in csv.DictReader(file)
        ]
    first = rows[0][0].timestamp() + float(f"0.000000{rows[0][1] or 0}")
    return [
        (
            at.timestamp() + float(f"0.000000{rest or 0}") - first,
            int(row["ContextTokens"]),
            int(row["GeneratedTokens"]),
        )
        for at, rest, row in rows
    ]


@pytest.mark.parametrize("kind", ["conv", "code"])
def test_an_azure_trace_runs_from_its_csv(kind: str) -> None:
    path = shared_data(AZURE.format(kind))
    run = sim.run(f"azure_{kind}", [f"traffic.trace.file={path}", "drain_s=3600"])
    expected = [row for row in recorded(path) if row[0] < run.scenario.duration_s]
    assert len(expected) > 5000
    rows = run.result.requests
    assert len(rows["arrival_ps"]) == len(expected)
    assert rows["prompt_tokens"].tolist() == [prompt for _, prompt, _ in expected]
    assert rows["output_tokens"].tolist() == [output for _, _, output in expected]
    assert np.allclose(rows["arrival_ps"] / PS_PER_S, [at for at, _, _ in expected], atol=2e-6)
    counts = run.result.counts
    assert counts["completed"][0] + counts["rejected"][0] == len(expected)
    assert counts["completed"][0] > 0.99 * len(expected)
    done, end_ps = rows["outcome"] == COMPLETED, run.scenario.duration_s * PS_PER_S
    within, begun = (done & (rows[name] < end_ps) for name in ("last_token_ps", "first_token_ps"))
    assert counts["done"][0] == within.sum()
    assert counts["tokens_in"][0] == rows["prompt_tokens"][begun].sum()
    assert (
        rows["output_tokens"][within].sum() <= counts["tokens_out"][0] <= rows["output_tokens"][begun].sum()
    )


# ---- a user's own law ----------------------------------------------------------------------------------------------
LAWS = """
import math

import numba


def plain(seen):
    return (seen.outstanding + seen.held + 15) // 16


@numba.njit
def count(outstanding, held):
    return (outstanding + held + 15) // 16


def compiled(seen):
    return count(seen.outstanding, seen.held)


def remembering():
    past = {}

    def law(seen):
        past[seen.time_s] = float(seen.arrivals.sum())
        times = sorted(past)[-5:]
        rate = (past[times[-1]] - past[times[0]]) / max(times[-1] - times[0], 1.0)
        return [math.ceil(rate / 4)] * len(seen.wanted)

    return law
"""


@pytest.mark.parametrize("law", ["plain", "compiled", "remembering"])
def test_a_users_law_scales_the_same_on_two_engines(law: str, tmp_path: Path) -> None:
    path = tmp_path / "my_policy.py"
    path.write_text(LAWS)
    overrides = [
        *short("spiky_hour"),
        "coldstart=warm_cache",
        "autoscaler=user",
        f"autoscaler.law={path}:{law}",
    ]
    compiled, stepped = (
        sim.run("spiky_hour", [*overrides, f"engine={engine}"]) for engine in ("cpu", "simpy")
    )
    assert compiled.digest == stepped.digest
    assert compiled.result.pools[0]["scaled_up"] > 0
    assert sim.run("spiky_hour", overrides).digest == compiled.digest


def test_what_a_law_could_be_compiled_to_makes_no_difference(tmp_path: Path) -> None:
    path = tmp_path / "my_policy.py"
    path.write_text(LAWS)
    overrides = [*short("spiky_hour"), "coldstart=warm_cache", "autoscaler=user"]
    digests = {
        sim.run("spiky_hour", [*overrides, f"autoscaler.law={path}:{law}"]).digest
        for law in ("plain", "compiled")
    }
    assert len(digests) == 1


# ---- memory --------------------------------------------------------------------------------------------------------
def sizes(overrides: list[str]) -> tuple[int, int, int]:
    """(requests, words of the final state, bytes of the trace) of a run."""
    packed: Any = plan(sim.load("first_run", overrides))
    state = run_plan(packed.params)
    return int(packed.params.n_request), len(state.m), packed.params.trace.nbytes


def test_without_records_only_the_trace_grows_with_the_requests() -> None:
    once, ten_times = (sizes([f"duration_s={600 * times}", "output.records=false"]) for times in (1, 10))
    assert ten_times[0] > 8 * once[0]
    # the time series has about as many rows either way: its step grows with the run
    assert ten_times[1] <= 1.1 * once[1]
    assert (once[2], ten_times[2]) == (16 * once[0], 16 * ten_times[0])


def test_records_take_a_row_per_request_and_nothing_else() -> None:
    n, words, _ = sizes(["duration_s=600"])
    without = sizes(["duration_s=600", "output.records=false"])[1]
    assert (
        abs(words - without - n * (RequestRecord.SIZE + N_SPENT)) < LINE
    )  # what follows begins with a cache line
