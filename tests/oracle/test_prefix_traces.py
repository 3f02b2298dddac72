"""Hit ratios on recorded block hashes: the folded segments and the replica's cache find what an exact replay finds."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import shared_data
from pyarrow import parquet

import sim
from sim.compile.jit import entry_point, jit
from sim.fill.params import make_params
from sim.fill.rows import AUTO_RUNS, ClassRow, PoolRow, RunRow, ServedModelRow
from sim.fill.state import new_state
from sim.fill.trace import Chains, Traffic
from sim.model.cluster.replica_lifecycle import become_ready
from sim.model.loop.advance import begin
from sim.model.prefix_cache.lookup import HIT_BITS, find_prefix, hold_prompt, leave_prefix, take_prefix
from sim.model.request.in_flight import free_slot, take_slot
from sim.report.terminal import fleet_lines
from sim.workload.prefix import Runs, fold, runs_of

from .prefix_replay import infinite_hits, sized_hits

MOONCAKE = "mooncake/conversation.parquet"
WEKA_HASHES, WEKA_CALLS = "weka_agentic/hash_runs.parquet", "weka_agentic/calls.parquet"


def read(path: str, name: str) -> Any:
    """A column of a recorded trace that is not part of the repository."""
    return parquet.read_table(shared_data(f"traces/{path}"), columns=[name])[name]


def mooncake(n: int | None = None) -> tuple[list[list[int]], np.ndarray, list[Runs]]:
    """Hashes of blocks of 512 tokens, tokens, and the hashes as runs."""
    hashes = read(MOONCAKE, "prefix_hash_ids").to_pylist()[:n]
    start = np.cumsum([0] + [len(ids) for ids in hashes])
    runs = runs_of(np.concatenate(hashes), start)
    return hashes, read(MOONCAKE, "prompt_tokens").to_numpy()[:n], runs


def weka(n: int | None = None) -> tuple[np.ndarray, list[Runs]]:
    """Tokens, and hashes of blocks of 64 as runs; the hashes of a session are its own."""
    rows = read(WEKA_HASHES, "hash_runs").to_pylist()[:n]
    names = read(WEKA_HASHES, "session_id").to_pylist()[:n]
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    runs = [
        [(number[name] * 10**7 + first, k) for first, k in zip(row[::2], row[1::2], strict=True)]
        for name, row in zip(names, rows, strict=True)
    ]
    return read(WEKA_CALLS, "prompt_tokens").to_numpy()[:n], runs


def replay(p, st, n, block):  # type: ignore[no-untyped-def]
    """Each request in turn finds what there is, computes the rest and leaves; compiled as the product's loop is."""
    begin(p, st)
    become_ready(p, st, 0, 0)
    for i in range(n):
        s = take_slot(p, st, i, 0)
        tokens = st.slot[s].prompt
        hit = find_prefix(p, st, 0, s) >> HIT_BITS
        st.record[i].routed_ps = hit
        take_prefix(p, st, 0, s, hit)
        st.replica[0].free_blocks -= (tokens + block - 1) // block - hit
        hold_prompt(p, st, 0, s, tokens)
        leave_prefix(p, st, 0, s, tokens)
        free_slot(st, s)


@functools.cache
def compiled_replay() -> Callable[..., None]:
    return entry_point(jit(replay))


def found(prompt: np.ndarray, chains: Chains, block: int, n_blocks: int) -> np.ndarray:
    """Blocks that the product's cache of n_blocks finds for each prompt, one prompt after the other."""
    n = len(prompt)
    ones = np.ones(2, dtype=np.int64)
    pool = PoolRow(ones, ones, 0, 0, n_blocks, 1, 1, 10**7, block_size=block, prefix_runs=AUTO_RUNS)
    zeros = np.zeros(n, dtype=np.int64)
    traffic = Traffic(zeros, prompt, zeros + 1, zeros, chains=chains)
    p = make_params(RunRow(1, 10, 0, 10, 0), traffic, [ClassRow()], [ServedModelRow()], [pool])
    st = new_state(p)
    compiled_replay()(p, st, n, block)
    return st.rows("record", n)["routed_ps"].copy()


def by_tokens(hits: list[int], prompt: np.ndarray, block: int) -> float:
    """The share of the tokens that are found."""
    return float(np.minimum(np.array(hits) * block, prompt).sum() / prompt.sum())


def test_an_infinite_cache_on_mooncake_finds_what_was_published() -> None:
    hashes, prompt, _ = mooncake()
    assert round(by_tokens(infinite_hits(hashes), prompt, 512), 4) == 0.3571


def test_folded_mooncake_finds_the_same() -> None:
    """Full blocks short of the last token: that is all that a server can use."""
    hashes, prompt, runs = mooncake()
    full = [ids[: n // 512] for ids, n in zip(hashes, prompt.tolist(), strict=True)]
    most = (prompt - 1) // 512
    expected = np.minimum(infinite_hits(full), most)
    chains = fold(runs, prompt, 512)
    assert np.array_equal(found(prompt, chains, 512, 200_000), expected)


@pytest.mark.parametrize("n_blocks", [400, 2_000, 10_000])
def test_a_sized_cache_on_mooncake_finds_the_same(n_blocks: int) -> None:
    hashes, prompt, runs = mooncake(3000)
    full = [(ids[: n // 512], -(-n // 512)) for ids, n in zip(hashes, prompt.tolist(), strict=True)]
    chains = fold(runs, prompt, 512)
    assert found(prompt, chains, 512, n_blocks).tolist() == sized_hits(full, n_blocks)


def test_smaller_blocks_find_no_less() -> None:
    """The same prompts in blocks of 16 tokens: every hit of 512 tokens is 32 of them, and nothing else is shared."""
    _, prompt, runs = mooncake(3000)
    chains = fold(runs, prompt, 512)
    coarse = found(prompt, chains, 512, 200_000) * 512
    fine = found(prompt, chains, 16, 6_400_000) * 16
    assert np.all(fine >= coarse)
    assert np.all(fine - coarse < 512)


def test_an_infinite_cache_on_agent_sessions() -> None:
    """What the trace itself says was found before, in blocks of 64 tokens."""
    prompt, runs = weka()
    told = read(WEKA_CALLS, "prefix_hit_blocks64").to_numpy()
    chains = fold(runs, prompt, 64)
    expected = np.minimum(told, (prompt - 1) // 64)
    assert np.array_equal(found(prompt, chains, 64, 50_000_000), expected)
    assert round(float(np.minimum(told * 64, prompt).sum() / prompt.sum()), 4) == 0.9625


def test_a_sized_cache_on_agent_sessions() -> None:
    prompt, runs = weka(800)
    hashes = [[h for first, k in row for h in range(first, first + k)] for row in runs]
    full = [(ids, -(-n // 64)) for ids, n in zip(hashes, prompt.tolist(), strict=True)]
    for n_blocks in (3_500, 8_000):
        chains = fold(runs, prompt, 64)
        assert found(prompt, chains, 64, n_blocks).tolist() == sized_hits(full, n_blocks)


@pytest.mark.parametrize("runs", [None, 4096])
def test_a_run_of_mooncake_finds_the_same_or_says_what_it_dropped(runs: int | None) -> None:
    """One replica with room for every block: the table is sized by the cache; one that is too small is told of."""
    path = shared_data("traces/mooncake/original/conversation_trace.head.jsonl")
    hashes, prompt, _ = mooncake()
    overrides = [
        f"traffic.trace.file={path}", "duration_s=2400", "warmup_s=0", "drain_s=1000000", "patience=none",
        "runtime=vllm_prefix_cache", "runtime.num_kv_blocks=8000000", "pool.min_replicas=1", "pool.max_replicas=1",
    ]  # fmt: skip
    overrides += [] if runs is None else [f"runtime.prefix_runs={runs}"]
    run = sim.run("first_run", overrides, out=None)
    fine = [
        [(i, k) for i in ids for k in range(32)][: n // 16] for ids, n in zip(hashes, prompt, strict=True)
    ]
    hits = np.minimum(infinite_hits(fine), (prompt - 1) // 16)
    exact = float((hits * 16).sum() / prompt.sum())
    dropped = run.summary["pools"]["main"]["prefix_runs_dropped"]
    if runs is None:
        assert run.summary["prefix_hit_ratio"] == pytest.approx(exact, abs=1e-12)
        assert dropped == 0
    else:
        assert run.summary["prefix_hit_ratio"] < exact - 0.02
        assert dropped > 1000
        assert any("prefix_runs" in line and f"{dropped:,}" in line for line in fleet_lines(run.summary))
