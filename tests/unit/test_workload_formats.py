"""Formats beyond one row a request: hashes that tell units, sessions, tenants, texts, failed calls, foreign files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import shared_data

from sim.errors import InputError
from sim.scenario.trace import Columns, Trace
from sim.workload.formats import TraceRows
from sim.workload.prefix import recorded_chains
from sim.workload.readers import read_trace


def lines(*rows: dict[str, Any]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def blocks(first: int, tokens: int, size: int) -> list[int]:
    """As many hashes as a prompt of so many tokens has."""
    return list(range(first, first - (-tokens // size)))


QWEN = lines(
    *(
        {"chat_id": i, "parent_chat_id": parent, "timestamp": at, "input_length": n, "output_length": 60,
         "type": "text", "turn": 1, "hash_ids": blocks(first, n, 16)}
        for i, (parent, at, n, first) in enumerate([(-1, 0.0, 200, 0), (-1, 0.5, 90, 100), (0, 60.25, 290, 0)])
    )
)  # fmt: skip
RAGPULSE = lines(
    *(
        {"timestamp": at, "input_length": 900, "output_length": 50, "session_id": who,
         "hash_ids": {"sys_prompt": [1, 2], "passages_ids": [passage], "history": [], "web_search": [], "user_input": [9]}}
        for at, who, passage in [("82", "a", 5), ("604453", "b", 6), ("93", "a", 5)]
    )
)  # fmt: skip
LENGTHS = {
    "1_sys_prompt.jsonl": lines(
        {"sys_prompt_id": 1, "token_length": 300}, {"sys_prompt_id": 2, "token_length": 212}
    ),
    "2_passages.jsonl": lines({"passage_id": 5, "token_length": 190}, {"passage_id": 6, "token_length": 200}),
    "4_user_input.jsonl": lines({"user_input_id": 9, "token_length": 8}),
}
LITELLM = """request_id,startTime,endTime,model,prompt_tokens,completion_tokens,api_key
a1,2026-01-05T09:00:00.120Z,2026-01-05T09:00:03.400Z,llama-8b,812,140,k1
a2,2026-01-05T09:00:01.300Z,2026-01-05T09:00:02.100Z,llama-8b,95,20,k2
a3,2026-01-05T09:00:02.300Z,2026-01-05T09:00:02.400Z,llama-8b,95,0,k2
"""
SHAREGPT = json.dumps(
    [
        {"id": "a", "conversations": [
            {"from": "human", "value": "x" * 40}, {"from": "gpt", "value": "y" * 20},
            {"from": "human", "value": "z" * 8}, {"from": "gpt", "value": "w" * 2}]},
        {"id": "b", "conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": ""}]},
    ]
)  # fmt: skip
LMCACHE = lines(
    {"timestamp": 1760428438776726, "input": "x" * 400, "output": "y" * 80, "session_id": "s"},
    {"timestamp": 1760428436442742, "input": "x" * 360, "output": "y" * 40, "session_id": "s"},
    {"timestamp": 1760428440000000, "input": "x" * 360, "output": "", "session_id": "s"},
)


def session(name: str, calls: list[tuple[float, int, int, float, float]], **more: Any) -> dict[str, Any]:
    """A recorded agent session: (t, in, out, api_time, think_time) of each call."""
    requests = [
        {"t": t, "type": "n", "model": "m", "in": n, "out": out, "hash_ids": blocks(1, n, 64), "api_time": took,
         "think_time": think} for t, n, out, took, think in calls
    ]  # fmt: skip
    return {
        "id": name,
        "models": ["m"],
        "block_size": 64,
        "hash_id_scope": "local",
        "requests": requests,
        **more,
    }


WEKA = session("s1", [(0.0, 1000, 24, 2.0, 0.0), (26.0, 1200, 108, 5.0, 24.0), (84.0, 1300, 0, 1.9, 53.0)])


@pytest.fixture
def read(tmp_path: Path):
    """Write a text as a trace file and read it."""

    def reader(
        text: str | bytes, name: str = "trace.csv", with_hashes: bool = False, **options: Any
    ) -> TraceRows:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_trace(Trace(file=str(path), **options), with_hashes)

    return reader


def refused(read, *args: Any, **options: Any) -> str:
    """The one line that a file is refused with."""
    with pytest.raises(InputError) as caught:
        read(*args, **options)
    (line,) = caught.value.problems
    assert "\n" not in line
    return line


# ---- formats ----------------------------------------------------------------------
def test_qwen_bailian_counts_seconds_and_blocks_of_16(read) -> None:
    rows = read(QWEN, "q.jsonl")
    assert rows.arrival_ns.tolist() == [0, 500_000_000, 60_250_000_000]
    assert rows.session.tolist() == [0, 1, 0]  # a chat and its follow-up
    assert set(rows.hash_tokens.tolist()) == {16}
    chains = recorded_chains(rows)
    assert chains.shared_tokens.tolist() == [200, 90, 290]
    assert rows.told["format"] == "qwen_bailian"
    assert rows.told["hash_block_tokens"] == 16


def test_mooncakes_hashes_and_times_are_checked_by_meaning(read) -> None:
    """Without its chat numbers a Qwen-Bailian file has Mooncake's keys: fractions and hashes tell."""
    rows = [json.loads(line) for line in QWEN.splitlines()]
    bare = [
        {k: v for k, v in row.items() if k in ("timestamp", "input_length", "output_length", "hash_ids")}
        for row in rows
    ]
    line = refused(read, lines(*bare), "m.jsonl")
    assert "line 2: timestamp: 0.5 is no whole number of ms" in line
    whole = [{**row, "timestamp": int(row["timestamp"])} for row in bare]
    line = refused(read, lines(*whole), "m.jsonl")
    assert "13 hashes for a prompt of 200 tokens: blocks of 512 tokens would be 6656 tokens" in line
    assert "trace.hash_block_tokens=16" in line
    assert "qwen_bailian" in line
    told = read(lines(*bare), "m.jsonl", time_unit="s", hash_block_tokens=16)
    assert told.arrival_ns[-1] == 60_250_000_000


def test_hashes_of_512_tokens_are_not_taken_for_16(read) -> None:
    rows = [json.loads(line) for line in QWEN.splitlines()]
    coarse = [
        {**row, "input_length": 5000 + i, "hash_ids": blocks(0, 5000, 512)} for i, row in enumerate(rows)
    ]
    line = refused(read, lines(*coarse), "q.jsonl")
    assert "hash_block_tokens=512" in line


def test_hashes_that_fit_no_blocks_are_refused(read) -> None:
    rows = [json.loads(line) for line in QWEN.splitlines()]
    odd = [{**row, "hash_ids": list(range(n))} for row, n in zip(rows, (150, 80, 77), strict=True)]
    assert "no size of blocks fits" in refused(read, lines(*odd), "q.jsonl")


def test_ragpulse_has_seconds_as_text_late_rows_and_pieces(read, tmp_path: Path) -> None:
    rows = read(RAGPULSE, "0_trace.jsonl", with_hashes=True)
    assert rows.arrival_ns.tolist() == [0, 11 * 10**9, (604453 - 82) * 10**9]
    assert rows.session.tolist() == [0, 0, 1]
    assert rows.told["late_rows"] == 1
    assert rows.told["unused_hashes"]
    for name, text in LENGTHS.items():
        (tmp_path / name).write_text(text)
    rows = read(RAGPULSE, "0_trace.jsonl", with_hashes=True)
    assert not rows.told["unused_hashes"]
    chains = recorded_chains(rows)
    assert chains.shared_tokens.tolist() == [710, 710, 720]
    assert chains.leaf[0] == chains.leaf[1] != chains.leaf[2]
    assert chains.start[chains.leaf[2]] == 512  # they part behind the system prompt


def test_litellm_spend_logs(read) -> None:
    rows = read(LITELLM)
    assert rows.arrival_ns.tolist() == [0, 1_180_000_000]
    assert rows.told["failed_rows"] == 1
    entries = [
        {"startTime": f"2026-01-05T09:00:0{s}.300Z", "prompt_tokens": n, "completion_tokens": 2, "spend": 0.01}
        for s, n in ((1, 95), (0, 5))
    ]  # fmt: skip
    rows = read(json.dumps(entries), "spend.json")
    assert rows.arrival_ns.tolist() == [0, 10**9]
    assert rows.prompt_tokens.tolist() == [5, 95]


def test_sharegpt_gives_lengths_where_somebody_says_how(read) -> None:
    line = refused(read, SHAREGPT, "sharegpt.json")
    assert "holds texts (sharegpt) and no token counts; traffic.trace.chars_per_token=4" in line
    rows = read(SHAREGPT, "sharegpt.json", chars_per_token=4.0)
    assert rows.arrival_ns is None
    assert rows.prompt_tokens.tolist() == [10, 17]  # with all that was said before
    assert rows.output_tokens.tolist() == [5, 1]
    assert rows.told["failed_rows"] == 1


def test_lmcache_texts_in_microseconds(read) -> None:
    rows = read(LMCACHE, "agents.jsonl", chars_per_token=4.0)
    assert rows.arrival_ns.tolist() == [0, 2_333_984_000]
    assert rows.prompt_tokens.tolist() == [90, 100]
    assert (rows.told["late_rows"], rows.told["failed_rows"]) == (1, 1)
    assert refused(read, "arrival_s,prompt_tokens,output_tokens\n0,1,1\n", chars_per_token=4.0)


def test_weka_sessions_have_clocks_of_their_own(read) -> None:
    rows = read(json.dumps(WEKA), "trace_1.json", with_hashes=True)
    assert rows.arrival_ns.tolist() == [0, 26 * 10**9]
    assert rows.pause_ns.tolist() == [0, 24 * 10**9]
    assert rows.told["failed_rows"] == 1
    assert set(rows.hash_tokens.tolist()) == {64}
    assert rows.layout.closed


def test_a_folder_of_weka_sessions_and_the_agents_they_send(tmp_path: Path) -> None:
    sent = {"t": 30.0, "type": "subagent", "requests": session("", [(31.0, 640, 5, 1.0, 0.0)])["requests"]}
    first = session("s1", [(0.0, 1000, 24, 2.0, 0.0), (26.0, 1200, 108, 5.0, 24.0)])
    first["requests"].append(sent)
    (tmp_path / "trace_1.json").write_text(json.dumps(first))
    (tmp_path / "trace_2.json").write_text(json.dumps(session("s2", [(5.0, 700, 9, 1.0, 0.0)])))
    rows = read_trace(Trace(file=str(tmp_path)), with_hashes=True)
    assert rows.session.tolist() == [0, 0, 1, 2]
    assert rows.group.tolist() == [0, 0, 0, 1]
    assert (rows.arrival_ns / 1e9).tolist() == [0, 26, 31, 0]
    ids = [
        set(rows.hash_ids[a:b].tolist()) for a, b in zip(rows.hash_start, rows.hash_start[1:], strict=False)
    ]
    assert ids[0] & ids[2]  # agents of a session share its prompt …
    assert not ids[0] & ids[3]  # … sessions do not: their hashes are local


# ---- columns of one's own ----------------------------------------------------------------------
OWN = "at,p,o,who,chat,secs\n0,10,1,x,c1,1\n-0.5,11,1,y,c2,1\n4,12,1,x,c1,1\n2,13,1,,c1,5\n"
MAPPED = {"arrival": "at", "prompt_tokens": "p", "output_tokens": "o"}


def test_sessions_tenants_and_negative_times_of_any_csv(read) -> None:
    columns = Columns(**MAPPED, session="chat", tenant="who", took="secs")
    assert "at: '-0.5'" in refused(read, OWN, columns=columns, sort=True)
    rows = read(OWN, columns=columns, sort=True, origin="first_row")
    assert (rows.arrival_ns / 1e9).tolist() == [0, 0.5, 2.5, 4.5]
    assert rows.tenants == ("y", "x")
    assert rows.tenant.tolist() == [0, 1, -1, 1]
    session = rows.session.tolist()
    assert session[1] == session[2] == session[3] != session[0]
    assert (rows.pause_ns / 1e9).tolist() == [
        0,
        0,
        1,
        0,
    ]  # the last came before the answer to the one before it
    assert (
        read(OWN, columns=columns, sort=True, origin="first_row", sessions="closed").told["overlapping_rows"]
        == 1
    )
    only = read(OWN, columns=columns, sort=True, origin="first_row", tenant="x")
    assert only.prompt_tokens.tolist() == [10, 12]
    assert "one of x, y" in refused(read, OWN, columns=columns, sort=True, origin="first_row", tenant="z")


def test_sessions_with_clocks_of_their_own_in_any_csv(read) -> None:
    columns = Columns(**MAPPED, session="chat")
    rows = read(OWN, columns=columns, session_times="session")
    assert rows.group is not None
    assert sorted(zip(rows.session.tolist(), (rows.arrival_ns / 1e9).tolist(), strict=True)) == [
        (0, 0.0), (0, 2.0), (0, 4.0), (1, 0.0),
    ]  # fmt: skip


def test_what_a_file_does_not_tell_of_is_said(read) -> None:
    columns = Columns(**MAPPED)
    assert "lacks a session column" in refused(
        read, OWN, columns=columns, sessions="closed", sort=True, origin="first_row"
    )
    columns = Columns(**MAPPED, session="chat")
    assert "lacks pauses" in refused(
        read, OWN, columns=columns, sessions="closed", sort=True, origin="first_row"
    )
    assert "no columns for sessions" in refused(
        read, "arrival_s,prompt_tokens,output_tokens\n0,1,1\n", session_times="session"
    )
    columns = Columns(**MAPPED, session="caht")
    assert "did you mean 'chat'" in refused(read, OWN, columns=columns)


def test_sessions_of_parquet_and_its_lists(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "t.parquet"
    table = {
        "at": [0.0, 1.0], "p": [64, 100], "o": [1, 1], "s": ["a", "a"], "h": [[1, 2, 3, 4], [1, 2, 3, 4, 5, 6]],
    }  # fmt: skip
    parquet.write_table(pa.table(table), path)
    columns = Columns(arrival="at", prompt_tokens="p", output_tokens="o", session="s", hashes="h")
    rows = read_trace(Trace(file=str(path), columns=columns), with_hashes=True)
    assert rows.session.tolist() == [0, 0]
    assert set(rows.hash_tokens.tolist()) == {16}


# ---- rows and columns that cannot be used ----------------------------------------------------------------------
PLAIN = "arrival_s,prompt_tokens,output_tokens\n"


def test_lengths_below_one_are_refused_dropped_or_kept(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(PLAIN + "0,5,5\n1,0,5\n2,5,0\n")
    with pytest.raises(InputError) as caught:
        read_trace(Trace(file=str(path)), writes=True)
    assert [line.split(": ")[1:3] for line in caught.value.problems] == [
        ["line 3", "prompt_tokens"], ["line 4", "output_tokens"],
    ]  # fmt: skip
    assert all("1 or more" in line for line in caught.value.problems)
    dropped = read_trace(Trace(file=str(path), failed_rows="drop"), writes=True)
    assert dropped.prompt_tokens.tolist() == [5]
    assert dropped.told["failed_rows"] == 2
    assert read_trace(Trace(file=str(path), failed_rows="keep"), writes=True).prompt_tokens.tolist() == [
        5,
        1,
        5,
    ]


def test_columns_that_stand_twice_are_refused(read) -> None:
    line = refused(read, "arrival_s,prompt_tokens,output_tokens,prompt_tokens\n0,1,1,7\n")
    assert "column 'prompt_tokens' stands twice (columns 2 and 4)" in line
    line = refused(
        read, '{"timestamp": 0, "input_length": 1, "input_length": 2, "output_length": 1}\n', "m.jsonl"
    )
    assert "line 1: row: 'input_length' is not valid; allowed: each key once" in line


def test_other_separators_are_named(read) -> None:
    assert "separated by ';'" in refused(read, "arrival_s;prompt_tokens;output_tokens\n0;1;1\n")


def test_packed_and_named_as_one_likes(read) -> None:
    """What a file is is seen in its bytes, not in its name."""
    assert read(gzip.compress(QWEN.encode()), "trace").prompt_tokens.tolist() == [200, 90, 290]
    assert read(gzip.compress((PLAIN + "0,5,5\n").encode()), "trace.txt").prompt_tokens.tolist() == [5]
    assert "readable trace" in refused(read, gzip.compress(QWEN.encode() * 50)[:-20], "trace.gz")


# ---- files that are no traces ----------------------------------------------------------------------
BENCH = {
    "backend": "vllm",
    "num_prompts": 3,
    "total_input_tokens": 6,
    "request_throughput": 1.0,
    "mean_ttft_ms": 60.1,
}
FOREIGN = {
    "bench.json": (json.dumps(BENCH), "vllm bench serve"),
    "indented.json": (json.dumps(BENCH, indent=2), "vllm bench serve"),
    "guidellm.json": (json.dumps({"benchmarks": [{"args": {}}]}), "guidellm report"),
    "profile_export.jsonl": (lines({"metadata": {}, "metrics": {}}, {"metadata": {}, "metrics": {}}), "AIPerf"),
    "aiperf.json": (json.dumps({"input_config": {}, "request_throughput": {"avg": 1}}), "AIPerf"),
    "genai.json": (json.dumps({"service_kind": "openai", "experiments": []}), "genai-perf"),
    "k6.json": (lines({"type": "Point", "metric": "http_reqs", "data": {"value": 1}}), "k6"),
    "prom.json": (json.dumps({"status": "success", "data": {"resultType": "matrix", "result": []}}), "Prometheus"),
    "chunk-0-dataset.json": (json.dumps({"0": {"input_tokens": "{45: 1.0}", "output_tokens": "{}"}}, indent=1), "ServeGen"),
    "chunk-0-trace.csv": ("0,0,0,,0,0\n600,0.4,0.9,Gamma,1.2,2.1\n", "ServeGen"),
    "k6.csv": ("metric_name,timestamp,metric_value,check\nhttp_reqs,1764252000,1.0,\n", "k6"),
    "rate.csv": ("timestamp,value\n1764252000,4.1\n", "a rate over time"),
    "lfs.csv": ("version https://git-lfs.github.com/spec/v1\noid sha256:44\nsize 1\n", "Git LFS pointer"),
    "lfs.jsonl": ("version https://git-lfs.github.com/spec/v1\noid sha256:44\nsize 1\n", "Git LFS pointer"),
    "page.csv": ("<!DOCTYPE html><html></html>", "a web page"),
    "bare.csv": ("0,5,5\n1,6,6\n", "without a header line"),
    "batch.jsonl": (lines({"custom_id": "a", "method": "POST", "url": "/v1", "body": {}}), "OpenAI batch"),
    "utf16.csv": ((PLAIN + "0,1,1\n").encode("utf-16"), "UTF-16"),
    "a.zip": (b"PK\x03\x04" + bytes(30), "zip archive"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_that_is_no_trace_is_named_as_what_it_is(read, name: str) -> None:
    text, what = FOREIGN[name]
    line = refused(read, text, name)
    assert what in line
    assert any(
        word in line for word in ("give", "use", "run", "download", "name", "unpack", "save", "count")
    ), "what to do"


# ---- as published ----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("guidellm.json", "guidellm"), ("k6.csv", "k6"), ("lfs_pointer.csv", "Git LFS"), ("prom_rate.csv", "rate over"),
        ("sharegpt.json", "chars_per_token"), ("vllm_bench.json", "vllm bench"),
    ],
)  # fmt: skip
def test_hostile_files_are_named(name: str, what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        read_trace(Trace(file=str(shared_data(f"hostile/traces/{name}"))))
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("path", "fmt", "n", "last_s", "failed", "late", "block"),
    [
        ("hostile/traces/qwen_bailian.jsonl", "qwen_bailian", 3, 60.0, 0, 0, 16),
        ("hostile/traces/mooncake_512.jsonl", "mooncake", 3, 18.0, 0, 0, 512),
        ("hostile/traces/burstgpt_fails.csv", "burstgpt", 3, 113.0, 1, 0, None),
        ("hostile/traces/burstgpt_v3.csv", "burstgpt", 2, 40.0, 0, 0, None),
        ("hostile/traces/azure2024.csv", "azure", 3, 0.015405, 0, 0, None),
        ("hostile/traces/litellm_spend.csv", "litellm", 2, 1.18, 0, 0, None),
        ("traces/ragpulse/original/0_trace.head.jsonl", "ragpulse", 4881, 604453.0, 0, 1, None),
        ("traces/mooncake/conversation.parquet", "columns", 7689, 2357.999, 0, 0, 512),
        ("traces/weka_agentic/original", "weka", 22, None, 0, 0, 64),
    ],
)  # fmt: skip
def test_recorded_files_are_read_as_what_they_are(
    path: str, fmt: str, n: int, last_s: float | None, failed: int, late: int, block: int | None
) -> None:
    rows = read_trace(Trace(file=str(shared_data(path))), with_hashes=True)
    told = rows.told
    assert (told["format"], told["rows"], told["failed_rows"], told["late_rows"]) == (fmt, n, failed, late)
    assert told["hash_block_tokens"] == block
    if last_s is not None:
        assert rows.arrival_ns[-1] / 1e9 == pytest.approx(last_s, abs=1e-6)


def test_ragpulse_pieces_are_its_prompts() -> None:
    rows = read_trace(
        Trace(file=str(shared_data("traces/ragpulse/original/0_trace.head.jsonl"))), with_hashes=True
    )
    named = np.add.reduceat(rows.hash_tokens, rows.hash_start[:-1])
    assert np.all((rows.prompt_tokens - named >= 6) & (rows.prompt_tokens - named <= 12))
