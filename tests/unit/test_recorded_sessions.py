"""Recorded sessions in a run: in closed loop after answers and pauses, in open loop at their times, by tenant."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import shared_data

import sim
from sim.errors import InputError
from sim.report.terminal import print_comparison, print_run
from sim.scenario.tenant import Tenant
from sim.scenario.trace import Columns, Trace
from sim.scenario.traffic import TrafficClass
from sim.units import NEVER
from sim.workload.readers import read_trace
from sim.workload.requests import class_requests
from sim.workload.tenants import with_recorded_tenants

PS = 10**12
ROWS = [  # at, p, o, chat, secs
    (0.0, 100, 10, "a", 2.0), (1.0, 50, 5, "b", 1.0), (5.0, 130, 10, "a", 1.0), (5.5, 150, 10, "a", 1.0),
    (9.0, 60, 5, "b", 1.0),
]  # fmt: skip
COLUMNS = Columns(arrival="at", prompt_tokens="p", output_tokens="o", session="chat", took="secs")


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "log.csv"
    path.write_text("at,p,o,chat,secs\n" + "".join(",".join(map(str, row)) + "\n" for row in ROWS))
    return str(path)


def made(file: str, duration_s: float = 100.0, **options: Any) -> Any:
    return class_requests(TrafficClass(trace=Trace(file=file, columns=COLUMNS, **options)), 0, duration_s, 1)


def test_open_sessions_keep_their_times_and_their_names(file: str) -> None:
    requests = made(file)
    assert (requests.arrival_ps / PS).tolist() == [0, 1, 5, 5.5, 9]
    assert requests.session_id.tolist() == [0, 1, 0, 0, 1]
    assert requests.turns is None


def test_closed_sessions_come_after_the_answer_and_the_recorded_pause(file: str) -> None:
    requests = made(file, sessions="closed")
    assert requests.arrival_ps.tolist() == [0, PS, NEVER, NEVER, NEVER]
    assert requests.prompt_tokens.tolist() == [100, 50, 130, 150, 60]
    assert requests.session_id.tolist() == [0, 1, 0, 0, 1]
    assert requests.turns.after.tolist() == [2, 4, 3, -1, -1]
    assert (requests.turns.pause_ps[[0, 1, 2]] / PS).tolist() == [
        3,
        7,
        0,
    ]  # the third came 0.5 s before an answer
    assert requests.turns.tokens.tolist() == [110, 55, 250, 410, 120]
    assert requests.traces["default"]["overlapping_rows"] == 1


def test_windows_and_copies_move_whole_sessions(file: str) -> None:
    window = made(file, sessions="closed", start_s=0.5, end_s=3.0)
    assert window.prompt_tokens.tolist() == [50, 60]
    twice = made(file, sessions="closed", scale=2.0)
    assert sorted(np.bincount(twice.session_id).tolist()) == [2, 2, 3, 3]
    fast = made(file, sessions="closed", speed_up=2.0)
    assert fast.arrival_ps[:2].tolist() == [0, PS // 2]
    assert (fast.turns.pause_ps[[0, 1]] / PS).tolist() == [3, 7]
    for seed in range(20):
        traffic = TrafficClass(trace=Trace(file=file, columns=COLUMNS, scale=0.5))
        kept = class_requests(traffic, 0, 100.0, seed).prompt_tokens.tolist()
        assert kept in ([], [100, 130, 150], [50, 60], [100, 50, 130, 150, 60])


def test_sessions_with_own_clocks_begin_as_arrivals_say(file: str) -> None:
    requests = made(file, 4.0, session_times="session")
    starts = class_requests(TrafficClass(), 0, 4.0, 1).arrival_ps
    assert set(starts.tolist()) <= set(requests.arrival_ps.tolist())
    of_first = requests.arrival_ps[requests.session_id == requests.session_id[0]]
    assert np.all(np.diff(of_first) >= 0)
    assert requests.arrival_ps.max() < 4 * PS
    with pytest.raises(InputError, match=r"trace\.speed_up"):
        made(file, session_times="session", speed_up=2.0)


def agents(tmp_path: Path) -> Path:
    """Two agent sessions of three calls, the blocks of each call those of the one before and more."""
    for i in range(2):
        requests = [
            {"t": 10.0 * k, "in": 640 + 128 * k, "out": 20, "hash_ids": list(range(10 + 2 * k)), "api_time": 2.0,
             "think_time": 1.5 if k else 0.0} for k in range(3)
        ]  # fmt: skip
        (tmp_path / f"{i}.json").write_text(json.dumps({"id": i, "block_size": 64, "requests": requests}))
    return tmp_path


@pytest.mark.parametrize("engine", ["cpu", "simpy"])
def test_a_run_waits_for_each_answer(tmp_path: Path, engine: str) -> None:
    """Each call of a session arrives 1.5 s after the answer before it, and finds what that one computed."""
    overrides = [
        f"traffic.trace.file={agents(tmp_path)}", "traffic.arrivals.rate_per_s=0.2", "duration_s=120", "warmup_s=0",
        "runtime=vllm_prefix_cache", "pool.max_replicas=1", "pool.min_replicas=1", "patience=none", f"engine={engine}",
    ]  # fmt: skip
    run = sim.run("first_run", overrides, out=None)
    table = run.requests.to_pydict()
    calls: dict[int, list[tuple[float, float, int, int]]] = {}
    for at, e2e, who, prompt, cached in zip(
        table["arrival_s"],
        table["e2e_s"],
        table["session"],
        table["prompt_tokens"],
        table["cached_tokens"],
        strict=True,
    ):
        calls.setdefault(who, []).append((at, e2e, prompt, cached))
    assert len(calls) > 10
    for turns in calls.values():
        for before, after in pairwise(turns):
            assert after[0] == pytest.approx(before[0] + before[1] + 1.5, abs=1e-9)
            assert after[2] == before[2] + 128
            assert after[3] >= before[2] - 16  # whole blocks of the prompt before
    assert next(iter(run.summary["traces"].values()))["closed_loop"]


def test_engines_agree_on_recorded_sessions(tmp_path: Path) -> None:
    overrides = [
        f"traffic.trace.file={agents(tmp_path)}", "traffic.arrivals.rate_per_s=0.5", "duration_s=60", "warmup_s=0",
        "runtime=vllm_prefix_cache",
    ]  # fmt: skip
    digests = {sim.run("first_run", [*overrides, f"engine={e}"], out=None).digest for e in ("cpu", "simpy")}
    assert len(digests) == 1


def test_weka_sessions_as_published() -> None:
    """In an idle fleet with room for all: the cache finds what the hashes say each session has seen before."""
    folder = shared_data("traces/weka_agentic/original")
    overrides = [
        f"traffic.trace.file={folder}", "duration_s=40000", "warmup_s=0", "traffic.arrivals.rate_per_s=0.0005",
        "runtime=vllm_prefix_cache", "runtime.num_kv_blocks=4000000", "pool.max_replicas=1", "pool.min_replicas=1",
        "patience=none", "drain_s=100000",
    ]  # fmt: skip
    run = sim.run("first_run", overrides, out=None)
    table = run.requests.to_pydict()
    first_of = {who: i for i, who in reversed(list(enumerate(table["session"])))}
    later = [i for i, who in enumerate(table["session"]) if first_of[who] != i]
    assert len(later) > 10
    hit = sum(table["cached_tokens"][i] for i in later) / sum(table["prompt_tokens"][i] for i in later)
    assert hit > 0.85


def test_tenants_of_a_trace_have_a_class_each(tmp_path: Path) -> None:
    """Classes called CLASS_TENANT with their own rows; tenants that are described keep their weight and limits."""
    path = tmp_path / "log.csv"
    path.write_text("at,p,o,who\n0,10,1,team a\n1,20,1,b\n2,30,1,team a\n3,40,1,b\n4,50,1,c\n")
    columns = "columns: {arrival: at, prompt_tokens: p, output_tokens: o, tenant: who}"
    overrides = [f"traffic.trace={{file: {path}, {columns}}}", "duration_s=10", "warmup_s=0"]
    story = sim.load("first_run", overrides)
    story = replace(story, tenants=(Tenant(name="b", weight=3),))
    found = with_recorded_tenants(story)
    name = story.classes[0].name
    assert [entry.name for entry in found.classes] == [f"{name}_b", f"{name}_c", f"{name}_team_a"]
    assert {tenant.name: tenant.weight for tenant in found.tenants} == {"b": 3, "c": 1, "team_a": 1}
    assert with_recorded_tenants(found) is found
    run = sim.run("first_run", overrides, out=None)
    assert {k: v["offered"] for k, v in run.summary["tenants"].items()} == {"team_a": 2, "b": 2, "c": 1}
    rows = sim.sweep("first_run", [1, 2], overrides).rows
    assert {row["offered"] for row in rows} == {5}
    path.write_text("at,p,o,who\n0,10,1,a\n1,20,1,\n")
    with pytest.raises(InputError, match="a tenant's name in every row"):
        sim.run("first_run", overrides, out=None)
    path.write_text("at,p,o,who\n0,10,1,a b\n1,20,1,a?b\n")
    with pytest.raises(InputError, match="two classes would be called"):
        sim.run("first_run", overrides, out=None)
    with pytest.raises(InputError, match="gives every tenant a class"):
        sim.load("first_run", [*overrides, "traffic.tenant=x"])


def test_a_recording_of_many_tenants() -> None:
    path = shared_data("traces/vtc_arena/arena_27clients.parquet")
    columns = "columns: {arrival: arrival_s, prompt_tokens: prompt_tokens, output_tokens: output_tokens, tenant: tenant}"
    run = sim.run(
        "first_run", [f"traffic.trace={{file: {path}, {columns}}}", "duration_s=600", "warmup_s=0"], out=None
    )
    assert len(run.summary["tenants"]) == len(run.summary["classes"]) == 22  # in two thirds of the recording
    assert sum(tenant["offered"] for tenant in run.summary["tenants"].values()) == 955


def test_pauses_that_a_row_does_not_tell(tmp_path: Path) -> None:
    """The time since the answer before, or since the row before where nobody knows when that was answered."""
    path = tmp_path / "log.csv"
    path.write_text("at,p,o,chat,secs,think\n0,1,1,a,2,\n10,1,1,a,,3\n20,1,1,a,,\n30,1,1,a,5,\n31,1,1,a,5,\n")
    columns = replace(COLUMNS, think="think")
    rows = read_trace(Trace(file=str(path), columns=columns))
    assert (rows.pause_ns / 1e9).tolist() == [0, 3, 10, 10, 0]
    rows = read_trace(Trace(file=str(path), columns=COLUMNS))
    assert (rows.pause_ns / 1e9).tolist() == [0, 8, 10, 10, 0]
    path.write_text("at,p,o,chat,secs\n0,1,1,a,x\n1,1,1,a,-1\n")
    with pytest.raises(InputError) as caught:
        read_trace(Trace(file=str(path), columns=COLUMNS))
    assert [line.split(": ")[1:3] for line in caught.value.problems] == [
        ["line 2", "secs"],
        ["line 3", "secs"],
    ]


def test_a_recording_that_begins_after_the_run_is_refused(tmp_path: Path) -> None:
    """Seconds since 1970 with the origin at zero: there would be no request, and no word about it."""
    path = tmp_path / "epoch.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n1764252000,5,5\n1764252001,6,6\n")
    with pytest.raises(InputError, match=r"its first row is at 1764252000 s.*origin=first_row"):
        class_requests(TrafficClass(trace=Trace(file=str(path))), 0, 600.0, 1)
    assert (
        len(
            class_requests(
                TrafficClass(trace=Trace(file=str(path), origin="first_row")), 0, 600.0, 1
            ).arrival_ps
        )
        == 2
    )


@pytest.mark.parametrize(
    ("path", "columns", "options", "n"),
    [
        ("lmcache_agents", "p: prompt_tokens_est, o: output_tokens_est", "failed_rows: drop", 928),
        ("weka_agentic", "p: prompt_tokens, o: output_tokens, think: think_time_s, took: api_time_s",
         "sessions: closed, failed_rows: drop", 30_726),
    ],
)  # fmt: skip
def test_tables_of_agent_sessions_with_clocks_of_their_own(
    path: str, columns: str, options: str, n: int
) -> None:
    """Negative and missing times and failed calls: what the shared tables of two publishers hold."""
    columns = columns.replace("p:", "prompt_tokens:", 1).replace(" o:", " output_tokens:", 1)
    file = shared_data(f"traces/{path}/calls.parquet")
    trace = f"{{file: {file}, columns: {{arrival: t_s, session: session_id, {columns}}}"
    overrides = [
        f"traffic.trace={trace}, session_times: session, {options}}}",
        "traffic.arrivals.rate_per_s=0.05",
    ]
    run = sim.run("first_run", [*overrides, "duration_s=600", "warmup_s=0"], out=None)
    told = next(iter(run.summary["traces"].values()))
    assert told["rows"] == n
    assert run.summary["offered"] > 20


def test_what_was_left_out_is_said_and_kept(tmp_path: Path) -> None:
    """Failed calls, rows out of order, estimated lengths: a line of `run` and of `compare`, and the summary."""
    from rich.console import Console

    path = tmp_path / "BurstGPT_1.csv"
    path.write_text(
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "5,ChatGPT,472,18,490,Conversation log\n60,GPT-4,300,0,300,Conversation log\n118,GPT-4,417,276,693,API log\n"
    )
    overrides = [f"traffic.trace.file={path}", "duration_s=600", "warmup_s=0"]
    done = sim.run("first_run", overrides, out=tmp_path / "results")
    said = f"trace {path}: 2 rows as burstgpt, 1 failed calls left out (no tokens)"
    for show in (
        lambda console: print_run(done, console),
        lambda console: print_comparison(
            sim.compare("first_run", {"a": overrides, "b": [*overrides, "seed=2"]}), console
        ),
    ):
        with Console(width=300, file=(text := io.StringIO())) as console:
            show(console)
        assert text.getvalue().count(said) == 1
    kept = json.loads((done.path / "summary.json").read_text())
    assert next(iter(kept["traces"].values()))["failed_rows"] == 1
