"""The prefix cache is a literal table of blocks, and finds in recorded traces what an exact replay finds."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from sim.fill.rows import AUTO_RUNS
from sim.fill.state import new_state, pool_rows, table
from sim.model.tables.codes import STAGE_READY

from . import naive_prefix
from .compare import end_of
from .compare_prefix import prefix_case, prefix_differences

BLOCKS = 4
SEEDS = range(240)
MORE_SEEDS = range(240, 4400)


def assert_no_difference(seeds: range) -> None:
    """Every seed agrees."""
    failed = {seed: lines for seed in seeds if (lines := prefix_differences(prefix_case(seed)))}
    told = [f"python -m tests.oracle.compare_prefix {seed}: {lines[0]}" for seed, lines in failed.items()]
    assert not failed, f"{len(failed)} of {len(seeds)} seeds differ\n" + "\n".join(told[:10])


@pytest.mark.parametrize("block", range(BLOCKS))
def test_the_cache_is_a_table_of_blocks(block: int) -> None:
    assert_no_difference(SEEDS[block::BLOCKS])


@pytest.mark.slow
@pytest.mark.parametrize("block", range(BLOCKS))
def test_the_cache_is_a_table_of_blocks_on_thousands_of_cases(block: int) -> None:
    assert_no_difference(MORE_SEEDS[block::BLOCKS])


def test_the_cases_reach_the_corners() -> None:
    """Prompts are found whole, in part and not at all; blocks are evicted; preempted ones find their own again."""
    met: Counter[str] = Counter()
    for seed in range(150):
        case = prefix_case(seed)
        told = naive_prefix.run(**case)
        for row in told.replicas:
            for (i, _), found in row.get("hits", {}).items():
                block = next(pool["block_size"] for pool in case["pools"])
                met["nothing found"] += found == 0
                met["something found"] += found > 0
                met["all but the last token"] += found == case["requests"][i][1] - 1 and block == 1
                met["found, preempted"] += found > 0 and told.requests[i]["preemptions"] > 0
                met["found beyond the first answer"] += found > case["requests"][i][1] // 2
            met["full cache"] += row.get("given_up", 0) > 0
    assert min(met.values()) > 0, met
    assert len(met) == 6


def test_without_a_cache_nothing_is_looked_up() -> None:
    case = prefix_case(3)
    case = {**case, "pools": [{**pool, "prefix_runs": 0} for pool in case["pools"]]}
    p, st, _ = end_of(case)
    assert not any(st.replica[r].prefix_at for r in range(int(p.n_replica)))
    assert len(new_state(p).m) < len(new_state(end_of(prefix_case(3))[0]).m)


def test_a_full_hit_recomputes_the_last_block() -> None:
    """Two equal prompts of four full blocks: the second computes one block."""
    case = one_replica([(0, 8, 2), (10**6, 8, 2)], leaf=[0, 0], shared=[8, 8])
    assert prefix_differences(case) == []
    assert naive_prefix.run(**case).replicas[0]["hits"] == {(0, 1): 0, (1, 1): 6}


def test_a_session_finds_its_earlier_turns_with_their_answers() -> None:
    """Prompts of 8, 16, 24 tokens, each the one before with its answer of 4 tokens and 4 new ones."""
    turns = [(t * 10**6, 8 * (t + 1), 4) for t in range(3)]
    case = one_replica(turns, leaf=[0, 0, 0], shared=[12, 20, 28])
    assert prefix_differences(case) == []
    # 11 tokens were computed for the first turn, its last one never is
    assert naive_prefix.run(**case).replicas[0]["hits"] == {(0, 1): 0, (1, 1): 10, (2, 1): 18}


def test_what_others_have_behind_a_fork_is_not_needed() -> None:
    """Four blocks of one token. A's second lies in a segment that forks off after its first; B goes straight on to a
    third. C goes A's way: it finds two of the four, and needs the two that B alone had.
    """
    requests = [(0, 2, 1), (10**6, 3, 1), (2 * 10**6, 4, 1)]
    case = one_replica(requests, leaf=[1, 0, 1], shared=[2, 3, 3])
    case["chains"] |= {"parent": [-1, 0], "start": [0, 1]}
    case["pools"][0] |= {"n_kv_blocks": 4, "block_size": 1}
    assert prefix_differences(case) == []
    told = naive_prefix.run(**case)
    assert told.replicas[0]["hits"] == {(0, 1): 0, (1, 1): 1, (2, 1): 2}
    assert told.requests[2]["outcome"] == "completed"


def one_replica(requests: list[tuple[int, int, int]], leaf: list[int], shared: list[int]) -> dict[str, Any]:
    """A single server with blocks of two tokens."""
    return {
        "requests": [(*request, 0) for request in requests],
        "classes": [{}],
        "groups": [{}],
        "pools": [
            {
                "ready_at": [0],
                "base_ps": [10] * 5,
                "slope_ps": [0] * 5,
                "n_kv_blocks": 100,
                "block_size": 2,
                "max_num_seqs": 4,
                "max_num_batched_tokens": 100,
                "prefix_runs": 64,
            }
        ],
        "end_ps": 10**9,
        "chains": {"leaf": leaf, "shared": shared, "parent": [-1], "start": [0]},
    }


@pytest.mark.parametrize("runs", [1, 2, 3, 5])
def test_a_small_table_of_runs_loses_hits_and_nothing_else(runs: int) -> None:
    """With few runs the oldest go before their time: fewer tokens are found, all requests end as they should."""
    dropped = 0
    for seed in range(60):
        case = prefix_case(seed)
        small = {**case, "pools": [{**pool, "prefix_runs": runs} for pool in case["pools"]]}
        p, st, _ = end_of(small)
        pools = table(p, st, "pool")
        dropped += int(pools["ranges_dropped"].sum())
        asked, cached = pools["asked_tokens"], pools["cached_tokens"]
        assert np.all(cached <= asked)
        free = table(p, st, "replica")
        idle = (free["n_run"] == 0) & (free["stage"] == STAGE_READY)
        limits = pool_rows(p)["n_blocks"][free["pool"]]
        assert np.all(free["free_blocks"][idle] == limits[idle])
    assert dropped > 0


def test_a_table_sized_by_the_cache_loses_nothing() -> None:
    """Runs found out from the KV blocks and the prompts: as many as any cache of that size ever held."""
    for seed in range(60):
        case = prefix_case(seed)
        sized = {**case, "pools": [{**pool, "prefix_runs": AUTO_RUNS} for pool in case["pools"]]}
        assert prefix_differences(sized) == []
        p, st, _ = end_of(sized)
        pools = table(p, st, "pool")
        assert int(pools["ranges_dropped"].sum()) == 0
        assert pool_rows(p)["prefix_runs"].min() >= 1
