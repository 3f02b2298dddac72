"""A run as a timeline: what the Trace Event Format asks for, and what the records say."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.errors import InputError
from sim.model.tables.codes import STAGE_NAMES
from sim.outlets.replay import Replay, replay
from sim.outlets.trace import write_trace
from tests.unit.outlet_runs import STORIES, kept

PS = 1_000_000  # of a microsecond
STARTING = STAGE_NAMES[1:-2]


@cache
def seen(name: str) -> Replay:
    run = kept(name)
    return replay(run.config, run.summary["digest"])


@cache
def events(name: str, from_s: float = 0.0, to_s: float = float("inf")) -> list[dict[str, Any]]:
    path = kept(name).path / f"trace-{from_s}-{to_s}.json"
    n = write_trace(kept(name), path, from_s, to_s)
    found = json.loads(path.read_text(), parse_float=Decimal, parse_int=Decimal)["traceEvents"]
    assert len(found) == n
    return list(found)


def ps(value: Decimal) -> int:
    """A time of the file, which is exact."""
    assert value * PS == int(value * PS)
    return int(value * PS)


def phases(found: list[dict[str, Any]]) -> dict[int, dict[str, int]]:
    """Request → name → how long, from the asynchronous slices; every one that begins ends, the inner one first."""
    open_: dict[str, list[tuple[str, int]]] = defaultdict(list)
    request: dict[str, int] = {}
    told: dict[int, dict[str, int]] = {}
    for event in found:
        if event["ph"] == "b":
            if not open_[event["id"]]:
                request[event["id"]] = int(event["args"]["request_id"])
                told[request[event["id"]]] = Counter()
            open_[event["id"]].append((event["name"], ps(event["ts"])))
        elif event["ph"] == "e":
            name, begin = open_[event["id"]].pop()
            assert name == event["name"]
            kind = name if open_[event["id"]] else "request"
            told[request[event["id"]]][kind] += ps(event["ts"]) - begin
    assert not any(open_.values())
    return told


@pytest.mark.parametrize("name", STORIES)
def test_the_file_is_what_the_format_asks_for(name: str) -> None:
    found = events(name)
    assert {event["ph"] for event in found} <= {"M", "X", "C", "i", "b", "e", "n"}
    times = [event["ts"] for event in found if event["ph"] != "M"]
    assert times == sorted(times)
    named = {(e["pid"], e["tid"]) for e in found if e["name"] == "thread_name"}
    processes = {event["pid"] for event in found if event["name"] == "process_name"}
    for event in found:
        assert {"ph", "ts", "pid", "tid", "name"} <= set(event)
        assert event["pid"] in processes
        if event["ph"] in ("X", "i"):
            assert (event["pid"], event["tid"]) in named
        if event["ph"] == "X":
            assert event["dur"] > 0
        if event["ph"] == "i":
            assert event["s"] in ("g", "p", "t")
        if event["ph"] in ("b", "e", "n"):
            assert event["cat"]
            assert event["id"]
        if event["ph"] == "C":
            assert event["args"]
            assert all(value >= 0 for value in event["args"].values())


@pytest.mark.parametrize("name", STORIES)
def test_slices_on_a_track_lie_side_by_side_or_inside_one_another(name: str) -> None:
    tracks: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for event in events(name):
        if event["ph"] == "X":
            begin = ps(event["ts"])
            tracks[event["pid"], event["tid"]].append((begin, begin + ps(event["dur"])))
    assert tracks
    for slices in tracks.values():
        stack: list[tuple[int, int]] = []
        for begin, end in slices:
            while stack and stack[-1][1] <= begin:
                stack.pop()
            assert not stack or end <= stack[-1][1]
            stack.append((begin, end))


@pytest.mark.parametrize("name", STORIES)
def test_phases_of_a_request_add_up_to_what_its_row_says(name: str) -> None:
    told = phases(events(name))
    rows = kept(name).tables.requests.to_pylist()
    assert len(rows) > 500
    n_completed = 0
    for row in rows:
        found = told.get(row["request_id"], {"request": 0})
        assert sum(n for kind, n in found.items() if kind != "request") == found["request"]
        if row["outcome"] == "completed":
            n_completed += 1
            assert found["request"] == row["last_token_ps"] - row["arrival_ps"]
            assert found["request"] / 1e12 + row["network_s"] == pytest.approx(row["e2e_s"], abs=1e-9)
            if row["first_token_ps"] < row["last_token_ps"]:
                assert found["decode"] == row["last_token_ps"] - row["first_token_ps"]
            if not row["from_cache"]:
                queued = row["scheduled_ps"] - row["taken_ps"]
                assert found.get("at the gateway", 0) + found.get("queued", 0) == queued
    assert n_completed
    assert len(told) + sum(
        1 for e in events(name) if e["ph"] == "i" and e["cat"] == "request" and e["name"] != "preemption"
    ) == len(rows)


@pytest.mark.parametrize("name", STORIES)
def test_stages_of_replicas_add_up_to_the_time_series(name: str) -> None:
    """At every sample as many replicas are in each stage as the record says."""
    run, watched = kept(name), seen(name)
    rows = run.tables.timeseries.to_pylist()
    for i, pool in enumerate(watched.scenario.pools):
        mine = [row for row in rows if row["pool"] == pool.name]
        spans = [stage for stage in watched.stages if stage.pool == i]
        for row in mine[:: max(1, len(mine) // 60)]:
            t = row["time_ps"]
            in_stage = Counter(STAGE_NAMES[s.stage] for s in spans if s.begin_ps <= t < s.end_ps)
            if t == watched.end_ps or any(d.time_ps == t for d in watched.decisions):
                continue  # the sample comes before what the autoscaler does at the same instant
            assert {stage: row[stage] for stage in STAGE_NAMES[1:] if row[stage]} == dict(in_stage)


@pytest.mark.parametrize("name", STORIES)
def test_loads_of_replicas_add_up_to_the_time_series(name: str) -> None:
    run, watched = kept(name), seen(name)
    table = run.tables.timeseries
    names = np.array(table.column("pool").to_pylist())
    for i, pool in enumerate(watched.scenario.pools):
        mine, of_pool = watched.pool_of == i, names == pool.name
        columns = (
            ("waiting", watched.waiting),
            ("running", watched.running),
            ("kv_blocks_used", watched.used_blocks),
        )
        for column, values in columns:
            assert (values[:, mine].sum(axis=1) == table.column(column).to_numpy()[of_pool]).all()


def test_a_cold_start_has_its_stages_inside() -> None:
    found = [e for e in events("scaling") if e["ph"] == "X"]
    wholes = {e["args"]["start"]: e for e in found if e["name"].startswith("cold start")}
    assert len(wholes) == kept("scaling").summary["cold_starts"] > 0
    for start, whole in wholes.items():
        parts = [e for e in found if e["name"] in STARTING and e["args"]["start"] == start]
        assert sum(ps(e["dur"]) for e in parts) == ps(whole["dur"])
        assert {(e["pid"], e["tid"]) for e in parts} == {(whole["pid"], whole["tid"])}


def test_decisions_lead_from_one_number_to_the_next() -> None:
    for name in ("scaling", "pools"):
        found = [e for e in events(name) if e["name"].startswith("scale ")]
        assert found
        last: dict[int, int] = {}
        for event in found:
            args = event["args"]
            assert args["from"] == last.get(event["pid"], args["from"]) != args["to"]
            last[event["pid"]] = args["to"]
        assert all(event["args"]["metrics"] for event in found)


def test_preemptions_and_attempts_are_all_told() -> None:
    rows = kept("preemptions").tables.requests.to_pylist()
    told = Counter(
        int(e["args"]["request_id"])
        for e in events("preemptions")
        if e["ph"] == "i" and e["name"] == "preemption"
    )
    assert told == {row["request_id"]: row["preemptions"] for row in rows if row["preemptions"]}
    rows = kept("retries").tables.requests.to_pylist()
    attempts = Counter(int(e["args"]["request_id"]) for e in events("retries") if e["name"] == "attempt")
    assert attempts == {row["request_id"]: row["attempts"] - 1 for row in rows if row["attempts"] > 1}
    assert sum(attempts.values()) > 100


def test_requests_that_were_given_up_end_when_they_were() -> None:
    watched = seen("retries")
    rows = kept("retries").tables.requests.to_pylist()
    late = [row for row in rows if row["outcome"] in ("timed_out", "failed")]
    assert len(late) > 50
    assert {row["request_id"] for row in late} <= set(watched.ends_ps)
    assert all(watched.ends_ps[row["request_id"]] >= row["taken_ps"] for row in late)


def test_losses_are_marked_and_end_a_life() -> None:
    lost = [e for e in events("losses") if e.get("cat") == "fault"]
    ends = {s.end_ps for s in seen("losses").stages if STAGE_NAMES[s.stage] == "ready"}
    assert lost
    assert all(ps(event["ts"]) in ends for event in lost)


def test_a_window_has_what_reaches_into_it_and_nothing_else() -> None:
    whole, part = events("scaling"), events("scaling", 100.0, 130.0)
    assert {e["ph"] for e in part} >= {"M", "X", "C", "b", "e"}
    for event in part:
        if event["ph"] != "M":
            assert 100 * 10**12 <= ps(event["ts"]) <= 130 * 10**12 + 1
            assert ps(event["ts"] + event.get("dur", 0)) <= 130 * 10**12 + 1
    inside = {
        row["request_id"]
        for row in kept("scaling").tables.requests.to_pylist()
        if row["arrival_ps"] <= 130 * 10**12 and row["last_token_ps"] > 100 * 10**12
    }
    assert set(phases(part)) == inside
    assert len(part) < len(whole)


def test_a_compressed_file_has_the_same_text(tmp_path: Path) -> None:
    write_trace(kept("losses"), tmp_path / "a.json", 20, 25)
    write_trace(kept("losses"), tmp_path / "a.json.gz", 20, 25)
    assert gzip.decompress((tmp_path / "a.json.gz").read_bytes()) == (tmp_path / "a.json").read_bytes()
    first = (tmp_path / "a.json.gz").read_bytes()
    write_trace(kept("losses"), tmp_path / "a.json.gz", 20, 25)
    assert (tmp_path / "a.json.gz").read_bytes() == first


def test_a_run_that_is_not_the_same_any_more_is_refused(tmp_path: Path) -> None:
    run = kept("losses")
    other = run._replace(summary={**run.summary, "digest": "0" * 16})
    with pytest.raises(InputError, match="repeating it gives digest"):
        write_trace(other, tmp_path / "trace.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("from_s", "to_s", "key"), [(-1, 5, "--from"), (1e9, 2e9, "--from"), (10, 10, "--to")]
)
def test_an_empty_window_is_refused(tmp_path: Path, from_s: float, to_s: float, key: str) -> None:
    with pytest.raises(InputError, match=key):
        write_trace(kept("losses"), tmp_path / "trace.json", from_s, to_s)
